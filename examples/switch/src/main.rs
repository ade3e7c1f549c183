//! A switch in a VM: it forwards by the flow table that its host writes, and sends to the host what the table does not
//! have. Frames come in from its senders, and go to its peers, by windows. The manifest says which full switch is
//! behind it (`flows`).
//!
//! Arguments: names of peers that have to be ready before the first frame is forwarded; and `offloads=on`, if senders
//! may leave checksums and TCP segments to the receivers: each buffer then has 64 KiB.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use sluice_switch::{FlowMemory, Front, Switch};
use sluice_vnf::{BURST_SIZE, BufferLen, Offloads, Options, Receive, Transmit, Vnf, clock, println};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 18);

/// Number of flow keys whose entries the switch remembers.
const FRONT: usize = 4096;
/// The argument for offloads.
const OFFLOADS: &str = "offloads=on";
/// Entries of each receive queue with offloads: their buffers are as large as 32 others.
const LONG_ENTRIES: u16 = 32;

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let pages = vnf.flows().ok_or("no flow table: the manifest gives this vm no flows")?;
    let flows = FlowMemory::open(pages.table, pages.records)?;
    let (peers, options) = arguments(vnf);
    let options = Options { pairs: flows.pairs(), tx_pair: flows.slow_pair(), ..options };
    let (ports, mut front) = (vnf.open(options)?, alloc::vec![0; FRONT]);
    let (outputs, front) = ((ports.outputs.gate(), ports.outputs.pool()), Front::new(&mut front));
    let mut switch = Switch::new(&mut *ports.input, outputs, flows, front, clock::host_time)?;
    peers.into_iter().try_for_each(|peer| ports.outputs.wait_for(Some(peer)).map(drop))?;
    let mut burst = ports.outputs.burst();
    loop {
        let received = switch.rx_burst(&mut burst, BURST_SIZE)?;
        switch.tx_burst(&mut burst, BURST_SIZE)?;
        if received == 0 {
            if !switch.is_open() {
                break;
            }
            switch.rest();
            vnf.yield_now();
        }
    }
    for (name, count) in switch.stats().xstats().filter(|(_, count)| *count > 0) {
        println!("{name} {count}");
    }
    Ok(())
}

/// Returns the names of the peers to wait for, and the options that the arguments ask for.
fn arguments(vnf: &Vnf) -> (Vec<&'static str>, Options) {
    let (offloads, peers): (Vec<_>, Vec<_>) = vnf.args().split_whitespace().partition(|word| *word == OFFLOADS);
    if offloads.is_empty() {
        return (peers, Options::default());
    }
    let offloads = Offloads::CSUM | Offloads::TSO4 | Offloads::TSO6;
    (peers, Options { offloads, buffer_len: BufferLen::KiB64, entries: LONG_ENTRIES, ..Options::default() })
}
