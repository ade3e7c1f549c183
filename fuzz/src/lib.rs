//! What the fuzz targets share: memory with nothing around it, and a script of steps for either side of a queue.
//!
//! A step is data, so an input can be minimised and read; what it says is done as far as it makes sense. Nothing here
//! is lawful on purpose but what a step named `Offer` or `Use` writes, which is what leads the fuzzer behind the first
//! check.

pub mod device;
pub mod driver;
mod guarded;

pub use guarded::Guarded;
