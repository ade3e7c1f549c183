//! Rows of calls and expiries, and what must hold for them. See: docs/interfaces.md.

use crate::Report;
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Calls of one kind.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// Packets in each.
    pub burst: u16,
    /// Bytes of each packet.
    pub frame: u16,
    /// The burst goes over the end of the ring's arrays: its last packet is the first behind it.
    pub over_the_end: bool,
    /// The number of calls.
    pub calls: u64,
    /// The unit of the values below: `instructions` or `cycles`.
    pub unit: String,
    /// The length of the shortest call.
    pub min: u64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The length of the longest call.
    pub max: u64,
    /// The variance; 0 if all took the same, and only then.
    pub variance: f64,
    /// Calls whose window was measured.
    pub windows: u64,
    /// The longest that a window was open for.
    pub window_max: Option<u64>,
}

/// A timer's expiries, from each to its handler.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expiries {
    /// The load of the VM meanwhile: `idle`, `busy`, or `BURSTxFRAME`.
    pub load: String,
    /// `instructions`, `cycles` or `nanoseconds`.
    pub unit: String,
    /// From one expiry to the next.
    pub period: u64,
    /// The number of expiries.
    pub expiries: u64,
    /// The number of expiries that fell into the time that others waited.
    pub missed: u64,
    /// The least latency.
    pub min: u64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The greatest latency.
    pub max: u64,
    /// The length of an exit to the host and back; 0 where nothing exits.
    pub exit: u64,
    /// Calls that the host ended so that an interrupt could come.
    pub aborted: u64,
    /// Least value of a bucket, and how many are in it.
    pub histogram: Vec<(u64, u64)>,
    /// The greatest latency that is allowed, which is computed: see [`Measured::bound`].
    #[serde(default)]
    pub bound: Option<u64>,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Calls, by kind.
    pub calls: Vec<Calls>,
    /// Expiries, by load.
    pub expiries: Vec<Expiries>,
}

impl Measured {
    /// Adds what a run that ended well printed.
    pub fn add(&mut self, report: &Report) -> Result<()> {
        report.check()?;
        let (calls, expiries) = (rows_of(report, "[a] call ")?, rows_of(report, "[a] latency ")?);
        if calls.is_empty() && expiries.is_empty() {
            bail!("nothing was measured");
        }
        self.calls.extend(calls);
        self.expiries.extend(expiries);
        Ok(())
    }

    /// Computes the greatest latency that is allowed under each load that sends.
    ///
    /// The bound is the latency without load, and what a call adds to it: the longest window of such calls, as
    /// interrupts are off in it, and one exit to the host, which learns in the window that an interrupt is due, and
    /// injects it at the next one.
    pub fn bound(&mut self) {
        let idle = self.expiries.iter().filter(|row| !row.sends()).map(|row| row.max).max();
        for row in self.expiries.iter_mut().filter(|row| row.sends()) {
            let same = |calls: &&Calls| format!("{}x{}", calls.burst, calls.frame) == row.load;
            let window = self.calls.iter().filter(same).filter_map(|calls| calls.window_max).max();
            row.bound = idle.zip(window).map(|(idle, window)| idle + window + row.exit);
        }
    }

    /// Returns the promises that do not hold. They are made where instructions are counted.
    pub fn broken(&self) -> Vec<String> {
        let differ = self.calls.iter().filter(|row| row.variance != 0.0);
        let late = self.expiries.iter().filter(|row| row.bound.is_some_and(|bound| row.max > bound));
        let differ = differ.map(|row| {
            let Calls { burst, frame, min, max, .. } = row;
            format!("calls of {burst} frames of {frame} B take {min} to {max} instructions")
        });
        let late = late.map(|row| format!("an interrupt waited for {} instructions under load {}", row.max, row.load));
        differ.chain(late).collect()
    }
}

impl Expiries {
    /// Whether the VM sent meanwhile.
    pub fn sends(&self) -> bool {
        self.load.contains('x')
    }
}

/// Returns the rows in lines with the tag `tag`.
pub(super) fn rows_of<T: DeserializeOwned>(report: &Report, tag: &str) -> Result<Vec<T>> {
    let rows = report.lines.iter().filter_map(|line| line.strip_prefix(tag));
    rows.map(|json| serde_json::from_str(json).with_context(|| format!("the image printed: {json}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = concat!(
        r#"[a] call {"burst":32,"frame":64,"over_the_end":true,"calls":62,"unit":"instructions","min":1356,"#,
        r#""mean":1356.000,"max":1356,"variance":0.000000,"windows":4,"window_max":1212}"#
    );

    fn latency(load: &str, max: u64) -> String {
        format!(
            concat!(
                r#"[a] latency {{"load":"{}","unit":"instructions","period":30011,"expiries":9,"missed":0,"min":1,"#,
                r#""mean":2.5,"max":{},"exit":2000,"aborted":0,"histogram":[[0,4],[16,5]]}}"#
            ),
            load, max
        )
    }

    fn measured(lines: &[String]) -> Result<Measured> {
        let mut measured = Measured::default();
        let text = format!("{}\n[monitor] RESULT pass\n", lines.join("\n"));
        measured.add(&Report::parse(&text, "monitor"))?;
        measured.bound();
        Ok(measured)
    }

    #[test]
    fn the_bound_is_that_without_load_and_a_window_and_an_exit() {
        let rows = |max| [CALL.into(), latency("idle", 300), latency("busy", 1800), latency("32x64", max)];
        let holds = measured(&rows(5012)).unwrap();
        assert_eq!((holds.expiries[2].bound, holds.broken()), (Some(1800 + 1212 + 2000), vec![]));
        assert_eq!(holds.expiries[0].bound, None);
        let broken = measured(&rows(5013)).unwrap().broken();
        assert_eq!(broken, ["an interrupt waited for 5013 instructions under load 32x64"]);
    }

    #[test]
    fn one_call_that_differs_is_no_secret() {
        let one = CALL.replace("0.000000", "0.000016").replace("\"max\":1356", "\"max\":1357");
        let broken = measured(&[one]).unwrap().broken();
        assert_eq!(broken, ["calls of 32 frames of 64 B take 1356 to 1357 instructions"]);
    }

    #[test]
    fn a_row_that_is_not_understood_is_an_error() {
        assert!(measured(&[CALL.replace("windows", "doors")]).is_err() && measured(&[]).is_err());
    }
}
