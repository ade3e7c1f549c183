//! This VM's own network device: where frames from peers arrive, and the slow path to everybody.
//!
//! Reading order: [`VirtioNet`], `receive` (frames from the device), `transmit` (frames to the device), `control` (what else the device is
//! asked for), `setup` (from an unknown device to a running one).

mod control;
mod receive;
mod setup;
mod transmit;

use crate::{
    Burst, Mempool, Options, PacketMemory, Receive, ReceiveQueue, RxError, RxStats, Transmit, TxError, TxStats, Wait,
};
pub use control::Control;
use core::time::Duration;
use receive::ReceiveHalf;
use sluice_abi::net::{F, LinkStatus};
use sluice_driver::{
    ControlError, ControlQueue, DeviceFault, QueueError, StartError, Started, Transport, VirtioMmio, link_status, reset,
};
use transmit::TransmitHalf;

/// Most entries of a receive queue.
pub const RX_SIZE: usize = 256;
/// Most entries of a transmit queue.
pub const TX_SIZE: usize = 128;

/// A virtio-net device with buffers of one pool.
///
/// Frames arrive in the receive queues of all pairs that the device may use: what peers put there through windows, and what the host's
/// switch forwards. Frames that are sent go into the transmit queue of pair 0, which the host's switch empties: this is the slow path, for
/// broadcasts, unknown destinations and peers without a window. `T` is how the device's registers are reached: virtio-mmio, a PCI function
/// ([`sluice_driver::VirtioPci`]), or any other [`Transport`]. `Q` is where the receive queues lie, which take some 6 KiB of private memory each.
pub struct VirtioNet<'p, T = VirtioMmio, Q = [Option<ReceiveQueue>; 1]> {
    receive: ReceiveHalf<'p, Q>,
    transmit: TransmitHalf<'p, T>,
    control: Option<ControlQueue>,
    started: Started,
    memory: PacketMemory,
    pool: &'p Mempool<'p>,
    options: Options,
}

/// Places for the receive queues of as many pairs as there are places: an array, or a slice of memory that outlives the device.
pub trait Queues: AsRef<[Option<ReceiveQueue>]> + AsMut<[Option<ReceiveQueue>]> {}

impl<Q: AsRef<[Option<ReceiveQueue>]> + AsMut<[Option<ReceiveQueue>]>> Queues for Q {}

/// Why there is no such device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VirtioNetError {
    /// The memory for the queues.
    #[error("memory of the queues: {0}")]
    Queue(QueueError),
    /// The device.
    #[error("{0}")]
    Start(StartError),
    /// The pool has fewer free buffers than the receive queues have entries.
    #[error("the pool has {free} free buffers; the receive queues alone take {entries}")]
    Pool {
        /// Free buffers of the pool.
        free: usize,
        /// Entries of all receive queues.
        entries: u16,
    },
    /// No receive queue has so many entries.
    #[error("a receive queue of {0} entries: it is a power of two up to {RX_SIZE}")]
    Entries(u16),
    /// No transmit queue has so many entries.
    #[error("a transmit queue of {0} entries: it is a power of two up to {TX_SIZE}")]
    TxEntries(u16),
    /// There is no room for so many queue pairs.
    #[error("{pairs} queue pairs: 1 to {most} are possible here")]
    Pairs {
        /// What the options ask for.
        pairs: u16,
        /// What the type of the device has room for.
        most: usize,
    },
    /// The device did not let the driver use all of its pairs.
    #[error("{0}")]
    Control(ControlError),
    /// Frames that are still to be segmented do not fit the buffers.
    #[error("buffers that hold frames of {longest} bytes: with a segmentation offload they must have 64 KiB")]
    Segments {
        /// Bytes of the longest frame that a buffer holds.
        longest: u16,
    },
}

impl VirtioNet<'_> {
    /// Bytes of memory for the queues of a device with one queue pair; [`Options::queue_len`] tells those of any other.
    pub const QUEUE_LEN: u32 = Options::queue_len(1);
}

impl<'p, T: Transport> VirtioNet<'p, T> {
    /// Starts the device behind `transport` with one queue pair, with its queues in `memory` and buffers of `pool`. A [`crate::RingFormat`]
    /// will do for `options`.
    ///
    /// # Errors
    /// [`VirtioNetError`]. A device whose MTU is larger than the buffers of `pool` hold is not started: [`StartError::Mtu`].
    pub fn start(
        transport: T,
        memory: PacketMemory,
        pool: &'p Mempool<'p>,
        options: impl Into<Options>,
    ) -> Result<Self, VirtioNetError> {
        Self::start_pairs(transport, memory, pool, options, [None])
    }
}

impl<'p, T: Transport, Q: Queues> VirtioNet<'p, T, Q> {
    /// As [`VirtioNet::start`], with as many queue pairs as [`Options::pairs`] says and the device has. Their receive queues lie in `places`, whatever
    /// was there; there are at least as many as [`Options::pairs`].
    ///
    /// # Errors
    /// As [`VirtioNet::start`]. A device that does not let the driver use the pairs is stopped: [`VirtioNetError::Control`].
    pub fn start_pairs(
        mut transport: T,
        memory: PacketMemory,
        pool: &'p Mempool<'p>,
        options: impl Into<Options>,
        mut places: Q,
    ) -> Result<Self, VirtioNetError> {
        let options = options.into();
        let parts = setup::start(&mut transport, memory, pool, options, places.as_mut())?;
        let mut net = Self {
            receive: ReceiveHalf::new(places, pool, &parts.started),
            transmit: TransmitHalf::new(transport, parts.transmit, pool, &parts.started),
            control: parts.control,
            started: parts.started,
            memory,
            pool,
            options,
        };
        net.enable_all()?;
        Ok(net)
    }

    /// Lets the device use all pairs that both sides have; a device that refuses is stopped.
    fn enable_all(&mut self) -> Result<(), VirtioNetError> {
        self.receive.refill();
        let pairs = self.started.pairs;
        if pairs > 1 {
            if let Err(error) = self.control(|| true).enable_pairs(pairs) {
                self.halt().map_err(VirtioNetError::Start)?;
                return Err(VirtioNetError::Control(error));
            }
            self.receive.enable(pairs);
        }
        Ok(())
    }

    /// Resets the device and takes all buffers back into the pool.
    fn halt(&mut self) -> Result<(), StartError> {
        reset(&mut self.transmit.transport)?;
        self.receive.reclaim();
        self.transmit.reclaim();
        Ok(())
    }

    /// Resets the device and starts it anew, with the same memory, pool and options. What was set over the control queue is as at first.
    /// Frames that the device had received are dropped; those that it had not sent are dropped, too, and counted in [`TxStats::unsent`].
    ///
    /// # Errors
    /// [`VirtioNetError`]. Nothing can be received or sent then before a restart succeeds. If the device does not finish its reset
    /// ([`StartError::ResetStuck`]), its buffers stay with it: it may still write to them.
    pub fn restart(&mut self) -> Result<(), VirtioNetError> {
        self.halt().map_err(VirtioNetError::Start)?;
        let (transport, places) = (&mut self.transmit.transport, self.receive.queues());
        let parts = setup::start(transport, self.memory, self.pool, self.options, places)?;
        self.receive.renew(&parts.started);
        self.transmit.renew(parts.transmit, &parts.started);
        (self.control, self.started) = (parts.control, parts.started);
        self.enable_all()
    }

    /// Resets the device, takes all buffers back into the pool, and returns how the device is reached.
    ///
    /// # Errors
    /// [`StartError::ResetStuck`]: the device does not finish its reset. Its buffers stay with it: it may still write to them.
    pub fn stop(mut self) -> Result<T, StartError> {
        self.halt()?;
        Ok(self.transmit.transport)
    }

    /// The half that receives and the half that sends, for code that wants one of them only. The receiving half does not see what the
    /// device has sent: buffers come back when the other half is used.
    pub fn split(&mut self) -> (&mut (impl Receive + use<'p, T, Q>), &mut (impl Transmit + use<'p, T, Q>)) {
        (&mut self.receive, &mut self.transmit)
    }

    /// What the device is asked for over the control queue. `wait` is called between looks for an answer: it may let others run, and ends
    /// the wait by `false`. A device that did not answer once is asked nothing more before a restart.
    pub fn control<W: FnMut() -> bool>(&mut self, wait: W) -> Control<'_, T, W> {
        let Self { transmit, control, started, .. } = self;
        Control { transport: &mut transmit.transport, queue: control.as_mut(), started, wait }
    }

    /// What the device says of its link; up if it does not say. With [`LinkStatus::ANNOUNCE`], which a driver sees that asked for
    /// [`F::GUEST_ANNOUNCE`], send gratuitous packets and then call [`Control::announced`].
    /// See: VIRTIO 5.1.6.5.4 "Gratuitous Packet Sending".
    pub fn link(&mut self) -> LinkStatus {
        link_status(&mut self.transmit.transport, &self.started)
    }

    /// The features that were agreed on with the device.
    pub const fn features(&self) -> F {
        self.started.features
    }

    /// This VM's address; all zero if the device does not say.
    pub const fn mac(&self) -> [u8; 6] {
        self.started.mac
    }

    /// Largest payload of a frame to this VM, bytes.
    pub const fn mtu(&self) -> u16 {
        self.started.mtu
    }

    /// Queue pairs that the device may use.
    pub const fn pairs(&self) -> u16 {
        self.receive.enabled()
    }

    /// The rule that the device side of a queue broke. Nothing more comes from, or goes to, that queue before a restart.
    pub fn fault(&self) -> Option<DeviceFault> {
        self.receive.fault().or(self.transmit.fault())
    }

    /// Number of calls that left the device without a buffer for each entry of its queues: pool and burst had too few.
    pub const fn polls_without_buffer(&self) -> u64 {
        self.receive.polls_without_buffer
    }

    /// Lets `machine` sleep until a frame may be there, `at_most` so long. Returns whether it slept: it does not if a frame is
    /// there already, or a queue is at fault.
    ///
    /// The device is asked for a notification first, and then the queues are looked at once more, so a frame that arrives in between is
    /// not slept over. On return none is asked for. See: VIRTIO 2.7.7 "Used Buffer Notification Suppression", 2.8.10 "Driver and Device Event Suppression".
    pub fn sleep(&mut self, machine: &mut impl Wait, at_most: Duration) -> bool {
        let word = self.receive.arm();
        if let Some(word) = word {
            machine.wait(word, at_most);
        }
        self.receive.disarm();
        word.is_some()
    }
}

impl<T: Transport, Q: Queues> Receive for VirtioNet<'_, T, Q> {
    /// Whatever was received, the device gets the buffers that it lacks, as far as the pool and `into` have spare ones: without any it could
    /// never fill one again.
    #[inline]
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        if self.transmit.is_busy() {
            self.transmit.take_back();
        }
        self.receive.rx_burst(into, most)
    }

    fn rx_stats(&self) -> RxStats {
        self.receive.rx_stats()
    }
}

impl<T: Transport, Q: Queues> Transmit for VirtioNet<'_, T, Q> {
    /// A frame counts as sent when the device has it. Its buffer comes back to the pool when the device has used it, which each call of this
    /// function and of [`Receive::rx_burst`] looks for.
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        self.transmit.tx_burst(burst, most)
    }

    fn tx_stats(&self) -> TxStats {
        self.transmit.tx_stats()
    }
}
