//! The peer: DPDK's `dpdk-testpmd`, as a child process.

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long testpmd may take for any answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What testpmd does with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// It sends each back from the port that it came in at.
    Back,
    /// It sends each on from the other port of two.
    Across,
    /// It answers ARP requests and echo requests, and drops all else.
    Echo,
}

/// How to start testpmd.
#[derive(Clone, Debug)]
pub struct Options {
    /// Arguments of `--vdev`: testpmd's ports.
    pub vdevs: Vec<String>,
    /// What testpmd does with packets. A packet stays on the queue pair that it came from.
    pub forward: Forward,
    /// The number of queue pairs.
    pub pairs: u16,
    /// The number of entries of each queue.
    pub ring: u16,
    /// Whether testpmd may use 512-bit vectors, where the processor has them.
    pub wide_vectors: bool,
    /// Arguments that come last, and so take the place of others.
    pub more: Vec<String>,
}

/// A running testpmd. Dropping this kills it.
pub struct Testpmd {
    child: Child,
    input: ChildStdin,
    output: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    prefix: String,
}

/// The counters of testpmd since it started to forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The number of packets received.
    pub received: u64,
    /// The number of packets sent.
    pub sent: u64,
    /// The number of packets received for which the transmit queue had no room.
    pub dropped: u64,
}

impl Testpmd {
    /// Starts testpmd, which begins to forward by itself.
    pub fn start(options: &Options) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("peers-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "dpdk-testpmd"]).args(arguments(options, &prefix));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = sluice_guard::tie(&mut command).spawn().context("stdbuf dpdk-testpmd")?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let readers = [
            child.stdout.take().map(|stdout| collect(stdout, output.clone())),
            child.stderr.take().map(|stderr| collect(stderr, output.clone())),
        ];
        let input = child.stdin.take().context("testpmd has no standard input")?;
        Ok(Self { child, input, output, readers: readers.into_iter().flatten().collect(), prefix })
    }

    /// Returns all lines that testpmd has printed.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Waits until testpmd has printed `text`.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        self.wait_behind(0, text).map(drop)
    }

    /// Waits until testpmd has printed a line with `text`, behind the first `lines` lines. Returns all lines from
    /// there on.
    fn wait_behind(&mut self, lines: usize, text: &str) -> Result<String> {
        let start = Instant::now();
        loop {
            let said = self.output.lock().unwrap_or_else(PoisonError::into_inner)[lines..].join("\n");
            if said.contains(text) {
                return Ok(said);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("testpmd ended ({status}):\n{}", self.output());
            }
            if start.elapsed() > PATIENCE {
                bail!("testpmd did not say {text:?}:\n{}", self.output());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Gives testpmd the command `command`, and returns what it prints up to a line with `end`.
    pub fn ask(&mut self, command: &str, end: &str) -> Result<String> {
        let lines = self.output.lock().unwrap_or_else(PoisonError::into_inner).len();
        writeln!(self.input, "{command}")?;
        self.wait_behind(lines, end)
    }

    /// Stops forwarding, and returns the counters.
    pub fn stop(&mut self) -> Result<Counters> {
        let said = self.ask("stop", "Done.")?;
        let total = said.split("Accumulated forward statistics").nth(1).unwrap_or_default();
        let number = |name: &str| -> Option<u64> { total.split(name).nth(1)?.split_whitespace().next()?.parse().ok() };
        let counters = number("RX-packets:").zip(number("TX-packets:")).zip(number("TX-dropped:"));
        let ((received, sent), dropped) = counters.with_context(|| format!("testpmd printed no counters:\n{total}"))?;
        Ok(Counters { received, sent, dropped })
    }

    /// Returns the number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the receive path that net_virtio_user says it takes, without the words "packed ring".
    pub fn receive_path(&self) -> Option<String> {
        let output = self.output();
        let (before, _) = output.split_once(" Rx path on port 0")?;
        let (_, path) = before.rsplit_once("virtio: using ")?;
        Some(path.trim_start_matches("packed ring ").to_owned())
    }

    /// Kills testpmd, as `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        // testpmd may have ended by itself. The folder stays behind when testpmd is killed, and may never have been
        // made.
        let _ = self.kill();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        let _ = fs::remove_dir_all(PathBuf::from("/var/run/dpdk").join(&self.prefix));
    }
}

fn arguments(options: &Options, prefix: &str) -> Vec<String> {
    let Options { vdevs, forward, pairs, ring, wide_vectors, more } = options;
    let (mode, topology) = match forward {
        Forward::Back => ("io", "loop"),
        Forward::Across => ("io", "paired"),
        Forward::Echo => ("icmpecho", "loop"),
    };
    // Where there are several processors, testpmd has the last one to itself.
    let cpu = thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let mut words = vec![
        format!("--lcores=0@{cpu},1@{cpu}"),
        "--no-pci".into(),
        "--no-telemetry".into(),
        "--no-huge".into(),
        "-m256".into(),
        format!("--file-prefix={prefix}"),
        // The log has the receive path, for receive_path.
        "--log-level=pmd.net.virtio.init:info".into(),
    ];
    words.extend(vdevs.iter().map(|vdev| format!("--vdev={vdev}")));
    if *wide_vectors {
        words.push("--force-max-simd-bitwidth=512".into());
    }
    words.extend(
        ["--", "-i", "--auto-start", "--no-flush-rx", "--disable-link-check", "--nb-cores=1"].map(String::from),
    );
    words.extend([format!("--forward-mode={mode}"), format!("--port-topology={topology}")]);
    words.push("--total-num-mbufs=32768".into());
    words.extend([format!("--rxq={pairs}"), format!("--txq={pairs}")]);
    words.extend([format!("--rxd={ring}"), format!("--txd={ring}")]);
    words.extend(more.iter().cloned());
    words
}

/// Keeps the lines of `from` until it ends.
fn collect(from: impl std::io::Read + Send + 'static, to: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            to.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}
