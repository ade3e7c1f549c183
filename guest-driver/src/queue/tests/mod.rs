//! The queue and a device side that can be told to keep the rules or to break them.

mod device;
mod exchange;
mod formats;
mod held;
mod hostile;
mod limits;
mod model;

use super::*;
use device::{Device, GPA, memory};
use std::vec::Vec;

const N: usize = 8;
type Queue = DriverQueue<N>;

const SPLIT: F = F::VERSION_1;
const SPLIT_IN_ORDER: F = F::VERSION_1.union(F::IN_ORDER);
const PACKED: F = F::VERSION_1.union(F::RING_PACKED);
const PACKED_IN_ORDER: F = F::VERSION_1.union(F::RING_PACKED).union(F::IN_ORDER);
const ALL: [F; 4] = [SPLIT, SPLIT_IN_ORDER, PACKED, PACKED_IN_ORDER];

/// Returns `all`, or `interpreted` under Miri, which takes a thousand times as long and checks the first laps of a
/// ring.
fn rounds<T>(all: T, interpreted: T) -> T {
    if cfg!(miri) { interpreted } else { all }
}

/// Returns an empty queue of `size` entries and its device.
fn queue_of(size: u16, features: F) -> (Queue, Device) {
    let memory = memory::<N>(features.contains(F::INDIRECT_DESC));
    let queue = Queue::new(Gpa(GPA), memory, size, features).unwrap();
    let device = Device::of(&queue, memory, features);
    (queue, device)
}

/// Returns a queue of 8 entries with `count` buffers of 2048 bytes published.
fn given(count: u32, features: F) -> (Queue, Device) {
    let (mut queue, device) = queue_of(8, features);
    assert!((0..count).all(|token| queue.give(Gpa(0x8000 + 2048 * u64::from(token)), 2048, token)));
    queue.publish();
    (queue, device)
}

fn take_all(queue: &mut Queue) -> Vec<(u32, u32)> {
    let mut taken = Vec::new();
    while let Ok(ready @ 1..) = queue.ready() {
        taken.extend((0..ready).map(|_| queue.take().map(|received| (received.token, received.len)).unwrap()));
    }
    taken
}
