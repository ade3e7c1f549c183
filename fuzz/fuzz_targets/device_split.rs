//! A device side whose driver is hostile: split ring.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::device::{Input, run};

fuzz_target!(|input: Input| run(&input, false));
