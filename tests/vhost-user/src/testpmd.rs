//! The peer: DPDK's `dpdk-testpmd`, started, asked and ended.

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long anything of it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to start it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its one port, as the argument of `--vdev`.
    pub vdev: String,
    /// Queue pairs.
    pub pairs: u16,
    /// Entries of each queue.
    pub ring: u16,
    /// Lets it use 512-bit vectors, where the processor has them.
    pub wide_vectors: bool,
}

/// A running one. It sends every packet back on the queue pair that it came from. Dropped, it is killed.
pub struct Testpmd {
    child: Child,
    input: ChildStdin,
    output: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    prefix: String,
}

/// What it counted since it started to forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets taken.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets that it took, and that found no room.
    pub dropped: u64,
}

impl Testpmd {
    /// Starts it; forwarding begins by itself.
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
        let input = child.stdin.take().context("no way to talk to testpmd")?;
        Ok(Self { child, input, output, readers: readers.into_iter().flatten().collect(), prefix })
    }

    /// All it said so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Waits until it said `text`.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let start = Instant::now();
        while !self.output().contains(text) {
            if let Some(status) = self.child.try_wait()? {
                bail!("testpmd ended ({status}):\n{}", self.output());
            }
            if start.elapsed() > PATIENCE {
                bail!("testpmd did not say {text:?}:\n{}", self.output());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops forwarding and says what was counted.
    pub fn stop(&mut self) -> Result<Counters> {
        writeln!(self.input, "stop")?;
        self.wait_for("Accumulated forward statistics")?;
        self.wait_for("\nDone.")?;
        let output = self.output();
        let total = output.split("Accumulated forward statistics").nth(1).unwrap_or_default();
        let number = |name: &str| -> Option<u64> { total.split(name).nth(1)?.split_whitespace().next()?.parse().ok() };
        let counters = number("RX-packets:").zip(number("TX-packets:")).zip(number("TX-dropped:"));
        let ((received, sent), dropped) = counters.with_context(|| format!("testpmd counted what?\n{total}"))?;
        Ok(Counters { received, sent, dropped })
    }

    /// The receive path of net_virtio_user, as it says itself, without what its name has for packed rings.
    pub fn receive_path(&self) -> Option<String> {
        let output = self.output();
        let (before, _) = output.split_once(" Rx path on port 0")?;
        let (_, path) = before.rsplit_once("virtio: using ")?;
        Some(path.trim_start_matches("packed ring ").to_owned())
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        // It may have ended by itself; and its folder, which stays behind when it is killed, may never have been made.
        let _ = self.kill();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        let _ = fs::remove_dir_all(PathBuf::from("/var/run/dpdk").join(&self.prefix));
    }
}

fn arguments(options: &Options, prefix: &str) -> Vec<String> {
    let Options { vdev, pairs, ring, wide_vectors } = options;
    // The last processor is its own, where there are several.
    let cpu = thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let mut words = vec![
        format!("--lcores=0@{cpu},1@{cpu}"),
        "--no-pci".into(),
        "--no-telemetry".into(),
        "--no-huge".into(),
        "-m256".into(),
        format!("--file-prefix={prefix}"),
        format!("--vdev={vdev}"),
        // For receive_path.
        "--log-level=pmd.net.virtio.init:info".into(),
    ];
    if *wide_vectors {
        words.push("--force-max-simd-bitwidth=512".into());
    }
    words.extend(
        ["--", "-i", "--auto-start", "--no-flush-rx", "--disable-link-check", "--nb-cores=1", "--forward-mode=io"]
            .map(String::from),
    );
    words.extend(["--port-topology=loop".into(), "--total-num-mbufs=32768".into()]);
    words.extend([format!("--rxq={pairs}"), format!("--txq={pairs}")]);
    words.extend([format!("--rxd={ring}"), format!("--txd={ring}")]);
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
