//! Network service headers that anybody sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::chain::{Frame, frame};

fuzz_target!(|input: Frame| frame(&input));
