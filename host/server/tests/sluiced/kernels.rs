//! The host's kernel on both sides of the server: what it leaves to taps passes whole, and is cut where it has to be.

use crate::host::*;
use crate::lab::*;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

/// Bytes of the stream.
const STREAM: usize = 8 << 20;

/// Two namespaces with a tap each, and the server between.
fn between(keys: [&str; 2]) -> (Lab, [Namespace; 2]) {
    let taps = [Device::tap(), Device::tap()];
    let [one, two] = [("one", "two", 0), ("two", "one", 1)]
        .map(|(name, lan, at)| table(name, &taps[at].0, &format!("lan = [\"{lan}\"]\n{}", keys[at])));
    let lab = Lab::new(&(vm('a', "") + &one + &two));
    let spaces = [Namespace::new(), Namespace::new()];
    for ((space, tap), address) in spaces.iter().zip(&taps).zip(["10.9.0.1/24", "10.9.0.2/24"]) {
        space.take(&tap.0, address);
    }
    (lab, spaces)
}

/// Returns the bytes of each frame, on average, that came from tap `one`.
fn mean(one: &Value) -> u64 {
    one["taken_bytes"].as_u64().expect("bytes") / one["counters"]["taken"].as_u64().expect("frames")
}

#[test]
fn a_stream_of_the_kernel_arrives_whole_and_its_segments_are_left_to_who_takes_them_with_tap() {
    let none = "offloads = false";
    for (keys, is_long) in [(["", ""], true), (["", none], true), ([none, ""], false)] {
        let (lab, [one, two]) = between(keys);
        let address: SocketAddr = "10.9.0.2:5000".parse().expect("an address");
        let listener = two.spawn(move || TcpListener::bind(address)).join().expect("a thread").expect("a listener");
        let bytes: Vec<u8> = (0..STREAM).map(|at| (at / 3 + at % 251) as u8).collect();
        let sent = bytes.clone();
        let connect = one.spawn(move || TcpStream::connect_timeout(&address, PATIENCE));
        let mut sender = connect.join().expect("a thread").expect("a connection");
        let (mut receiver, mut received) = (listener.accept().expect("a connection").0, Vec::new());
        let send = std::thread::spawn(move || sender.write_all(&sent));
        receiver.set_read_timeout(Some(PATIENCE)).expect("a limit");
        receiver.read_to_end(&mut received).expect("a stream");
        send.join().expect("a thread").expect("sent");
        assert!(received == bytes, "the stream arrives as it was sent: {keys:?}");
        let taken = lab.tap("one");
        assert_eq!(mean(&taken) > 1_514, is_long, "{keys:?}: {taken}");
        assert_eq!(taken["counters"]["malformed"], 0);
    }
}

/// No VM takes datagrams that are to be cut, and so no tap is given any: the server cuts them.
#[test]
fn datagrams_that_the_kernel_leaves_to_be_cut_are_cut_with_tap() {
    let (lab, [one, two]) = between([""; 2]);
    let receive = two.spawn(|| {
        let socket = UdpSocket::bind("10.9.0.2:6000")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let take = || {
            let mut bytes = [0; 4_096];
            socket.recv(&mut bytes).map(|len| bytes[..len].to_vec())
        };
        (0..10).map(|_| take()).collect::<std::io::Result<Vec<_>>>()
    });
    // 103 is UDP_SEGMENT. See: udp(7).
    let script = "use Socket; socket(S, PF_INET, SOCK_DGRAM, 17) or die; \
         setsockopt(S, 17, 103, 1000) or die; my $all = join('', map { chr($_ / 100 % 256) } 0 .. 9499); \
         send(S, $all, 0, pack_sockaddr_in(6000, inet_aton('10.9.0.2'))) == 9500 or die";
    until("the receiver listens", || run("ip", &["netns", "exec", &two.0, "ss", "-lun"]).contains(":6000"));
    run("ip", &["netns", "exec", &one.0, "perl", "-e", script]);
    let parts = receive.join().expect("a thread").expect("datagrams");
    assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [vec![1_000; 9], vec![500]].concat());
    let whole = parts.concat();
    assert!((0..9_500).all(|at| whole[at] == (at / 100 % 256) as u8));
    let taken = lab.tap("one");
    assert!(taken["taken_bytes"].as_u64() > Some(9_500), "{taken}");
    assert_eq!(taken["counters"]["malformed"], 0);
    let frames = |tap: &Value, name: &str| tap["counters"][name].as_u64().expect("a counter");
    assert!(frames(&lab.tap("two"), "forwarded") >= frames(&taken, "taken") + 9, "nine more came out than went in");
}
