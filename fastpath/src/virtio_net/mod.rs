//! This VM's own network device: frames from peers arrive here, and frames by the slow path leave here.
//!
//! Reading order: [`VirtioNet`], `receive` (frames from the device), `transmit` (frames to the device), `control`
//! (commands to the device), `setup` (from an unknown device to a running one).

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

/// Largest number of entries of a receive queue.
pub const RX_SIZE: usize = 256;
/// Largest number of entries of a transmit queue.
pub const TX_SIZE: usize = 128;

/// A virtio-net device with buffers of one pool.
///
/// Frames arrive in the receive queues of all pairs that the device may use: peers put them there through windows, and
/// the host's switch forwards others. Frames that are sent go into one transmit queue ([`Options::tx_pair`]), which the
/// host's switch empties: this is the slow path, for broadcasts, unknown destinations and peers without a window. `T`
/// reaches the device's registers: virtio-mmio, a PCI function ([`sluice_driver::VirtioPci`]), or any other
/// [`Transport`]. `Q` holds the receive queues, which take some 6 KiB of private memory each.
pub struct VirtioNet<'p, T = VirtioMmio, Q = [Option<ReceiveQueue>; 1]> {
    receive: ReceiveHalf<'p, Q>,
    transmit: TransmitHalf<'p, T>,
    control: Option<ControlQueue>,
    started: Started,
    memory: PacketMemory,
    pool: &'p Mempool<'p>,
    options: Options,
}

/// Memory for receive queues, one for each pair: an array, or a slice of memory that outlives the device.
pub trait Queues: AsRef<[Option<ReceiveQueue>]> + AsMut<[Option<ReceiveQueue>]> {}

impl<Q: AsRef<[Option<ReceiveQueue>]> + AsMut<[Option<ReceiveQueue>]>> Queues for Q {}

/// Reasons for which a device can't be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VirtioNetError {
    /// The memory for the queues is too small or not aligned.
    #[error("memory of the queues: {0}")]
    Queue(QueueError),
    /// The device is not usable, or the driver and the device do not agree.
    #[error("{0}")]
    Start(StartError),
    /// The pool has fewer free buffers than the receive queues have entries.
    #[error("the pool has {free} free buffers; the receive queues alone take {entries}")]
    Pool {
        /// Number of free buffers of the pool.
        free: usize,
        /// Number of entries of all receive queues.
        entries: u16,
    },
    /// A receive queue can't have this number of entries.
    #[error("a receive queue of {0} entries: the number is a power of two up to {RX_SIZE}")]
    Entries(u16),
    /// A transmit queue can't have this number of entries.
    #[error("a transmit queue of {0} entries: the number is a power of two up to {TX_SIZE}")]
    TxEntries(u16),
    /// There is no room for that number of queue pairs, or the device has fewer.
    #[error("{pairs} queue pairs: 1 to {most} are possible here")]
    Pairs {
        /// Number that the options ask for.
        pairs: u16,
        /// Number that the type of the device has room for, or that the device has.
        most: usize,
    },
    /// The device did not let the driver use all of its pairs.
    #[error("{0}")]
    Control(ControlError),
    /// Frames that are still to be segmented do not fit the buffers.
    #[error("buffers that hold frames of {longest} bytes: with a segmentation offload they must have 64 KiB")]
    Segments {
        /// Length of the longest frame that a buffer holds, in bytes.
        longest: u16,
    },
}

impl VirtioNet<'_> {
    /// Length in bytes of the memory for the queues of a device with one queue pair. See: [`Options::queue_len`] for
    /// several pairs.
    pub const QUEUE_LEN: u32 = Options::queue_len(1);
}

impl<'p, T: Transport> VirtioNet<'p, T> {
    /// Starts the device behind `transport` with one queue pair, with its queues in `memory` and buffers of `pool`. A
    /// [`crate::RingFormat`] will do for `options`.
    ///
    /// # Errors
    /// [`VirtioNetError`]. A device whose MTU is larger than the buffers of `pool` hold is not started:
    /// [`StartError::Mtu`].
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
    /// Starts the device as [`VirtioNet::start`] does, with as many queue pairs as [`Options::pairs`] says and the
    /// device has. Their receive queues replace whatever is in `places`, of which there are at least
    /// [`Options::pairs`].
    ///
    /// # Errors
    /// As [`VirtioNet::start`]. A device that does not let the driver use the pairs is stopped:
    /// [`VirtioNetError::Control`].
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

    /// Resets the device and starts it anew, with the same memory, pool and options. Settings made over the control
    /// queue are lost. Frames that the device had received are dropped; those that it had not sent are dropped, too,
    /// and counted in [`TxStats::unsent`].
    ///
    /// # Errors
    /// [`VirtioNetError`]. Nothing can be received or sent then before a restart succeeds. A device that does not
    /// finish its reset ([`StartError::ResetStuck`]) keeps its buffers, as it may still write to them.
    pub fn restart(&mut self) -> Result<(), VirtioNetError> {
        self.halt().map_err(VirtioNetError::Start)?;
        let (transport, places) = (&mut self.transmit.transport, self.receive.queues());
        let parts = setup::start(transport, self.memory, self.pool, self.options, places)?;
        self.receive.renew(&parts.started);
        self.transmit.renew(parts.transmit, &parts.started);
        (self.control, self.started) = (parts.control, parts.started);
        self.enable_all()
    }

    /// Resets the device, takes all buffers back into the pool, and returns the transport.
    ///
    /// # Errors
    /// [`StartError::ResetStuck`] if the device does not finish its reset. The device keeps its buffers, as it may
    /// still write to them.
    pub fn stop(mut self) -> Result<T, StartError> {
        self.halt()?;
        Ok(self.transmit.transport)
    }

    /// Returns the half that receives and the half that sends, for code that wants one of them only. Buffers of frames
    /// that the device has sent come back when the sending half is used.
    pub fn split(&mut self) -> (&mut (impl Receive + use<'p, T, Q>), &mut (impl Transmit + use<'p, T, Q>)) {
        (&mut self.receive, &mut self.transmit)
    }

    /// Returns the commands of the control queue. `wait` is called between looks for an answer: it may let others run,
    /// and ends the wait by `false`. A device that did not answer once gets no more commands before a restart.
    pub fn control<W: FnMut() -> bool>(&mut self, wait: W) -> Control<'_, T, W> {
        let Self { transmit, control, started, .. } = self;
        Control { transport: &mut transmit.transport, queue: control.as_mut(), started, wait }
    }

    /// Returns the status of the link; up if the device does not tell. [`LinkStatus::ANNOUNCE`], which needs
    /// [`F::GUEST_ANNOUNCE`], asks the VNF to send gratuitous packets and then to call [`Control::announced`]. See:
    /// VIRTIO 5.1.6.5.4 "Gratuitous Packet Sending".
    pub fn link(&mut self) -> LinkStatus {
        link_status(&mut self.transmit.transport, &self.started)
    }

    /// Returns the features that were agreed on with the device.
    pub const fn features(&self) -> F {
        self.started.features
    }

    /// Returns this VM's MAC address; all zero if the device does not tell.
    pub const fn mac(&self) -> [u8; 6] {
        self.started.mac
    }

    /// Returns the largest payload of a frame to this VM, in bytes.
    pub const fn mtu(&self) -> u16 {
        self.started.mtu
    }

    /// Returns the number of queue pairs that the device may use.
    pub const fn pairs(&self) -> u16 {
        self.receive.enabled()
    }

    /// Returns the rule that the device side of a queue broke. Nothing more comes from, or goes to, that queue before a
    /// restart.
    pub fn fault(&self) -> Option<DeviceFault> {
        self.receive.fault().or(self.transmit.fault())
    }

    /// Returns the number of calls that left entries of the receive queues without a buffer, as pool and burst had too
    /// few.
    pub const fn polls_without_buffer(&self) -> u64 {
        self.receive.polls_without_buffer
    }

    /// Receives at most `most` frames as [`Receive::rx_burst`] does, but from the receive queue of one `pair` alone.
    /// Frames that others put into the other queues stay there, so that a VNF that can't go on with the frames of one
    /// sender keeps that sender waiting, and no other. A pair that the device may not use has no frames.
    ///
    /// # Errors
    /// As [`Receive::rx_burst`].
    #[inline]
    pub fn rx_burst_from(&mut self, pair: u16, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        if self.transmit.is_busy() {
            self.transmit.take_back();
        }
        self.receive.rx_burst_from(pair.into(), into, most)
    }

    /// Lets `machine` sleep until a frame may be there, and at most for the time `at_most`. Returns whether the machine
    /// slept: it does not if a frame is there already, or a queue is at fault.
    ///
    /// The device is asked for a notification first, and then the queues are checked once more, so no frame that
    /// arrives in between is slept over. On return no notification is asked for. See: VIRTIO 2.7.7 "Used Buffer
    /// Notification Suppression", 2.8.10 "Driver and Device Event Suppression".
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
    /// Even if nothing was received, the device gets the buffers that it lacks, as far as the pool and `into` have
    /// spare ones: a device without buffers could never fill one again.
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
    /// A frame counts as sent when the device has it. The buffer comes back to the pool when the device has used it:
    /// each call of this function and of [`Receive::rx_burst`] takes used buffers back.
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        self.transmit.tx_burst(burst, most)
    }

    fn tx_stats(&self) -> TxStats {
        self.transmit.tx_stats()
    }
}
