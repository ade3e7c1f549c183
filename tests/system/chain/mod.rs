//! Service chains over VMs: there and back, header by header, and past a hop that crashed.

mod frames;
mod hops;

use crate::examples::{frames as frames_of, replaying};
use crate::{embedded, example, in_bochs, passed};
use frames::{answer, fields, is_intact, udp};
use std::collections::{BTreeMap, BTreeSet};
use xtask::{Report, Scenario};

const PUBLIC: [u8; 4] = [203, 0, 113, 1];
const CLIENT: [u8; 4] = [192, 0, 2, 1];
const BALANCED: [u8; 4] = [192, 0, 2, 2];

/// Returns whether the chain "web" of the example takes `frame`, and whether its firewall lets that pass: it is no
/// fragment.
fn web(frame: &[u8]) -> Option<bool> {
    let is_web = frame[12..14] == [8, 0] && frame[26..30] == CLIENT && frame[30..34] == BALANCED;
    is_web.then(|| frame[20] & 0x3f == 0 && frame[21] == 0)
}

fn sorted<'f>(frames: impl IntoIterator<Item = &'f [u8]>) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = frames.into_iter().map(<[u8]>::to_vec).collect();
    all.sort();
    all
}

/// What comes back at the client's side is what the server answers to the frames as the client sent them: all that the
/// hops of one direction change, those of the other direction change back.
#[track_caller]
fn goes_there_and_back(runs: impl Fn(&Scenario) -> Report) {
    let scenario = example("service-chain");
    let report = runs(&Scenario { timeout: 300, ..scenario.clone() });
    passed(&report);
    let (_, sent) = scenario.modules.iter().find(|(name, _)| name == "mixed.pcap").expect("a capture");
    let sent = frames_of(sent);
    let passing: Vec<_> = sent.iter().copied().filter(|frame| web(frame) != Some(false)).collect();
    let answers: Vec<_> = passing.iter().map(|frame| answer(frame)).collect();
    let returned = sorted(frames_of(&report.files["returned.pcap"]));
    assert!(returned == sorted(answers.iter().map(Vec::as_slice)), "{:#?}", report.lines);
    let refused = sent.len() - passing.len();
    assert!(refused > 0 && report.says(&format!("dropped: refused {refused}")), "{:#?}", report.lines);
    let mirrored = &report.files["mirror.pcap"];
    translates(&passing, &frames_of(mirrored));
}

/// Asserts that the frames of the chain "web" among `sent` have the public address and one of its ports as their source
/// in `mirrored`, and a server as their destination, each flow one of its own; and that nothing else of them changed.
#[track_caller]
fn translates(sent: &[&[u8]], mirrored: &[&[u8]]) {
    let web: Vec<_> = sent.iter().filter(|frame| web(frame).is_some()).collect();
    let translated: Vec<_> = mirrored.iter().filter(|frame| frame[26..30] == PUBLIC).collect();
    assert!(web.len() == translated.len() && web.len() > 30, "{} of {}", translated.len(), web.len());
    let (mut ports, mut servers) = (BTreeMap::new(), BTreeMap::new());
    for (before, after) in web.into_iter().zip(translated) {
        let ([old, new], rest) = ([fields(before), fields(after)], fields(before).rest);
        assert!(is_intact(after), "{after:02x?}");
        assert_eq!((new.protocol, &new.rest), (old.protocol, &rest), "{after:02x?}");
        assert!((40_000..50_000).contains(&new.ports[0]) && new.ports[0] % 2 == old.ports[0] % 2);
        assert!(old.ports[0] == old.ports[1] || new.ports[1] == old.ports[1], "a destination's port stays");
        assert!(new.destination[..3] == [10, 80, 0] && (1..=3).contains(&new.destination[3]));
        let port = *ports.entry((old.protocol, old.ports[0])).or_insert(new.ports[0]);
        let server = *servers.entry((old.protocol, old.ports)).or_insert(new.destination);
        assert_eq!((port, server), (new.ports[0], new.destination));
    }
    let distinct: BTreeSet<_> = ports.iter().map(|((protocol, _), port)| (*protocol, *port)).collect();
    assert_eq!(distinct.len(), ports.len(), "a port is one source's");
}

#[test]
fn a_chain_brings_packets_there_and_answers_back() {
    goes_there_and_back(embedded);
}

#[test]
fn a_chain_brings_packets_there_and_answers_back_in_bochs() {
    goes_there_and_back(in_bochs);
}

/// A flow's packets all reach one server, and flows reach all servers.
#[test]
fn flows_are_spread_and_each_keeps_its_server() {
    let sent: Vec<_> = (0..600).map(|number| udp(CLIENT, BALANCED, [5000 + number % 200, 53], &[7; 30])).collect();
    let report = embedded(&replaying("service-chain", frames::file(&sent)));
    passed(&report);
    let sent: Vec<_> = sent.iter().map(Vec::as_slice).collect();
    let mirrored = &report.files["mirror.pcap"];
    translates(&sent, &frames_of(mirrored));
    let to = |server: u8| frames_of(mirrored).iter().filter(|frame| frame[30..34] == [10, 80, 0, server]).count();
    let counts = [1, 2, 3].map(to);
    assert!(counts.iter().sum::<usize>() == 600 && counts.iter().all(|count| (120..300).contains(count)), "{counts:?}");
}

/// The firewall takes a SYN for the beginning of a connection, and nothing else of TCP.
#[test]
fn tcp_without_a_connection_does_not_pass() {
    let tcp = |port: u16, flags: u8| frames::tcp(CLIENT, BALANCED, [port, 80], flags);
    let (syn, ack, fin_ack, syn_ack, rst) = (2, 16, 17, 18, 4);
    let sent =
        [tcp(1, ack), tcp(2, syn_ack), tcp(3, rst), tcp(4, fin_ack), tcp(5, syn), tcp(5, ack), tcp(6, 3), tcp(7, 0)];
    let report = embedded(&replaying("service-chain", frames::file(&sent)));
    passed(&report);
    assert!(report.says("6 dropped: refused 6"), "{:#?}", report.lines);
    let answers = [answer(&sent[4]), answer(&sent[5])];
    assert!(frames_of(&report.files["returned.pcap"]) == answers, "{:#?}", report.lines);
}
