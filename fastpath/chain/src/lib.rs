//! Service chains of virtual network functions, by network service headers. See: RFC 8300 "Network Service Header
//! (NSH)", RFC 7665 "Service Function Chaining (SFC) Architecture".
//!
//! A chain file ([`ChainFile`]) names the VMs of each chain. At each end stands a classifier, which puts a header on
//! frames that enter the chain and takes it off those that leave it. In between, each VM is a function and the
//! forwarder behind it: the header's path and index say which VM is next ([`Router`]), and the frame goes there through
//! a window.
//!
//! ```no_run
//! use sluice_chain::{Node, options};
//! use sluice_vnf::Vnf;
//!
//! sluice_vnf::main!(run);
//!
//! /// Lets TCP pass. Arguments: the VM's own name, and the name of the chain file.
//! fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
//!     let mut ports = vnf.open(options())?;
//!     let mut node = Node::open(vnf, &ports, None)?;
//!     node.serve(vnf, &mut ports, |packet| packet.tcp_flags().is_some())?;
//!     Ok(())
//! }
//! ```
//!
//! The file itself is read on any machine; what is wrong in it is said with its line and key:
//!
//! ```
//! use sluice_chain::{ChainFile, Direction};
//!
//! let text = r#"
//!     [[chain]]
//!     name = "web"
//!     path = 1
//!     ends = ["in", "out"]
//!     forward = ["any"]
//!     return = ["any"]
//!     hops = [{ vm = "firewall", policy = "closed" }]
//! "#;
//! let file = ChainFile::parse(text)?;
//! let chain = file.current().next().expect("a chain");
//! let way: Vec<_> = chain.stations(Direction::Forward).into_iter().map(|(vm, _)| vm).collect();
//! assert!(way.contains(&"firewall"));
//! assert!(ChainFile::parse(&text.replace("closed", "ajar")).is_err());
//! # Ok::<(), sluice_chain::FileError>(())
//! ```
//!
//! # Who believes whom
//! A header is what the sender wrote: it is read once, its version, type and lengths are checked, and {path, index}
//! must be one at which this VM stands. The table behind them has 256 steps, and bypassing goes down it, so it ends.
//! What a frame can't do is choose a VM that the chain file does not name. Which VM sent a frame is not checked: a VM
//! of a chain is trusted with the chain's frames.
//!
//! Reading order: [`ChainFile`], [`Nsh`] and [`Spi`], [`Router`], [`Node`], [`Packet`], [`Table`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod cause;
mod file;
mod node;
mod nsh;
mod packet;
mod router;
mod table;
#[cfg(test)]
mod testing;

pub use cause::{Cause, Counts};
pub use file::{Chain, ChainFile, FileError, Hop, LONGEST, MAX_CHAINS, MAX_HOPS, Rule, STALL_MS, Wrong};
pub use node::{ChainError, Node, options};
pub use nsh::{AT, Direction, ETHER_TYPE, FIRST_INDEX, FIRST_TTL, MAX_LEN, MD1_LEN, Nsh, Outer, Spi};
pub use packet::{Flow, Packet, tcp};
pub use router::{Arrival, Router, RouterError};
pub use sluice_switch::{next, protocol};
pub use table::{Table, seconds};
