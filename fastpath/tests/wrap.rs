//! Ports around a port: frames pass as they would without, but for the purpose of the wrapper.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use proptest::prelude::*;
use sluice::wrap::{Counter, FaultInjector, Faults, PcapWriter, Rate, RateLimiter};
use sluice::{
    BufferLen, Burst, MAX_BURST, Mempool, PeerIdx, PeerPort, RX_SIZE, Receive, RingFormat, RxError, RxStats, Scatter,
    Transmit, TxError, TxStats,
};
use sluice_abi::Gpa;
use sluice_test_memory::zeroed;
use std::cell::Cell;
use world::{World, contents, frame, pool, push};

/// A port from which sent frames come back. The other end takes a number of frames before it is full, and no frame
/// longer than `longest`.
struct Wire<'p> {
    frames: Burst<'p>,
    most: usize,
    longest: u16,
    /// The error about a longer frame, which is the first of the burst.
    refusal: TxError,
}

const TOO_LONG: TxError = TxError::TooLong { peer: PeerIdx(0), index: 0 };

impl<'p> Wire<'p> {
    fn new(pool: &'p Mempool<'p>) -> Self {
        Self { frames: pool.burst(), most: MAX_BURST, longest: u16::MAX, refusal: TOO_LONG }
    }
}

impl Transmit for Wire<'_> {
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        for sent in 0..most.min(burst.len()) {
            if self.frames.len() == self.most {
                return Ok(sent);
            }
            if burst.frame(0).expect("there").len() > self.longest {
                return Err(self.refusal);
            }
            burst.move_to(0, &mut self.frames).expect("room");
        }
        Ok(most.min(burst.len() + most))
    }

    fn tx_stats(&self) -> TxStats {
        TxStats::NONE
    }
}

impl Receive for Wire<'_> {
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        Ok(into.append(&mut self.frames, most).expect("one pool"))
    }

    fn rx_stats(&self) -> RxStats {
        RxStats::NONE
    }
}

fn small() -> &'static Mempool<'static> {
    pool(Gpa(0), zeroed(4 << 20), BufferLen::KiB2, 1024)
}

/// Returns headers and frames of a classic capture file with nanoseconds.
fn records(file: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four"));
    assert_eq!([0, 4, 8, 12, 16, 20].map(word), [0xa1b2_3c4d, 0x4_0002, 0, 0, 65_535, 1]);
    let (mut at, mut records) = (24, Vec::new());
    while at < file.len() {
        let (seconds, nanoseconds, len) = (word(at), word(at + 4), word(at + 8) as usize);
        assert_eq!((word(at + 12) as usize, nanoseconds < 1_000_000_000), (len, true));
        records
            .push((u64::from(seconds) * 1_000_000_000 + u64::from(nanoseconds), file[at + 16..at + 16 + len].to_vec()));
        at += 16 + len;
    }
    records
}

#[test]
fn a_capture_has_each_frame_once_when_it_was_delivered_or_received() {
    for format in RingFormat::ALL {
        let (gate, pool, receivers) = World::all(MAX_BURST, format);
        let (now, mut sent_file, mut received_file) = (Cell::new(7_000_000_123u64), Vec::new(), Vec::new());
        let clock = || now.replace(now.get() + 1_000_000_001);
        let into = |file: &mut Vec<u8>, bytes: &[u8]| {
            file.extend_from_slice(bytes);
            Ok::<(), ()>(())
        };
        let mut port = PcapWriter::new(Scatter::new(&gate), |bytes: &[u8]| into(&mut sent_file, bytes), clock);
        let [mut one, mut two] = receivers;
        let mut input = PcapWriter::new(&mut one.net, |bytes: &[u8]| into(&mut received_file, bytes), clock);
        let mut burst = pool.burst();
        let lens = [60, 300, 1515, 256, 257, 1514];
        for (number, len) in lens.into_iter().enumerate() {
            push(&mut burst, number, len);
            burst.set_peer(number, PeerIdx(number as u8 % 2)).expect("there");
        }
        for _ in 0..3 {
            assert!(matches!(port.tx_burst(&mut burst, MAX_BURST), Err(TxError::TooLong { index: 0, .. })));
        }
        assert!(burst.remove(0));
        let mut arrived = one.pool.burst();
        assert_eq!(input.rx_burst(&mut arrived, 1), Ok(1));
        assert_eq!(input.rx_burst(&mut arrived, 9), Ok(1));
        assert_eq!((two.take().len(), port.error(), input.error()), (3, None, None));
        let at = |number: usize| (number, lens[number]);
        let frames = |numbers: &[usize]| -> Vec<Vec<u8>> {
            numbers.iter().map(|&number| at(number)).map(|(number, len)| frame(number, len)).collect()
        };
        let file = records(&sent_file);
        assert!(file.iter().map(|(time, _)| *time).eq((7..12).map(|second| second * 1_000_000_000 + 123 + second - 7)));
        assert!(file.iter().map(|(_, bytes)| bytes.clone()).eq(frames(&[0, 1, 3, 4, 5])), "{format:?}");
        assert!(records(&received_file).into_iter().map(|(_, bytes)| bytes).eq(frames(&[0, 4])));
    }
}

#[test]
fn a_sink_that_is_full_ends_the_capture_and_not_the_port() {
    let (pool, mut room) = (small(), 24 + 16 + 60 + 10);
    let sink = |bytes: &[u8]| {
        room = usize::checked_sub(room, bytes.len()).ok_or("full")?;
        Ok::<(), &str>(())
    };
    let mut port = PcapWriter::new(Wire::new(pool), sink, || 0);
    let mut burst = pool.burst();
    [60, 60, 8].iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
    assert_eq!((port.tx_burst(&mut burst, 1), port.error()), (Ok(1), None));
    assert_eq!((port.tx_burst(&mut burst, 2), port.error()), (Ok(2), Some(&"full")));
    assert_eq!((port.rx_burst(&mut burst, 9), burst.len()), (Ok(3), 3));
}

#[test]
fn a_counter_counts_what_moved_by_length() {
    let pool = small();
    let mut port = Counter::new(Wire { most: 7, longest: 1600, ..Wire::new(pool) });
    let mut burst = pool.burst();
    let lens = [64, 65, 255, 256, 1023, 1518, 1519, 60];
    lens.iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
    assert_eq!((port.tx_burst(&mut burst, MAX_BURST), port.tx_burst(&mut burst, MAX_BURST)), (Ok(7), Ok(0)));
    assert_eq!((port.sent().calls, port.sent().idle_calls, port.sent().frames), (2, 1, [1, 1, 1, 1, 1, 1, 1]));
    burst.clear();
    assert_eq!((port.rx_burst(&mut burst, 3), port.rx_burst(&mut burst, 0)), (Ok(3), Ok(0)));
    assert_eq!((port.received().calls, port.received().idle_calls), (2, 1));
    assert_eq!(port.received().frames, [1, 1, 1, 0, 0, 0, 0]);
}

#[test]
fn no_more_passes_than_the_rate_allows_and_nothing_is_lost() {
    let (pool, now) = (small(), Cell::new(1000));
    // The rate is 3 bytes in 2 ticks, and 3,000 bytes at once.
    let rate = Rate { bytes: 3, ticks: 2, depth: 3000 };
    let mut port = RateLimiter::new(Wire::new(pool), rate, || now.get());
    let mut burst = pool.burst();
    (0..100).for_each(|number| push(&mut burst, number, 1000));
    assert_eq!((port.tx_burst(&mut burst, MAX_BURST), port.tx_burst(&mut burst, MAX_BURST)), (Ok(3), Ok(0)));
    let mut sent = 0;
    for _ in 0..2000 {
        now.set(now.get() + 1);
        sent += port.tx_burst(&mut burst, MAX_BURST).expect("room");
    }
    // 2,000 ticks are 3,000 bytes: three frames, the last of which may begin with the last byte before it.
    assert_eq!((sent, burst.len()), (3, 94));
    now.set(now.get() + 1_000_000);
    assert_eq!((port.tx_burst(&mut burst, 2), port.tx_burst(&mut burst, MAX_BURST)), (Ok(2), Ok(1)));
    let mut arrived = pool.burst();
    let mut wire = RateLimiter::new(port.into_inner(), rate, || now.get());
    assert_eq!(
        (wire.rx_burst(&mut arrived, 2), wire.rx_burst(&mut arrived, 9), wire.rx_burst(&mut arrived, 9)),
        (Ok(2), Ok(1), Ok(0))
    );
    now.set(now.get() + 666);
    assert_eq!((wire.rx_burst(&mut arrived, 9), wire.rx_burst(&mut arrived, 9)), (Ok(1), Ok(0)));
    now.set(u64::MAX);
    while wire.rx_burst(&mut arrived, 9) != Ok(0) {}
    assert_eq!(contents(&arrived), (0..9).map(|number| frame(number, 1000)).collect::<Vec<_>>()[..arrived.len()]);
}

const ALL_LOST: Faults = Faults { loss: 1_000_000, reorder: 0, delay: 0, ticks: 0 };
const ALL_LATE: Faults = Faults { loss: 0, reorder: 0, delay: 1_000_000, ticks: 100 };

#[test]
fn a_lost_frame_is_counted_and_its_buffer_is_not_lost() {
    let (pool, mut burst) = (small(), small().burst());
    drop(burst);
    burst = pool.burst();
    let mut port = FaultInjector::new(Wire::new(pool), pool, ALL_LOST, 1, || 0);
    (0..10).for_each(|number| push(&mut burst, number, 60));
    assert_eq!((port.tx_burst(&mut burst, 4), port.tx_stats().dropped, burst.len()), (Ok(4), 4, 6));
    assert_eq!(
        (port.tx_burst(&mut burst, 99), port.tx_stats().dropped, port.rx_burst(&mut burst, 9)),
        (Ok(6), 10, Ok(0))
    );
    port.set_faults(Faults::default());
    (0..3).for_each(|number| push(&mut burst, number, 60));
    assert_eq!(port.tx_burst(&mut burst, 99), Ok(3));
    port.set_faults(ALL_LOST);
    assert_eq!((port.rx_burst(&mut burst, 9), port.rx_stats().dropped, port.tx_stats().dropped), (Ok(0), 3, 10));
    drop((burst, port));
    assert_eq!(pool.available(), pool.capacity());
}

#[test]
fn a_late_frame_comes_when_it_is_due_and_not_before() {
    let (pool, now) = (small(), Cell::new(0));
    let mut port = FaultInjector::new(Wire::new(pool), pool, ALL_LATE, 1, || now.get());
    let (mut burst, mut arrived) = (pool.burst(), pool.burst());
    push(&mut burst, 0, 60);
    assert_eq!((port.tx_burst(&mut burst, 9), port.held()), (Ok(1), (0, 1)));
    now.set(50);
    push(&mut burst, 1, 61);
    assert_eq!((port.tx_burst(&mut burst, 9), port.held()), (Ok(1), (0, 2)));
    for (at, held) in [(99, 2), (100, 1), (149, 1), (150, 0)] {
        now.set(at);
        assert_eq!((port.tx_burst(&mut burst, 9), port.held()), (Ok(0), (0, held)), "{at}");
    }
    // The same holds for frames that are received.
    assert_eq!((port.rx_burst(&mut arrived, 1), port.held()), (Ok(0), (1, 0)));
    now.set(200);
    port.set_faults(Faults::default());
    assert_eq!((port.rx_burst(&mut arrived, 9), port.held()), (Ok(1), (1, 0)));
    now.set(250);
    assert_eq!((port.rx_burst(&mut arrived, 0), port.rx_burst(&mut arrived, 9)), (Ok(0), Ok(1)));
    assert_eq!(contents(&arrived), [frame(1, 61), frame(0, 60)]);
}

#[test]
fn a_held_frame_that_nobody_takes_is_the_callers_again() {
    for (refusal, named) in [
        (TOO_LONG, TxError::TooLong { peer: PeerIdx(0), index: 1 }),
        (
            TxError::DeviceTooLong { index: 0, len: 101, longest: 100 },
            TxError::DeviceTooLong { index: 1, len: 101, longest: 100 },
        ),
        (TxError::DeviceOffload { index: 0 }, TxError::DeviceOffload { index: 1 }),
    ] {
        let (pool, now) = (small(), Cell::new(0));
        let wire = Wire { longest: 100, refusal, ..Wire::new(pool) };
        let mut port = FaultInjector::new(wire, pool, ALL_LATE, 1, || now.get());
        let mut burst = pool.burst();
        [60, 101, 61].iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
        assert_eq!((port.tx_burst(&mut burst, 9), port.held()), (Ok(3), (0, 3)));
        now.set(100);
        port.set_faults(Faults::default());
        push(&mut burst, 3, 62);
        push(&mut burst, 4, 102);
        assert_eq!(port.tx_burst(&mut burst, 1), Err(named));
        assert_eq!(contents(&burst), [frame(4, 102), frame(1, 101)]);
        assert_eq!(port.held(), (0, 1));
        burst.clear();
        assert_eq!((port.tx_burst(&mut burst, 9), port.held(), port.tx_stats().dropped), (Ok(0), (0, 0), 0));
        let mut arrived = pool.burst();
        assert_eq!(port.rx_burst(&mut arrived, 9), Ok(3));
        assert_eq!(contents(&arrived), [frame(3, 62), frame(0, 60), frame(2, 61)]);
    }
}

/// A frame comes back that the port inside held before it was counted.
#[test]
fn a_frame_that_was_sent_before_a_counter_is_none_of_its() {
    let (pool, now) = (small(), Cell::new(0));
    let wire = Wire { longest: 100, ..Wire::new(pool) };
    let mut inside = FaultInjector::new(wire, pool, ALL_LATE, 1, || now.get());
    let mut burst = pool.burst();
    push(&mut burst, 0, 101);
    assert_eq!(inside.tx_burst(&mut burst, 9), Ok(1));
    now.set(100);
    let mut port = Counter::new(inside);
    assert_eq!((port.tx_burst(&mut burst, 9), burst.len()), (Err(TOO_LONG), 1));
    assert_eq!((port.sent().calls, port.sent().frames), (1, [0; 7]));
}

#[test]
fn a_burst_of_another_pool_is_refused() {
    let (pool, other) = (small(), small());
    let mut port = FaultInjector::new(Wire::new(pool), pool, ALL_LOST, 1, || 0);
    let mut burst = other.burst();
    push(&mut burst, 0, 60);
    assert_eq!(port.tx_burst(&mut burst, 9), Err(TxError::ForeignPool));
    assert_eq!((port.rx_burst(&mut burst, 9), burst.len()), (Err(RxError::ForeignPool), 1));
}

/// Sends `count` numbered frames through faults and a slow wire. Returns the order in which they arrived, and how many
/// were lost.
fn through(faults: Faults, seed: u64, count: usize, most: usize) -> (Vec<usize>, u64) {
    let (pool, now) = (small(), Cell::new(0));
    let wire = Wire { most: 40, ..Wire::new(pool) };
    let mut port = FaultInjector::new(wire, pool, faults, seed, || now.get());
    let (mut burst, mut back, mut made, mut arrived) = (pool.burst(), pool.burst(), 0, Vec::new());
    for _ in 0..100_000 {
        while burst.len() < 60 && made < count {
            let mut new = burst.push(60).expect("a buffer");
            new.set_mark(made as u32);
            made += 1;
        }
        port.tx_burst(&mut burst, most).expect("nothing is wrong");
        now.set(now.get() + 1);
        port.rx_burst(&mut back, most).expect("nothing is wrong");
        arrived.extend(back.frames().map(|frame| frame.mark() as usize));
        back.clear();
        if made == count
            && burst.is_empty()
            && port.held() == (0, 0)
            && arrived.len() as u64 + port.tx_stats().dropped + port.rx_stats().dropped == count as u64
        {
            break;
        }
    }
    (arrived, port.tx_stats().dropped + port.rx_stats().dropped)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_not_decided_to_be_lost_arrives_once(
        loss in 0u32..300_000,
        reorder in 0u32..300_000,
        delay in 0u32..300_000,
        ticks in 0u64..20,
        seed: u64,
        most in 1usize..64,
    ) {
        let faults = Faults { loss, reorder, delay, ticks };
        let (arrived, lost) = through(faults, seed, 500, most);
        let mut once = arrived.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!((once.len(), arrived.len() + lost as usize), (arrived.len(), 500));
        prop_assert_eq!(through(faults, seed, 500, most), (arrived, lost));
    }
}

#[test]
fn without_faults_all_arrive_in_order_and_with_faults_about_so_many_do_not() {
    assert_eq!(through(Faults::default(), 7, 2000, 32), ((0..2000).collect(), 0));
    let (arrived, lost) = through(Faults { loss: 100_000, ..Faults::default() }, 7, 5000, 32);
    // Each frame passes twice: 19 of 100 are lost.
    assert!(arrived.is_sorted() && (850..1050).contains(&lost), "{lost}");
    let (arrived, lost) = through(Faults { reorder: 100_000, ..Faults::default() }, 7, 2000, 32);
    assert!(!arrived.is_sorted() && lost == 0);
}

/// A real port works in three wrappers.
#[test]
fn wrappers_go_around_wrappers() {
    let (gate, pool, mut receivers) = World::all(MAX_BURST, RingFormat::default());
    let rate = Rate { bytes: 1, ticks: 1, depth: 150 };
    let slow = RateLimiter::new(PeerPort::new(&gate, PeerIdx(0)), rate, || 0);
    let mut port = Counter::new(FaultInjector::new(slow, pool, Faults::default(), 1, || 0));
    let mut burst = pool.burst();
    (0..5).for_each(|number| push(&mut burst, number, 60));
    assert_eq!((port.tx_burst(&mut burst, RX_SIZE), burst.len(), port.tx_stats().packets), (Ok(3), 2, 3));
    assert_eq!((receivers[0].take(), port.sent().frames[0]), ((0..3).map(|number| frame(number, 60)).collect(), 3));
}
