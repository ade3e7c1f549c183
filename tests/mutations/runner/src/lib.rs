//! Edits of the sources that each break one rule, and the tests that must turn red for it.
//!
//! Reading order: [`Suite`] (a table of tests/mutations), [`SourceCopy`] (the copy of the sources in which edits are
//! made), [`Trial`] (what comes of one edit). `cargo xtask mutate` runs them one after the other.
#![forbid(unsafe_code)]

mod copy;
mod suite;
mod trial;

use anyhow::Result;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

pub use copy::SourceCopy;
pub use suite::{Mutation, Suite};
pub use trial::Trial;

/// The checkout, and how the runner builds and runs programs of its copy.
pub struct Checkout {
    /// The checkout's folder.
    pub root: PathBuf,
    /// Cargo's target folder: files in it are no sources.
    pub target: PathBuf,
    /// The runner's own folder, which holds the copy and what cargo makes of it.
    pub work: PathBuf,
    /// The program `cargo`.
    pub cargo: OsString,
    /// Makes a cargo command build the images for the bare machine.
    pub images: fn(&mut Command),
    /// Runs a program, and returns `None` if it takes longer than it may.
    pub run: fn(&mut Command, Duration) -> Result<Option<Output>>,
}
