//! The crate beside Open vSwitch, userspace, without a kernel module, and but for `tunnel` without root.

mod actions;
mod compare;
mod fence;
mod follow;
mod frames;
mod lab;
mod tunnel;
