//! The network device: the slow path of a VNF's own ports.

use crate::frame::{Frame, LEN};
use sluice_vnf::{
    BURST_SIZE, Burst, ControlError, Error as VnfError, F, LinkStatus, Options, Ports, Receive, Transmit, Vnf, println,
};

/// Why frames can't be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Vnf(VnfError),
    #[error(transparent)]
    Control(ControlError),
    /// The device asks for no announcement, though the driver agreed to make one.
    #[error("link status {0:?} right after the start")]
    NotAsked(LinkStatus),
}

impl<T: Into<VnfError>> From<T> for LinkError {
    fn from(error: T) -> Self {
        Self::Vnf(error.into())
    }
}

/// A started device.
pub struct Link {
    ports: Ports,
    arrived: Burst<'static>,
}

impl Link {
    /// Starts the device, and announces this station over the control queue.
    pub fn start(vnf: &mut Vnf) -> Result<Self, LinkError> {
        let features = F::CTRL_VQ | F::CTRL_RX | F::GUEST_ANNOUNCE;
        let ports = vnf.open(Options { features, ..Options::default() })?;
        let arrived = ports.burst();
        let mut link = Self { ports, arrived };
        link.announce(vnf)?;
        Ok(link)
    }

    /// Acknowledges the announcement that the device asks for at its start.
    fn announce(&mut self, vnf: &Vnf) -> Result<(), LinkError> {
        let net = &mut self.ports.input;
        let asked = net.link();
        let wait = || {
            vnf.yield_now();
            true
        };
        net.control(wait).announced().map_err(LinkError::Control)?;
        let done = net.link();
        println!("link {asked:?}, then {done:?}");
        let right = asked == LinkStatus::LINK_UP | LinkStatus::ANNOUNCE && done == LinkStatus::LINK_UP;
        if right { Ok(()) } else { Err(LinkError::NotAsked(asked)) }
    }

    pub fn mac(&self) -> [u8; 6] {
        self.ports.input.mac()
    }

    /// Sends `frame`, once there is room for it.
    pub fn send(&mut self, vnf: &Vnf, frame: &Frame) -> Result<(), LinkError> {
        let mut burst = self.ports.burst();
        burst.push_bytes(&frame.0)?;
        while self.ports.input.tx_burst(&mut burst, BURST_SIZE)? == 0 {
            vnf.yield_now();
        }
        Ok(())
    }

    /// Returns the next frame, if there is one. A frame that is shorter than those of stations is filled up with 0.
    pub fn receive(&mut self) -> Result<Option<Frame>, LinkError> {
        if self.arrived.is_empty() && self.ports.input.rx_burst(&mut self.arrived, BURST_SIZE)? == 0 {
            return Ok(None);
        }
        let mut bytes = [0; LEN];
        let first = self.arrived.frame(0)?;
        first.copy_to_slice(0, &mut bytes[..LEN.min(first.len().into())])?;
        self.arrived.drop_front(1);
        Ok(Some(Frame(bytes)))
    }
}
