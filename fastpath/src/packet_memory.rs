//! The memory that frames live in: registered with the host, so windows may read it.

use sluice_abi::Gpa;
use sluice_memory::PeerSlice;

/// A run of this VM's RAM that is registered for packets. Each thread has a run of its own: see [`PacketMemory::split_at`].
#[derive(Clone, Copy, Debug)]
pub struct PacketMemory {
    /// Where it starts in this VM's guest-physical space: what its own virtqueues hold.
    pub gpa: Gpa,
    /// Bytes between the start of what was registered and the start of this run: what a request holds.
    pub offset: u32,
    /// The bytes. The device side of this VM's receive queue writes them at any time.
    pub memory: PeerSlice<'static>,
}

#[allow(unsafe_code, reason = "a property of the memory that the compiler can't know")]
// SAFETY: the memory is mapped for as long as the program runs (`'static`), at the same addresses in each of its threads. Whatever another
// thread does to the bytes, a peer may do at any time: they are reached through PeerSlice alone, which believes nothing of them.
unsafe impl Send for PacketMemory {}

impl PacketMemory {
    /// All of what was registered: `memory`, which starts at `gpa`. `None` if it is 4 GiB or more.
    pub fn new(gpa: Gpa, memory: PeerSlice<'static>) -> Option<Self> {
        u32::try_from(memory.len()).ok().map(|_| Self { gpa, offset: 0, memory })
    }

    /// The first `len` bytes and the rest; `None` if there are fewer.
    pub fn split_at(self, len: u32) -> Option<(Self, Self)> {
        let rest = self.memory.len().checked_sub(u64::from(len))?;
        let first = Self { memory: self.memory.sub(0, u64::from(len)).ok()?, ..self };
        let second = Self {
            gpa: Gpa(self.gpa.0 + u64::from(len)),
            offset: self.offset + len,
            memory: self.memory.sub(u64::from(len), rest).ok()?,
        };
        Some((first, second))
    }
}
