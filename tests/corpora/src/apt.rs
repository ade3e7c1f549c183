//! apt with a list of sources, and lists of packages, of its own: what a machine has installed or configured stays.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// apt in a folder of its own. It asks the repositories where this machine has its packages from.
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Opens `folder`. One that is new gets a list of sources: the lines that `lines` makes of each "URI release
    /// component" of the machine's.
    pub fn new(folder: &Path, lines: impl Fn(&str) -> String) -> Result<Self> {
        let list = folder.join("sources.list");
        if !list.is_file() {
            let format = ["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"];
            let repositories = output(Command::new("apt-get").args(format))?;
            let mut sources: Vec<_> = repositories.lines().map(lines).collect();
            sources.sort();
            sources.dedup();
            ensure!(!sources.is_empty(), "apt has no sources");
            fs::create_dir_all(folder.join("lists/partial"))?;
            fs::create_dir_all(folder.join("cache"))?;
            fs::write(list, sources.concat())?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Runs `program` (apt-get or apt-cache) with `words` in folder `here`, and returns what it prints.
    pub fn run(&self, program: &str, words: &[&str], here: &Path) -> Result<String> {
        let at = |key: &str, name: &str| format!("-oDir::{key}={}", self.folder.join(name).display());
        let mut command = Command::new(program);
        command.current_dir(here).args(["-q", "-oDir::Etc::SourceParts=/dev/null"]);
        command.arg(at("Etc::SourceList", "sources.list")).arg(at("State::Lists", "lists")).arg(at("Cache", "cache"));
        // Some machines are told to keep no index of all packages, which takes a second to make.
        command.arg("-oDir::Cache::pkgcache=pkgcache.bin");
        output(command.args(words))
    }

    /// Does `work`, which needs lists of packages; if that fails, brings the lists up to date and does it again.
    ///
    /// # Errors
    /// Those of `work`, unless the lists can't be had: then that is the error. A repository without lists is no
    /// hindrance.
    pub fn with_lists<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        work().or_else(|_| {
            let updated = self.run("apt-get", &["update"], &self.folder);
            work().or_else(|error| updated.and(Err(error)))
        })
    }
}

/// Runs `command`, and returns what it prints.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}", said.lines().find(|line| !line.starts_with("W: ")).unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
