//! The sender reads the whole file before the first frame leaves, so it sends nothing of a broken file.

use crate::Error;
use crate::announce::{Announcement, MAX_LEN, MAX_RECORDS, What, records_in};
use crate::format::{BadFile, Capture, RECORD_HEADER_LEN, Record, Wrong};
use sluice_vnf::Error::{self as Failed, Send};
use sluice_vnf::abi::net;
use sluice_vnf::{BURST_SIZE, BufferLen, Burst, MAX_BURST, Mempool, PeerPort, Transmit};
use sluice_vnf::{Module, Vnf, clock, println};

/// The number of bytes before the payload of a frame without VLAN tags, and of a tag.
const HEADER: u32 = net::ETHERNET_HEADER as u32;
const TAG: u32 = net::VLAN_TAG as u32;
/// The length of the longest frame that a buffer has room for, bytes.
const LONGEST: u32 = BufferLen::KiB2.longest_frame() as u32;

/// Sends the file so that [`crate::receive`] can write the same.
pub fn send(vnf: &mut Vnf, file: &'static str, to: Option<&'static str>) -> Result<(), Error> {
    with_wire(vnf, file, to, whole_file)
}

/// Sends the frames of the file, without announcements, and with `gap` ticks between two bursts.
pub fn replay(vnf: &mut Vnf, file: &'static str, to: Option<&'static str>, gap: u64) -> Result<(), Error> {
    with_wire(vnf, file, to, |wire, capture, file, _| {
        wire.gap = gap;
        let mut count = 0;
        while let Some(record) = capture.next() {
            let record = record.map_err(|error| Error::File(file, error))?;
            wire.record(file, capture, &record)?;
            count += 1;
        }
        Ok(count)
    })
}

/// Opens the file and the port to the peer, lets `work` send, and sends the rest. `work` learns the peer's MTU and
/// returns the number of records.
fn with_wire(
    vnf: &mut Vnf,
    file: &'static str,
    to: Option<&'static str>,
    work: impl FnOnce(&mut Wire<'_>, &mut Capture<Module>, &'static str, u32) -> Result<u64, Error>,
) -> Result<(), Error> {
    let module = vnf.module(file).ok_or(Error::NoFile(file))?.map_err(|error| Error::Unusable(file, error))?;
    let bad = |error| Error::File(file, error);
    let mut capture = Capture::open(module).map_err(bad)?;
    let (gate, memory) = vnf.connect()?;
    let peer = vnf.wait_for_peer(&gate, to)?;
    let (mac, mtu) = gate.peer(peer).map_or(([0; 6], 0), |peer| (peer.mac, u32::from(peer.mtu)));
    check(&mut capture, mtu).map_err(bad)?;
    let mut free = [0; MAX_BURST];
    let pool = Mempool::new(memory, BufferLen::KiB2, &mut free).map_err(Failed::Pool)?;
    let mut wire = Wire { vnf, port: PeerPort::new(&gate, peer), burst: pool.burst(), mac, gap: 0 };
    let count = work(&mut wire, &mut capture, file, mtu)?;
    wire.flush()?;
    println!("sent {count} frames of {file}");
    Ok(())
}

fn whole_file(wire: &mut Wire<'_>, capture: &mut Capture<Module>, file: &'static str, mtu: u32) -> Result<u64, Error> {
    wire.announce(What::Start(capture.header()), 0)?;
    let at_once = records_in((mtu + HEADER).min(LONGEST) as usize);
    let mut count = 0;
    loop {
        let mut some = [None; MAX_RECORDS];
        for slot in &mut some[..at_once] {
            *slot = capture.next().transpose().map_err(|error| Error::File(file, error))?;
        }
        let records = some.iter().flatten().count();
        if records == 0 {
            break;
        }
        wire.records(file, capture, some.iter().flatten(), count)?;
        count += records as u64;
    }
    wire.announce(What::End, count)?;
    Ok(count)
}

/// Checks that every record of the file is whole, and fits where the largest payload is `mtu` bytes. Goes back to the
/// first record.
fn check(capture: &mut Capture<Module>, mtu: u32) -> Result<(), BadFile> {
    while let Some(record) = capture.next() {
        let record = record?;
        let longest = (mtu + HEADER + tag_len(capture, &record, mtu)?).min(LONGEST);
        if record.len > longest {
            return Err(record.wrong(record.at, Wrong::TooLong(record.len, longest)));
        }
    }
    capture.rewind();
    Ok(())
}

/// Returns the length of the VLAN tags, two at most, of a frame that is too long without any. See: docs/interfaces.md,
/// "How long a frame may be".
fn tag_len(capture: &mut Capture<Module>, record: &Record, mtu: u32) -> Result<u32, BadFile> {
    let mut start = [0; (HEADER + TAG) as usize];
    if record.len <= mtu + HEADER {
        return Ok(0);
    }
    capture.frame(record, &mut start)?;
    let tag = |at: usize| net::VLAN_TYPES.contains(&u16::from_be_bytes([start[at], start[at + 1]]));
    Ok(match (tag(12), tag(16)) {
        (false, _) => 0,
        (true, false) => TAG,
        (true, true) => 2 * TAG,
    })
}

struct Wire<'a> {
    vnf: &'a Vnf,
    port: PeerPort<'a>,
    burst: Burst<'a>,
    mac: [u8; 6],
    /// Ticks to wait behind a burst.
    gap: u64,
}

impl Wire<'_> {
    /// Announces `records`, with the number of records before them, and sends their frames.
    fn records<'r>(
        &mut self,
        file: &'static str,
        capture: &mut Capture<Module>,
        records: impl Iterator<Item = &'r Record> + Clone,
        before: u64,
    ) -> Result<(), Error> {
        let mut headers = [[0; RECORD_HEADER_LEN]; MAX_RECORDS];
        let mut count = 0;
        for (header, record) in headers.iter_mut().zip(records.clone()) {
            *header = record.header;
            count += 1;
        }
        self.announce(What::Records(&headers[..count]), before)?;
        for record in records {
            self.record(file, capture, record)?;
        }
        Ok(())
    }

    /// Sends the frame of `record`. A record without bytes has none.
    fn record(&mut self, file: &'static str, capture: &mut Capture<Module>, record: &Record) -> Result<(), Error> {
        let mut bytes = [0; LONGEST as usize];
        // The frame is no longer than `check` permitted.
        let frame = &mut bytes[..record.len.min(LONGEST) as usize];
        capture.frame(record, frame).map_err(|error| Error::File(file, error))?;
        if frame.is_empty() { Ok(()) } else { self.frame(frame) }
    }

    fn announce(&mut self, what: What<'_>, before: u64) -> Result<(), Error> {
        let mut bytes = [0; MAX_LEN];
        let frame = Announcement { what, before }.write(&mut bytes, self.mac, [2, 0, 0, 0, 0, 1]);
        self.frame(frame)
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.burst.push_bytes(bytes).map_err(Failed::Frame)?;
        if self.burst.len() >= BURST_SIZE { self.flush() } else { Ok(()) }
    }

    /// Sends all of the burst.
    fn flush(&mut self) -> Result<(), Error> {
        let mut patience = self.vnf.patience();
        while !self.burst.is_empty() {
            if self.port.tx_burst(&mut self.burst, MAX_BURST).map_err(Send)? == 0 {
                patience.wait(self.vnf)?;
            }
        }
        let sent = clock::now();
        while clock::now().saturating_sub(sent) < self.gap {
            self.vnf.yield_now();
        }
        Ok(())
    }
}
