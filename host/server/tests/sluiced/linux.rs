//! Stock Linux in stock QEMU as VMs.

use crate::host::{Device, Namespace};
use crate::lab::*;
use anyhow::{Result, ensure};
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
fn linux() -> Linux {
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
    let lab = Lab::new(&(vm('a', "lan = [\"up\"]") + &tap.table("lan = [\"a\"]")));
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
    let up = lab.tap("up");
    for (bytes, frames) in [("taken_bytes", "taken"), ("forwarded_bytes", "forwarded")] {
        let mean = up[bytes].as_u64().zip(up["counters"][frames].as_u64()).map(|(bytes, frames)| bytes / frames);
        ensure!(mean > Some(1_514), "segments are left to the other side: {up}");
    }
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
