//! The files that a manifest names: where they are looked for, and what they must be.

use elf::abi::{EM_X86_64, ET_EXEC, PT_INTERP};
use elf::endian::AnyEndian;
use elf::{ElfBytes, file::Class};
use std::fs;
use std::path::{Path, PathBuf};

/// The machine that a program was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A VM: no operating system, fixed addresses.
    Bare,
    /// Linux.
    Linux,
}

impl Kind {
    fn wanted(self) -> &'static str {
        match self {
            Self::Bare => "an image for VMs (`sluice_build::image()` in its build.rs, `--target x86_64-unknown-none`)",
            Self::Linux => "a Linux program for x86-64 (built without `--target x86_64-unknown-none`)",
        }
    }
}

/// Finds the image `name` in `folders`: the first of kind `kind`; `None` if the image is one of this workspace's own.
///
/// # Errors
/// Says why there is none, with every folder that was searched.
pub fn image(folders: &[PathBuf], name: &str, kind: Kind) -> Result<Option<PathBuf>, String> {
    plain(name)?;
    let mut wrong = None;
    for path in folders.iter().map(|folder| folder.join(name)).filter(|path| path.exists()) {
        match kind_of(&path) {
            Ok(found) if found == kind => return Ok(Some(path)),
            Ok(_) => wrong = Some(format!("{} is not {}", path.display(), kind.wanted())),
            Err(why) => wrong = Some(format!("{} {why}; it must be {}", path.display(), kind.wanted())),
        }
    }
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    if crate::artifacts::is_ours(name, kind == Kind::Bare) {
        return Ok(None);
    }
    Err(format!(
        "no such file in {}, and no program of this workspace",
        list(folders, "any folder: --images names none")
    ))
}

/// Reads the module `name` from the first of `folders` that has the file; without any, from `default`.
pub fn file(folders: &[PathBuf], default: &Path, name: &str) -> Result<Vec<u8>, String> {
    plain(name)?;
    let default = [default.to_owned()];
    let folders = if folders.is_empty() { &default } else { folders };
    match folders.iter().map(|folder| folder.join(name)).find(|path| path.exists()) {
        Some(path) if !path.is_file() => Err(format!("{} is not a file", path.display())),
        Some(path) => fs::read(&path).map_err(|error| format!("{}: {error}", path.display())),
        None => Err(format!("no such file in {} (--files names others)", list(folders, ""))),
    }
}

/// Whether boot loader and file system take `name` as it is.
fn plain(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    if name.is_empty() || name.starts_with(['.', '-']) || !name.bytes().all(is_plain) {
        return Err("a file name of letters, digits, '-', '_', '+' and '.' is needed".into());
    }
    Ok(())
}

fn list(folders: &[PathBuf], none: &str) -> String {
    let names = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>();
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

/// Returns the machine that the program in `path` was built for. A program for Linux names its loader, or is linked at
/// no fixed address. See: System V ABI, "ELF Header" and "Program Header".
fn kind_of(path: &Path) -> Result<Kind, String> {
    let bytes = fs::read(path).map_err(|error| format!("can't be read ({error})"))?;
    if bytes.starts_with(b"#!") {
        return Ok(Kind::Linux);
    }
    let not = "is not an ELF program for x86-64";
    let file = ElfBytes::<AnyEndian>::minimal_parse(&bytes).map_err(|_| not.to_owned())?;
    if file.ehdr.e_machine != EM_X86_64 || file.ehdr.class != Class::ELF64 {
        return Err(not.into());
    }
    let has_loader = file.segments().is_some_and(|segments| segments.iter().any(|it| it.p_type == PT_INTERP));
    let in_ram = (sluice_abi::boot::IMAGE_START.0..1 << 31).contains(&file.ehdr.e_entry);
    // A static Linux program at fixed addresses has notes, which the linker script of images leaves out.
    let has_notes = file.segments().is_some_and(|segments| segments.iter().any(|it| it.p_type == elf::abi::PT_NOTE));
    let bare = file.ehdr.e_type == ET_EXEC && !has_loader && !has_notes && in_ram;
    Ok(if bare { Kind::Bare } else { Kind::Linux })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_of_the_right_kind_counts_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["one", "two"].map(|name| folder.path().join(name));
        folders.iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let [one, two] = &folders;
        fs::write(one.join("vnf"), "#!/bin/sh\n").unwrap();
        let error = image(&folders, "vnf", Kind::Bare).unwrap_err();
        assert_eq!(error, format!("{} is not {}", one.join("vnf").display(), Kind::Bare.wanted()));
        assert_eq!(image(&folders, "vnf", Kind::Linux), Ok(Some(one.join("vnf"))));
        fs::copy(std::env::current_exe().unwrap(), two.join("vnf")).unwrap();
        fs::write(one.join("vnf"), "text").unwrap();
        assert_eq!(image(&folders, "vnf", Kind::Linux), Ok(Some(two.join("vnf"))));
        let error = image(&folders[..1], "vnf", Kind::Linux).unwrap_err();
        assert!(error.contains("one/vnf is not an ELF program for x86-64; it must be a Linux program"), "{error}");
        let error = image(&folders, "other", Kind::Bare).unwrap_err();
        assert_eq!(
            error,
            format!("no such file in {}, {}, and no program of this workspace", one.display(), two.display())
        );
        assert_eq!(image(&[], "forward", Kind::Bare), Ok(None));
        assert!(image(&[], "other", Kind::Bare).unwrap_err().contains("--images names none"));
        for name in ["", "a b", "../x", "$x", "-x", ".x", "a/b"] {
            assert!(image(&folders, name, Kind::Bare).unwrap_err().starts_with("a file name of"), "{name}");
        }
    }

    #[test]
    fn files_are_beside_the_manifest_unless_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there");
        fs::create_dir(&there).unwrap();
        fs::write(there.join("f"), "x").unwrap();
        assert_eq!(file(&[], &there, "f"), Ok(b"x".to_vec()));
        assert_eq!(file(std::slice::from_ref(&there), folder.path(), "f"), Ok(b"x".to_vec()));
        let error = file(&[folder.path().into()], &there, "f").unwrap_err();
        assert_eq!(error, format!("no such file in {} (--files names others)", folder.path().display()));
        assert!(file(&[], folder.path(), "there").unwrap_err().ends_with("there is not a file"));
    }
}
