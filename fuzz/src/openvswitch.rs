//! Texts in the place of Open vSwitch's.

use sluice_openvswitch::{DatapathFlow, Ports};
use sluice_switch::{ActionList, Layers, Mask};

/// Reads a flow. One that is not refused is as a table takes it: it is of one of our ports, its mask names the headers
/// of its fields, and its list is one for as many ports as there are.
pub fn flow(text: &str) {
    let ports = Ports::new("netdev@ovs-netdev", [(1, 0), (2, 1), (3, 5)]);
    let Ok(flow) = DatapathFlow::read(text, &ports) else { return };
    let mask = flow.mask.key();
    assert_eq!(Mask::new(*mask), Ok(flow.mask));
    assert_eq!(flow.key, flow.key.masked(mask));
    assert_eq!((mask.in_port, matches!(flow.key.in_port, 0 | 1 | 5)), (u16::MAX, true));
    assert!(flow.key.layers.contains(Layers::ETHERNET) && mask.layers.contains(Layers::ETHERNET | Layers::TAG));
    assert_eq!((mask.reserved, mask.nsh_reserved), (0, 0));
    assert_eq!(ActionList::check(*flow.actions.words(), ports.count()), Ok(flow.actions));
}
