//! `sluice_channel.h`, compiled and run: C reads what Rust writes and writes what Rust reads, each in a process of its
//! own, byte for byte; and a writer that is killed leaves whole records.

use sluice_channel::{ByteWriter, Kind, ReadError, Reader, Writer, format, memory_len};
use sluice_memory::PeerSlice;
use sluice_test_memory::shared;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

const CAPACITY: u64 = 1 << 18;
/// Packets of a run; and rounds in which a writer is killed.
const COUNT: u64 = 2_000_000;
const ROUNDS: usize = 60;
const MOST: u64 = 1500;

/// Compiles tests/peer.c with every warning as an error, once.
fn peer() -> &'static PathBuf {
    static PEER: OnceLock<PathBuf> = OnceLock::new();
    PEER.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(std::format!("peer-{}", std::process::id()));
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-o"]);
        assert!(gcc.arg(&program).arg(folder.join("peer.c")).status().expect("gcc").success());
        program
    })
}

/// A channel in a file that another process can open, empty.
fn channel(kind: Kind) -> (PeerSlice<'static>, File) {
    let (memory, file) = shared(memory_len(CAPACITY));
    format(memory, kind, CAPACITY).unwrap();
    (memory, file)
}

/// A process with the other end.
struct Peer(Child, BufReader<ChildStdout>);

impl Peer {
    fn start(what: &str, file: &File, count: u64) -> Self {
        let path = std::format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let mut command = Command::new(peer());
        command.args([what, &path, &memory_len(CAPACITY).to_string(), &count.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self(child, out)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim().into()
    }

    /// Waits for the end, and returns what was read and what was lost.
    fn end(mut self) -> (u64, u64) {
        let line = self.line();
        assert!(self.0.wait().unwrap().success(), "{line}");
        let words: Vec<_> = line.split(' ').collect();
        (words[1].parse().unwrap(), words[3].parse().unwrap())
    }
}

/// Packet `number`, as in tests/peer.c.
fn packet(bytes: &mut [u8; MOST as usize], number: u64) -> &[u8] {
    let len = 8 + (number.wrapping_mul(2_654_435_761) >> 7) % if number.is_multiple_of(32) { MOST - 8 } else { 100 };
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..len as usize].iter_mut().zip(8..).for_each(|(byte, at)| *byte = (number * 31 + at) as u8);
    &bytes[..len as usize]
}

/// Reads a packet that must be `next`, or a later one if some were lost. Returns which one comes next; `None` if there
/// is nothing now.
fn whole(reader: &mut Reader<'_>, next: u64) -> Option<u64> {
    let (mut got, mut wanted) = ([0; 4096], [0; MOST as usize]);
    match reader.read(&mut got) {
        Ok(None) => None,
        Ok(Some(len)) => {
            assert!(got[..len] == *packet(&mut wanted, next), "packet {next}");
            Some(next + 1)
        }
        Err(ReadError::NewWriter { .. }) => Some(next),
        Err(ReadError::Overrun(lost)) => Some(next + lost.records),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn c_reads_millions_of_packets_that_rust_writes() {
    let (memory, file) = channel(Kind::PACKETS);
    let mut writer = Writer::open(memory).unwrap();
    let mut readers = ["read"; 2].map(|what| Peer::start(what, &file, COUNT));
    readers.iter_mut().for_each(|reader| assert_eq!(reader.line(), "ready"));
    let mut bytes = [0; MOST as usize];
    (0..COUNT).try_for_each(|number| writer.write(packet(&mut bytes, number))).unwrap();
    for reader in readers {
        let (read, lost) = reader.end();
        assert_eq!(read + lost, COUNT);
        assert!(read > 100, "{read} read");
    }
}

#[test]
fn rust_reads_millions_of_packets_that_c_writes() {
    let (memory, file) = channel(Kind::PACKETS);
    let mut reader = Reader::open(memory).unwrap();
    let writer = Peer::start("write", &file, COUNT);
    let mut next = 0;
    while next < COUNT {
        next = whole(&mut reader, next).unwrap_or(next);
    }
    assert_eq!((next, writer.end()), (COUNT, (0, 0)));
}

#[test]
fn c_reads_a_stream_of_bytes_that_rust_writes() {
    let (memory, file) = channel(Kind::BYTES);
    let mut writer = ByteWriter::open(memory).unwrap();
    let mut reader = Peer::start("bytes", &file, 50_000_000);
    assert_eq!(reader.line(), "ready");
    let bytes: Vec<u8> = (0..50_000_000u64).map(|at| ((at * 13) >> 3) as u8).collect();
    bytes.chunks(12_345).for_each(|piece| writer.write(piece));
    let (read, lost) = reader.end();
    assert!(read + lost == 50_000_000 && read > 100, "{read} {lost}");
}

#[test]
fn a_writer_that_is_killed_leaves_whole_packets_and_the_next_one_goes_on() {
    let (memory, file) = channel(Kind::PACKETS);
    let mut reader = Reader::open(memory).unwrap();
    let mut next = 0;
    for round in 0..ROUNDS {
        let mut writer = Peer::start("endless", &file, 0);
        let begin = next;
        while next < begin + 100 {
            next = whole(&mut reader, next).unwrap_or(next);
        }
        // At another place in a packet each time.
        (0..round * 37).for_each(|_| std::hint::spin_loop());
        writer.0.kill().unwrap();
        writer.0.wait().unwrap();
        // All that it published, byte for byte, and nothing else.
        while let Some(found) = whole(&mut reader, next) {
            next = found;
        }
    }
    // A last one, of Rust, goes on with the number that comes next.
    let mut bytes = [0; MOST as usize];
    Writer::open(memory).unwrap().write(packet(&mut bytes, next)).unwrap();
    let generation = ROUNDS as u64 + 1;
    assert_eq!(reader.read(&mut [0; 4096]), Err(ReadError::NewWriter { generation }));
    assert_eq!(whole(&mut reader, next), Some(next + 1));
}
