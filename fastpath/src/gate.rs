//! How a call reaches the peers' memory: one of four gates, found in the window directory.

use crate::directory::{Directory, Seen};
use crate::{PacketMemory, PeerError};
use core::cell::{Cell, RefCell};
use core::fmt;
use core::mem::offset_of;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Accepted, Code, Outcome, Packet, Status};
use sluice_abi::directory::{GateKind, Header, MAGIC, MAX_PEERS, Peer, PeerState, VERSION};
use sluice_abi::net::{F, Offloads};
use sluice_gate::hypercall;
use sluice_inside::Window;
use sluice_memory::{Avx, PeerSlice, Table, Words};
use zerocopy::IntoBytes;

/// What a host gives a VM or process to reach its peers with. It can be moved to the thread, or vCPU, that is to use it; the gate that is made
/// of it can't.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The directory: [`sluice_abi::map::DIRECTORY_LEN`] bytes. The host writes them.
    pub directory: PeerSlice<'static>,
    /// The request block, one page. This VM writes it.
    pub request: PeerSlice<'static>,
    /// All packet memory that was registered.
    pub packets: PeerSlice<'static>,
    /// First byte of the sluice slot.
    pub slot: *mut u8,
    /// [`sluice_abi::map::STATE_LEN`] bytes of this VM's own, aligned to a page: where the gates `Direct` and `Guarded` keep what they know of
    /// the peers.
    pub state: *mut u8,
}

#[allow(unsafe_code, reason = "a property of the memory that the compiler can't know")]
// SAFETY: as for PacketMemory; slot and state are only addresses here, and what makes a gate of it promises the rest (`Gate::discover`).
unsafe impl Send for Access {}

/// The way to all peers of this VM.
pub struct Gate {
    access: Access,
    directory: Directory<Table<'static, u64>>,
    kind: Kind,
    avx: Option<Avx>,
    /// By [`PeerIdx`]: the peer may be in quarantine though the directory says that it is ready.
    doubts: [Cell<bool>; MAX_PEERS],
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

/// Window state of our own, for the gates that run the ring code here.
struct Local {
    window: &'static mut Window,
    seen: Seen,
}

/// Why there is no gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateError {
    /// The directory starts with this instead of its magic number.
    NoDirectory(u64),
    /// A directory of a version that we don't know.
    Version(u32),
    /// A kind of gate that we don't know.
    Kind(u32),
    /// The directory is shorter than its header says, or its entries are shorter than those of this version.
    Directory,
    /// The request block is smaller than a page.
    Request,
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory(magic) => write!(f, "no window directory: it starts with {magic:#x}"),
            Self::Version(version) => write!(f, "window directory of version {version}; this program knows {VERSION}"),
            Self::Kind(kind) => write!(f, "window directory names gate {kind}, which this program does not know"),
            Self::Directory => write!(f, "the window directory is cut short"),
            Self::Request => write!(f, "the request block is too small"),
        }
    }
}

impl Gate {
    /// Finds out which gate the host offers.
    ///
    /// # Safety
    /// `access` is what the host gave: the slot is laid out as [`sluice_abi::map`] says, the directory is the host's, packet memory
    /// and request block are registered, nobody else uses the state, and no Rust reference leads into any of them or into a peer's memory. In a
    /// VM, this runs at CPL 0.
    #[allow(unsafe_code, reason = "the promise that all crossing rests on")]
    pub unsafe fn discover(access: Access) -> Result<Self, GateError> {
        // The host writes these words before it starts the VM, and never again.
        let magic = access.directory.read::<u64>(0).map_err(|_| GateError::Directory)?;
        if magic != MAGIC {
            return Err(GateError::NoDirectory(magic));
        }
        let version = access.directory.read(offset_of!(Header, version) as u64).map_err(|_| GateError::Directory)?;
        if version != VERSION {
            return Err(GateError::Version(version));
        }
        let count = (access.directory.len() / 8).min(u16::MAX.into());
        let words = access.directory.table(0, count as u16).ok_or(GateError::Directory)?;
        let directory = Directory::new(words, count as usize).ok_or(GateError::Directory)?;
        if access.request.len() < sluice_abi::map::PAGE {
            return Err(GateError::Request);
        }
        let number = directory.gate();
        let here = |guarded| {
            // SAFETY: the state is long enough, aligned, and this gate's alone, by the contract.
            let window = unsafe { Window::init(access.state.cast()) };
            window.set_packets(access.packets);
            Kind::Here { local: RefCell::new(Local { window, seen: Seen::new() }), guarded }
        };
        let kind = match GateKind::from_word(number).ok_or(GateError::Kind(number))? {
            GateKind::Direct => here(false),
            GateKind::Guarded => here(true),
            GateKind::Isolated => Kind::Isolated,
            GateKind::Hypercall => Kind::Hypercall,
        };
        // What a machine's last life found out about its peers, only the window knows.
        let doubts = [const { Cell::new(true) }; MAX_PEERS];
        Ok(Self { access, directory, kind, avx: Avx::detect(), doubts })
    }

    /// The build id of the host's ring code; `None` where the ring code is this program's own, whose id is [`crate::BUILD_ID`].
    pub fn build_id(&self) -> Option<u64> {
        Some(self.directory.build_id()).filter(|&id| id != 0)
    }

    /// Takes `runs`, which are registered with the host, for all packet memory. Runs that follow one another in RAM and in packet memory are to
    /// be one of them, and packets in the one at offset 0 are sent the fastest. Where the host runs the ring code, the host knows the runs
    /// already. `false`: a call is under way, or these are more than [`sluice_abi::run::MAX_RUNS`].
    #[must_use = "packets are taken from the memory that was known before"]
    pub fn set_runs(&self, runs: &[PacketMemory]) -> bool {
        let Kind::Here { local, .. } = &self.kind else { return true };
        let runs = runs.iter().map(|run| (run.offset, run.memory));
        local.try_borrow_mut().is_ok_and(|mut local| local.window.set_runs(runs))
    }

    /// Which gate it is.
    pub fn kind(&self) -> GateKind {
        match self.kind {
            Kind::Here { guarded: false, .. } => GateKind::Direct,
            Kind::Here { guarded: true, .. } => GateKind::Guarded,
            Kind::Isolated => GateKind::Isolated,
            Kind::Hypercall => GateKind::Hypercall,
        }
    }

    /// The directory's entry of the peer at `index`, as it is at this moment, with what [`Gate::peer_state`] says.
    pub fn peer(&self, index: PeerIdx) -> Result<Peer, PeerError> {
        let peer = self.directory.peer(index)?;
        let state = if PeerState::from_word(peer.state) == PeerState::Ready {
            self.peer_state(index) as u32
        } else {
            peer.state
        };
        Ok(Peer { state, ..peer })
    }

    /// The index of the peer named `name`, ready or not.
    pub fn find(&self, name: &str) -> Result<PeerIdx, PeerError> {
        for index in PeerIdx::all() {
            if self.peer(index)?.is_named(name) {
                return Ok(index);
            }
        }
        Err(PeerError::Unknown)
    }

    /// The state of the peer at `index`, [`PeerState::Absent`] if there is no such peer. That is one load; if a call did not deliver all
    /// to a peer that is ready, or none was made yet, the window is asked whether the peer is in quarantine: an empty call.
    pub fn peer_state(&self, index: PeerIdx) -> PeerState {
        let state = self.directory.state(index);
        let doubted = self.doubts.get(index.get()).is_some_and(Cell::get) || matches!(self.kind, Kind::Here { .. });
        if state == PeerState::Ready && doubted { self.ask(index) } else { state }
    }

    /// What frames may leave to `peer`: completing their checksum, and segmenting them. See: [`crate::FrameMut::set_offloads`].
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn offloads(&self, peer: PeerIdx) -> Result<Offloads, PeerError> {
        let entry = self.directory.peer(peer)?;
        Ok(F::from_bits_truncate(entry.queues[0].features).offloads_to_driver())
    }

    /// The same, of a peer that was ready a moment ago. What the window says counts if the directory says the same before and after.
    #[cold]
    fn ask(&self, index: PeerIdx) -> PeerState {
        let asked = self.directory.whole(|| (self.directory.state(index), self.is_open(index)));
        // While the host writes, nobody knows more than the word says.
        let Some((_, (state, open))) = asked else { return self.directory.state(index) };
        if let (Some(doubt), Some(open)) = (self.doubts.get(index.get()), open) {
            doubt.set(!open);
        }
        if state == PeerState::Ready && open == Some(false) { PeerState::Quarantined } else { state }
    }

    /// Whether the window would send to the peer at `index`; `None`: it did not say.
    fn is_open(&self, index: PeerIdx) -> Option<bool> {
        if let Kind::Here { local, .. } = &self.kind {
            let mut local = local.try_borrow_mut().ok()?;
            return local.refresh(&self.directory, self.access.slot).then(|| local.window.is_open(index));
        }
        // A packet without a byte: the peer is looked at before the packet, and nothing is sent. Somebody may be about to call by hand.
        let before = self.access.request.read::<Packet>(0).ok()?;
        let answer = self.send(&[Packet::new(0, 0, index)]).status.code();
        self.access.request.write(0, before).ok()?;
        match answer {
            Code::PeerFault | Code::PeerNotReady => Some(false),
            Code::BadRequest | Code::Full => Some(true),
            _ => None,
        }
    }

    /// A call refused these packets, for whatever reason: their peers may be in quarantine.
    #[cold]
    pub(crate) fn doubt(&self, refused: &[Packet]) {
        refused.iter().filter_map(|packet| self.doubts.get(packet.peer.get())).for_each(|doubt| doubt.set(true));
    }

    /// Sends `packets`, at most [`sluice_abi::call::MAX_BURST`], each to the peer that it names: frames anywhere in registered packet memory,
    /// whoever manages their buffers. The buffers of packets that were accepted are the caller's again at once; the others were not sent.
    /// [`crate::PeerPort`] does the same for a burst.
    pub fn transmit(&self, packets: &[Packet]) -> Outcome {
        let mut outcome = self.send(packets);
        if outcome.status == Status::OK {
            outcome.accepted = Accepted::default();
            outcome.accepted.insert_run(0, packets.len());
        } else {
            self.doubt(packets);
        }
        outcome
    }

    /// As [`Gate::transmit`]; the caller sees to [`Gate::doubt`].
    #[inline(always)]
    pub(crate) fn send(&self, packets: &[Packet]) -> Outcome {
        let (request, bytes) = (self.access.request, packets.as_bytes());
        let copied = match self.avx {
            Some(avx) => request.copy_from_slice_through(0, bytes, avx),
            None => request.copy_from_slice(0, bytes),
        };
        match copied {
            Ok(()) => self.call(packets),
            Err(_) => Outcome::nothing(Status::new(Code::BadRequest)),
        }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "crosses, as `discover` was promised it can")]
    fn call(&self, packets: &[Packet]) -> Outcome {
        let count = packets.len() as u64;
        match &self.kind {
            // SAFETY: the host offers this gate, says its directory; the rest is the contract of `discover`.
            Kind::Isolated => unsafe { sluice_gate::isolated(count) },
            // SAFETY: as above.
            Kind::Hypercall => unsafe { hypercall::transmit(count) },
            Kind::Here { local, guarded } => self.call_here(local, *guarded, packets),
        }
    }

    #[inline]
    #[allow(unsafe_code, reason = "crosses, as `discover` was promised it can")]
    fn call_here(&self, local: &RefCell<Local>, guarded: bool, packets: &[Packet]) -> Outcome {
        // A call from within a call, such as an interrupt handler's, does not take place.
        let Ok(mut local) = local.try_borrow_mut() else { return Outcome::nothing(Status::new(Code::Aborted)) };
        if !local.refresh(&self.directory, self.access.slot) {
            return not_now(packets);
        }
        let count = packets.len() as u64;
        let mut work = || match self.avx {
            Some(avx) => sluice_inside::transmit(local.window, self.access.request, count, avx),
            None => sluice_inside::transmit(local.window, self.access.request, count, Words),
        };
        if guarded {
            // SAFETY: the host offers this gate, says its directory; the rest is the contract of `discover`.
            unsafe { sluice_gate::guarded(work) }
        } else {
            work()
        }
    }
}

/// What becomes of `packets` while it is not known which peers are ready.
#[cold]
fn not_now(packets: &[Packet]) -> Outcome {
    let peer = packets.first().map_or(PeerIdx(0), |packet| packet.peer);
    Outcome::nothing(Status::of_peer(Code::PeerNotReady, peer).naming(0))
}

impl Local {
    /// Attaches what the directory says now, if it says something new. `false`: the host is writing it.
    #[inline(always)]
    #[allow(unsafe_code, reason = "passes on the contract of Gate::discover")]
    fn refresh(&mut self, directory: &Directory<Table<'static, u64>>, slot: *mut u8) -> bool {
        let window = &mut *self.window;
        self.seen.refresh(directory, |index, peer| {
            let ready = PeerState::from_word(peer.state) == PeerState::Ready;
            // SAFETY: the host maps the regions it lists (contract of `discover`).
            let attached = ready && unsafe { window.attach_peer(index, peer, slot) }.is_ok();
            if !attached {
                // Sending to it says so.
                window.detach_peer(index);
            }
        })
    }
}

#[cfg(test)]
mod tests;
