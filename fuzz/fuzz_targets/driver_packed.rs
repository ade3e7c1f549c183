//! A driver side whose device is hostile: packed ring.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::driver::{Input, run};

fuzz_target!(|input: Input| run(&input, true));
