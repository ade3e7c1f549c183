//! The sender: reads the whole file before the first frame leaves, so a broken one sends nothing.

use crate::Error;
use crate::announce::{Announcement, MAX_LEN, MAX_RECORDS};
use crate::format::{Capture, RECORD_HEADER_LEN, Record};
use sluice::{BURST_SIZE, Burst, MAX_BURST, Mempool, PeerPort, Port};
use sluice_runtime::Error::{NoBuffer, Send};
use sluice_runtime::{Machine, println};

/// Bytes around the payload of a frame: Ethernet header and VLAN tag.
const OVERHEAD: usize = 18;

pub fn send(machine: &mut Machine, file: &'static str, to: Option<&'static str>) -> Result<(), Error> {
    let bytes = machine.module(file).ok_or(Error::NoFile(file))?;
    let capture = Capture::open(bytes).map_err(|error| Error::File(file, error))?;
    let (gate, memory) = machine.connect()?;
    let peer = machine.wait_for_peer(&gate, to)?;
    let (mac, mtu) = gate.peer(peer).map_or(([0; 6], 0), |peer| (peer.mac, peer.mtu));
    check(file, &capture, usize::from(mtu) + OVERHEAD)?;
    let mut free = [0; MAX_BURST];
    let pool = Mempool::new(memory, &mut free);
    let mut wire = Wire { machine, port: PeerPort::new(&gate, peer), burst: pool.burst(), mac };

    wire.announce(Announcement::Start(capture.header()))?;
    let mut records = capture.records().filter_map(Result::ok);
    let mut count = 0;
    while let Some(first) = records.next() {
        let mut some = [first; MAX_RECORDS];
        let mut len = 1;
        for (slot, record) in some[1..].iter_mut().zip(records.by_ref().take(MAX_RECORDS - 1)) {
            *slot = record;
            len += 1;
        }
        wire.records(&some[..len])?;
        count += len;
    }
    wire.announce(Announcement::End(count as u32))?;
    wire.flush()?;
    println!("sent {count} frames of {file}");
    Ok(())
}

/// Whether every record of the file is whole and fits.
fn check(file: &'static str, capture: &Capture<'_>, longest: usize) -> Result<(), Error> {
    for record in capture.records() {
        let record = record.map_err(|error| Error::File(file, error))?;
        if record.frame.is_empty() || record.frame.len() > longest {
            return Err(Error::TooLong(file, record.at, record.frame.len()));
        }
    }
    Ok(())
}

struct Wire<'a> {
    machine: &'a Machine,
    port: PeerPort<'a>,
    burst: Burst<'a>,
    mac: [u8; 6],
}

impl Wire<'_> {
    fn records(&mut self, records: &[Record<'_>]) -> Result<(), Error> {
        let mut headers = [[0; RECORD_HEADER_LEN]; MAX_RECORDS];
        for (header, record) in headers.iter_mut().zip(records) {
            *header = *record.header;
        }
        self.announce(Announcement::Records(&headers[..records.len()]))?;
        records.iter().try_for_each(|record| self.frame(record.frame))
    }

    fn announce(&mut self, announcement: Announcement<'_>) -> Result<(), Error> {
        let mut bytes = [0; MAX_LEN];
        let frame = announcement.write(&mut bytes, self.mac, [2, 0, 0, 0, 0, 1]);
        self.frame(frame)
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let frame = self.burst.push(bytes.len() as u16).ok_or(NoBuffer)?;
        frame.copy_from_slice(0, bytes).map_err(|_| NoBuffer)?;
        if self.burst.len() >= BURST_SIZE { self.flush() } else { Ok(()) }
    }

    /// Sends all of the burst.
    fn flush(&mut self) -> Result<(), Error> {
        while !self.burst.is_empty() {
            if self.port.tx_burst(&mut self.burst).map_err(Send)? == 0 {
                self.machine.yield_now();
            }
        }
        Ok(())
    }
}
