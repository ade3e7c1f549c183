//! Capture files of what the switch takes from VMs and forwards to them: one for each VM that the manifest gives a tap.

use crate::Options;
use sluice_control::{Manifest, PCAP_HEADER, Tap, pcap_record};
use sluice_memory::PeerSlice;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The taps of all VMs.
pub struct Taps(Vec<Option<Capture>>);

/// A file that grows. What was written of it at any time is a whole capture, as far as it goes.
struct Capture {
    name: String,
    file: BufWriter<File>,
    error: Option<io::Error>,
}

impl Taps {
    /// Begins a file in the output folder for each tap of `manifest`. An error comes with the id of the VM.
    pub fn create(options: &Options, manifest: &Manifest) -> Result<Self, (usize, io::Error)> {
        let capture = |(id, name): (usize, &Option<String>)| {
            name.as_ref().map(|name| Capture::create(options, name).map_err(|error| (id, error))).transpose()
        };
        manifest.vms.iter().map(|vm| &vm.tap).enumerate().map(capture).collect::<Result<_, _>>().map(Self)
    }

    /// Brings what was seen so far into the files.
    pub fn flush(&mut self) {
        self.0.iter_mut().flatten().for_each(|capture| capture.try_to(BufWriter::flush));
    }

    /// The first file that could not be written in full, and why.
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
        // What can't be written is known before anything starts.
        file.flush()?;
        Ok(Self { name: name.to_owned(), file, error: None })
    }

    /// Nothing more is written once something could not be.
    fn try_to(&mut self, act: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if self.error.is_none() {
            self.error = act(&mut self.file).err();
        }
    }
}
