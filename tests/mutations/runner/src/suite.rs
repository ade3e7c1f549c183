//! The tables of mutations: a file in tests/mutations for each test program.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// A test program, and the edits that it must notice.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The package of the test program.
    pub package: String,
    /// `lib` or `bins` for the unit tests of the package, or the name of a file of tests.
    pub target: String,
    /// The file, or the folder, in which the tests are.
    pub source: PathBuf,
    /// The tests take long, so this suite comes behind those that do not.
    #[serde(default)]
    pub slow: bool,
    /// The edits that the tests must find.
    #[serde(rename = "mutation")]
    pub mutations: Vec<Mutation>,
}

/// An edit of a source file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// The fault that the edit makes.
    pub name: String,
    /// The rule that the edit breaks: `G1` to `G14` of docs/threat-model.md, or `VIRTIO` and a clause, or a case, of
    /// docs/conformance.md.
    pub rule: String,
    /// The file that is edited.
    pub file: PathBuf,
    /// The text that is replaced; the file has it once.
    pub find: String,
    /// The text that takes its place.
    pub replace: String,
    /// The full names of the tests that must turn red.
    pub killed_by: Vec<String>,
}

impl Suite {
    /// Reads all tables of the project at `root`, in the order in which they run.
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        let folder = root.join("tests/mutations");
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            files.push(entry?.path());
        }
        // The runner has a folder beside the tables.
        files.retain(|file| file.is_file());
        files.sort();
        let mut suites = files.iter().map(|file| Self::read(file)).collect::<Result<Vec<_>>>()?;
        suites.sort_by_key(|suite| suite.slow);
        Ok(suites)
    }

    fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        toml::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Returns package and target.
    pub fn title(&self) -> String {
        format!("{} {}", self.package, self.target)
    }

    /// Whether some of the tests run the monitor.
    pub fn needs_emulator(&self) -> bool {
        self.tests().any(|test| test.contains("in_bochs"))
    }

    /// Whether some of the tests look at the images for the bare machine, or run them.
    pub fn needs_images(&self) -> bool {
        self.needs_emulator() || self.tests().any(|test| test.contains("audit_"))
    }

    /// Whether some of the tests start Open vSwitch.
    pub fn needs_openvswitch(&self) -> bool {
        self.tests().any(|test| test.contains("with_openvswitch"))
    }

    /// Whether some of the tests make devices of the host's network.
    pub fn needs_taps(&self) -> bool {
        self.tests().any(|test| test.contains("with_tap"))
    }

    /// Whether some of the tests have networks of their own.
    pub fn needs_namespaces(&self) -> bool {
        self.tests().any(|test| test.contains("in_namespaces"))
    }

    /// Whether some of the tests are interpreted.
    pub fn needs_interpreter(&self) -> bool {
        self.tests().any(|test| test.contains("in_miri"))
    }

    /// Returns all tests that edits name, some more than once.
    pub fn tests(&self) -> impl Iterator<Item = &str> {
        self.mutations.iter().flat_map(|mutation| &mutation.killed_by).map(String::as_str)
    }

    /// Keeps the edits that have `text` in them, or all if the title has.
    pub fn keep(&mut self, text: Option<&str>) {
        let title = self.title();
        self.mutations.retain(|mutation| text.is_none_or(|text| title.contains(text) || mutation.has(text)));
    }
}

impl Mutation {
    fn has(&self, text: &str) -> bool {
        let file = self.file.to_string_lossy();
        [&self.name, &self.rule, &*file]
            .into_iter()
            .chain(self.killed_by.iter().map(|it| &**it))
            .any(|it| it.contains(text))
    }

    /// Returns `text`, the file's, with the edit.
    pub fn apply(&self, text: &str) -> Result<String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => bail!("what it replaces is {count} times in {}", self.file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "package = \"p\"\ntarget = \"lib\"\nsource = \"src\"\n\
                         [[mutation]]\nname = \"a name\"\nrule = \"G1\"\n\
                         file = \"a.rs\"\nfind = \"a < b\"\nreplace = \"a <= b\"\nkilled_by = [\"a_test\"]\n";

    fn mutation() -> Mutation {
        toml::from_str::<Suite>(TABLE).unwrap().mutations.remove(0)
    }

    #[test]
    fn what_is_replaced_is_there_once() {
        assert_eq!(mutation().apply("if a < b {}").unwrap(), "if a <= b {}");
        for (text, count) in [("if b < a {}", "0 times"), ("a < b a < b", "2 times")] {
            assert!(mutation().apply(text).unwrap_err().to_string().contains(count));
        }
    }

    #[test]
    fn a_mutation_is_chosen_by_any_of_its_words() {
        for (text, chosen) in [("name", 1), ("G1", 1), ("a.rs", 1), ("a_test", 1), ("p lib", 1), ("G2", 0)] {
            let mut suite: Suite = toml::from_str(TABLE).unwrap();
            suite.keep(Some(text));
            assert_eq!(suite.mutations.len(), chosen, "{text}");
        }
    }
}
