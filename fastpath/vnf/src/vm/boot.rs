//! What the monitor left for the image: arguments, modules, free RAM.

use core::slice::from_raw_parts;
use sluice_abi::Gpa;
use sluice_abi::boot::{self, BootInfo, Module};

/// The boot information of this VM. The host wrote it before the VM started; since then nobody writes it.
#[derive(Clone, Copy)]
pub struct Boot(&'static BootInfo);

impl Boot {
    /// The boot information at `at`.
    ///
    /// # Safety
    /// `at` is what the monitor put into RDI: RAM is mapped one to one, and the modules lie in it untouched.
    #[allow(unsafe_code, reason = "the first reference of all")]
    pub unsafe fn read(at: Gpa) -> Self {
        // SAFETY: the contract above; every bit pattern is a valid BootInfo.
        let info = unsafe { &*(at.0 as *const BootInfo) };
        assert!(info.magic == boot::MAGIC, "no boot information at {at}");
        Self(info)
    }

    /// The arguments; what is not UTF-8 is left out, from its first byte on.
    pub fn args(self) -> &'static str {
        let bytes = &self.0.args[..(self.0.args_len as usize).min(boot::ARGS_LEN)];
        bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }

    /// The module named `name`.
    #[allow(unsafe_code, reason = "modules are RAM that nobody writes")]
    pub fn module(self, name: &str) -> Option<&'static [u8]> {
        let count = (self.0.module_count as usize).min(boot::MAX_MODULES);
        let module = self.0.modules[..count].iter().find(|module| is_named(module, name))?;
        // SAFETY: the contract of `read`; modules are outside the image and outside free RAM.
        Some(unsafe { from_raw_parts(module.gpa.0 as *const u8, module.len as usize) })
    }

    /// Free RAM: first byte and the byte after the last.
    pub fn free(self) -> (Gpa, Gpa) {
        (self.0.free, Gpa(self.0.free.0 + self.0.free_len))
    }
}

fn is_named(module: &Module, name: &str) -> bool {
    let end = module.name.iter().position(|&byte| byte == 0).unwrap_or(module.name.len());
    module.name[..end] == *name.as_bytes()
}
