//! An end of service chains: frames that a rule of the chain file matches enter their chain here, and frames that
//! arrive along a chain leave it. All others are dropped and counted.
//!
//! Arguments: `ME FILE [PEER]`: the name of this VM in the chain file, the chain file, and where frames go that leave a
//! chain. A VM that sends frames into the chains sends them here.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::boxed::Box;
use sluice_chain::{Node, options};
use sluice_vnf::Vnf;

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 21);

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let mut ports = vnf.open(options())?;
    let mut node = Node::open(vnf, &ports, vnf.arg(2))?;
    Ok(node.classify(vnf, &mut ports)?)
}
