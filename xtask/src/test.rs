//! `cargo xtask test`: all tests, and how many there were.

use crate::progress::step;
use crate::{artifacts, miri, rings, tools};
use anyhow::{Context, Error, Result, bail};
use sluice_tests_qemu::Qemu;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Output};
use std::thread;

/// Which tests.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Numbers of tests.
#[derive(Debug, Default, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
    left_out: u64,
}

/// Runs them. Tests that need the emulated machine are left out where it can't be had, and the last line says so.
pub fn run(options: &Options) -> Result<()> {
    thread::scope(|scope| {
        // The processor has little to do while tools are installed and fetched.
        let hosted = scope.spawn(artifacts::build_hosted);
        run_with(options, || hosted.join().unwrap_or_else(|_| bail!("building launcher and examples panicked")))
    })
}

/// Runs them, once `build_hosted` has built the programs for processes.
fn run_with(options: &Options, build_hosted: impl FnOnce() -> Result<()>) -> Result<()> {
    tools::runner().map_err(Error::msg)?;
    let (emulator, qemu, testpmd, fuzzer) = (tools::emulator(), tools::qemu(), tools::testpmd(), tools::fuzzer());
    let corpora = artifacts::results().join("corpora");
    let captures = step("fetching captures", || sluice_corpora::TCPDUMP.captures(&corpora)).map(drop);
    let guests = artifacts::results().join("guests");
    let linux = step("fetching Linux for guests", || tools::guests(&guests));
    let qemu_10 = step("fetching QEMU 10", || Qemu::backport(&guests)).map(drop);
    let (openvswitch, namespaces, taps) = (tools::openvswitch(), tools::namespaces(), tools::taps());
    let (bare, interpreter, deny) = (tools::bare_target(), miri::available(), tools::deny());
    if emulator.is_ok() {
        artifacts::build_bare()?;
    }
    build_hosted()?;
    let dpdk = rings::library();
    let left_out = [
        ("in_bochs", &emulator),
        ("in_qemu", &qemu),
        ("with_testpmd", &testpmd),
        ("with_openvswitch", &openvswitch),
        ("in_namespaces", &namespaces),
        ("with_tap", &taps),
        ("with_qemu", &linux),
        ("with_qemu_10", &qemu_10),
        ("from_debian", &captures),
        ("fuzz_", &fuzzer),
        ("audit_", &bare),
        ("in_miri", &interpreter),
        ("deny_", &deny),
    ];
    let left_out: Vec<_> = left_out.iter().filter_map(|(name, tool)| Some((name, tool.as_ref().err()?))).collect();
    let mut tests = cargo(&["nextest", "run", "--no-tests=pass"], options);
    for (name, _) in &left_out {
        tests.args(["--skip", name]);
    }
    let mut count = Count::default();
    let mut succeeded = count.run(tests)?;
    succeeded &= examples_and_miri(options, interpreter.is_ok(), &mut count)?;
    println!("\n{} passed, {} failed, {} left out", count.passed, count.failed, count.left_out);
    for (name, why) in left_out {
        println!("Tests named {name} were left out: {why}");
    }
    if let Err(why) = &dpdk {
        println!("Tests of benchmarks ran without DPDK: {why:#}");
    }
    if let Err(why) = &interpreter {
        println!("Miri did not run the unit tests: {why}");
    }
    if !succeeded || count.failed > 0 || count.passed == 0 {
        bail!("not all tests passed");
    }
    Ok(())
}

/// Runs the examples of documentation, one crate after the other, and beside them the unit tests under Miri, if it
/// `is_there`, whose packages have one thread each. Whether they succeeded.
fn examples_and_miri(options: &Options, is_there: bool, count: &mut Count) -> Result<bool> {
    thread::scope(|scope| {
        let examples = scope.spawn(|| Count::of(cargo(&["test", "--doc", "--no-fail-fast"], options)));
        let units = miri::units(options.filter.as_deref()).filter(|_| is_there);
        let units: Vec<_> = units.map(|mut command| scope.spawn(move || command.output())).collect();
        let mut miri = true;
        for unit in units {
            let output = unit.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))).context("Miri")?;
            miri &= count.show(&output);
        }
        let (counted, succeeded) = examples.join().unwrap_or_else(|_| bail!("the run of examples panicked"))?;
        count.join(&counted);
        Ok(miri & succeeded)
    })
}

/// The cargo command `verb` for the tests of all packages.
fn cargo(verb: &[&str], options: &Options) -> Command {
    let mut command = Command::new(artifacts::program());
    command.current_dir(artifacts::root()).args(verb).args(["--workspace", "--locked", "--"]).args(&options.filter);
    command
}

impl Count {
    /// Runs `command` as [`Count::run`] does, and returns what it counted.
    fn of(command: Command) -> Result<(Self, bool)> {
        let mut count = Self::default();
        let succeeded = count.run(command)?;
        Ok((count, succeeded))
    }

    /// Adds the numbers of `other`.
    const fn join(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.left_out += other.left_out;
    }

    /// Runs `command`, shows and counts what it prints; whether it succeeded.
    fn run(&mut self, mut command: Command) -> Result<bool> {
        // cargo-nextest reports on standard error, where cargo reports what it builds; cargo test on standard output.
        let (from, into) = std::io::pipe()?;
        let mut child = command.stdout(into.try_clone()?).stderr(into).spawn().context("cargo")?;
        // The command holds ends of the pipe, which is read up to the last one's end.
        drop(command);
        for line in BufReader::new(from).lines() {
            let line = line?;
            println!("{line}");
            self.add(&line);
        }
        Ok(child.wait()?.success())
    }

    /// Shows and counts what a command printed; whether it succeeded.
    fn show(&mut self, output: &Output) -> bool {
        for bytes in [&output.stderr, &output.stdout] {
            for line in String::from_utf8_lossy(bytes).lines() {
                println!("{line}");
                self.add(line);
            }
        }
        output.status.success()
    }

    /// Adds what a line like `test result: ok. 3 passed; 0 failed; …` of cargo test says, or one like `Summary [ 1.5s]
    /// 4 tests run: 3 passed, 1 failed, 2 skipped` of cargo-nextest.
    fn add(&mut self, line: &str) {
        // Where a test fails, cargo-nextest shows what the test program printed, indented.
        if !line.starts_with("test result: ") && !line.trim_start().starts_with("Summary [") {
            return;
        }
        let words: Vec<&str> = line.split([' ', ';', ',', '.', '(', ')']).filter(|word| !word.is_empty()).collect();
        let number = |what: &str| {
            let found = words.windows(2).find(|pair| pair[1] == what);
            found.and_then(|pair| pair[0].parse::<u64>().ok()).unwrap_or(0)
        };
        self.passed += number("passed");
        self.failed += number("failed") + number("timed") + number("exec");
        self.left_out += number("ignored") + number("filtered") + number("skipped");
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn results_are_added_up() {
        let mut count = Count::default();
        for line in [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
            "test x ... ok",
            "     Summary [   1.234s] 7 tests run: 4 passed (1 slow), 1 failed, 2 timed out, 5 skipped",
            "        PASS [   0.005s] (1/7) sluice-abi tests::a",
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 17 filtered out; finished in 0.30s",
        ] {
            count.add(line);
        }
        assert_eq!(count, Count { passed: 7, failed: 3, left_out: 8 });
    }
}
