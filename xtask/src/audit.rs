//! `cargo xtask audit`: builds the images, and prints the audit's rows.

use crate::{artifacts, tools};
use anyhow::{Context, Error, Result, bail};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use sluice_audit::{Finding, Kind, Rule};
use std::fs;
use std::path::PathBuf;

/// Columns of the table.
const WIDTH: u16 = 150;
/// Findings of a rule that are shown; JSON has all.
const SHOWN: usize = 16;

/// What to audit.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// An ELF file to look at instead: a VNF, or a window image
    path: Option<PathBuf>,
    /// What the file is [default: a window image if its entry point is called window_entry, else a VNF]
    #[arg(long = "as", value_enum, requires = "path")]
    kind: Option<As>,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
}

/// Kinds of files.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum As {
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
            let kind = options.kind.map(|kind| if matches!(kind, As::Window) { Kind::Window } else { Kind::Vnf });
            sluice_audit::file(&name, &bytes, kind)?
        }
    };
    println!("{}", if options.json { serde_json::to_string_pretty(&rules)? } else { table(&rules) });
    let broken = rules.iter().filter(|rule| !rule.holds).count();
    if broken > 0 {
        bail!("{broken} of {} rules do not hold", rules.len());
    }
    Ok(())
}

/// Builds the images as they are released, and returns the rules of gate, window and monitor.
pub fn release() -> Result<Vec<Rule>> {
    tools::bare_target().map_err(Error::msg)?;
    let (monitor, image) = artifacts::build_host()?;
    let (monitor, image) = (fs::read(monitor)?, fs::read(image)?);
    let pages = sluice_audit::pages_of(&monitor)?;
    let window = sluice_audit::window("window", &pages, &image)?;
    Ok([sluice_audit::gate(&pages), window, sluice_audit::file("monitor", &monitor, Some(Kind::Vnf))?].concat())
}

/// Returns rows for people, and below them where a rule does not hold.
fn table(rules: &[Rule]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["image", "rule", "of", "holds", "figure", "detail"]);
    for rule in rules {
        let holds = if rule.holds { "yes" } else { "NO" };
        table.add_row([&rule.image, rule.rule, rule.part_of, holds, &rule.figure, &rule.detail]);
    }
    let mut text = table.trim_fmt();
    for rule in rules {
        let more = rule.findings.len().saturating_sub(SHOWN);
        for Finding { address, symbol, what } in rule.findings.iter().take(SHOWN) {
            text.push_str(&format!("\n{}, {}: {address:#x} {symbol}: {what}", rule.image, rule.rule));
        }
        if more > 0 {
            text.push_str(&format!("\n{}, {}: and {more} more", rule.image, rule.rule));
        }
    }
    text
}
