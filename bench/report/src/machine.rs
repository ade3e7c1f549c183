//! The machine that figures were taken on.

use std::fs;

/// Returns the model and the number of this machine's processors.
pub fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, name)| name);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {count} processors")
}
