//! Both sides of a channel whose words anybody wrote.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::channel::{Channel, channel};

fuzz_target!(|input: Channel| channel(&input));
