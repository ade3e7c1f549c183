//! The parts that the fuzz targets share: a script of steps for either side of a queue, in memory between guards, and
//! for a flow table; headers and files of service chains; texts; and messages.
//!
//! A step is data, so an input can be minimised and read. A step is done as far as it makes sense. Only the steps
//! `Offer` and `Use` write what a driver or device may write, which leads the fuzzer behind the first check.

pub mod chain;
pub mod device;
pub mod driver;
pub mod openvswitch;
pub mod session;
pub mod switch;

use sluice_memory::PeerSlice;

/// Sets every byte of `memory` to `value`.
fn fill(memory: PeerSlice<'_>, value: u8) {
    memory.copy_from_slice(0, &vec![value; memory.len() as usize]).expect("all of it");
}
