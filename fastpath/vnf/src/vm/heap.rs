//! A heap for images that use the crate `alloc`.

#![allow(unsafe_code, reason = "a global allocator")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use spin::Mutex;

/// An image's global allocator, of `N` bytes: [`crate::heap!`] makes it. What does not fit is a panic, which ends the VM.
#[doc(hidden)]
pub struct Heap<const N: usize> {
    bytes: UnsafeCell<MaybeUninit<[u8; N]>>,
    /// `None` before the first allocation.
    free: Mutex<Option<linked_list_allocator::Heap>>,
}

// SAFETY: only `free` leads to `bytes`, under its lock.
unsafe impl<const N: usize> Sync for Heap<N> {}

impl<const N: usize> Heap<N> {
    #[allow(clippy::new_without_default, reason = "for statics")]
    pub const fn new() -> Self {
        Self { bytes: UnsafeCell::new(MaybeUninit::uninit()), free: Mutex::new(None) }
    }
}

// SAFETY: `linked_list_allocator` hands out each byte of `bytes` once, until it is given back; a lock is held meanwhile, and nothing unwinds.
unsafe impl<const N: usize> GlobalAlloc for Heap<N> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut free = self.free.lock();
        // SAFETY: a global allocator is a static, so its bytes stay where they are, and nothing else refers to them.
        let free = free.get_or_insert_with(|| unsafe { linked_list_allocator::Heap::new(self.bytes.get().cast(), N) });
        free.allocate_first_fit(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if let (Some(free), Some(at)) = (self.free.lock().as_mut(), NonNull::new(at)) {
            // SAFETY: the caller's promise: `at` is of `alloc`, with this layout.
            unsafe { free.deallocate(at, layout) };
        }
    }
}
