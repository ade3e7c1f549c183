//! Producers that end at any store of a burst, and pages in which anything stands.

use crate::driver::Driver;
use crate::peer::Memory;
use crate::queue::{DeviceQueue, Enqueue};
use crate::{LockPage, Regions};
use proptest::prelude::*;
use sluice_abi::call::Clause;
use sluice_abi::net::{F, Hdr};
use sluice_abi::packed::DescF;
use sluice_abi::queue_lock::{JOURNAL, PROGRESS, Progress};
use sluice_memory::{PeerSlice, Words};

/// Words of the ring's memory that are looked at: all slots and a few more behind.
const RING_WORDS: u64 = 2 * 16;

fn memory() -> PeerSlice<'static> {
    PeerSlice::from_mut(vec![0_u64; 512].leak())
}

fn page(memory: PeerSlice<'static>) -> LockPage<'static> {
    LockPage::new(memory).expect("a page")
}

/// Gives `count` buffers of as many pieces as `pieces`, and fills them with frames whose bytes are `first` and the
/// numbers behind.
fn fill(driver: &mut Driver, queue: &mut DeviceQueue, regions: &Regions, pieces: usize, frames: &[u8]) {
    for &number in frames {
        let all: Vec<_> = (0..pieces).map(|_| driver.piece(80 / pieces as u32, true)).collect();
        driver.give(&all, false);
        let frame = Memory::new(&[60]);
        frame.run(0).copy_from_slice(0, &[number; 60]).expect("inside");
        assert_eq!(queue.enqueue(regions, &Hdr::default(), frame.run(0), 60, Words), Ok(Enqueue::Filled));
    }
}

/// All frames that came, by their number.
fn taken(driver: &mut Driver) -> Vec<u8> {
    let frames = std::iter::from_fn(|| driver.take());
    frames
        .map(|(len, bytes)| {
            assert!(len == 72 && bytes[12..].iter().all(|&byte| byte == bytes[12]), "a frame is whole");
            bytes[12]
        })
        .collect()
}

/// Two producers and the host, which looks at times, of rings that need be no power of two.
#[test]
fn producers_of_a_packed_ring_go_on_behind_each_other_over_many_laps() {
    for (features, size) in [(F::RING_PACKED, 8), (F::RING_PACKED | F::IN_ORDER, 5), (F::RING_PACKED, 1)] {
        let mut driver = Driver::new(size, features);
        let page = page(memory());
        let ((mut host, regions), mut producers) = (driver.device(), [driver.device().0, driver.device().0]);
        host.leave(&page);
        let (mut number, mut found) = (0_u8, 0);
        for turn in 0..if cfg!(miri) { 12 } else { 100 } {
            let count = (1 + turn % 4).min(usize::from(size));
            let frames: Vec<_> = (0..count).map(|_| (number, number = number.wrapping_add(1)).0).collect();
            if turn % 5 == 4 {
                // The host fills it, too, and has no part in what it counts.
                host.enter(&page).expect("a position");
                fill(&mut driver, &mut host, &regions, 1, &frames);
                host.publish();
                host.leave(&page);
            } else {
                let producer = &mut producers[turn % 2];
                producer.enter(&page).expect("a position");
                fill(&mut driver, producer, &regions, 1, &frames);
                assert_eq!(driver.take(), None);
                producer.publish_under(&page);
                found += count as u32;
                if turn % 3 == 0 {
                    let now = host.catch_up(Some(&page)).expect("a position");
                    assert!(now >= count as u32 && host.base() == producer.base());
                    assert!(host.needs_notification() && !host.needs_notification(), "{now} came");
                }
            }
            assert_eq!(taken(&mut driver), frames, "turn {turn}");
        }
        host.catch_up(Some(&page)).expect("a position");
        assert_eq!(page.progress(), Progress { position: host.base() as u16, burst: 0, published: found });
    }
}

/// Where a store goes, bytes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Ring(u64),
    Page(u64),
}

/// A ring that has made some laps, and a producer that has filled a burst.
struct Burst {
    driver: Driver,
    producer: DeviceQueue,
    memory: PeerSlice<'static>,
}

impl Burst {
    /// A burst of `frames` in buffers of `pieces` each, `before` slots behind the start of the ring.
    fn new(size: u16, before: u8, pieces: usize, frames: &[u8]) -> Self {
        let mut driver = Driver::new(size, F::RING_PACKED);
        let (mut producer, regions) = driver.device();
        let memory = memory();
        producer.leave(&page(memory));
        for number in 0..before {
            fill(&mut driver, &mut producer, &regions, 1, &[number]);
            producer.publish_under(&page(memory));
            assert_eq!(taken(&mut driver), [number]);
        }
        fill(&mut driver, &mut producer, &regions, pieces, frames);
        Self { driver, producer, memory }
    }

    fn ring(&self) -> Vec<u64> {
        (0..RING_WORDS).map(|word| self.driver.ram().read(8 * word).expect("inside")).collect()
    }

    /// The stores by which a burst is published, in their order.
    fn stores(mut self, size: u16, slots: u16) -> Vec<(Place, u64)> {
        let (before, at) = (self.ring(), self.producer.base() as u16);
        let published = page(self.memory).progress().published;
        self.producer.publish_under(&page(self.memory));
        let after = self.ring();
        let page = page(self.memory);
        let mut stores: Vec<_> =
            (0..slots).map(|place| (Place::Page(JOURNAL + 8 * u64::from(place)), page.noted(place))).collect();
        let begun = Progress { position: at, burst: slots, published };
        stores.push((Place::Page(PROGRESS), begun.to_word()));
        for place in (0..slots).rev() {
            let word = 2 * usize::from(((at & 0x7fff) + place) % size) + 1;
            if before[word] != after[word] {
                stores.push((Place::Ring(8 * word as u64), after[word]));
            }
        }
        stores.push((Place::Page(PROGRESS), page.progress().to_word()));
        stores
    }
}

/// At any store: of the journal, of the ring, and of the position. Who comes next is another producer, or the host.
#[test]
fn a_burst_of_a_packed_ring_that_ends_at_any_store_is_there_as_a_whole_or_not_at_all() {
    for (size, before, pieces, count) in
        [(8, 0, 1, 3), (8, 6, 1, 4), (5, 9, 2, 2), (8, 13, 2, 3), (5, 4, 1, 5), (6, 3, 1, 1)]
    {
        let (frames, slots) = ([100, 101, 102, 103, 104], (pieces * count) as u16);
        let burst = || Burst::new(size, before, pieces, &frames[..count]);
        let stores = burst().stores(size, slots);
        assert!(stores.len() >= slots as usize + count + 2, "{stores:x?}");
        for end in 0..=stores.len() {
            let Burst { mut driver, memory, .. } = burst();
            let page = page(memory);
            for &(at, word) in &stores[..end] {
                match at {
                    Place::Ring(at) => driver.ram().write(at, word).expect("inside"),
                    Place::Page(at) => memory.write(at, word).expect("inside"),
                }
            }
            // Up to the progress nothing is written that anybody sees, and from there on all is to be written.
            let is_begun = end > usize::from(slots);
            let seen_before = taken(&mut driver);
            assert!(seen_before.is_empty() || seen_before == frames[..count], "{seen_before:?} after {end} stores");
            let (mut next, regions) = driver.device();
            assert_eq!(next.enter(&page), Ok(()));
            let seen = [seen_before, taken(&mut driver)].concat();
            assert_eq!(seen, if is_begun { &frames[..count] } else { &[] }, "after {end} stores");
            assert_eq!(page.progress().burst, 0);
            let expected = u32::from(before) + if is_begun { u32::from(slots) } else { 0 };
            assert_eq!(page.progress().published, expected, "after {end} stores");
            if is_begun {
                fill(&mut driver, &mut next, &regions, 1, &[9]);
                next.publish_under(&page);
                assert_eq!(taken(&mut driver), [9], "after {end} stores");
            } else {
                // It fills the same buffers.
                let frame = Memory::new(&[60]);
                for _ in 0..count {
                    let done = next.enqueue(&regions, &Hdr::default(), frame.run(0), 60, Words);
                    assert_eq!(done, Ok(Enqueue::Filled));
                }
                next.publish_under(&page);
                assert_eq!(taken(&mut driver), vec![0; count], "after {end} stores");
            }
        }
    }
}

/// What the driver has given anew since a burst was published is not written over.
#[test]
fn a_burst_that_was_published_is_not_written_again_over_what_the_driver_gave_since() {
    let mut burst = Burst::new(4, 3, 1, &[1, 2, 3, 4]);
    let (page, at) = (page(burst.memory), burst.producer.base());
    burst.producer.publish_under(&page);
    let mut progress = page.progress();
    assert_eq!(taken(&mut burst.driver), [1, 2, 3, 4]);
    for _ in 0..4 {
        let piece = burst.driver.piece(80, true);
        burst.driver.give(&[piece], false);
    }
    (progress.position, progress.burst) = (at as u16, 4);
    page.set_progress(progress);
    let (mut next, _) = burst.driver.device();
    let before = burst.ring();
    assert_eq!(next.enter(&page), Ok(()));
    assert_eq!((burst.ring(), next.base()), (before, burst.producer.base()));
}

#[test]
fn a_progress_that_no_producer_writes_is_no_position() {
    let driver = Driver::new(5, F::RING_PACKED);
    let ((mut queue, _), page) = (driver.device(), page(memory()));
    queue.leave(&page);
    let position = |position, burst| Progress { position, burst, published: 7 };
    for (progress, fits) in [
        (position(4, 0), true),
        (position(0x8004, 5), true),
        (position(5, 0), false),
        (position(0x7fff, 0), false),
        (position(0x8005, 0), false),
        (position(0, 6), false),
        (position(0, u16::MAX), false),
    ] {
        page.set_progress(progress);
        let before = queue.base();
        let (found, entered) = (queue.catch_up(Some(&page)), driver.device().0.enter(&page));
        assert_eq!((found.is_ok(), entered.is_ok()), (fits, fits), "{progress:?}");
        assert!(fits || queue.base() == before && page.progress() == progress, "{progress:?}");
    }
    assert_eq!(queue.catch_up(None), Err(Clause::Layout));
}

/// Any word, and those that are near a progress of a short ring.
fn any_progress() -> impl Strategy<Value = u64> {
    let near = |(slot, wrap, burst)| slot | wrap << 15 | burst << 16;
    prop_oneof![any::<u64>(), (0..9_u64, 0..2_u64, 0..9_u64).prop_map(near)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 500 }))]

    /// Whatever stands in the page, nothing outside of the ring is written, and nothing in it but used descriptors.
    #[test]
    fn whatever_the_page_says_slots_are_used_and_nothing_else_is_written(
        size in 1..9_u16,
        progress in any_progress(),
        journal in prop::collection::vec(any::<u64>(), 9),
        ring in prop::collection::vec(any::<u64>(), RING_WORDS as usize),
    ) {
        let driver = Driver::new(size, F::RING_PACKED);
        for (at, word) in (0..).step_by(8).zip(&ring) {
            driver.ram().write(at, *word).expect("inside");
        }
        let memory = memory();
        let page = page(memory);
        (0..).zip(&journal).for_each(|(place, word)| page.note(place, *word));
        memory.write(PROGRESS, progress).expect("inside");
        let (mut queue, _) = driver.device();
        let entered = queue.enter(&page);
        let _ = queue.catch_up(Some(&page));
        for (at, was) in ring.iter().enumerate() {
            let is: u64 = driver.ram().read(8 * at as u64).expect("inside");
            let used = [true, false].map(|wrap| DescF::used(wrap).bits());
            let flags = (is >> 48) as u16;
            let is_written = flags & DescF::WRITE.bits() != 0;
            let is_used = used.contains(&(flags & !DescF::WRITE.bits())) && is_written == (is as u32 > 0);
            let is_slot = entered.is_ok() && at % 2 == 1 && at < 2 * usize::from(size);
            prop_assert!(is == *was || is_slot && is_used, "{at}: {is:#x}");
        }
    }
}
