//! Captures of the frames that the switch takes from VMs and forwards to them: to files that the policy names, and to
//! whoever asks at the control socket.

use crate::policy::Policy;
use sluice_control::{PCAP_HEADER, Tap, pcap_record};
use sluice_memory::PeerSlice;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::error;

/// Bytes of frames that wait for a client; more are left out.
const WAITING: usize = 4 << 20;

/// All captures.
#[derive(Default)]
pub struct Captures {
    /// The file of each VM and tap, by id.
    files: Vec<Option<BufWriter<File>>>,
    live: Vec<Live>,
}

/// A capture for a client.
pub struct Live {
    /// The client.
    pub client: u64,
    vm: u32,
    /// Bytes of the capture that the client has not taken yet.
    pub waiting: VecDeque<u8>,
    /// Number of frames that were left out since the client did not take them in time.
    pub missed: u64,
}

impl Captures {
    /// Creates the files that `policy` names.
    pub fn create(policy: &Policy) -> io::Result<Self> {
        let create = |path: &Path| {
            let mut file = BufWriter::new(File::create(path)?);
            file.write_all(&PCAP_HEADER)?;
            file.flush().map(|()| file)
        };
        let name = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = |path: Option<&Path>| path.map(|path| create(path).map_err(|error| name(path, error))).transpose();
        let files = policy.captures().map(file).collect::<Result<_, _>>()?;
        Ok(Self { files, live: Vec::new() })
    }

    /// Puts the files in the order of the ids of `new`. Each was at the place that `before` has, if it was there and
    /// has the same path; `created` has the others.
    pub fn change(&mut self, old: &Policy, new: &Policy, before: &[Option<usize>], mut created: Self) {
        let mut files: Vec<_> = std::mem::take(&mut self.files);
        for (id, before) in before.iter().enumerate() {
            let same = before.filter(|&before| old.captures().nth(before) == new.captures().nth(id));
            let kept = same.and_then(|before| files.get_mut(before)?.take());
            self.files.push(kept.or_else(|| created.files[id].take()));
        }
        self.live.retain_mut(|live| {
            let now = before.iter().position(|&before| before == Some(live.vm as usize));
            now.map(|now| live.vm = now as u32).is_some()
        });
    }

    /// Begins a capture of VM `vm` for `client`.
    pub fn begin(&mut self, client: u64, vm: u32) {
        self.live.push(Live { client, vm, waiting: PCAP_HEADER.into(), missed: 0 });
    }

    /// Ends the captures of clients of which `is_there` says no.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.live.retain(|live| is_there(live.client));
    }

    /// Returns the capture for `client`.
    pub fn of(&mut self, client: u64) -> Option<&mut Live> {
        self.live.iter_mut().find(|live| live.client == client)
    }

    /// Returns the clients for which there are bytes.
    pub fn waiting(&self) -> impl Iterator<Item = u64> {
        self.live.iter().filter(|live| !live.waiting.is_empty()).map(|live| live.client)
    }

    /// Writes all frames so far to the files.
    pub fn flush(&mut self) {
        self.each_file(|_, file| file.flush());
    }

    /// Calls `act` with each file. One that can't be written is left as it is.
    fn each_file(&mut self, act: impl Fn(usize, &mut BufWriter<File>) -> io::Result<()>) {
        for (id, slot) in self.files.iter_mut().enumerate() {
            if let Some(error) = slot.as_mut().and_then(|file| act(id, file).err()) {
                error!(vm = id, %error, "the capture file can't be written, and ends here");
                *slot = None;
            }
        }
    }
}

impl Tap for Captures {
    fn frame(&mut self, vm: u32, frame: PeerSlice<'_>) {
        let has_file = self.files.get(vm as usize).is_some_and(Option::is_some);
        if !has_file && self.live.iter().all(|live| live.vm != vm) {
            return;
        }
        let (mut bytes, now) = (vec![0; frame.len() as usize], SystemTime::now().duration_since(UNIX_EPOCH));
        if frame.copy_to_slice(0, &mut bytes).is_err() {
            return;
        }
        let len = bytes.len() as u32;
        let record = pcap_record(now.unwrap_or_default().as_micros() as u64, len, len);
        for live in self.live.iter_mut().filter(|live| live.vm == vm) {
            if live.waiting.len() + record.len() + bytes.len() > WAITING {
                live.missed += 1;
            } else {
                live.waiting.extend(record.iter().chain(&bytes));
            }
        }
        if has_file {
            let write = |file: &mut BufWriter<File>| file.write_all(&record).and_then(|()| file.write_all(&bytes));
            self.each_file(|id, file| if id == vm as usize { write(file) } else { Ok(()) });
        }
    }
}
