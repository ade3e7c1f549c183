//! Members of a server, to which the host shows peers one by one.

use super::*;
use alloc::string::ToString;
use alloc::vec;
use sluice_abi::directory::MAX_REGIONS;

const RAM: u64 = 16 << 20;

fn member(name: &str, pairs: u16, ram_len: Option<u64>, peers: &[usize]) -> Member {
    let mac = Mac(mac(usize::from(name.as_bytes()[0])));
    let front_end = Member::front_end(name.to_string(), mac, 1500, Addresses::These(Vec::new()));
    Member { pairs, ram_len, peers: peers.to_vec(), ..front_end }
}

/// Processes 0 and 1, which may send to VM 2 of a front-end and to process 3.
fn network() -> Network {
    let sender = |name| member(name, 1, Some(RAM), &[2, 3]);
    Network::of_members(&[sender("p"), sender("q"), member("f", 3, None, &[]), member("r", 3, Some(RAM), &[])])
}

/// The front-end of VM 2 has these queues in use, with these features.
fn set_up(network: &mut Network, features: F, queues: &[u16]) {
    let queue = |&index: &u16| Queue { index, size: 64, features: features.bits(), ..Queue::default() };
    let queues: Vec<_> = queues.iter().map(queue).collect();
    network.set_pairs(2, queues.len() as u16 / 2);
    network.set_up(2, features, &queues);
}

const PAIRS: F = F::VERSION_1.union(F::MQ);

fn state(network: &Network, sender: u32, index: usize) -> u32 {
    network.directory(sender).peers[index].state
}

#[test]
fn a_member_is_hidden_from_each_sender_until_it_is_shown() {
    let mut network = network();
    set_up(&mut network, PAIRS, &[0, 1, 2, 3, 4, 5]);
    assert_eq!([state(&network, 0, 0), state(&network, 1, 0)], [PeerState::Absent as u32; 2]);
    assert!(network.window_queue(2, 0).is_some(), "although it has a queue");
    network.show(2, 1, Some(7));
    assert_eq!([state(&network, 0, 0), state(&network, 1, 0)], [PeerState::Absent as u32, PeerState::Ready as u32]);
    network.show(2, 1, None);
    assert_eq!(state(&network, 1, 0), PeerState::Absent as u32);
    // Whoever is no sender, or no member, is shown nothing.
    for (vm, sender) in [(2, 2), (2, 3), (0, 1), (2, 9), (9, 0)] {
        network.show(vm, sender, Some(0));
    }
    assert_eq!([state(&network, 0, 0), state(&network, 1, 0)], [PeerState::Absent as u32; 2]);
    network.show(2, 0, Some(0));
    network.set_pairs(2, 3);
    network.set_up(2, PAIRS, &[]);
    assert_eq!(state(&network, 0, 0), PeerState::Absent as u32, "its queue is not there any more");
}

#[test]
fn the_entry_of_a_member_says_where_its_queue_stands() {
    let mut network = network();
    set_up(&mut network, PAIRS, &[0, 1, 2, 3, 4, 5]);
    for base in [0, 1, 0xffff, 1 << 15 | 1 << 31] {
        network.show(2, 0, Some(base));
        let peer = network.directory(0).peers[0];
        assert_eq!((peer.queue_count, peer.queues[0].base, peer.name()), (1, base, "f"));
        assert_eq!(network.directory(1).peers[0].queues[0], Queue::default(), "the other sender has its own");
    }
    assert_eq!(network.window_queue(2, 0).map(|queue| queue.base), Some(0), "the base is of what is shown");
}

/// Pair 0 is the switch's, the first sender has pair 1, and senders without one share pair 0.
#[test]
fn each_sender_has_a_pair_while_there_are_enough_and_else_shares_that_of_the_switch() {
    let index = |queue: Option<Queue>| queue.map(|queue| queue.index);
    let mut network = network();
    set_up(&mut network, PAIRS, &[0, 1, 2, 3, 4, 5]);
    assert_eq!([0, 1, 3].map(|sender| index(network.window_queue(2, sender))), [Some(2), Some(4), None]);
    assert_eq!(index(network.switched_queue(2)), Some(0));
    set_up(&mut network, PAIRS, &[0, 1, 2, 3]);
    assert_eq!([0, 1, 3].map(|sender| index(network.window_queue(2, sender))), [Some(2), Some(0), None]);
    let owners = |network: &mut Network| {
        [0, 1].map(|sender| {
            network.show(2, sender, Some(0));
            network.directory(sender).peers[0].queues[0].owner
        })
    };
    assert_eq!(owners(&mut network), [0, 2]);
    set_up(&mut network, F::VERSION_1, &[0, 1]);
    assert_eq!([0, 1, 3].map(|sender| index(network.window_queue(2, sender))), [Some(0), Some(0), None]);
    assert_eq!(owners(&mut network), [1, 2]);
    assert_eq!(network.window_queue(2, 0), network.switched_queue(2), "in the eyes of the host it is one queue");
    let first = network.switched_queue(2).expect("a queue");
    network.set_pairs(2, 2);
    network.set_up(2, PAIRS, &[first]);
    assert_eq!(
        [0, 1].map(|sender| index(network.window_queue(2, sender))),
        [None, Some(0)],
        "its own is not in use yet"
    );
}

/// A packed ring does not say where a window came, and the monitor, which shows all without a call, follows none.
#[test]
fn a_packed_queue_has_a_lock_where_its_windows_are_followed() {
    let packed = PAIRS | F::RING_PACKED;
    let mut network = network();
    set_up(&mut network, packed, &[0, 1, 2, 3, 4, 5]);
    assert_eq!([0, 1, 3].map(|sender| network.lock_owner(2, sender)), [1, 2, 0]);
    network.show(2, 1, Some(0));
    assert_eq!(network.directory(1).peers[0].queues[0].owner, 2);
    set_up(&mut network, PAIRS, &[0, 1, 2, 3, 4, 5]);
    assert_eq!([0, 1].map(|sender| network.lock_owner(2, sender)), [0, 0]);
    let text = "[[vm]]\nname = \"a\"\nram_mib = 4\nimage = \"i\"\ngate = \"direct\"\npeers = [\"b\"]\n";
    let text = text.to_string() + &text.replace("\"a\"", "\"b\"").replace("[\"b\"]", "[]");
    let mut network = Network::new(&Manifest::parse(&text).expect("a manifest"));
    let queue = |index| Queue { index, size: 64, features: (F::VERSION_1 | F::RING_PACKED).bits(), ..Queue::default() };
    network.set_up(1, F::VERSION_1 | F::RING_PACKED, &[queue(0), queue(1)]);
    assert!(network.window_queue(1, 0).is_some() && network.lock_owner(1, 0) == 0);
}

/// Without pairs the only queue is shared with the switch, but that of a process is its only sender's.
#[test]
fn the_only_sender_has_the_only_pair_of_a_process_and_shares_that_of_a_front_end() {
    let to = |ram_len| {
        let mut network = Network::of_members(&[member("p", 1, Some(RAM), &[1]), member("f", 2, ram_len, &[])]);
        match ram_len {
            Some(_) => start(&mut network),
            None => {
                let queue = |index| Queue { index, size: 64, features: 1 << 32, ..Queue::default() };
                network.set_up(1, F::VERSION_1, &[queue(0), queue(1)]);
            }
        }
        assert!(network.device(1).is_some_and(|device| device.queue(0).is_some()));
        [network.window_queue(1, 0), network.switched_queue(1)].map(|queue| queue.map(|queue| queue.index))
    };
    assert_eq!([to(None), to(Some(RAM))], [[Some(0), Some(0)], [Some(0), None]]);
}

#[test]
fn what_a_front_end_shares_is_listed_from_where_the_peer_begins() {
    let mut network = network();
    set_up(&mut network, PAIRS, &[0, 1, 2, 3, 4, 5]);
    let region = |gpa: u64, slot_offset| Region { gpa: Gpa(gpa), len: 3 << 20, slot_offset };
    let shared = vec![region(1 << 32, 0), region(0, 4 << 20)];
    network.share(2, shared.clone());
    // A process has registered runs, and shares nothing.
    network.share(3, shared.clone());
    assert_eq!(network.directory(0).peers[0].region_count, 0, "it is hidden");
    network.show(2, 0, Some(0));
    let peer = network.directory(0).peers[0];
    let base = map::peer_base(PeerIdx(0));
    let moved = |region: &Region| Region { slot_offset: base + region.slot_offset, ..*region };
    assert_eq!(peer.region_count, 2);
    assert_eq!(peer.regions[..2], [moved(&shared[0]), moved(&shared[1])]);
    let many = vec![region(0, 0); MAX_REGIONS + 1];
    network.share(2, many);
    assert_eq!(network.directory(0).peers[0].region_count as usize, MAX_REGIONS);
    network.remove(2);
    assert_eq!(network.directory(0).peers[0].region_count, 0, "a session's memory ends with it");
    assert_eq!(network.extents(3), []);
}

#[test]
fn members_that_stay_keep_device_and_memory() {
    let mut network = network();
    set_up(&mut network, PAIRS, &[0, 1, 2, 3, 4, 5]);
    let run = Run { gpa: Gpa(2 << 20), len: 2 << 20, offset: 0 };
    network.add_run(3, run).expect("a run");
    network.show(2, 0, Some(5));
    let (queue, shared) = (network.window_queue(2, 0), Region { gpa: Gpa(0), len: 1 << 20, slot_offset: 0 });
    network.share(2, vec![shared]);
    // VM "x" is new and the first, "q" is gone.
    let members = [
        member("x", 1, Some(RAM), &[]),
        member("f", 3, None, &[]),
        member("p", 1, Some(RAM), &[1, 3]),
        member("r", 3, Some(RAM), &[]),
    ];
    let mut new = Network::of_members(&members);
    new.take_over(&mut network, &[None, Some(2), Some(0), Some(3)]);
    assert_eq!(new.window_queue(1, 2), queue, "with its start number, and pairs of its senders' own");
    assert_eq!(new.extents(3), [(0, 2 << 20)]);
    assert_eq!(state(&new, 2, 0), PeerState::Absent as u32, "nothing is shown before the host says so");
    new.show(1, 2, Some(6));
    let peer = new.directory(2).peers[0];
    assert_eq!((peer.vm_id, peer.regions[0].len, peer.queues[0].base), (1, 1 << 20, 6));
    // A new life in the same place is another one.
    new.set_up(1, F::empty(), &[]);
    new.set_up(1, PAIRS, &[queue.expect("a queue")]);
    assert_ne!(new.window_queue(1, 2).map(|queue| queue.start), queue.map(|queue| queue.start));
}

/// VMs 1 and 2 of front-ends have the in-VM switch of process 0 as uplink, which sends to both.
#[test]
fn an_in_vm_switch_has_a_pair_for_each_uplink_and_one_behind_them_for_frames_without_a_flow() {
    let switch = Member { has_flows: true, ..member("s", 4, Some(RAM), &[1, 2]) };
    let below = |name| Member { uplink: Some(0), ..member(name, 2, None, &[]) };
    let mut network = Network::of_members(&[switch, below("a"), below("b"), member("c", 2, None, &[])]);
    let senders = |vm| network.senders_to(vm).collect::<Vec<_>>();
    assert_eq!([senders(0), senders(1), senders(3)], [vec![1, 2], vec![0], vec![]]);
    assert_eq!([0, 1].map(|vm| network.slow_pair(vm)), [Some(3), None]);
    assert!(HostF::from_bits_truncate(network.directory(0).header.features).contains(HostF::FLOWS));
    let queue = |index| Queue { index, size: 64, features: PAIRS.bits(), ..Queue::default() };
    network.set_up(0, PAIRS, &Vec::from_iter((0..8).map(queue)));
    let fills = |sender| network.window_queue(0, sender).map(|queue| queue.index);
    assert_eq!([1, 2, 3].map(fills), [Some(2), Some(4), None]);
    // They are no peers of each other, nor the switch theirs.
    assert_eq!([1, 2].map(|vm| network.directory(vm).peers.len()), [0, 0]);
}
