//! A session whose front-end is hostile.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::session::{Step, run};

fuzz_target!(|steps: Vec<Step>| run(&steps));
