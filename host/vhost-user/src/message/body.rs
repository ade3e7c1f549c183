//! Layouts of bodies, in the byte order of the machine. The front-end writes them. See: "Vhost-user Protocol",
//! "Payload".

use super::header::{Fault, MAX_BODY};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most memory regions of a table. See: "Vhost-user Protocol", "Memory regions description".
pub const MAX_REGIONS: usize = 8;
/// The unit that memory is mapped in, bytes.
const PAGE: u64 = 4_096;

/// A ring, by its index, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VringState {
    /// The index of the ring.
    pub index: u32,
    /// The number: entries, where the ring stands, or whether it is enabled.
    pub num: u32,
}

const _: () = assert!(size_of::<VringState>() == 8);

/// The addresses of a ring, in the front-end's own space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VringAddress {
    /// The index of the ring.
    pub index: u32,
    /// Bit 0: the device area is to be logged.
    pub flags: u32,
    /// The descriptors.
    pub descriptors: u64,
    /// The device area: of a split ring the used ring.
    pub device: u64,
    /// The driver area: of a split ring the available ring.
    pub driver: u64,
    /// The guest-physical address of the device area, for the log.
    pub log: u64,
}

const _: () = assert!(size_of::<VringAddress>() == 40);

impl VringAddress {
    /// Returns the addresses, if each is aligned as it must be in rings of both formats. See: VIRTIO 2.7 "Split
    /// Virtqueues", 2.8 "Packed Virtqueues".
    pub(super) fn checked(self) -> Result<Self, Fault> {
        let areas =
            [("descriptors", self.descriptors, 16), ("driver area", self.driver, 2), ("device area", self.device, 4)];
        match areas.into_iter().find(|(_, at, unit)| !at.is_multiple_of(*unit)) {
            Some((what, at, _)) => Err(Fault::Place { what, at }),
            None if self.flags > 1 => Err(Fault::Bits(self.flags.into())),
            None => Ok(self),
        }
    }
}

/// What a memory table begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TableHeader {
    /// The number of regions.
    pub count: u32,
    /// Nothing.
    pub padding: u32,
}

/// A region of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Region {
    /// The guest-physical address.
    pub gpa: u64,
    /// The length, bytes.
    pub len: u64,
    /// The address in the front-end's own space.
    pub user: u64,
    /// Where the region starts in its file, bytes.
    pub offset: u64,
}

const _: () = assert!(size_of::<TableHeader>() == 8 && size_of::<Region>() == 32);
const _: () = assert!(MAX_BODY == size_of::<TableHeader>() + MAX_REGIONS * size_of::<Region>());

impl Region {
    /// Returns the region, if it is of whole pages and ends within each of its spaces.
    pub(super) fn checked(self) -> Result<Self, Fault> {
        let Self { gpa, len, user, offset } = self;
        let whole = [gpa, len, user, offset].iter().all(|part| part.is_multiple_of(PAGE));
        let ends = [gpa, user, offset].iter().all(|start| start.checked_add(len).is_some());
        if whole && ends && len > 0 { Ok(self) } else { Err(Fault::Place { what: "memory region", at: gpa }) }
    }
}

/// Where the log of pages that are written lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LogArea {
    /// The length, bytes.
    pub len: u64,
    /// Where the log starts in its file, bytes.
    pub offset: u64,
}

const _: () = assert!(size_of::<LogArea>() == 16);
