//! A filter: frames whose source is a group address are dropped, as IEEE 802 asks. All others go on to the peer that
//! the arguments name.
#![cfg_attr(target_os = "none", no_std, no_main)]

use sluice_vnf::{BURST_SIZE, Error, Options, Receive, Vnf, println};

sluice_vnf::main!(run);

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let mut ports = vnf.open(Options::default())?;
    let peer = ports.wait_for(vnf.arg(0))?;
    let (mut burst, mut dropped) = (ports.burst(), 0);
    loop {
        ports.input.rx_burst(&mut burst, BURST_SIZE)?;
        let before = burst.len();
        // Byte 6 is the first of the source address. Its bit 0 is set in a group address.
        burst.retain(|frame| frame.head(6).is_some_and(|[first]| first & 1 == 0));
        dropped += before - burst.len();
        match ports.send(peer, &mut burst) {
            Ok(0) => vnf.yield_now(),
            Ok(_) => {}
            Err(Error::PeerGone) => break,
            Err(error) => return Err(error),
        }
    }
    println!("sent {} frames, dropped {dropped}", ports.stats_of(peer).packets);
    Ok(())
}
