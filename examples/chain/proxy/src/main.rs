//! A hop of service chains for a function that does not know network service headers: the function gets frames without
//! the header, and sends them back here, where each gets the header of its flow again.
//!
//! Arguments: `ME FILE FUNCTION`: the name of this VM in the chain file, the chain file, and the function's VM.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::boxed::Box;
use sluice_chain::{Node, options};
use sluice_vnf::{Error, Vnf};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 22);

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let function = vnf.arg(2).ok_or(Error::Arguments("ME FILE FUNCTION"))?;
    let mut ports = vnf.open(options())?;
    let mut node = Node::open(vnf, &ports, Some(function))?;
    Ok(node.proxy(vnf, &mut ports)?)
}
