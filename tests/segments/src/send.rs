//! The sender sends each frame as it is. If a peer does not take a frame so, the sender prints that, and does the work
//! itself.

use crate::capture::Capture;
use crate::{Failure, LONGEST};
use sluice_vnf::{BufferLen, Burst, FrameMut, Hdr, HdrF, MAX_BURST, Mempool, PeerPort, Transmit, TxError, Vnf};
use sluice_vnf::{gso, println};

/// The number of buffers of the pool: the frame, and its segments.
const BUFFERS: usize = 64;
/// The TCP flag Congestion Window Reduced: the frame needs a receiver that agreed to segment with ECN. See: RFC 3168,
/// section 6.1.
const CWR: u8 = 0x80;

pub fn send(vnf: &mut Vnf, file: &str, peers: impl Iterator<Item = &'static str>) -> Result<(), Failure> {
    let (gate, memory) = vnf.connect()?;
    let mut free = [0; BUFFERS];
    let pool = Mempool::new(memory, BufferLen::KiB64, &mut free)?;
    for name in peers {
        let peer = vnf.wait_for_peer(&gate, Some(name))?;
        let (mut port, mut burst) = (PeerPort::new(&gate, peer), pool.burst());
        let mut capture = Capture::open(vnf, file)?;
        while let Some(bytes) = capture.next()? {
            offload(burst.push_bytes(&bytes)?)?;
            let Some(refusal) = deliver(vnf, &mut port, &mut burst)? else { continue };
            let mut segments = pool.burst();
            let count = cut(&mut burst, &mut segments)?;
            burst.clear();
            if let Some(why) = deliver(vnf, &mut port, &mut segments)? {
                return Err(why.into());
            }
            println!("{name}, {} bytes: {refusal}: {count} instead", bytes.len());
        }
        println!("{name}: {} bytes", port.tx_stats().bytes);
    }
    Ok(())
}

/// Leaves the checksum of a TCP frame to its receiver, and segmentation, if the frame is long.
fn offload(mut frame: FrameMut<'_>) -> Result<(), Failure> {
    let (csum_start, gso_type) = match frame.head(12) {
        Some([0x08, 0x00, version]) if frame.head(23) == Some([6]) => (14 + u16::from(version & 15) * 4, gso::TCPV4),
        Some([0x86, 0xdd, _]) if frame.head(20) == Some([6]) => (54, gso::TCPV6),
        _ => return Ok(()),
    };
    let [offset, flags] = frame.head(usize::from(csum_start) + 12).ok_or("a TCP frame without a whole header")?;
    let hdr_len = csum_start + u16::from(offset >> 4) * 4;
    let gso_type = if flags & CWR == 0 { gso_type } else { gso_type | gso::ECN };
    let (gso_type, gso_size) = if frame.len() > LONGEST { (gso_type, LONGEST - hdr_len) } else { (gso::NONE, 0) };
    let flags = HdrF::NEEDS_CSUM.bits();
    frame.set_offloads(Hdr { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset: 16, num_buffers: 1 })?;
    Ok(())
}

/// Sends all of `burst`. Returns the error if the peer never takes some frame as it is.
fn deliver(vnf: &Vnf, port: &mut PeerPort<'_>, burst: &mut Burst<'_>) -> Result<Option<TxError>, Failure> {
    let mut patience = vnf.patience();
    while !burst.is_empty() {
        match port.tx_burst(burst, MAX_BURST) {
            Ok(0) => patience.wait(vnf)?,
            Ok(_) => patience.renew(),
            Err(why) if why.refused().is_some() => return Ok(Some(why)),
            Err(why) => return Err(why.into()),
        }
    }
    Ok(None)
}

/// Does the work that the frame of `burst` leaves to its receiver, and puts the result into `segments`. A frame that is
/// too long and asks for no segmentation is left out. Returns the number of segments.
fn cut(burst: &mut Burst<'_>, segments: &mut Burst<'_>) -> Result<usize, Failure> {
    let mut frame = burst.frame_mut(0)?;
    match frame.offloads() {
        Some(hdr) if hdr.gso_type != gso::NONE => return Ok(frame.segment(segments)?),
        Some(_) => frame.complete_checksum()?,
        None => return Ok(0),
    }
    burst.move_to(0, segments)?;
    Ok(1)
}
