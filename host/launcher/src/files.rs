//! The files that the command line and the manifest name, checked before any process starts.

use crate::Options;
use rustix::fs::{Access, OFlags, access};
use sluice_control::{Manifest, ManifestError, VmConfig};
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Length in bytes of the longest manifest.
const LONGEST: u64 = 1 << 20;

/// A file that can't be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The manifest file can't be read.
    #[error("{}: {error}", path.display())]
    Manifest { path: PathBuf, error: io::Error },
    /// The manifest is not valid.
    #[error(transparent)]
    Content(#[from] ManifestError),
    /// A folder of the command line does not exist.
    #[error("--{option} {}: no such folder", path.display())]
    Folder { option: &'static str, path: PathBuf },
    /// A file that the manifest names can't be used.
    #[error("vm \"{vm}\": {what} \"{name}\": {why} in {}", folder.display())]
    Named { vm: String, what: &'static str, name: String, why: String, folder: PathBuf },
}

/// Reads the manifest.
pub fn manifest(path: &Path) -> Result<Manifest, FileError> {
    let text = read(path).map_err(|error| FileError::Manifest { path: path.into(), error })?;
    Ok(Manifest::parse(&text)?)
}

/// Reads a text that is no longer than a manifest may be.
pub fn read(path: &Path) -> io::Result<String> {
    // Opening a FIFO would wait for its other end, and a device may never end.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() {
        return Err(io::Error::other(kind_of(kind)));
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("longer than {LONGEST} bytes")));
    }
    Ok(text)
}

fn kind_of(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_dir() => "a folder, not a file",
        _ if kind.is_fifo() => "a FIFO, not a file",
        _ if kind.is_socket() => "a socket, not a file",
        _ => "a device, not a file",
    }
}

/// Checks that the folders of the command line exist.
pub fn check_folders(options: &Options) -> Result<(), FileError> {
    for (option, path) in [("images", &options.images), ("files", &options.files), ("out", &options.out)] {
        if !path.is_dir() {
            return Err(FileError::Folder { option, path: path.clone() });
        }
    }
    Ok(())
}

/// Returns the image of `vm`, after checking that it can be executed and that the VM's modules can be read.
pub fn find(options: &Options, vm: &VmConfig) -> Result<PathBuf, FileError> {
    let image = usable(vm, "image", &options.images, &vm.image, Access::EXEC_OK)?;
    if !is_program(&image) {
        let why = "neither a script (#!) nor an ELF program for x86-64".into();
        return Err(named(vm, "image", &options.images, &vm.image, why));
    }
    for name in &vm.modules {
        usable(vm, "module", &options.files, name, Access::READ_OK)?;
    }
    Ok(image)
}

fn usable(vm: &VmConfig, what: &'static str, folder: &Path, name: &str, how: Access) -> Result<PathBuf, FileError> {
    let path = folder.join(name);
    let why = match path.metadata() {
        Ok(data) if data.is_file() => access(&path, how).err().map(|error| match how {
            Access::EXEC_OK => format!("not a program that may be executed ({})", io::Error::from(error)),
            _ => io::Error::from(error).to_string(),
        }),
        Ok(data) => Some(kind_of(data.file_type()).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("no such file".into()),
        Err(error) => Some(error.to_string()),
    };
    why.map_or(Ok(path), |why| Err(named(vm, what, folder, name, why)))
}

fn named(vm: &VmConfig, what: &'static str, folder: &Path, name: &str, why: String) -> FileError {
    FileError::Named { vm: vm.name.clone(), what, name: name.into(), why, folder: folder.into() }
}

/// Returns whether the file at `path` is a script or an ELF program: a shell would be asked to run any other file. A
/// file that can't be read passes. See: execve(2); System V ABI, "ELF Header".
fn is_program(path: &Path) -> bool {
    const ELF64: &[u8] = b"\x7fELF\x02";
    const X86_64: [u8; 2] = 62u16.to_le_bytes();
    let Ok(mut file) = File::open(path) else { return true };
    let mut start = Vec::new();
    let read = file.by_ref().take(64).read_to_end(&mut start).is_ok();
    read && (start.starts_with(b"#!") || start.starts_with(ELF64) && start.get(18..20) == Some(&X86_64[..]))
}
