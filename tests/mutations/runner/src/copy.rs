//! A copy of the sources, in cargo's target folder: an edit there touches nobody's work, and what an interrupted run
//! left is overwritten.

use crate::Checkout;
use crate::suite::Mutation;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The copy of the sources, and what cargo makes of it.
pub struct SourceCopy {
    checkout: Checkout,
    tree: PathBuf,
    target: PathBuf,
    /// The lock is held while the copy lives: one run at a time.
    _lock: File,
}

impl SourceCopy {
    /// Copies the sources as they are in the checkout now, committed or not. Files that did not change keep their
    /// times, so little is built anew.
    pub fn new(checkout: Checkout) -> Result<Self> {
        let folder = &checkout.work;
        let tree = folder.join("tree");
        fs::create_dir_all(&tree)?;
        let lock = File::create(folder.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!("another `cargo xtask mutate` is at work in {}", folder.display());
        }
        let files = sources(&checkout)?;
        for file in &files {
            refresh(&checkout.root.join(file), &tree.join(file))?;
        }
        remove_others(&tree, &tree, &files)?;
        Ok(Self { tree, target: folder.join("target"), checkout, _lock: lock })
    }

    /// Returns what the runner was told.
    pub fn checkout(&self) -> &Checkout {
        &self.checkout
    }

    /// Returns a cargo command on the copy.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(&self.checkout.cargo);
        command.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Returns the command that runs a program which was built of the copy.
    pub fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Does `work` while the edit is made.
    pub fn edited(&self, mutation: &Mutation, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let path = self.tree.join(&mutation.file);
        let text = fs::read_to_string(&path).with_context(|| mutation.file.display().to_string())?;
        fs::write(&path, mutation.apply(&text)?)?;
        let done = work();
        // Written, not renamed back: cargo goes by the time.
        fs::write(&path, text)?;
        done
    }
}

/// Returns the files that git knows, and those that it would take.
fn sources(checkout: &Checkout) -> Result<BTreeSet<PathBuf>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").current_dir(&checkout.root).args(arguments).output().context("git")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let names = String::from_utf8(output.stdout)?;
    let names = names.split_terminator('\0').map(PathBuf::from);
    // The target folder may be in the checkout, by any name.
    let is_source = |name: &PathBuf| {
        let path = checkout.root.join(name);
        path.is_file() && !path.starts_with(&checkout.target)
    };
    Ok(names.filter(is_source).collect())
}

/// Makes `to` the same as `from`, and leaves it alone if it is.
fn refresh(from: &Path, to: &Path) -> Result<()> {
    let wanted = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::write(to, wanted).with_context(|| to.display().to_string())
}

/// Removes from `folder`, which is in `tree`, each file that is not among `files`.
fn remove_others(tree: &Path, folder: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(tree, &path, files)?;
        } else if !path.strip_prefix(tree).is_ok_and(|name| files.contains(name)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_the_sources_have_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (from, tree) = (folder.path().join("from"), folder.path().join("tree"));
        fs::create_dir_all(tree.join("old")).unwrap();
        fs::write(&from, "as it is").unwrap();
        fs::write(tree.join("old/file"), "gone").unwrap();
        fs::write(tree.join("file"), "edited").unwrap();
        refresh(&from, &tree.join("file")).unwrap();
        refresh(&from, &tree.join("new/file")).unwrap();
        let before = fs::metadata(tree.join("file")).unwrap().modified().unwrap();
        refresh(&from, &tree.join("file")).unwrap();
        assert_eq!(fs::metadata(tree.join("file")).unwrap().modified().unwrap(), before);
        remove_others(&tree, &tree, &["file", "new/file"].map(PathBuf::from).into()).unwrap();
        let read = |name| fs::read_to_string(tree.join(name)).ok();
        assert_eq!(
            ["file", "new/file", "old/file"].map(read),
            [Some("as it is".into()), Some("as it is".into()), None]
        );
    }
}
