//! The build id: it tells the sources and the compiler of ring code.
//!
//! A host writes a window's state, and the code of the window image works on it, so both have to be made of the same
//! sources by the same compiler: the layout of that state is in no contract. The id is a hash of these
//! (trampoline/inside/build.rs). The window image has it at the start of its constants, behind [`MAGIC`]; a host that
//! was built with another one does not load the image. [`crate::directory`] tells the id to the VM. Ring code that is
//! linked into a VNF (gates `Direct` and `Guarded`) has a state of its own, and needs no host's id.

/// The word before the id in a window image: "SluiceId".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SluiceId");

/// Returns the id in `constants`, the constants of a window image; `None` if they have no id.
pub fn find(constants: &[u8]) -> Option<u64> {
    let (words, _) = constants.as_chunks();
    match words {
        [magic, id, ..] if u64::from_le_bytes(*magic) == MAGIC => Some(u64::from_le_bytes(*id)),
        _ => None,
    }
}
