//! The memory map: the *sluice slot*, one range that has the same offsets in every address space.
//!
//! A byte at slot offset `o` has the guest-physical address `SLOT_GPA + o`, the guest-virtual address `SLOT_VA + o` in
//! home, gate and window alike, and in an ordinary process the address `reservation + o`. The views differ in which
//! offsets are backed, and by what: docs/memory-map.md has the table.

use crate::peer_idx::{MAX_PEERS, PeerIdx};

/// Guest-physical start of the slot: 64 GiB, above any VM's RAM, within 39 address bits.
/// Above 4 GiB, so no code in compatibility mode or with paging off reaches the gate (rule G6).
pub const SLOT_GPA: u64 = 0x10_0000_0000;
/// Guest-virtual start of the slot: 64 TiB, entry [`SLOT_PML4_INDEX`] of the top-level table.
pub const SLOT_VA: u64 = 0x4000_0000_0000;
/// The only top-level page-table entry that gate and window views have (rule G14).
pub const SLOT_PML4_INDEX: usize = ((SLOT_VA >> 39) & 511) as usize;
/// Length of the slot in bytes: 448 GiB. Its last guest-physical address is the last that 39 bits name.
pub const SLOT_LEN: u64 = 0x70_0000_0000;
/// Largest number of vCPUs of one VM. A VM has one today.
pub const MAX_VCPUS: usize = 64;

/// Size of a small page, bytes.
pub const PAGE: u64 = 4096;

/// Gate page: the stub in home, the gate in the gate view, entry and exit in the window view.
pub const GATE: u64 = 0;
/// Window code, at most [`CODE_LEN`] bytes: execute-only, in the window view alone.
pub const CODE: u64 = 0x0010_0000;
/// Largest length of window code in bytes.
pub const CODE_LEN: u64 = 0x0001_0000;
/// Private state of the window code, [`STATE_LEN`] bytes for each vCPU: read-write, in the window view, where each vCPU
/// finds its own here.
pub const STATE: u64 = 0x0020_0000;
/// Length of private state in bytes: 256 KiB.
pub const STATE_LEN: u64 = 0x0004_0000;
/// Lowest byte of the window's private stack, one for each vCPU: read-write, in the window view, where each vCPU finds
/// its own here. The page below is never mapped.
pub const STACK: u64 = 0x0028_0000;
/// Length of the private stack in bytes.
pub const STACK_LEN: u64 = 0x2000;
/// Request blocks, one page for each vCPU: read-only in the window view, where each vCPU finds its own here. Elsewhere
/// the blocks of all vCPUs lie one behind the other: see [`request`].
pub const REQUEST: u64 = 0x002c_0000;
/// The host's page tables for gate and window: EPT-read-only, in those views alone.
pub const TABLES: u64 = 0x0040_0000;
/// Largest length of page tables in bytes: 4 MiB.
pub const TABLES_LEN: u64 = 0x0040_0000;
/// Window directory, one for all vCPUs of the VM: read-only, in home.
pub const DIRECTORY: u64 = 0x0080_0000;
/// Largest length of the directory in bytes: 128 KiB.
pub const DIRECTORY_LEN: u64 = 0x0002_0000;
/// EPTP list, one page for each vCPU: read-write, in the gate view, where each vCPU finds its own here.
///
/// This distance and the next are part of the gate's encoding: the displacements that reach them consist of bytes that
/// are no instruction in 64-bit mode (rule G2; trampoline/gate/src/gate.S).
pub const LIST: u64 = 0x0606_2000;
/// Page with the page number of the registered CR3 at byte [`CONSTANT_WORD`], one for each vCPU: read-only, in the gate
/// view, where each vCPU finds its own here.
pub const CONSTANT: u64 = 0x0606_3000;
/// Offset of the 64-bit word in the page at [`CONSTANT`], in bytes.
pub const CONSTANT_WORD: u64 = 0x78;
/// Flow table of a VM with an in-VM switch, one for all vCPUs, at most [`FLOWS_LEN`] bytes: read-only, in home. See:
/// [`crate::flows`].
pub const FLOWS: u64 = 0x0800_0000;
/// Largest length of the flow table's memory in bytes: 512 MiB.
pub const FLOWS_LEN: u64 = 0x2000_0000;
/// What the VM reports of its flow table, at most [`FLOW_RECORDS_LEN`] bytes: read-write, in home.
pub const FLOW_RECORDS: u64 = 0x2800_0000;
/// Largest length of what the VM reports in bytes: 256 MiB.
pub const FLOW_RECORDS_LEN: u64 = 0x1000_0000;
/// The VM's packet memory, at most [`PACKETS_LEN`] bytes, 2 MiB-aligned: read-write, in the window view.
pub const PACKETS: u64 = 0x4000_0000;
/// Largest length of packet memory in bytes: 1 GiB.
pub const PACKETS_LEN: u64 = 0x4000_0000;
/// Start of the first peer's regions: 43.75 GiB. The offset is a multiple of [`PEER_STRIDE`], so a slot offset modulo
/// that is an offset from the start of its peer's regions.
pub const PEERS: u64 = 0xa_f000_0000;
/// Distance from one peer's regions to the next peer's: 6.25 GiB. A peer's first region may begin anywhere below 2 GiB,
/// and a speculative access may reach more than 4 GiB behind its start.
pub const PEER_STRIDE: u64 = 0x1_9000_0000;
/// Distance from the start of a peer's regions to the page with the lock of its queue, bytes: the last page
/// before the next peer's, behind the distance that no region comes near ([`INDEX_REACH`]). See: [`crate::queue_lock`].
pub const PEER_LOCK: u64 = PEER_STRIDE - PAGE;
/// Largest RAM of a VM in bytes.
pub const MAX_RAM: u64 = 2 << 30;

/// Distance that a speculative access may reach, in bytes. While the processor speculates that a bound check passes, an
/// offset from the start of packet memory or of a peer's first region may be anything below 4 GiB, and a header and a
/// frame of a 16-bit length lie behind it. So nothing of anybody else lies below this distance (rule G8).
pub const SPECULATION_REACH: u64 = (1 << 32) + (1 << 17);
/// Distance that a speculative access may reach behind the end of each of a peer's regions, in bytes: an index of 16
/// bits into a table of descriptors of 16 bytes.
pub const INDEX_REACH: u64 = 1 << 20;

/// Returns the slot offset of the [`PEER_STRIDE`] bytes that belong to `peer`.
pub const fn peer_base(peer: PeerIdx) -> u64 {
    PEERS + peer.0 as u64 * PEER_STRIDE
}

/// Returns the slot offset of the request block of vCPU `vcpu` in home and in a process.
pub const fn request(vcpu: usize) -> u64 {
    REQUEST + vcpu as u64 * PAGE
}

/// Guest-physical address of the virtio-mmio registers of a VM's network device.
pub const MMIO_GPA: u64 = 0xfe00_0000;

const _: () = assert!(peer_base(PeerIdx(MAX_PEERS as u8)) <= SLOT_LEN);
const _: () = assert!(SLOT_GPA + SLOT_LEN == 1 << 39 && SLOT_VA.is_multiple_of(1 << 39));
const _: () = assert!(SLOT_PML4_INDEX == 128);
const _: () = assert!(CODE + CODE_LEN <= STATE && STATE + STATE_LEN < STACK - PAGE && STACK + STACK_LEN <= REQUEST);
const _: () = assert!(request(MAX_VCPUS) <= TABLES && TABLES + TABLES_LEN <= DIRECTORY);
const _: () = assert!(DIRECTORY + DIRECTORY_LEN <= LIST && CONSTANT + PAGE <= FLOWS);
const _: () = assert!(FLOWS + FLOWS_LEN <= FLOW_RECORDS && FLOW_RECORDS + FLOW_RECORDS_LEN <= PACKETS);
// A speculative access from packet memory ends before the peers, and one from a peer's first region before the next
// peer.
const _: () = assert!(
    PACKETS + SPECULATION_REACH + PACKETS_LEN <= PEERS && MAX_RAM + SPECULATION_REACH + INDEX_REACH <= PEER_STRIDE
);
const _: () = assert!(PEERS.is_multiple_of(PEER_STRIDE));
