//! sluice-monitor.
fn main() {}
