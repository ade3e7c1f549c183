//! Measured rows, as VNFs and ring-bench print them.

use serde::{Deserialize, Serialize};

/// The name of the mix of lengths, whose rows have 0 bytes.
pub const IMIX: &str = "imix";

/// Returns the name of the length `frame`.
pub fn frame_name(frame: u16) -> String {
    if frame == 0 { IMIX.into() } else { frame.to_string() }
}

/// A measured row of microbench.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Row {
    /// Name of the gate.
    pub gate: String,
    /// Packets in each call.
    pub burst: u16,
    /// Bytes of each packet; 0 stands for the mix of lengths.
    pub frame: u16,
    /// Packets measured.
    pub packets: u64,
    /// `instructions` or `cycles`.
    pub counter: String,
    /// Instructions or cycles for one packet.
    pub per_packet: f64,
    /// Exits for one packet.
    pub exits_per_packet: f64,
    /// Millions of packets a second, where the counter is a clock.
    pub mpps: Option<f64>,
}

/// A measured row of ring-bench.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RingRow {
    /// The side that was measured: `device` or `driver`.
    pub side: String,
    /// The implementation that was measured.
    pub r#impl: String,
    /// The ring's format.
    pub ring: String,
    /// Processors.
    pub cores: u16,
    /// Nanoseconds that a cache line takes to the other processor and back; with two only.
    pub round_trip_ns: Option<f64>,
    /// Bytes of a frame; 0: the mix of lengths.
    pub frame: u16,
    /// Packets in a call.
    pub burst: u16,
    /// Ticks of the time-stamp counter.
    pub cycles_per_packet: f64,
    /// The ratio to DPDK's ticks with the same ring and side: the median of the ratios turn by turn.
    pub ratio_to_dpdk: Option<f64>,
    /// The name of the way by which DPDK's driver receives.
    pub path: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_these_fields_and_no_others() {
        let text = concat!(
            r#"{"side":"device","impl":"rte_vhost","ring":"in-order","cores":2,"round_trip_ns":98.5,"#,
            r#""frame":64,"burst":32,"cycles_per_packet":56.25,"ratio_to_dpdk":0.125,"path":null}"#
        );
        let row: RingRow = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), text);
        assert!(serde_json::from_str::<RingRow>(&text.replace("98.5", "null")).is_ok());
        assert!(serde_json::from_str::<RingRow>(&text.replace("cores", "processors")).is_err());
    }
}
