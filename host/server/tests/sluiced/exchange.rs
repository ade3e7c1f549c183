//! Frames between front-ends.

use crate::lab::*;

#[test]
fn two_front_ends_exchange_frames_whatever_their_rings() {
    for (one, other) in [(SPLIT, SPLIT), (PACKED, SPLIT), (PACKED, PACKED)] {
        let lab = Lab::new(&pair());
        let (mut a, mut b) = (lab.connect('a', one), lab.connect('b', other));
        for round in 0..20 {
            let numbers = round * 100..round * 100 + 100;
            send(&mut a, mac('b'), mac('a'), numbers.clone());
            assert!(take_all(&mut b, 100).into_iter().eq(numbers.clone()), "in order");
            send(&mut b, BROADCAST, mac('b'), numbers.clone());
            assert!(take_all(&mut a, 100).into_iter().eq(numbers), "in order");
        }
        let status = lab.status('a');
        let counters = &status["counters"];
        assert_eq!((counters["taken"].as_u64(), counters["forwarded"].as_u64()), (Some(2_000), Some(2_000)));
        assert_eq!(
            (status["taken_bytes"].as_u64(), status["forwarded_bytes"].as_u64()),
            (Some(128_000), Some(128_000))
        );
        assert_eq!(status["rings"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn a_denied_pair_gets_nothing_and_the_drop_is_counted() {
    let lab = Lab::new(&(vm('a', "lan = [\"c\"]") + &vm('b', "") + &vm('c', "lan = [\"a\"]")));
    let [mut a, mut b, mut c] = ['a', 'b', 'c'].map(|vm| lab.connect(vm, SPLIT));
    send(&mut a, mac('b'), mac('a'), 0..10);
    send(&mut a, BROADCAST, mac('a'), 10..11);
    send(&mut b, BROADCAST, mac('b'), 11..12);
    assert_eq!(take_all(&mut c, 1), [10], "the broadcast alone");
    lab.until('b', |b| b["counters"]["denied"] == 1);
    assert_eq!(lab.counter('a', "denied"), 10);
    [&mut a, &mut b, &mut c].into_iter().for_each(nothing);
}

#[test]
fn nobody_sends_from_the_address_of_another() {
    let lab = Lab::new(&(pair() + &vm('c', "lan = [\"b\"]\nmacs = [\"02:00:00:00:00:99\"]")));
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    send(&mut c, mac('b'), mac('a'), 0..1);
    send(&mut c, mac('b'), [2, 0, 0, 0, 0, 0x99], 1..2);
    assert_eq!(take_all(&mut b, 1), [1]);
    assert_eq!(lab.counter('c', "source_refused"), 1);
}

#[test]
fn who_sleeps_is_notified_and_an_idle_server_is_woken() {
    let lab = Lab::new(&pair());
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    let start = std::time::Instant::now();
    for number in 0..20 {
        b.ask_for_notifications(0).expect("asked");
        // The server sleeps by now.
        std::thread::sleep(std::time::Duration::from_millis(3));
        send(&mut a, mac('b'), mac('a'), number..number + 1);
        assert!(b.wait(0, PATIENCE).expect("an event"), "frame {number}");
        assert_eq!(take(&mut b), Some(number));
    }
    // A server that nobody wakes looks by itself each second.
    assert!(start.elapsed().as_secs() < 10, "{:?} for 20 frames", start.elapsed());
}

#[test]
fn frames_beyond_the_rate_are_dropped_and_counted() {
    let lab = Lab::new(&(vm('a', "lan = [\"b\"]\nlimit = { packets_per_second = 10 }") + &vm('b', "")));
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    send(&mut a, mac('b'), mac('a'), 0..100);
    lab.until('a', |a| a["counters"]["taken"] == 100);
    let limited = lab.counter('a', "limited");
    assert!((60..100).contains(&limited), "{limited}");
    assert_eq!(take_all(&mut b, 100 - limited as usize).len(), 100 - limited as usize);
    nothing(&mut b);
}
