//! The driver side, while its device writes random values to random places in the queue's memory.

use crate::fill;
use arbitrary::Arbitrary;
use sluice_abi::net::F;
use sluice_abi::virtq::{UsedElem, used};
use sluice_abi::{Gpa, packed};
use sluice_driver::{DeviceFault, DriverQueue};
use sluice_memory::PeerSlice;
use sluice_test_memory::guarded;
use std::cell::OnceCell;
use std::collections::HashMap;

const N: usize = 16;
type Driver = DriverQueue<N>;
const GPA: u64 = 0x10_0000;
const LEN: u64 = Driver::MEMORY_LEN + Driver::TABLES_LEN;

/// A queue, and the steps on it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    features: u8,
    size: u8,
    steps: Vec<Step>,
}

/// A step of one of the sides.
#[derive(Arbitrary, Clone, Debug)]
enum Step {
    /// The driver acts.
    Give {
        len: u32,
    },
    Request {
        readable: u8,
        writable: u8,
        len: u16,
    },
    Publish,
    Take {
        most: u8,
    },
    Notify {
        suppress: bool,
    },
    Reset,
    /// The device writes a used element: a split ring's at its index, a packed ring's in its slot.
    Use {
        id: u8,
        len: u16,
        ahead: u8,
    },
    Used {
        at: u8,
        id: u32,
        len: u32,
    },
    UsedIdx {
        idx: u16,
    },
    Slot {
        at: u8,
        id: u16,
        len: u32,
        flags: u16,
    },
    Word {
        at: u16,
        value: u32,
    },
}

thread_local! {
    static MEMORY: OnceCell<PeerSlice<'static>> = const { OnceCell::new() };
}

/// Runs a script.
pub fn run(input: &Input, packed: bool) {
    MEMORY.with(|memory| {
        let memory = *memory.get_or_init(|| guarded(&[LEN]).run(0));
        fill(memory, input.features);
        let mut case = Case::new(memory, input, packed);
        input.steps.iter().for_each(|step| case.step(step));
    });
}

struct Case {
    memory: PeerSlice<'static>,
    features: F,
    size: u16,
    queue: Driver,
    /// The writable bytes of each buffer that the device has, or is about to have, by token.
    held: HashMap<u32, u32>,
    token: u32,
    /// Where an honest device would go on.
    used: u16,
    wrap: bool,
}

impl Case {
    fn new(memory: PeerSlice<'static>, input: &Input, packed: bool) -> Self {
        let choice = [F::INDIRECT_DESC, F::EVENT_IDX, F::IN_ORDER];
        let mut features = F::VERSION_1;
        features.set(F::RING_PACKED, packed);
        choice.iter().enumerate().for_each(|(bit, &feature)| features.set(feature, input.features >> bit & 1 == 1));
        let size = if packed { u16::from(input.size) % N as u16 + 1 } else { 1 << (input.size % 5) };
        let queue = Driver::new(Gpa(GPA), memory, size, features).expect("a lawful queue");
        Self { memory, features, size, queue, held: HashMap::new(), token: 0, used: 0, wrap: true }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Give { len } => {
                let given = self.queue.give(Gpa(0x8000), len, self.token);
                self.given(given, len);
            }
            Step::Request { readable, writable, len } => {
                let pieces = |count: u8| vec![(Gpa(0x9000), u32::from(len)); usize::from(count % 20)];
                let (readable, writable) = (pieces(readable), pieces(writable));
                let given = self.queue.request(&readable, &writable, self.token);
                self.given(given, u32::from(len) * writable.len() as u32);
            }
            Step::Publish => self.queue.publish(),
            Step::Take { most } => self.take(most),
            Step::Notify { suppress } => {
                let _ = self.queue.needs_notification();
                self.queue.suppress_interrupts(suppress);
            }
            Step::Reset => self.reset(),
            _ => self.write(step),
        }
        assert!(self.queue.room() <= usize::from(self.size));
    }

    fn given(&mut self, given: bool, len: u32) {
        if given {
            assert!(self.queue.fault().is_none(), "a dead queue takes nothing");
            self.held.insert(self.token, len);
        }
        self.token += 1;
    }

    /// Asserts that a buffer that comes back was given, comes back once, and has no more bytes than it holds.
    fn take(&mut self, most: u8) {
        let before = self.queue.fault();
        let ready = self.queue.ready();
        assert!(before.is_none() || ready == before.map_or(Ok(0), Err));
        for _ in 0..ready.unwrap_or(0).min(most.into()) {
            match self.queue.take() {
                Ok(received) => {
                    let len = self.held.remove(&received.token).expect("the device had it");
                    assert!(received.len <= len);
                }
                // The driver finds no fault where used flags in the middle of a chain were counted.
                Err(fault) => {
                    assert_eq!(self.queue.fault().unwrap_or(DeviceFault::UsedIdx), fault);
                    break;
                }
            }
        }
    }

    fn reset(&mut self) {
        // A buffer with which the queue died belongs to the caller again.
        let dead = self.queue.fault().is_some();
        while let Some(token) = self.queue.reclaim() {
            assert!(self.held.remove(&token).is_some());
        }
        assert!(dead || self.held.is_empty());
        self.held.clear();
        self.queue = Driver::new(Gpa(GPA), self.memory, self.size, self.features).expect("a lawful queue");
        (self.used, self.wrap) = (0, true);
    }

    /// Makes a step of the device.
    fn write(&mut self, step: &Step) {
        match *step {
            Step::Use { id, len, ahead } => self.use_one(id, len.into(), ahead),
            Step::Used { at, id, len } => {
                let slot = u64::from(u16::from(at) % self.size);
                self.device(used::RING + 8 * slot, UsedElem { id, len });
            }
            Step::UsedIdx { idx } => self.device(used::IDX, idx),
            Step::Slot { at, id, len, flags } => self.slot(u16::from(at) % self.size, id, len, flags),
            Step::Word { at, value } => self.memory.write(u64::from(at) % (LEN - 3), value).expect("inside"),
            _ => {}
        }
    }

    fn device<T: sluice_memory::Plain>(&self, offset: u64, value: T) {
        self.memory.write(self.queue.addresses().device.0 - GPA + offset, value).expect("inside");
    }

    fn slot(&self, slot: u16, id: u16, len: u32, flags: u16) {
        let word = u64::from(len) | u64::from(id) << 32 | u64::from(flags) << 48;
        self.memory.write(16 * u64::from(slot) + 8, word).expect("inside");
    }

    /// Writes the next used element, with an id that may be right.
    fn use_one(&mut self, id: u8, len: u32, ahead: u8) {
        let id = u16::from(id) % self.size;
        if self.features.contains(F::RING_PACKED) {
            let flags = packed::DescF::used(self.wrap) | packed::DescF::WRITE;
            self.slot(self.used, id, len, flags.bits());
            let next = self.used + 1 + u16::from(ahead % 4) % self.size;
            (self.used, self.wrap) = (next % self.size, self.wrap ^ (next >= self.size));
        } else {
            self.device(used::RING + 8 * u64::from(self.used % self.size), UsedElem { id: id.into(), len });
            self.used = self.used.wrapping_add(1);
            self.device(used::IDX, self.used);
        }
    }
}
