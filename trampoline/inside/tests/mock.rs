//! Our device side under a driver of rust-vmm's `virtio-queue`, which knows nothing of ours.

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_abi::Gpa;
use sluice_abi::directory::Queue;
use sluice_abi::net::{F, HDR_LEN, Hdr};
use sluice_abi::virtq::QueueAddresses;
use sluice_inside::{Dequeue, DeviceQueue, Enqueue, Regions};
use sluice_memory::{PeerSlice, Words};
use sluice_test_memory::shared;
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::mock::MockSplitQueue;
use vm_memory::{Address, Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

const LEN: usize = 0x4_0000;
const BUFFERS: u64 = 0x2_0000;
const SIZE: u16 = 16;
/// Chains in one go: the used ring of a mock queue starts in the second half of its available ring.
const MOST: usize = SIZE as usize / 2;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// Returns memory as rust-vmm's crates and as ours see it.
fn memory() -> (GuestMemoryMmap, PeerSlice<'static>) {
    let (ram, file) = shared(LEN as u64);
    let range = (GuestAddress(0), LEN, Some(FileOffset::new(file, 0)));
    (GuestMemoryMmap::from_ranges_with_files([range]).unwrap(), ram)
}

fn device(mock: &MockSplitQueue<'_, GuestMemoryMmap>, ram: PeerSlice<'static>) -> (DeviceQueue, Regions) {
    let regions = Regions::from_slices(&[(Gpa(0), ram)]).unwrap();
    let [desc, driver, device] =
        [mock.desc_table_addr(), mock.avail_addr(), mock.used_addr()].map(|at| Gpa(at.raw_value()));
    let addresses = QueueAddresses { desc, driver, device };
    let queue = Queue { addresses, features: F::VERSION_1.bits(), size: SIZE, ..Default::default() };
    (DeviceQueue::new(&queue, &regions).unwrap(), regions)
}

/// A chain of pieces of these lengths, one behind the other in memory, with gaps.
fn chain(lens: &[u32], flags: u16) -> Vec<RawDescriptor> {
    let mut at = BUFFERS;
    let piece = |(index, &len): (usize, &u32)| {
        let more = if index + 1 < lens.len() { NEXT } else { 0 };
        let desc = Descriptor::new(at, len, flags | more, index as u16 + 1);
        at += u64::from(len) + 8;
        RawDescriptor::from(desc)
    };
    lens.iter().enumerate().map(piece).collect()
}

/// The bytes of such a chain, up to `len` of them.
fn gather(mmap: &GuestMemoryMmap, lens: &[u32], len: usize) -> Vec<u8> {
    let (mut at, mut bytes) = (BUFFERS, Vec::new());
    for &piece in lens {
        let mut part = vec![0; piece as usize];
        mmap.read_slice(&mut part, GuestAddress(at)).unwrap();
        bytes.extend(part);
        at += u64::from(piece) + 8;
    }
    bytes.truncate(len);
    bytes
}

fn scatter(mmap: &GuestMemoryMmap, lens: &[u32], mut bytes: &[u8]) {
    let mut at = BUFFERS;
    for &piece in lens {
        let (now, rest) = bytes.split_at(bytes.len().min(piece as usize));
        mmap.write_slice(now, GuestAddress(at)).unwrap();
        (bytes, at) = (rest, at + u64::from(piece) + 8);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// One chain after the other, of any shape, each filled with a frame of any length that it holds.
    #[test]
    fn a_mock_driver_gets_what_is_sent_to_it(
        frames in vec((vec(1u32..400, 1..6), any::<u16>(), any::<u8>()), 1..=MOST)
    ) {
        let (mmap, ram) = memory();
        let mock = MockSplitQueue::create(&mmap, GuestAddress(0), SIZE);
        let (mut queue, regions) = device(&mock, ram);
        for (number, (lens, len, seed)) in frames.iter().enumerate() {
            let room = lens.iter().sum::<u32>();
            prop_assume!(room > HDR_LEN);
            mock.build_desc_chain(&chain(lens, WRITE)).unwrap();
            let len = u32::from(*len) % (room - HDR_LEN) + 1;
            let payload: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(3).wrapping_add(*seed)).collect();
            let done = queue.enqueue(&regions, &Hdr::default(), PeerSlice::from_mut(&mut payload.clone()), 1, Words);
            prop_assert_eq!(done, Ok(Enqueue::Filled));
            prop_assert_eq!(u16::from_le(mock.used().idx().load()), number as u16);
            queue.publish();
            prop_assert_eq!(u16::from_le(mock.used().idx().load()), number as u16 + 1);
            let used = mock.used().ring().ref_at(number % usize::from(SIZE)).unwrap().load();
            prop_assert_eq!(used.len(), HDR_LEN + len);
            let all = gather(&mmap, lens, (HDR_LEN + len) as usize);
            prop_assert_eq!(&all[..12], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
            prop_assert_eq!(&all[12..], &payload[..]);
        }
    }

    /// The same in the other direction.
    #[test]
    fn what_a_mock_driver_sends_is_taken(frames in vec((vec(1u32..400, 1..6), any::<u8>()), 1..=MOST)) {
        let (mmap, ram) = memory();
        let mock = MockSplitQueue::create(&mmap, GuestAddress(0), SIZE);
        let (mut queue, regions) = device(&mock, ram);
        let mut room = vec![0u8; 4096];
        let room = PeerSlice::from_mut(&mut room);
        for (lens, seed) in &frames {
            let total = lens.iter().sum::<u32>();
            prop_assume!(total > HDR_LEN);
            let byte = |at: u32| (at as u8).wrapping_mul(5).wrapping_add(*seed);
            let payload: Vec<u8> = (0..total - HDR_LEN).map(byte).collect();
            scatter(&mmap, lens, &[&[0; 12], &payload[..]].concat());
            prop_assert_eq!(queue.dequeue(&regions, room, Words), Ok(Dequeue::Empty));
            mock.build_desc_chain(&chain(lens, 0)).unwrap();
            let taken = queue.dequeue(&regions, room, Words);
            prop_assert_eq!(taken, Ok(Dequeue::Frame { hdr: Hdr::default(), len: total - HDR_LEN }));
            queue.publish();
            let mut bytes = vec![0; payload.len()];
            room.copy_to_slice(0, &mut bytes).unwrap();
            prop_assert_eq!(bytes, payload);
        }
    }
}
