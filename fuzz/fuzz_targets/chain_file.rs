//! Chain files that anybody wrote.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::chain::file;

fuzz_target!(|input: &str| file(input));
