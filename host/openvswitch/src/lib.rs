//! Open vSwitch as the full switch of an in-VM switch: frames that no flow of a VM's table matches go through a bridge
//! of Open vSwitch, and the flows of its datapath are read and given to the table.
//!
//! ```text
//! VM's table ── miss ─► OpenVswitch::send ─► port (dummy) ─► bridge ─► port ─► OpenVswitch::receive ─► the other VM
//!     ▲                                                        │
//!     └── Change ◄── OpenVswitch::poll_flows ◄── flows of the datapath, by the control socket
//! ```
//!
//! ```no_run
//! use sluice_openvswitch::{Change, Config, OpenVswitch, PortConfig};
//! use std::time::{Duration, Instant};
//!
//! let port = |number, name: &str| PortConfig { number, name: name.into(), socket: format!("/run/{name}").into() };
//! let mut switch = OpenVswitch::open(&Config {
//!     control: "/run/openvswitch/ovs-vswitchd.ctl".into(),
//!     bridge: "br0".into(),
//!     ports: vec![port(0, "p0"), port(1, "p1")],
//!     period: Duration::from_millis(20),
//!     limits: Default::default(),
//! })?;
//! println!("ovs-ofctl -O OpenFlow13 add-flows br0 - <<END\n{}END", switch.fence_rules());
//! loop {
//!     switch.receive(32, |port, frame| println!("{} bytes for port {port}", frame.len()));
//!     let Some(seen) = switch.poll_flows(Instant::now())? else { continue };
//!     for change in seen.changes {
//!         match change {
//!             Change::Added(flow) | Change::Changed(flow) => println!("{}: {:?}", flow.ufid, flow.actions),
//!             Change::Removed(ufid) => println!("{ufid}: gone"),
//!             Change::Refused(ufid, why) => println!("{ufid}: {why}"),
//!         }
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), sluice_openvswitch::Error>(())
//! ```
//!
//! # The bridge
//! Open vSwitch 3.1 of Debian runs without root and without a kernel module:
//!
//! ```text
//! ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema
//! ovsdb-server --remote=punix:db.sock conf.db
//! ovs-vswitchd --enable-dummy=override --disable-system --disable-system-route --unixctl=ctl unix:db.sock
//! ovs-vsctl add-br br0 -- set bridge br0 datapath_type=dummy
//! ovs-vsctl add-port br0 p0 -- set interface p0 type=dummy options:pstream=punix:/run/p0 mtu_request=9000
//! ```
//!
//! # What a flow in a table is worth
//! A flow is *never wider* than it is in Open vSwitch: a frame that it matches would have matched there, and what its
//! actions do is what Open vSwitch does ([`flow`]). It may be narrower: frames of which a key proves too little, or
//! flows with actions that no list has, stay with Open vSwitch; [`Refusal`] says why in one line.
//!
//! - **Stale for how long.** A flow that Open vSwitch changes is known to be changed after the period and three times
//!   what a round of questions takes, at most ([`Follower::poll`]). Before that, revalidation in Open vSwitch takes its
//!   own time.
//! - **Open vSwitch is gone.** [`OpenVswitch::poll_flows`] says so each time, nothing is removed, and the table's lease
//!   decides how long its flows go on.
//! - **Frames of a table are not seen by Open vSwitch.** It forgets a flow that none of its own frames used for
//!   `other_config:max-idle` (10 s), and an address that it has learned after `mac-aging-time` (300 s): the next frame
//!   then is a miss, and all of it comes back.
//! - **Order.** [`OpenVswitch::fence`] tells when Open vSwitch is done with what a port was given: before that, a frame
//!   that a new flow sends may overtake an older one of its flow.
//!
//! # Who believes whom
//! What the daemon writes is read once and bounded: length and time of an answer, length of a line, depth of
//! parentheses. A line whose words are not all understood is refused. Who may write the control socket, or the sockets
//! of the ports, is who may configure the bridge: they say what the VMs' flows are.
//!
//! Reading order: [`OpenVswitch`], [`Follower`], [`flow`] (src/flow/layers.rs says what makes a mask narrow enough),
//! [`Fence`], [`unixctl`].
//!
//! # Why not OpenFlow monitoring
//! It tells of changed rules, and not of what else changes a flow: learned addresses, ports, groups, connection
//! tracking.
#![forbid(unsafe_code)]

mod error;
mod fence;
pub mod flow;
mod follow;
mod port;
mod ports;
mod socket;
mod switch;
pub mod unixctl;

pub use error::{Error, Result};
pub use fence::{COOKIE, ETHER_TYPE, Fence, TABLE, Token};
pub use flow::{Counters, DatapathFlow, Refusal, Ufid};
pub use follow::{Change, Follower, Seen};
pub use port::{Port, Sent};
pub use ports::Ports;
pub use switch::{Config, OpenVswitch, PortConfig};
