//! Capture files of the frames that the switch takes from VMs and forwards to them: one for each VM with a tap in the
//! manifest.

use crate::Options;
use sluice_control::{Manifest, PCAP_HEADER, Tap, pcap_record};
use sluice_memory::PeerSlice;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The captures of all VMs, by id.
pub struct Taps(Vec<Option<Capture>>);

/// A capture file. Its content is a valid capture at any time.
struct Capture {
    name: String,
    file: BufWriter<File>,
    error: Option<io::Error>,
}

impl Taps {
    /// Creates a file in the output folder for each tap of `manifest`. An error comes with the id of the VM.
    pub fn create(options: &Options, manifest: &Manifest) -> Result<Self, (usize, io::Error)> {
        let capture = |(id, name): (usize, &Option<String>)| {
            name.as_ref().map(|name| Capture::create(options, name).map_err(|error| (id, error))).transpose()
        };
        manifest.vms.iter().map(|vm| &vm.tap).enumerate().map(capture).collect::<Result<_, _>>().map(Self)
    }

    /// Writes all frames so far to the files.
    pub fn flush(&mut self) {
        self.0.iter_mut().flatten().for_each(|capture| capture.try_to(BufWriter::flush));
    }

    /// Returns the name of the first file that could not be written in full, and the error.
    pub fn error(&mut self) -> Option<(String, io::Error)> {
        let mut failed = self.0.iter_mut().flatten();
        failed.find_map(|capture| capture.error.take().map(|error| (capture.name.clone(), error)))
    }
}

impl Tap for Taps {
    fn frame(&mut self, vm: u32, frame: PeerSlice<'_>) {
        let Some(Some(capture)) = self.0.get_mut(vm as usize) else { return };
        let mut bytes = vec![0; frame.len() as usize];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if frame.copy_to_slice(0, &mut bytes).is_ok() {
            let record = pcap_record(now.as_micros() as u64, bytes.len() as u32, bytes.len() as u32);
            capture.try_to(|file| file.write_all(&record).and_then(|()| file.write_all(&bytes)));
        }
    }
}

impl Capture {
    fn create(options: &Options, name: &str) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(options.out.join(name))?);
        file.write_all(&PCAP_HEADER)?;
        // A file that can't be written is an error before any process starts.
        file.flush()?;
        Ok(Self { name: name.to_owned(), file, error: None })
    }

    /// Calls `act` with the file. After the first error nothing more is written.
    fn try_to(&mut self, act: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if self.error.is_none() {
            self.error = act(&mut self.file).err();
        }
    }
}
