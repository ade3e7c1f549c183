//! The system as its users have it: the monitor in the emulator Bochs, and the embedded default.
//!
//! A test that needs Bochs or QEMU has `in_bochs` or `in_qemu` in its name. `cargo xtask test` leaves it out where
//! there is none.

mod bad_input;
mod boot;
mod capture;
mod chain;
mod containment;
mod cost;
mod differential;
mod examples;
mod exits;
mod flows;
mod hub;
mod latency;
mod live;
mod outside;
mod processes;
mod processor;
mod segments;
mod switch;
mod wakeups;

use std::sync::LazyLock;
use xtask::{Host, Report, Scenario, artifacts, tools};

/// Runs `scenario` in the emulated machine.
fn in_bochs(scenario: &Scenario) -> Report {
    tools::emulator().expect("the emulator");
    build_bare();
    Host::Bochs.run(scenario).expect("a verdict")
}

/// Runs `scenario` as plain processes.
fn embedded(scenario: &Scenario) -> Report {
    build_hosted();
    Host::Embedded.run(scenario).expect("a verdict")
}

fn build_bare() {
    static BUILT: LazyLock<()> = LazyLock::new(|| artifacts::build_bare().expect("a build"));
    LazyLock::force(&BUILT);
}

fn build_hosted() {
    static BUILT: LazyLock<()> = LazyLock::new(|| artifacts::build_hosted().expect("a build"));
    LazyLock::force(&BUILT);
}

/// Returns the example manifest `name`.
fn example(name: &str) -> Scenario {
    Scenario::example(name).expect("an example manifest")
}

/// Fails, with the whole console, unless the run ended well.
#[track_caller]
fn passed(report: &Report) {
    report.check().unwrap_or_else(|error| panic!("{error}\n{}", report.lines.join("\n")));
}
