//! The parts that the fuzz targets share: memory between guards, and a script of steps for either side of a queue.
//!
//! A step is data, so an input can be minimised and read. A step is done as far as it makes sense. Only the steps
//! `Offer` and `Use` write what a driver or device may write, which leads the fuzzer behind the first check.

pub mod device;
pub mod driver;
mod guarded;

pub use guarded::Guarded;
