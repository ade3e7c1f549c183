//! How a call reaches the peers' memory: one of four gates, found in the window directory.

use core::cell::RefCell;
use core::fmt;
use core::mem::offset_of;
use sluice_abi::call::{Code, Outcome, Packet, Status};
use sluice_abi::directory::{Directory, GateKind, MAGIC, MAX_PEERS, Peer, PeerState, VERSION};
use sluice_gate::hypercall;
use sluice_inside::Window;
use sluice_memory::{Avx, PeerSlice, Words};
use zerocopy::IntoBytes;

/// What a host gives a VM or process to reach its peers with.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The directory page. The host writes it.
    pub directory: PeerSlice<'static>,
    /// The request block, one page. This VM writes it.
    pub request: PeerSlice<'static>,
    /// All packet memory that was registered.
    pub packets: PeerSlice<'static>,
    /// First byte of the sluice slot.
    pub slot: *mut u8,
}

/// The way to all peers of this VM.
pub struct Gate {
    access: Access,
    kind: Kind,
    avx: Option<Avx>,
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
    window: Window,
    generation: u32,
    attached: [Peer; MAX_PEERS],
}

/// Why there is no gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateError {
    /// The directory page starts with this instead of its magic number.
    NoDirectory(u64),
    /// A directory of a version that we don't know.
    Version(u32),
    /// A kind of gate that we don't know.
    Kind(u32),
    /// The request block is smaller than a page.
    Request,
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory(magic) => write!(f, "no window directory: it starts with {magic:#x}"),
            Self::Version(version) => write!(f, "window directory of version {version}; this program knows {VERSION}"),
            Self::Kind(kind) => write!(f, "window directory names gate {kind}, which this program does not know"),
            Self::Request => write!(f, "the request block is too small"),
        }
    }
}

impl Gate {
    /// Finds out which gate the host offers.
    ///
    /// # Safety
    /// `access` is what the host gave: the slot is laid out as [`sluice_abi::map`] says, the directory is the host's, packet memory
    /// and request block are registered, and no Rust reference leads into any of them or into a peer's memory. In a VM, this runs
    /// at CPL 0.
    #[allow(unsafe_code, reason = "the promise that all crossing rests on")]
    pub unsafe fn discover(access: Access) -> Result<Self, GateError> {
        let word = |offset: usize| access.directory.read::<u32>(offset as u64).unwrap_or(0);
        let magic = access.directory.read::<u64>(0).unwrap_or(0);
        if magic != MAGIC {
            return Err(GateError::NoDirectory(magic));
        }
        match word(offset_of!(Directory, version)) {
            VERSION => {}
            version => return Err(GateError::Version(version)),
        }
        if access.request.len() < sluice_abi::map::PAGE {
            return Err(GateError::Request);
        }
        let number = word(offset_of!(Directory, gate));
        let here = |guarded| Kind::Here { local: RefCell::new(Local::new(access.packets)), guarded };
        let kind = match GateKind::from_word(number).ok_or(GateError::Kind(number))? {
            GateKind::Direct => here(false),
            GateKind::Guarded => here(true),
            GateKind::Isolated => Kind::Isolated,
            GateKind::Hypercall => Kind::Hypercall,
        };
        Ok(Self { access, kind, avx: Avx::detect() })
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

    /// The directory's entry of the peer at place `index`, as it is now; `None` if there is no such place.
    pub fn peer(&self, index: u16) -> Option<Peer> {
        read_peer(self.access.directory, index)
    }

    /// The place of the peer named `name`.
    pub fn find(&self, name: &str) -> Option<u16> {
        (0..MAX_PEERS as u16).find(|&index| self.peer(index).is_some_and(|peer| peer.name() == name))
    }

    /// The state of the peer at place `index`: one load.
    pub fn peer_state(&self, index: u16) -> PeerState {
        let at = offset_of!(Directory, peers) + usize::from(index) * size_of::<Peer>() + offset_of!(Peer, state);
        let known = usize::from(index) < MAX_PEERS;
        known
            .then(|| self.access.directory.read(at as u64).ok())
            .flatten()
            .map_or(PeerState::Absent, PeerState::from_word)
    }

    /// Sends `packets`, each to the peer it names; as many as a request block holds.
    #[inline(always)]
    pub(crate) fn send(&self, packets: &[Packet]) -> Outcome {
        let (request, bytes) = (self.access.request, packets.as_bytes());
        let copied = match self.avx {
            Some(avx) => request.copy_from_slice_through(0, bytes, avx),
            None => request.copy_from_slice(0, bytes),
        };
        match copied {
            Ok(()) => self.call(packets.len() as u64),
            Err(_) => Outcome { status: Status::new(Code::BadRequest), ..Outcome::default() },
        }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "crosses, as `discover` was promised it can")]
    fn call(&self, count: u64) -> Outcome {
        match &self.kind {
            // SAFETY: the host offers this gate, says its directory; the rest is the contract of `discover`.
            Kind::Isolated => unsafe { sluice_gate::isolated(count) },
            // SAFETY: as above.
            Kind::Hypercall => unsafe { hypercall::transmit(count) },
            Kind::Here { local, guarded } => self.call_here(local, *guarded, count),
        }
    }

    #[inline]
    #[allow(unsafe_code, reason = "crosses, as `discover` was promised it can")]
    fn call_here(&self, local: &RefCell<Local>, guarded: bool, count: u64) -> Outcome {
        // Nothing calls back into the gate from within.
        let Ok(mut local) = local.try_borrow_mut() else { return Outcome::default() };
        local.refresh(&self.access);
        let mut work = || match self.avx {
            Some(avx) => sluice_inside::transmit(&mut local.window, self.access.request, count, avx),
            None => sluice_inside::transmit(&mut local.window, self.access.request, count, Words),
        };
        if guarded {
            // SAFETY: the host offers this gate, says its directory; the rest is the contract of `discover`.
            unsafe { sluice_gate::guarded(work) }
        } else {
            work()
        }
    }
}

fn read_peer(directory: PeerSlice<'_>, index: u16) -> Option<Peer> {
    let mut peer = Peer::default();
    let at = offset_of!(Directory, peers) + usize::from(index) * size_of::<Peer>();
    let known = usize::from(index) < MAX_PEERS && directory.copy_to_slice(at as u64, peer.as_mut_bytes()).is_ok();
    known.then_some(peer)
}

impl Local {
    fn new(packets: PeerSlice<'static>) -> Self {
        let mut window = Window::new();
        window.set_packets(packets);
        Self { window, generation: u32::MAX, attached: [Peer::default(); MAX_PEERS] }
    }

    /// Looks at the directory again if its generation moved.
    #[inline(always)]
    fn refresh(&mut self, access: &Access) {
        let generation = access.directory.read(offset_of!(Directory, generation) as u64).unwrap_or(0);
        if generation != self.generation {
            self.generation = generation;
            self.attach_changed(access);
        }
    }

    #[cold]
    #[allow(unsafe_code, reason = "passes on the contract of Gate::discover")]
    fn attach_changed(&mut self, access: &Access) {
        for index in 0..MAX_PEERS as u16 {
            let Some(peer) =
                read_peer(access.directory, index).filter(|peer| *peer != self.attached[usize::from(index)])
            else {
                continue;
            };
            self.window.detach_peer(index);
            if PeerState::from_word(peer.state) == PeerState::Ready {
                // SAFETY: the host maps the regions it lists (contract of `discover`). One that can't be used is not attached:
                // sending to it says so.
                let _ = unsafe { self.window.attach_peer(index, &peer, access.slot) };
            }
            self.attached[usize::from(index)] = peer;
        }
    }
}
