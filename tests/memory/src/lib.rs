//! Memory for tests, which is shared and never freed: plain ([`zeroed`]), or with poison around it ([`Memory`]).

mod poisoned;

pub use poisoned::Memory;
use sluice_memory::PeerSlice;

/// Alignment of memory in bytes: a page.
const ALIGN: u64 = 4096;

/// Returns `len` bytes of 0, which start at a page.
pub fn zeroed(len: u64) -> PeerSlice<'static> {
    let all = PeerSlice::from_mut(vec![0u8; (len + ALIGN) as usize].leak());
    let address = all.as_ptr().addr() as u64;
    all.sub(address.next_multiple_of(ALIGN) - address, len).expect("less than a page from the start")
}

/// Returns the `len` bytes of `memory` at `offset`.
#[track_caller]
pub fn read(memory: PeerSlice<'_>, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    memory.copy_to_slice(offset, &mut bytes).expect("bytes inside the memory");
    bytes
}
