//! Any sequence of steps of both sides against a model: each buffer comes back once, with the right length, and each
//! side is notified when it asked for that. The numbers of the model never wrap around, as those of the queue do.

use super::device::Buffer;
use super::*;
use proptest::prelude::*;
use sluice_abi::packed::event;
use sluice_abi::virtq::{avail, used};
use std::collections::VecDeque;
use std::vec;

/// A step. Numbers are taken modulo their range.
#[derive(Clone, Debug)]
enum Step {
    Give {
        len: u32,
    },
    Send {
        pieces: usize,
        writable: usize,
    },
    Publish,
    /// The device takes the buffers that are available.
    Look,
    /// The device uses the buffer at this place of those that it has, with this number of bytes.
    Use {
        place: usize,
        len: u32,
    },
    /// The device uses that many buffers by one element, in order.
    Batch {
        count: usize,
        len: u32,
    },
    /// The driver takes at most this number of the buffers that came back.
    Take {
        most: usize,
    },
    /// The device asks for no notification, for all, or for that of the entry at this distance from the last
    /// that was published.
    DeviceAsks {
        kind: u16,
        further: i64,
    },
    /// The driver checks whether to notify the device.
    Notify,
    /// The driver asks for no interrupts, or for one.
    Suppress(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..5000u32).prop_map(|len| Step::Give { len }),
        2 => (0..4usize, 0..3usize).prop_map(|(pieces, writable)| Step::Send { pieces, writable }),
        1 => (0..12usize, 0..6usize).prop_map(|(pieces, writable)| Step::Send { pieces, writable }),
        2 => Just(Step::Publish),
        2 => Just(Step::Look),
        4 => (any::<usize>(), any::<u32>()).prop_map(|(place, len)| Step::Use { place, len }),
        1 => (1..5usize, any::<u32>()).prop_map(|(count, len)| Step::Batch { count, len }),
        2 => (1..12usize).prop_map(|most| Step::Take { most }),
        1 => (0..3u16, -20..20i64).prop_map(|(kind, further)| Step::DeviceAsks { kind, further }),
        2 => Just(Step::Notify),
        1 => any::<bool>().prop_map(Step::Suppress),
    ]
}

/// The state of the model: tokens with their writable bytes and slots, and counters.
struct Model {
    queue: Queue,
    device: Device,
    features: F,
    in_order: bool,
    hidden: Vec<(u32, u32)>,
    shown: VecDeque<(u32, u32)>,
    looked: Vec<((u32, u32), Buffer)>,
    used: VecDeque<(u32, u32)>,
    room: usize,
    token: u32,
    slots: std::collections::HashMap<u32, usize>,
    /// Numbers of entries, or slots of a packed ring, that were written, published, considered for a notification, and
    /// taken.
    written: i64,
    published: i64,
    considered: i64,
    taken: i64,
    /// The notifications that the device asks for: none, all, or that of an entry.
    asked: (u16, i64),
}

impl Model {
    /// Returns a model that starts with `start` buffers behind both sides.
    fn new(size: u16, features: F, start: u32) -> Self {
        let (mut queue, mut device) = queue_of(size, features);
        queue.ledger.given = start;
        queue.ledger.published = start;
        queue.ledger.taken = start;
        device.start_at(start as u16);
        let position = if device.is_packed() { 0 } else { i64::from(start as u16) };
        Self {
            queue,
            device,
            features,
            in_order: features.contains(F::IN_ORDER),
            hidden: Vec::new(),
            shown: VecDeque::new(),
            looked: Vec::new(),
            used: VecDeque::new(),
            room: size.into(),
            token: 0,
            slots: Default::default(),
            written: position,
            published: position,
            considered: position,
            taken: position,
            asked: (1, 0),
        }
    }

    /// Returns the number of entries, or slots, after which the ring's numbers repeat.
    fn round(&self) -> i64 {
        if self.device.is_packed() { 2 * i64::from(self.queue.size()) } else { 1 << 16 }
    }

    /// Returns the entry or slot `at` as the rings number it.
    fn encode(&self, at: i64) -> u16 {
        let at = at.rem_euclid(self.round());
        let size = i64::from(self.queue.size());
        if !self.device.is_packed() {
            at as u16
        } else if at < size {
            at as u16 | 1 << 15
        } else {
            (at - size) as u16
        }
    }

    fn has_event_index(&self) -> bool {
        self.features.contains(F::EVENT_IDX)
    }

    fn device_asks(&mut self, kind: u16, further: i64) {
        let at = self.published + further;
        self.asked = (kind, at);
        let event = self.encode(at);
        if self.device.is_packed() {
            self.device.set_device16(0, event);
            self.device.set_device16(2, [event::DISABLE, event::ENABLE, event::DESC][usize::from(kind)]);
        } else {
            self.device.set_device16(used::FLAGS, u16::from(kind == 0));
            self.device.set_device16(used::avail_event(self.queue.size()), event);
        }
    }

    fn notify(&mut self) {
        let (kind, at) = self.asked;
        let any = self.published > self.considered;
        let passed = (self.considered..self.published).any(|entry| (entry - at) % self.round() == 0);
        let wanted = match (self.device.is_packed(), self.has_event_index(), kind) {
            (false, true, _) | (true, true, 2) => passed,
            (_, _, kind) => any && kind != 0,
        };
        assert_eq!(self.queue.needs_notification(), wanted);
        self.considered = self.published;
    }

    fn suppress(&mut self, suppress: bool) {
        self.queue.suppress_interrupts(suppress);
        let (packed, event_index) = (self.device.is_packed(), self.has_event_index());
        let flags = self.device.driver16(if packed { 2 } else { avail::FLAGS });
        let event = self.device.driver16(if packed { 0 } else { avail::used_event(self.queue.size()) });
        match (packed, event_index) {
            (false, false) => assert_eq!(flags, u16::from(suppress)),
            (false, true) => assert_eq!((flags, event), (0, self.encode(self.taken - i64::from(suppress)))),
            (true, _) if suppress => assert_eq!(flags, event::DISABLE),
            (true, false) => assert_eq!(flags, event::ENABLE),
            (true, true) => assert_eq!((flags, event), (event::DESC, self.encode(self.taken))),
        }
    }

    /// Returns `avail.idx`, which counts all buffers that were ever published; of a packed ring, 0.
    fn shown_count(&self) -> u16 {
        if self.device.is_packed() { 0 } else { self.device.driver16(avail::IDX) }
    }

    fn given(&mut self, done: bool, len: u32, pieces: usize, slots: usize) {
        assert_eq!(done, self.room >= slots && (1..=self.queue.size().into()).contains(&pieces));
        if done {
            self.written += self.places(slots);
            self.hidden.push((self.token, len));
            self.slots.insert(self.token, slots);
            self.room -= slots;
        }
        self.token += 1;
        assert_eq!(self.queue.room(), self.room);
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Give { len } => {
                let done = self.queue.give(Gpa(u64::from(self.token) << 16), len, self.token);
                self.given(done, len, 1, 1);
            }
            Step::Send { pieces, writable } => {
                let part = |count| (0..count).map(|at| (Gpa(at as u64), 100)).collect::<Vec<_>>();
                let done = self.queue.request(&part(pieces), &part(writable), self.token);
                let all = pieces + writable;
                let indirect = self.device.memory.len() > Queue::MEMORY_LEN && all > 1;
                self.given(done, 100 * writable as u32, all, if indirect { 1 } else { all });
            }
            Step::Publish => {
                self.queue.publish();
                self.published = self.written;
                self.shown.extend(self.hidden.drain(..));
            }
            Step::Look => {
                let buffers = self.device.take_all();
                assert_eq!(buffers.len(), self.shown.len());
                self.looked.extend(self.shown.drain(..).zip(buffers));
            }
            Step::Use { place, len } => {
                let count = self.looked.len();
                if count > 0 {
                    let ((token, most), buffer) = self.looked.remove(if self.in_order { 0 } else { place % count });
                    let len = len % (most + 1);
                    self.device.finish(&buffer, len);
                    self.used.push_back((token, len));
                }
            }
            Step::Batch { count, len } if self.in_order && !self.looked.is_empty() => self.batch(count, len),
            Step::Batch { .. } => {}
            Step::Take { most } => self.take(most),
            Step::DeviceAsks { kind, further } => self.device_asks(kind, further),
            Step::Notify => self.notify(),
            Step::Suppress(suppress) => self.suppress(suppress),
        }
    }

    /// Returns the number of entries, or slots, of a buffer of `slots` slots.
    fn places(&self, slots: usize) -> i64 {
        if self.device.is_packed() { slots as i64 } else { 1 }
    }

    fn batch(&mut self, count: usize, len: u32) {
        let batch: Vec<_> = self.looked.drain(..count.min(self.looked.len())).collect();
        let buffers: Vec<_> = batch.iter().map(|(_, buffer)| buffer.clone()).collect();
        let last = batch.len() - 1;
        let len = len % (batch[last].0.1 + 1);
        self.device.finish_batch(&buffers, len);
        self.used.extend(
            batch.iter().enumerate().map(|(at, &((token, most), _))| (token, if at < last { most } else { len })),
        );
    }

    fn take(&mut self, most: usize) {
        let ready = self.queue.ready().expect("no fault");
        assert_eq!(ready == 0, self.used.is_empty());
        for _ in 0..most.min(ready.into()) {
            let received = self.queue.take().expect("no fault");
            assert_eq!(Some((received.token, received.len)), self.used.pop_front());
            let slots = self.slots[&received.token];
            self.room += slots;
            self.taken += self.places(slots);
        }
        assert_eq!(self.queue.room(), self.room);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(512, 2), failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_goes_in_comes_out(
        steps in prop::collection::vec(step(), 1..rounds(300, 40)),
        format in 0..4usize,
        indirect: bool,
        event_idx: bool,
        size in 0..4u16,
        odd in 1..=8u16,
        around in prop::sample::select(vec![0u32, 1 << 15, 1 << 16, u32::MAX]),
        before in 0..40u32,
    ) {
        let mut features = ALL[format];
        features.set(F::INDIRECT_DESC, indirect);
        features.set(F::EVENT_IDX, event_idx);
        let size = if features.contains(F::RING_PACKED) { odd } else { 1 << size };
        let mut model = Model::new(size, features, around.wrapping_sub(before));
        for step in &steps {
            let (shown, hidden) = (model.shown_count(), model.hidden.len() as u16);
            model.run(step);
            let published = if matches!(step, Step::Publish) && !model.device.is_packed() { hidden } else { 0 };
            prop_assert_eq!(model.shown_count(), shown.wrapping_add(published));
        }
    }
}
