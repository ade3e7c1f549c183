//! `cargo xtask mutate`: makes the edits of tests/mutations, one after the other, and says which tests turned red.

use crate::progress::step;
use crate::{artifacts, miri, tools};
use anyhow::{Error, Result, bail};
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use sluice_guard::bounded;
use sluice_mutations::{Checkout, Mutation, SourceCopy, Suite, Trial};
use std::process::Output;

/// Which mutations.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Only mutations whose name, rule, file, tests or test program (`sluice-memory lib`) contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Show them and run nothing
    #[arg(long)]
    list: bool,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
}

/// A mutation that tests found, or must find.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    mutation: String,
    rule: String,
    killed_by: String,
}

/// Makes them, one after the other, and prints a row for each that was found.
pub fn run(options: &Options) -> Result<()> {
    let mut suites = Suite::all(artifacts::root())?;
    suites.iter_mut().for_each(|suite| suite.keep(options.only.as_deref()));
    suites.retain(|suite| !suite.mutations.is_empty());
    if suites.is_empty() {
        bail!("no mutation has {:?} in name, rule, file or tests", options.only.as_deref().unwrap_or_default());
    }
    if options.list {
        let all = suites.iter().flat_map(|suite| suite.mutations.iter().map(|mutation| row(suite, mutation)));
        return print(&all.collect::<Vec<_>>(), options.json);
    }
    leave_out(&mut suites, "the images", Suite::needs_images, tools::bare_target);
    leave_out(&mut suites, "the monitor", Suite::needs_emulator, tools::emulator);
    leave_out(&mut suites, "what Open vSwitch sees", Suite::needs_openvswitch, tools::openvswitch);
    leave_out(&mut suites, "what taps see", Suite::needs_taps, tools::taps);
    leave_out(&mut suites, "what two hosts see", Suite::needs_namespaces, tools::namespaces);
    leave_out(&mut suites, "what Miri sees", Suite::needs_interpreter, miri::available);
    let copy = step("copying the sources", || SourceCopy::new(checkout()))?;
    let mut found = Found { total: suites.iter().map(|suite| suite.mutations.len()).sum(), ..Found::default() };
    suites.iter().for_each(|suite| found.try_suite(&copy, suite));
    print(&found.rows, options.json)?;
    if !found.wrong.is_empty() {
        bail!("{} of {} mutations were found:\n{}", found.rows.len(), found.total, found.wrong.join("\n"));
    }
    Ok(())
}

fn checkout() -> Checkout {
    Checkout {
        root: artifacts::root().into(),
        target: artifacts::target_dir().into(),
        work: artifacts::results().join("mutate"),
        cargo: artifacts::program(),
        images: artifacts::bare_arguments,
        run: |command, patience| {
            let ended = bounded(command, patience)?;
            let output = Output { status: ended.status, stdout: ended.output, stderr: ended.errors };
            Ok(ended.in_time.then_some(output))
        },
    }
}

/// Drops the suites that `need` what `there` does not find.
fn leave_out(suites: &mut Vec<Suite>, of: &str, need: fn(&Suite) -> bool, there: fn() -> Result<(), String>) {
    if suites.iter().any(need)
        && let Err(why) = there()
    {
        eprintln!("Mutations of {of} are left out: {why}");
        suites.retain(|suite| !need(suite));
    }
}

/// The results so far.
#[derive(Default)]
struct Found {
    total: usize,
    tried: usize,
    rows: Vec<Row>,
    /// Reasons why edits were not found, a line or more for each.
    wrong: Vec<String>,
}

impl Found {
    fn try_suite(&mut self, copy: &SourceCopy, suite: &Suite) {
        let trial = Trial::new(copy, suite);
        if let Err(why) = step(&format!("{}, unedited", suite.title()), || trial.passes()) {
            return self.fail(&suite.title(), &why);
        }
        for mutation in &suite.mutations {
            self.tried += 1;
            let what = format!("{} of {}: {}", self.tried, self.total, mutation.name);
            match step(&what, || copy.edited(mutation, || trial.is_red(mutation))) {
                Ok(()) => self.rows.push(row(suite, mutation)),
                Err(why) => self.fail(&mutation.name, &why),
            }
        }
    }

    fn fail(&mut self, what: &str, why: &Error) {
        let line = format!("{what}: {why:#}");
        eprintln!("  {line}");
        self.wrong.push(line);
    }
}

fn row(suite: &Suite, mutation: &Mutation) -> Row {
    let killed_by = format!("{}: {}", suite.title(), mutation.killed_by.join(", "));
    Row { mutation: mutation.name.clone(), rule: mutation.rule.clone(), killed_by }
}

fn print(rows: &[Row], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(rows)?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["mutation", "rule", "killed by"]);
    for row in rows {
        table.add_row([&row.mutation, &row.rule, &row.killed_by.replace(", ", "\n")]);
    }
    println!("{table}");
    Ok(())
}
