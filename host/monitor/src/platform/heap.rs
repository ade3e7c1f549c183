//! A small heap for the control plane: manifest, names, lists. The data path allocates nothing.

use core::mem::MaybeUninit;
use linked_list_allocator::LockedHeap;

const SIZE: usize = 1 << 20;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Gives the heap its memory; called once, first of all.
#[allow(unsafe_code, reason = "hands a static over")]
pub fn init() {
    static mut MEMORY: [MaybeUninit<u8>; SIZE] = [MaybeUninit::uninit(); SIZE];
    // SAFETY: called once, by the first processor, before anything allocates; nobody else names MEMORY.
    unsafe { HEAP.lock().init((&raw mut MEMORY).cast(), SIZE) };
}
