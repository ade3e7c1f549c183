//! The rules of any ELF file: a VNF, or the monitor.
//!
//! A stray VMFUNC in a VNF endangers no peer, who is safe from whatever a VM executes; it can end the VM that jumps
//! there by mistake.

use crate::binary::Binary;
use crate::rule::Rule;
use crate::{image, vmfunc};

/// The section in which `trampoline/gate` lists the addresses of its VMFUNCs.
const DECLARED: &str = ".sluice.vmfunc";

/// Returns the rules of such a file.
pub fn rules(binary: &Binary) -> Vec<Rule> {
    let places = vmfunc::places(binary.executable(), &binary.symbols, &declared(binary));
    vec![image::write_or_execute(binary), vmfunc::rule("G1", &places)]
}

fn declared(binary: &Binary) -> Vec<u64> {
    let bytes = binary.section(DECLARED).map_or(&[][..], |section| &section.bytes);
    bytes.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?))).collect()
}
