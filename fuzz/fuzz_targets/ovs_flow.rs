//! The text of a flow that who has the control socket of Open vSwitch wrote.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::openvswitch::flow;

fuzz_target!(|text: &str| flow(text));
