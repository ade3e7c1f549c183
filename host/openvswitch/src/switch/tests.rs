//! The surface, where no Open vSwitch is.

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

fn config(ports: &[(u16, &str, &str)]) -> Config {
    let port = |(number, name, socket): &(u16, &str, &str)| PortConfig {
        number: *number,
        name: (*name).to_owned(),
        socket: PathBuf::from(socket),
    };
    Config {
        control: "/nowhere/ctl".into(),
        bridge: "br0".to_owned(),
        ports: ports.iter().map(port).collect(),
        period: Duration::ZERO,
        limits: Limits::default(),
    }
}

#[test]
fn a_port_that_can_not_be_is_named() {
    let long = "x".repeat(200);
    for (ports, why) in [
        (&[(0, "p 0", "/a")][..], "the port `p 0`: a name is of letters"),
        (&[(0, "", "/a")], "the port ``: a name"),
        (&[(0, "p0,p1", "/a")], "the port `p0,p1`: a name"),
        (&[(u16::MAX, "p0", "/a")], "the number is too large"),
        (&[(0, "p0", &long)], "the path of its socket is too long"),
        (&[(0, "p0", "/a"), (0, "p1", "/b")], "the port `p1`: another port has its number"),
        (&[(0, "p0", "/a"), (1, "p0", "/b")], "another port has its name"),
        (&[(0, "p0", "/a"), (1, "p1", "/a")], "another port has its socket"),
    ] {
        let error = OpenVswitch::open(&config(ports)).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn without_open_vswitch_nothing_is_sent_and_the_error_says_where_it_was_looked_for() {
    let mut switch = OpenVswitch::open(&config(&[(3, "p0", "/nowhere/p0")])).expect("a configuration");
    assert_eq!(switch.send(3, &[0; 60]).expect("a port"), Sent::Down);
    assert!(matches!(switch.send(4, &[0; 60]), Err(Error::NoPort(4))));
    assert_eq!(switch.fence(3).expect("a port"), None);
    assert!(matches!(switch.fence(4), Err(Error::NoPort(4))));
    assert!(!switch.receive(8, |_, _| panic!("a frame")));
    let error = switch.poll_flows(Instant::now()).expect_err("it is gone").to_string();
    assert!(error.starts_with("Open vSwitch is gone: /nowhere/ctl: "), "{error}");
    assert_eq!((switch.interest().count(), switch.flows().count(), switch.fenced().count()), (0, 0, 0));
}

/// More tokens than are kept account of.
const ROUNDS: u32 = 2_000;

/// Frames are under way as long as their port has no room for a token: that is no port without frames.
#[test]
fn a_port_without_room_for_a_token_is_not_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p0");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let mut switch = OpenVswitch::open(&config(&[(3, "p0", path.to_str().expect("a path"))])).expect("a configuration");
    // One that is given up makes room among those that are kept account of, and one that was not sent takes none.
    for round in 0..ROUNDS {
        let token = switch.fence(3).unwrap_or_else(|why| panic!("{round}: {why}")).expect("it is up");
        switch.give_up(token);
    }
    while switch.send(3, &[0; 60]).expect("a port") == Sent::Queued {}
    for round in 0..ROUNDS {
        let asked = switch.fence(3);
        assert!(matches!(asked, Err(Error::Full(3))), "{round}: {asked:?}");
    }
    assert_eq!(switch.fenced().count(), 0);
}

/// Tokens are frames to who bounds his work.
#[test]
fn a_port_that_had_as_many_frames_as_were_asked_for_may_have_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p0");
    let listener = UnixListener::bind(&path).expect("a socket");
    let mut switch = OpenVswitch::open(&config(&[(3, "p0", path.to_str().expect("a path"))])).expect("a configuration");
    let token = switch.fence(3).expect("room").expect("it is up");
    let (mut other, mut bytes) = (listener.accept().expect("the port").0, [0; 62]);
    other.read_exact(&mut bytes).expect("a token");
    other.write_all(&[&bytes[..], &bytes, &bytes, &[0, 14], &[7; 14]].concat()).expect("room");
    let mut frames = 0;
    let busy = [(); 3].map(|()| (switch.receive(2, |_, _| frames += 1), frames));
    assert_eq!(busy, [(true, 0), (true, 1), (false, 1)]);
    assert_eq!(switch.fenced().collect::<Vec<_>>(), [token]);
}
