//! Both sides of a queue, each in a thread of its own, and the writes that one sees of the other, in every format.
//!
//! Threads as the processor runs them show little. Under Miri a load may see an older value where nothing orders it
//! behind the newer one, threads change at any instruction, and two accesses that nothing orders are an error;
//! `tests/orders` runs these tests there with many schedules.

use sluice_abi::call::{Packet, Status};
use sluice_abi::directory::{Peer, Queue, Region};
use sluice_abi::net::{F, HDR_LEN, Hdr};
use sluice_abi::{Gpa, PeerIdx};
use sluice_driver::DriverQueue;
use sluice_inside::{Dequeue, DeviceQueue, Enqueue, Regions, Slot, Window, transmit};
use sluice_memory::{PeerSlice, Words};
use sluice_test_memory::{read, zeroed};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const LEN: u64 = 0x4000;
const BUFFERS: u64 = 0x2000;
const STRIDE: u64 = 0x100;
/// Number of buffers of a burst. The ring's end comes within one.
const BURST: u32 = 3;
const ROUNDS: u32 = if cfg!(miri) { 2 } else { 100 };
/// Length of a frame in bytes.
const FRAME: u32 = 64;
const FORMATS: [(F, u16); 4] = [
    (F::empty(), 4),
    (F::IN_ORDER, 4),
    (F::RING_PACKED, 5),
    (F::from_bits_retain(F::RING_PACKED.bits() | F::IN_ORDER.bits()), 5),
];

/// Returns the driver side of an empty queue, its memory, and its directory entry.
fn driver(features: F, size: u16) -> (DriverQueue<8>, PeerSlice<'static>, Queue) {
    let (memory, features) = (zeroed(LEN), features | F::VERSION_1);
    let part = memory.sub(0, DriverQueue::<8>::MEMORY_LEN + DriverQueue::<8>::TABLES_LEN).unwrap();
    let queue = DriverQueue::new(Gpa(0), part, size, features).unwrap();
    let entry = Queue { addresses: queue.addresses(), features: features.bits(), size, ..Default::default() };
    (queue, memory, entry)
}

fn device(memory: PeerSlice<'static>, entry: &Queue) -> (DeviceQueue, Regions) {
    let regions = Regions::from_slices(&[(Gpa(0), memory)]).unwrap();
    (DeviceQueue::new(entry, &regions).unwrap(), regions)
}

fn buffer(token: u32) -> u64 {
    BUFFERS + u64::from(token) * STRIDE
}

fn frame(number: u32) -> [u8; FRAME as usize] {
    core::array::from_fn(|at| (number * 31 + at as u32 * 7 + 1) as u8)
}

/// Whether the other thread failed. This orders no accesses.
#[derive(Default)]
struct Other(AtomicBool);

impl Other {
    /// Waits until `found` returns a value.
    fn wait<T>(&self, mut found: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(it) = found() {
                return it;
            }
            assert!(!self.0.load(Ordering::Relaxed), "the other side failed");
            thread::yield_now();
        }
    }
}

/// Tells the other side that this one failed.
struct Guard<'o>(&'o Other);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Runs both sides at once, to their ends.
fn both(device: impl FnOnce(&Other) + Send, driver: impl FnOnce(&Other)) {
    let other = Other::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            let _guard = Guard(&other);
            device(&other);
        });
        let _guard = Guard(&other);
        driver(&other);
    });
}

/// Gives bursts of buffers of `len` bytes. Each comes back as one, and `check` gets the bytes of its buffers.
fn receive(
    other: &Other,
    queue: &mut DriverQueue<8>,
    memory: PeerSlice<'static>,
    len: u32,
    check: impl Fn(u32, Vec<Vec<u8>>),
) {
    for round in 0..ROUNDS {
        (0..BURST).for_each(|token| assert!(queue.give(Gpa(buffer(token)), len, token)));
        queue.publish();
        let ready = other.wait(|| Some(queue.ready().expect("no fault")).filter(|&ready| ready > 0));
        assert_eq!(u32::from(ready), BURST, "a burst is shown in part");
        let got = (0..BURST).map(|_| queue.take().expect("no fault"));
        check(round, got.map(|it| read(memory, buffer(it.token), it.len.into())).collect());
    }
}

#[test]
fn a_burst_through_a_window_is_seen_whole_by_another_thread() {
    for (features, size) in FORMATS {
        let (mut queue, memory, entry) = driver(features, size);
        both(
            move |other| {
                let (mut window, packets) = (window(memory, entry), zeroed(0x1000));
                window.set_packets(packets);
                (0..ROUNDS).for_each(|round| send_burst(other, &mut window, packets, round));
            },
            |other| {
                receive(other, &mut queue, memory, FRAME + HDR_LEN, |round, frames| {
                    let sent = (0..BURST).map(|index| frame(round * BURST + index).to_vec());
                    assert!(sent.eq(frames.iter().map(|got| got[HDR_LEN as usize..].to_vec())));
                });
            },
        );
    }
}

/// Returns a window with one peer, which has all of `memory`.
fn window(memory: PeerSlice<'static>, entry: Queue) -> Window {
    let mut peer = Peer { mtu: 1500, region_count: 1, queue_count: 1, ..Default::default() };
    peer.regions[0] = Region { gpa: Gpa(0), len: LEN, slot_offset: 0 };
    peer.queues[0] = entry;
    let mut window = Window::new();
    window.attach_peer(PeerIdx(0), &peer, Slot::of(memory)).expect("a lawful queue");
    window
}

/// Sends burst `round`, once its buffers are there.
fn send_burst(other: &Other, window: &mut Window, packets: PeerSlice<'static>, round: u32) {
    let (request, frames) = (packets.sub(0, 64).unwrap(), 64u32);
    for index in 0..BURST {
        let offset = frames + index * FRAME;
        packets.copy_from_slice(offset.into(), &frame(round * BURST + index)).unwrap();
        request.write(u64::from(index) * 8, Packet::new(offset, FRAME as u16, PeerIdx(0))).unwrap();
    }
    other.wait(|| {
        let outcome = transmit(window, request, BURST.into(), Words);
        if outcome.status == Status::OK {
            return Some(());
        }
        assert_eq!(outcome.status, Status::FULL);
        assert!(!(0..BURST).any(|index| outcome.accepted.contains(index as usize)), "a batch is shown in part");
        None
    });
}

#[test]
fn a_frame_merged_over_buffers_is_seen_whole_by_another_thread() {
    // A buffer has this length, header included, so the frame takes three.
    let len = 30;
    for (features, size) in FORMATS {
        let (mut queue, memory, entry) = driver(features | F::MRG_RXBUF, size);
        both(
            move |other| {
                let ((mut device, regions), source) = (device(memory, &entry), zeroed(64));
                for round in 0..ROUNDS {
                    source.copy_from_slice(0, &frame(round)).unwrap();
                    other.wait(|| fill(&mut device, &regions, source));
                    device.publish();
                }
            },
            |other| {
                receive(other, &mut queue, memory, len, |round, parts| {
                    assert_eq!(parts.concat()[HDR_LEN as usize..], frame(round));
                    assert_eq!(parts[0][10..12], [BURST as u8, 0]);
                });
            },
        );
    }
}

/// Fills the next buffers with `source`. Returns `None` if there are too few.
fn fill(device: &mut DeviceQueue, regions: &Regions, source: PeerSlice<'_>) -> Option<()> {
    match device.enqueue(regions, &Hdr::default(), source, 0, Words).expect("no fault") {
        Enqueue::Filled => Some(()),
        Enqueue::Full => None,
        other => panic!("{other:?}"),
    }
}

/// Returns the next frame that was sent.
fn taken(device: &mut DeviceQueue, regions: &Regions, into: PeerSlice<'_>) -> Option<Vec<u8>> {
    match device.dequeue(regions, into, Words).expect("no fault") {
        Dequeue::Frame { len, .. } => Some(read(into, 0, len.into())),
        Dequeue::Empty => None,
        Dequeue::TooLong => panic!("too long"),
    }
}

#[test]
fn chains_that_are_sent_are_seen_whole_by_another_thread() {
    for (features, size) in
        FORMATS.into_iter().chain([FORMATS[0], FORMATS[2]].map(|it| (it.0 | F::INDIRECT_DESC, it.1)))
    {
        let (mut queue, memory, entry) = driver(features, size);
        both(
            move |other| {
                let ((mut device, regions), into) = (device(memory, &entry), zeroed(64));
                for round in 0..ROUNDS {
                    let first = other.wait(|| taken(&mut device, &regions, into));
                    let second = taken(&mut device, &regions, into).expect("a batch that is shown whole");
                    assert_eq!((first, second), (frame(2 * round).to_vec(), frame(2 * round + 1).to_vec()));
                    device.publish();
                }
            },
            |other| {
                for round in 0..ROUNDS {
                    (0..2).for_each(|index| send(&mut queue, memory, index, &frame(2 * round + index)));
                    queue.publish();
                    for _ in 0..2 {
                        other.wait(|| queue.is_ready().expect("no fault").then_some(()));
                        assert!(queue.take().is_ok());
                    }
                }
            },
        );
    }
}

/// Gives `frame` in two pieces, the first with its header.
fn send(queue: &mut DriverQueue<8>, memory: PeerSlice<'static>, token: u32, frame: &[u8]) {
    let (at, first) = (buffer(token), HDR_LEN + 20);
    memory.copy_from_slice(at, &[0; HDR_LEN as usize]).unwrap();
    memory.copy_from_slice(at + u64::from(HDR_LEN), frame).unwrap();
    assert!(queue.send(&[(Gpa(at), first), (Gpa(at + u64::from(first)), FRAME - 20)], token));
}

/// Returns the formats without order of use, each with flags and with event index.
fn notified() -> impl Iterator<Item = (F, u16)> {
    [FORMATS[0], FORMATS[2]]
        .into_iter()
        .flat_map(|(features, size)| [(features, size), (features | F::EVENT_IDX, size)])
}

/// What a device side in a thread of its own does, with a frame at hand, when it is told to. Returns what it found.
type Step = fn(&mut DeviceQueue, &Regions, PeerSlice<'static>) -> bool;

/// A device side in a thread of its own, which makes the next of its steps, one after the other and from the first one
/// again, each time it is told to.
struct Device {
    told: Sender<()>,
    found: Receiver<bool>,
}

impl Device {
    /// Tells the device to make its next step, and does not wait for it.
    fn tell(&self) {
        self.told.send(()).expect("a device");
    }

    /// Waits until the step is made, and returns what the device found.
    fn found(&self) -> bool {
        self.found.recv().expect("a device")
    }

    fn step(&self) -> bool {
        self.tell();
        self.found()
    }
}

/// Runs `driver` beside a device side with these `steps`.
fn beside((memory, entry): (PeerSlice<'static>, Queue), steps: &'static [Step], driver: impl FnOnce(&Device)) {
    let ((told, tells), (finds, found)) = (channel(), channel());
    let device = Device { told, found };
    thread::scope(move |scope| {
        scope.spawn(move || {
            let ((mut queue, regions), source) = (self::device(memory, &entry), zeroed(64));
            for (step, ()) in steps.iter().cycle().zip(tells) {
                finds.send(step(&mut queue, &regions, source)).expect("a driver");
            }
        });
        driver(&device);
        drop(device);
    });
}

fn enqueue(device: &mut DeviceQueue, regions: &Regions, source: PeerSlice<'static>) -> bool {
    device.enqueue(regions, &Hdr::default(), source, 0, Words) == Ok(Enqueue::Filled)
}

#[test]
fn a_driver_that_asks_and_looks_once_more_misses_no_buffer() {
    const STEPS: [Step; 2] = [enqueue, |device, _, _| {
        device.publish();
        device.needs_notification()
    }];
    for (features, size) in notified() {
        let (mut queue, memory, entry) = driver(features, size);
        beside((memory, entry), &STEPS, |device| {
            for _ in 0..ROUNDS {
                assert!(queue.give(Gpa(buffer(0)), FRAME + HDR_LEN, 0));
                queue.publish();
                assert!(device.step());
                device.tell();
                queue.suppress_interrupts(false);
                let seen = queue.is_ready().expect("no fault");
                let told = device.found();
                assert!(seen || told, "a lost notification");
                assert!(queue.is_ready().expect("no fault") && queue.take().is_ok());
                queue.suppress_interrupts(true);
            }
        });
    }
}

#[test]
fn a_device_that_asks_and_looks_once_more_misses_no_buffer() {
    const STEPS: [Step; 3] = [
        |device, _, _| {
            device.ask_for_notifications(false);
            true
        },
        |device, _, _| {
            device.ask_for_notifications(true);
            device.available().expect("no fault") > 0
        },
        |device, regions, source| {
            let filled = enqueue(device, regions, source);
            device.publish();
            filled
        },
    ];
    for (features, size) in notified() {
        let (mut queue, memory, entry) = driver(features, size);
        beside((memory, entry), &STEPS, |device| {
            for _ in 0..ROUNDS {
                assert!(queue.give(Gpa(buffer(0)), FRAME + HDR_LEN, 0));
                assert!(device.step());
                device.tell();
                queue.publish();
                let told = queue.needs_notification();
                let seen = device.found();
                assert!(seen || told, "a lost notification");
                assert!(device.step());
                assert!(queue.is_ready().expect("no fault") && queue.take().is_ok());
            }
        });
    }
}
