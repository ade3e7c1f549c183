//! Where a VM's packets and requests lie.

use crate::runs::Runs;
use core::cell::UnsafeCell;
use sluice_abi::run::RUN_ALIGN;
use sluice_abi::{Gpa, map};
use sluice_memory::PeerSlice;

#[repr(C, align(4096))]
struct Pages<const LEN: usize>(UnsafeCell<[u8; LEN]>);

#[allow(unsafe_code, reason = "see SAFETY")]
// SAFETY: only ever touched through the addresses that the functions below hand out, of which there is one user each.
unsafe impl<const LEN: usize> Sync for Pages<LEN> {}

static REQUEST: Pages<{ map::PAGE as usize }> = Pages(UnsafeCell::new([0; _]));
static STATE: Pages<{ map::STATE_LEN as usize }> = Pages(UnsafeCell::new([0; _]));

/// Memory for [`sluice::Access::state`].
pub fn window_state() -> *mut u8 {
    STATE.0.get().cast()
}

/// The request block: a page of the image's data.
#[allow(unsafe_code, reason = "hands out a static page")]
pub fn request_block() -> (Gpa, PeerSlice<'static>) {
    let base = REQUEST.0.get().cast::<u8>();
    // SAFETY: a static page, mapped one to one, that nothing else refers to.
    (Gpa(base.addr() as u64), unsafe { PeerSlice::from_raw(base, map::PAGE) })
}

/// The free RAM that runs can be made of; `None` if there is none.
///
/// # Safety
/// The RAM from `start` to `end` is mapped one to one and nobody's.
#[allow(unsafe_code, reason = "hands out free RAM")]
pub unsafe fn packet_memory(start: Gpa, end: Gpa) -> Option<Runs> {
    let base = start.0.next_multiple_of(RUN_ALIGN);
    let len = end.0.saturating_sub(base) / RUN_ALIGN * RUN_ALIGN;
    // SAFETY: within start..end; the contract above.
    (len > 0).then(|| Runs::new(Gpa(base), unsafe { PeerSlice::from_raw(base as *mut u8, len) }))
}
