//! Any sequence of steps of a driver and of the device side against a model: what goes in comes out, once and in order,
//! each side is told when it asked to be, and all that is written is logged. The model counts without end; what the
//! queue keeps of it wraps around.

use super::*;
use crate::Regions;
use crate::driver::{Driver, Piece};
use crate::peer::{Memory, read};
use proptest::prelude::*;
use sluice_abi::net::{F, HDR_LEN, Hdr};
use sluice_abi::packed::event;
use sluice_memory::Words;
use std::collections::VecDeque;
use zerocopy::IntoBytes;

/// A step. Numbers are taken modulo what makes sense.
#[derive(Clone, Debug)]
enum Step {
    /// The driver gives a buffer of pieces of these lengths.
    Give {
        lens: Vec<u32>,
        indirect: bool,
    },
    /// The device uses a buffer, or as many as a frame of `len` bytes takes.
    Use {
        len: u32,
    },
    /// The device publishes what it used: at once; or once more, though nothing or all of it was published when it was
    /// interrupted.
    Publish,
    PublishAgain {
        done: bool,
    },
    /// It takes back what it used and did not publish.
    Rewind,
    /// It is left, and begun anew where it was.
    Resume,
    /// The driver takes what came back.
    Take,
    /// The driver asks for nothing, for everything, or to be told of the entry that is so much further on than the last
    /// that it was shown.
    DriverAsks {
        kind: u16,
        further: i64,
    },
    /// The device looks whether the driver is to be told.
    Notify,
    /// The device asks to be told of the next buffer, or not.
    DeviceAsks(bool),
    /// What the device writes is logged from now on, or not.
    Log(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::collection::vec(13..60u32, 1..4), any::<bool>())
            .prop_map(|(lens, indirect)| Step::Give { lens, indirect }),
        6 => (1..150u32).prop_map(|len| Step::Use { len }),
        3 => Just(Step::Publish),
        1 => any::<bool>().prop_map(|done| Step::PublishAgain { done }),
        1 => Just(Step::Rewind),
        1 => Just(Step::Resume),
        3 => Just(Step::Take),
        1 => (0..3u16, -40..40i64).prop_map(|(kind, further)| Step::DriverAsks { kind, further }),
        2 => Just(Step::Notify),
        1 => any::<bool>().prop_map(Step::DeviceAsks),
        1 => any::<bool>().prop_map(Step::Log),
    ]
}

/// A buffer that the driver gave.
#[derive(Clone, Debug)]
struct Given {
    pieces: Vec<Piece>,
    /// Descriptors of the ring.
    slots: u16,
    /// What is sent in it, without header.
    payload: Vec<u8>,
}

impl Given {
    fn len(&self) -> u32 {
        self.pieces.iter().map(|piece| piece.1).sum()
    }
}

struct Model {
    driver: Driver,
    queue: DeviceQueue,
    regions: Regions,
    features: F,
    /// The driver sends, else it receives.
    sends: bool,
    given: VecDeque<Given>,
    /// Used and not published, with the bytes that were written.
    pending: Vec<(Given, Vec<u8>)>,
    shown: VecDeque<Vec<u8>>,
    /// Entries, or slots of a packed ring, that were used, published, and considered for a notification.
    used: i64,
    published: i64,
    considered: i64,
    /// What the driver asks for: nothing, everything, or an entry.
    asked: (u16, i64),
    log: Memory,
    logs: bool,
    /// Frame that is sent to the driver, or room for one that it sends.
    frame: Memory,
    number: u8,
}

impl Model {
    fn new(size: u16, features: F, sends: bool, start: i64) -> Self {
        let packed = features.contains(F::RING_PACKED);
        let start = if packed { start.rem_euclid(2 * i64::from(size)) } else { start.rem_euclid(1 << 16) };
        let base = encode(start, packed, size);
        let driver = Driver::starting_at(size, features, base.into());
        let regions = driver.regions();
        let queue = DeviceQueue::resume(&driver.queue, &regions, base.into()).expect("lawful");
        Self {
            driver,
            queue,
            regions,
            features,
            sends,
            given: VecDeque::new(),
            pending: Vec::new(),
            shown: VecDeque::new(),
            used: start,
            published: start,
            considered: start,
            asked: (1, 0),
            log: Memory::new(&[0x9000]),
            logs: false,
            frame: Memory::new(&[4096]),
            number: 0,
        }
    }

    fn is_packed(&self) -> bool {
        self.features.contains(F::RING_PACKED)
    }

    fn encode(&self, at: i64) -> u16 {
        encode(at, self.is_packed(), self.queue.size())
    }

    fn bytes(&mut self, len: u32) -> Vec<u8> {
        self.number = self.number.wrapping_add(1);
        (0..len).map(|at| (at as u8).wrapping_mul(7).wrapping_add(self.number)).collect()
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Give { ref lens, indirect } => self.give(lens, indirect && self.features.contains(F::INDIRECT_DESC)),
            Step::Use { .. } if self.sends => self.dequeue(),
            Step::Use { len } => self.enqueue(len),
            Step::Publish => self.publish(|queue| queue.publish()),
            Step::PublishAgain { done: false } => self.publish(|queue| queue.publish_again()),
            Step::PublishAgain { done: true } => self.publish_late(),
            Step::Rewind => {
                self.queue.rewind();
                self.rewind();
            }
            Step::Resume => self.resume(),
            Step::Take => self.take(),
            Step::DriverAsks { kind, further } => self.driver_asks(kind, further),
            Step::Notify => self.notify(),
            Step::DeviceAsks(on) => self.device_asks(on),
            Step::Log(on) => self.set_log(on),
        }
        let available = self.queue.available().expect("lawful");
        let given = self.given.len() as u16;
        assert_eq!(available, if self.is_packed() { given.min(1) } else { given });
    }

    fn give(&mut self, lens: &[u32], indirect: bool) {
        let slots = if indirect { 1 } else { lens.len() as u16 };
        if lens.len() > self.queue.size().into() || !self.driver.has_room(slots) {
            return;
        }
        let pieces: Vec<_> = lens.iter().map(|&len| self.driver.piece(len, !self.sends)).collect();
        let mut payload = Vec::new();
        if self.sends {
            payload = self.bytes(lens.iter().sum::<u32>() - HDR_LEN);
            self.driver.put(&pieces, &[&[0; HDR_LEN as usize], &payload[..]].concat());
        }
        self.driver.give(&pieces, indirect);
        self.given.push_back(Given { pieces, slots, payload });
    }

    fn dequeue(&mut self) {
        let got = self.queue.dequeue(&self.regions, self.frame.run(0), Words);
        let Some(given) = self.given.pop_front() else { return assert_eq!(got, Ok(Dequeue::Empty)) };
        let len = given.payload.len() as u32;
        assert_eq!(got, Ok(Dequeue::Frame { hdr: Hdr::default(), len }));
        assert_eq!(read(self.frame.run(0), 0, len.into()), given.payload);
        self.use_chain(given, Vec::new());
    }

    fn enqueue(&mut self, len: u32) {
        let payload = self.bytes(len);
        let frame = self.frame.run(0).sub(0, len.into()).expect("inside");
        frame.copy_from_slice(0, &payload).expect("inside");
        self.clear_log();
        let done = self.queue.enqueue(&self.regions, &Hdr::default(), frame, 1, Words);
        let (expected, count) = self.expected(HDR_LEN + len);
        assert_eq!(done, Ok(expected));
        if expected == Enqueue::Filled {
            let hdr = Hdr { num_buffers: count as u16, ..Hdr::default() };
            self.fill(count, &[hdr.as_bytes(), &payload].concat());
        }
    }

    /// What becomes of a frame of `len` bytes with its header, and how many buffers it takes.
    fn expected(&self, len: u32) -> (Enqueue, usize) {
        let most = if self.features.contains(F::MRG_RXBUF) { usize::MAX } else { 1 };
        let (mut room, mut slots) = (0, 0);
        for (at, given) in self.given.iter().take(most).enumerate() {
            room += given.len();
            slots += given.slots;
            if room >= len {
                return (Enqueue::Filled, at + 1);
            }
        }
        let hopeless = slots == self.queue.size() || slots > 0 && most == 1;
        (if hopeless { Enqueue::TooLong } else { Enqueue::Full }, 0)
    }

    fn fill(&mut self, count: usize, mut bytes: &[u8]) {
        for _ in 0..count {
            let given = self.given.pop_front().expect("counted");
            let (now, rest) = bytes.split_at(bytes.len().min(given.len() as usize));
            let mut left = now.len() as u64;
            for &(at, len, _) in &given.pieces {
                let written = left.min(len.into());
                if written > 0 {
                    assert_eq!([self.is_logged(at), self.is_logged(at + written - 1)], [self.logs; 2]);
                }
                left -= written;
            }
            self.use_chain(given, now.to_vec());
            bytes = rest;
        }
        assert!(bytes.is_empty());
    }

    fn use_chain(&mut self, given: Given, written: Vec<u8>) {
        self.used += if self.is_packed() { given.slots.into() } else { 1 };
        self.pending.push((given, written));
    }

    fn publish(&mut self, publish: impl FnOnce(&mut DeviceQueue)) {
        self.clear_log();
        publish(&mut self.queue);
        let at = self.driver.queue.addresses;
        if !self.pending.is_empty() {
            let area = if self.is_packed() { at.desc } else { at.device };
            assert_eq!(self.is_logged(area.0), self.logs, "what the driver is shown");
        }
        self.shown.extend(self.pending.drain(..).map(|(_, written)| written));
        self.published = self.used;
    }

    /// All was published when it was interrupted, and the driver went on.
    fn publish_late(&mut self) {
        let late = self.queue.clone();
        self.publish(|queue| queue.publish());
        self.take();
        self.give(&[20], false);
        self.queue = late;
        self.publish(|queue| queue.publish_again());
    }

    fn rewind(&mut self) {
        for (given, _) in self.pending.drain(..).rev() {
            self.given.push_front(given);
        }
        self.used = self.published;
    }

    fn resume(&mut self) {
        let base = self.queue.base();
        let at = u32::from(self.encode(self.published));
        assert_eq!(base, if self.is_packed() { at | at << 16 } else { at });
        self.queue = DeviceQueue::resume(&self.driver.queue, &self.regions, base).expect("lawful");
        self.rewind();
        self.considered = self.published;
        self.set_log(self.logs);
    }

    fn take(&mut self) {
        while let Some((len, bytes)) = self.driver.take() {
            assert_eq!((len as usize, Some(&bytes)), (bytes.len(), self.shown.front()));
            self.shown.pop_front();
        }
        assert!(self.shown.is_empty());
    }

    fn driver_asks(&mut self, kind: u16, further: i64) {
        let at = self.published + further;
        self.asked = (kind, at);
        let flags = [event::DISABLE, event::ENABLE, event::DESC][usize::from(kind)];
        self.driver.ask(if self.is_packed() { flags } else { u16::from(kind == 0) }, self.encode(at));
    }

    fn notify(&mut self) {
        let (kind, at) = self.asked;
        let round = if self.is_packed() { 2 * i64::from(self.queue.size()) } else { 1 << 16 };
        let passed = (self.considered..self.published).any(|entry| (entry - at) % round == 0);
        let wanted = match (self.is_packed(), self.features.contains(F::EVENT_IDX), kind) {
            (false, true, _) | (true, true, 2) => passed,
            (_, _, kind) => self.published > self.considered && kind != 0,
        };
        assert_eq!(self.queue.needs_notification(), wanted);
        self.considered = self.published;
    }

    fn device_asks(&mut self, on: bool) {
        self.queue.ask_for_notifications(on);
        let (flags, event) = self.driver.asked();
        match (self.is_packed(), self.features.contains(F::EVENT_IDX)) {
            (false, false) => assert_eq!(flags, u16::from(!on)),
            (false, true) => assert!(flags == 0 && (!on || event == self.encode(self.used))),
            (true, _) if !on => assert_eq!(flags, event::DISABLE),
            (true, false) => assert_eq!(flags, event::ENABLE),
            (true, true) => assert_eq!((flags, event), (event::DESC, self.encode(self.used))),
        }
    }

    fn set_log(&mut self, on: bool) {
        assert!(self.queue.set_log(on.then(|| DirtyLog::new(self.log.run(0))), &self.regions));
        self.logs = on;
    }

    fn clear_log(&self) {
        self.log.run(0).copy_from_slice(0x8000, &[0; 0x1000]).expect("inside");
    }

    fn is_logged(&self, at: u64) -> bool {
        read(self.log.run(0), at / 4096 / 8, 1)[0] >> (at / 4096 % 8) & 1 == 1
    }
}

/// Entry or slot `at`, of all that ever were, as the rings have it.
fn encode(at: i64, packed: bool, size: u16) -> u16 {
    let (lap, at) = (i64::from(size), if packed { at.rem_euclid(2 * i64::from(size)) } else { at });
    match packed {
        false => at as u16,
        true if at < lap => at as u16 | 1 << 15,
        true => (at - lap) as u16,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 512 }, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn what_is_given_is_used_once_and_whoever_asks_is_told(
        steps in prop::collection::vec(step(), 1..if cfg!(miri) { 40 } else { 200 }),
        [packed, in_order, indirect, event_idx, merge, sends] in any::<[bool; 6]>(),
        size in 0..5u16,
        odd in 1..=16u16,
        around in prop::sample::select(vec![0i64, 1 << 15, 1 << 16]),
        before in 0..40i64,
    ) {
        let mut features = F::VERSION_1;
        features.set(F::RING_PACKED, packed);
        features.set(F::IN_ORDER, in_order);
        features.set(F::INDIRECT_DESC, indirect);
        features.set(F::EVENT_IDX, event_idx);
        features.set(F::MRG_RXBUF, merge);
        let mut model = Model::new(if packed { odd } else { 1 << size }, features, sends, around - before);
        steps.iter().for_each(|step| model.run(step));
    }
}
