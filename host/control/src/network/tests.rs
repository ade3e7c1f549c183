//! Devices that come and go, and what the directories say of it.

use super::*;

fn network() -> Network {
    let vm = |name: &str, rest: &str| {
        alloc::format!("[[vm]]\nname = \"{name}\"\nram_mib = 16\nimage = \"i\"\ngate = \"guarded\"\n{rest}\n")
    };
    let text = vm("a", "peers = [\"c\", \"b\"]") + &vm("b", "") + &vm("c", "");
    Network::new(&Manifest::parse(&text).unwrap())
}

#[test]
fn a_peer_is_ready_while_its_driver_is() {
    let mut network = network();
    let state = |network: &Network| network.directory(0).peers[1].state;
    assert_eq!(state(&network), PeerState::Absent as u32);
    let steps = [
        (reg::DRIVER_FEATURES_SEL, 1),
        (reg::DRIVER_FEATURES, 1),
        (reg::STATUS, 11),
        (reg::QUEUE_SIZE, 64),
        (reg::QUEUE_READY, 1),
    ];
    assert!(steps.iter().all(|&(offset, value)| network.write(1, offset, value).is_none()));
    assert_eq!(network.write(1, reg::STATUS, 15), Some(Event::QueuesReady));
    let directory = network.directory(0);
    assert_eq!((directory.peers[1].name(), directory.peers[1].queues[0].size), ("b", 64));
    assert_eq!(directory.peers[1].regions[0].slot_offset, map::peer_base(1));
    assert_eq!(state(&network), PeerState::Ready as u32);
    let first = directory.peers[1].queues[0];
    network.remove(1);
    assert_eq!(state(&network), PeerState::Revoked as u32);
    network.restart(1);
    assert_eq!((state(&network), network.read(1, reg::STATUS)), (PeerState::Absent as u32, 0));
    for (offset, value) in steps.into_iter().chain([(reg::STATUS, 15)]) {
        network.write(1, offset, value);
    }
    assert_ne!(network.directory(0).peers[1].queues[0], first, "it is where it was, but not the same");
}

/// Whoever reads the directory sees that there is something new, whichever way a queue comes or goes.
#[test]
fn each_change_of_a_peers_queue_changes_the_directory() {
    let mut network = network();
    let start = [
        (reg::DRIVER_FEATURES_SEL, 1),
        (reg::DRIVER_FEATURES, 1),
        (reg::STATUS, 11),
        (reg::QUEUE_SIZE, 64),
        (reg::QUEUE_READY, 1),
    ];
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
    assert_eq!(network.directory(1).peer_count, 0);
    assert_eq!(network.directory(9).peer_count, 0);
}
