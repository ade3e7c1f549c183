//! What nobody can do to a channel's file, and what its writer and readers can.

use super::*;
use rustix::io::write;
use sluice_channel::{ByteReader, ByteWriter, Reader, Writer};

const CAPACITY: u64 = 1 << 20;

fn channel(kind: Kind) -> ChannelFile {
    ChannelFile::create("test.channel".parse().unwrap(), kind, CAPACITY, Pages::Huge).unwrap()
}

fn owned(file: BorrowedFd<'_>) -> OwnedFd {
    file.try_clone_to_owned().unwrap()
}

#[test]
fn a_packet_goes_from_a_writers_mapping_into_a_readers() {
    let channel = channel(Kind::PACKETS);
    let (written, read) = (map_writer(&channel.writer()).unwrap(), map_reader(&channel.reader()).unwrap());
    let mut writer = Writer::open(written.slice()).unwrap();
    let mut reader = Reader::open(read.slice()).unwrap();
    let mut bytes = [0; 8];
    for number in 0..100_000u64 {
        writer.write(&number.to_le_bytes()).unwrap();
        assert_eq!((reader.read(&mut bytes), bytes), (Ok(Some(8)), number.to_le_bytes()));
    }
}

#[test]
fn a_stream_goes_the_same_way_and_the_channel_stays_when_its_host_is_gone() {
    let channel = channel(Kind::BYTES);
    let (written, file) = (map_writer(&channel.writer()).unwrap(), owned(channel.reader()));
    drop(channel);
    let read = map_reader(&file).unwrap();
    ByteWriter::open(written.slice()).unwrap().write(b"all of it");
    let mut bytes = [0; 64];
    assert_eq!(ByteReader::open(read.slice()).unwrap().read(&mut bytes), Ok(9));
}

#[test]
fn nobody_resizes_a_channels_file() {
    let channel = channel(Kind::PACKETS);
    let len = len(&channel.writer()).unwrap();
    assert!(len >= memory_len(CAPACITY));
    for other in [0, len - 4096, 2 * len] {
        assert_eq!(ftruncate(channel.writer(), other), Err(Errno::PERM), "{other}");
        assert_eq!(ftruncate(channel.reader(), other), Err(Errno::INVAL), "{other}");
    }
}

#[test]
fn a_reader_maps_and_writes_nothing_for_writing() {
    let reader = owned(channel(Kind::PACKETS).reader());
    assert_eq!(map_writer(&reader).map(drop).unwrap_err().raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
    assert_eq!(write(&reader, b"x"), Err(Errno::BADF));
}

#[test]
fn after_the_seal_no_descriptor_makes_a_writer() {
    let channel = channel(Kind::PACKETS);
    let written = map_writer(&channel.writer()).unwrap();
    channel.seal_writer().unwrap();
    let refused = map_writer(&channel.writer()).map(drop).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::PERM.raw_os_error()));
    assert!(channel.seal_writer().is_err(), "no seal can be added any more");
    let read = map_reader(&channel.reader()).unwrap();
    let mut reader = Reader::open(read.slice()).unwrap();
    Writer::open(written.slice()).unwrap().write(b"still").unwrap();
    assert_eq!(reader.read(&mut [0; 8]), Ok(Some(5)));
}

#[test]
fn a_file_that_somebody_can_cut_is_not_mapped() {
    let file = memfd_create("cut", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, memory_len(CAPACITY)).unwrap();
    fcntl_add_seals(&file, SealFlags::GROW).unwrap();
    let plain = std::fs::File::open("/proc/self/exe").unwrap();
    for refused in [map_reader(&file), map_writer(&file), map_reader(&plain)] {
        assert!(refused.map(drop).unwrap_err().to_string().contains("sealed"));
    }
}

#[test]
fn a_channel_says_what_it_can_not_be() {
    for capacity in [0, 4097, u64::MAX] {
        let name: Name = "odd".parse().unwrap();
        let error = ChannelFile::create(name, Kind::BYTES, capacity, Pages::Huge).unwrap_err();
        assert!(error.to_string().starts_with("channel odd: ring of"), "{error}");
    }
}

#[test]
fn a_channel_says_what_pages_it_has() {
    // Machines of tests have no pages set aside, or have them: the file of such pages is of whole ones.
    let channel = channel(Kind::PACKETS);
    let len = len(&channel.writer()).unwrap();
    match channel.pages() {
        Pages::Huge => assert!(len.is_multiple_of(LARGE_PAGE)),
        Pages::Advised | Pages::Small => assert_eq!(len, memory_len(CAPACITY)),
    }
    // All of it is there: nobody waits for memory, or ends for lack of it, later.
    assert!(fstat(channel.writer()).unwrap().st_blocks as u64 * 512 >= memory_len(CAPACITY));
}

#[test]
fn a_channel_that_is_to_have_small_pages_has_no_others() {
    let small = ChannelFile::create("small".parse().unwrap(), Kind::BYTES, CAPACITY, Pages::Small).unwrap();
    assert_eq!((small.pages(), len(&small.writer()).unwrap()), (Pages::Small, memory_len(CAPACITY)));
}

#[test]
fn what_the_writer_claims_is_read_without_a_mapping() {
    let channel = channel(Kind::BYTES);
    assert_eq!(channel.claims().unwrap(), Claims::default());
    let written = map_writer(&channel.writer()).unwrap();
    ByteWriter::open(written.slice()).unwrap().write(b"12345");
    assert_eq!(channel.claims().unwrap(), Claims { written: 5, writers: 1 });
    // Nothing is made of what a writer claims.
    written.slice().write(POSITIONS, [u64::MAX; 4]).unwrap();
    assert_eq!(channel.claims().unwrap(), Claims { written: u64::MAX, writers: u64::MAX });
}
