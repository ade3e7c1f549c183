//! The archive that a kernel unpacks into its first file system. See: Linux, "initramfs buffer format".

use anyhow::Result;
use cpio::newc::{Builder, trailer};
use std::io::Write;

/// Types of files. See: inode(7), "The file type and mode".
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;

/// An archive that grows. Paths have no slash at the start, and a folder comes before what is in it.
#[derive(Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    /// Adds a folder.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        self.add(Builder::new(path).mode(FOLDER | 0o755), &[])
    }

    /// Adds a file that may be run.
    pub fn file(&mut self, path: &str, contents: &[u8]) -> Result<()> {
        self.add(Builder::new(path).mode(FILE | 0o755), contents)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.add(Builder::new(path).mode(LINK | 0o777), target.as_bytes())
    }

    /// Adds the device that the kernel gives the first process as its input and output. See: Linux,
    /// "Linux allocated devices", 5 char.
    pub fn console(&mut self) -> Result<()> {
        self.add(Builder::new("dev/console").mode(DEVICE | 0o600).rdev_major(5).rdev_minor(1), &[])
    }

    /// Returns the archive's bytes. Another may follow them.
    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(trailer(self.0)?)
    }

    fn add(&mut self, entry: Builder, contents: &[u8]) -> Result<()> {
        let mut writer = entry.write(&mut self.0, u32::try_from(contents.len())?);
        writer.write_all(contents)?;
        writer.finish()?;
        Ok(())
    }
}
