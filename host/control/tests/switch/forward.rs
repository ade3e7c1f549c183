//! Where frames go, where they do not, and what is counted.

use super::*;

const NONE: F = F::VERSION_1;

/// All others in each one's lan.
const ALL: [&str; 3] = ["lan = [\"b\", \"c\"]", "lan = [\"a\", \"c\"]", "lan = [\"a\", \"b\"]"];

#[test]
fn a_broadcast_reaches_all_that_are_permitted_and_the_answer_only_who_asked() {
    for features in [NONE, F::IN_ORDER | F::EVENT_IDX, F::RING_PACKED, F::RING_PACKED | F::EVENT_IDX | F::MRG_RXBUF] {
        let world = World::new(&ALL);
        let [mut a, mut b, mut c] = [0, 1, 2].map(|vm| world.start(vm, features, 1));
        for round in 0..100 {
            let (question, answer) = (frame(BROADCAST, mac(0), round), frame(mac(0), mac(1), round));
            a.send(&question);
            assert_eq!([b.received(), c.received()], [vec![question.clone()], vec![question]]);
            b.send(&answer);
            assert_eq!((a.received(), b.received(), c.received()), (vec![answer], vec![], vec![]));
        }
        assert_eq!(world.counters(0), Counters { taken: 100, forwarded: 100, ..Counters::default() });
        assert_eq!(world.counters(2), Counters { forwarded: 100, ..Counters::default() });
    }
}

#[test]
fn a_denied_destination_reaches_nobody_and_is_counted() {
    let world = World::new(&["peers = [\"b\"]", "lan = [\"a\"]", ""]);
    // Without control queue, b's pair 0 is a's window.
    let [mut a, mut b, mut c] = [0, 1, 2].map(|vm| world.start(vm, F::CTRL_VQ | F::MQ, 1));
    a.send(&frame(mac(2), mac(0), 1));
    c.send(&frame(BROADCAST, mac(2), 2));
    c.send(&frame(mac(1), mac(2), 3));
    assert_eq!([a.received(), b.received(), c.received()], [(); 3].map(|()| Vec::<Vec<u8>>::new()));
    assert_eq!([0, 1, 2].map(|vm| world.counters(vm).denied), [1, 0, 2]);
    // Broadcasts and unknown destinations reach who is permitted, and nobody else.
    a.send(&frame(BROADCAST, mac(0), 4));
    a.send(&frame(NOBODY, mac(0), 5));
    assert_eq!((b.received().len(), c.received().len(), world.counters(0).denied), (2, 0, 1));
    // To itself.
    a.send(&frame(mac(0), mac(0), 6));
    assert_eq!((a.received().len(), b.received().len(), world.counters(0).denied), (0, 0, 2));
}

#[test]
fn a_frame_from_an_address_that_is_not_the_senders_reaches_nobody_and_teaches_nothing() {
    let extra = [2, 9, 9, 9, 9, 9];
    let world = World::new(&[
        "lan = [\"b\", \"c\"]\nmacs = [\"02:09:09:09:09:09\"]",
        ALL[1],
        "lan = [\"a\"]\nmacs = [\"any\"]",
    ]);
    let [mut a, mut b, mut c] = [0, 1, 2].map(|vm| world.start(vm, NONE, 1));
    for source in [mac(1), mac(2), NOBODY, BROADCAST, [0; 6], [3, 0, 0, 0, 0, 1]] {
        a.send(&frame(BROADCAST, source, 1));
    }
    // Any, but no group's, and no other VM's, whether it uses it or not.
    for source in [mac(0), mac(1), extra, BROADCAST, [0; 6], [1, 0, 0, 0, 0, 1]] {
        c.send(&frame(BROADCAST, source, 2));
    }
    assert_eq!([a.received(), b.received(), c.received()], [(); 3].map(|()| Vec::<Vec<u8>>::new()));
    assert_eq!([0, 1, 2].map(|vm| world.counters(vm).source_refused), [6, 0, 6]);
    a.send(&frame(mac(1), extra, 3));
    c.send(&frame(mac(0), NOBODY, 4));
    assert_eq!((a.received().len(), b.received().len()), (1, 1));
}

#[test]
fn an_unknown_destination_is_flooded_until_it_is_learned_and_again_when_it_is_forgotten() {
    let world = World::with("ageing_ticks = 100\n", &[ALL[0], "lan = [\"a\", \"c\"]\nmacs = [\"any\"]", ALL[2]]);
    let [mut a, mut b, mut c] = [0, 1, 2].map(|vm| world.start(vm, NONE, 1));
    a.send(&frame(NOBODY, mac(0), 1));
    assert_eq!((b.received().len(), c.received().len()), (1, 1));
    b.send(&frame(mac(0), NOBODY, 2));
    assert_eq!(a.received().len(), 1);
    for (now, wanted) in [(0, (1, 0)), (99, (1, 0)), (100, (1, 1))] {
        world.now.set(now);
        a.send(&frame(NOBODY, mac(0), 1));
        assert_eq!((b.received().len(), c.received().len()), wanted, "{now}");
    }
    // More addresses than there is room for: the frames pass all the same.
    for number in 0..100 {
        b.send(&frame(mac(0), [2, 1, 1, 1, 1, number], 3));
        a.received();
    }
    assert_eq!((world.counters(1).not_learned, world.counters(0).forwarded), (36, 101));
}

/// An address that was learned at one port becomes that of another VM's device.
#[test]
fn an_address_is_a_devices_before_it_is_anybody_elses() {
    let keys = ["lan = [\"b\", \"c\"]\nmacs = [\"any\"]", "lan = [\"a\", \"c\"]\nset_mac = true", ALL[2]];
    let world = World::new(&keys);
    let features = F::CTRL_VQ | F::CTRL_MAC_ADDR;
    let [mut a, mut b, mut c] = [0, 1, 2].map(|vm| world.start(vm, features, 1));
    a.send(&frame(mac(2), NOBODY, 1));
    c.send(&frame(NOBODY, mac(2), 2));
    assert_eq!((a.received().len(), b.received().len(), c.received().len()), (1, 0, 1));
    assert_eq!(world.network.borrow_mut().command(1, &[&[1, 1][..], &NOBODY].concat()).0, 0, "b has it now");
    c.send(&frame(NOBODY, mac(2), 3));
    a.send(&frame(mac(2), NOBODY, 4));
    assert_eq!((a.received().len(), b.received().len(), c.received().len()), (0, 1, 0));
    assert_eq!(world.counters(0).source_refused, 1);
}

/// A device's own address takes no room in the table of those that were learned.
#[test]
fn a_devices_own_address_is_not_learned() {
    let world = World::new(&["lan = [\"b\"]\nmacs = [\"any\"]", ""]);
    let (mut a, mut b) = (world.start(0, NONE, 1), world.start(1, NONE, 1));
    a.send(&frame(mac(1), mac(0), 0));
    for number in 0..65 {
        assert_eq!(world.counters(0).not_learned, 0);
        a.send(&frame(mac(1), [2, 1, 1, 1, 1, number], 1));
        b.received();
    }
    assert_eq!(world.counters(0).not_learned, 1);
}

#[test]
fn what_a_receiver_has_no_room_for_is_counted_and_nothing_else_is_lost() {
    let world = World::new(&["lan = [\"b\"]", "mtu = 1000"]);
    let (mut a, mut b) = (world.start(0, NONE, 1), world.start(1, NONE, 1));
    for number in 0..40 {
        a.send(&frame(mac(1), mac(0), number));
    }
    let received = b.received();
    assert_eq!(received.iter().map(|frame| frame[20]).collect::<Vec<_>>(), (0..32).collect::<Vec<_>>());
    assert_eq!(world.counters(1), Counters { forwarded: 32, full: 8, ..Counters::default() });
    let long = |len: usize, kind: u16| {
        let mut frame = frame(mac(1), mac(0), 1);
        frame[12..14].copy_from_slice(&kind.to_be_bytes());
        frame.resize(len, 0);
        frame
    };
    for (frame, passes) in [(long(1014, 0x800), true), (long(1015, 0x800), false), (long(1018, 0x8100), true)] {
        a.send(&frame);
        assert_eq!(b.received().len(), usize::from(passes));
    }
    assert_eq!((world.counters(1).too_long, world.counters(0).taken), (1, 43));
}

#[test]
fn a_receiver_that_is_not_there_gets_nothing_until_it_is_back() {
    let world = World::new(&["lan = [\"b\"]", ""]);
    let mut a = world.start(0, NONE, 1);
    a.send(&frame(mac(1), mac(0), 1));
    assert_eq!(world.counters(1).no_queue, 1);
    for life in 0..3 {
        let mut b = world.start(1, NONE, 1);
        a.send(&frame(mac(1), mac(0), life));
        assert_eq!(b.received(), [frame(mac(1), mac(0), life)]);
        world.network.borrow_mut().remove(1);
        a.send(&frame(mac(1), mac(0), 9));
        assert_eq!(b.received(), Vec::<Vec<u8>>::new(), "nothing is written into a device that was reset");
        world.network.borrow_mut().restart(1);
    }
    assert_eq!(world.counters(1), Counters { forwarded: 3, no_queue: 4, ..Counters::default() });
}

#[test]
fn a_tap_sees_what_a_port_sends_and_what_it_gets() {
    let world = World::new(&ALL);
    let [mut a, _b, mut c] = [0, 1, 2].map(|vm| world.start(vm, NONE, 1));
    a.send(&frame(mac(1), mac(0), 1));
    // It is dropped, but it was sent.
    c.send(&frame(mac(1), mac(0), 2));
    let seen = &world.seen.borrow().0;
    let (passed, refused) = (frame(mac(1), mac(0), 1), frame(mac(1), mac(0), 2));
    assert_eq!(*seen, [(0, passed.clone()), (1, passed), (2, refused)]);
}

#[test]
fn a_frame_without_an_ethernet_header_is_counted() {
    let world = World::new(&["lan = [\"b\"]", ""]);
    let (mut a, mut b) = (world.start(0, NONE, 1), world.start(1, NONE, 1));
    a.send(&[0xff; 13]);
    a.send(&frame(BROADCAST, mac(0), 1)[..14]);
    assert_eq!((b.received().len(), world.counters(0).malformed), (1, 1));
}
