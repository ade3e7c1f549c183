//! Virtual-machine extensions: the processor's side of the monitor, without any policy.
//!
//! Every field, control and structure cites the SDM, volume 3, by chapter title, since chapter numbers move with
//! revisions.

pub mod control;
pub mod ept;
pub mod features;
pub mod field;
pub mod guest;
pub mod instruction;
pub mod reason;
pub mod registers;
pub mod tsx;
pub mod unswitched;
pub mod vmcs;
