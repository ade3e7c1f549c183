//! Devices that come and go, and what the directories say of it.

use super::*;
use crate::device::tests::START;
use sluice_abi::Gpa;

mod members;

fn network() -> Network {
    let vm = |name: &str, rest: &str| {
        alloc::format!("[[vm]]\nname = \"{name}\"\nram_mib = 16\nimage = \"i\"\ngate = \"guarded\"\n{rest}\n")
    };
    let text = vm("a", "peers = [\"c\", \"b\"]") + &vm("b", "") + &vm("c", "");
    Network::new(&Manifest::parse(&text).unwrap())
}

/// The driver of VM 1 starts its device.
fn start(network: &mut Network) {
    for (offset, value) in START {
        network.write(1, offset, value);
    }
}

#[test]
fn a_peer_is_ready_while_its_driver_is() {
    let mut network = network();
    let state = |network: &Network| network.directory(0).peers[1].state;
    assert_eq!(state(&network), PeerState::Absent as u32);
    let [steps @ .., (status, driver_ok)] = START;
    assert!(steps.iter().all(|&(offset, value)| network.write(1, offset, value).is_none()));
    assert_eq!(network.write(1, status, driver_ok), Some(Event::QueuesReady));
    let directory = network.directory(0);
    assert_eq!((directory.peers[1].name(), directory.peers[1].queues[0].size), ("b", 64));
    assert_eq!(directory.peers[1].regions[0].slot_offset, map::peer_base(PeerIdx(1)));
    assert_eq!(state(&network), PeerState::Ready as u32);
    let first = directory.peers[1].queues[0];
    network.remove(1);
    assert_eq!(state(&network), PeerState::Revoked as u32);
    network.restart(1);
    assert_eq!((state(&network), network.read(1, reg::STATUS)), (PeerState::Absent as u32, 0));
    start(&mut network);
    assert_ne!(network.directory(0).peers[1].queues[0], first, "it is where it was, but not the same");
}

/// Whoever reads the directory sees that there is something new, whichever way a queue comes or goes.
#[test]
fn each_change_of_a_peers_queue_changes_the_directory() {
    let mut network = network();
    let [start @ .., _] = START;
    assert!(start.iter().all(|&(offset, value)| network.write(1, offset, value).is_none()));
    let mut before = network.directory(0);
    for (offset, value) in [
        (reg::STATUS, 15),
        (reg::QUEUE_READY, 0),
        (reg::QUEUE_READY, 1),
        (reg::QUEUE_READY, 0),
        (reg::QUEUE_READY, 1),
        (reg::STATUS, 128),
    ] {
        assert!(network.write(1, offset, value).is_some());
        let directory = network.directory(0);
        assert_ne!(directory.peers, before.peers, "{offset:#x}");
        before = directory;
    }
    network.write(1, reg::STATUS, 0);
    assert_eq!(network.directory(0), before, "and nothing is new when nothing changed");
}

/// A sender can tell a peer that comes back from one that does not.
#[test]
fn a_peer_that_starts_again_is_absent_and_only_its_last_end_revokes_it() {
    let text = "[[vm]]\nname = \"a\"\nram_mib = 16\nimage = \"i\"\ngate = \"isolated\"\n";
    let again = text.replace("\"a\"", "\"b\"") + "restarts = 2\n";
    let mut network = Network::new(&Manifest::parse(&alloc::format!("{text}peers = [\"b\"]\n{again}")).unwrap());
    let state = |network: &Network| PeerState::from_word(network.directory(0).peers[0].state);
    for _ in 0..2 {
        network.remove(1);
        assert_eq!(state(&network), PeerState::Absent);
        network.restart(1);
        assert_eq!(state(&network), PeerState::Absent);
    }
    network.remove(1);
    assert_eq!(state(&network), PeerState::Revoked);
}

#[test]
fn only_permitted_senders_are_told() {
    let network = network();
    assert_eq!(network.senders_to(1).collect::<Vec<_>>(), [0]);
    assert_eq!(network.senders_to(0).count(), 0);
    assert_eq!(network.directory(1).peers.len(), 0);
    assert_eq!(network.directory(9).peers.len(), 0);
}

/// A sender sees a peer's runs while the peer is ready, and each that comes or goes; a life's runs end with that life.
#[test]
fn runs_of_a_peer_that_is_ready_are_in_the_directory() {
    let mut network = network();
    let run = |number: u64| Run { gpa: Gpa(number << 21), len: 2 << 20, offset: (number - 1) << 21 };
    let lens = |network: &Network| network.directory(0).peers[1].regions.map(|region| region.len);
    assert_eq!(network.add_run(1, run(1)), Ok(()));
    assert_eq!(lens(&network)[0], 0, "nobody sends to it yet");
    start(&mut network);
    assert_eq!(lens(&network)[..3], [2 << 20, map::PAGE, 0]);
    assert_eq!(network.add_run(1, run(2)), Ok(()));
    assert_eq!(lens(&network)[..3], [4 << 20, map::PAGE, 0]);
    assert!(network.add_run(1, run(2)).is_err() && network.remove_run(1, 0, 4 << 20).is_err());
    assert_eq!(network.remove_run(1, 0, 2 << 20), Ok(()));
    assert_eq!(network.directory(0).peers[1].regions[0].gpa, Gpa(4 << 20));
    network.remove(1);
    assert_eq!((lens(&network)[0], network.add_run(1, run(2))), (0, Ok(())));
}

#[test]
fn a_port_to_a_network_has_no_address_of_its_own() {
    let member = |mac, macs| Member::front_end(String::new(), mac, 1500, macs);
    let vm = Mac([2, 0, 0, 0, 0, 1]);
    let listed = Mac([2, 0, 0, 0, 0, 3]);
    let members = [
        member(vm, Addresses::default()),
        member(Mac::NONE, Addresses::Any),
        member(Mac::NONE, Addresses::These(alloc::vec![listed])),
    ];
    let network = Network::of_members(&members);
    assert_eq!((network.owner_of(vm.0), network.owner_of(Mac::NONE.0)), (Some(0), None));
    let other = [2, 0, 0, 0, 0, 2];
    for (mac, any, these) in
        [(other, true, false), (vm.0, false, false), (listed.0, false, true), ([0; 6], false, false)]
    {
        assert_eq!([1, 2].map(|port| network.may_send_from(port, mac)), [any, these], "{mac:x?}");
    }
}
