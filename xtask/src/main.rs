//! `cargo xtask`: everything a user or developer runs.

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::fmt::Arguments;
use std::io::Write;
use std::process::ExitCode;
use xtask::{audit, bench, check, demo, fuzz, image, latency, miri, mutate, peers, run, test};

/// Builds, runs, tests and measures Sluice.
///
/// Every command does its own set-up: what is missing is installed where that is possible, else named in one line. The
/// monitor runs in the emulator Bochs, which executes VMX and VMFUNC; without it, plain Linux processes over
/// shared memory take its place, and the output says so. What a command starts ends with it, however it ends.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    version,
    after_help = "Exit codes:
  0      done, and all is well
  1      something failed, or does not hold; standard error says what
  2      wrong command line
  141    nobody reads the output any more
  128+N  ended by signal N: 130 SIGINT, 143 SIGTERM"
)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows what Sluice does: packets through the protected gate, a table of costs, a capture that arrives byte for
    /// byte
    Demo(demo::Options),
    /// Runs a manifest of yours, with images of yours
    ///
    /// In the emulated machine, where that can be had; else, or with --processes, as plain Linux processes, and the
    /// output says so. What each VM printed comes VM by VM when the run has ended. An error names file, line and key,
    /// and the folders that were searched.
    Run(run::Options),
    /// Checks the sources without running them: formatting, lints, dependencies, documentation, house rules
    ///
    /// All parts run, and each prints a line with its outcome and time; what a part found is on standard error. The
    /// parts are rustfmt, clippy, cargo-deny (licenses, bans, sources; advisories where their list can be had),
    /// rustdoc, and the tests in tests/house: lengths and columns, layers, and the list of files with unsafe code. A
    /// warning is an error. `cargo xtask test` does the same among all tests.
    ///
    /// Exit code 0: all parts are clean. 1: one is red.
    Check,
    /// Runs all tests
    Test(test::Options),
    /// Measures what a packet costs, by gate, burst and frame size
    Bench(Box<bench::Options>),
    /// Measures how long each single call takes, and how long an interrupt waits for calls
    ///
    /// Two tables. Calls: of each kind (packets, bytes of each, and whether the burst goes over the end of the ring's
    /// arrays, which costs more) the least, the greatest, and their variance, which is 0 where instructions are
    /// counted; and for how many the window was open. Expiries, as cyclictest has them: a VM's timer expires again and
    /// again, and what is counted is the way from there to its handler, while the VM sleeps, while it is in a loop, and
    /// while it sends at full load. Interrupts are off while a window is open, so under load the greatest may be longer
    /// by one window and one exit, and by no more.
    ///
    /// Then a histogram for each load, and a picture of them, sluice/latency.svg in cargo's target folder. Exit code 1:
    /// a variance is not 0, or an interrupt waited for longer.
    Latency(latency::Options),
    /// Runs the fuzz targets: each side of a queue against a hostile other side
    Fuzz(fuzz::Options),
    /// Runs the unit tests of the ring code under Miri, and both sides of a queue in two threads, in many schedules
    Miri(miri::Options),
    /// Breaks each rule once, in a copy of the sources, and sees that its tests turn red
    ///
    /// Each mutation of tests/mutations is one edit. It is made in a copy in cargo's target folder, and the tests that
    /// are named for it must fail, and pass without it. One that survives, does not compile, or no longer fits the
    /// sources is an error. An interrupted run leaves nothing that the next one minds.
    Mutate(mutate::Options),
    /// Sends packets through our rings and back, with DPDK's testpmd at the other end, and counts what is wrong
    Peers(peers::Options),
    /// Checks the machine code of gate and window, or any ELF file for stray VMFUNCs
    ///
    /// Without a file it builds monitor and window image as they are released, and looks at the gate's three pages (as
    /// the monitor has them), the window image with the page that enters it, and what the monitor maps. Each rule of
    /// docs/threat-model.md that machine code can show is a row: what was counted, and whether it holds. The gate page
    /// is followed from each of its 4,096 bytes, along every path, to where that ends.
    ///
    /// A VMFUNC in a file is declared if section .sluice.vmfunc lists its address, as it does for those of the gate
    /// `guarded`.
    ///
    /// Exit code 0: every rule holds. 1: one does not, and below the table is where, by address and symbol; or nothing
    /// could be built.
    Audit(audit::Options),
    /// Makes a bootable image for a real machine
    Image(image::Options),
}

fn main() -> ExitCode {
    let command = Options::parse().command;
    let killed = |signal: &str| tell(format_args!("ended by {signal}"));
    sluice_guard::run(|| execute(command), killed)
}

fn execute(command: Command) -> ExitCode {
    if let Err(error) = sluice_guard::end_on_signal() {
        tell(format_args!("signals: {error}"));
        return ExitCode::FAILURE;
    }
    let done: Result<()> = match command {
        Command::Run(options) => return run::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Check => check::run(),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Latency(options) => latency::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Miri(options) => miri::run(&options),
        Command::Mutate(options) => mutate::run(&options),
        Command::Peers(options) => peers::run(&options),
        Command::Audit(options) => audit::run(&options),
        Command::Image(options) => image::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints an error, unless standard error is closed.
fn tell(error: Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(format_args!("error: {error}\n"));
}
