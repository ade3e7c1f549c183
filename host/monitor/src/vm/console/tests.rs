//! Several VMs print at once, into a sink that is never fast enough.

use super::*;
use crate::platform::stream::PIECE;
use std::string::ToString;

/// Takes a given number of bytes at a time, and notes them.
struct Slow {
    room: usize,
    text: Vec<u8>,
}

impl Sink for Slow {
    fn send(&mut self, bytes: &[u8]) -> usize {
        assert!(bytes.len() <= PIECE, "{} bytes with the stream locked", bytes.len());
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        self.text.extend(&bytes[..taken]);
        taken
    }
}

type Slowly = Mutex<Stream<Slow>>;

fn slow() -> Slowly {
    Mutex::new(Stream::new(Slow { room: 0, text: Vec::new() }))
}

/// Lets `stream` take `bytes` more.
fn more(stream: &Slowly, bytes: usize) {
    stream.lock().sink().room = bytes;
}

fn lines(stream: &Slowly) -> Vec<String> {
    String::from_utf8(stream.lock().sink().text.clone()).unwrap().lines().map(str::to_string).collect()
}

fn three() -> [Console; 3] {
    [(0, "a"), (1, "b"), (2, "c")].map(|(id, name)| Console::new(id, name))
}

/// A page of text without an end of line takes 0.36 s of a serial line of 115,200 baud. Another VM goes on meanwhile,
/// however often it prints.
#[test]
fn a_vm_goes_on_while_another_prints_a_long_line() {
    let (stream, [mut a, mut b, _]) = (slow(), three());
    a.write(&[b'x'; MAX_LINE]);
    a.write(b"\n");
    let mut turns = 0;
    while a.is_pending() {
        more(&stream, PIECE);
        a.print(&stream);
        more(&stream, 0);
        if turns < 100 {
            b.write(b"here\n");
        }
        assert_eq!(b.print(&stream), if a.is_pending() { Progress::Free } else { Progress::Held }, "{turns}");
        turns += 1;
    }
    assert!(turns > MAX_LINE / PIECE, "{turns}");
    more(&stream, usize::MAX);
    assert_eq!(b.print(&stream), Progress::Free);
    let lines = lines(&stream);
    assert_eq!((lines.len(), lines[0].len()), (101, "[a] ".len() + MAX_LINE));
    assert!(lines[1..].iter().all(|line| line == "[b] here"), "{lines:?}");
}

/// Who prints without end holds himself.
#[test]
fn a_vm_that_prints_more_than_the_stream_takes_waits() {
    let (stream, [mut a, mut b, _]) = (slow(), three());
    a.write(b"a line\n");
    more(&stream, 3);
    assert_eq!(a.print(&stream), Progress::Held, "its own line is in hand");
    let mut written = 0;
    while b.print(&stream) == Progress::Free {
        b.write(&[b'y'; MAX_LINE]);
        written += MAX_LINE;
        assert!(written < 8 * MAX_LINE);
    }
    assert!(written > ROOM);
    more(&stream, usize::MAX);
    assert_eq!((a.print(&stream), b.print(&stream)), (Progress::Free, Progress::Free));
}

/// Each has its turn after one line of each other, which is whole.
#[test]
fn lines_take_turns_and_are_not_mixed() {
    let (stream, mut all) = (slow(), three());
    for console in &mut all {
        let id = console.id;
        (0..20).for_each(|number| console.say(format_args!("vm {id} line {number}")));
    }
    while all.iter().any(Console::is_pending) {
        for console in &mut all {
            more(&stream, 7);
            console.print(&stream);
        }
    }
    let lines = lines(&stream);
    let wanted = (0..20).flat_map(|number| (0..3).map(move |id| format!("[monitor] vm {id} line {number}")));
    assert!(lines.iter().eq(wanted.collect::<Vec<_>>().iter()), "{lines:#?}");
}

#[test]
fn what_a_vm_and_the_monitor_say_comes_in_order() {
    let (stream, [mut a, ..]) = (slow(), three());
    a.write(b"one\ntw");
    a.say(format_args!("said"));
    a.write(b"o\n\nthree");
    a.finish();
    a.finish();
    more(&stream, usize::MAX);
    assert_eq!(a.print(&stream), Progress::Free);
    assert_eq!(lines(&stream), ["[a] one", "[monitor] said", "[a] two", "[a] ", "[a] three"]);
}

#[test]
fn a_line_that_is_too_long_is_cut() {
    let (stream, [mut a, ..]) = (slow(), three());
    a.write(&[b'z'; MAX_LINE]);
    assert!(!a.is_pending());
    a.write(b"zz\n");
    more(&stream, usize::MAX);
    a.print(&stream);
    assert_eq!(lines(&stream).iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE + 4, 6]);
}

/// The monitor's last words wait for nobody.
#[test]
fn what_must_be_said_now_breaks_the_line_in_hand() {
    let (stream, [mut a, ..]) = (Mutex::new(Stream::new(Vec::new())), three());
    stream.lock().send_now(b"first\n");
    a.write(b"a line of more than one piece\n");
    a.take_line();
    stream.lock().send(0, &a.line);
    stream.lock().send_now(b"last\n");
    assert_eq!(String::from_utf8_lossy(stream.lock().sink()), "first\n[a] a line of mo\nlast\n");
}

impl Sink for Vec<u8> {
    fn send(&mut self, bytes: &[u8]) -> usize {
        self.extend(bytes);
        bytes.len()
    }
}
