//! sluice-launcher.
fn main() {}
