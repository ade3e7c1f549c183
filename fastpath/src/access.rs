//! What a host gives a VM or a process, and every step that leads out of its own memory: the one file of this crate
//! with unsafe code.
//!
//! A [`Crossing`] is made once, of an [`Access`]. The promise that comes with the access is what every block below
//! relies on, so whoever uses a crossing has nothing to promise.
#![allow(unsafe_code, reason = "calls the gates, as `Access::new` was promised it can")]

use crate::GateError;
use crate::calls::Calls;
use crate::directory::{Directory, Seen};
use core::cell::RefCell;
use core::hint::cold_path;
use sluice_abi::call::{CALLS, Code, Outcome, Packet, Status};
use sluice_abi::directory::{GateKind, PeerState};
use sluice_abi::{Gpa, PeerIdx};
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
pub struct AccessMemory {
    /// The window directory, [`sluice_abi::map::DIRECTORY_LEN`] bytes. Only the host writes it.
    pub directory: PeerSlice<'static>,
    /// The request block, one page. This VM writes it.
    pub request: PeerSlice<'static>,
    /// The packet memory that is registered.
    pub packets: PeerSlice<'static>,
    /// The sluice slot.
    pub slot: Slot,
    /// What the gates `Direct` and `Guarded` know of the peers.
    pub state: &'static mut Window,
}

/// A host's leave to reach the peers of this VM. [`crate::Gate::discover`] makes a gate of it. An access can be moved
/// to the thread, or vCPU, that is to use it; the gate can't.
pub struct Access {
    memory: AccessMemory,
    /// Gates other than `Direct` may be used, by the promise of [`Access::new`].
    any_gate: bool,
}

// SAFETY: a window refers to memory by PeerSlices, which are Send, and by addresses that were made of those.
unsafe impl Send for Access {}

impl Access {
    /// Returns the access by `memory` with the gate `Direct`. A directory that names another gate is refused by
    /// [`crate::Gate::discover`].
    pub const fn direct(memory: AccessMemory) -> Self {
        Self { memory, any_gate: false }
    }

    /// Returns the access by `memory` with whatever gate its directory names.
    ///
    /// # Safety
    /// The directory is a host's, which offers the gate that it names; packet memory and request block are registered
    /// there, and all stays so for as long as the program runs. The gate that comes of this is used at CPL 0.
    pub const unsafe fn new(memory: AccessMemory) -> Self {
        Self { memory, any_gate: true }
    }

    /// Returns the request block.
    pub const fn request(&self) -> PeerSlice<'static> {
        self.memory.request
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
    calls: Calls<Table<'static, u64>>,
    seen: Seen,
    slot: Slot,
}

impl Crossing {
    /// Returns the way that `access` gives.
    pub fn new(Access { memory, any_gate }: Access) -> Result<Self, GateError> {
        let AccessMemory { directory, request, packets, slot, state } = memory;
        let directory = Directory::in_pages(directory)?;
        let words = request.table(0, CALLS as u16 + 1).ok_or(GateError::Request)?;
        let number = directory.gate();
        let gate = GateKind::from_word(number).ok_or(GateError::Kind(number))?;
        let guarded = match gate {
            _ if !any_gate && gate != GateKind::Direct => return Err(GateError::NotDirect(gate)),
            GateKind::Isolated => return Ok(Self { request, directory, kind: Kind::Isolated }),
            GateKind::Hypercall => return Ok(Self { request, directory, kind: Kind::Hypercall }),
            GateKind::Direct | GateKind::Guarded => gate == GateKind::Guarded,
        };
        state.set_packets(packets);
        let local = RefCell::new(Local { window: state, calls: Calls::new(words), seen: Seen::new(), slot });
        Ok(Self { request, directory, kind: Kind::Here { local, guarded } })
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
            Kind::Here { local, guarded } => {
                // The way through a gate of the host's has no jump around this one.
                cold_path();
                self.call_here(local, *guarded, packets, avx)
            }
        }
    }

    /// Runs the ring code here. Inlined, though it is on a cold path: a call would cost each burst 15 instructions.
    #[inline(always)]
    fn call_here(&self, local: &RefCell<Local>, guarded: bool, packets: &[Packet], avx: Option<Avx>) -> Outcome {
        // A call from within a call, such as an interrupt handler's, does not take place.
        let Ok(mut local) = local.try_borrow_mut() else { return Outcome::nothing(Status::new(Code::Aborted)) };
        local.calls.begin();
        let outcome = self.send(&mut local, guarded, packets, avx);
        local.calls.end();
        outcome
    }

    /// Sends as [`Crossing::call`] does, while the host knows of it.
    #[inline(always)]
    fn send(&self, local: &mut Local, guarded: bool, packets: &[Packet], avx: Option<Avx>) -> Outcome {
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
