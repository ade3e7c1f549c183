//! The state of a server for Prometheus. See: Prometheus documentation, "Exposition formats", text-based format.

use crate::status::{ChannelStatus, Status, TapStatus, VmStatus, WindowStatus, counter};
use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// The state of a server, shown in the text-based format.
pub struct Metrics<'s>(pub &'s Status);

/// What is shown of each VM beside its counters: name, type, help, and value.
type Metric = (&'static str, &'static str, &'static str, fn(&VmStatus) -> u64);

/// The same of each tap, for the metrics of which it has something to say.
type TapMetric = (&'static str, fn(&TapStatus) -> u64);

const OF_TAPS: [TapMetric; 4] = [
    ("connected", |tap| tap.open_seconds.is_some().into()),
    ("connects_total", |tap| tap.opens),
    ("taken_bytes_total", |tap| tap.taken_bytes),
    ("forwarded_bytes_total", |tap| tap.forwarded_bytes),
];

/// What is shown of each window: name, type, help, and value.
type OfWindow = (&'static str, &'static str, &'static str, fn(&WindowStatus) -> u64);

const OF_WINDOWS: [OfWindow; 2] = [
    ("window_frames_total", "counter", "Frames that the process has put into the peer's queue.", |it| it.frames),
    ("window_open", "gauge", "Whether the process may send to the peer at any time.", |it| (it.state == "open").into()),
];

/// What is shown of each channel: name, type, help, and value.
type OfChannel = (&'static str, &'static str, &'static str, fn(&ChannelStatus) -> u64);

const OF_CHANNELS: [OfChannel; 7] = [
    ("channel_ring_bytes", "gauge", "Length of the ring.", |it| it.ring_bytes),
    ("channel_writer_connected", "gauge", "Whether there is a writer.", |it| it.writer_seconds.is_some().into()),
    ("channel_readers", "gauge", "Readers that are connected, of the last 64.", |it| it.readers),
    ("channel_reader_connects_total", "counter", "Readers that got a descriptor.", |it| it.reader_connects),
    ("channel_writer_connects_total", "counter", "Writers that got a descriptor.", |it| it.writer_connects),
    ("channel_refused_total", "counter", "Readers and writers that got none.", |it| it.refused),
    ("channel_written_bytes_total", "counter", "Bytes of the ring that were written, as the writer claims.", |it| {
        it.written_bytes
    }),
];

const METRICS: [Metric; 5] = [
    ("connected", "gauge", "Whether the front-end is connected, or the tap open.", |vm| {
        vm.connected_seconds.is_some().into()
    }),
    ("connects_total", "counter", "Sessions that began, or times that the tap was opened.", |vm| vm.connects),
    ("rings", "gauge", "Rings in use.", |vm| vm.rings.len() as u64),
    ("taken_bytes_total", "counter", "Bytes of the frames taken from the VM or tap.", |vm| vm.taken_bytes),
    ("forwarded_bytes_total", "counter", "Bytes of the frames forwarded to the VM or tap.", |vm| vm.forwarded_bytes),
];

impl Metrics<'_> {
    /// Writes a metric of each VM, and of each tap that has a value.
    fn each(
        &self,
        f: &mut impl Write,
        (name, kind, help): (&str, &str, &str),
        value: impl Fn(&VmStatus) -> u64,
        of_tap: impl Fn(&TapStatus) -> Option<u64>,
    ) -> fmt::Result {
        writeln!(f, "# HELP sluice_{name} {help}\n# TYPE sluice_{name} {kind}")?;
        for vm in &self.0.vms {
            writeln!(f, "sluice_{name}{{vm=\"{}\"}} {}", label(&vm.name), value(vm))?;
        }
        let taps = self.0.taps.iter().filter_map(|tap| Some((label(&tap.name), of_tap(tap)?)));
        taps.into_iter().try_for_each(|(tap, value)| writeln!(f, "sluice_{name}{{tap=\"{tap}\"}} {value}"))
    }

    /// Writes a metric of each window of each process that is connected. Without one there is none to write.
    fn each_window(&self, f: &mut impl Write, (name, kind, help, value): &OfWindow) -> fmt::Result {
        let windows: Vec<_> = self.0.vms.iter().flat_map(|vm| vm.windows.iter().map(move |it| (vm, it))).collect();
        if !windows.is_empty() {
            writeln!(f, "# HELP sluice_{name} {help}\n# TYPE sluice_{name} {kind}")?;
        }
        windows.into_iter().try_for_each(|(vm, window)| {
            let (vm, peer) = (label(&vm.name), label(&window.peer));
            writeln!(f, "sluice_{name}{{vm=\"{vm}\",peer=\"{peer}\"}} {}", value(window))
        })
    }
}

impl Metrics<'_> {
    /// Writes what each in-VM switch counts. Without one there is nothing to write.
    fn in_vm_switches(&self, f: &mut impl Write) -> fmt::Result {
        let (name, help) = ("in_vm_switch", "What an in-VM switch says of itself and of its flow table, by name.");
        let all = self.0.vms.iter().flat_map(|vm| vm.flows.iter().map(move |(what, count)| (&vm.name, what, count)));
        let mut all = all.peekable();
        if all.peek().is_some() {
            writeln!(f, "# HELP sluice_{name} {help}\n# TYPE sluice_{name} gauge")?;
        }
        all.try_for_each(|(vm, what, count)| {
            writeln!(f, "sluice_{name}{{vm=\"{}\",name=\"{what}\"}} {count}", label(vm))
        })
    }

    /// Writes a metric of each channel. Without one there is none to write.
    fn each_channel(&self, f: &mut impl Write, (name, kind, help, value): &OfChannel) -> fmt::Result {
        if !self.0.channels.is_empty() {
            writeln!(f, "# HELP sluice_{name} {help}\n# TYPE sluice_{name} {kind}")?;
        }
        let mut channels = self.0.channels.iter();
        channels.try_for_each(|it| writeln!(f, "sluice_{name}{{channel=\"{}\"}} {}", label(&it.name), value(it)))
    }
}

impl fmt::Display for Metrics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# HELP sluice_uptime_seconds Time since the server began.\n# TYPE sluice_uptime_seconds gauge")?;
        writeln!(f, "sluice_uptime_seconds {}", self.0.uptime_seconds)?;
        for (name, kind, help, value) in METRICS {
            let of_tap = OF_TAPS.iter().find(|(of_tap, _)| *of_tap == name).map(|(_, value)| value);
            self.each(f, (name, kind, help), value, |tap| of_tap.map(|value| value(tap)))?;
        }
        let names: BTreeSet<&String> = self.0.vms.iter().flat_map(|vm| vm.counters.keys()).collect();
        for name in names {
            let (metric, help) = (format!("{name}_total"), format!("The switch's counter {name} of the port."));
            let of_tap = |tap: &TapStatus| Some(counter(&tap.counters, name));
            self.each(f, (&metric, "counter", &help), |vm| vm.counter(name), of_tap)?;
        }
        self.in_vm_switches(f)?;
        OF_WINDOWS.iter().try_for_each(|metric| self.each_window(f, metric))?;
        OF_CHANNELS.iter().try_for_each(|metric| self.each_channel(f, metric))
    }
}

/// Returns `text` as the value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_ends_where_it_is_to_end() {
        assert_eq!(label("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
