//! Any sequence of steps of both sides against a model: what goes in comes out, once, with the right length.

use super::device::Buffer;
use super::*;
use proptest::prelude::*;
use sluice_abi::virtq::avail;
use std::collections::VecDeque;

/// A step. Numbers are taken modulo what makes sense.
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
    /// The device takes what is available.
    Look,
    /// The device uses the buffer at this place of those it has, with so many bytes.
    Use {
        place: usize,
        len: u32,
    },
    /// The device uses that many buffers by one element, in order.
    Batch {
        count: usize,
        len: u32,
    },
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..5000u32).prop_map(|len| Step::Give { len }),
        2 => (0..4usize, 0..3usize).prop_map(|(pieces, writable)| Step::Send { pieces, writable }),
        2 => Just(Step::Publish),
        2 => Just(Step::Look),
        4 => (any::<usize>(), any::<u32>()).prop_map(|(place, len)| Step::Use { place, len }),
        1 => (1..5usize, any::<u32>()).prop_map(|(count, len)| Step::Batch { count, len }),
        2 => Just(Step::Take),
    ]
}

/// What the model knows: tokens with their writable bytes and slots.
struct Model {
    queue: Queue,
    device: Device,
    in_order: bool,
    hidden: Vec<(u32, u32)>,
    shown: VecDeque<(u32, u32)>,
    looked: Vec<((u32, u32), Buffer)>,
    used: VecDeque<(u32, u32)>,
    room: usize,
    token: u32,
    slots: std::collections::HashMap<u32, usize>,
}

impl Model {
    fn new(size: u16, features: F) -> Self {
        let (queue, device) = queue_of(size, features);
        Self {
            queue,
            device,
            in_order: features.contains(F::IN_ORDER),
            hidden: Vec::new(),
            shown: VecDeque::new(),
            looked: Vec::new(),
            used: VecDeque::new(),
            room: size.into(),
            token: 0,
            slots: Default::default(),
        }
    }

    /// `avail.idx`, which counts all buffers that were ever shown; of a packed ring, nothing.
    fn shown_count(&self) -> u16 {
        if self.device.is_packed() { 0 } else { self.device.driver16(avail::IDX) }
    }

    fn given(&mut self, done: bool, len: u32, slots: usize) {
        assert_eq!(done, self.room >= slots && slots > 0);
        if done {
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
                self.given(done, len, 1);
            }
            Step::Send { pieces, writable } => {
                let part = |count| (0..count).map(|at| (Gpa(at as u64), 100)).collect::<Vec<_>>();
                let done = self.queue.request(&part(pieces), &part(writable), self.token);
                let indirect = self.device.memory.len() > Queue::MEMORY_LEN && pieces + writable > 1;
                self.given(done, 100 * writable as u32, if indirect { 1 } else { pieces + writable });
            }
            Step::Publish => {
                self.queue.publish();
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
            Step::Take => self.take(),
        }
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

    fn take(&mut self) {
        let ready = self.queue.ready().expect("no fault");
        assert_eq!(ready == 0, self.used.is_empty());
        for _ in 0..ready {
            let received = self.queue.take().expect("no fault");
            assert_eq!(Some((received.token, received.len)), self.used.pop_front());
            self.room += self.slots[&received.token];
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
    ) {
        let mut features = ALL[format];
        features.set(F::INDIRECT_DESC, indirect);
        features.set(F::EVENT_IDX, event_idx);
        let size = if features.contains(F::RING_PACKED) { odd } else { 1 << size };
        let mut model = Model::new(size, features);
        for step in &steps {
            let (shown, hidden) = (model.shown_count(), model.hidden.len() as u16);
            model.run(step);
            let published = if matches!(step, Step::Publish) && !model.device.is_packed() { hidden } else { 0 };
            prop_assert_eq!(model.shown_count(), shown.wrapping_add(published));
        }
    }
}
