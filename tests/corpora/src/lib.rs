//! What tests take from Debian: captures that others made, out of source packages ([`Corpus`]), and programs of others,
//! out of binary packages ([`Packages`]).
//!
//! A package's file is fetched once, by apt and a list of sources of its own, from where this machine has its packages
//! from. That of a capture counts only with the hash that is written here.
#![forbid(unsafe_code)]

mod apt;
mod packages;

pub use packages::Packages;

use anyhow::{Context, Result, ensure};
use apt::{Apt, output};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The captures of a source package.
#[derive(Debug)]
pub struct Corpus {
    package: &'static str,
    /// The upstream file of the package.
    file: &'static str,
    sha256: &'static str,
}

/// tcpdump 4.99.3: many of its captures are of malformed frames.
pub static TCPDUMP: Corpus = Corpus {
    package: "tcpdump",
    file: "tcpdump_4.99.3.orig.tar.gz",
    sha256: "ad75a6ed3dc0d9732945b2e5483cb41dc8b4b528a169315e499c6861952e73b3",
};
/// nDPI 4.2, of 127 MB: captures of applications as they are used.
pub static NDPI: Corpus = Corpus {
    package: "ndpi",
    file: "ndpi_4.2.orig.tar.gz",
    sha256: "e54ce8fe13adc5d747be7553513657fae78f796e0bd459e122c280cc06ce4daf",
};

impl Corpus {
    /// Returns the contents of all captures, in the order of their names. The package's file is kept in `folder`.
    ///
    /// # Errors
    /// One line: why they can't be had.
    pub fn captures(&self, folder: &Path) -> Result<Vec<Vec<u8>>, String> {
        self.read(folder).map_err(|error| format!("captures of {}: {error:#}", self.package))
    }

    fn read(&self, folder: &Path) -> Result<Vec<Vec<u8>>> {
        self.keep(folder, fetch)?;
        let unpacked = tempfile::tempdir_in(folder)?;
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(folder.join(self.file)).arg("-C").arg(unpacked.path());
        output(tar.args(["--wildcards", "*.pcap*"]))?;
        let mut files = Vec::new();
        files_in(unpacked.path(), &mut files)?;
        files.sort();
        files.iter().map(|file| fs::read(file).with_context(|| file.display().to_string())).collect()
    }

    /// Fetches the package's file to `folder`, unless it is there. It has its name there once its hash was compared.
    fn keep(&self, folder: &Path, fetch: impl FnOnce(&str, &Path) -> Result<()>) -> Result<()> {
        fs::create_dir_all(folder)?;
        let file = folder.join(self.file);
        if !file.is_file() {
            // Two tests at once fetch it twice, and one moves it last.
            let new = tempfile::tempdir_in(folder)?;
            fetch(self.package, new.path())?;
            let fetched = new.path().join(self.file);
            ensure!(fetched.is_file(), "another version than {}", self.file);
            self.check(&fetched)?;
            fs::rename(fetched, &file)?;
        }
        self.check(&file)
    }

    /// Compares the hash of the package's file.
    fn check(&self, file: &Path) -> Result<()> {
        let said = output(Command::new("sha256sum").arg(file))?;
        let is_right = said.split_whitespace().next() == Some(self.sha256);
        ensure!(is_right, "{} has the SHA-256 {}, want {}", file.display(), said.trim(), self.sha256);
        Ok(())
    }
}

/// Fetches the upstream file of source package `name` to `folder`.
fn fetch(name: &str, folder: &Path) -> Result<()> {
    let apt = Apt::new(folder, |repository| format!("deb-src {repository}\n"))?;
    let source = || apt.run("apt-get", &["source", "--download-only", "--tar-only", name], folder);
    apt.with_lists(source).map(drop)
}

fn files_in(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { files_in(&entry.path(), files)? } else { files.push(entry.path()) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_another_hash_is_not_kept() {
        let corpus = Corpus {
            package: "p",
            file: "p.tar.gz",
            // That of "right".
            sha256: "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9",
        };
        let folder = tempfile::tempdir().expect("a folder");
        let keep = |bytes: &'static str| {
            corpus
                .keep(folder.path(), |_, new| Ok(fs::write(new.join("p.tar.gz"), bytes)?))
                .map_err(|it| it.to_string())
        };
        let error = keep("wrong").expect_err("another hash");
        assert!(error.contains("want 27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        assert_eq!((keep("right"), keep("whatever, it is there")), (Ok(()), Ok(())));
    }
}
