//! Model-specific registers. `fake_msr.rs` stands for this file in unit tests.

pub use super::cpu::{read_msr as read, write_msr as write};
