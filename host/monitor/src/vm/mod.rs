//! Virtual machines: what each is made of, and how it runs.
//!
//! Reading order: `vm` (the parts of a VM), `build` (how the manifest's VMs are made), `schedule` (one processor's
//! share), `exit` (what an exit means), `view` (what a VM can reach), `window` (how its view of its peers changes).
//!
//! No file here imports one that imports it. In particular nothing calls the dispatcher `exit` but `schedule`.

mod bases;
mod boot_files;
mod build;
mod console;
mod emulate;
mod exit;
mod flows;
mod gate_image;
mod lan;
mod lapic;
mod load;
mod mailbox;
mod network;
mod news;
mod ram;
mod restart;
mod ring_code;
mod schedule;
mod senders;
mod tables;
mod view;
#[allow(clippy::module_inception, reason = "the folder is about VMs, and the file has the type Vm")]
mod vm;
mod window;

pub use boot_files::{BootFiles, Module};
pub use schedule::run;
