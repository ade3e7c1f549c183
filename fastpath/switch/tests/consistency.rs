//! Changes, leases and counts, as the host and its readers have them.

mod flows;

use flows::{SHAPE, key, mask, memory, output, port_of, reader, writer};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_memory::CacheLine;
use sluice_switch::{Counts, CountsFault, EntryId, Key, Ledger, Quiescence, Reader, Report, Shape, Statistics, Writer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn lines(count: usize) -> Vec<CacheLine> {
    (0..count).map(|_| CacheLine::default()).collect()
}

/// Flags of TCP: SYN and ACK.
const SYN: u16 = 0x02;
const ACK: u16 = 0x10;

#[test]
fn consistency_c6_a_burst_behind_the_lease_has_no_entries() {
    let (memory, line) = (memory(SHAPE), CacheLine::default());
    let (mut writer, mut reader, mut report) =
        (writer(&memory, SHAPE), reader(&memory, SHAPE, None), Report::new(&line));
    writer.insert(&key(1, false), &mask(0b1_1101), &output(5)).expect("room");
    writer.publish();
    let mut begins = |reader: &mut Reader<'_>, now| {
        let mut hits = [None];
        if let Some(epoch) = reader.begin(&mut report, now) {
            reader.look_up(epoch, &[key(1, false)], &mut hits);
        }
        let port = hits[0].and_then(|hit| port_of(reader, &hit));
        reader.end(&mut report);
        port
    };
    assert_eq!(begins(&mut reader, 0), None, "a new table has no lease");
    writer.lease(100);
    assert_eq!([0, 99, 100, u64::MAX].map(|now| begins(&mut reader, now)), [Some(5), Some(5), None, None]);
    writer.lease(200);
    assert_eq!(begins(&mut reader, 199), Some(5));
    // A reader without a lease reports all the same.
    let mut quiescence = Quiescence::default();
    quiescence.join(0, &line, 1, 0);
    assert_eq!((begins(&mut reader, 200), quiescence.poll(1, 0, |_, fault| panic!("{fault}"))), (None, 1));
}

/// A flow, and how a reader counts packets of it.
struct Counted<'m> {
    reader: Reader<'m>,
    statistics: Statistics<'m>,
}

impl Counted<'_> {
    /// Adds a burst at time `now` of frames of `len` bytes, for keys which all have a flow.
    fn burst(&mut self, now: u64, keys: &[(Key, u16, u16)]) {
        let mut hits = vec![None; keys.len()];
        self.reader.look_up(self.reader.epoch(), &keys.iter().map(|(key, ..)| *key).collect::<Vec<_>>(), &mut hits);
        let frames = hits.iter().zip(keys).map(|(hit, (_, len, flags))| (hit.expect("a hit"), *len, *flags));
        self.statistics.add(now, frames);
    }
}

fn counted<'m>(memory: &'m [CacheLine], shape: Shape, records: &'m [CacheLine]) -> Counted<'m> {
    Counted { reader: reader(memory, shape, None), statistics: Statistics::new(records).expect("a power of two") }
}

fn insert(writer: &mut Writer<'_>, number: u32) -> EntryId {
    let id = writer.insert(&key(number, false), &mask(0b1_1101), &output(1)).expect("room");
    writer.publish();
    id
}

#[test]
fn a_burst_is_counted_by_flow() {
    let (memory, records) = (memory(SHAPE), lines(64));
    let mut writer = writer(&memory, SHAPE);
    let ids: Vec<_> = (0..40).map(|number| insert(&mut writer, number)).collect();
    let (mut ledger, mut counted) = (Ledger::new(&records), counted(&memory, SHAPE, &records));
    let frames: Vec<_> =
        (0..80).map(|at| (key(at * 7 % 40, false), 60 + at as u16, if at < 40 { SYN } else { ACK })).collect();
    counted.burst(1_000, &frames);
    counted.burst(2_000, &frames[..1]);
    for (number, id) in (0..).zip(&ids) {
        let own = (0..80u32).filter(|at| at * 7 % 40 == number);
        let (mut packets, mut bytes) =
            own.fold((0, 0), |(packets, bytes), at| (packets + 1, bytes + 60 + u64::from(at)));
        if number == 0 {
            (packets, bytes) = (packets + 1, bytes + 60);
        }
        let wanted = Counts { packets, bytes, used: if number == 0 { 2_000 } else { 1_000 }, tcp_flags: SYN | ACK };
        assert_eq!((ledger.collect(*id), ledger.collect(*id)), (Ok(wanted), Ok(wanted)), "{number}");
    }
    assert!(Statistics::new(&records[..3]).is_none() && Statistics::new(&[]).is_none());
    assert_eq!(Ledger::new(&records[..1]).collect(ids[1]), Ok(Counts::default()), "no record, no counts");
}

/// An entry becomes another flow's: what the first one had is not the second one's, also before that has a packet.
#[test]
fn consistency_c7_a_flow_is_given_no_counts_of_another() {
    let shape = Shape { entries: 4, lists: 1 };
    let (memory, records) = (memory(shape), lines(4));
    let (mut writer, mut ledger) = (writer(&memory, shape), Ledger::new(&records));
    let mut counted = counted(&memory, shape, &records);
    let mut ids: Vec<_> = (0..4).map(|number| insert(&mut writer, number)).collect();
    counted.burst(5, &[(key(2, false), 60, SYN)]);
    assert!(writer.remove(ids[2]));
    let epoch = writer.publish();
    assert_eq!((writer.dead(epoch - 1).count(), writer.dead(epoch).collect::<Vec<_>>()), (0, vec![ids[2]]));
    let last = ledger.collect(ids[2]);
    writer.reclaim(epoch);
    let first = std::mem::replace(&mut ids[2], insert(&mut writer, 9));
    assert_eq!((ids[2].index(), writer.dead(u64::MAX).count()), (first.index(), 0));
    assert_eq!((last.map(|it| it.packets), ledger.collect(ids[2])), (Ok(1), Ok(Counts::default())));
    counted.burst(6, &[(key(9, false), 70, ACK); 3]);
    let counts = Counts { packets: 3, bytes: 210, used: 6, tcp_flags: ACK };
    let collected = [ids[2], first, ids[2]].map(|id| ledger.collect(id));
    assert_eq!(collected, [Ok(counts), Ok(Counts::default()), Ok(counts)]);
}

#[test]
fn consistency_c7_counts_go_on_when_a_reader_starts_anew() {
    let (memory, records, new) = (memory(SHAPE), lines(64), lines(64));
    let mut writer = writer(&memory, SHAPE);
    let (id, mut ledger) = (insert(&mut writer, 1), Ledger::new(&records));
    let burst = [(key(1, false), 100, SYN); 4];
    counted(&memory, SHAPE, &records).burst(50, &burst);
    let before = ledger.collect(id).expect("in order");
    // Less than before: counts of a reader that started anew and did not say so are not believed.
    let mut counted = counted(&memory, SHAPE, &records);
    counted.burst(60, &burst[..1]);
    assert_eq!(ledger.collect(id), Err(CountsFault { entry: id.index() }));
    ledger.restart(&new);
    assert_eq!(ledger.collect(id), Ok(before));
    counted.statistics = Statistics::new(&new).expect("a power of two");
    for (packets, used) in [(1, 50), (2, 50), (3, 70)] {
        counted.burst(used.min(10 * packets + 40), &[(key(1, false), 100, ACK)]);
        let counts = ledger.collect(id).expect("in order");
        assert_eq!((counts.packets, counts.bytes, counts.tcp_flags), (4 + packets, 400 + 100 * packets, SYN | ACK));
        assert!(counts.used >= 50);
    }
}

proptest! {
    /// Random words spoil what is known of their own reader; and even that never runs backwards.
    #[test]
    fn consistency_c7_random_records_spoil_only_the_counts_of_their_reader(
        writes in vec((0usize..4, 0usize..8, prop_oneof![0u64..6, any::<u64>(), Just(u64::MAX)]), 0..60),
    ) {
        let shape = Shape { entries: 4, lists: 1 };
        let (memory, wild, honest) = (memory(shape), lines(4), lines(4));
        let mut writer = writer(&memory, shape);
        let ids: Vec<_> = (0..4).map(|number| insert(&mut writer, number)).collect();
        let mut ledgers = [Ledger::new(&wild), Ledger::new(&honest)];
        // The generations are right, until they are written, too.
        let known = ids.iter().zip(&wild);
        known.for_each(|(id, record)| record.words()[0].store(id.generation().into(), Ordering::Relaxed));
        let mut counted = counted(&memory, shape, &honest);
        let mut last = [Counts::default(); 4];
        for (packets, (at, word, value)) in (1..).zip(writes) {
            wild[at].words()[word].store(value, Ordering::Relaxed);
            counted.burst(packets, &[(key(2, false), 60, ACK)]);
            for (id, last) in ids.iter().zip(&mut last) {
                let [wild, honest] = ledgers.each_mut().map(|ledger| ledger.collect(*id));
                let (honest, packets) = (honest.expect("in order"), if *id == ids[2] { packets } else { 0 });
                prop_assert_eq!((honest.packets, honest.bytes), (packets, 60 * packets));
                let (now, sum) = (wild.unwrap_or(*last), wild.unwrap_or(*last).and(honest));
                prop_assert!(now.packets >= last.packets && now.bytes >= last.bytes, "it ran backwards");
                prop_assert!(sum.packets >= now.packets.max(packets) && sum.bytes >= now.bytes.max(60 * packets));
                *last = now;
            }
        }
    }
}

/// Readers in threads that rest now and then, and a host that changes a flow as fast as they report. Behind each change
/// nothing goes by what it removed, and what was counted for it is exactly what went by it.
#[test]
fn consistency_c1_c7_after_a_change_nothing_goes_by_what_it_removed_and_its_counts_are_exact() {
    const CHANGES: usize = 3_000;
    let shape = Shape { entries: 4, lists: 4 };
    let (memory, reports, records) = (memory(shape), lines(2), [lines(4), lines(4)]);
    let delivered: Vec<_> = (0..=CHANGES).map(|_| AtomicU64::new(0)).collect();
    let over = AtomicBool::new(false);
    let mut writer = writer(&memory, shape);
    writer.lease(u64::MAX);
    let add = |writer: &mut Writer<'_>, port: usize| {
        writer.insert(&key(1, false), &mask(0b1_1101), &output(port as u16)).expect("room")
    };
    let mut id = add(&mut writer, 0);
    writer.publish();
    std::thread::scope(|scope| {
        let (mut ledgers, mut quiescence) = (records.each_ref().map(|it| Ledger::new(it)), Quiescence::default());
        let (mut readers, end) = (Vec::new(), End(&over));
        for (number, line) in (0..).zip(&reports) {
            quiescence.join(number, line, 1, 0);
            let (memory, records, delivered, over) = (&memory, &records[number as usize], &delivered, &over);
            readers.push(
                scope.spawn(move || deliver(counted(memory, shape, records), Report::new(line), delivered, over)),
            );
        }
        let wait = |until: &mut dyn FnMut() -> bool| {
            while !until() {
                assert!(!readers.iter().any(|reader| reader.is_finished()), "a reader failed");
                std::thread::yield_now();
            }
        };
        let mut done = Vec::new();
        for change in 1..=CHANGES {
            // Every other flow goes as soon as it came.
            wait(&mut || change % 2 == 0 || delivered[change - 1].load(Ordering::Relaxed) > 0);
            assert!(writer.remove(id));
            let old = std::mem::replace(&mut id, add(&mut writer, change));
            let epoch = writer.publish();
            wait(&mut || quiescence.poll(epoch, 0, |_, fault| panic!("{fault}")) == epoch);
            let sum = |ledger: &mut Ledger<'_>| ledger.collect(old).expect("in order");
            let counts = ledgers.iter_mut().map(sum).fold(Counts::default(), Counts::and);
            let uses = delivered[change - 1].load(Ordering::Relaxed);
            assert_eq!((counts.packets, counts.bytes), (uses, 60 * uses), "change {change}");
            assert_eq!(writer.dead(epoch).collect::<Vec<_>>(), [old]);
            writer.reclaim(epoch);
            done.push(uses);
        }
        // Readers go on for a while, so that a late use of a flow would show.
        std::thread::sleep(Duration::from_millis(5));
        drop(end);
        assert!(done.iter().zip(&delivered).all(|(done, now)| *done == now.load(Ordering::Relaxed)));
        assert!(done.iter().sum::<u64>() > 1_000, "few frames went while flows changed");
    });
}

/// Ends the readers, also when the host's side panics.
struct End<'t>(&'t AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends frames of one flow until all is over. The output port is the number of the change that added the flow.
fn deliver(mut counted: Counted<'_>, mut report: Report<&CacheLine>, delivered: &[AtomicU64], over: &AtomicBool) {
    let (keys, mut hits) = ([key(1, false); 3], [None; 3]);
    for burst in 1.. {
        let epoch = counted.reader.begin(&mut report, burst).expect("a lease");
        counted.reader.look_up(epoch, &keys, &mut hits);
        for hit in &hits {
            let hit = hit.as_ref().expect("every epoch has the flow");
            let port = port_of(&counted.reader, hit).expect("it is not used again while this burst goes on");
            delivered[usize::from(port)].fetch_add(1, Ordering::Relaxed);
        }
        counted.statistics.add(burst, hits.iter().flatten().map(|hit| (*hit, 60, ACK)));
        counted.reader.end(&mut report);
        if over.load(Ordering::Relaxed) {
            break;
        }
        if burst % 8 == 0 {
            report.rest();
            std::thread::yield_now();
        }
    }
}
