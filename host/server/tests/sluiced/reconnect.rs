//! Front-ends and servers that go away and come back.

use crate::lab::*;
use sluice_vhost_user::{Frontend, Request};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[test]
fn a_front_end_that_goes_away_may_come_back() {
    let lab = Lab::new(&pair());
    let mut b = lab.connect('b', SPLIT);
    for (round, features) in (0..20).zip([SPLIT, PACKED].into_iter().cycle()) {
        let mut a = lab.connect('a', features);
        send(&mut a, mac('b'), mac('a'), round..round + 1);
        assert_eq!(take_all(&mut b, 1), [round]);
        drop(a);
    }
    lab.until('a', |a| a["connects"] == 20 && a["connected_seconds"].is_null());
    // What goes to nobody is counted, and loses the sender nothing else.
    send(&mut b, mac('a'), mac('b'), 0..5);
    lab.until('a', |a| a["counters"]["no_queue"] == 5);
}

#[test]
fn a_second_front_end_is_refused_while_the_first_is_there() {
    let lab = Lab::new(&pair());
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    let request = Request { features: SPLIT, pairs: 1, size: 256 };
    assert!(Frontend::connect(&lab.socket('a'), &request).is_err());
    send(&mut a, mac('b'), mac('a'), 0..1);
    assert_eq!(take_all(&mut b, 1), [0]);
}

/// Connects `front` to the server that has taken the place of its own.
pub fn reconnect(lab: &Lab, vm: char, front: &mut Frontend) {
    let start = Instant::now();
    while let Err(error) = front.reconnect(&lab.socket(vm)) {
        assert!(start.elapsed() < PATIENCE, "{error}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A frame is in the server's own memory for a moment, taken and not forwarded. So each kill costs one frame at most,
/// and no other is lost, doubled or out of order.
fn kill_servers(kills: u32) {
    let mut lab = Lab::new(&pair());
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    let (mut sent, mut got, mut order) = (0, BTreeMap::<u32, u32>::new(), Vec::new());
    for kill in 0..=kills {
        let until = Instant::now() + Duration::from_millis(30 + u64::from(kill % 10) * 7);
        while Instant::now() < until {
            // At most a receive queue is on its way, so that the server never has to drop a frame.
            if sent - (order.len() as u32) < 100 {
                sent += u32::from(a.send(0, &frame(mac('b'), mac('a'), sent)).expect("a queue"));
                a.flush(0).expect("published");
            }
            order.extend(take(&mut b));
        }
        if kill < kills {
            lab.start_again(&pair());
            // The receiver first: what the sender has in its queue is forwarded as soon as it is there.
            reconnect(&lab, 'b', &mut b);
            lab.until('b', |b| b["rings"].as_array().is_some_and(|rings| rings.len() == 2));
            reconnect(&lab, 'a', &mut a);
        }
    }
    let last = Instant::now();
    while last.elapsed() < Duration::from_millis(300) {
        order.extend(take(&mut b));
    }
    order.iter().for_each(|&number| *got.entry(number).or_default() += 1);
    let lost = (0..sent).filter(|number| !got.contains_key(number)).count();
    let doubled = got.values().filter(|&&count| count > 1).count();
    assert!(lost + doubled <= kills as usize, "{lost} lost and {doubled} doubled of {sent}");
    assert!(order.is_sorted(), "in order");
    assert!(sent > 1_000, "{sent}");
    println!("{kills} kills: {lost} frames lost and {doubled} doubled of {sent}");
}

#[test]
fn a_server_that_is_killed_under_traffic_loses_no_frame_of_the_rings() {
    kill_servers(10);
}

#[test]
#[ignore = "minutes"]
fn killed_200_times_a_server_loses_no_frame_of_the_rings() {
    kill_servers(200);
}
