//! Channels that the server hands out: to processes in C and Rust, that keep the rules, die, or keep none.

use crate::hostile::others_go_on;
use crate::lab::*;
use crate::stranger::receive;
use rustix::fs::ftruncate;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::Signal;
use serde_json::Value;
use sluice_channel::{ByteReader, ByteWriter, ReadError, Reader, Writer};
use sluice_channels::handout::MESSAGE;
use sluice_channels::{ConnectError, Connected, Files, map_writer};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

/// Packets of a run, all of which a ring of 1 MiB has room for.
const COUNT: u64 = 20_000;

/// The table of a channel.
pub fn channel(name: &str, kind: &str, keys: &str) -> String {
    format!("[[channel]]\nname = \"{name}\"\nkind = \"{kind}\"\nring_kib = 1024\n{keys}\n")
}

/// VMs b and c, which may send to each other, and the channel of packets p.
fn lab() -> Lab {
    let vms = vm('b', "lan = [\"c\"]") + &vm('c', "lan = [\"b\"]");
    Lab::new(&(vms + &channel("p", "packets", "")))
}

/// Compiles channel.c with every warning as an error, and linked as `how` says.
pub fn program(how: &str) -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sluiced/channel.c");
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("channel{how}-{}", std::process::id()));
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", how, "-o"]);
    assert!(gcc.arg(&program).arg(source).status().expect("gcc").success());
    program
}

/// A process with an end of channel p.
struct Peer(Child, BufReader<ChildStdout>);

impl Peer {
    fn start(lab: &Lab, what: &str, socket: &str, count: u64) -> Self {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let mut command = Command::new(PROGRAM.get_or_init(|| program("-pie")));
        command.arg(what).arg(lab.file(socket)).arg(count.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = sluice_guard::tie(&mut command).spawn().expect("a process");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        Self(child, out)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).expect("its output");
        line.trim().into()
    }
}

fn reader(lab: &Lab, socket: &str) -> Connected {
    Connected::reader(&lab.file(socket), Files::Sealed).expect("a reader")
}

/// Becomes the writer once there is none.
#[track_caller]
fn writer(lab: &Lab, socket: &str, files: Files) -> Connected {
    let start = Instant::now();
    loop {
        match Connected::writer(&lab.file(socket), files) {
            Ok(writer) => return writer,
            Err(error) => assert!(start.elapsed() < PATIENCE && error.to_string().contains("has a writer"), "{error}"),
        }
    }
}

/// The state of a channel.
pub fn state(lab: &Lab, name: &str) -> Value {
    let status: Value = serde_json::from_slice(&lab.ask(&["status", "--json"]).stdout).expect("JSON");
    let all = status["channels"].as_array().expect("a list");
    all.iter().find(|it| it["name"] == name).cloned().unwrap_or_default()
}

/// Waits until the state of a channel is as `is` wants.
#[track_caller]
pub fn until(lab: &Lab, name: &str, is: impl Fn(&Value) -> bool) {
    let start = Instant::now();
    loop {
        let state = state(lab, name);
        if is(&state) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{state}");
    }
}

#[test]
fn a_process_writes_and_three_read_the_same() {
    let lab = lab();
    let mut readers = [(); 3].map(|()| Peer::start(&lab, "read", "p.reader", COUNT));
    readers.iter_mut().for_each(|reader| assert_eq!(reader.line(), "ready"));
    let mut writer = Peer::start(&lab, "write", "p.writer", COUNT);
    assert_eq!(writer.line(), "written");
    for mut reader in readers {
        assert_eq!(reader.line(), format!("read {COUNT}"));
        assert!(reader.0.wait().expect("an end").success());
    }
    let of = |state: &Value| {
        ["reader_connects", "writer_connects", "writers", "written_bytes"].map(|key| state[key].clone())
    };
    assert_eq!(of(&state(&lab, "p")), [3, 1, 1, 32 * COUNT].map(Value::from));
    assert!(!state(&lab, "p")["writer_seconds"].is_null());
    drop(writer.0.stdin.take());
    assert!(writer.0.wait().expect("an end").success());
    until(&lab, "p", |p| p["writer_seconds"].is_null() && p["readers"] == 0);
}

#[test]
fn a_readers_descriptor_is_mapped_for_writing_and_resized_by_nobody() {
    let lab = lab();
    let socket = UnixStream::connect(lab.file("p.reader")).expect("a socket");
    let (len, files) = receive(&socket, &mut [0; MESSAGE], RecvFlags::empty()).expect("a message");
    let file: OwnedFd = files.into_iter().next().expect("a descriptor");
    assert_eq!(len, MESSAGE);
    assert_eq!(map_writer(&file).map(drop).unwrap_err().raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
    assert_eq!(ftruncate(&file, 0), Err(Errno::INVAL));
    let refused = Connected::writer(&lab.file("p.reader"), Files::Sealed).err().expect("no writer").to_string();
    assert!(refused.contains("Permission denied"), "{refused}");
    // Nor does the writer resize it.
    let socket = UnixStream::connect(lab.file("p.writer")).expect("a socket");
    let (_, files) = receive(&socket, &mut [0; MESSAGE], RecvFlags::empty()).expect("a message");
    assert_eq!(ftruncate(&files[0], 0), Err(Errno::PERM));
}

#[test]
fn a_second_writer_is_refused_until_the_first_was_killed_and_goes_on_behind_it() {
    let lab = lab();
    let channel = reader(&lab, "p.reader");
    let mut reader = Reader::open(channel.memory()).expect("a channel");
    let mut first = Peer::start(&lab, "write", "p.writer", u64::MAX);
    let (mut next, mut bytes) = (0_u64, [0; 8]);
    // Returns whether there was something.
    let mut take = |next: &mut u64| {
        match reader.read(&mut bytes) {
            Ok(None) => return false,
            Ok(Some(8)) if u64::from_le_bytes(bytes) == *next => *next += 1,
            Err(ReadError::Overrun(lost)) => *next += lost.records,
            Err(ReadError::NewWriter { .. }) => {}
            other => panic!("{other:?} instead of {next}"),
        }
        true
    };
    while next < COUNT {
        take(&mut next);
    }
    let second = Connected::writer(&lab.file("p.writer"), Files::Sealed).err().expect("no writer");
    assert_eq!(second.to_string(), "refused: channel p has a writer");
    let mut other = Peer::start(&lab, "write", "p.writer", 1);
    assert_eq!(
        (other.line().as_str(), other.0.wait().ok().and_then(|it| it.code())),
        ("refused: channel p has a writer", Some(6))
    );
    // In the middle of a packet, or between two.
    first.0.kill().and_then(|()| first.0.wait()).expect("killed");
    let second = writer(&lab, "p.writer", Files::Sealed);
    while take(&mut next) {}
    let mut writer = Writer::open(second.memory()).expect("a channel");
    writer.write(&next.to_le_bytes()).expect("written");
    let last = next;
    while take(&mut next) {}
    assert_eq!(next, last + 1);
    assert_eq!(
        (state(&lab, "p")["writers"].clone(), state(&lab, "p")["refused"].as_u64() >= Some(2)),
        (2.into(), true)
    );
}

#[test]
fn a_channel_stays_the_same_memory_when_the_policy_is_read_again_and_one_that_goes_is_its_readers() {
    let lab = Lab::new(&(pair() + &channel("s", "bytes", "") + &channel("gone", "bytes", "")));
    let (s, gone) = (reader(&lab, "s.reader"), reader(&lab, "gone.reader"));
    let of_gone = writer(&lab, "gone.writer", Files::Sealed);
    let mut to_gone = ByteWriter::open(of_gone.memory()).expect("a channel");
    let new = channel("new", "packets", "huge = true") + &channel("file", "packets", "file = \"memory\"");
    lab.policy(&(pair() + &new + &channel("s", "bytes", "reader = { mode = 0o666 }")));
    let output = lab.ask(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    // Whoever has it goes on, and nobody else comes.
    to_gone.write(b"still");
    let mut bytes = [0; 8];
    assert_eq!(ByteReader::open(gone.memory()).expect("a channel").read(&mut bytes), Ok(5));
    assert!(!lab.file("gone.reader").exists() && !lab.file("gone.writer").exists());
    assert!(state(&lab, "gone").is_null());
    assert!(matches!(Connected::reader(&lab.file("gone.reader"), Files::Any), Err(ConnectError::Io(_))));
    // A writer from now on, and a reader from before.
    let of_s = writer(&lab, "s.writer", Files::Sealed);
    ByteWriter::open(of_s.memory()).expect("a channel").write(b"same");
    assert_eq!(ByteReader::open(s.memory()).expect("a channel").read(&mut bytes), Ok(4));
    assert_eq!(
        (state(&lab, "s")["readers"].clone(), state(&lab, "s")["reader_connects"].clone()),
        (1.into(), 1.into())
    );
    drop((reader(&lab, "new.reader"), Connected::reader(&lab.file("file.reader"), Files::Any).expect("a reader")));
    let mode = |name| fs::metadata(lab.file(name)).expect("a socket").permissions().mode() & 0o777;
    assert_eq!(["s.reader", "s.writer", "new.reader"].map(mode), [0o666, 0o600, 0o600]);
    // One of another size is another one.
    lab.policy(&(pair() + &channel("s", "bytes", "").replace("1024", "2048")));
    assert!(lab.ask(&["reload"]).status.success());
    assert_eq!((state(&lab, "s")["written_bytes"].clone(), state(&lab, "s")["readers"].clone()), (0.into(), 0.into()));
}

#[test]
fn who_sends_garbage_or_takes_nothing_holds_nobody() {
    let lab = lab();
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let mut hostile = Vec::new();
    // As many as are kept, each with its descriptor on its way for good: one that hangs up has it still.
    for _ in 0..64 {
        let mut socket = UnixStream::connect(lab.file("p.reader")).expect("a socket");
        let _ = socket.set_nonblocking(true).and_then(|()| socket.write_all(&[0xff; 4096]));
        hostile.push(socket);
    }
    until(&lab, "p", |p| p["reader_connects"] == 64);
    hostile.iter().step_by(2).for_each(|socket| socket.shutdown(Shutdown::Both).expect("hung up"));
    let refused = Connected::reader(&lab.file("p.reader"), Files::Sealed).err().expect("no reader").to_string();
    assert_eq!(refused, "refused: channel p has too many readers that do not take their descriptors");
    others_go_on(&mut b, &mut c);
    // A writer is the writer whatever it sends.
    let writer = writer(&lab, "p.writer", Files::Sealed);
    let _ = writer.socket().set_nonblocking(true).and_then(|()| writer.socket().write_all(&[0xff; 1 << 16]));
    Writer::open(writer.memory()).expect("a channel").write(b"x").expect("written");
    assert!(!state(&lab, "p")["writer_seconds"].is_null());
    // One place is enough for all who take theirs.
    drop(hostile.pop());
    (0..10).for_each(|_| drop(reader(&lab, "p.reader")));
    let many: Vec<_> = (0..10).map(|_| reader(&lab, "p.reader")).collect();
    assert_eq!(Reader::open(many[0].memory()).expect("a channel").read(&mut [0; 8]), Ok(Some(1)));
}

#[test]
fn a_thousand_readers_have_it_and_leave_nothing_behind() {
    let lab = lab();
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let before = lab.open_at_rest();
    let all: Vec<_> = (0..1_000).map(|_| reader(&lab, "p.reader")).collect();
    assert!(lab.open_at_rest().0 <= before.0 + 64, "{:?} are open, and {before:?} were", lab.open());
    assert_eq!(state(&lab, "p")["readers"], 64);
    let of_writer = writer(&lab, "p.writer", Files::Sealed);
    Writer::open(of_writer.memory()).expect("a channel").write(b"all").expect("written");
    for reader in all.iter().step_by(333) {
        assert_eq!(Reader::open(reader.memory()).expect("a channel").read(&mut [0; 8]), Ok(Some(3)));
    }
    others_go_on(&mut b, &mut c);
    drop((all, of_writer));
    drop(reader(&lab, "p.reader"));
    until(&lab, "p", |p| p["readers"] == 0 && p["writer_seconds"].is_null());
    assert!(lab.open_at_rest().0 <= before.0 + 1, "{:?} are open, and {before:?} were", lab.open());
}

#[test]
fn a_channel_in_a_file_outlasts_its_server_and_is_taken_by_who_trusts_its_writers() {
    let file = TempPath::new();
    let vms = pair() + &channel("f", "packets", &format!("file = \"{}\"", file.0.display()));
    let mut lab = Lab::new(&vms);
    assert_eq!(fs::metadata(&file.0).map(|it| it.len()).ok(), Some(2 << 20), "as the memory of a device has to be");
    assert!(matches!(Connected::reader(&lab.file("f.reader"), Files::Sealed), Err(ConnectError::Unsealed)));
    let of_reader = Connected::reader(&lab.file("f.reader"), Files::Any).expect("a reader");
    let mut reader = Reader::open(of_reader.memory()).expect("a channel");
    Writer::open(writer(&lab, "f.writer", Files::Any).memory()).expect("a channel").write(b"one").expect("written");
    lab.start_again(&vms);
    Writer::open(writer(&lab, "f.writer", Files::Any).memory()).expect("a channel").write(b"two").expect("written");
    let mut bytes = [0; 3];
    assert_eq!((reader.read(&mut bytes), &bytes), (Ok(Some(3)), b"one"));
    assert_eq!(reader.read(&mut bytes), Err(ReadError::NewWriter { generation: 2 }));
    assert_eq!((reader.read(&mut bytes), &bytes), (Ok(Some(3)), b"two"));
    // Another kind of channel is not put over one that is in use.
    lab.policy(&vms.replace("packets", "bytes"));
    let output = lab.ask(&["reload"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("channel f: its file is in use"), "{error}");
    Writer::open(writer(&lab, "f.writer", Files::Any).memory()).expect("a channel").write(b"one").expect("written");
    assert_eq!(reader.read(&mut bytes), Err(ReadError::NewWriter { generation: 3 }));
    // Whoever cuts it ends those who have it mapped, which the server has not.
    fs::File::options().write(true).open(&file.0).and_then(|file| file.set_len(0)).expect("cut");
    assert_eq!(state(&lab, "f")["written_bytes"], 0);
    let (code, _) = lab.end(Signal::TERM);
    assert_eq!(code, Some(0));
}

/// A path in shared memory.
struct TempPath(PathBuf);

impl TempPath {
    fn new() -> Self {
        Self(format!("/dev/shm/sluice-test-{}", std::process::id()).into())
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn what_is_said_of_channels_is_the_same_for_people_and_programs() {
    let lab = Lab::new(&(channel("p", "packets", "huge = true") + &channel("s", "bytes", "")));
    let _reader = reader(&lab, "s.reader");
    let of_writer = writer(&lab, "s.writer", Files::Sealed);
    ByteWriter::open(of_writer.memory()).expect("a channel").write(b"12345");
    let print = |words: &[&str]| String::from_utf8(lab.ask(words).stdout).expect("text");
    let text = print(&["status"]);
    for part in [
        "0 VMs, 2 channels\n",
        "channel of bytes, 1024 KiB in small pages, a writer since ",
        "1 readers\n    written 5 bytes by 1 writers; refused 0\n",
        "p                channel of packets, 1024 KiB in ",
        " pages, no writer, 0 readers\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let metrics = print(&["status", "--prometheus"]);
    for (name, value) in [
        ("ring_bytes", 1 << 20),
        ("writer_connected", 1),
        ("readers", 1),
        ("reader_connects_total", 1),
        ("writer_connects_total", 1),
        ("refused_total", 0),
        ("written_bytes_total", 5),
    ] {
        assert!(metrics.contains(&format!("sluice_channel_{name}{{channel=\"s\"}} {value}\n")), "{name}: {metrics}");
    }
    // The other channel has huge pages, or a line of the log says that it has not.
    let start = Instant::now();
    let log = || fs::read_to_string(lab.file("log")).expect("a log");
    while state(&lab, "p")["pages"] != "huge" && !log().contains("no huge pages are set aside") {
        assert!(start.elapsed() < PATIENCE, "{}", log());
    }
}
