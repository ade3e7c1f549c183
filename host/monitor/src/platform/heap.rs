//! A heap for the control plane: manifest, names, lists. The data path allocates nothing.
#![allow(unsafe_code, reason = "gives the heap its memory")]

use super::frames::{self, FRAME, OutOfFrames};
use linked_list_allocator::LockedHeap;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Gives the heap `more` bytes, rounded up to whole frames. Before the first call nothing can be allocated; a later one finds its frames right
/// behind those of the call before, if no others were given out meanwhile.
///
/// # Errors
/// [`OutOfFrames`], also where other frames were given out meanwhile: the heap stays as it is.
pub fn grow(more: u64) -> Result<(), OutOfFrames> {
    let more = more.next_multiple_of(FRAME);
    let at = frames::alloc_contiguous(more, FRAME)?.0 as *mut u8;
    let mut heap = HEAP.lock();
    match heap.size() {
        // SAFETY: the heap is empty; the frames are mapped one to one, were given to nobody else and are never taken back.
        0 => unsafe { heap.init(at, more as usize) },
        // SAFETY: as above, and they begin where the heap ends.
        _ if heap.top() == at => unsafe { heap.extend(more as usize) },
        _ => return Err(OutOfFrames),
    }
    Ok(())
}
