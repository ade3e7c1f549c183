//! The recorder writes each frame that arrives.

use crate::Error;
use crate::assembly::Fault;
use crate::format::{FILE_HEADER, RECORD_HEADER_LEN};
use sluice_vnf::{BURST_SIZE, Frame, Options, Receive, Vnf, clock, println};
use sluice_vnf::{Error as Failed, Output};

/// The length of the longest frame that can arrive, bytes: buffers have their shortest length.
const LONGEST: usize = 2048;

/// Writes what arrives to `file`, until nothing has come for `quiet` ticks behind a frame.
pub fn record(vnf: &mut Vnf, file: &'static str, quiet: Option<u64>) -> Result<(), Error> {
    let unusable = |error| Error::Unusable(file, error);
    let mut out = vnf.create(file).map_err(unusable)?;
    out.write(&FILE_HEADER).map_err(unusable)?;
    let ports = vnf.open(Options::default())?;
    let mut burst = ports.burst();
    let (mut patience, mut count, mut since) = (vnf.patience(), 0, clock::now());
    loop {
        if ports.input.rx_burst(&mut burst, BURST_SIZE).map_err(Failed::Receive)? > 0 {
            patience.renew();
            since = clock::now();
        } else if count > 0 && quiet.is_some_and(|quiet| clock::now().saturating_sub(since) > quiet) {
            break;
        } else if let Err(error) = patience.wait(vnf) {
            // Silence behind a frame is the end. Silence before the first frame is an error.
            if count > 0 { break } else { return Err(error.into()) }
        }
        for frame in burst.frames() {
            write(&mut out, file, frame, count)?;
            count += 1;
        }
        burst.clear();
    }
    out.finish().map_err(unusable)?;
    println!("recorded {count} frames");
    Ok(())
}

/// Writes the record of `frame`, with `number` microseconds as its time.
fn write(out: &mut Output, file: &'static str, frame: Frame<'_>, number: u32) -> Result<(), Error> {
    let mut bytes = [0; RECORD_HEADER_LEN + LONGEST];
    let (header, data) = bytes.split_at_mut(RECORD_HEADER_LEN);
    let data = &mut data[..usize::from(frame.len()).min(LONGEST)];
    frame.copy_to_slice(0, data).map_err(|_| Error::Arrived(file, Fault::Unreadable(number.into())))?;
    let len = u32::from(frame.len());
    let words = [number / 1_000_000, number % 1_000_000, data.len() as u32, len];
    header.as_chunks_mut().0.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_le_bytes());
    let end = RECORD_HEADER_LEN + data.len();
    out.write(&bytes[..end]).map_err(|error| Error::Unusable(file, error))
}
