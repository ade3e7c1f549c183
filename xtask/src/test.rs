//! `cargo xtask test`: all tests, and how many there were.

use crate::{artifacts, miri, tools};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Which tests.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Numbers of tests.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
    filtered: u64,
}

/// Runs them. Tests that need the emulated machine are left out where it can't be had, and the last line says so.
pub fn run(options: &Options) -> Result<()> {
    let (emulator, qemu, testpmd, fuzzer) = (tools::emulator(), tools::qemu(), tools::testpmd(), tools::fuzzer());
    let (bare, interpreter, deny) = (tools::bare_target(), miri::available(), tools::deny());
    if emulator.is_ok() {
        artifacts::build_bare()?;
    }
    artifacts::build_hosted()?;
    let mut command = Command::new(artifacts::program());
    command.current_dir(artifacts::root()).args(["test", "--workspace", "--locked", "--no-fail-fast", "--"]);
    command.args(&options.filter);
    let left_out = [
        ("in_bochs", &emulator),
        ("in_qemu", &qemu),
        ("with_testpmd", &testpmd),
        ("fuzz_", &fuzzer),
        ("audit_", &bare),
        ("in_miri", &interpreter),
        ("deny_", &deny),
    ];
    let left_out: Vec<_> = left_out.iter().filter_map(|(name, tool)| Some((name, tool.as_ref().err()?))).collect();
    for (name, _) in &left_out {
        command.args(["--skip", name]);
    }
    let mut count = Count::default();
    let mut succeeded = count.run(&mut command)?;
    if interpreter.is_ok() {
        succeeded &= count.run(&mut miri::command(options.filter.as_deref()))?;
    }
    let Count { passed, failed, ignored, filtered } = count;
    println!("\n{passed} passed, {failed} failed, {ignored} ignored, {filtered} left out");
    for (name, why) in left_out {
        println!("Tests named {name} were left out: {why}");
    }
    if let Err(why) = &interpreter {
        println!("Miri did not run the unit tests: {why}");
    }
    if !succeeded || failed > 0 || passed == 0 {
        bail!("not all tests passed");
    }
    Ok(())
}

impl Count {
    /// Runs `command`, shows and counts what it prints; whether it succeeded.
    fn run(&mut self, command: &mut Command) -> Result<bool> {
        let mut child = command.stdout(Stdio::piped()).spawn().context("cargo test")?;
        for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
            println!("{line}");
            self.add(&line);
        }
        Ok(child.wait()?.success())
    }

    /// Adds what a line like `test result: ok. 3 passed; 0 failed; …` says.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let number = |what: &str| {
            let words: Vec<&str> = result.split([' ', ';', '.']).collect();
            words.windows(2).find(|pair| pair[1] == what).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
        };
        self.passed += number("passed");
        self.failed += number("failed");
        self.ignored += number("ignored");
        self.filtered += number("filtered");
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
        ] {
            count.add(line);
            count.add(line);
        }
        assert_eq!((count.passed, count.failed, count.ignored, count.filtered), (6, 0, 2, 4));
    }
}
