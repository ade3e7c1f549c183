//! What passes from a server to a process, and what does not.

use super::*;
use crate::{Pages, map_writer};
use rustix::fs::ftruncate;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use sluice_channel::{Kind, Reader, Writer};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;
use tempfile::TempDir;

fn channel() -> ChannelFile {
    ChannelFile::create("c".parse().unwrap(), Kind::PACKETS, 4096, Pages::Small).unwrap()
}

/// A socket that somebody listens at.
fn listening() -> (TempDir, PathBuf, UnixListener) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    (folder, path, listener)
}

#[test]
fn a_writer_and_a_reader_connect_and_the_reader_gets_what_the_writer_wrote() {
    let ((_folder, path, listener), channel) = (listening(), channel());
    let server = thread::spawn(move || {
        [Role::Writer, Role::Reader].map(|role| {
            let (socket, _) = listener.accept().unwrap();
            give(&socket, &channel, role).unwrap();
            socket
        })
    });
    let writer = Connected::writer(&path, Files::Sealed).unwrap();
    let reader = Connected::reader(&path, Files::Sealed).unwrap();
    let server = server.join().unwrap();
    Writer::open(writer.memory()).unwrap().write(b"handed").unwrap();
    let mut bytes = [0; 64];
    assert_eq!(Reader::open(reader.memory()).unwrap().read(&mut bytes), Ok(Some(6)));
    assert_eq!(server.each_ref().map(has_left), [false; 2]);
    drop(writer);
    assert_eq!(server.each_ref().map(has_left), [true, false]);
}

#[test]
fn a_refusal_says_why_in_one_line_of_what_can_be_printed() {
    let (_folder, path, listener) = listening();
    for (said, heard) in [("there is a writer", "there is a writer"), ("\u{1b}[2J\nx", "?[2J?x")] {
        let server = thread::spawn({
            let listener = listener.try_clone().unwrap();
            move || refuse(&listener.accept().unwrap().0, said).unwrap()
        });
        let refused = Connected::writer(&path, Files::Sealed).err().unwrap();
        assert_eq!(refused.to_string(), std::format!("refused: {heard}"));
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_hangs_up_or_sends_half_a_message_is_an_error() {
    let (_folder, path, listener) = listening();
    for half in [0, 1, MESSAGE - 1] {
        let server = thread::spawn({
            let listener = listener.try_clone().unwrap();
            move || listener.accept().unwrap().0.write_all(&[b'x'; MESSAGE][..half]).unwrap()
        });
        assert!(matches!(Connected::reader(&path, Files::Sealed), Err(ConnectError::Io(_))), "{half} bytes");
        server.join().unwrap();
    }
}

#[test]
fn a_file_that_can_be_cut_is_taken_by_whoever_says_so() {
    let ((folder, path, listener), name) = (listening(), "c".parse().unwrap());
    let channel = ChannelFile::at(&folder.path().join("file"), name, Kind::PACKETS, 4096).unwrap();
    let server = thread::spawn(move || {
        (0..2).for_each(|_| give(&listener.accept().unwrap().0, &channel, Role::Reader).unwrap());
    });
    assert!(matches!(Connected::reader(&path, Files::Sealed), Err(ConnectError::Unsealed)));
    assert!(Reader::open(Connected::reader(&path, Files::Any).unwrap().memory()).is_ok());
    server.join().unwrap();
}

#[test]
fn a_readers_descriptor_is_mapped_for_writing_and_resized_by_nobody() {
    let (here, there) = UnixStream::pair().unwrap();
    give(&here, &channel(), Role::Reader).unwrap();
    let (line, file) = receive(&there).unwrap();
    let file = file.unwrap();
    assert_eq!(line, "channel c: reader");
    assert_eq!(map_writer(&file).map(drop).unwrap_err().raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
    assert!(ftruncate(&file, 0).is_err());
}

#[test]
fn whoever_has_not_taken_his_message_is_known_also_when_he_has_hung_up() {
    let (channel, pair) = (channel(), || UnixStream::pair().unwrap());
    let (here, there) = pair();
    assert!(has_taken(&here), "there is no message");
    give(&here, &channel, Role::Reader).unwrap();
    assert_eq!((has_taken(&here), has_left(&here)), (false, false));
    receive(&there).unwrap();
    assert_eq!((has_taken(&here), has_left(&here)), (true, false));
    let (here, there) = pair();
    give(&here, &channel, Role::Reader).unwrap();
    shutdown(&there, Shutdown::Both).unwrap();
    // The descriptor is on its way still.
    assert_eq!((has_taken(&here), has_left(&here)), (false, true));
    drop(there);
    assert_eq!((has_taken(&here), has_left(&here)), (true, true));
}

#[test]
fn a_message_that_finds_no_room_or_nobody_is_an_error() {
    let ((here, there), channel) = (UnixStream::pair().unwrap(), channel());
    let given = (0..100).take_while(|_| give(&here, &channel, Role::Reader).is_ok()).count();
    assert!(given <= 4, "{given} messages found room");
    drop(there);
    assert!(give(&here, &channel, Role::Reader).is_err());
}
