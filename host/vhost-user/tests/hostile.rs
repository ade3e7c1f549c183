//! Front-ends that break the protocol: the session ends with an error that says why, and leaves nothing behind.

mod common;

use common::Open;
use sluice_abi::net::F;
use sluice_vhost_user::memory::Mapping;
use sluice_vhost_user::{Offer, Session};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use vhost::vhost_user::Frontend;
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::EventFd;

const LEN: u64 = 1 << 20;
/// The address that the front-end claims to have guest-physical `GPA` at.
const USER: u64 = 0x7000_0000_0000;
const GPA: u64 = 0x10_0000;
const SPLIT: u64 = F::VERSION_1.bits();
const PACKED: u64 = SPLIT | F::RING_PACKED.bits();

/// A front-end, and memory that it can share.
struct Hostile {
    messages: Frontend,
    socket: UnixStream,
    file: std::fs::File,
    event: EventFd,
    _memory: Mapping,
}

impl Hostile {
    fn region(&self, at: u64, len: u64) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: GPA + at,
            memory_size: len,
            userspace_addr: USER + at,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    fn features(&self, features: u64) {
        self.messages.set_features(features).unwrap();
    }

    fn memory(&self, regions: &[(u64, u64)]) {
        let regions: Vec<_> = regions.iter().map(|&(at, len)| self.region(at, len)).collect();
        self.messages.set_mem_table(&regions).unwrap();
    }

    /// Sets up ring 0 with areas at these offsets from [`USER`], and starts it.
    fn ring(&self, size: u16, [desc, driver, device]: [u64; 3]) {
        self.messages.set_vring_num(0, size).unwrap();
        self.messages.set_vring_base(0, 0).unwrap();
        let config = VringConfigData {
            desc_table_addr: USER.wrapping_add(desc),
            avail_ring_addr: USER.wrapping_add(driver),
            used_ring_addr: USER.wrapping_add(device),
            ..VringConfigData::default()
        };
        self.messages.set_vring_addr(0, &config).unwrap();
        self.messages.set_vring_kick(0, &self.event).unwrap();
    }

    /// Sends a message of these words, without descriptors.
    fn raw(&self, request: u32, body: &[u64]) {
        let head = [request, 1, 8 * body.len() as u32];
        let bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        let body: Vec<u8> = body.iter().flat_map(|word| word.to_le_bytes()).collect();
        (&self.socket).write_all(&[bytes, body].concat()).unwrap();
    }
}

/// Returns the error that ends the session of a front-end that does `act`, if one does.
fn end_of(act: impl Fn(&Hostile)) -> Option<String> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (memory, file) = Mapping::shared(LEN).unwrap();
    let hostile = Hostile {
        messages: Frontend::from_stream(theirs.try_clone().unwrap(), 64),
        socket: theirs,
        file,
        event: EventFd::new(0).unwrap(),
        _memory: memory,
    };
    let features = F::VERSION_1 | F::RING_PACKED;
    let mut session = Session::new(ours, Offer { features, pairs: 2 });
    act(&hostile);
    loop {
        match session.handle(Duration::ZERO) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(error.to_string()),
        }
    }
}

/// Asserts that `act` ends the session with an error that has `why` in it, and that nothing stays open.
#[track_caller]
fn ends(why: &str, act: impl Fn(&Hostile)) {
    let _turn = common::turn();
    let before = Open::now();
    let end = end_of(act);
    assert!(end.as_ref().is_some_and(|end| end.contains(why)), "{end:?} does not say {why:?}");
    assert_eq!(Open::now(), before);
}

#[test]
fn a_lawful_front_end_is_served() {
    let _turn = common::turn();
    let before = Open::now();
    for (features, size) in [(SPLIT, 256), (PACKED, 256), (PACKED, 1_000)] {
        let end = end_of(|front| {
            front.features(features);
            front.memory(&[(0, LEN / 2), (LEN / 2, LEN / 2)]);
            front.ring(size, [0, LEN / 4, LEN / 2]);
        });
        assert_eq!(end, None);
    }
    assert_eq!(Open::now(), before);
}

#[test]
fn a_ring_of_a_wrong_size_ends_the_session() {
    for (features, size) in [(SPLIT, 0), (SPLIT, 3), (SPLIT, 40_000), (PACKED, 0), (PACKED, 32_769)] {
        ends(&format!("ring 0: {size} entries"), |front| {
            front.features(features);
            front.messages.set_vring_num(0, size).unwrap();
        });
    }
}

#[test]
fn a_ring_that_is_not_there_ends_the_session() {
    ends("ring 4 of 4", |front| front.messages.set_vring_num(4, 256).unwrap());
    ends("ring 63 of 4", |front| front.messages.set_vring_kick(63, &front.event).unwrap());
}

#[test]
fn a_ring_outside_of_all_memory_ends_the_session() {
    for at in [[LEN, 0, 0], [0, LEN, 0], [0, 0, LEN], [0u64.wrapping_sub(16), 0, 0], [0u64.wrapping_sub(USER), 0, 0]] {
        ends("is in no memory region", |front| {
            front.features(SPLIT);
            front.memory(&[(0, LEN)]);
            front.ring(256, at);
        });
    }
}

#[test]
fn a_ring_that_reaches_out_of_its_region_ends_the_session() {
    for (features, at) in [(SPLIT, [LEN - 4_080, 0, 0]), (SPLIT, [0, LEN - 512, 0]), (PACKED, [LEN - 4_080, 0, 0])] {
        ends("ring 0: Layout", |front| {
            front.features(features);
            front.memory(&[(0, LEN)]);
            front.ring(256, at);
        });
    }
}

#[test]
fn memory_that_overlaps_ends_the_session() {
    ends("overlaps", |front| front.memory(&[(0, 8_192), (4_096, 8_192)]));
    ends("overlaps", |front| front.memory(&[(4_096, 4_096), (0, 12_288)]));
    // The regions overlap in one of the two spaces alone.
    for (guest, user) in [(4_096, LEN), (LEN, 4_096)] {
        ends("overlaps", |front| {
            let first = front.region(0, 8_192);
            let (guest_phys_addr, userspace_addr) = (GPA + guest, USER + user);
            let second = VhostUserMemoryRegionInfo { guest_phys_addr, userspace_addr, ..first };
            front.messages.set_mem_table(&[first, second]).unwrap();
        });
    }
}

#[test]
fn memory_that_its_file_does_not_have_ends_the_session() {
    ends("of a file of 1048576", |front| front.memory(&[(0, LEN + 1)]));
    ends("of a file of 1048576", |front| {
        let region = VhostUserMemoryRegionInfo { mmap_offset: 4_096, ..front.region(0, LEN) };
        front.messages.set_mem_table(&[region]).unwrap();
    });
    ends("memory region at 0x100000", |front| {
        let region = VhostUserMemoryRegionInfo { mmap_offset: 1, ..front.region(0, 4_096) };
        front.messages.set_mem_table(&[region]).unwrap();
    });
    ends("memory region at 0x100000", |front| {
        let region = VhostUserMemoryRegionInfo { mmap_handle: front.event.as_raw_fd(), ..front.region(0, 4_096) };
        front.messages.set_mem_table(&[region]).unwrap();
    });
}

#[test]
fn more_memory_regions_than_a_queue_can_have_end_the_session() {
    let regions: Vec<_> = (0..9).map(|index| (index * 4_096, 4_096)).collect();
    ends("9 memory regions", |front| front.memory(&regions));
}

#[test]
fn a_missing_descriptor_ends_the_session() {
    // SET_MEM_TABLE with one region; SET_VRING_KICK and SET_VRING_CALL of ring 0 with "bit 8: no descriptor" clear.
    ends("invalid message", |front| front.raw(5, &[1, GPA, LEN, USER, 0]));
    ends("invalid message", |front| front.raw(12, &[0]));
    ends("invalid message", |front| front.raw(13, &[0]));
}

#[test]
fn what_was_not_offered_ends_the_session() {
    ends("were not all offered", |front| front.features(SPLIT | F::MRG_RXBUF.bits()));
    ends("were not all offered", |front| front.features(SPLIT | 1 << 63));
    // The messages are SET_PROTOCOL_FEATURES, ADD_MEM_REG, and a number that no message has.
    ends("protocol features", |front| front.raw(16, &[1 << 15]));
    ends("inactive protocol operation", |front| front.raw(37, &[0; 5]));
    ends("invalid message", |front| front.raw(99, &[]));
}

#[test]
fn a_second_memory_table_takes_the_place_of_the_first() {
    let _turn = common::turn();
    let end = end_of(|front| {
        front.features(SPLIT);
        front.memory(&[(0, LEN)]);
        front.ring(256, [0, LEN / 4, LEN / 2]);
        front.memory(&[(0, LEN / 2)]);
    });
    // The used ring lies in the first table only.
    assert!(end.as_ref().is_some_and(|end| end.contains("is in no memory region")), "{end:?}");
}
