//! The counters of the switch.

/// Counters of one port, which only the switch writes. Units are frames unless a counter says otherwise. A frame that
/// was taken is forwarded or dropped at each port to which it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that the VM transmitted.
    pub taken: u64,
    /// Frames in the VM's receive queue; of a frame that was segmented, its segments.
    pub forwarded: u64,
    /// Frames that the VM transmitted without a whole Ethernet header, longer than any frame, or with headers that do
    /// not allow what is asked.
    pub malformed: u64,
    /// Frames that the VM transmitted from an address that it may not use.
    pub source_refused: u64,
    /// Frames that the VM transmitted to a destination that the manifest does not permit to it. No VM received them.
    pub denied: u64,
    /// Frames that the VM transmitted from an address for which the table had no room. They were forwarded all the
    /// same.
    pub not_learned: u64,
    /// Frames that the VM transmitted beyond its [`super::Limit`].
    pub limited: u64,
    /// Frames for the VM that its driver does not want.
    pub filtered: u64,
    /// Frames for the VM while the switch had no receive queue of it: its driver is not ready, or a window fills the
    /// queue.
    pub no_queue: u64,
    /// Frames for the VM while its receive queue was full.
    pub full: u64,
    /// Frames for the VM that are longer than its driver takes.
    pub too_long: u64,
    /// Number of queues of the VM that broke the protocol.
    pub broken: u64,
    /// Number of used buffer notifications to the VM's driver: interrupts, or wake-ups of a process.
    pub notified: u64,
}

impl Counters {
    /// Returns all counters with their names, in a fixed order.
    pub const fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("taken", self.taken),
            ("forwarded", self.forwarded),
            ("malformed", self.malformed),
            ("source_refused", self.source_refused),
            ("denied", self.denied),
            ("not_learned", self.not_learned),
            ("limited", self.limited),
            ("filtered", self.filtered),
            ("no_queue", self.no_queue),
            ("full", self.full),
            ("too_long", self.too_long),
            ("broken", self.broken),
            ("notified", self.notified),
        ]
    }
}
