//! Processes that fill packed queues by themselves.

use crate::lab::*;
use crate::stranger::Stranger;
use crate::watch::{Watch, count_of, lab, until_any};
use crate::windows::{self, Receiver, generator, policy};
use sluice_abi::mmio::reg;
use sluice_abi::net::F;
use sluice_abi::packed::DescF;
use sluice_abi::queue_lock::{FREE, JOURNAL, Progress, number_of, word};
use sluice_vhost_user::{Frontend, Request};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Two queue pairs of packed rings, whose size is no power of two.
const PAIRS: Request = Request { features: PACKED.union(F::MQ), pairs: 2, size: 100 };
/// One, which everybody shares.
const SHARED: Request = Request { features: PACKED, pairs: 1, size: 7 };

/// Takes what a process of `frames` frames of several lengths sends, each byte of it.
fn take_in_order(lab: &Lab, b: &mut Frontend, frames: u64) {
    let process = generator(lab, &["length=64,594,1514", &format!("count={frames}")]);
    let start = Instant::now();
    for number in 0..frames {
        let frame = loop {
            match windows::take_from_window(b) {
                Some(frame) => break frame,
                None => assert!(start.elapsed() < Duration::from_secs(60), "{number} frames"),
            }
        };
        assert_eq!(frame, (number, [64, 594, 1514][number as usize % 3]), "in order, none lost, none twice");
    }
    let output = process.wait_with_output().expect("an end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(windows::take_from_window(b).is_none());
}

#[test]
fn a_process_fills_a_packed_queue_of_a_front_end_by_itself() {
    const FRAMES: u64 = 10_000;
    for (features, buffer_len) in [(F::empty(), 2_048), (F::IN_ORDER, 2_048), (F::MRG_RXBUF, 200)] {
        let lab = Lab::new(&policy());
        let request = Request { features: PAIRS.features | features, ..PAIRS };
        let mut b = Frontend::connect_with_buffers(&lab.socket('b'), &request, buffer_len).expect("a session");
        take_in_order(&lab, &mut b, FRAMES);
        lab.until('g', |g| g["connected_seconds"].is_null());
        take_in_order(&lab, &mut b, 100);
        assert_eq!(lab.counter('g', "taken"), 0, "the switch has no part in it");
    }
}

#[test]
fn a_packed_queue_that_is_stopped_while_a_process_fills_it_stands_behind_the_last_frame() {
    windows::stop_while_a_process_fills(&PAIRS);
}

#[test]
fn a_process_that_is_killed_leaves_a_packed_queue_that_the_next_one_fills() {
    windows::kill_processes(50, &PAIRS);
}

#[test]
#[ignore = "minutes"]
fn killed_200_times_a_process_leaves_a_packed_queue_that_the_next_one_fills() {
    windows::kill_processes(200, &PAIRS);
}

#[test]
fn a_process_goes_on_with_the_next_front_end_whose_rings_are_packed() {
    windows::leave_a_process(20, &PAIRS);
}

/// A driver that sleeps is notified of what a window brings.
#[test]
fn the_driver_of_a_packed_queue_is_notified_of_what_a_window_brings() {
    let lab = Lab::new(&policy());
    let mut b = Receiver::with(&lab, &PAIRS);
    for _ in 0..20 {
        b.front.ask_for_notifications(1).expect("asked");
        let process = generator(&lab, &["count=1"]);
        assert!(b.front.wait(1, PATIENCE).expect("an event"));
        assert!(b.take());
        assert!(process.wait_with_output().expect("an end").status.success());
        lab.until('g', |g| g["connected_seconds"].is_null());
        b.begin_again();
    }
}

/// A process that is killed behind each of the stores of a burst: from taking the lock to leaving it.
#[test]
fn a_burst_in_a_packed_queue_whose_process_is_killed_at_any_store_is_there_as_a_whole_or_not_at_all() {
    const FRAMES: u16 = 3;
    let lab = lab();
    let (mut b, mut c) = (lab.connect_with('b', &SHARED), lab.connect('c', SPLIT));
    let mut watch = Watch::new(&lab);
    let (mut published, mut completed, mut rounds, mut is_over) = ([false; 2], false, 0, false);
    while !is_over {
        rounds += 1;
        let before = watch.progress();
        let g = watch.stop_behind_a_store(&lab, FRAMES, rounds);
        is_over = watch.owner() == FREE;
        let at = watch.progress();
        let is_begun = at.burst > 0 || at != before;
        assert!(!is_over || at.burst == 0 && at != before, "what is filled is published before the lock is left");
        assert!(at.burst == 0 || at.published == before.published);
        completed |= at.burst > 0;
        assert!(is_begun || watch.are_available(before.position, FRAMES), "the ring is written behind the journal");
        g.kill();
        watch.until_free();
        lab.until('g', |g| g["connected_seconds"].is_null());
        let after = watch.progress();
        let filled = if is_begun { FRAMES } else { 0 };
        assert_eq!((after.burst, after.published), (0, before.published + u32::from(filled)), "after {rounds} stores");
        // Others go on behind it.
        send(&mut c, mac('b'), mac('c'), rounds..rounds + 1);
        let all: Vec<_> = (0..=filled).map(|_| until_any(&mut b)).collect();
        let whole: Vec<_> = (0..u64::from(filled)).map(|number| ('g', number)).chain([('c', rounds.into())]).collect();
        assert_eq!(all, whole, "after {rounds} stores");
        published[usize::from(filled > 0)] = true;
    }
    assert!(published == [true; 2] && completed, "it was killed before and behind what decides");
    // The lock, frames of at least two stores, journal and ring, the progress twice, the counter, and the lock again.
    assert!(rounds >= 5 + 4 * u32::from(FRAMES), "{rounds} stores");
    assert_eq!(lab.counter('b', "full"), 0, "nobody found the lock taken by who had ended");
}

#[test]
fn two_processes_and_the_switch_fill_the_one_packed_queue_of_a_front_end() {
    crate::shared::fill_the_one_queue(&Request { size: 200, ..SHARED });
}

/// A random number generator: xorshift64.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Whatever stands in the journal, the server writes used descriptors into the ring, and nothing else.
#[test]
fn a_journal_of_nonsense_is_written_into_the_ring_and_nowhere_else() {
    let lab = lab();
    let (mut b, mut c) = (lab.connect_with('b', &SHARED), lab.connect('c', SPLIT));
    let (watch, mut state) = (Watch::new(&lab), 0x9e37_79b9_7f4a_7c15);
    let all = || {
        let mut bytes = vec![0; watch.memory.metadata().expect("a file").len() as usize];
        watch.memory.read_exact_at(&mut bytes, 0).expect("a memory");
        bytes
    };
    for round in 0..40 {
        let (before, memory) = (watch.progress(), all());
        for place in 0..256 {
            watch.lock.write_all_at(&random(&mut state).to_ne_bytes(), JOURNAL + 8 * place).expect("written");
        }
        let [slot, wrap, burst] = [7, 2, 8].map(|end| (random(&mut state) % end) as u16);
        let progress = Progress { position: slot | wrap << 15, burst, published: random(&mut state) as u32 };
        watch.set_progress(progress.to_word());
        // An owner that is nobody, from whom the server takes the lock over.
        watch.set_owner(word(900, round));
        watch.until_free();
        let now = all();
        let ring = watch.desc(0) as usize;
        // Where buffers begin. In the half before it that is the transmit queue the server asks for notifications.
        let buffers = (0..7).map(|slot| watch.buffer(slot) as usize).min().expect("seven");
        let changed = (0..now.len()).filter(|&at| now[at] != memory[at]);
        for at in changed.filter(|at| !(buffers / 2..buffers).contains(at)) {
            assert!((ring..ring + 16 * 7).contains(&at) && (at - ring) % 16 >= 8, "byte {at:#x}, ring at {ring:#x}");
            let flags = u16::from_le_bytes(now[at / 16 * 16 + 14..at / 16 * 16 + 16].try_into().expect("two"));
            let flags = DescF::from_bits_retain(flags) - DescF::WRITE;
            assert!([true, false].map(DescF::used).contains(&flags), "{flags:?}");
        }
        // As it was, others go on with it.
        watch.memory.write_all_at(&memory[ring..ring + 16 * 7], ring as u64).expect("written");
        watch.set_progress(before.to_word());
        send(&mut c, mac('b'), mac('c'), u32::from(round)..u32::from(round) + 1);
        assert_eq!(until_any(&mut b), ('c', round.into()));
    }
    assert!(watch.h.sees(0));
}

/// Who leaves no position costs the peer its session, and others nothing.
#[test]
fn a_position_of_nonsense_ends_the_session_of_its_queue_and_others_go_on() {
    let lab = Lab::new(
        &(vm('g', "ram_mib = 4\npeers = [\"b\"]")
            + &vm('h', "ram_mib = 4\npeers = [\"b\"]")
            + &vm('b', "lan = [\"c\"]")
            + &vm('c', "lan = [\"b\", \"d\"]")
            + &vm('d', "lan = [\"c\"]")),
    );
    let (mut c, mut d) = (lab.connect('c', SPLIT), lab.connect('d', SPLIT));
    let position = |position, burst| Progress { position, burst, published: 3 }.to_word();
    let hostile =
        [position(7, 0), position(0x7fff, 0), position(0xffff, 1), position(0, 8), position(0, 257), u64::MAX];
    for (number, word) in (0..).zip(hostile) {
        let mut b = lab.connect_with('b', &SHARED);
        let watch = Watch::new(&lab);
        send(&mut c, mac('b'), mac('c'), number..number + 1);
        assert_eq!(until_any(&mut b), ('c', number.into()), "the one before is forgotten");
        watch.set_progress(word);
        send(&mut c, mac('d'), mac('c'), number..number + 1);
        assert_eq!(take_all(&mut d, 1), [number]);
        lab.until('b', |b| {
            b["last_end"].as_str().is_some_and(|why| why == "ring 0: a window left no position in its lock")
        });
        watch.h.until_it_sees(0, false);
        assert_eq!(count_of(&mut b, 'c'), 0);
    }
}

/// A queue of its own has a lock of its own, which nobody else has.
#[test]
fn the_lock_of_a_packed_queue_is_handed_to_those_who_fill_it_alone() {
    let lab = lab();
    let request = Request { pairs: 3, ..PAIRS };
    let _b = lab.connect_with('b', &request);
    let lock_of = |vm| {
        let process = Stranger::connect(&lab, vm);
        let file = loop {
            let (.., files) = process.placement();
            process.placed(0, 0);
            if process.comes_to_see(0) {
                break rustix::fs::fstat(files.last().expect("a lock")).expect("a file").st_ino;
            }
        };
        (process.peer(0).queues[0].index, process.peer(0).queues[0].owner, file, process)
    };
    let ((g_index, g_owner, g_lock, _g), (h_index, h_owner, h_lock, _h)) = (lock_of('g'), lock_of('h'));
    assert_eq!([(g_index, g_owner), (h_index, h_owner)], [(2, number_of(0)), (4, number_of(1))]);
    assert_ne!(g_lock, h_lock);
}

/// The packed queue of a process is filled as that of a front-end.
#[test]
fn a_packed_queue_of_a_process_is_shown_with_a_lock() {
    let lab = Lab::new(&(vm('g', "ram_mib = 4\npeers = [\"f\"]") + &vm('f', "ram_mib = 4")));
    let (g, mut f) = (Stranger::connect(&lab, 'g'), Stranger::connect(&lab, 'f'));
    start(&mut f, F::RING_PACKED);
    g.open();
    assert_eq!(g.peer(0).queues[0].owner, number_of(0));
    start(&mut f, F::empty());
    let begin = Instant::now();
    while !g.sees(0) || g.peer(0).queues[0].owner != 0 {
        assert!(begin.elapsed() < PATIENCE, "a split ring says where its producer came");
    }
}

/// A program in a VM has no device with a lock.
#[test]
fn a_program_in_a_vm_is_shown_no_packed_queue_and_the_log_says_so() {
    let lab = Lab::new(&(vm('g', "ram_mib = 6\nwindow_file = \"g.window\"\npeers = [\"b\"]") + &vm('b', "")));
    let b = lab.connect_with('b', &PAIRS);
    let mut g = Stranger::in_vm(&lab, 'g', "g.window");
    let pages = (b.memory_len() / 4_096) as u32;
    assert_eq!(g.request([5, 0, pages, 0]).ok(), Some(0));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(100) {
        assert!(!g.sees(0));
    }
    drop(b);
    let log = std::fs::read_to_string(lab.file("log")).expect("a log");
    assert_eq!(log.matches("a program in a VM has no lock for it").count(), 1, "{log}");
    let split = Request { features: SPLIT | F::MQ, ..windows::PAIRS };
    let b = lab.connect_with('b', &split);
    let pages = (b.memory_len() / 4_096) as u32;
    assert_eq!(g.request([5, 0, pages, 0]).ok(), Some(0));
    g.until_it_sees(0, true);
}

/// Has the driver of `f` begin with one queue.
fn start(f: &mut Stranger, features: F) {
    let features = F::VERSION_1 | features;
    f.write(&[(reg::STATUS, 0), (reg::DRIVER_FEATURES_SEL, 1)]);
    f.write(&[(reg::DRIVER_FEATURES, (features.bits() >> 32) as u32), (reg::STATUS, 11), (reg::QUEUE_SIZE, 64)]);
    f.write(&[(reg::QUEUE_DRIVER_LOW, 0x1000), (reg::QUEUE_DEVICE_LOW, 0x2000)]);
    f.write(&[(reg::QUEUE_READY, 1), (reg::STATUS, 15)]);
    assert_eq!(f.request([0, reg::STATUS, 0, 0]).ok(), Some(15));
}
