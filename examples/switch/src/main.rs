//! A switch in a VM: it forwards by the flow table that its host writes, and sends to the host what the table does not
//! have. Frames come in from its senders, and go to its peers, by windows. The manifest says which full switch is
//! behind it (`flows`).
//!
//! Arguments: names of peers that have to be ready before the first frame is forwarded.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::boxed::Box;
use sluice_switch::{FlowMemory, Front, Switch};
use sluice_vnf::{BURST_SIZE, Options, Receive, Transmit, Vnf, clock, println};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 18);

/// Number of flow keys whose entries the switch remembers.
const FRONT: usize = 4096;

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let pages = vnf.flows().ok_or("no flow table: the manifest gives this vm no flows")?;
    let flows = FlowMemory::open(pages.table, pages.records)?;
    let options = Options { pairs: flows.pairs(), tx_pair: flows.slow_pair(), ..Options::default() };
    let (ports, mut front) = (vnf.open(options)?, alloc::vec![0; FRONT]);
    let (outputs, front) = ((ports.outputs.gate(), ports.outputs.pool()), Front::new(&mut front));
    let mut switch = Switch::new(&mut *ports.input, outputs, flows, front, clock::host_time)?;
    vnf.args().split_whitespace().try_for_each(|peer| ports.outputs.wait_for(Some(peer)).map(drop))?;
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
