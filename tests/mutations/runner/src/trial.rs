//! A test program of the copy, as it stands: it is built and run, and the results of its tests are read.

use crate::copy::SourceCopy;
use crate::suite::{Mutation, Suite};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Time that tests may take; those of slow suites, and those that are interpreted, end by themselves.
const PATIENCE: Duration = Duration::from_secs(120);
const LONG_PATIENCE: Duration = Duration::from_secs(1800);

/// Tests by name, and whether they passed.
type Results = BTreeMap<String, bool>;

/// A suite in the copy.
pub struct Trial<'t> {
    copy: &'t SourceCopy,
    suite: &'t Suite,
}

impl<'t> Trial<'t> {
    /// Returns the trial of `suite` in `copy`.
    pub fn new(copy: &'t SourceCopy, suite: &'t Suite) -> Self {
        Self { copy, suite }
    }

    /// Returns an error unless all tests that the suite names pass.
    pub fn passes(&self) -> Result<()> {
        let results = self.results(self.suite.tests())?;
        let not = self.suite.tests().find(|&test| results.get(test) != Some(&true));
        not.map_or(Ok(()), |test| bail!("{test} does not pass, or is not there, before anything is edited"))
    }

    /// Returns an error unless all tests that `mutation` names fail.
    pub fn is_red(&self, mutation: &Mutation) -> Result<()> {
        let results = self.results(mutation.killed_by.iter().map(String::as_str))?;
        let not: Vec<_> = mutation.killed_by.iter().filter(|test| results.get(*test) != Some(&false)).collect();
        ensure!(not.is_empty(), "it survives {not:?}");
        Ok(())
    }

    /// Builds the program and runs `tests`.
    fn results<'a>(&self, tests: impl Iterator<Item = &'a str>) -> Result<Results> {
        if self.suite.needs_images() {
            self.build_bare()?;
        }
        let (program, folder) = self.build()?;
        let mut command = self.copy.program(&program);
        command.current_dir(folder).arg("--exact").args(tests);
        // The first failure is enough.
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env("RUST_BACKTRACE", "0");
        let patience = if self.suite.slow || self.suite.needs_interpreter() { LONG_PATIENCE } else { PATIENCE };
        let ended = (self.copy.checkout().run)(&mut command, patience)?;
        let ended = ended.with_context(|| format!("the tests did not end within {patience:?}"))?;
        let results = results_in(&String::from_utf8_lossy(&ended.stdout));
        // A test program says 101 where tests failed.
        ensure!(matches!(ended.status.code(), Some(0 | 101)), "the tests ended by {}", ended.status);
        Ok(results)
    }

    /// Builds the images that some tests read or run, lest an edit that does not compile count as a test that fails.
    fn build_bare(&self) -> Result<()> {
        let mut command = self.copy.cargo();
        (self.copy.checkout().images)(&mut command);
        compiles(&mut command).map(drop)
    }

    /// Builds the test program, and returns it with the folder to run it in.
    fn build(&self) -> Result<(PathBuf, PathBuf)> {
        let mut command = self.copy.cargo();
        command.args(["test", "--quiet", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
        command.args(["--package", &self.suite.package]);
        match self.suite.target.as_str() {
            "lib" => command.arg("--lib"),
            "bins" => command.arg("--bins"),
            name => command.args(["--test", name]),
        };
        // Nobody debugs it.
        command.env("CARGO_PROFILE_DEV_DEBUG", "false");
        let messages = compiles(&mut command)?;
        messages.lines().find_map(test_program).context("cargo names no test program")
    }
}

/// Returns the output of a cargo command that succeeds, or its first error.
fn compiles(command: &mut Command) -> Result<String> {
    let output = command.output().context("cargo")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = text.lines().skip_while(|line| !line.starts_with("error")).take(8).collect();
        bail!("it does not compile: {}", lines.join("\n"));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the test program that a message of cargo names, and the folder of its package.
fn test_program(message: &str) -> Option<(PathBuf, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_test = message["profile"]["test"].as_bool()?;
    let program = message["executable"].as_str().filter(|_| is_test)?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    Some((program.into(), folder.into()))
}

/// Returns the results in lines like `test a::b ... FAILED`.
fn results_in(text: &str) -> Results {
    let result = |line: &str| {
        let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let passed = match result.trim() {
            "ok" => true,
            "FAILED" => false,
            _ => return None,
        };
        Some((name.to_owned(), passed))
    };
    text.lines().filter_map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_and_nothing_else() {
        let text = "running 3 tests\ntest a::b ... ok\ntest c ... FAILED\ntest d ... ignored\n\n\
                    test result: FAILED. 1 passed\n";
        assert_eq!(results_in(text), Results::from([("a::b".into(), true), ("c".into(), false)]));
    }

    #[test]
    fn the_test_program_is_the_one_that_is_built_for_tests() {
        let message = |test: bool, program: &str| {
            format!("{{\"manifest_path\":\"/p/Cargo.toml\",\"profile\":{{\"test\":{test}}},\"executable\":{program}}}")
        };
        assert_eq!(test_program(&message(true, "\"/t/x\"")), Some(("/t/x".into(), "/p".into())));
        assert_eq!(
            [message(false, "\"/t/x\""), message(true, "null")].map(|message| test_program(&message)),
            [None, None]
        );
    }
}
