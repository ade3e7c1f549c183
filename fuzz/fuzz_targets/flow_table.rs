//! Readers of a flow table whose words anybody wrote.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::switch::{Table, table};

fuzz_target!(|input: Table| table(&input));
