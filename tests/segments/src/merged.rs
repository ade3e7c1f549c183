//! A receiver whose frames lie in as many buffers as they need, on the driver alone.

use crate::capture::Capture;
use crate::{FEATURES, Failure};
use alloc::vec::Vec;
use alloc::{format, vec};
use sluice_driver::{Arrival, ArrivedFrame, DriverQueue, Part, Receiver, Setup, Wanted};
use sluice_vnf::abi::Gpa;
use sluice_vnf::abi::net::{F, HDR_LEN, receiveq};
use sluice_vnf::{PacketMemory, PeerSlice, RingFormat, Vnf, println};

/// The number of entries of the queue: more buffers than the longest frame needs.
const ENTRIES: usize = 64;
/// The length of a buffer, bytes.
const BUFFER: u32 = 2048;
/// The payload that all buffers hold, bytes.
const MTU: u16 = 9000;

type Queue = DriverQueue<ENTRIES, u32>;

pub fn receive(vnf: &mut Vnf, ring: RingFormat, file: &str) -> Result<(), Failure> {
    let mut expected = Capture::open(vnf, file)?;
    let (_, memory) = vnf.connect()?;
    let len = (Queue::MEMORY_LEN as u32).next_multiple_of(BUFFER);
    let (memory, buffers) = memory.split_at(len).ok_or("too little packet memory")?;
    let (mut queue, features) = start(vnf, memory, ring)?;
    give(&mut queue, &buffers, 0..ENTRIES as u32)?;
    let (mut receiver, mut patience) = (Receiver::new(features), vnf.patience());
    while !expected.is_at_end() {
        let mut parts = [Part::default(); ENTRIES];
        let header = |index| buffer(&buffers, index, 0, HDR_LEN);
        match receiver.take(&mut queue, header, &mut parts).map_err(|fault| format!("{fault:?}"))? {
            Arrival::Nothing => patience.wait(vnf)?,
            Arrival::Dropped(parts) => return Err(format!("{parts} buffers without a frame").into()),
            Arrival::Frame(ArrivedFrame { hdr, parts: count, .. }) => {
                patience.renew();
                expected.expect(&gather(&buffers, &parts[..count])?)?;
                crate::receive::say(&expected, hdr, count);
                give(&mut queue, &buffers, parts[..count].iter().map(|part| part.token))?;
            }
        }
    }
    println!("received {} frames", expected.count());
    Ok(())
}

/// Starts the device with its receive queue in `memory`.
fn start(vnf: &Vnf, memory: PacketMemory, ring: RingFormat) -> Result<(Queue, F), Failure> {
    let wanted = Wanted { features: FEATURES | F::MRG_RXBUF | ring.features(), pairs: 1 };
    let mut transport = vnf.transport();
    let failed = |error| format!("{error}");
    let mut setup = Setup::with_mtu(&mut transport, wanted, MTU).map_err(failed)?;
    let features = setup.agreed().features;
    let queue =
        Queue::new(memory.gpa, memory.memory, ENTRIES as u16, features).map_err(|error| format!("{error:?}"))?;
    setup.set_queue(receiveq(0), &queue).map_err(failed)?;
    setup.start();
    Ok((queue, features))
}

/// Gives the buffers `indices` to the device.
fn give(queue: &mut Queue, buffers: &PacketMemory, mut indices: impl Iterator<Item = u32>) -> Result<(), Failure> {
    let at = |index| Gpa(buffers.gpa.0 + u64::from(index * BUFFER));
    let given = indices.all(|index| queue.give(at(index), BUFFER, index));
    queue.publish();
    if given { Ok(()) } else { Err("more buffers than the queue has entries".into()) }
}

fn buffer(buffers: &PacketMemory, index: u32, start: u32, len: u32) -> Option<PeerSlice<'static>> {
    buffers.memory.sub(u64::from(index * BUFFER + start), len.into()).ok()
}

/// Returns the bytes of all `parts`.
fn gather(buffers: &PacketMemory, parts: &[Part<u32>]) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    for part in parts {
        let mut piece = vec![0; part.len as usize];
        let memory = buffer(buffers, part.token, part.start, part.len).ok_or("a part outside its buffer")?;
        memory.copy_to_slice(0, &mut piece).map_err(|_| "a part outside its buffer")?;
        bytes.extend(piece);
    }
    Ok(bytes)
}
