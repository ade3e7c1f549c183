//! Two hosts, each a network namespace with an Open vSwitch of its own, and Geneve between them: what the slow path
//! carries from a VM of one host to a VM of another.

use crate::frames::ethernet;
use crate::lab::{Lab, Process, fenced, run, through, until};
use sluice_openvswitch::{Change, OpenVswitch, Refusal, Sent};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Largest packet of the network between the hosts, bytes.
const UNDERLAY: usize = 1_500;
/// What a tunnel adds to a frame: an Ethernet header, and headers of IPv4, UDP and Geneve. See: RFC 8926, section 3.
const ADDED: usize = 14 + 20 + 8 + 8;
/// Largest frame of a VM that fits: its packet has 1,450 bytes.
const LARGEST: usize = UNDERLAY - ADDED + 14;
/// See: RFC 8926, section 3.3 "UDP Header", and RFC 7637: Ethernet within.
const PORT: u16 = 6_081;
const ETHERNET: u16 = 0x6558;
/// Number of the virtual network.
const VNI: u32 = 7;
/// EtherType of the frames. See: IEEE 802, "Local Experimental EtherType 2".
const EXPERIMENT: u16 = 0x88b6;
/// Frames in each direction.
const FRAMES: u16 = 100;

/// The numbers of VMs, which are the last bytes of their addresses: two of host 0, and one of host 1.
const NEAR: [u8; 2] = [1, 2];
const FAR: u8 = 3;

/// A network of its own, which is gone with its process.
struct Space(Process);

impl Space {
    fn new(folder: &TempDir, host: usize) -> Self {
        let log = folder.path().join(format!("space{host}"));
        let space = Self(Process::start(Command::new("unshare").args(["--net", "sleep", "infinity"]), &log));
        let network = |id: &str| std::fs::read_link(format!("/proc/{id}/ns/net")).expect("a network");
        until("the network is another one", || network(&space.0.id().to_string()) != network("self"));
        space
    }

    /// What stands in front of a command that is to run there.
    fn before(&self) -> Vec<String> {
        vec!["nsenter".into(), format!("--net=/proc/{}/ns/net", self.0.id())]
    }

    fn command(&self, words: &[&str]) -> Command {
        let before = self.before();
        let mut command = Command::new(&before[0]);
        command.args(&before[1..]).args(words);
        command
    }

    fn ip(&self, words: &str) {
        let words: Vec<_> = ["ip"].into_iter().chain(words.split(' ')).collect();
        run(&mut self.command(&words));
    }
}

/// A host with its Open vSwitch: ports p0 and p1 of VMs, and a tunnel, which has the number 9.
struct Host {
    space: Space,
    lab: Lab,
    switch: OpenVswitch,
}

/// Two hosts and a cable. The bridge `phy` has a host's end of it, and the address that the tunnel uses.
fn hosts(folder: &TempDir) -> [Host; 2] {
    let spaces = [0, 1].map(|host| Space::new(folder, host));
    spaces[0].ip(&format!("link add cable type veth peer name cable netns {}", spaces[1].0.id()));
    let mut at = 0;
    spaces.map(|space| {
        at += 1;
        space.ip(&format!("link set cable up mtu {UNDERLAY}"));
        let lab = Lab::behind(space.before(), "netdev");
        lab.vsctl(&["add-br", "phy", "--", "set", "bridge", "phy", "datapath_type=netdev"]);
        lab.vsctl(&["add-port", "phy", "cable"]);
        space.ip(&format!("address add 192.0.2.{at}/24 dev phy"));
        space.ip("link set phy up");
        let remote = format!("options:remote_ip=192.0.2.{}", 3 - at);
        let key = format!("options:key={VNI}");
        let words = ["add-port", "br0", "far", "--", "set", "interface", "far", "type=geneve", "ofport_request=9"];
        lab.vsctl(&[&words[..], &[&remote, &key]].concat());
        let switch = lab.open();
        Host { space, lab, switch }
    })
}

/// A frame of `len` bytes with a number.
fn frame(to: u8, from: u8, number: u16, len: usize) -> Vec<u8> {
    let bytes: Vec<u8> = number.to_be_bytes().into_iter().chain((0..).map(|at| at as u8)).take(len - 14).collect();
    ethernet(to, from, EXPERIMENT, &bytes)
}

/// Takes the next frame that comes.
fn next(switch: &mut OpenVswitch) -> (u16, Vec<u8>) {
    let mut all = Vec::new();
    until("a frame comes", || {
        switch.receive(1, |port, frame| all.push((port, frame.to_vec())));
        !all.is_empty()
    });
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Sends frames until one arrives: Open vSwitch drops what it has no neighbour for, and asks for that one meanwhile.
fn find(from: &mut OpenVswitch, to: &mut OpenVswitch) {
    let mut has_come = false;
    until("the hosts have found each other", || {
        assert_eq!(from.send(0, &frame(FAR, NEAR[0], 0, 64)).expect("a port"), Sent::Queued);
        sleep(Duration::from_millis(20));
        fenced(from, &[0]);
        to.receive(32, |_, _| has_come = true);
        has_come
    });
    // Those that are still under way.
    sleep(Duration::from_millis(100));
    fenced(to, &[0]);
}

/// Returns why flows are not given to tables, and which are, as the sources and destinations of their frames.
fn followed(switch: &mut OpenVswitch) -> (Vec<Refusal>, usize) {
    let (from, mut refused, mut added) = (Instant::now(), Vec::new(), 0);
    until("the flows are known", || {
        let seen = switch.poll_flows(Instant::now()).expect("flows");
        seen.is_some_and(|seen| {
            for change in seen.changes {
                match change {
                    Change::Added(_) | Change::Changed(_) => added += 1,
                    Change::Refused(_, why) => refused.push(why),
                    Change::Removed(_) => {}
                }
            }
            seen.asked >= from
        })
    });
    (refused, added)
}

/// Returns the frames in the packets of Geneve of a capture.
fn tunnelled(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = &capture[24..];
    while let Some((header, bytes)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes(header[8..12].try_into().expect("four")) as usize;
        let (packet, behind) = bytes.split_at(len);
        rest = behind;
        let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        // IPv4 without options, UDP, and Geneve of version 0 without options.
        assert_eq!((word(12), packet[14], packet[23], word(36)), (0x0800, 0x45, 17, PORT));
        assert_eq!(
            (packet[42], word(44), u32::from_be_bytes([0, packet[46], packet[47], packet[48]])),
            (0, ETHERNET, VNI)
        );
        assert_eq!(word(20) & 0x4000, 0x4000, "nobody may fragment it");
        frames.push(packet[ADDED..].to_vec());
    }
    frames
}

#[test]
fn frames_reach_a_vm_of_another_host_by_geneve_with_openvswitch_in_namespaces() {
    let folder = tempfile::tempdir().expect("a folder");
    let [mut a, mut b] = hosts(&folder);
    a.lab.rules(
        &a.switch,
        &[
            "in_port=1,dl_dst=02:00:00:00:00:02,actions=output:2",
            "in_port=1,actions=output:9",
            "in_port=9,actions=output:1",
        ],
    );
    b.lab.rules(&b.switch, &["in_port=1,actions=output:9", "in_port=9,actions=output:1"]);
    find(&mut a.switch, &mut b.switch);

    let file = folder.path().join("wire.pcap");
    let words = ["tcpdump", "-i", "cable", "-U", "-w", file.to_str().expect("text"), "udp port 6081"];
    let wire = Process::start(&mut b.space.command(&words), &folder.path().join("tcpdump"));
    until("tcpdump listens", || {
        sleep(Duration::from_millis(5));
        std::fs::read_to_string(folder.path().join("tcpdump")).is_ok_and(|said| said.contains("listening"))
    });
    let mut sent = Vec::new();
    for number in 0..FRAMES {
        let len = 64 + usize::from(number) * (LARGEST - 64) / usize::from(FRAMES - 1);
        for (from, to, frame) in [(0, 1, frame(FAR, NEAR[0], number, len)), (1, 0, frame(NEAR[0], FAR, number, len))] {
            let [from, to] = if from < to { [&mut a.switch, &mut b.switch] } else { [&mut b.switch, &mut a.switch] };
            assert_eq!(from.send(0, &frame).expect("a port"), Sent::Queued);
            assert_eq!(next(to), (0, frame.clone()), "frame {number} of {len} bytes");
            sent.push(frame);
        }
    }
    // One byte more than fits is lost, as nobody may fragment it, with all that Open vSwitch sends at the same time.
    // The next frame is not.
    for len in [LARGEST + 1, LARGEST] {
        assert_eq!(a.switch.send(0, &frame(FAR, NEAR[0], 999, len)).expect("a port"), Sent::Queued);
        fenced(&mut a.switch, &[0]);
    }
    sent.push(frame(FAR, NEAR[0], 999, LARGEST));
    assert_eq!(next(&mut b.switch), (0, frame(FAR, NEAR[0], 999, LARGEST)));
    // tcpdump writes what it has seen a little later.
    let capture_len = 24 + sent.iter().map(|frame| 16 + ADDED + frame.len()).sum::<usize>();
    until("tcpdump has written", || std::fs::metadata(&file).is_ok_and(|file| file.len() >= capture_len as u64));
    drop(wire);
    let found = tunnelled(&std::fs::read(&file).expect("a capture"));
    let differs = found.iter().zip(&sent).position(|(found, sent)| found != sent);
    assert_eq!((found.len(), differs), (sent.len(), None), "the wire has each frame once, in a tunnel");

    // What stays on the host is a table's, and what leaves it stays with Open vSwitch.
    let near = frame(NEAR[1], NEAR[0], 0, 64);
    assert_eq!(through(&mut a.switch, 0, &near), [(1, near.clone())]);
    let (refused, added) = followed(&mut a.switch);
    assert_eq!(added, 1, "{refused:?}");
    for way in [Refusal::Action("tnl_push".into()), Refusal::Recirculated("tunnel".into())] {
        assert!(refused.contains(&way), "{way:?} is not among {refused:?}");
    }
}
