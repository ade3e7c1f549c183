//! The audit: what the machine code of gate and window is, whatever compiler and assembler made it.
//!
//! [`gate()`] judges the gate's three pages, [`window()`] a window image with the page that enters it, [`file()`] any
//! ELF file. Each returns rows: a [`Rule`], what was counted, and the [`Finding`]s that break it. Nothing here builds
//! or prints; `cargo xtask audit` does.
//!
//! | module | contents |
//! |---|---|
//! | [`pages`] | the rules of the three pages; [`pages::walk`] follows every path from every byte of the gate page |
//! | `window` | the rules of the window's code: instructions, calls, stack, registers, vectors, speculation |
//! | `image`, `vnf`, `vmfunc` | the rules of an ELF file: what it maps and names, where the bytes of a VMFUNC lie |
//! | `code`, `flow` | machine code that is reached along direct branches, and what is known at each instruction of it |
//! | `binary`, `access`, [`rule`] | an ELF file; how an instruction uses memory and registers; rows |
#![forbid(unsafe_code)]

mod access;
mod binary;
mod code;
mod flow;
mod image;
pub mod pages;
pub mod rule;
mod vmfunc;
mod vnf;
mod window;

use anyhow::Result;
use binary::Binary;

pub use pages::Pages;
pub use pages::walk::{End, Page, Walk, walk};
pub use rule::{Finding, Rule};
pub use vmfunc::VMFUNC;

/// Kinds of ELF files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A window image: all rules of the window.
    Window,
    /// Any other file: no segment writable and executable, no VMFUNC that nobody declares.
    Vnf,
}

/// Returns the rules of the gate's pages.
pub fn gate(pages: &Pages) -> Vec<Rule> {
    rule::of("gate", pages::rules(pages))
}

/// Returns the rules of the window image `bytes`, entered by the window page of `pages`.
///
/// # Errors
/// `bytes` are no ELF file for x86-64.
pub fn window(name: &str, pages: &Pages, bytes: &[u8]) -> Result<Vec<Rule>> {
    Ok(rule::of(name, window::rules(&pages.window, &Binary::parse(bytes)?)))
}

/// Returns the rules of the ELF file `bytes`. A window image is entered by the page that this library was linked with.
///
/// Without `kind`, a file whose entry point is called `window_entry` is a window image, any other one a VNF.
///
/// # Errors
/// `bytes` are no ELF file for x86-64.
pub fn file(name: &str, bytes: &[u8], kind: Option<Kind>) -> Result<Vec<Rule>> {
    let binary = Binary::parse(bytes)?;
    let entered = binary.symbols.find("window_entry") == Some(binary.entry);
    match kind.unwrap_or(if entered { Kind::Window } else { Kind::Vnf }) {
        Kind::Window => window(name, &Pages::here(), bytes),
        Kind::Vnf => Ok(rule::of(name, vnf::rules(&binary))),
    }
}

/// Returns the gate's pages as the monitor `bytes` has them.
///
/// # Errors
/// `bytes` are no ELF file for x86-64, or lack one of the three symbols.
pub fn pages_of(bytes: &[u8]) -> Result<Pages> {
    Pages::of(&Binary::parse(bytes)?)
}
