//! Where a VM's packets and requests lie.

use core::cell::UnsafeCell;
use sluice_abi::{Gpa, map};
use sluice_memory::PeerSlice;

/// Packet memory is registered in pieces of this size. See: [`sluice_abi::call::Hypercall::Register`].
const LARGE_PAGE: u64 = 2 << 20;
/// As much packet memory as an example can use: thousands of buffers and the rings.
const MOST: u64 = 16 << 20;

#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; map::PAGE as usize]>);

#[allow(unsafe_code, reason = "see SAFETY")]
// SAFETY: only ever touched through the PeerSlice of `request_block`, which makes no references.
unsafe impl Sync for Page {}

static REQUEST: Page = Page(UnsafeCell::new([0; map::PAGE as usize]));

/// The request block: a page of the image's data.
#[allow(unsafe_code, reason = "hands out a static page")]
pub fn request_block() -> (Gpa, PeerSlice<'static>) {
    let base = REQUEST.0.get().cast::<u8>();
    // SAFETY: a static page, mapped one to one, that nothing else refers to.
    (Gpa(base.addr() as u64), unsafe { PeerSlice::from_raw(base, map::PAGE) })
}

/// The whole large pages of free RAM, at most [`MOST`] bytes; `None` if there is not one.
///
/// # Safety
/// The RAM from `start` to `end` is mapped one to one and nobody's.
#[allow(unsafe_code, reason = "hands out free RAM")]
pub unsafe fn packet_memory(start: Gpa, end: Gpa) -> Option<(Gpa, PeerSlice<'static>)> {
    let base = start.0.next_multiple_of(LARGE_PAGE);
    let len = (end.0.saturating_sub(base) / LARGE_PAGE * LARGE_PAGE).min(MOST);
    // SAFETY: within start..end; the contract above.
    (len > 0).then(|| (Gpa(base), unsafe { PeerSlice::from_raw(base as *mut u8, len) }))
}
