//! In-VM switches: what VMs with an uplink transmit, and what becomes of it.

use crate::lab::*;
use crate::linux::{linux, ping};
use crate::windows::{Killed, PAIRS, example, start};
use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sluice_tests_qemu::{Guest, Linux, Nic, Vm};
use sluice_vhost_user::Frontend;
use std::time::{Duration, Instant};

/// The in-VM switch s, with these keys for its flows, between a and b.
fn policy(ram_mib: u32, flows: &str) -> String {
    let s = format!("ram_mib = {ram_mib}\npeers = [\"a\", \"b\"]\nflows = {{ {flows} }}");
    vm('s', &s) + &vm('a', "uplink = \"s\"") + &vm('b', "uplink = \"s\"")
}

/// Starts the switch, and waits until it takes frames of all.
fn switch(lab: &Lab, arguments: &[&str]) -> Killed {
    let mut command = example("switch");
    command.args(arguments);
    let process = Killed(start(lab, 's', command));
    let is_open = |s: &Value| {
        let windows = s["windows"].as_array().expect("a list");
        windows.len() == 2 && windows.iter().all(|window| window["state"] == "open")
    };
    lab.until('s', |s| is_open(s) && s["rings"].as_array().is_some_and(|rings| rings.len() == 8 + 1));
    process
}

/// A number of the in-VM switch; 0 if it does not say it.
fn number(lab: &Lab, name: &str) -> u64 {
    lab.status('s')["flows"][name].as_u64().unwrap_or(0)
}

/// The number of a frame that finds out whether the switch is there.
const IS_THERE: u32 = u32::MAX - 1;

/// Takes `count` frames out of the queue of the window, and returns their numbers.
#[track_caller]
fn take_all(front: &mut Frontend, count: usize) -> Vec<u32> {
    let (start, mut all, mut bytes) = (Instant::now(), Vec::new(), [0; 2_048]);
    while all.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} of {count} frames: {all:?}", all.len());
        if let Some(len) = front.receive(1, &mut bytes).expect("a receive queue") {
            front.flush(1).expect("published");
            let number = u32::from_le_bytes(bytes[14..18].try_into().expect("four"));
            assert_eq!(bytes[18..len], [number as u8; 46], "frame {number} is whole");
            all.extend(Some(number).filter(|number| *number != IS_THERE));
        }
    }
    all
}

#[test]
fn frames_of_an_uplink_go_through_the_in_vm_switch_and_the_server_forwards_none() {
    let lab = Lab::new(&policy(16, ""));
    let mut fronts = ['a', 'b'].map(|name| lab.connect_with(name, &PAIRS));
    let _s = switch(&lab, &[]);
    // Nobody knows where a is at first: the full switch says that the frame goes to all others.
    exchange(&mut fronts, 0..1);
    let [a, b] = &mut fronts;
    for burst in 0..10 {
        let numbers = 1 + 100 * burst..101 + 100 * burst;
        send(b, mac('a'), mac('b'), numbers.clone());
        assert_eq!(take_all(a, 100), Vec::from_iter(numbers.clone()));
        send(a, mac('b'), mac('a'), numbers.clone());
        assert_eq!(take_all(b, 100), Vec::from_iter(numbers));
    }
    assert!(number(&lab, "entries") == 2 && number(&lab, "hits") > 1_000, "{}", lab.status('s')["flows"]);
    for name in ['a', 'b'] {
        assert_eq!(lab.counter(name, "forwarded"), 0, "{name} gets its frames by the window");
    }
    assert_eq!(lab.counter('a', "taken"), 1_001);
    let metrics = String::from_utf8(lab.ask(&["status", "--prometheus"]).stdout).expect("text");
    assert!(metrics.contains("sluice_in_vm_switch{vm=\"s\",name=\"entries\"} 2\n"), "{metrics}");
}

/// Has the VM that `names` has second send to the first until a frame arrives: then the switch is there, with buffers.
#[track_caller]
fn until_one_arrives(to: &mut Frontend, from: &mut Frontend, names: [char; 2]) {
    let (start, mut bytes) = (Instant::now(), [0; 2_048]);
    while to.receive(1, &mut bytes).expect("a receive queue").is_none() {
        assert!(start.elapsed() < PATIENCE, "nothing arrives");
        send(from, mac(names[0]), mac(names[1]), IS_THERE..IS_THERE + 1);
        std::thread::sleep(Duration::from_millis(10));
    }
    to.flush(1).expect("published");
}

/// Sends `numbers` from a to b, which is known then.
#[track_caller]
fn exchange([a, b]: &mut [Frontend; 2], numbers: std::ops::Range<u32>) {
    until_one_arrives(a, b, ['a', 'b']);
    send(a, mac('b'), mac('a'), numbers.clone());
    assert_eq!(take_all(b, numbers.len()), Vec::from_iter(numbers));
}

#[test]
fn an_in_vm_switch_that_is_killed_is_followed_by_another() {
    let lab = Lab::new(&policy(16, ""));
    let mut fronts = ['a', 'b'].map(|name| lab.connect_with(name, &PAIRS));
    let mut open = Vec::new();
    for round in 0..5 {
        let s = switch(&lab, &[]);
        exchange(&mut fronts, 0..100);
        open.push(lab.open_at_rest());
        drop(s);
        lab.until('s', |s| s["connected_seconds"].is_null());
        // Nobody is there for these, and they are counted.
        let before = lab.counter('s', "no_queue");
        send(&mut fronts[0], mac('b'), mac('a'), 0..10);
        lab.until('s', |s| s["counters"]["no_queue"] == before + 10);
        assert_eq!(lab.status('s')["connects"], round + 1);
    }
    assert!(open.iter().all(|it| *it == open[0]), "descriptors and mappings: {open:?}");
}

/// Flows that nobody uses go after a while, and a switch that does not report that they are gone is ended.
#[test]
fn an_in_vm_switch_that_does_not_report_in_time_is_ended() {
    let lab = Lab::new(&policy(16, "idle_ticks = 200_000_000, revoke_ticks = 300_000_000"));
    let mut fronts = ['a', 'b'].map(|name| lab.connect_with(name, &PAIRS));
    let s = switch(&lab, &[]);
    exchange(&mut fronts, 0..10);
    lab.until('s', |s| s["flows"]["entries"] == 0 && s["flows"]["epoch"] == s["flows"]["done"]);
    exchange(&mut fronts, 10..20);
    // b takes none of these: some wait in the switch, which so is not at rest.
    let before = number(&lab, "hits");
    for burst in 0..3 {
        send(&mut fronts[0], mac('b'), mac('a'), 100 * burst..100 * burst + 100);
        lab.until('s', |s| s["flows"]["hits"].as_u64() >= Some(before + 100 * u64::from(burst + 1)));
    }
    kill_process(Pid::from_child(&s.0), Signal::STOP).expect("stopped");
    lab.until('s', |s| s["connected_seconds"].is_null());
    let why = lab.status('s')["last_end"].clone();
    assert_eq!(why, "its in-VM switch does not report that a change of the flow table is done");
    take_all(&mut fronts[1], 256);
    let _s = switch(&lab, &[]);
    exchange(&mut fronts, 300..310);
}

/// The session of a VM goes on when its uplink changes, and the switch goes on when the rest of the policy does.
#[test]
fn an_uplink_comes_and_goes_with_the_policy() {
    let lab = Lab::new(&policy(16, ""));
    let mut fronts = ['a', 'b'].map(|name| lab.connect_with(name, &PAIRS));
    let _s = switch(&lab, &[]);
    exchange(&mut fronts, 0..10);
    let reload = |text: &str| {
        lab.policy(text);
        let output = lab.ask(&["reload"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    reload(&(policy(16, "") + &vm('c', "")));
    exchange(&mut fronts, 10..20);
    assert_eq!(lab.status('s')["connects"], 1);
    // Without an uplink the server's own switch forwards.
    let [to_a, to_b] = ["lan = [\"a\"]", "lan = [\"b\"]"];
    let s = vm('s', "ram_mib = 16\npeers = [\"a\", \"b\"]\nflows = {}");
    reload(&(s + &vm('a', to_b) + &vm('b', to_a)));
    send(&mut fronts[0], mac('b'), mac('a'), 20..30);
    assert_eq!(crate::lab::take_all(&mut fronts[1], 10), Vec::from_iter(20..30));
    reload(&policy(16, ""));
    let _s = switch(&lab, &[]);
    exchange(&mut fronts, 30..40);
    for name in ['a', 'b'] {
        assert_eq!(lab.status(name)["connects"], 1, "{name} is connected all the time");
    }
}

/// The first port may send to the second, and nothing else goes anywhere.
const ONE_WAY: &str = "[[flow]]\nin_port = \"a\"\neth_type = 0x88b5\nactions = [\"output b\"]\n";

/// A file with flows decides. Another text of the file is another switch.
#[test]
fn an_in_vm_switch_goes_by_a_file_with_flows() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = |text: &str| std::fs::write(folder.path().join("rules.toml"), text).expect("a file");
    let policy = policy(16, &format!("switch = \"{}\"", folder.path().join("rules.toml").display()));
    rules(ONE_WAY);
    let words = ["--writes", folder.path().to_str().expect("text")];
    let lab = Lab::with_words(&policy, &words);
    let mut fronts = ['a', 'b'].map(|name| lab.connect_with(name, &PAIRS));
    let s = switch(&lab, &[]);
    let [a, b] = &mut fronts;
    until_one_arrives(b, a, ['b', 'a']);
    send(a, mac('b'), mac('a'), 0..100);
    assert_eq!(take_all(b, 100), Vec::from_iter(0..100));
    send(b, mac('a'), mac('b'), 0..10);
    lab.until('s', |s| s["flows"]["no_output"].as_u64() >= Some(1));
    assert_eq!(a.receive(1, &mut [0; 2_048]).expect("a receive queue"), None);
    // What is wrong is said, and changes nothing.
    rules("[[flow]]\nin_port = \"x\"\nactions = []\n");
    let output = lab.ask(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("rules.toml: line 2: in_port: \"x\""), "{said}");
    assert_eq!(lab.status('s')["connects"], 1);
    rules(&ONE_WAY.replace("\"a\"", "\"b\"").replace("output b", "output a"));
    assert!(lab.ask(&["reload"]).status.success());
    drop(s);
    let _s = switch(&lab, &[]);
    until_one_arrives(a, b, ['a', 'b']);
    send(a, mac('b'), mac('a'), 0..10);
    lab.until('s', |s| s["flows"]["no_output"].as_u64() >= Some(1));
    assert_eq!(b.receive(1, &mut [0; 2_048]).expect("a receive queue"), None);
}

/// Boots VM `name` of `lab`, with the address 10.0.0.`host` and two queue pairs.
fn boot(lab: &Lab, linux: &Linux, name: char, host: u8) -> Result<Guest> {
    let nic = Nic { socket: lab.socket(name), mac: mac(name), pairs: 2 };
    let mut guest = Guest::start(linux, &Vm::new(&name.to_string(), vec![nic]))?;
    guest.run(&format!("ethtool -L eth0 combined 2; ip addr add 10.0.0.{host}/24 dev eth0; ip link set eth0 up"))?;
    guest.wait_until("grep -q 1 /sys/class/net/eth0/carrier")?;
    Ok(guest)
}

/// The server forwards nothing to them: all comes by the switch's windows. Segments are left to the receiver's driver
/// all the way.
#[test]
fn two_stock_guests_reach_each_other_through_the_in_vm_switch_with_qemu() -> Result<()> {
    let lab = Lab::new(&policy(64, ""));
    let linux = linux();
    let (mut a, mut b) = (boot(&lab, &linux, 'a', 1)?, boot(&lab, &linux, 'b', 2)?);
    let _s = switch(&lab, &["offloads=on"]);
    ping(&mut a, "10.0.0.2", 20, 56)?;
    ping(&mut b, "10.0.0.1", 20, 1_400)?;
    let offloads = b.run("ethtool -k eth0")?;
    ensure!(offloads.contains("tcp-segmentation-offload: on"), "{offloads}");
    a.run("iperf3 -s -D")?;
    a.wait_until("netstat -ltn | grep -q :5201")?;
    let before = ["packets", "bytes"].map(|name| number(&lab, name));
    let said: Value = serde_json::from_str(&b.run("iperf3 -J -c 10.0.0.1 -t 2")?)?;
    let received = said["end"]["sum_received"]["bytes"].as_u64().unwrap_or(0);
    println!("{} Mbit/s", said["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or(0.0) / 1e6);
    let [packets, bytes] = ["packets", "bytes"].map(|name| number(&lab, name));
    let (packets, bytes) = (packets - before[0], bytes - before[1]);
    ensure!(received > 0 && bytes > received, "{received} bytes of {bytes}: {said}");
    // As many acknowledgements come back, at most, as there are segments.
    ensure!(bytes > 2_000 * packets, "{bytes} bytes in {packets} packets: they were cut on the way");
    a.run("tail -f /dev/null | nc -l -p 5000 >/received &")?;
    a.wait_until("netstat -ltn | grep -q :5000")?;
    b.run("dd if=/dev/urandom of=/sent bs=1M count=4; nc 10.0.0.1 5000 </sent")?;
    a.wait_until("[ $(stat -c %s /received) -ge 4194304 ]")?;
    assert_eq!(a.run("sha256sum </received")?, b.run("sha256sum </sent")?);
    for name in ['a', 'b'] {
        ensure!(lab.counter(name, "forwarded") == 0, "the server has forwarded frames to {name}");
    }
    Ok(())
}
