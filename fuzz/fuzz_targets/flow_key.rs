//! The key of a frame that anybody sent, and actions on it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::switch::{Frame, frame};

fuzz_target!(|input: Frame| frame(&input));
