//! Channels with a path: what a host goes on with, makes anew, and refuses.

use crate::{ChannelFile, ChannelFileError, Claims};
use rustix::fs::ftruncate;
use sluice_abi::channel::POSITIONS;
use sluice_channel::{ByteReader, ByteWriter, Kind, Writer};
use sluice_vhost_user::memory::Mapping;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

const CAPACITY: u64 = 1 << 16;

fn at(path: &Path, kind: Kind, capacity: u64) -> Result<ChannelFile, ChannelFileError> {
    ChannelFile::at(path, "lasting".parse().unwrap(), kind, capacity)
}

fn mapped(channel: &ChannelFile) -> Mapping {
    Mapping::of_file(&channel.writer(), 0, 2 * CAPACITY).unwrap()
}

#[test]
fn the_next_host_goes_on_with_what_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let first = at(&path, Kind::BYTES, CAPACITY).unwrap();
    let found = fs::metadata(&path).unwrap();
    // Of a power of two bytes, as the memory of a device has to be.
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (2 * CAPACITY, 0o600));
    assert!(found.blocks() * 512 >= CAPACITY, "all of the ring is there");
    ByteWriter::open(mapped(&first).slice()).unwrap().write(b"before");
    drop(first);
    let second = at(&path, Kind::BYTES, CAPACITY).unwrap();
    assert_eq!(second.claims().unwrap(), Claims { written: 6, writers: 1 });
    let (memory, mut bytes) = (mapped(&second), [0; 16]);
    assert_eq!(ByteReader::open(memory.slice()).unwrap().read(&mut bytes), Ok(6));
    assert_eq!(&bytes[..6], b"before");
}

#[test]
fn a_channel_whose_header_was_overwritten_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let channel = at(&path, Kind::PACKETS, CAPACITY).unwrap();
    let memory = mapped(&channel);
    Writer::open(memory.slice()).unwrap().write(b"lost").unwrap();
    // As a virtual machine can do that has the memory.
    memory.slice().write(0, [u64::MAX; 8]).unwrap();
    memory.slice().write(POSITIONS, [u64::MAX; 8]).unwrap();
    let again = at(&path, Kind::PACKETS, CAPACITY).unwrap();
    assert_eq!(again.claims().unwrap(), Claims::default());
    Writer::open(memory.slice()).unwrap().write(b"first").unwrap();
    assert_eq!(again.claims().unwrap(), Claims { written: 32, writers: 1 }, "it is the same memory");
}

#[test]
fn a_file_that_is_no_such_channel_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("short"), "text").unwrap();
    symlink(path("short"), path("link")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    for (name, what) in [
        ("short", "the file has 4 bytes, and the channel 131072"),
        ("link", "(os error 40)"),
        ("folder", "(os error 21)"),
    ] {
        let error = at(&path(name), Kind::BYTES, CAPACITY).unwrap_err().to_string();
        assert!(error.starts_with("memory for channel lasting: ") && error.contains(what), "{error}");
    }
    assert_eq!(fs::read(path("short")).unwrap(), b"text");
    let error = at(&path("odd"), Kind::BYTES, 4097).unwrap_err().to_string();
    assert!(error.starts_with("channel lasting: ring of 4097") && !path("odd").exists(), "{error}");
}

#[test]
fn a_file_that_is_cut_ends_nobody_who_asks_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let channel = at(&folder.path().join("c"), Kind::BYTES, CAPACITY).unwrap();
    ftruncate(channel.writer(), 100).unwrap();
    assert!(channel.claims().is_err());
}
