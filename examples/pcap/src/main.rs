//! pcap.
#![allow(dead_code)]
mod announce; mod assembly; mod format;
fn main() {}
