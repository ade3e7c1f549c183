//! Commands for QEMU itself. See: QEMU, "QEMU Machine Protocol Specification".

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long QEMU may take for any answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often QEMU is asked for something that takes its time.
const POLL: Duration = Duration::from_millis(5);

/// A connection to a QEMU.
pub struct Qmp {
    stream: BufReader<UnixStream>,
    version: (u64, u64),
}

impl Qmp {
    /// Takes QEMU's greeting, and begins.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Self { stream: BufReader::new(stream), version: (0, 0) };
        let version = &qmp.read().context("no greeting")?["QMP"]["version"]["qemu"];
        let number = |name: &str| version[name].as_u64().with_context(|| format!("no version: {version}"));
        qmp.version = (number("major")?, number("minor")?);
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Returns QEMU's version: major, minor.
    pub fn version(&self) -> (u64, u64) {
        self.version
    }

    /// Executes `command`, and returns what it returns.
    ///
    /// # Errors
    /// What QEMU says is wrong, or that it says nothing.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{line}")?;
        loop {
            let mut answer = self.read().with_context(|| command.to_owned())?;
            if let Some(error) = answer.get("error") {
                bail!("{command}: {}", error["desc"]);
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            // An event: nothing here waits for one.
        }
    }

    /// Executes `command`, without arguments, until `done` with what it returns, and returns that.
    ///
    /// # Errors
    /// As [`Self::execute`], and if it takes longer than a minute.
    pub fn until(&mut self, command: &str, done: impl Fn(&Value) -> bool) -> Result<Value> {
        let start = Instant::now();
        loop {
            let value = self.execute(command, json!({}))?;
            if done(&value) {
                return Ok(value);
            }
            if start.elapsed() > PATIENCE {
                bail!("{command}: still {value}");
            }
            sleep(POLL);
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("QEMU ended");
        }
        Ok(serde_json::from_str(&line)?)
    }
}
