//! How `sluiced` hands memory to a process in the role of a VM.
//!
//! The process connects to its socket, and gets a [`Welcome`] with [`FILES`] descriptors: window directory, RAM,
//! request block, and a second socket of type `SOCK_SEQPACKET`. If it has an in-VM switch there are [`FLOW_FILES`]
//! more: the flow table, which it can only read, and the records ([`crate::flows`]). On the first socket the process
//! then reads and writes the registers of its device; on the second the server places the memory of its peers, one
//! [`Placement`] a packet, with `count` [`Place`]s behind it and as many descriptors beside it. The process answers
//! each with a [`Placed`]. All numbers are in the byte order of the machine.
//!
//! A program within a VM of QEMU can be given no descriptors. It gets the same by devices: ivshmem-plain for a file of
//! the layout [`window_file`] and for the RAM of each of its peers, and a virtio-serial port in the place of the first
//! socket.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of these messages and of what they hand over. A process refuses any other.
pub const VERSION: u32 = 1;
/// Number of descriptors with a [`Welcome`].
pub const FILES: usize = 4;
/// Number of further descriptors for a process with an in-VM switch.
pub const FLOW_FILES: usize = 2;
/// Largest number of [`Place`]s of one placement: those of the regions, and the page of a lock
/// ([`crate::map::PEER_LOCK`]).
pub const MAX_PLACES: usize = crate::directory::MAX_REGIONS + 1;

/// The first message of the server. The server writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Welcome {
    /// [`VERSION`]
    pub version: u32,
    /// Number of descriptors of flow memory: 0 or [`FLOW_FILES`].
    pub flow_files: u32,
}

/// A peer whose memory has these places from now on, and no others: the header of a packet. The server writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Placement {
    /// Index of the peer in the window directory.
    pub peer: u32,
    /// Number of [`Place`]s, at most [`MAX_PLACES`].
    pub count: u32,
}

/// A part of a file, and where in the sluice slot it is to be mapped for reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Place {
    /// Offset in the slot, bytes. See: [`crate::map::peer_base`].
    pub slot_offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Where the part begins in its file, bytes.
    pub file_offset: u64,
}

/// What became of a placement. The process writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Placed {
    /// Index of the peer.
    pub peer: u32,
    /// 0, or the number of the system's error for which nothing is mapped there.
    pub error: u32,
}

/// What a file has that is shared with a VM: window directory, request block and RAM, in this order.
pub mod window_file {
    use crate::map::{DIRECTORY_LEN, PAGE};

    /// Offset of the window directory, which the server writes, in bytes.
    pub const DIRECTORY: u64 = 0;
    /// Offset of the request block, a page that the program in the VM writes, in bytes.
    pub const REQUEST: u64 = DIRECTORY_LEN;
    /// Offset of the RAM in bytes. All behind it is RAM.
    pub const RAM: u64 = crate::run::RUN_ALIGN;

    const _: () = assert!(REQUEST + PAGE <= RAM);
}

const _: () = assert!(size_of::<Welcome>() == 8 && size_of::<Placement>() == 8 && size_of::<Placed>() == 8);
const _: () = assert!(size_of::<Place>() == 24);
