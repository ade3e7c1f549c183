//! Our channel of packets.

use super::{BURST, PACKETS, Packets, Subject};
use crate::slot::pages;
use anyhow::{Result, ensure};
use sluice_abi::channel::Record;
use sluice_channel::{Kind, Reader, Writer, format, memory_len};
use sluice_memory::PeerSlice;

/// A channel, its writer and a reader.
pub struct Ours {
    writer: Writer<'static>,
    reader: Reader<'static>,
    packets: Packets,
}

impl Ours {
    /// Makes a channel for packets of `frame` bytes, in pages of 4 KiB, as DPDK's memory here has.
    pub fn new(frame: u16) -> Result<Self> {
        let record = Record { len: frame.into(), ..Record::default() };
        let capacity = (PACKETS as u64 * record.size()).next_power_of_two();
        let memory = PeerSlice::from_mut(pages(memory_len(capacity) as usize / 8, false)?);
        format(memory, Kind::PACKETS, capacity)?;
        let (writer, reader) = (Writer::open(memory)?, Reader::open(memory)?);
        Ok(Self { writer, reader, packets: Packets::new(frame, frame.into()) })
    }
}

impl Subject for Ours {
    fn burst(&mut self) -> Result<u64> {
        let (writer, reader) = (&mut self.writer, &mut self.reader);
        self.packets.carry(|packets| {
            let mut lens = [0; BURST];
            writer.write_burst(packets.from.chunks(packets.stride))?;
            let count = reader.read_burst(&mut packets.to, &mut lens)?;
            ensure!(count == BURST && lens == [packets.len; BURST], "{count} packets of {BURST} came through");
            Ok(())
        })
    }
}
