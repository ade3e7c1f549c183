//! A follower, and a daemon whose flows the test says.

use super::*;
use crate::Error;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;

/// What the daemon answers next: the ports, one after the other, the last one for ever; the flows.
#[derive(Clone, Default)]
struct State {
    ports: Vec<String>,
    flows: String,
    /// It hangs up instead.
    is_gone: bool,
}

struct Daemon {
    state: Arc<Mutex<State>>,
    follower: Follower,
    _folder: TempDir,
}

const PERIOD: Duration = Duration::from_millis(1);

impl Daemon {
    fn new(flows: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ctl");
        let listener = UnixListener::bind(&path).expect("a socket");
        let state = Arc::new(Mutex::new(State { ports: vec![ports(1, 2)], ..State::default() }));
        let theirs = Arc::clone(&state);
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(&stream, &theirs)));
        let names = [(0, "p0".to_owned()), (1, "p1".to_owned())];
        let follower = Follower::new(&path, Limits::default(), "br0", &names, PERIOD);
        let daemon = Self { state, follower, _folder: folder };
        daemon.set(flows);
        daemon
    }

    fn set(&self, flows: &[String]) {
        self.state.lock().expect("no panic").flows = flows.concat();
    }

    fn edit(&self, edit: impl FnOnce(&mut State)) {
        edit(&mut self.state.lock().expect("no panic"));
    }

    fn seen(&mut self) -> Result<Vec<Change>> {
        loop {
            if let Some(seen) = self.follower.poll(Instant::now())? {
                return Ok(seen.changes);
            }
            thread::yield_now();
        }
    }
}

fn serve(mut stream: &std::os::unix::net::UnixStream, state: &Mutex<State>) {
    let requests = serde_json::Deserializer::from_reader(stream).into_iter::<Value>();
    for request in requests.map_while(std::result::Result::ok) {
        let mut state = state.lock().expect("no panic");
        if state.is_gone {
            return;
        }
        let text = match request["method"].as_str() {
            Some(ports::COMMAND) if state.ports.len() > 1 => state.ports.remove(0),
            Some(ports::COMMAND) => state.ports[0].clone(),
            Some(flow::COMMAND) => state.flows.clone(),
            _ => panic!("{request}"),
        };
        let answer = json!({"id": request["id"], "result": text, "error": null});
        if stream.write_all(answer.to_string().as_bytes()).is_err() {
            return;
        }
    }
}

fn ports(p0: u32, p1: u32) -> String {
    format!("netdev@ovs-netdev: hit:0 missed:0\n  br0:\n    p0 1/{p0}: (dummy)\n    p1 2/{p1}: (dummy)\n")
}

fn line(ufid: u8, address: u8, packets: u64, actions: &str) -> String {
    format!(
        "ufid:000000{ufid:02x}-0000-0000-0000-000000000000, recirc_id(0),in_port(1),packet_type(ns=0,id=0),\
         eth(dst=02:00:00:00:00:{address:02x}),eth_type(0x88b6), packets:{packets}, bytes:0, used:never, dp:ovs, \
         actions:{actions}\n"
    )
}

fn ufid(number: u128) -> Ufid {
    Ufid(number << 96)
}

fn names(changes: &[Change]) -> Vec<String> {
    let name = |change: &Change| match change {
        Change::Removed(ufid) => format!("removed {}", ufid.0 >> 96),
        Change::Changed(flow) => format!("changed {}", flow.ufid.0 >> 96),
        Change::Added(flow) => format!("added {}", flow.ufid.0 >> 96),
        Change::Refused(ufid, why) => format!("refused {}: {why}", ufid.0 >> 96),
    };
    changes.iter().map(name).collect()
}

#[test]
fn each_change_is_told_once() {
    let mut daemon = Daemon::new(&[line(1, 1, 0, "2"), line(2, 2, 0, "2"), line(3, 3, 0, "ct")]);
    let first = daemon.seen().expect("flows");
    assert_eq!(names(&first), ["added 1", "added 2", "refused 3: no list has the action `ct`"]);
    assert_eq!(daemon.seen().expect("flows"), []);
    // The first one is as it was but for its counters, the second has other actions, the third another reason.
    daemon.set(&[line(1, 1, 7, "2"), line(2, 2, 0, "drop"), line(3, 3, 0, "meter(0)"), line(4, 4, 0, "1")]);
    let second = daemon.seen().expect("flows");
    assert_eq!(names(&second), ["changed 2", "refused 3: no list has the action `meter`", "added 4"]);
    assert_eq!(daemon.follower.counters(ufid(1)).map(|it| it.packets), Some(7));
    // A key, or a mask, that is another one makes a flow another one.
    daemon.set(&[line(1, 9, 7, "2"), line(2, 2, 0, "ct"), line(4, 4, 0, "1")]);
    let third = daemon.seen().expect("flows");
    assert_eq!(names(&third), ["removed 2", "changed 1", "refused 2: no list has the action `ct`"]);
    assert_eq!(daemon.follower.flows().count(), 2);
}

#[test]
fn flows_stay_while_the_daemon_is_gone_and_its_next_ones_are_compared_with_them() {
    let mut daemon = Daemon::new(&[line(1, 1, 0, "2"), line(2, 2, 0, "2")]);
    assert_eq!(daemon.seen().expect("flows").len(), 2);
    daemon.edit(|state| state.is_gone = true);
    assert!(matches!(daemon.seen(), Err(Error::Gone { .. })));
    assert!(matches!(daemon.seen(), Err(Error::Gone { .. })));
    assert_eq!(daemon.follower.flows().count(), 2);
    daemon.edit(|state| state.is_gone = false);
    daemon.set(&[line(2, 2, 0, "2"), line(8, 1, 0, "2")]);
    assert_eq!(names(&daemon.seen().expect("flows")), ["removed 1", "added 8"]);
}

/// A number may be another port's than when the flows were read.
#[test]
fn flows_count_only_where_the_ports_have_the_same_numbers_before_and_after() {
    let mut daemon = Daemon::new(&[line(1, 1, 0, "2")]);
    daemon.edit(|state| state.ports = vec![ports(2, 1), ports(1, 2)]);
    let changes = daemon.seen().expect("flows");
    let [Change::Added(flow)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(flow.key.in_port, 0);
    daemon.edit(|state| state.ports = vec![ports(2, 1)]);
    let changes = daemon.seen().expect("flows");
    let [Change::Changed(flow)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(flow.key.in_port, 1);
}

#[test]
fn a_port_that_is_gone_is_named_and_its_flows_are_refused() {
    let mut daemon = Daemon::new(&[line(1, 1, 0, "2")]);
    assert_eq!(daemon.seen().expect("flows").len(), 1);
    let without = ports(1, 2).lines().take(3).map(|line| format!("{line}\n")).collect();
    daemon.edit(|state| state.ports = vec![without]);
    let why = "refused 1: it sends frames by port 2 of Open vSwitch, which is none of ours";
    assert_eq!(names(&daemon.seen().expect("flows")), ["removed 1", why]);
    assert_eq!(daemon.follower.missing(), ["p1"]);
}

/// A caller has other work, too.
#[test]
fn many_flows_are_read_some_at_a_time() {
    let flows: Vec<_> =
        (0..5_000).map(|at| line(1, 1, 0, "2").replacen("0000-0000", &format!("0000-{at:04x}"), 1)).collect();
    let mut daemon = Daemon::new(&flows);
    let mut readings = 0;
    let seen = loop {
        let (is_reading, due) = (matches!(daemon.follower.step, Step::Reading(..)), daemon.follower.due());
        // While it reads, it is due, whatever the socket says.
        assert!(!is_reading || due.is_some_and(|due| due <= Instant::now()));
        readings += usize::from(is_reading);
        if let Some(seen) = daemon.follower.poll(Instant::now()).expect("flows") {
            break seen;
        }
    };
    assert!(daemon.follower.due().is_some_and(|due| due > seen.asked));
    assert_eq!((seen.changes.len(), readings), (5_000, 5_000usize.div_ceil(LINES)));
    assert_eq!(daemon.seen().expect("flows"), []);
}

#[test]
fn flows_are_asked_for_once_in_a_period() {
    let mut daemon = Daemon::new(&[line(1, 1, 0, "2")]);
    assert_eq!(daemon.seen().expect("flows").len(), 1);
    daemon.follower.period = Duration::from_secs(1_000);
    daemon.seen().expect("flows");
    let later = Instant::now() + Duration::from_secs(900);
    assert!((0..100).all(|_| daemon.follower.poll(later).expect("nothing").is_none()));
    assert!(daemon.follower.interest().is_some_and(|(_, writes)| !writes));
}

#[test]
fn a_dump_with_a_line_without_a_name_changes_nothing() {
    let mut daemon = Daemon::new(&[line(1, 1, 0, "2")]);
    assert_eq!(daemon.seen().expect("flows").len(), 1);
    daemon.set(&["ovs-vswitchd: something else\n".to_owned()]);
    let error = daemon.seen().expect_err("no flows");
    assert_eq!(error.to_string(), "the answer to `dpctl/dump-flows` is malformed: ovs-vswitchd: something else");
    assert_eq!(daemon.follower.flows().count(), 1);
}
