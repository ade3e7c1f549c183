//! `cargo xtask audit`: what the machine code of gate and window is, whatever compiler and assembler made it.
//!
//! Reading order: [`gate`] (the three pages), [`window`] (the image, with the page that enters it), `vnf` (anybody's ELF file).
//! `code` finds what can be executed, `flow` what is known at each instruction of it. `guesses` follows values through all of it.

mod allowed;
mod binary;
mod calls;
mod code;
mod flow;
mod gate;
mod guesses;
mod image;
mod kept;
mod registers;
mod report;
mod stack;
mod value;
mod vectors;
mod vmfunc;
mod vnf;
mod window;

use crate::{artifacts, tools};
use anyhow::{Context, Error, Result, bail};
use binary::Binary;
use std::fs;
use std::path::PathBuf;

pub use gate::Pages;
pub use report::{Finding, Rule};

/// What to audit.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// An ELF file to look at instead: a VNF, or a window image
    path: Option<PathBuf>,
    /// What the file is [default: a window image if its entry point is called window_entry, else a VNF]
    #[arg(long = "as", value_enum, requires = "path")]
    kind: Option<Kind>,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
}

/// Kinds of files.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A window image: all rules of the window
    Window,
    /// Anything else: nothing writable and executable, no VMFUNC that nobody declares
    Vnf,
}

/// Audits and prints.
pub fn run(options: &Options) -> Result<()> {
    let rules = match &options.path {
        None => release()?,
        Some(path) => {
            let bytes = fs::read(path).with_context(|| path.display().to_string())?;
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            file(&name, &bytes, options.kind)?
        }
    };
    println!("{}", if options.json { serde_json::to_string_pretty(&rules)? } else { report::table(&rules) });
    let broken = rules.iter().filter(|rule| !rule.holds).count();
    if broken > 0 {
        bail!("{broken} of {} rules do not hold", rules.len());
    }
    Ok(())
}

/// The images as they are released, built first.
pub fn release() -> Result<Vec<Rule>> {
    tools::bare_target().map_err(Error::msg)?;
    let (monitor, image) = artifacts::build_host()?;
    let (monitor, image) = (fs::read(monitor)?, fs::read(image)?);
    let pages = Pages::of(&Binary::parse(&monitor)?)?;
    Ok([gate(&pages), window("window", &pages, &image)?, file("monitor", &monitor, Some(Kind::Vnf))?].concat())
}

/// The gate's pages.
pub fn gate(pages: &Pages) -> Vec<Rule> {
    report::of("gate", gate::rules(pages))
}

/// The window image `bytes`, entered by the window page of `pages`.
pub fn window(name: &str, pages: &Pages, bytes: &[u8]) -> Result<Vec<Rule>> {
    Ok(report::of(name, window::rules(&pages.window, &Binary::parse(bytes)?)))
}

/// The ELF file `bytes`. A window image is entered by the page that this program has.
pub fn file(name: &str, bytes: &[u8], kind: Option<Kind>) -> Result<Vec<Rule>> {
    let binary = Binary::parse(bytes)?;
    let entered = binary.symbols.find("window_entry") == Some(binary.entry);
    match kind.unwrap_or(if entered { Kind::Window } else { Kind::Vnf }) {
        Kind::Window => window(name, &Pages::here(), bytes),
        Kind::Vnf => Ok(report::of(name, vnf::rules(&binary))),
    }
}
