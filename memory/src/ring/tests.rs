//! What a ring, a table and a descriptor read and write.

extern crate std;
use super::*;
use crate::{PeerSlice, SharedWord};

#[test]
fn a_buffer_is_writable_where_flags_and_length_say_so() {
    let mut words = std::vec![0u64; 4];
    let all = PeerSlice::from_mut(&mut words);
    let table = all.table::<Desc>(0, 2).unwrap();
    for (flags, len, writable) in [(2, 76, true), (2, 75, false), (3, 76, false), (0, 76, false), (2, u32::MAX, true)] {
        all.write(16, Desc { addr: Gpa(9), len, flags, next: 0xffff }).unwrap();
        let buffer = table.buffer(1).unwrap();
        assert_eq!((buffer.is_writable::<false>(76), buffer.addr()), (writable, Gpa(9)));
        assert_eq!(buffer.is_writable::<true>(76), writable);
    }
    assert!(table.buffer(2).is_none() && table.buffer(u16::MAX).is_none());
}

#[test]
fn an_index_of_32_bits_is_the_same_modulo_the_size() {
    let mut words = std::vec![0u64; 4];
    let ring = PeerSlice::from_mut(&mut words).ring::<u32>(0, 8).unwrap();
    ring.set(0x8000_0003_u32, 7);
    ring.set(4_u16, 9);
    assert_eq!((ring.get(3_u16), ring.get(u32::MAX - 4), ring.get(0xffff_fffc_u32)), (7, 7, 9));
}

#[test]
fn a_descriptor_written_by_words_is_the_same() {
    let mut words = std::vec![0u64; 4];
    let all = PeerSlice::from_mut(&mut words);
    all.ring::<Desc>(0, 2).unwrap().set_words(3, Gpa(0x1234_5678_9abc), 7, 3, 0xfffe);
    let desc = Desc { addr: Gpa(0x1234_5678_9abc), len: 7, flags: 3, next: 0xfffe };
    assert_eq!((all.table::<Desc>(0, 2).unwrap().get(1), all.read(0)), (Some(desc), Ok(0u64)));
    let slots = all.table::<packed::Desc>(0, 2).unwrap();
    slots.set_addr(0, Gpa(5));
    slots.set_addr(2, Gpa(6));
    assert_eq!((slots.addr(0), slots.addr(1)), (Some(Gpa(5)), Some(desc.addr)));
}

#[test]
fn a_cell_is_the_word_in_memory() {
    let mut words = std::vec![0u64; 2];
    let all = PeerSlice::from_mut(&mut words);
    let cell = all.cell16(6).unwrap();
    cell.store_release(0x1234);
    assert_eq!((cell.load_acquire(), all.read(6)), (0x1234, Ok(0x1234_u16)));
    SharedWord::store_release(&cell, 0x5678);
    assert_eq!((SharedWord::load_acquire(&cell), all.read::<u64>(0)), (0x5678, Ok(0x5678 << 48)));
    assert_eq!([1, 2, 4].map(|count| all.ring::<u16>(0, count).unwrap().size()), [1, 2, 4]);
}
