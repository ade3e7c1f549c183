//! Stock guests in stock QEMU, with DPDK's testpmd as their back-end: that the test bed carries every packet.
//!
//! A test that needs QEMU, a kernel and testpmd has `with_qemu` in its name, and `with_qemu_10` if it needs QEMU 10.

use anyhow::{Context, Error, Result, ensure};
use pcap_file::pcap::PcapReader;
use serde_json::{Value, json};
use sluice_tests_qemu::{Guest, Linux, Nic, Qemu, Vm};
use std::path::{Path, PathBuf};
use std::slice;
use tempfile::TempDir;
use vhost_peers::testpmd::{Counters, Forward, Options, Testpmd};

/// Entries of each ring of testpmd's ports.
const RING: u16 = 1024;

/// Returns where `cargo xtask test` fetches to.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("sluice").join("guests")
}

fn linux() -> Linux {
    Linux::fetch(&packages()).expect("Linux for guests")
}

/// Sockets of a back-end, in a folder that goes with them.
struct Sockets(TempDir);

impl Sockets {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Returns the socket of guest `number`.
    fn of(&self, number: u8) -> PathBuf {
        self.0.path().join(number.to_string())
    }

    /// Returns the network device of guest `number`.
    fn nic(&self, number: u8, pairs: u16) -> Nic {
        Nic { socket: self.of(number), mac: [0x02, 0, 0, 0, 0, number], pairs }
    }

    /// Starts testpmd with a port for each of `count` guests.
    fn testpmd(&self, count: u8, forward: Forward, pairs: u16) -> Testpmd {
        let port = |number| format!("net_vhost{number},iface={},queues={pairs}", self.of(number).display());
        let vdevs = (0..count).map(port).collect();
        let options = Options { vdevs, forward, pairs, ring: RING, wide_vectors: false, more: Vec::new() };
        let mut testpmd = Testpmd::start(&options).expect("testpmd");
        testpmd.wait_for("Start automatic packet forwarding").expect("ports");
        testpmd
    }
}

/// Gives guest `number` the address 10.0.0.1 + `number`. Of a stream no more is on the way than a ring holds, and a
/// socket holds what a program that waits for its processor can't read yet.
fn up(guest: &mut Guest, number: u8) -> Result<()> {
    guest.run("cd /proc/sys/net; echo 4096 65536 262144 >ipv4/tcp_wmem; echo 8388608 >core/rmem_default")?;
    guest.run(&format!("ip addr add 10.0.0.{}/24 dev eth0; ip link set eth0 up", number + 1))?;
    guest.wait_until("grep -q 1 /sys/class/net/eth0/carrier")
}

/// Sends `count` echo requests with `size` bytes to `address`, and fails unless each is answered once.
fn ping(guest: &mut Guest, address: &str, count: u32, size: u32) -> Result<()> {
    let said = guest.run(&format!("ping -c {count} -i 0.05 -W 30 -s {size} {address}"))?;
    let all = format!("{count} packets transmitted, {count} packets received, 0% packet loss");
    ensure!(said.contains(&all), "{said}");
    Ok(())
}

/// Returns what the guest's kernel counts of eth0: packets received, and packets sent.
fn counted(guest: &mut Guest) -> Result<(u64, u64)> {
    let said = guest.run("cd /sys/class/net/eth0/statistics; cat rx_packets tx_packets rx_dropped tx_dropped")?;
    let numbers: Vec<u64> = said.lines().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(numbers.len() == 4 && numbers[2..] == [0, 0], "dropped: {said}");
    Ok((numbers[0], numbers[1]))
}

/// Fails unless `testpmd` has the rings of each of `guests`: QEMU goes on without a back-end that it can't use.
fn has_rings(testpmd: &mut Testpmd, sockets: &Sockets, guests: &[Guest]) -> Result<()> {
    for (number, guest) in (0..).zip(guests) {
        let line = format!("({}) virtio is now ready for processing", sockets.of(number).display());
        testpmd.wait_for(&line).with_context(|| guest.said())?;
        ensure!(!guest.said().contains("userspace virtio"), "{}", guest.said());
    }
    Ok(())
}

/// Fails unless testpmd counts as the kernels of `guests` do, and dropped nothing.
fn agree(counters: Counters, guests: &mut [Guest]) -> Result<()> {
    let all = guests.iter_mut().map(counted).collect::<Result<Vec<_>>>()?;
    let sum = |count: fn(&(u64, u64)) -> u64| all.iter().map(count).sum();
    let expected = Counters { received: sum(|it| it.1), sent: sum(|it| it.0), dropped: 0 };
    ensure!(counters == expected, "testpmd {counters:?}, guests {expected:?}");
    Ok(())
}

/// Starts iperf3's server in `guest`.
fn serve(guest: &mut Guest) -> Result<()> {
    guest.run("iperf3 -s -D")?;
    guest.wait_until("netstat -ltn | grep -q :5201")
}

/// Runs iperf3 in `guest` with guest 0 at the other end, and returns its report.
fn iperf(guest: &mut Guest, options: &str) -> Result<Value> {
    let said = guest.run(&format!("iperf3 -J -c 10.0.0.1 {options}"))?;
    serde_json::from_str(&said).with_context(|| said)
}

/// Boots two guests, with testpmd between them.
fn two(sockets: &Sockets) -> Result<(Testpmd, [Guest; 2])> {
    let (mut testpmd, linux) = (sockets.testpmd(2, Forward::Across, 1), linux());
    let start = |number| Guest::start(&linux, &Vm::new(&format!("vm{number}"), vec![sockets.nic(number, 1)]));
    let mut guests = [start(0)?, start(1)?];
    for (number, guest) in (0..).zip(&mut guests) {
        up(guest, number)?;
    }
    has_rings(&mut testpmd, sockets, &guests)?;
    Ok((testpmd, guests))
}

#[test]
fn a_guest_and_its_back_end_count_the_same_packets_with_qemu() -> Result<()> {
    let sockets = Sockets::new();
    let mut testpmd = sockets.testpmd(1, Forward::Echo, 1);
    let vm = Vm { low_mib: 128, ..Vm::new("vm", vec![sockets.nic(0, 1)]) };
    let mut guest = Guest::boot(&linux(), &vm)?;
    has_rings(&mut testpmd, &sockets, slice::from_ref(&guest))?;
    up(&mut guest, 0)?;
    ping(&mut guest, "10.0.0.9", 20, 1_400)?;
    let regions = testpmd.output().matches("guest memory region size").count();
    assert_eq!(regions, 2, "{}", testpmd.output());
    let counters = testpmd.stop()?;
    ensure!(counters.sent >= 20, "{counters:?}");
    agree(counters, slice::from_mut(&mut guest))
}

#[test]
fn two_guests_reach_each_other_and_a_stream_arrives_whole_with_qemu() -> Result<()> {
    let sockets = Sockets::new();
    let (mut testpmd, mut guests) = two(&sockets)?;
    let [a, b] = &mut guests;
    ping(a, "10.0.0.2", 10, 56)?;
    ping(b, "10.0.0.1", 10, 1_400)?;
    serve(a)?;
    let said = iperf(b, "-t 2")?;
    let bytes = |end: &str| said["end"][end]["bytes"].as_u64();
    ensure!(bytes("sum_received") > Some(0) && bytes("sum_received") <= bytes("sum_sent"), "{said}");
    // What a program reads is what another wrote.
    a.run("tail -f /dev/null | nc -l -p 5000 >/received &")?;
    a.wait_until("netstat -ltn | grep -q :5000")?;
    b.run("dd if=/dev/urandom of=/sent bs=1M count=4; nc 10.0.0.1 5000 </sent")?;
    a.wait_until("[ $(stat -c %s /received) -ge 4194304 ]")?;
    assert_eq!(a.run("sha256sum </received")?, b.run("sha256sum </sent")?);
    agree(testpmd.stop()?, &mut guests)
}

/// Datagrams of each length.
const DATAGRAMS: u64 = 500;
/// Lengths, and at which rate datagrams are sent: a receiver that waits for a processor for a second has still buffers
/// for all.
const LENGTHS: [(u64, &str); 4] = [(16, "60K"), (64, "250K"), (700, "2800K"), (1_448, "5700K")];

#[test]
fn datagrams_are_captured_in_two_guests_alike_byte_for_byte_with_qemu() -> Result<()> {
    let sockets = Sockets::new();
    let (mut testpmd, mut guests) = two(&sockets)?;
    let [a, b] = &mut guests;
    serve(a)?;
    for guest in [&mut *a, &mut *b] {
        // The sender's checksums are whole before they are captured.
        guest.run("ethtool -K eth0 tx off")?;
        // With snapshots of the usual 256 KiB, tcpdump's buffer would hold eight packets.
        let options = "-U --immediate-mode -s 2048 -B 8192 -w /capture";
        guest.run(&format!("tcpdump -i eth0 {options} udp and dst port 5201 2>/listening &"))?;
        guest.wait_until("grep -q listening /listening")?;
    }
    for (length, rate) in LENGTHS {
        let said = iperf(b, &format!("-u -k {DATAGRAMS} -l {length} -b {rate}"))?;
        let sum = &said["end"]["sum"];
        ensure!(sum["packets"] == DATAGRAMS && sum["lost_packets"] == 0, "{said}");
    }
    let (sent, received) = (captured(b)?, captured(a)?);
    assert_eq!(sent.len() as u64, LENGTHS.len() as u64 * (DATAGRAMS + 1));
    ensure!(sent == received, "{} sent, {} received", sent.len(), received.len());
    agree(testpmd.stop()?, &mut guests)
}

/// Returns the frames that tcpdump captured in `guest`, once there are as many as iperf3 sends.
fn captured(guest: &mut Guest) -> Result<Vec<Vec<u8>>> {
    // A file's header, and for each frame its header and those of Ethernet, IP and UDP. iperf3 first sends 4 bytes.
    let size = LENGTHS.iter().fold(24, |size, (length, _)| size + DATAGRAMS * (16 + 42 + length) + 16 + 42 + 4);
    guest.wait_until(&format!("[ $(stat -c %s /capture) -ge {size} ]"))?;
    let (bytes, mut frames) = (guest.bytes("cat /capture")?, Vec::new());
    let mut reader = PcapReader::new(&bytes[..])?;
    while let Some(packet) = reader.next_packet() {
        frames.push(packet?.data.into_owned());
    }
    Ok(frames)
}

#[test]
fn a_guest_has_an_interrupt_for_each_queue_with_qemu_10() -> Result<()> {
    let sockets = Sockets::new();
    let mut testpmd = sockets.testpmd(1, Forward::Echo, 2);
    let qemu = Qemu::backport(&packages()).map_err(Error::msg)?;
    let vm = Vm { qemu, ..Vm::new("vm", vec![sockets.nic(0, 2)]) };
    let mut guest = Guest::boot(&linux(), &vm)?;
    assert_eq!(guest.qmp().version().0, 10);
    guest.run("ethtool -L eth0 combined 2")?;
    has_rings(&mut testpmd, &sockets, slice::from_ref(&guest))?;
    up(&mut guest, 0)?;
    ping(&mut guest, "10.0.0.9", 20, 1_400)?;
    let used = guest.run("grep -c 'PCI-MSI.*virtio1-.*put.[01]$' /proc/interrupts")?;
    assert_eq!(used.trim(), "4");
    assert!(guest.run("ethtool -l eth0 | tail -n 2")?.contains("Combined:\t2"));
    // A pause takes the rings from the back-end, and its end gives them back.
    guest.qmp().execute("stop", json!({}))?;
    assert_eq!(guest.qmp().execute("query-status", json!({}))?["status"], "paused");
    guest.qmp().execute("cont", json!({}))?;
    ping(&mut guest, "10.0.0.9", 20, 56)?;
    agree(testpmd.stop()?, slice::from_mut(&mut guest))
}

#[test]
fn a_guest_goes_on_in_another_qemu_and_at_another_back_end_with_qemu() -> Result<()> {
    let (linux, ways) = (linux(), [Sockets::new(), Sockets::new()]);
    let mut before = ways[0].testpmd(1, Forward::Echo, 1);
    let vm = Vm::new("before", vec![ways[0].nic(0, 1)]);
    let mut guest = Guest::boot(&linux, &vm)?;
    up(&mut guest, 0)?;
    ping(&mut guest, "10.0.0.9", 5, 56)?;
    guest.run("echo kept >/kept")?;
    has_rings(&mut before, &ways[0], slice::from_ref(&guest))?;
    let mut after = ways[1].testpmd(1, Forward::Echo, 1);
    let uri = format!("unix:{}", ways[1].of(1).display());
    let options = vec!["-incoming".into(), uri.clone().into()];
    let mut moved = Guest::start(&linux, &Vm { options, ..Vm::new("after", vec![ways[1].nic(0, 1)]) })?;
    guest.qmp().execute("migrate", json!({ "uri": uri }))?;
    let done = guest.qmp().until("query-migrate", |it| it["status"] == "completed" || it["status"] == "failed")?;
    assert_eq!(done["status"], "completed", "{done}");
    drop(guest);
    assert_eq!(moved.run("cat /kept")?, "kept\n");
    ping(&mut moved, "10.0.0.9", 5, 56)?;
    has_rings(&mut after, &ways[1], slice::from_ref(&moved))
}
