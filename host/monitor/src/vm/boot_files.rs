//! The files that the boot loader brought, by name.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use sluice_control::{Manifest, VmConfig};

/// A file that the boot loader put in memory.
pub struct Module {
    /// Name of the module: the first word of its command line.
    pub name: String,
    /// Content of the file.
    pub bytes: &'static [u8],
}

/// The manifest, and the modules that it names.
pub struct BootFiles {
    /// The manifest.
    pub manifest: Manifest,
    /// All boot modules.
    pub modules: Vec<Module>,
}

impl BootFiles {
    /// Returns the boot module named `name`.
    pub fn module(&self, name: &str) -> Option<&[u8]> {
        self.modules.iter().find(|module| module.name == name).map(|module| module.bytes)
    }

    /// Returns the files of the VM that `config` describes, each with its name. The error names a file that is missing.
    pub fn modules_of<'a>(&'a self, config: &'a VmConfig) -> Result<Vec<(&'a str, &'a [u8])>, String> {
        let find = |name: &'a String| {
            let bytes = self.module(name);
            bytes
                .map(|bytes| (name.as_str(), bytes))
                .ok_or_else(|| format!("vm \"{}\": module \"{name}\": no such boot module", config.name))
        };
        config.modules.iter().map(find).collect()
    }
}
