//! pcap.
fn main() {}
