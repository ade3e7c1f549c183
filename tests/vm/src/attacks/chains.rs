//! A receiver whose buffers are all the longest chain that the window follows, which makes a call as long as a call can
//! be.

use super::Error;
use sluice::{RX_SIZE, ReceiveQueue, RingFormat, VirtioNet};
use sluice_abi::net::HDR_LEN;
use sluice_abi::virtq::{Desc, DescF, MAX_CHAIN, UsedElem, avail, desc_table_len, used};
use sluice_vnf::Vnf;

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("chains", |machine, _| receive(machine))];

/// The number of descriptors of a chain.
const CHAIN: u16 = MAX_CHAIN;
/// Bytes of each descriptor. All together, they hold a header of 12 bytes and a frame of 1,518.
const PIECE: u32 = 24;
/// The length of the frame that says that no more frames come, bytes.
const LAST: u32 = 60;
/// The length of the longest frame without VLAN tags, bytes.
const LONGEST: u16 = 1514;

/// Gives the same chain 256 times, and again when all are used, until the last frame comes.
fn receive(machine: &mut Vnf) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(Error::Arguments)?;
    let _queue = ReceiveQueue::start(&mut machine.transport(), queue, buffers, LONGEST, RingFormat::Split)
        .map_err(|error| Error::Machine(error.into()))?;
    // The offsets are those of a driver's queue of this size.
    let size = RX_SIZE as u16;
    let driver = desc_table_len(size).next_multiple_of(64);
    let device = (driver + avail::len(size)).next_multiple_of(64);
    let write = |at, value: u16| queue.memory.write(at, value).map_err(|_| Error::Arguments);
    for index in 0..CHAIN {
        let flags = if index + 1 < CHAIN { DescF::WRITE | DescF::NEXT } else { DescF::WRITE };
        let desc = Desc { addr: buffers.gpa, len: PIECE, flags: flags.bits(), next: index + 1 };
        queue.memory.write(16 * u64::from(index), desc).map_err(|_| Error::Arguments)?;
    }
    (0..size).try_for_each(|entry| write(driver + avail::RING + 2 * u64::from(entry), 0))?;
    // A sender that is about to measure has to find room at once.
    write(driver + avail::IDX, size)?;
    let mut taken = 0u16;
    loop {
        machine.yield_now();
        let now = queue.memory.read::<u16>(device + used::IDX).map_err(|_| Error::Arguments)?;
        while taken != now {
            let at = device + used::RING + 8 * u64::from(taken % size);
            let used = queue.memory.read::<UsedElem>(at).map_err(|_| Error::Arguments)?;
            if used.len == HDR_LEN + LAST {
                return Ok(());
            }
            taken = taken.wrapping_add(1);
        }
        write(driver + avail::IDX, now.wrapping_add(size))?;
    }
}
