//! Where things lie: the *sluice slot*, one range that has the same offsets in every address space.
//!
//! A byte at slot offset `o` has the guest-physical address `SLOT_GPA + o`, the guest-virtual address `SLOT_VA + o` in
//! home, gate and window alike, and in an ordinary process the address `reservation + o`. Which offsets are backed, and by
//! what, differs by view: docs/memory-map.md has the table.

/// Guest-physical start of the slot: 128 GiB, above any VM's RAM, within 39 address bits.
/// Above 4 GiB, so no code in compatibility mode or with paging off reaches the gate (rule G6).
pub const SLOT_GPA: u64 = 0x20_0000_0000;
/// Guest-virtual start of the slot: 64 TiB, entry [`SLOT_PML4_INDEX`] of the top-level table.
pub const SLOT_VA: u64 = 0x4000_0000_0000;
/// The only top-level page-table entry that gate and window views have (rule G14).
pub const SLOT_PML4_INDEX: usize = ((SLOT_VA >> 39) & 511) as usize;
/// Bytes of the slot: 256 GiB.
pub const SLOT_LEN: u64 = 0x40_0000_0000;

/// Size of a small page, bytes.
pub const PAGE: u64 = 4096;

/// Gate page: home has the stub here, the gate view the gate, the window view enter and leave.
pub const GATE: u64 = 0;
/// Window code, execute-only; window view only. At most [`CODE_LEN`] bytes.
pub const CODE: u64 = 0x0010_0000;
/// Room for window code, bytes.
pub const CODE_LEN: u64 = 0x0001_0000;
/// Private state of the window code, one per vCPU; window view only, read-write. [`STATE_LEN`] bytes.
pub const STATE: u64 = 0x0020_0000;
/// Room for private state, bytes.
pub const STATE_LEN: u64 = 0x8000;
/// Lowest byte of the window's private stack; window view only, read-write. The page below is never mapped.
pub const STACK: u64 = 0x0021_0000;
/// Bytes of the private stack.
pub const STACK_LEN: u64 = 0x2000;
/// The VM's request block: read-only in the window, an ordinary page of the VM in home.
pub const REQUEST: u64 = 0x0022_0000;
/// Window directory: read-only in home.
pub const DIRECTORY: u64 = 0x0023_0000;
/// Host-made page tables for gate and window: EPT-read-only, in those views only.
pub const TABLES: u64 = 0x0030_0000;
/// Room for tables, bytes.
pub const TABLES_LEN: u64 = 0x0010_0000;
/// EPTP list of the vCPU; gate view only, read-write.
///
/// This distance and the next are part of the gate's encoding: the displacements that reach them consist of bytes that are
/// no instruction in 64-bit mode (rule G2; trampoline/gate/src/gate.S).
pub const LIST: u64 = 0x0606_2000;
/// Read-only page with the registered CR3's page number at byte [`CONSTANT_WORD`]; gate view only.
pub const CONSTANT: u64 = 0x0606_3000;
/// Where in the page at [`CONSTANT`] the 64-bit word lies.
pub const CONSTANT_WORD: u64 = 0x78;
/// The VM's registered packet memory, at most [`PACKETS_LEN`] bytes, 2 MiB-aligned; window view, read-write.
pub const PACKETS: u64 = 0x4000_0000;
/// Room for packet memory, bytes: 1 GiB.
pub const PACKETS_LEN: u64 = 0x4000_0000;
/// First peer's regions.
pub const PEERS: u64 = 0x10_0000_0000;
/// Distance from one peer's regions to the next peer's: 16 GiB.
pub const PEER_STRIDE: u64 = 0x4_0000_0000;

/// What else may be touched on a wrong guess: while the processor guesses that a bound check passes, an offset from the start of
/// packet memory or of a peer's first region may be anything below this. So nothing of anybody else lies there (rule G8).
pub const GUESS_REACH: u64 = 1 << 32;

/// Slot offset of the first region of peer `index`.
pub const fn peer_base(index: u8) -> u64 {
    PEERS + index as u64 * PEER_STRIDE
}

/// Guest-physical address of the virtio-mmio registers of a VM's network device.
pub const MMIO_GPA: u64 = 0xfe00_0000;

const _: () = assert!(peer_base(crate::directory::MAX_PEERS as u8) <= SLOT_LEN);
const _: () = assert!(SLOT_PML4_INDEX == 128);
const _: () = assert!(PACKETS + GUESS_REACH + PACKETS_LEN <= PEERS && 2 * GUESS_REACH <= PEER_STRIDE);
