//! Windows of processes that close, or do not open.

use crate::hostile::{Raw, message};
use crate::lab::*;
use crate::processes::{lab, others};
use crate::stranger::Stranger;
use crate::windows::PAIRS;
use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sluice_abi::directory::Queue;
use sluice_abi::net::F;
use sluice_abi::virtq::used;
use sluice_vhost_user::Request;
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use vhost::VhostBackend;
use vhost::vhost_user::message::VhostUserVirtioFeatures;

/// The memory and the queue of the peer at index 0, as one placement and the directory showed them.
struct Seen {
    memory: File,
    queue: Queue,
    /// Where in the file the used ring is.
    used: u64,
}

impl Seen {
    /// Takes the placement, and says that it is mapped.
    #[track_caller]
    fn open(g: &Stranger) -> Self {
        let (_, places, files) = g.placement();
        g.placed(0, 0);
        g.until_it_sees(0, true);
        let peer = g.peer(0);
        let (region, queue) = (peer.regions[0], peer.queues[0]);
        assert_eq!(region.slot_offset, places[0].slot_offset);
        let used = queue.addresses.device.0 - region.gpa.0 + places[0].file_offset;
        Self { memory: files.into_iter().next().expect("a file").into(), queue, used }
    }

    /// Says that there are `count` used entries in the queue.
    fn fill(&self, count: u16) {
        self.memory.write_all_at(&count.to_le_bytes(), self.used + used::IDX).expect("written");
    }
}

/// The message that stops a ring waits for a call that began before, and its answer is behind what that brought.
#[test]
fn a_ring_stops_behind_what_the_last_call_brought() {
    let lab = lab();
    let (mut b, _c) = others(&lab);
    let mut g = Stranger::connect(&lab, 'g');
    let seen = Seen::open(&g);
    g.call(41);
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            g.until_it_sees(0, false);
            std::thread::sleep(Duration::from_millis(200));
            assert!(!stopped.load(Ordering::Acquire), "the call has not ended");
            seen.fill(5);
            g.call(42);
        });
        assert_eq!(b.stop().expect("positions")[2], 5);
        stopped.store(true, Ordering::Release);
    });
    b.start().expect("rings");
    g.open();
    assert_eq!(g.peer(0).queues[0].base, 5, "whoever fills it goes on there");
    assert!(g.child.try_wait().expect("a state").is_none(), "it left in time");
}

/// Whoever stays in a call is ended, and until then nobody sees the peer whose message waits.
#[test]
fn a_ring_stops_once_who_stays_in_a_call_has_ended() {
    let lab =
        Lab::new(&(vm('g', "ram_mib = 4\npeers = [\"b\"]") + &vm('h', "ram_mib = 4\npeers = [\"b\"]") + &vm('b', "")));
    let mut b = lab.connect_with('b', &Request { pairs: 3, ..PAIRS });
    let (g, h) = (Stranger::connect(&lab, 'g'), Stranger::connect(&lab, 'h'));
    g.open();
    h.open();
    g.call(1);
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            h.until_it_sees(0, false);
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(600) {
                let goes_on = stopped.load(Ordering::Acquire);
                assert!(!h.sees(0) && !goes_on, "a message waits for the windows to close");
            }
        });
        let start = Instant::now();
        b.stop().expect("positions");
        stopped.store(true, Ordering::Release);
        let took = start.elapsed();
        assert!((Duration::from_millis(900)..PATIENCE / 2).contains(&took), "{took:?}");
    });
    g.ends(&lab, 'g', "stays in a call");
    b.start().expect("rings");
    h.open();
}

/// The memory of a VM that has left is nobody's: its host may need it.
#[test]
fn the_memory_of_a_peer_that_has_left_is_given_back_once_no_call_uses_it() {
    let lab = lab();
    let (b, _c) = others(&lab);
    let g = Stranger::connect(&lab, 'g');
    g.open();
    g.call(1);
    drop(b);
    g.until_it_sees(0, false);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        assert!(!g.has_placement(), "a call goes on");
    }
    g.call(2);
    let (peer, places, _) = g.placement();
    assert_eq!((peer, places.len()), (0, 0), "nothing is mapped any more");
    g.placed(0, 0);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!g.has_placement(), "once");
    let _b = lab.connect_with('b', &PAIRS);
    g.open();
}

/// What windows write is in no log of a migration.
#[test]
fn memory_that_is_logged_is_shown_to_nobody() {
    let lab = lab();
    let features = F::VERSION_1 | F::MQ;
    let mut b = Raw::connect_as(&lab, 'b');
    b.start_with(2, features);
    let g = Stranger::connect(&lab, 'g');
    g.open();
    let log = tempfile::tempfile().expect("a file");
    log.set_len(4_096).expect("room");
    // SET_LOG_BASE, with the log. Its answer is a header.
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let (mut control, files) = (SendAncillaryBuffer::new(&mut space), [log.as_fd()]);
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    let message = message(6, &[4_096, 0]);
    sendmsg(&b.socket, &[IoSlice::new(&message)], &mut control, SendFlags::empty()).expect("sent");
    b.socket.set_read_timeout(Some(PATIENCE)).expect("set");
    b.socket.read_exact(&mut [0; 12]).expect("an answer");
    // Nothing is logged yet.
    g.until_it_sees(0, true);
    let all = features.bits() | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
    b.messages.set_features(all | VhostUserVirtioFeatures::LOG_ALL.bits()).expect("sent");
    g.until_it_sees(0, false);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        assert!(!g.sees(0), "it is logged");
    }
    // The migration was given up.
    b.messages.set_features(all).expect("sent");
    g.until_it_sees(0, true);
}

/// The ring that stops first, too: nobody has looked at it since the call ended.
#[test]
fn a_ring_that_nobody_fills_any_more_stops_behind_the_last_frame() {
    let lab = lab();
    let mut b = Raw::connect_as(&lab, 'b');
    b.start_with(2, F::VERSION_1 | F::MQ);
    let g = Stranger::connect(&lab, 'g');
    let seen = Seen::open(&g);
    g.call(1);
    b.socket.set_read_timeout(Some(PATIENCE)).expect("set");
    b.socket.write_all(&message(11, &[2])).expect("sent");
    g.until_it_sees(0, false);
    seen.fill(7);
    g.call(2);
    let mut answer = [0; 20];
    b.socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer[16], 7, "GET_VRING_BASE");
    lab.until('g', |g| g["windows"][0]["frames"] == 7);
}

/// Several messages may come at once, but each is taken as if it came alone.
#[test]
fn a_ring_that_stops_and_starts_at_once_is_another_one() {
    let lab = lab();
    let mut b = Raw::connect_as(&lab, 'b');
    b.start_with(2, F::VERSION_1 | F::MQ);
    let g = Stranger::connect(&lab, 'g');
    let seen = Seen::open(&g);
    seen.fill(3);
    lab.until('g', |g| g["windows"][0]["frames"] == 3);
    // GET_VRING_BASE, SET_VRING_BASE to 0, SET_VRING_KICK without an event.
    b.socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let begun = [message(11, &[2]), message(10, &[2]), message(12, &[2 | 1 << 8])].concat();
    b.socket.write_all(&begun).expect("sent");
    let mut answer = [0; 20];
    b.socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer[16], 3, "where it stood");
    let start = Instant::now();
    while !g.sees(0) || g.peer(0).queues[0].start == seen.queue.start {
        assert!(start.elapsed() < PATIENCE, "it is the same, and who filled it would go on: {:?}", g.peer(0).queues[0]);
    }
}

/// What a process says of its calls is its own, and holds nobody for longer than one does.
#[test]
fn processes_that_stay_in_calls_hold_a_reload_for_one_of_them() {
    let names = ['p', 'q', 'r', 's'];
    let table = |name: char| {
        let peer = name.to_ascii_lowercase() as u8 - b'p' + b'w';
        vm(name, &format!("ram_mib = 4\npeers = [\"{}\"]", peer as char)) + &vm(peer as char, "")
    };
    let lab = Lab::new(&names.map(table).concat());
    let _peers = ['w', 'x', 'y', 'z'].map(|peer| lab.connect_with(peer, &PAIRS));
    let all = names.map(|name| {
        let process = Stranger::connect(&lab, name);
        process.open();
        process.call(1);
        process
    });
    let start = Instant::now();
    assert!(lab.ask(&["reload"]).status.success());
    assert!(start.elapsed() < Duration::from_secs(3), "a second for each: {:?}", start.elapsed());
    for (process, name) in all.into_iter().zip(names) {
        process.ends(&lab, name, "stays in a call");
    }
}
