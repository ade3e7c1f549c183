//! Stock Linux in stock QEMU as VMs.

use crate::host::{Device, Namespace};
use crate::lab::*;
use crate::windows::{Killed, example, start};
use anyhow::{Error, Result, ensure};
use pcap_file::pcap::PcapReader;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sluice_tests_qemu::{Guest, Linux, Nic, Qemu, Vm};
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
fn ping(guest: &mut Guest, address: &str, count: u32, size: u32) -> Result<()> {
    let said = guest.run(&format!("ping -c {count} -i 0.05 -W 30 -s {size} {address}"))?;
    ensure!(said.contains(&format!("{count} packets received, 0% packet loss")), "{said}");
    Ok(())
}

/// Returns what the guest's kernel counts: packets received, and packets sent.
fn counted(guest: &mut Guest) -> Result<[u64; 2]> {
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

/// Frames that a process puts into a guest's second queue.
const FRAMES: u64 = 20_000;
/// Frames that the switch forwards into the first queue meanwhile.
const SWITCHED: u32 = 200;
const LENGTHS: [usize; 3] = [64, 594, 1514];

/// Two senders at once: a process by its window, and the switch. The guest's memory lies in two parts. Its driver
/// sleeps when nothing comes.
fn a_process_and_the_switch_fill_a_guest(qemu: Qemu) -> Result<(Lab, Guest)> {
    let policy = vm('g', "ram_mib = 32\npeers = [\"a\"]") + &vm('a', "") + &vm('b', "lan = [\"a\"]");
    let (lab, linux) = (Lab::new(&policy), linux());
    let nic = Nic { socket: lab.socket('a'), mac: mac('a'), pairs: 2 };
    let mut guest = Guest::start(&linux, &Vm { qemu, low_mib: 128, ..Vm::new("a", vec![nic]) })?;
    guest.run("ethtool -L eth0 combined 2; ip link set eth0 up")?;
    guest.wait_until("grep -q 1 /sys/class/net/eth0/carrier")?;
    guest.run("tcpdump -i eth0 -U --immediate-mode -s 2048 -B 32768 -w /capture ether proto 0x88b5 2>/listening &")?;
    guest.wait_until("grep -q listening /listening")?;
    let before = counted(&mut guest)?[0];
    let mut b = lab.connect('b', SPLIT);
    // No faster than the emulated processor can take it.
    let mut generator = example("generator");
    generator.args(["a", "length=64,594,1514", "rate=40", &format!("count={FRAMES}")]);
    let process = start(&lab, 'g', generator);
    for number in 0..SWITCHED {
        send(&mut b, mac('a'), mac('b'), number..number + 1);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let output = process.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let size = |number: u64| 16 + LENGTHS[number as usize % 3] as u64;
    let all = 24 + (0..FRAMES).map(size).sum::<u64>() + u64::from(SWITCHED) * (16 + 64);
    guest.wait_until(&format!("[ $(stat -c %s /capture) -ge {all} ]"))?;
    let received = counted(&mut guest)?[0] - before;
    ensure!(received >= FRAMES + u64::from(SWITCHED), "{received} frames: {}", guest.run("cat /listening")?);
    let (bytes, mut next, mut switched) = (guest.bytes("cat /capture")?, 0_u64, 0_u32);
    let mut reader = PcapReader::new(&bytes[..])?;
    while let Some(packet) = reader.next_packet() {
        let frame = packet?.data.into_owned();
        if frame[6..12] == mac('b') {
            ensure!(frame[..] == crate::lab::frame(mac('a'), mac('b'), switched), "frame {switched} of the switch");
            switched += 1;
        } else {
            let mut expected = vec![0; LENGTHS[next as usize % 3]];
            expected[..14].copy_from_slice(&[&mac('a')[..], &mac('g'), &[0x88, 0xb5]].concat());
            expected[14..22].copy_from_slice(&next.to_be_bytes());
            ensure!(frame == expected, "frame {next} of the window");
            next += 1;
        }
    }
    assert_eq!((next, switched), (FRAMES, SWITCHED));
    Ok((lab, guest))
}

/// Hundredths of a second for which `process` had a processor.
fn ticks(process: &Killed) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", process.0.id()))?;
    // See: proc(5), fields utime and stime of /proc/pid/stat.
    let words = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(12).take(2);
    Ok(words.map(str::parse::<u64>).sum::<Result<_, _>>()?)
}

/// A process fills the second queue of a guest whose driver sleeps, while the server stands still: so nobody notifies
/// the driver, and no interrupt of another queue has it look. It takes all once the server goes on.
fn a_sleeping_driver_takes_nothing_before_it_is_notified(lab: &Lab, guest: &mut Guest) -> Result<()> {
    let before = counted(guest)?[0];
    let mut generator = example("generator");
    generator.args(["a", "rate=1"]);
    let process = Killed(start(lab, 'g', generator));
    let (server, sender) = (Pid::from_child(&lab.child), Pid::from_child(&process.0));
    let has = |count: u64| format!("[ $(cat /sys/class/net/eth0/statistics/rx_packets) -ge {count} ]");
    let brought = || before + lab.status('g')["windows"][0]["frames"].as_u64().unwrap_or(0);
    lab.until('g', |g| g["windows"][0]["frames"].as_u64() > Some(100));
    // The sender stops where the guest has all that it brought: not before it has notified.
    let asleep = loop {
        kill_process(sender, Signal::STOP)?;
        let wanted = brought();
        if guest.run(&format!("for at in $(seq 50); do {} && exit; usleep 10000; done; false", has(wanted))).is_ok() {
            break counted(guest)?[0];
        }
        kill_process(sender, Signal::CONT)?;
    };
    kill_process(server, Signal::STOP)?;
    let begin = ticks(&process)?;
    kill_process(sender, Signal::CONT)?;
    while ticks(&process)? < begin + 10 {
        assert_eq!(counted(guest)?[0], asleep, "nobody has notified the driver");
    }
    kill_process(sender, Signal::STOP)?;
    assert_eq!(counted(guest)?[0], asleep, "nobody has notified the driver");
    kill_process(server, Signal::CONT)?;
    guest.wait_until(&has(asleep + 50))
}

#[test]
fn a_process_and_the_switch_fill_two_queues_of_a_stock_guest_with_qemu() -> Result<()> {
    a_process_and_the_switch_fill_a_guest(Qemu::installed()).map(drop)
}

#[test]
fn a_process_and_the_switch_fill_two_queues_of_a_stock_guest_with_qemu_10() -> Result<()> {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("sluice").join("guests");
    let (lab, mut guest) = a_process_and_the_switch_fill_a_guest(Qemu::backport(&packages).map_err(Error::msg)?)?;
    a_sleeping_driver_takes_nothing_before_it_is_notified(&lab, &mut guest)
}

/// A window closes before the guest's memory is logged, so whatever a process has put there moves with the guest.
#[test]
fn a_guest_moves_with_all_frames_of_a_process_that_sends_meanwhile_with_qemu() -> Result<()> {
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
    let _process = Killed(start(&here, 'g', generator));
    here.until('g', |g| g["windows"][0]["frames"].as_u64() > Some(1_000));
    // As long as the guest writes faster than its memory is copied, the move does not end.
    guest.run("while :; do dd if=/dev/urandom of=/busy bs=1M count=8 2>/dev/null; done & echo $! >/writer")?;
    let qmp = guest.qmp();
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 4 << 20, "downtime-limit": 1 }))?;
    qmp.execute("migrate", json!({ "uri": uri }))?;
    here.until('g', |g| g["windows"][0]["state"] == "closed");
    let status = qmp.execute("query-migrate", json!({}))?["status"].clone();
    ensure!(status == "setup" || status == "active", "it has moved before: {status}");
    guest.run("kill $(cat /writer)")?;
    let qmp = guest.qmp();
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 1u64 << 34, "downtime-limit": 5_000 }))?;
    let done = qmp.until("query-migrate", |it| it["status"] == "completed" || it["status"] == "failed")?;
    assert_eq!(done["status"], "completed", "{done}");
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
    Ok(())
}
