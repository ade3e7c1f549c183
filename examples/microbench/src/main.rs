//! microbench.
#![allow(dead_code)]
mod frame; mod options; mod row; mod tally;
fn main() {}
