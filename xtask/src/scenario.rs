//! Manifests to run, with the files of their VMs.

use crate::artifacts;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A manifest, and the files that its VMs get.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The manifest as text.
    pub manifest: String,
    /// Images that are no programs of this workspace, or are to be used instead, by name.
    pub images: BTreeMap<String, PathBuf>,
    /// Files by the name of the module.
    pub modules: Vec<(String, Vec<u8>)>,
    /// Processors of an emulated machine.
    pub processors: usize,
    /// MiB of an emulated machine's memory.
    pub memory_mib: u32,
    /// Seconds after which the run is stopped.
    pub timeout: u64,
}

impl Scenario {
    /// Makes a scenario of a manifest given as text, on one processor.
    pub fn new(manifest: impl Into<String>) -> Self {
        let (manifest, images, modules) = (manifest.into(), BTreeMap::new(), Vec::new());
        Self { manifest, images, modules, processors: 1, memory_mib: 128, timeout: 60 }
    }

    /// Reads the scenario of examples/manifests/`name`.toml, with the captures that it names.
    pub fn example(name: &str) -> Result<Self> {
        let path = artifacts::root().join("examples/manifests").join(name).with_extension("toml");
        let mut scenario = Self::new(fs::read_to_string(&path).with_context(|| path.display().to_string())?);
        let named = |name: &&str| scenario.manifest.contains(&format!("\"{name}\""));
        let files = "mixed.pcap rules.txt routes.txt flows.toml chain.toml hops.toml".split(' ');
        for name in files.filter(named).collect::<Vec<_>>() {
            let path = artifacts::root().join("examples/captures").join(name);
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            scenario.modules.push((name.into(), bytes));
        }
        Ok(scenario)
    }

    /// Returns the scenario with gate `gate` for every VM.
    pub fn gate(self, gate: &str) -> Result<Self> {
        self.edit(|vm| {
            vm.insert("gate".into(), gate.into());
        })
    }

    /// Returns the scenario with other arguments for the VM named `name`.
    pub fn args(self, name: &str, args: &str) -> Result<Self> {
        self.edit(|vm| {
            if vm.get("name").and_then(Value::as_str) == Some(name) {
                vm.insert("args".into(), args.into());
            }
        })
    }

    /// The images that the manifest names, and where they are: as [`Self::images`] says, or in `folder`. Those that are
    /// nowhere are left out.
    pub(crate) fn image_files(&self, folder: &Path) -> BTreeMap<String, PathBuf> {
        let manifest = self.manifest.parse::<Table>().unwrap_or_default();
        let vms = manifest.get("vm").and_then(Value::as_array).into_iter().flatten();
        let names = vms.filter_map(|vm| vm.get("image")?.as_str());
        let of = |name: &str| self.images.get(name).cloned().unwrap_or_else(|| folder.join(name));
        names.map(|name| (name.to_owned(), of(name))).filter(|(_, path)| path.is_file()).collect()
    }

    fn edit(mut self, change: impl Fn(&mut Table)) -> Result<Self> {
        let mut manifest: Table = self.manifest.parse()?;
        for vm in manifest.get_mut("vm").and_then(Value::as_array_mut).into_iter().flatten() {
            vm.as_table_mut().map(&change);
        }
        self.manifest = manifest.to_string();
        Ok(self)
    }
}
