//! Bursts whose publishing was interrupted, in every format.

use super::*;
use crate::Regions;
use crate::driver::Driver;
use crate::peer::Memory;
use sluice_abi::net::{F, Hdr};
use sluice_memory::Words;

const FORMATS: [(F, u16); 4] = [(F::empty(), 8), (F::IN_ORDER, 8), (F::RING_PACKED, 8), (F::RING_PACKED, 5)];

/// Gives and fills `count` buffers.
fn fill(driver: &mut Driver, queue: &mut DeviceQueue, regions: &Regions, count: usize) {
    let frame = Memory::new(&[64]);
    for _ in 0..count {
        let piece = driver.piece(100, true);
        driver.give(&[piece], false);
        let done = queue.enqueue(regions, &Hdr::default(), frame.run(0), 64, Words);
        assert_eq!(done, Ok(Enqueue::Filled));
    }
}

#[test]
fn a_burst_whose_publishing_was_interrupted_is_published_once() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut queue, regions) = driver.device();
        for _ in 0..if cfg!(miri) { 3 } else { 10 } {
            // Before the first write that the driver sees, and after the last.
            fill(&mut driver, &mut queue, &regions, 3);
            queue.publish_again();
            assert_eq!([driver.take(), driver.take(), driver.take()].map(|taken| taken.is_some()), [true; 3]);
            fill(&mut driver, &mut queue, &regions, 2);
            let mut late = queue.clone();
            queue.publish();
            assert!(driver.take().is_some() && driver.take().is_some());
            // The driver gives the same slots anew, before the interrupted publishing goes on.
            for _ in 0..size {
                let piece = driver.piece(100, true);
                driver.give(&[piece], false);
            }
            late.publish_again();
            assert_eq!(driver.take(), None);
            let frame = Memory::new(&[64]);
            for _ in 0..size {
                let done = late.enqueue(&regions, &Hdr::default(), frame.run(0), 64, Words);
                assert_eq!(done, Ok(Enqueue::Filled));
            }
            late.publish();
            (0..size).for_each(|_| assert!(driver.take().is_some()));
            queue = late;
        }
    }
}
