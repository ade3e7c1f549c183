//! A mirror port: it forwards frames, counts them by length, and writes each that was delivered to a capture file.
//!
//! Arguments: `PEER FILE`. The file gets its name once the host took the peer away. An error of the file costs no
//! frame: the program goes on, and reports the error at its end.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::{boxed::Box, format};
use sluice_vnf::clock::{self, Counter};
use sluice_vnf::wrap::{self, PcapWriter};
use sluice_vnf::{BURST_SIZE, Error, FileError, Options, PeerPort, Ports, Receive, Transmit, Vnf, println};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 12);

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let name = vnf.arg(1).ok_or(Error::Arguments("PEER FILE"))?;
    let unwritten = |error: &FileError| format!("{name}: {error}");
    let mut file = vnf.create(name).map_err(|error| unwritten(&error))?;
    let Ports { input, outputs, .. } = vnf.open(Options::default())?;
    let peer = outputs.wait_for(vnf.arg(0))?;
    let mut input = wrap::Counter::new(input);
    let output = PeerPort::new(outputs.gate(), peer);
    let mut output = PcapWriter::new(output, |bytes: &[u8]| file.write(bytes), nanoseconds);
    let mut burst = outputs.burst();
    loop {
        input.rx_burst(&mut burst, BURST_SIZE)?;
        // Frames that the peer has no room for stay in the burst, and are not written yet.
        match outputs.send_by(&mut output, peer, &mut burst) {
            Ok(0) => vnf.yield_now(),
            Ok(_) => {}
            Err(Error::PeerGone) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let stats = output.tx_stats();
    output.error().map_or(Ok(()), |error| Err(unwritten(error)))?;
    file.finish().map_err(|error| unwritten(&error))?;
    println!("arrived, by length: {:?}", input.received().frames);
    println!("forwarded and written: {} frames, {} bytes", stats.packets, stats.bytes);
    Ok(())
}

/// Returns the nanoseconds since the machine started; where a tick is not a time, the number of ticks.
fn nanoseconds() -> u64 {
    match clock::counter() {
        Counter::Cycles(Some(hertz)) => (u128::from(clock::now()) * 1_000_000_000 / u128::from(hertz)) as u64,
        _ => clock::now(),
    }
}
