//! One path as a machine knows it: a table of 256 steps.

use crate::nsh::Spi;
use crate::{Cause, Counts};
use alloc::boxed::Box;
use alloc::string::String;

/// What a machine does with a frame at a service index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the machine is not there, and sends nothing there.
    #[default]
    Nowhere,
    /// Its own function. `open` is the policy of the hop.
    Here { open: bool },
    /// The chain ends: it takes the header off.
    End,
    /// It sends the frame to the VM of this slot; past it, if that is not there and the hop is open.
    Peer { slot: u8, open: bool },
}

/// One direction of one version of a chain, for one machine.
pub struct Way {
    pub spi: Spi,
    pub name: String,
    pub steps: Box<[Step; 256]>,
    /// The slots that the machine sends to.
    pub mask: u64,
    pub oam: bool,
    pub counts: Counts,
}

/// Where a frame goes next.
pub struct Next {
    pub index: u8,
    pub slot: u8,
    pub bypassed: u8,
}

impl Way {
    /// Returns the first VM from `index` on that is there, if the hops before it are open.
    pub fn next(&self, mut index: u8, ready: u64) -> Result<Next, Cause> {
        for bypassed in 0..=u8::MAX {
            match self.steps[usize::from(index)] {
                Step::Peer { slot, .. } if ready >> slot & 1 != 0 => return Ok(Next { index, slot, bypassed }),
                Step::Peer { open: true, .. } if index > 0 => index -= 1,
                Step::Peer { .. } => return Err(Cause::Closed),
                _ => break,
            }
        }
        Err(Cause::Index)
    }

    /// Counts what comes of a frame, and returns the slot that it goes to.
    pub fn settle(&mut self, next: Result<Next, Cause>) -> Option<u8> {
        match next {
            Ok(next) => {
                self.counts.bypassed += u64::from(next.bypassed);
                Some(next.slot)
            }
            Err(cause) => {
                self.counts.drop_one(cause);
                None
            }
        }
    }
}
