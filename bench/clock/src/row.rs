//! A measured row, which is printed as JSON; `cargo xtask bench` makes tables and plots of it.

use core::fmt;
use sluice_vnf::clock::Counter;

/// The measurement for one burst size and frame length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the gate.
    pub gate: &'static str,
    /// Packets in each call.
    pub burst: u16,
    /// Bytes of each; 0 stands for the mix of lengths.
    pub frame: u16,
    /// Packets that the numbers below are about, all of them accepted.
    pub packets: u64,
    /// The unit of `ticks`.
    pub counter: Counter,
    /// Ticks inside the calls, or of whatever else is measured.
    pub ticks: u64,
    /// Exits meanwhile.
    pub exits: u64,
}

impl Row {
    /// Ticks for one packet.
    pub fn per_packet(&self) -> f64 {
        self.ticks as f64 / self.packets as f64
    }

    /// Exits for one packet.
    pub fn exits_per_packet(&self) -> f64 {
        self.exits as f64 / self.packets as f64
    }

    /// Millions of packets in a second of calls, where the counter is a clock of known rate.
    pub fn mpps(&self) -> Option<f64> {
        match self.counter {
            Counter::Cycles(Some(per_second)) if self.ticks > 0 => Some(per_second as f64 / self.per_packet() / 1e6),
            _ => None,
        }
    }
}

/// Writes a row as one JSON object.
pub struct Json<'a>(pub &'a Row);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.0;
        write!(f, r#"{{"gate":"{}","burst":{},"frame":{},"packets":{},"#, row.gate, row.burst, row.frame, row.packets)?;
        write!(f, r#""counter":"{}","per_packet":{:.3},"#, row.counter.unit(), row.per_packet())?;
        write!(f, r#""exits_per_packet":{:.6},"mpps":"#, row.exits_per_packet())?;
        match row.mpps() {
            Some(mpps) => write!(f, "{mpps:.3}}}"),
            None => write!(f, "null}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row {
        gate: "isolated",
        burst: 32,
        frame: 64,
        packets: 1024,
        counter: Counter::Instructions,
        ticks: 57_344,
        exits: 0,
    };

    #[test]
    fn a_row_is_json_with_all_fields() {
        let text = Json(&ROW).to_string();
        assert_eq!(
            text,
            concat!(
                r#"{"gate":"isolated","burst":32,"frame":64,"packets":1024,"counter":"instructions","#,
                r#""per_packet":56.000,"exits_per_packet":0.000000,"mpps":null}"#
            )
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["per_packet"], 56.0);
        assert!(value["mpps"].is_null());
    }

    #[test]
    fn a_clock_gives_a_rate() {
        let row = Row { counter: Counter::Cycles(Some(3_000_000_000)), ticks: 46 * 1024, exits: 32, ..ROW };
        let value: serde_json::Value = serde_json::from_str(&Json(&row).to_string()).unwrap();
        assert_eq!(value["counter"], "cycles");
        assert!((value["mpps"].as_f64().unwrap() - 65.217).abs() < 0.001);
        assert_eq!(value["exits_per_packet"], 0.03125);
        assert_eq!(Row { counter: Counter::Cycles(None), ..row }.mpps(), None);
    }
}
