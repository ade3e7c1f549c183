//! Host-physical memory behind the monitor and its modules: who has which part of it, and how it is read and written.
//!
//! The first bytes are the heap's and belong to Rust alone. All other memory is given out as frames: of page tables, of
//! VMs' RAM, of VMCSs. A processor or a guest may write those at any time, so no Rust reference leads there; [`slice`]
//! is the only way to their bytes. Frames are never taken back, since a VM lives as long as the monitor.
#![allow(unsafe_code, reason = "turns physical addresses, which are mapped one to one, into checked memory")]

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use sluice_abi::Hpa;
use sluice_memory::PeerSlice;
use spin::Mutex;

/// Length of a frame in bytes.
pub const FRAME: u64 = 4096;

/// No memory is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames;

impl fmt::Display for OutOfFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory left")
    }
}

/// A run of physical memory that nobody uses: mapped one to one, readable and writable, for as long as the monitor
/// runs.
pub struct Room {
    from: u64,
    to: u64,
}

impl Room {
    /// The memory from `from` up to `to`, without the parts of frames at its ends.
    ///
    /// # Safety
    /// These bytes are mapped one to one, readable and writable, and nobody else uses them from now on.
    pub const unsafe fn new(from: u64, to: u64) -> Self {
        Self { from: from.next_multiple_of(FRAME), to: to & !(FRAME - 1) }
    }

    /// The memory of `words`, for unit tests.
    #[cfg(test)]
    fn from_words(words: &'static mut [u64]) -> Self {
        let words = words.as_mut_ptr_range();
        // SAFETY: the words are borrowed exclusively and for ever; a test's physical addresses are its own virtual
        // ones.
        unsafe { Self::new(words.start as u64, words.end as u64) }
    }
}

/// The memory that is not given out: small runs come from `small` up, large ones from `large` down, so that alignment
/// wastes little.
struct Free {
    small: u64,
    large: u64,
}

static FREE: Mutex<Free> = Mutex::new(Free { small: 0, large: 0 });

/// The memory that is given out as frames and not to the heap, from the first frame on: its first byte, and its length.
static SHARED: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Gives the allocator its memory. Only the first call has an effect.
pub fn init(room: Room) {
    let mut free = FREE.lock();
    if free.large == 0 {
        *free = Free { small: room.from, large: room.to };
    }
}

/// Gives the allocator 32 MiB of a test's own memory.
#[cfg(test)]
pub fn init_for_tests() {
    static MEMORY: std::sync::Once = std::sync::Once::new();
    MEMORY.call_once(|| init(Room::from_words(std::vec![0u64; 4 << 20].leak())));
}

/// Returns how many bytes are left.
pub fn left() -> u64 {
    let free = FREE.lock();
    free.large.saturating_sub(free.small)
}

/// Returns a zeroed frame.
pub fn alloc() -> Result<Hpa, OutOfFrames> {
    alloc_contiguous(FRAME, FRAME)
}

/// Returns `len` zeroed bytes in a row, at a multiple of `align` (a power of two, at least [`FRAME`]).
pub fn alloc_contiguous(len: u64, align: u64) -> Result<Hpa, OutOfFrames> {
    let mut free = FREE.lock();
    if SHARED[1].load(SeqCst) == 0 {
        SHARED[0].store(free.small, SeqCst);
        SHARED[1].store(free.large - free.small, SeqCst);
    }
    let at = take(&mut free, len, align).ok_or(OutOfFrames)?;
    // SAFETY: the bytes are mapped one to one (the contract of Room), and were taken just now, so nobody else has them.
    unsafe { core::ptr::write_bytes(at as *mut u8, 0, len as usize) };
    Ok(Hpa(at))
}

fn take(free: &mut Free, len: u64, align: u64) -> Option<u64> {
    let len = len.checked_next_multiple_of(FRAME)?;
    if align > FRAME {
        let at = free.large.checked_sub(len)? & !(align - 1);
        (at >= free.small).then(|| free.large = at).map(|()| at)
    } else {
        let at = free.small;
        let end = at.checked_add(len)?;
        (end <= free.large).then(|| free.small = end).map(|()| at)
    }
}

/// Returns whether the `len` bytes at `at` are in the memory of frames.
fn is_shared(at: u64, len: u64) -> bool {
    let [from, room] = SHARED.each_ref().map(|word| word.load(SeqCst));
    room.checked_sub(len).is_some_and(|last| at.wrapping_sub(from) <= last)
}

/// Returns the `len` bytes at `hpa`, or `None` unless all of them are in the memory of frames.
pub fn slice(hpa: Hpa, len: u64) -> Option<PeerSlice<'static>> {
    // SAFETY: the memory of frames is mapped one to one for ever (the contract of Room), and no reference leads into
    // it: the heap takes no memory once there is a frame.
    is_shared(hpa.0, len).then(|| unsafe { PeerSlice::from_raw(hpa.0 as *mut u8, len) })
}

/// Number of 64-bit words in a frame.
pub const WORDS: usize = 512;

/// Returns the words of the frame at `hpa`, or `None` unless it is in the memory of frames.
pub fn words(hpa: Hpa) -> Option<&'static [AtomicU64; WORDS]> {
    let Hpa(at) = hpa;
    // SAFETY: as in slice, and aligned. Others may write the words at any time, as atomics allow.
    (is_shared(at, FRAME) && at & (FRAME - 1) == 0).then(|| unsafe { &*(at as *const [AtomicU64; WORDS]) })
}

#[cfg(target_os = "none")]
mod heap {
    use super::{FRAME, FREE, OutOfFrames, SHARED, SeqCst, take};
    use linked_list_allocator::LockedHeap;

    /// The heap of the control plane: manifest, names, lists. The data path allocates nothing.
    #[global_allocator]
    static HEAP: LockedHeap = LockedHeap::empty();

    /// Gives the heap `more` bytes, rounded up to whole frames. Before the first call nothing can be allocated.
    ///
    /// # Errors
    /// [`OutOfFrames`], also after a frame was given out: the heap is one run. The heap stays as it is then.
    pub fn grow(more: u64) -> Result<(), OutOfFrames> {
        let more = more.next_multiple_of(FRAME);
        let mut free = FREE.lock();
        if SHARED[1].load(SeqCst) != 0 {
            return Err(OutOfFrames);
        }
        let at = take(&mut free, more, FRAME).ok_or(OutOfFrames)? as *mut u8;
        let mut heap = HEAP.lock();
        match heap.size() {
            // SAFETY: the heap is empty. The bytes are mapped one to one, and never become frames.
            0 => unsafe { heap.init(at, more as usize) },
            // SAFETY: as above, and the bytes begin where the heap ends: nothing but the heap was given memory before.
            _ => unsafe { heap.extend(more as usize) },
        }
        Ok(())
    }
}
#[cfg(target_os = "none")]
pub use heap::grow as grow_heap;
