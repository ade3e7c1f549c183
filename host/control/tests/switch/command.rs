//! Commands over the control queue, by our own driver side, and as bytes that no driver sends. See: VIRTIO 5.1.6.5
//! "Control Virtqueue".

use super::*;
use sluice_abi::mmio::{Interrupt, reg};
use sluice_abi::net::LinkStatus;
use sluice_driver::{Cause, link_status};

const CONTROL: F = F::CTRL_VQ.union(F::CTRL_RX).union(F::CTRL_MAC_ADDR).union(F::GUEST_ANNOUNCE);
const OK: (u8, Option<Event>) = (0, None);
const REFUSED: (u8, Option<Event>) = (1, None);
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];

/// A number of addresses, and the addresses.
fn table(count: u32, addresses: &[[u8; 6]]) -> Vec<u8> {
    [&count.to_le_bytes()[..], addresses.as_flattened()].concat()
}

fn tables(unicast: &[[u8; 6]], multicast: &[[u8; 6]]) -> Vec<u8> {
    [vec![1, 0], table(unicast.len() as u32, unicast), table(multicast.len() as u32, multicast)].concat()
}

fn set_mac(driver: &mut Driver<'_>, mac: [u8; 6]) -> Result<(), Cause> {
    let (mut device, agreed) = (driver.device(), driver.agreed);
    let control = driver.control.as_mut().expect("a control queue");
    control.set_mac(&mut device, &agreed, mac, || true).map_err(|error| error.cause)
}

#[test]
fn an_address_is_set_where_the_manifest_permits_it_and_nobody_else_has_it() {
    let keys = ["lan = [\"b\"]\nset_mac = true", "lan = [\"a\"]\nmacs = [\"02:00:00:00:00:05\"]", ""];
    for features in [CONTROL, CONTROL | F::RING_PACKED, CONTROL | F::IN_ORDER | F::EVENT_IDX] {
        let world = World::new(&keys);
        let [mut a, mut b] = [0, 1].map(|vm| world.start(vm, features, 1));
        for other in [mac(1), mac(2), GROUP, [0; 6], [2, 0, 0, 0, 0, 5]] {
            assert_eq!(set_mac(&mut a, other), Err(Cause::Refused), "{other:?}");
        }
        assert_eq!(set_mac(&mut b, NOBODY), Err(Cause::Refused), "not permitted");
        assert_eq!(set_mac(&mut b, mac(1)), Ok(()), "what it has");
        world.events.borrow_mut().clear();
        let before = a.device().read(reg::CONFIG_GENERATION);
        assert_eq!(set_mac(&mut a, NOBODY), Ok(()));
        assert_eq!(*world.events.borrow(), [Event::QueuesReady], "its senders learn it");
        assert_ne!(a.device().read(reg::CONFIG_GENERATION), before);
        assert_eq!((0..6).map(|at| a.device().read8(reg::CONFIG + at)).collect::<Vec<_>>(), NOBODY);
        b.send(&frame(NOBODY, mac(1), 1));
        b.send(&frame(mac(0), mac(1), 2));
        a.send(&frame(mac(1), NOBODY, 3));
        a.send(&frame(mac(1), mac(0), 4));
        assert_eq!((a.received().len(), b.received().len()), (1, 1), "to and from the new one only");
        // After a reset it is as before.
        let mut a = world.start(0, features, 1);
        b.send(&frame(mac(0), mac(1), 5));
        assert_eq!((a.agreed.mac, a.received().len()), (mac(0), 1));
    }
}

#[test]
fn a_driver_is_asked_to_announce_itself_at_each_start_until_it_says_that_it_did() {
    let world = World::new(&[""]);
    for _ in 0..2 {
        let mut a = world.start(0, CONTROL, 1);
        let (mut device, agreed) = (a.device(), a.agreed);
        assert_eq!(link_status(&mut device, &agreed), LinkStatus::LINK_UP | LinkStatus::ANNOUNCE);
        assert_eq!(device.read(reg::INTERRUPT_STATUS), Interrupt::CONFIGURATION.bits());
        let before = device.read(reg::CONFIG_GENERATION);
        for _ in 0..2 {
            a.control.as_mut().expect("a queue").announce_ack(&mut device, &agreed, || true).expect("done");
            assert_eq!(link_status(&mut device, &agreed), LinkStatus::LINK_UP);
            assert_eq!(device.read(reg::CONFIG_GENERATION), before + 1);
        }
    }
    let a = world.start(0, F::CTRL_VQ, 1);
    assert_eq!(link_status(&mut a.device(), &a.agreed), LinkStatus::LINK_UP);
    assert_eq!(world.network.borrow_mut().command(0, &[3, 0]), REFUSED, "it did not agree to it");
}

/// Which of these destinations a driver gets, beside its own and everybody.
fn wanted(world: &World, b: &mut Driver<'_>, a: &mut Driver<'_>) -> [bool; 4] {
    let destinations = [NOBODY, [2, 0, 0, 0, 0, 0x78], GROUP, [0x33, 0x33, 0, 0, 0, 1]];
    let before = world.counters(1).filtered;
    let got = destinations.map(|destination| {
        a.send(&frame(destination, mac(0), 1));
        b.received().len() == 1
    });
    let dropped = got.iter().filter(|got| !**got).count() as u64;
    assert_eq!(world.counters(1).filtered - before, dropped);
    for destination in [mac(1), BROADCAST] {
        a.send(&frame(destination, mac(0), 1));
        assert_eq!(b.received().len(), 1);
    }
    got
}

#[test]
fn a_driver_gets_the_frames_that_it_asked_for() {
    let world = World::new(&["lan = [\"b\"]", ""]);
    let (mut a, mut b) = (world.start(0, F::VERSION_1, 1), world.start(1, CONTROL, 1));
    let command = |bytes: &[u8]| world.network.borrow_mut().command(1, bytes);
    assert_eq!(wanted(&world, &mut b, &mut a), [false; 4], "the tables are empty after a reset");
    for (bytes, expected) in [
        (vec![0, 0, 1], [true; 4]),
        (vec![0, 0, 0], [false; 4]),
        (vec![0, 1, 1], [false, false, true, true]),
        (tables(&[NOBODY], &[]), [true, false, true, true]),
        (vec![0, 1, 0], [true, false, false, false]),
        (tables(&[], &[GROUP]), [false, false, true, false]),
        // More than are kept: all of that kind.
        (tables(&[[2, 7, 7, 7, 7, 7]; 65], &[GROUP]), [true, true, true, false]),
        (tables(&[], &[]), [false; 4]),
    ] {
        assert_eq!(command(&bytes), OK, "{bytes:?}");
        assert_eq!(wanted(&world, &mut b, &mut a), expected, "{bytes:?}");
    }
    assert_eq!(command(&[0, 0, 1]), OK);
    let mut b = world.start(1, CONTROL, 1);
    assert_eq!(wanted(&world, &mut b, &mut a), [false; 4], "forgotten by a reset");
    let mut b = world.start(1, F::VERSION_1, 1);
    assert_eq!(wanted(&world, &mut b, &mut a), [true; 4], "without filters");
}

/// The frame that comes right behind the answer is filtered by what was asked.
#[test]
fn what_a_driver_asks_for_holds_once_it_is_answered() {
    let world = World::new(&["lan = [\"b\"]", ""]);
    let (mut a, mut b) = (world.start(0, F::VERSION_1, 1), world.start(1, CONTROL, 1));
    let (mut device, agreed) = (b.device(), b.agreed);
    for (unicast, multicast, expected) in
        [(&[NOBODY][..], &[GROUP][..], [true, false, true, false]), (&[], &[], [false; 4])]
    {
        let control = b.control.as_mut().expect("a queue");
        control.set_filter(&mut device, &agreed, [unicast, multicast], || true).expect("done");
        assert_eq!(wanted(&world, &mut b, &mut a), expected);
    }
    let control = b.control.as_mut().expect("a queue");
    control.set_all_multicast(&mut device, &agreed, true, || true).expect("done");
    assert_eq!(wanted(&world, &mut b, &mut a), [false, false, true, true]);
    let control = b.control.as_mut().expect("a queue");
    control.set_promiscuous(&mut device, &agreed, true, || true).expect("done");
    assert_eq!(wanted(&world, &mut b, &mut a), [true; 4]);
}

#[test]
fn a_command_that_is_none_is_refused_and_changes_nothing() {
    let world = World::new(&["lan = [\"b\"]", "set_mac = true"]);
    let (mut a, mut b) = (world.start(0, F::VERSION_1, 1), world.start(1, CONTROL, 1));
    let all = [0xffu8; 1024];
    let mut commands: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0, 0],
        vec![0, 0, 2],
        vec![0, 0, 1, 0],
        vec![0, 1],
        vec![0, 1, 0xff],
        vec![1, 1],
        [&[1, 1][..], &NOBODY[..5]].concat(),
        [&[1, 1][..], &NOBODY, &[0]].concat(),
        vec![3, 0, 0],
        vec![4, 0, 1, 0],
        vec![4, 0],
    ];
    // Tables that are shorter or longer than they say, and numbers that no table has.
    let good = tables(&[NOBODY; 2], &[GROUP]);
    commands.extend((2..good.len()).map(|len| good[..len].to_vec()));
    commands.push([&good[..], &[0]].concat());
    for count in [3, 64, u32::MAX / 6 + 1, u32::MAX, 1 << 31] {
        commands.push([&[1, 0][..], &table(count, &[NOBODY; 2]), &table(1, &[GROUP])].concat());
        commands.push([&[1, 0][..], &table(2, &[NOBODY; 2]), &table(count, &[GROUP])].concat());
    }
    commands.extend(
        (0..=255)
            .flat_map(|class| (0..=255).map(move |number| [class, number]))
            .filter(|code| !matches!(code, [0 | 1, 0 | 1] | [3 | 4, 0]))
            .map(|code| [&code[..], &all].concat()),
    );
    for bytes in &commands {
        assert_eq!(world.network.borrow_mut().command(1, bytes), REFUSED, "{:?}", &bytes[..bytes.len().min(20)]);
    }
    assert_eq!(world.network.borrow_mut().command(9, &[0, 0, 1]), REFUSED, "no such VM");
    assert_eq!(wanted(&world, &mut b, &mut a), [false; 4]);
    assert_eq!(b.agreed.mac, mac(1));
}

#[test]
fn what_was_not_agreed_on_is_refused() {
    let world = World::new(&["set_mac = true"]);
    for (features, bytes) in [
        (CONTROL - F::CTRL_RX, vec![0, 0, 1]),
        (CONTROL - F::CTRL_RX, vec![0, 1, 1]),
        (CONTROL - F::CTRL_RX, tables(&[], &[])),
        (CONTROL - F::CTRL_MAC_ADDR, [&[1, 1][..], &NOBODY].concat()),
        (CONTROL - F::GUEST_ANNOUNCE, vec![3, 0]),
        (CONTROL, vec![4, 0, 1, 0]),
    ] {
        let _a = world.start(0, features, 1);
        assert_eq!(world.network.borrow_mut().command(0, &bytes), REFUSED, "{bytes:?}");
    }
}
