//! A heap for the control plane: manifest, names, lists. The data path allocates nothing.
#![allow(unsafe_code, reason = "gives the heap its memory")]

use linked_list_allocator::LockedHeap;

/// Bytes that the heap has before a manifest says how many it needs.
pub const FIRST: u64 = 1 << 20;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Gives the heap the first [`FIRST`] bytes from `at` on.
///
/// # Safety
/// Called once, before anything allocates; the memory is there, one to one, and nobody else's for as long as the monitor runs.
pub unsafe fn init(at: u64) {
    // SAFETY: as this function's.
    unsafe { HEAP.lock().init(at as *mut u8, FIRST as usize) };
}

/// Gives the heap `more` bytes.
///
/// # Safety
/// They lie right behind those that it has, and are nobody else's for as long as the monitor runs.
pub unsafe fn extend(more: u64) {
    // SAFETY: as this function's.
    unsafe { HEAP.lock().extend(more as usize) };
}
