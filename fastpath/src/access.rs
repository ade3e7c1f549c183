//! What a host gives a VM or a process, and every step that leads out of its own memory: the one file of this crate
//! with unsafe code.
//!
//! A [`Crossing`] is made once, of an [`Access`]. The promise that comes with the access is what every block below
//! relies on, so whoever uses a crossing has nothing to promise.
#![allow(unsafe_code, reason = "crosses into memory of other machines, as `Access::new` was promised it can")]

use crate::GateError;
use crate::directory::{Directory, Seen};
use core::cell::RefCell;
use sluice_abi::call::{Code, Outcome, Packet, Status};
use sluice_abi::directory::{GateKind, PeerState};
use sluice_abi::{Gpa, PeerIdx, map};
use sluice_gate::hypercall;
use sluice_inside::{Slot, Window};
use sluice_memory::{Avx, PeerSlice, Table, Words};

/// A run of this VM's RAM that is registered for packets. Each thread has a run of its own: see
/// [`PacketMemory::split_at`].
#[derive(Clone, Copy, Debug)]
pub struct PacketMemory {
    /// Guest-physical address of the first byte in this VM: virtqueues of the VM's own hold such addresses.
    pub gpa: Gpa,
    /// Bytes from the start of packet memory to the start of this run: requests hold such offsets.
    pub offset: u32,
    /// The bytes. The device side of this VM's receive queue writes them at any time.
    pub memory: PeerSlice<'static>,
}

// SAFETY: the memory is mapped for as long as the program runs (`'static`), at the same addresses in each of its
// threads. Whatever another thread does to the bytes, a peer may do at any time: they are reached through PeerSlice
// alone, which believes nothing of them.
unsafe impl Send for PacketMemory {}

impl PacketMemory {
    /// Returns `memory`, which starts at `gpa`, as all of packet memory; `None` for 4 GiB or more.
    pub fn new(gpa: Gpa, memory: PeerSlice<'static>) -> Option<Self> {
        u32::try_from(memory.len()).ok().map(|_| Self { gpa, offset: 0, memory })
    }

    /// Returns the first `len` bytes and the rest; `None` if the run has fewer bytes.
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

/// The memory by which a host lets a VM or a process reach its peers. See: [`sluice_abi::map`] for how the slot is laid
/// out.
#[derive(Clone, Copy, Debug)]
pub struct AccessMemory {
    /// The window directory, [`map::DIRECTORY_LEN`] bytes. Only the host writes it.
    pub directory: PeerSlice<'static>,
    /// The request block, one page. This VM writes it.
    pub request: PeerSlice<'static>,
    /// The packet memory that is registered.
    pub packets: PeerSlice<'static>,
    /// First byte of the sluice slot.
    pub slot: *mut u8,
    /// [`map::STATE_LEN`] bytes of this VM's own, aligned to a page: the gates `Direct` and `Guarded` keep there what
    /// they know of the peers.
    pub state: *mut u8,
}

/// A host's leave to reach the peers of this VM: [`AccessMemory`], with the promise that it is what it says.
/// [`crate::Gate::discover`] makes a gate of it. An access can be moved to the thread, or vCPU, that is to use it; the
/// gate can't.
#[derive(Debug)]
pub struct Access(AccessMemory);

// SAFETY: as for PacketMemory. Slot and state are addresses that nobody else uses, and are the same in each thread.
unsafe impl Send for Access {}

impl Access {
    /// Returns the access by `memory`.
    ///
    /// # Safety
    /// A host gave `memory`: the slot is laid out as [`sluice_abi::map`] says, the directory is the host's, packet
    /// memory and request block are registered, and all stays so for as long as the program runs. Nothing else uses the
    /// state, and no Rust reference leads into any of them or into a peer's memory. In a VM, the gate that comes of
    /// this is used at CPL 0.
    pub const unsafe fn new(memory: AccessMemory) -> Self {
        Self(memory)
    }

    /// Returns the request block.
    pub const fn request(&self) -> PeerSlice<'static> {
        self.0.request
    }
}

/// The way to the peers: the gate that the directory of an [`Access`] names.
pub(crate) struct Crossing {
    /// The request block.
    pub request: PeerSlice<'static>,
    directory: Directory<Table<'static, u64>>,
    kind: Kind,
}

#[allow(clippy::large_enum_variant, reason = "a VNF has one, and there is no allocator to box it")]
enum Kind {
    /// The ring code runs here; with [`GateKind::Guarded`] inside a view that shows the peers.
    Here {
        local: RefCell<Local>,
        guarded: bool,
    },
    Isolated,
    Hypercall,
}

/// Window state of this program's own, for the gates that run the ring code here.
struct Local {
    window: &'static mut Window,
    seen: Seen,
    slot: Slot,
}

impl Crossing {
    /// Returns the way that `access` gives.
    pub fn new(Access(memory): Access) -> Result<Self, GateError> {
        let directory = Directory::in_pages(memory.directory)?;
        if memory.request.len() < map::PAGE {
            return Err(GateError::Request);
        }
        let here = |guarded| {
            // SAFETY: the state is long enough, aligned, and this crossing's alone, by the contract of `Access::new`:
            // an access is used once.
            let window = unsafe { Window::init(memory.state.cast()) };
            window.set_packets(memory.packets);
            // SAFETY: the host maps the regions that its directory lists, by the same contract.
            let slot = unsafe { Slot::at(memory.slot) };
            Kind::Here { local: RefCell::new(Local { window, seen: Seen::new(), slot }), guarded }
        };
        let number = directory.gate();
        let kind = match GateKind::from_word(number).ok_or(GateError::Kind(number))? {
            GateKind::Direct => here(false),
            GateKind::Guarded => here(true),
            GateKind::Isolated => Kind::Isolated,
            GateKind::Hypercall => Kind::Hypercall,
        };
        Ok(Self { request: memory.request, directory, kind })
    }

    /// Returns the window directory.
    pub const fn directory(&self) -> &Directory<Table<'static, u64>> {
        &self.directory
    }

    /// Returns which gate the directory names.
    pub const fn kind(&self) -> GateKind {
        match self.kind {
            Kind::Here { guarded: false, .. } => GateKind::Direct,
            Kind::Here { guarded: true, .. } => GateKind::Guarded,
            Kind::Isolated => GateKind::Isolated,
            Kind::Hypercall => GateKind::Hypercall,
        }
    }

    /// Returns whether the ring code is this program's own.
    pub const fn is_here(&self) -> bool {
        matches!(self.kind, Kind::Here { .. })
    }

    /// Makes packets come from `runs`, each with its offset in packet memory. Returns `false` if a call is under way,
    /// or the runs are too many. Where the host runs the ring code, the host knows the runs already.
    pub fn set_runs(&self, runs: impl Iterator<Item = (u32, PeerSlice<'static>)>) -> bool {
        let Kind::Here { local, .. } = &self.kind else { return true };
        local.try_borrow_mut().is_ok_and(|mut local| local.window.set_runs(runs))
    }

    /// Returns what `look` sees in this program's own window, once that knows what the directory says now. `None`: the
    /// ring code runs elsewhere, a call is under way, or the host is writing the directory.
    pub fn look<R>(&self, look: impl FnOnce(&Window) -> R) -> Option<R> {
        let Kind::Here { local, .. } = &self.kind else { return None };
        let mut local = local.try_borrow_mut().ok()?;
        local.refresh(&self.directory).then(|| look(local.window))
    }

    /// Calls the gate for `packets`, which are in the request block.
    #[inline(always)]
    pub fn call(&self, packets: &[Packet], avx: Option<Avx>) -> Outcome {
        let count = packets.len() as u64;
        match &self.kind {
            // SAFETY: the host offers this gate, says its directory; the rest is the contract of `Access::new`.
            Kind::Isolated => unsafe { sluice_gate::isolated(count) },
            // SAFETY: as above.
            Kind::Hypercall => unsafe { hypercall::transmit(count) },
            Kind::Here { local, guarded } => self.call_here(local, *guarded, packets, avx),
        }
    }

    #[inline]
    fn call_here(&self, local: &RefCell<Local>, guarded: bool, packets: &[Packet], avx: Option<Avx>) -> Outcome {
        // A call from within a call, such as an interrupt handler's, does not take place.
        let Ok(mut local) = local.try_borrow_mut() else { return Outcome::nothing(Status::new(Code::Aborted)) };
        if !local.refresh(&self.directory) {
            return not_now(packets);
        }
        let count = packets.len() as u64;
        let mut work = || match avx {
            Some(avx) => sluice_inside::transmit(local.window, self.request, count, avx),
            None => sluice_inside::transmit(local.window, self.request, count, Words),
        };
        if guarded {
            // SAFETY: the host offers this gate, says its directory; the rest is the contract of `Access::new`.
            unsafe { sluice_gate::guarded(work) }
        } else {
            work()
        }
    }
}

/// Returns what becomes of `packets` while it is not known which peers are ready.
#[cold]
fn not_now(packets: &[Packet]) -> Outcome {
    let peer = packets.first().map_or(PeerIdx(0), |packet| packet.peer);
    Outcome::nothing(Status::of_peer(Code::PeerNotReady, peer).naming(0))
}

impl Local {
    /// Attaches the peers that changed in the directory. Returns `false` while the host is writing it.
    #[inline(always)]
    fn refresh(&mut self, directory: &Directory<Table<'static, u64>>) -> bool {
        let (window, slot) = (&mut *self.window, self.slot);
        self.seen.refresh(directory, |index, peer| {
            let ready = PeerState::from_word(peer.state) == PeerState::Ready;
            let attached = ready && window.attach_peer(index, peer, slot).is_ok();
            if !attached {
                // Sending to it says so.
                window.detach_peer(index);
            }
        })
    }
}
