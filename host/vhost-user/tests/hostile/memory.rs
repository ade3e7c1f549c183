//! Memory tables and logs that can't be.

use crate::front::{Front, GPA, LEN, PACKED, PROTOCOL, SPLIT, USER, end_of};
use crate::{common, ends, ends_prepared};
use rustix::fd::AsFd;
use sluice_vhost_user::Session;
use sluice_vhost_user::memory::Mapping;
use sluice_vhost_user::message::header::Code;

#[test]
fn memory_that_overlaps_ends_the_session() {
    ends("overlaps", |front| front.memory(&[(0, 8_192), (4_096, 8_192)]));
    ends("overlaps", |front| front.memory(&[(4_096, 4_096), (0, 12_288)]));
    // The regions overlap in one of the two spaces alone.
    for (guest, user) in [(4_096, LEN), (LEN, 4_096)] {
        ends("overlaps", |front| front.table(&[[GPA, 8_192, USER, 0], [GPA + guest, 8_192, USER + user, 0]]));
    }
}

#[test]
fn memory_that_its_file_does_not_have_ends_the_session() {
    ends("of a file of 1048576", |front| front.memory(&[(0, LEN + 4_096)]));
    ends("of a file of 1048576", |front| front.table(&[[GPA, LEN, USER, 4_096]]));
}

#[test]
fn memory_that_is_not_of_whole_pages_or_wraps_ends_the_session() {
    const END: u64 = 0u64.wrapping_sub(4_096);
    for region in [
        [GPA + 8, 4_096, USER, 0],
        [GPA, 4_096, USER + 8, 0],
        [GPA, 4_088, USER, 0],
        [GPA, 4_096, USER, 1],
        [GPA, 0, USER, 0],
        [END, 8_192, USER, 0],
        [GPA, 8_192, END, 0],
        [GPA, 8_192, USER, END],
    ] {
        let gpa = region[0];
        ends(&format!("SET_MEM_TABLE: memory region at {gpa:#x} is not"), |front| front.table(&[region]));
    }
}

#[test]
fn more_memory_regions_than_a_queue_can_have_end_the_session() {
    let body = |count: u64, len: u64| -> Vec<u64> {
        let regions = (0..len).flat_map(|index| [GPA + index * 4_096, 4_096, USER + index * 4_096, 0]);
        [count].into_iter().chain(regions).collect()
    };
    let files = |front: &Front, count| front.send(Code::SET_MEM_TABLE, &body(9, count), &[front.file.as_fd(); 8]);
    ends("SET_MEM_TABLE: a body of 296 bytes, of at most 264", |front| files(front, 9));
    ends("SET_MEM_TABLE: 9 memory regions", |front| files(front, 8));
    ends("SET_MEM_TABLE: 0 memory regions", |front| front.send(Code::SET_MEM_TABLE, &body(0, 0), &[]));
    ends("SET_MEM_TABLE: a body of 72 bytes, not 104", |front| front.send(Code::SET_MEM_TABLE, &body(3, 2), &[]));
}

#[test]
fn a_second_memory_table_takes_the_place_of_the_first() {
    // The used ring lies in the first table only.
    ends("is in no memory region", |front| {
        front.features(SPLIT);
        front.memory(&[(0, LEN)]);
        front.ring(256, [0, LEN / 4, LEN / 2]);
        front.memory(&[(0, LEN / 2)]);
    });
}

/// Agrees on a log, and gives one of `len` bytes.
fn log(front: &Front, features: u64, len: u64) {
    front.protocol(1 << 1);
    front.features(features | PROTOCOL | 1 << 26);
    front.send(Code::SET_LOG_BASE, &[len, 0], &[front.file.as_fd()]);
}

fn offer(_: &Front, session: &mut Session) {
    session.offer_migration();
}

#[test]
fn a_log_that_is_too_short_ends_the_session() {
    // The memory ends at 2 MiB, which is page 512.
    ends_prepared("SET_VRING_KICK: ring 0: the log is too short", offer, |front| {
        log(front, SPLIT, 63);
        front.memory(&[(0, LEN)]);
        front.ring(256, [0, LEN / 4, LEN / 2]);
    });
    ends_prepared("SET_LOG_BASE: log: ", offer, |front| log(front, SPLIT, LEN + 1));
    ends_prepared("SET_LOG_BASE: log: ", offer, |front| log(front, SPLIT, 0));
}

#[test]
fn what_is_written_for_a_guest_that_moves_is_in_its_log() {
    let _turn = common::turn();
    for features in [SPLIT, PACKED] {
        let (front, mut session) = Front::new();
        session.offer_migration();
        let (bitmap, file) = Mapping::shared(4_096).unwrap();
        front.protocol(1 << 1);
        front.features(features | PROTOCOL);
        front.memory(&[(0, LEN)]);
        // A buffer of 5,000 bytes at page 0x108, in the first descriptor of either format.
        let memory = front.memory.slice();
        let flags = 2 | if features == PACKED { 1 << 7 } else { 0 };
        let descriptor = if features == PACKED { 5_000 | flags << 48 } else { 5_000 | flags << 32 };
        memory.copy_from_slice(0, &[(GPA + 0x8000).to_ne_bytes(), u64::to_ne_bytes(descriptor)].concat()).unwrap();
        memory.copy_from_slice(0x4000, if features == PACKED { &[0; 4] } else { &[0, 0, 1, 0] }).unwrap();
        front.ring(16, [0, 0x4000, 0x6000]);
        if features == PACKED {
            front.send(Code::SET_VRING_BASE, &[0x8000 << 32], &[]);
            front.event(Code::SET_VRING_KICK, 0);
        }
        front.send(Code::SET_VRING_ENABLE, &[1 << 32], &[]);
        front.send(Code::SET_LOG_BASE, &[4_096, 0], &[file.as_fd()]);
        assert!(end_of(&mut session).is_none());
        assert_eq!(front.reply(), (Code::SET_LOG_BASE, vec![]));
        assert!(session.device().log().is_none(), "LOG_ALL is not set yet");
        front.features(features | PROTOCOL | 1 << 26);
        assert!(end_of(&mut session).is_none());
        let device = session.device();
        assert_eq!(device.log().map(|log| (log.area.len, log.area.offset)), Some((4_096, 0)));
        assert!(device.enqueue(0, &[0xa5; 4_500]).unwrap());
        device.publish(0).unwrap();
        let mut marked = [0; 64];
        bitmap.slice().copy_to_slice(0, &mut marked).unwrap();
        // The frame has pages 0x108 and 0x109; the ring is at page 0x100, or its used entries are at page 0x106.
        let ring = if features == PACKED { 0x100 } else { 0x106 };
        let pages: Vec<_> = (0..512).filter(|page| marked[page / 8] & 1 << (page % 8) != 0).collect();
        assert_eq!(pages, if ring < 0x108 { [ring, 0x108, 0x109] } else { [0x108, 0x109, ring] });
    }
}
