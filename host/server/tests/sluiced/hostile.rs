//! Front-ends that break the rules, beside others that do not.

use crate::lab::*;
use sluice_abi::Gpa;
use sluice_abi::net::F;
use sluice_abi::virtq::{Desc, DescF};
use sluice_vhost_user::memory::Mapping;
use sluice_vhost_user::{Frontend, Request};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend as Messages, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::EventFd;

/// Three VMs: b and c may send to each other, and to a.
fn three() -> String {
    vm('a', "lan = [\"b\"]") + &vm('b', "lan = [\"c\", \"a\"]") + &vm('c', "lan = [\"b\", \"a\"]")
}

/// Asserts that b and c exchange frames.
#[track_caller]
pub fn others_go_on(b: &mut Frontend, c: &mut Frontend) {
    send(b, mac('c'), mac('b'), 0..50);
    assert_eq!(take_all(c, 50).len(), 50);
    send(c, mac('b'), mac('c'), 0..50);
    assert_eq!(take_all(b, 50).len(), 50);
}

/// A message of these words.
pub fn message(request: u32, body: &[u64]) -> Vec<u8> {
    let head = [request, 1, 8 * body.len() as u32];
    head.iter().flat_map(|word| word.to_le_bytes()).chain(body.iter().flat_map(|word| word.to_le_bytes())).collect()
}

#[test]
fn messages_that_break_the_rules_end_their_session_alone() {
    let lab = Lab::new(&three());
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    for bytes in [
        message(2, &[1 << 63]),
        message(5, &[1, 0, 4_096, 0, 0]),
        message(8, &[64 | 256 << 32]),
        message(12, &[0]),
        message(99, &[]),
        vec![0xff; 300],
    ] {
        let mut socket = UnixStream::connect(lab.socket('a')).expect("a socket");
        socket.write_all(&bytes).expect("sent");
        lab.until('a', |a| a["connected_seconds"].is_null() && !a["last_end"].is_null());
        others_go_on(&mut b, &mut c);
    }
    let mut a = lab.connect('a', SPLIT);
    send(&mut a, mac('b'), mac('a'), 9..10);
    assert_eq!(take_all(&mut b, 1), [9], "the socket goes on");
}

#[test]
fn who_sends_half_a_message_holds_nobody() {
    let lab = Lab::new(&three());
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    for half in [1, 5, 11, 12, 15] {
        let mut socket = UnixStream::connect(lab.socket('a')).expect("a socket");
        socket.write_all(&message(2, &[0])[..half]).expect("sent");
        others_go_on(&mut b, &mut c);
        drop(socket);
        lab.until('a', |a| a["connected_seconds"].is_null());
    }
}

/// A front-end whose rings the test writes itself.
pub struct Raw {
    pub messages: Messages,
    /// The same socket.
    pub socket: UnixStream,
    pub memory: Mapping,
    _file: File,
    call: EventFd,
    kick: EventFd,
}

/// Where its rings lie, and how large its memory is, bytes.
pub const AREAS: [u64; 3] = [0, 0x1000, 0x2000];
const BUFFER: u64 = 0x4000;
const LEN: u64 = 0x1_0000;

impl Raw {
    /// Connects as VM a, with a transmit queue and a receive queue in the same place.
    fn connect(lab: &Lab) -> Self {
        Self::connect_as(lab, 'a')
    }

    /// The same as another VM.
    pub fn connect_as(lab: &Lab, vm: char) -> Self {
        let socket = UnixStream::connect(lab.socket(vm)).expect("a socket");
        let (memory, file) = Mapping::shared(LEN).expect("memory");
        // The event blocks whoever writes when it is full.
        let (call, kick) = (EventFd::new(0).expect("an event"), EventFd::new(0).expect("an event"));
        let same = socket.try_clone().expect("a copy");
        Self { messages: Messages::from_stream(socket, 4), socket: same, memory, _file: file, call, kick }
    }

    /// Starts ring `index`.
    fn start(&mut self, index: usize) {
        self.start_with(index, F::VERSION_1);
    }

    /// Starts ring `index`, of a driver with `features`.
    pub fn start_with(&mut self, index: usize, features: F) {
        let user = self.memory.slice().as_ptr() as u64;
        let Self { messages, call, kick, _file: file, .. } = self;
        messages.set_owner().expect("sent");
        let _ = messages.get_features().expect("answered");
        let _ = messages.get_protocol_features().expect("answered");
        let protocol = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::LOG_SHMFD;
        messages.set_protocol_features(protocol).expect("sent");
        let features = features.bits() | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        messages.set_features(features).expect("sent");
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: LEN,
            userspace_addr: user,
            mmap_offset: 0,
            mmap_handle: file.as_raw_fd(),
        };
        messages.set_mem_table(&[region]).expect("sent");
        messages.set_vring_num(index, 8).expect("sent");
        messages.set_vring_base(index, 0).expect("sent");
        let config = VringConfigData {
            desc_table_addr: user + AREAS[0],
            avail_ring_addr: user + AREAS[1],
            used_ring_addr: user + AREAS[2],
            ..VringConfigData::default()
        };
        messages.set_vring_addr(index, &config).expect("sent");
        messages.set_vring_call(index, call).expect("sent");
        messages.set_vring_kick(index, kick).expect("sent");
        messages.set_vring_enable(index, true).expect("sent");
    }

    /// Makes a buffer available, and says that `count` are.
    fn give(&self, flags: DescF, count: u16) {
        let (slice, desc) = (self.memory.slice(), Desc { addr: Gpa(BUFFER), len: 2_048, flags: flags.bits(), next: 0 });
        slice.write(AREAS[0], desc).expect("inside");
        slice.write(AREAS[1] + 2, count).expect("inside");
        self.kick.write(1).expect("notified");
    }
}

#[test]
fn a_ring_that_breaks_the_protocol_ends_its_session_alone() {
    let lab = Lab::new(&three());
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let mut raw = Raw::connect(&lab);
    raw.start(1);
    lab.until('a', |a| a["rings"].as_array().is_some_and(|rings| rings.len() == 1));
    raw.give(DescF::empty(), 100);
    lab.until('a', |a| a["last_end"] == "ring 1: AvailIdx");
    assert_eq!(lab.counter('a', "broken"), 1);
    others_go_on(&mut b, &mut c);
    drop(lab.connect('a', SPLIT));
}

#[test]
fn a_call_event_that_is_full_holds_nobody() {
    let lab = Lab::new(&three());
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let mut raw = Raw::connect(&lab);
    raw.start(0);
    lab.until('a', |a| a["rings"].as_array().is_some_and(|rings| rings.len() == 1));
    raw.call.write(u64::MAX - 1).expect("full");
    raw.give(DescF::WRITE, 1);
    send(&mut b, mac('a'), mac('b'), 3..4);
    lab.until('a', |a| a["counters"]["forwarded"] == 1);
    assert_eq!(lab.counter('a', "notified"), 1);
    others_go_on(&mut b, &mut c);
}

#[test]
fn a_thousand_connects_leave_nothing_behind() {
    let lab = Lab::new(&three());
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    drop(lab.connect('a', SPLIT));
    lab.until('a', |a| a["connected_seconds"].is_null());
    let before = lab.open();
    for round in 0..1_000 {
        let mut socket = UnixStream::connect(lab.socket('a')).expect("a socket");
        match round % 4 {
            0 => {}
            1 => socket.write_all(&message(99, &[])).expect("sent"),
            2 => drop(Frontend::connect(&lab.socket('a'), &Request { features: SPLIT, pairs: 1, size: 256 })),
            _ => {
                drop(socket);
                drop(Frontend::connect(&lab.socket('a'), &Request { features: SPLIT, pairs: 1, size: 256 }));
            }
        }
    }
    lab.until('a', |a| a["connected_seconds"].is_null());
    let start = Instant::now();
    // A client that asked for the state may have been there before, or be there still.
    let has_more = |now: (usize, usize)| now.0 > before.0 || now.1 > before.1;
    while has_more(lab.open()) {
        assert!(start.elapsed() < PATIENCE, "{:?} are open, and {before:?} were", lab.open());
    }
    others_go_on(&mut b, &mut c);
}
