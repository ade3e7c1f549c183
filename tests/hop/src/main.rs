//! A hop of service chains that lets every packet pass, and stops at one if it is told to: a VM crashes; a process
//! ends, as the launcher takes a crash for the end of the whole run.
//!
//! Arguments: `ME FILE [PACKET]`: the name of this VM in the chain file, the chain file, and the number of the packet,
//! from 1, at which it stops. Or `behind PROXY PACKET`, for a function that knows no headers: the name of its proxy,
//! and that number.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::boxed::Box;
use sluice_chain::{Node, options};
use sluice_vnf::{Error, Vnf};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 21);

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let last = vnf.arg(2).map(|word| word.parse::<usize>().map_err(|_| Error::Arguments("ME FILE [PACKET]")));
    let (last, mut packets) = (last.transpose()?, 0);
    let mut ports = vnf.open(options())?;
    if vnf.arg(0) == Some("behind") {
        let proxy = ports.wait_for(vnf.arg(1))?;
        return Ok(ports.relay(proxy, |burst| {
            packets += burst.len();
            if last.is_some_and(|last| packets >= last) {
                stop();
            }
        })?);
    }
    let mut node = Node::open(vnf, &ports, None)?;
    if last.is_none() {
        return Ok(node.relay(vnf, &mut ports)?);
    }
    node.serve(vnf, &mut ports, |_| {
        packets += 1;
        if Some(packets) == last {
            stop();
        }
        true
    })?;
    Ok(())
}

#[cfg(target_os = "none")]
fn stop() -> ! {
    panic!("it was told to")
}

#[cfg(not(target_os = "none"))]
fn stop() -> ! {
    std::process::exit(0)
}
