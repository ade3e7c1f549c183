//! forward.
fn main() {}
