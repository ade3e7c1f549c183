//! Stock Linux in stock QEMU as VMs.

use crate::host::{Device, Namespace};
use crate::lab::*;
use crate::windows::{Killed, example, start};
use anyhow::{Context, Result, ensure};
use pcap_file::pcap::PcapReader;
use serde_json::json;
use sluice_tests_qemu::{Guest, Linux, Nic, Vm};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

/// Boots VM `name` of `lab`, with the address 10.0.0.`host`.
fn boot(lab: &Lab, linux: &Linux, name: char, host: u8) -> Result<Guest> {
    let nic = Nic { socket: lab.socket(name), mac: mac(name), pairs: 1 };
    let mut guest = Guest::start(linux, &Vm::new(&name.to_string(), vec![nic]))?;
    guest.run(&format!("ip addr add 10.0.0.{host}/24 dev eth0; ip link set eth0 up"))?;
    guest.wait_until("grep -q 1 /sys/class/net/eth0/carrier")?;
    ensure!(!guest.said().contains("userspace virtio"), "{}", guest.said());
    Ok(guest)
}

/// Returns where `cargo xtask test` fetches to.
pub fn linux() -> Linux {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("sluice").join("guests");
    Linux::fetch(&packages).expect("Linux for guests")
}

/// Sends `count` echo requests with `size` bytes to `address`, and fails unless each is answered once.
pub fn ping(guest: &mut Guest, address: &str, count: u32, size: u32) -> Result<()> {
    let said = guest.run(&format!("ping -c {count} -i 0.05 -W 30 -s {size} {address}"))?;
    ensure!(said.contains(&format!("{count} packets received, 0% packet loss")), "{said}");
    Ok(())
}

/// Returns what the guest's kernel counts: packets received, and packets sent.
pub fn counted(guest: &mut Guest) -> Result<[u64; 2]> {
    let said = guest.run("cd /sys/class/net/eth0/statistics; cat rx_packets tx_packets")?;
    let numbers: Vec<u64> = said.lines().map(str::parse).collect::<Result<_, _>>()?;
    Ok([numbers[0], numbers[1]])
}

/// The kernels count as the server does. A stream whose checksums and segments are left to the other side arrives
/// whole, and who may not send reaches nobody.
#[test]
fn two_stock_guests_reach_each_other_through_the_server_with_qemu() -> Result<()> {
    let lab = Lab::new(&(pair() + &vm('c', "")));
    let linux = linux();
    let (mut a, mut b) = (boot(&lab, &linux, 'a', 1)?, boot(&lab, &linux, 'b', 2)?);
    let mut denied = lab.connect('c', SPLIT);
    ping(&mut a, "10.0.0.2", 20, 56)?;
    ping(&mut b, "10.0.0.1", 20, 1_400)?;
    send(&mut denied, mac('a'), mac('c'), 0..5);
    lab.until('c', |c| c["counters"]["denied"] == 5);
    let offloads = b.run("ethtool -k eth0")?;
    ensure!(offloads.contains("tcp-segmentation-offload: on"), "{offloads}");
    a.run("iperf3 -s -D")?;
    a.wait_until("netstat -ltn | grep -q :5201")?;
    let said: serde_json::Value = serde_json::from_str(&b.run("iperf3 -J -c 10.0.0.1 -t 2")?)?;
    ensure!(said["end"]["sum_received"]["bytes"].as_u64() > Some(0), "{said}");
    a.run("tail -f /dev/null | nc -l -p 5000 >/received &")?;
    a.wait_until("netstat -ltn | grep -q :5000")?;
    b.run("dd if=/dev/urandom of=/sent bs=1M count=4; nc 10.0.0.1 5000 </sent")?;
    a.wait_until("[ $(stat -c %s /received) -ge 4194304 ]")?;
    assert_eq!(a.run("sha256sum </received")?, b.run("sha256sum </sent")?);
    for (name, guest) in [('a', &mut a), ('b', &mut b)] {
        let [received, sent] = counted(guest)?;
        lab.until(name, |vm| {
            let counters = &vm["counters"];
            (counters["forwarded"].as_u64(), counters["taken"].as_u64()) == (Some(received), Some(sent))
        });
    }
    Ok(())
}

#[test]
fn a_stock_guest_goes_on_at_a_server_that_was_killed_with_qemu() -> Result<()> {
    let mut lab = Lab::new(&pair());
    let linux = linux();
    let (mut a, mut b) = (boot(&lab, &linux, 'a', 1)?, boot(&lab, &linux, 'b', 2)?);
    for _ in 0..3 {
        ping(&mut a, "10.0.0.2", 5, 1_400)?;
        lab.start_again(&pair());
        a.wait_until("ping -c 1 -W 1 10.0.0.2")?;
    }
    ping(&mut b, "10.0.0.1", 20, 56)?;
    Ok(())
}

/// The guest leaves checksums and segments to the host's kernel, and takes what that leaves: a stream each way arrives
/// whole.
#[test]
fn a_stock_guest_and_the_host_reach_each_other_through_a_tap_with_tap_with_qemu() -> Result<()> {
    let (tap, space) = (Device::tap(), Namespace::new());
    let keys = "lan = [\"up\"]\ncapture = \"a.pcap\"";
    let lab = Lab::new(&(vm('a', keys) + &tap.table("lan = [\"a\"]")));
    space.take(&tap.0, "10.0.0.9/24");
    let mut a = boot(&lab, &linux(), 'a', 1)?;
    ping(&mut a, "10.0.0.9", 20, 1_400)?;
    let listener = space.spawn(|| TcpListener::bind("10.0.0.9:5000")).join().expect("a thread")?;
    // What comes is sent back.
    let echo = std::thread::spawn(move || -> std::io::Result<u64> {
        let mut stream = listener.accept()?.0;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(&all)?;
        Ok(all.len() as u64)
    });
    a.run("dd if=/dev/urandom of=/sent bs=1M count=4; nc 10.0.0.9 5000 </sent >/back")?;
    assert_eq!(echo.join().expect("a thread")?, 4 << 20);
    assert_eq!(a.run("sha256sum </back")?, a.run("sha256sum </sent")?);
    let offloads = a.run("ethtool -k eth0")?;
    ensure!(offloads.contains("tcp-segmentation-offload: on"), "{offloads}");
    // How much the guest sends at once is up to its processor. The host's kernel has all of the answer at once.
    let (bytes, mut longest) = (std::fs::read(lab.file("a.pcap"))?, 0);
    let mut reader = PcapReader::new(&bytes[..])?;
    // A capture that is still written ends within a frame.
    while let Some(Ok(packet)) = reader.next_packet() {
        longest = packet.orig_len.max(longest);
    }
    ensure!(longest > 1_514, "no segments are left to the guest: {longest}");
    let [received, sent] = counted(&mut a)?;
    lab.until('a', |vm| {
        let counters = &vm["counters"];
        (counters["forwarded"].as_u64(), counters["taken"].as_u64()) == (Some(received), Some(sent))
    });
    Ok(())
}

/// Bytes that a guest has received, and that no program of it has read.
const UNREAD: u32 = 2 << 20;

/// Of what the server writes into a guest that moves, nobody but the server knows: the guest's kernel keeps what nobody
/// reads where the server put it.
#[test]
fn a_guest_moves_to_another_server_with_all_that_it_received_with_qemu() -> Result<()> {
    let (here, there, linux) = (Lab::new(&pair()), Lab::new(&pair()), linux());
    let (mut a, mut b) = (boot(&here, &linux, 'a', 1)?, boot(&here, &linux, 'b', 2)?);
    a.run("echo 4096 16777216 16777216 >/proc/sys/net/ipv4/tcp_rmem")?;
    a.run("nc -l -p 5000 >/received & echo $! >/reader")?;
    a.wait_until("netstat -ltn | grep -q :5000")?;
    a.run("kill -STOP $(cat /reader)")?;
    b.run(&format!("dd if=/dev/urandom of=/sent bs={UNREAD} count=1"))?;
    // As long as the guest writes faster than its memory is copied, the move does not end.
    a.run("while :; do dd if=/dev/urandom of=/busy bs=1M count=8 2>/dev/null; done & echo $! >/writer")?;
    let uri = format!("unix:{}", there.file("migration").display());
    let incoming = vec!["-incoming".into(), uri.clone().into()];
    let nic = Nic { socket: there.socket('a'), mac: mac('a'), pairs: 1 };
    let mut moved = Guest::start(&linux, &Vm { options: incoming, ..Vm::new("moved", vec![nic]) })?;
    let qmp = a.qmp();
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 32 << 20, "downtime-limit": 1 }))?;
    qmp.execute("migrate", json!({ "uri": uri }))?;
    // All memory has been copied once. From now on the rest would have to be a page for the move to end.
    qmp.until("query-migrate", |it| it["ram"]["dirty-sync-count"].as_u64() > Some(1))?;
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 4 << 20 }))?;
    b.run("nc 10.0.0.1 5000 </sent >/dev/null 2>&1 &")?;
    a.wait_until(&format!("netstat -tn | awk '/:5000 /{{ all += $2 }} END {{ exit all < {UNREAD} }}'"))?;
    ensure!(a.qmp().execute("query-migrate", json!({}))?["status"] == "active", "it has moved before");
    a.run("kill $(cat /writer)")?;
    let qmp = a.qmp();
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 1u64 << 34, "downtime-limit": 5_000 }))?;
    let done = qmp.until("query-migrate", |it| it["status"] == "completed" || it["status"] == "failed")?;
    assert_eq!(done["status"], "completed", "{done}");
    drop(a);
    moved.run("kill -CONT $(cat /reader)")?;
    moved.wait_until(&format!("[ $(stat -c %s /received) -ge {UNREAD} ]"))?;
    assert_eq!(moved.run("sha256sum </received")?, b.run("sha256sum </sent")?);
    there.until('a', |a| a["rings"].as_array().is_some_and(|rings| rings.len() == 2));
    Ok(())
}

/// A window closes before the guest's memory is logged, so whatever a process has put there moves with the guest.
/// Returns for how long the guest stood still, in ms. If nobody `sends`, that is all.
fn move_a_guest(sends: bool) -> Result<u64> {
    let policy = vm('g', "ram_mib = 32\npeers = [\"a\"]") + &vm('a', "");
    let (here, there, linux) = (Lab::new(&policy), Lab::new(&policy), linux());
    let nic = |lab: &Lab| Nic { socket: lab.socket('a'), mac: mac('a'), pairs: 2 };
    let mut guest = Guest::start(&linux, &Vm::new("a", vec![nic(&here)]))?;
    guest.run("ethtool -L eth0 combined 2; ip link set eth0 up")?;
    guest.wait_until("grep -q 1 /sys/class/net/eth0/carrier")?;
    guest.run("tcpdump -i eth0 -U --immediate-mode -s 64 -B 8192 -w /capture ether proto 0x88b5 2>/listening &")?;
    guest.wait_until("grep -q listening /listening")?;
    let uri = format!("unix:{}", there.file("migration").display());
    let incoming = vec!["-incoming".into(), uri.clone().into()];
    let mut moved = Guest::start(&linux, &Vm { options: incoming, ..Vm::new("moved", vec![nic(&there)]) })?;
    let mut generator = example("generator");
    generator.args(["a", "rate=1"]);
    let _process = sends.then(|| Killed(start(&here, 'g', generator)));
    here.until('g', |g| !sends || g["windows"][0]["frames"].as_u64() > Some(1_000));
    // As long as the guest writes faster than its memory is copied, the move does not end.
    guest.run("while :; do dd if=/dev/urandom of=/busy bs=1M count=8 2>/dev/null; done & echo $! >/writer")?;
    let qmp = guest.qmp();
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 4 << 20, "downtime-limit": 1 }))?;
    qmp.execute("migrate", json!({ "uri": uri }))?;
    here.until('g', |g| !sends || g["windows"][0]["state"] == "closed");
    let status = qmp.execute("query-migrate", json!({}))?["status"].clone();
    ensure!(status == "setup" || status == "active", "it has moved before: {status}");
    guest.run("kill $(cat /writer)")?;
    let qmp = guest.qmp();
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 1u64 << 34, "downtime-limit": 5_000 }))?;
    let done = qmp.until("query-migrate", |it| it["status"] == "completed" || it["status"] == "failed")?;
    assert_eq!(done["status"], "completed", "{done}");
    let downtime = done["downtime"].as_u64().context("a time")?;
    if !sends {
        return Ok(downtime);
    }
    let window = here.status('g')["windows"][0].clone();
    assert_eq!(window["state"], "closed");
    let frames = window["frames"].as_u64().expect("a number");
    drop(guest);
    // Behind the file's header each frame has one of 16 bytes.
    moved.wait_until(&format!("[ $(stat -c %s /capture) -ge {} ]", 24 + frames * (16 + 64)))?;
    let bytes = moved.bytes("cat /capture")?;
    let (mut reader, mut next) = (PcapReader::new(&bytes[..])?, 0_u64);
    while let Some(packet) = reader.next_packet() {
        ensure!(packet?.data[14..22] == next.to_be_bytes(), "frame {next} of {frames}");
        next += 1;
    }
    assert_eq!(next, frames);
    Ok(downtime)
}

#[test]
fn a_guest_moves_with_all_frames_of_a_process_that_sends_meanwhile_with_qemu() -> Result<()> {
    move_a_guest(true).map(drop)
}

#[test]
#[ignore = "minutes"]
fn moved_20_times_a_guest_has_all_frames_of_a_process_that_sends_meanwhile_with_qemu() -> Result<()> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..20 {
        times[0].push(move_a_guest(true)?);
        times[1].push(move_a_guest(false)?);
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let [with, without] = times.map(|times| (times[0], times[times.len() / 2], times[times.len() - 1]));
    println!(
        "the guest stood still for {with:?} ms with a process that sends, {without:?} without: least, median, most"
    );
    Ok(())
}
