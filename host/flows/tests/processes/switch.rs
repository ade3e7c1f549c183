//! The side of the process that is the in-VM switch: its device has frames of one flow without end.

use crate::memory::{B, Pace, SLOW, Shared, now, word};
use crate::world::{access, gate, pool};
use rustix::process::{Signal, set_parent_process_death_signal};
use sluice::{BufferLen, Burst, Receive, RxError, RxStats, Transmit, TxError, TxStats};
use sluice_abi::Gpa;
use sluice_abi::flows::{SLOW_HEADER, SlowHeader, SlowKind};
use sluice_memory::CacheLine;
use sluice_switch::{FlowMemory, Switch};
use sluice_test_memory::zeroed;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use zerocopy::{FromBytes, IntoBytes};

/// Number of frames that are on their way at [`Pace::Window`]: no more than a ring has buffers.
const WINDOW: u64 = 200;
/// Most frames that the device gives at once.
const MOST: usize = 64;
/// Where a frame has its number.
pub const NUMBER: usize = 42;

/// The device. It drops what the switch sends by the slow path, and says so, as a host may.
struct Source {
    words: &'static CacheLine,
    /// Frames that were given.
    given: u64,
    /// Frames that came by the slow path.
    dropped: u64,
    /// The last number on the slow path, if the switch does not know that all is decided.
    decided: Option<u64>,
}

/// Returns frame `number` of the flow.
pub fn frame(number: u64) -> [u8; 60] {
    let mut bytes = [0; 60];
    bytes[12..14].copy_from_slice(&[0x08, 0x00]);
    bytes[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
    bytes[26..40].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2, 0, 5, 0, 53, 0, 26]);
    bytes[NUMBER..NUMBER + 8].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn is_flood(words: &CacheLine) -> bool {
    words.words()[word::PACE].load(Relaxed) == Pace::Flood as u64
}

impl Source {
    /// Returns how many frames may be given now.
    fn room(&self) -> usize {
        if is_flood(self.words) {
            return MOST;
        }
        let taken = self.words.words()[word::TAKEN].load(Relaxed) + self.dropped;
        WINDOW.saturating_sub(self.given.saturating_sub(taken)) as usize
    }
}

impl Receive for Source {
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        let before = into.len();
        if let Some(number) = self.decided.take() {
            let done = SlowHeader { kind: SlowKind::Done as u32, port: 0, number };
            into.push_bytes(done.as_bytes()).expect("room").set_mark(SLOW.into());
        }
        for _ in 0..self.room().min(MOST).min(most.saturating_sub(1)) {
            let Ok(mut frame) = into.push_bytes(&frame(self.given)) else { break };
            frame.set_mark(B);
            self.given += 1;
        }
        Ok(into.len() - before)
    }

    fn rx_stats(&self) -> RxStats {
        RxStats::NONE
    }
}

impl Transmit for Source {
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        let taken = most.min(burst.len());
        for frame in burst.frames().take(taken) {
            let bytes = frame.head::<{ SLOW_HEADER as usize }>(0).expect("a header");
            let header = SlowHeader::read_from_bytes(&bytes).expect("a header");
            self.decided = self.decided.max(Some(header.number));
        }
        self.dropped += taken as u64;
        burst.drop_front(taken);
        Ok(taken)
    }

    fn tx_stats(&self) -> TxStats {
        TxStats::NONE
    }
}

/// Forwards until this process is killed, or the host's ends.
pub fn run() -> ! {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("the signal at the host's end");
    let file = std::io::stdin().as_fd().try_clone_to_owned().expect("the shared memory");
    let shared = Shared::open(&file);
    let packets = zeroed(4 << 20);
    let pool = pool(Gpa(0), packets, BufferLen::KiB2, 1024);
    let gate = Box::leak(Box::new(gate(access(shared.directory, shared.slot, packets))));
    let flows = FlowMemory::open(shared.table, shared.records).expect("flow memory");
    let source = Source { words: shared.words, given: 0, dropped: 0, decided: None };
    let mut switch = Switch::new(source, (gate, pool), flows, None, now).expect("a switch");
    let (mut burst, mut idle) = (pool.burst(), 0u32);
    loop {
        let count = switch.rx_burst(&mut burst, MOST).expect("frames");
        switch.tx_burst(&mut burst, count).expect("a burst of the pool");
        if count == 0 {
            idle = idle.wrapping_add(1);
            if idle.is_multiple_of(4) {
                switch.rest();
            }
            std::thread::yield_now();
        }
        if is_flood(shared.words) {
            // The host has time to see what was reported while frames wait.
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}
