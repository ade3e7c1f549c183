//! The manifest of a run, and on which line each key stands.

use anyhow::{Context, Error, Result, anyhow, ensure};
use sluice_control::{Manifest, ManifestError};
use std::fs;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Bytes of the longest manifest.
const LONGEST: u64 = 1 << 20;

/// A manifest that was read and checked.
pub struct Source {
    path: PathBuf,
    /// As it stands in the file.
    pub text: String,
    pub manifest: Manifest,
}

/// A key of a VM's entry: what an error names.
pub struct Key {
    at: String,
    what: String,
}

impl Key {
    /// The error `why` about this key.
    pub fn error(&self, why: String) -> Error {
        anyhow!("{}: {}: {why}", self.at, self.what)
    }
}

impl Source {
    /// Reads and checks the manifest in `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        let data = fs::metadata(path).with_context(name)?;
        ensure!(data.is_file(), "{}: not a file", name());
        ensure!(data.len() <= LONGEST, "{}: longer than {LONGEST} bytes", name());
        let text = fs::read_to_string(path).with_context(name)?;
        match Manifest::parse(&text) {
            Ok(manifest) => Ok(Self { path: path.into(), text, manifest }),
            Err(error) => Err(anyhow!("{}", located(&name(), &text, &error))),
        }
    }

    /// The manifest's folder.
    pub fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Processors that the VMs' `cpu` keys name.
    pub fn processors(&self) -> usize {
        self.manifest.vms.iter().filter_map(|vm| vm.cpu).max().map_or(1, |last| last.saturating_add(1).min(8))
    }

    /// MiB of RAM of all VMs.
    pub fn ram_mib(&self) -> u32 {
        self.manifest.vms.iter().map(|vm| vm.ram_mib).sum()
    }

    /// The key `key` of VM `index`, or the entry `entry` of the list that it holds.
    pub fn key(&self, index: usize, key: &str, entry: Option<&str>) -> Key {
        let vm = &self.manifest.vms[index];
        let value = entry.unwrap_or(if key == "image" { &vm.image } else { "" });
        let at = place(&self.path.display().to_string(), &self.text, index, key);
        Key { at, what: format!("vm \"{}\": {key} \"{value}\"", vm.name) }
    }
}

/// The error `error` of the manifest `text`, with file and line in front.
fn located(path: &str, text: &str, error: &ManifestError) -> String {
    match error {
        ManifestError::Syntax { line, what } => format!("{path}:{line}: {what}"),
        ManifestError::Count(_) => format!("{path}: {error}"),
        ManifestError::Vm { vm, what } => {
            let names = toml::from_str::<toml::Table>(text).ok().and_then(|table| {
                let vms = table.get("vm")?.as_array()?.clone();
                // Of two VMs with one name, the error is about the second.
                vms.iter().rposition(|it| it.get("name").and_then(toml::Value::as_str) == Some(vm))
            });
            let at = names.map_or_else(|| path.to_owned(), |index| place(path, text, index, what.key()));
            format!("{at}: vm \"{vm}\": {what}")
        }
    }
}

/// File and line of the key `key` of VM `index`; of the VM's entry, if it has no such key.
fn place(path: &str, text: &str, index: usize, key: &str) -> String {
    match offset(text, index, key) {
        Some(at) => format!("{path}:{}", text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1),
        None => path.to_owned(),
    }
}

fn offset(text: &str, index: usize, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (_, vms) = table.get_ref().iter().find(|(name, _)| name.get_ref() == "vm")?;
    let DeValue::Array(vms) = vms.get_ref() else { return None };
    let vm = vms.get(index)?;
    let DeValue::Table(entries) = vm.get_ref() else { return None };
    let found = entries.iter().find(|(name, _)| name.get_ref() == key);
    Some(found.map_or(vm.span().start, |(name, _)| name.span().start).min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# two\n[[vm]]\nname = \"a\"\nram_mib = 16\nimage = \"x\"\n\
                        gate = \"isolated\"\npeers = [\"b\"]\n\n\
                        [[vm]]\nname = \"b\"\nram_mib = 16\nimage = \"y\"\ncpu = 1\ngate = \"isolated\"\n";

    fn error(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.toml");
        fs::write(&path, text).unwrap();
        let error = Source::read(&path).err().expect("an error").to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn what_is_wrong_is_named_with_file_line_and_key() {
        let cases = [
            ("[[vm", "m.toml:1: "),
            (&TEXT.replace("image = \"y\"", "colour = 3"), "m.toml:12: unknown field `colour`"),
            (&TEXT.replacen("= 16", "= 15", 1), "m.toml:4: vm \"a\": ram_mib = 15: "),
            (&TEXT.replace("[\"b\"]", "[\n\"c\"]"), "m.toml:7: vm \"a\": peer \"c\": no such vm"),
            (&TEXT.replace("\"b\"", "\"a\"").replace("peers = [\"a\"]\n", ""), "m.toml:9: vm \"a\": name: used twice"),
            ("", "m.toml: manifest: 0 VMs"),
        ];
        for (text, expected) in cases {
            let error = error(text);
            assert!(error.starts_with(expected), "{error}\nwanted {expected}");
        }
        assert!(Source::read(Path::new("/nowhere/m.toml")).err().unwrap().to_string().starts_with("/nowhere/m.toml"));
        assert_eq!(Source::read(Path::new("/")).err().unwrap().to_string(), "/: not a file");
    }

    #[test]
    fn keys_have_lines_and_the_machine_has_what_they_ask_for() {
        let manifest = Manifest::parse(TEXT).unwrap();
        let source = Source { path: "m.toml".into(), text: TEXT.into(), manifest };
        let named = source.key(1, "image", None).error("gone".into()).to_string();
        assert_eq!(named, "m.toml:12: vm \"b\": image \"y\": gone");
        assert_eq!(
            source.key(0, "modules", Some("f")).error("gone".into()).to_string(),
            "m.toml:2: vm \"a\": modules \"f\": gone"
        );
        assert_eq!((source.processors(), source.ram_mib(), source.folder()), (2, 32, Path::new(".")));
    }
}
