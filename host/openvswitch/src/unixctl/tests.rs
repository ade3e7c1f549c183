//! A client, and daemons that keep the protocol or don't.

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use tempfile::TempDir;

/// Bytes that a daemon answers to any request: the pieces one after the other.
fn daemon(pieces: Vec<Vec<u8>>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ctl");
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let _ = stream.read(&mut [0; 4_096]);
        for piece in pieces {
            let _ = stream.write_all(&piece);
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_secs(1));
    });
    (folder, path)
}

fn asked(pieces: &[&str], limits: Limits) -> Result<String> {
    let (_folder, path) = daemon(pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect());
    Client::new(&path, limits).call("version", &["-m"])
}

fn limits() -> Limits {
    Limits { patience: Duration::from_millis(300), answer: 1 << 10 }
}

#[test]
fn an_answer_may_come_in_pieces_and_have_braces_in_its_text() {
    let answer = r#"{"id":1,"result":"a } \" { \\","error":null}"#;
    let pieces: Vec<_> = answer.split_inclusive(['"', '}']).collect();
    assert_eq!(asked(&pieces, limits()).expect("an answer"), "a } \" { \\");
}

#[test]
fn what_the_daemon_refuses_is_an_error_with_its_words() {
    let error = asked(&[r#"{"id":1,"error":"no such\ncommand\n"}"#], limits()).expect_err("refused");
    assert_eq!(error.to_string(), "Open vSwitch refuses `version`: no such command");
}

#[test]
fn an_answer_that_is_late_or_too_long_ends_the_connection() {
    let late = asked(&[r#"{"id":1,"#], limits()).expect_err("late");
    assert!(matches!(late, Error::TimedOut { .. }), "{late}");
    let text = format!(r#"{{"id":1,"result":"{}"#, "x".repeat(2 << 10));
    let long = asked(&[&text], limits()).expect_err("too long");
    assert!(matches!(long, Error::TooLong { bound: 1024, .. }), "{long}");
}

#[test]
fn a_long_answer_is_read_a_part_at_a_time() {
    let text = "x".repeat(4 << 20);
    let (_folder, path) = daemon(vec![format!(r#"{{"id":1,"result":"{text}","error":null}}"#).into_bytes()]);
    let mut client = Client::new(&path, Limits { patience: Duration::from_secs(20), answer: 16 << 20 });
    client.ask(Instant::now(), "version", &[]).expect("a daemon");
    let (mut most, mut before) = (0, 0);
    let answer = loop {
        if let Some(answer) = client.poll(Instant::now()).expect("an answer") {
            break answer;
        }
        let so_far = client.request.as_ref().map_or(0, |request| request.input.len());
        (most, before) = (most.max(so_far - before), so_far);
        // The daemon writes as much as the socket takes.
        thread::sleep(Duration::from_millis(2));
    };
    assert_eq!(answer.len(), text.len());
    assert!(most > 0 && most <= 128 << 10, "{most} bytes at once");
}

#[test]
fn an_answer_that_is_none_of_the_protocol_is_malformed() {
    for answer in [
        r#"{"id":2,"result":"x","error":null}"#,
        r#"{"id":1,"result":7,"error":null}"#,
        r#"{"id":1,"result":"x","error":"y"}"#,
        r#"{"id":1}"#,
        r#"[]"#,
        r#"}"#,
        r#"{"id":1,"result":"x","error":null}{"#,
    ] {
        let error = asked(&[answer], limits()).expect_err(answer);
        assert!(matches!(error, Error::Malformed { .. }), "{answer}: {error}");
    }
    // Deeper than any parser should follow, and within the bound.
    let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
    assert!(matches!(asked(&[&deep], limits()), Err(Error::Malformed { .. })));
}

#[test]
fn a_daemon_that_is_not_there_or_hangs_up_is_gone_and_asked_anew_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ctl");
    let mut client = Client::new(&path, limits());
    assert!(matches!(client.call("version", &[]), Err(Error::Gone { .. })));
    let listener = UnixListener::bind(&path).expect("a socket");
    let serve = thread::spawn(move || {
        drop(listener.accept().expect("a client"));
        let (mut stream, _) = listener.accept().expect("a client");
        let _ = stream.read(&mut [0; 4_096]);
        stream.write_all(br#"{"id":2,"result":"3.1.0","error":null}"#).expect("an answer");
    });
    assert!(matches!(client.call("version", &[]), Err(Error::Gone { .. })));
    assert_eq!(client.call("version", &[]).expect("an answer"), "3.1.0");
    serve.join().expect("served");
}
