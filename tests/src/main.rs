//! sluice-tests.
fn main() {}
