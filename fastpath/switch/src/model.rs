//! A line of loom's atomics. loom tries every order that threads can run in, and every old value that a load may see.

use crate::line::Line;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// `FENCED`: fences are there; else they are left out.
#[derive(Clone)]
pub struct Model<const FENCED: bool>(Arc<[AtomicU64; 6]>);

impl<const FENCED: bool> Default for Model<FENCED> {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl<const FENCED: bool> Line for Model<FENCED> {
    fn load(&self, at: usize, order: Ordering) -> u64 {
        self.0[at].load(order)
    }

    fn store(&self, at: usize, word: u64, order: Ordering) {
        self.0[at].store(word, order);
    }

    fn fence(order: Ordering) {
        if FENCED {
            fence(order);
        }
    }
}
