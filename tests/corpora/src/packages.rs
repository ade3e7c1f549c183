//! Programs of others: binary packages of Debian, unpacked below a folder and installed nowhere.

use crate::apt::{Apt, output};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages of Debian in a folder, each unpacked once, below its name and version.
pub struct Packages {
    folder: PathBuf,
    apt: Apt,
    /// Locked: of several processes one fetches, and the others find what it fetched.
    _lock: File,
}

impl Packages {
    /// Opens `folder`, which may be new. Waits while another process has it open.
    ///
    /// # Errors
    /// One line: why nothing can be had.
    pub fn open(folder: &Path) -> Result<Self, String> {
        Self::try_open(folder).map_err(|error| format!("packages of Debian: {error:#}"))
    }

    fn try_open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        let apt = Apt::new(&folder.join("apt"), sources)?;
        Ok(Self { folder: folder.to_owned(), apt, _lock: lock })
    }

    /// Returns the folders that hold the files of the packages `names`, in their order. A package that is not there yet
    /// is fetched. `backports` says whether they are to be those of the suite of backports.
    ///
    /// # Errors
    /// One line: which can't be had, and why.
    pub fn unpacked(&self, names: &[&str], backports: bool) -> Result<Vec<PathBuf>, String> {
        let all = self.apt.with_lists(|| {
            let suite = if backports { format!("/{}", self.backports()?) } else { String::new() };
            self.all(&names.iter().map(|name| format!("{name}{suite}")).collect::<Vec<_>>())
        });
        all.map_err(|error| format!("{}: {error:#}", names.join(" ")))
    }

    /// Returns the first package that package `name`, which has no files of its own, depends on.
    ///
    /// # Errors
    /// One line: why it is not known.
    pub fn behind(&self, name: &str) -> Result<String, String> {
        let look = || {
            let all = self.apt.run("apt-cache", &["depends", "--important", name], &self.folder)?;
            let first = all.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
            first.map(str::to_owned).context("depends on nothing")
        };
        self.apt.with_lists(look).map_err(|error| format!("{name}: {error:#}"))
    }

    /// The name of the suite of backports for this machine's release.
    fn backports(&self) -> Result<String> {
        let list = fs::read_to_string(self.folder.join("apt/sources.list"))?;
        let mut suites = list.lines().filter_map(|line| line.split(' ').nth(2));
        suites.find(|suite| suite.ends_with("-backports")).map(str::to_owned).context("no suite of backports")
    }

    fn all(&self, names: &[String]) -> Result<Vec<PathBuf>> {
        let apt = |first: &[&str], names: &[String], here: &Path| {
            let words: Vec<_> = first.iter().copied().chain(names.iter().map(String::as_str)).collect();
            self.apt.run("apt-get", &words, here)
        };
        // Lines like: 'http://…/p_1.2_amd64.deb' p_1.2_amd64.deb 34000 SHA256:…
        let said = apt(&["download", "--print-uris"], names, &self.folder)?;
        let files: Vec<_> = said.lines().filter_map(|line| line.split(' ').nth(1)?.strip_suffix(".deb")).collect();
        let folder = |name: &String| {
            let start = format!("{}_", name.split('/').next().unwrap_or_default());
            let file = files.iter().find(|file| file.starts_with(&start));
            file.map(|file| self.folder.join(file)).with_context(|| format!("apt-get names no file of {name}"))
        };
        let kept = names.iter().map(folder).collect::<Result<Vec<_>>>()?;
        let missing = names.iter().zip(&kept).filter(|(_, folder)| !folder.is_dir());
        let missing: Vec<_> = missing.map(|(name, _)| name.clone()).collect();
        if !missing.is_empty() {
            let new = tempfile::tempdir_in(&self.folder)?;
            apt(&["download"], &missing, new.path())?;
            for entry in fs::read_dir(new.path())? {
                self.unpack(&entry?.path(), new.path())?;
            }
        }
        Ok(kept)
    }

    /// Unpacks `package`, by way of a folder below `new`: a folder of packages is whole or not there.
    fn unpack(&self, package: &Path, new: &Path) -> Result<()> {
        let name = package.file_stem().context("no name")?;
        let files = new.join(name);
        output(Command::new("dpkg-deb").arg("-x").arg(package).arg(&files))?;
        Ok(fs::rename(files, self.folder.join(name))?)
    }
}

/// Makes lines of a list of sources: that of a repository, and that of the backports for its release.
fn sources(repository: &str) -> String {
    let words: Vec<_> = repository.split(' ').collect();
    match words[..] {
        [uri, release, "main"] if !release.contains('-') => {
            format!("deb {uri} {release} main\ndeb {uri} {release}-backports main\n")
        }
        _ => format!("deb {repository}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::sources;

    #[test]
    fn backports_are_asked_for_where_a_release_is() {
        let release = sources("http://a/debian/ bookworm main");
        assert_eq!(release, "deb http://a/debian/ bookworm main\ndeb http://a/debian/ bookworm-backports main\n");
        let security = sources("http://a/security/ bookworm-security main");
        assert_eq!(security, "deb http://a/security/ bookworm-security main\n");
    }
}
