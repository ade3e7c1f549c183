//! The output of a run, taken apart. See: docs/interfaces.md.

use crate::rows::Row;
use std::collections::BTreeMap;

/// The outcome of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Every line of the host's and the VMs' consoles.
    pub lines: Vec<String>,
    /// The host's verdict: `Err` says what failed. `None` if the run ended before it.
    pub verdict: Option<Result<(), String>>,
    /// Measured rows.
    pub rows: Vec<Row>,
    /// Files that VMs wrote, as far as they are whole.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Exits by VM, then by reason; also `total` and `aborts`.
    pub exits: BTreeMap<String, BTreeMap<String, u64>>,
    /// Whether the run was stopped because it took longer than it may.
    pub timed_out: bool,
}

impl Report {
    /// Takes `output` apart; the host's own lines carry the tag `host`.
    pub fn parse(output: &str, host: &str) -> Self {
        let (mut report, mut pieces) = (Self::default(), BTreeMap::new());
        for line in output.lines().map(|line| line.trim_end_matches('\r')) {
            let Some((tag, text)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else { continue };
            report.lines.push(line.to_owned());
            if tag == host {
                report.host_line(text);
            }
            report.file_or_row(tag, text, &mut pieces);
        }
        report
    }

    /// Whether the host and all VMs ended well; else why not.
    pub fn check(&self) -> anyhow::Result<()> {
        match &self.verdict {
            Some(Ok(())) => Ok(()),
            Some(Err(reason)) => {
                let said = self.lines.iter().find(|line| line.contains("] error: "));
                anyhow::bail!("{reason}{}", said.map(|line| format!(" ({line})")).unwrap_or_default())
            }
            None => anyhow::bail!("no verdict"),
        }
    }

    /// Whether some line contains `text`.
    pub fn says(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }

    fn host_line(&mut self, text: &str) {
        if let Some(verdict) = text.strip_prefix("RESULT ") {
            // A verdict that is not understood is a failure.
            let reason = || verdict.strip_prefix("fail: ").unwrap_or(verdict).to_owned();
            self.verdict = Some(if verdict == "pass" { Ok(()) } else { Err(reason()) });
        } else if let Some(rest) = text.strip_prefix("exits ") {
            let mut words = rest.split(' ');
            let vm = words.next().unwrap_or_default().to_owned();
            let counts = words
                .filter_map(|word| word.split_once('='))
                .filter_map(|(name, count)| Some((name.into(), count.parse().ok()?)));
            self.exits.insert(vm, counts.collect());
        }
    }

    fn file_or_row(&mut self, vm: &str, text: &str, pieces: &mut BTreeMap<String, Option<Vec<u8>>>) {
        if let Some(json) = text.strip_prefix("row ") {
            self.rows.extend(serde_json::from_str::<Row>(json));
        } else if let Some((name, piece)) = text.strip_prefix("file ").and_then(|rest| rest.split_once(' ')) {
            let file = pieces.entry(format!("{vm}/{name}")).or_insert_with(|| Some(Vec::new()));
            if piece != "end" {
                match (file.as_mut(), bytes(piece)) {
                    (Some(file), Some(bytes)) => file.extend(bytes),
                    _ => *file = None,
                }
            } else if let Some(whole) = file.take() {
                self.files.insert(name.to_owned(), whole);
            }
        }
    }
}

/// Whether `text`, a line of a VM's, is a piece of a file, or says that a file is whole.
pub fn is_piece(text: &str) -> bool {
    let piece = text.strip_prefix("file ").and_then(|rest| rest.split_once(' '));
    piece.is_some_and(|(_, piece)| piece == "end" || !piece.is_empty() && bytes(piece).is_some())
}

/// The bytes of hexadecimal digits; `None` where some are missing, or none.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok().filter(|_| pair.len() == 2)?, 16).ok();
    hex.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vm_says_of_a_file_is_no_piece_of_one() {
        assert!(["file x d4c3", "file x end"].into_iter().all(is_piece));
        assert!(!["file x is gone", "file x", "file x ", "a file x d4", "file x y end"].into_iter().any(is_piece));
    }

    #[test]
    fn a_console_is_taken_apart() {
        let text = "junk\n[monitor] exits a total=3 vmcall=2 cpuid=1 aborts=0\r\n\
                    [b] file x.pcap d4c3\n[b] file x.pcap b2\n[b] file x.pcap end\n\
                    [a] row {\"gate\":\"isolated\",\"burst\":32,\"frame\":64,\"packets\":64,\
                    \"counter\":\"instructions\",\"per_packet\":51.5,\"exits_per_packet\":0.0,\"mpps\":null}\n\
                    [monitor] RESULT fail: vm a exit code 1\n";
        let report = Report::parse(text, "monitor");
        assert_eq!(report.exits["a"]["vmcall"], 2);
        assert_eq!(report.files["x.pcap"], [0xd4, 0xc3, 0xb2]);
        assert_eq!((report.rows[0].burst, report.rows[0].per_packet), (32, 51.5));
        assert_eq!(report.verdict, Some(Err("vm a exit code 1".into())));
        let broken = "[b] file x d4\n[b] file y d\n[b] file y d4\n[b] file y end\n[c] file x end\n";
        assert_eq!(Report::parse(broken, "monitor").files.into_iter().collect::<Vec<_>>(), [("x".into(), vec![])]);
        for odd in ["fail", "pas", "passed", "", "pass fail: no", "PASS"] {
            let report = Report::parse(&format!("[monitor] RESULT {odd}"), "monitor");
            assert_eq!(report.verdict, Some(Err(odd.into())), "{odd:?}");
        }
        assert!(Report::parse("[monitor] RESULT pass\r\n", "monitor").check().is_ok());
        assert!(Report::parse("[monitor] RESULTS pass", "monitor").check().is_err());
        assert!(report.check().is_err() && Report::parse("[a] RESULT pass", "monitor").verdict.is_none());
    }
}
