//! Sleeps of a machine that has nothing to receive.

use super::*;
use sluice::{Idle, Next, Poller, Transmit, Wait, WatchWord};
use std::time::Duration;

const A_WHILE: Duration = Duration::from_millis(1);

/// A machine that lets something happen while it sleeps, and notes whether the word changed.
struct Machine<H> {
    meanwhile: H,
    woken: Vec<bool>,
}

impl<H: FnMut()> Wait for Machine<H> {
    fn wait(&mut self, word: WatchWord, _: Duration) {
        (self.meanwhile)();
        self.woken.push(word.memory.read::<u32>(0).expect("four bytes") != word.seen);
    }
}

#[test]
fn a_frame_that_comes_while_the_machine_sleeps_changes_the_word() {
    for format in RingFormat::ALL {
        for features in [F::empty(), F::EVENT_IDX] {
            let lan = Lan::two();
            let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, Options { features, ..options(format) }));
            for round in 0..100 {
                let sends = round % 3 != 0;
                let mut frames = a.burst(&[frame(mac(1), mac(0), round)]);
                let meanwhile = || {
                    if sends {
                        assert_eq!(a.net.tx_burst(&mut frames, MAX_BURST), Ok(1));
                    }
                };
                let mut machine = Machine { meanwhile, woken: Vec::new() };
                assert!(b.net.sleep(&mut machine, A_WHILE));
                assert_eq!((machine.woken, b.received().len()), (vec![sends], usize::from(sends)), "{format:?}");
            }
        }
    }
}

/// A frame arrives between the last poll and the request for a notification: the queues are checked once more.
#[test]
fn no_machine_sleeps_while_a_frame_is_there() {
    for format in RingFormat::ALL {
        let lan = Lan::two();
        let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(format)));
        for mark in 0..100 {
            a.net.tx_burst(&mut a.burst(&[frame(mac(1), mac(0), mark)]), MAX_BURST).expect("room");
            let mut machine = Machine { meanwhile: || (), woken: Vec::new() };
            assert!(!b.net.sleep(&mut machine, A_WHILE));
            assert_eq!((machine.woken.len(), b.received().len()), (0, 1), "{format:?}");
        }
    }
}

/// Returns whether the driver side of VM b's receive queue asks for notifications, in a ring without event index.
fn asks(lan: &Lan, format: RingFormat) -> bool {
    let (ram, at) = (lan.rams[1], lan.queue(1, receiveq(0)).addresses.driver.0);
    let offset = if format == RingFormat::Packed { 2 } else { 0 };
    ram.read::<u16>(at + offset).expect("inside") & 1 == 0
}

#[test]
fn notifications_are_asked_for_during_a_sleep_only() {
    for format in RingFormat::ALL {
        let lan = Lan::two();
        let mut b = lan.start(1, options(format));
        assert!(!asks(&lan, format));
        let mut asked = false;
        let mut machine = Machine { meanwhile: || asked = asks(&lan, format), woken: Vec::new() };
        assert!(b.net.sleep(&mut machine, A_WHILE));
        drop(machine);
        assert_eq!((asked, asks(&lan, format)), (true, false), "{format:?}");
    }
}

#[test]
fn no_machine_sleeps_on_a_queue_at_fault() {
    let lan = Lan::two();
    let mut b = lan.start(1, options(RingFormat::Split));
    let used = lan.queue(1, receiveq(0)).addresses.device.0;
    lan.rams[1].write(used + 2, 1000u16).expect("inside");
    let mut machine = Machine { meanwhile: || (), woken: Vec::new() };
    assert!(!b.net.sleep(&mut machine, A_WHILE));
}

#[test]
fn a_poller_pauses_before_it_sleeps_and_sleeps_longer_each_time() {
    let idle = Idle { first: Duration::from_micros(30), longest: Duration::from_micros(100) };
    let mut poller = Poller::new(idle);
    for _ in 0..3 {
        let polls = (0..1000).take_while(|_| poller.polled(0) == Next::Poll).count();
        assert!((5..100).contains(&polls), "{polls}");
        let sleeps = [(); 3].map(|()| poller.polled(0));
        assert_eq!(sleeps, [60, 100, 100].map(|us| Next::Sleep(Duration::from_micros(us))));
        assert_eq!((poller.polled(1), poller.polled(32)), (Next::Poll, Next::Poll));
    }
    let mut short = Poller::new(Idle { first: A_WHILE, longest: Duration::ZERO });
    let first = std::iter::repeat_with(|| short.polled(0)).find(|next| *next != Next::Poll);
    assert_eq!(first, Some(Next::Sleep(Duration::ZERO)));
}
