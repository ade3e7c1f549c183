//! microbench.
fn main() {}
