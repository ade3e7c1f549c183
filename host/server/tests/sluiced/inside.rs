//! Programs within VMs, and processes, that fill a queue of a stock guest.

use crate::lab::*;
use crate::linux::{counted, linux};
use crate::windows::{Killed, example, example_for_guests, start};
use anyhow::{Error, Result, ensure};
use pcap_file::pcap::PcapReader;
use rustix::process::{Pid, Signal, kill_process};
use sluice_tests_qemu::{Guest, Linux, Nic, Qemu, Vm};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Frames that a program puts into a guest's second queue.
const FRAMES: u64 = 20_000;
/// Frames that the switch forwards into the first queue meanwhile.
const SWITCHED: u32 = 200;
const LENGTHS: [usize; 3] = [64, 594, 1514];
/// No faster than the emulated processor can take it.
const ARGUMENTS: [&str; 3] = ["a", "length=64,594,1514", "rate=40"];
/// The server's end in a guest: the port behind that of the guest's commands.
const PORT: &str = "/dev/vport0p2";

/// A policy with a sender, its receiver, and a VM whose frames the switch forwards there.
fn policy(sender: &str) -> String {
    vm('g', &format!("{sender}\npeers = [\"a\"]")) + &vm('a', "") + &vm('b', "lan = [\"a\"]")
}

/// A stock guest that captures what it receives. Its driver sleeps when nothing comes. Its memory lies in two parts.
struct Receiver {
    guest: Guest,
    memory: NamedTempFile,
    /// Frames that it received before.
    before: u64,
}

/// MiB of its memory.
const MEMORY_MIB: u32 = 256;

impl Receiver {
    fn boot(lab: &Lab, linux: &Linux, qemu: &Qemu) -> Result<Self> {
        let nic = Nic { socket: lab.socket('a'), mac: mac('a'), pairs: 2 };
        let memory = NamedTempFile::new_in("/dev/shm")?;
        let (qemu, memory_file) = (qemu.clone(), Some(memory.path().into()));
        let vm = Vm { qemu, memory_file, memory_mib: MEMORY_MIB, low_mib: 128, ..Vm::new("a", vec![nic]) };
        let mut guest = Guest::start(linux, &vm)?;
        guest.run("ethtool -L eth0 combined 2; ip link set eth0 up")?;
        guest.wait_until("grep -q 1 /sys/class/net/eth0/carrier")?;
        let kinds = "ether proto 0x88b5";
        guest
            .run(&format!("tcpdump -i eth0 -U --immediate-mode -s 2048 -B 32768 -w /capture {kinds} 2>/listening &"))?;
        guest.wait_until("grep -q listening /listening")?;
        let before = counted(&mut guest)?[0];
        Ok(Self { guest, memory, before })
    }

    /// Checks that all frames were received, byte for byte and in the order of each sender. `earlier` programs sent the
    /// first ones of theirs, `frames` together, before the last one sent all.
    fn check(&mut self, frames: u64, earlier: u32) -> Result<()> {
        let guest = &mut self.guest;
        let size = |number: u64| 16 + LENGTHS[number as usize % 3] as u64;
        let sizes = (0..frames).chain(0..FRAMES).map(size).sum::<u64>();
        let all = 24 + sizes + u64::from(SWITCHED) * (16 + 64);
        guest.wait_until(&format!("[ $(stat -c %s /capture) -ge {all} ]"))?;
        let received = counted(guest)?[0] - self.before;
        let all = frames + FRAMES + u64::from(SWITCHED);
        ensure!(received >= all, "{received} frames of {all}: {}", guest.run("cat /listening")?);
        let (bytes, mut next, mut switched, mut begins) = (guest.bytes("cat /capture")?, 0_u64, 0_u32, 0);
        let (mut reader, mut count) = (PcapReader::new(&bytes[..])?, 0);
        while let Some(packet) = reader.next_packet() {
            let frame = packet?.data.into_owned();
            if frame[6..12] == mac('b') {
                ensure!(frame[..] == crate::lab::frame(mac('a'), mac('b'), switched), "frame {switched} of the switch");
                switched += 1;
                continue;
            }
            if next > 0 && frame[14..22] == 0_u64.to_be_bytes() {
                (next, begins) = (0, begins + 1);
            }
            let mut expected = vec![0; LENGTHS[next as usize % 3]];
            expected[..14].copy_from_slice(&[&mac('a')[..], &mac('g'), &[0x88, 0xb5]].concat());
            expected[14..22].copy_from_slice(&next.to_be_bytes());
            ensure!(frame == expected, "frame {next} of the window, program {begins}");
            (next, count) = (next + 1, count + 1);
        }
        assert_eq!((next, switched, begins, count), (FRAMES, SWITCHED, earlier, frames + FRAMES));
        Ok(())
    }
}

/// Has the switch forward its frames.
fn switch(lab: &Lab) {
    let mut b = lab.connect('b', SPLIT);
    for number in 0..SWITCHED {
        send(&mut b, mac('a'), mac('b'), number..number + 1);
        std::thread::sleep(Duration::from_millis(5));
    }
    lab.until('b', |b| b["counters"]["taken"] == SWITCHED);
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
fn a_process_and_the_switch_fill_two_queues_of_a_stock_guest_with_qemu_10() -> Result<()> {
    let lab = Lab::new(&policy("ram_mib = 32"));
    let mut receiver = Receiver::boot(&lab, &linux(), &qemu_10()?)?;
    let mut generator = example("generator");
    generator.args(ARGUMENTS).arg(format!("count={FRAMES}"));
    let process = start(&lab, 'g', generator);
    switch(&lab);
    let output = process.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    receiver.check(0, 0)?;
    a_sleeping_driver_takes_nothing_before_it_is_notified(&lab, &mut receiver.guest)
}

/// Returns QEMU 10, whose devices have an interrupt for each queue.
fn qemu_10() -> Result<Qemu> {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("sluice").join("guests");
    Qemu::backport(&packages).map_err(Error::msg)
}

/// Returns QEMU's options for a VM that has `files` as ivshmem devices, each with its length in MiB, and a port that
/// leads to `socket`.
fn devices(files: &[(&Path, u32)], socket: &Path) -> Vec<OsString> {
    let mut options = Vec::new();
    for (number, (file, mib)) in files.iter().enumerate() {
        let memory = format!("memory-backend-file,id=shared{number},mem-path={},size={mib}M,share=on", file.display());
        options.extend(["-object".into(), memory, "-device".into(), format!("ivshmem-plain,memdev=shared{number}")]);
    }
    options.extend(["-chardev".into(), format!("socket,id=server,path={},reconnect=1", socket.display())]);
    options.extend(["-device", "virtserialport,chardev=server,name=sluice"].map(str::to_owned));
    options.into_iter().map(OsString::from).collect()
}

/// Returns how many frames came by the window, once none comes any more.
fn settled(lab: &Lab) -> u64 {
    let frames = || lab.status('g')["windows"][0]["frames"].as_u64().expect("a number");
    let mut last = frames();
    loop {
        std::thread::sleep(Duration::from_millis(50));
        match frames() {
            now if now == last => return last,
            now => last = now,
        }
    }
}

/// Two senders at once: a program in another VM by its window, and the switch. The first program is killed.
fn a_program_in_a_vm_and_the_switch_fill_a_guest(qemu: &Qemu) -> Result<()> {
    let lab = Lab::new(&policy("ram_mib = 62\nwindow_file = \"g.window\""));
    let linux = linux();
    let options = |memory: &Path| devices(&[(&lab.file("g.window"), 64), (memory, MEMORY_MIB)], &lab.socket('g'));
    let mut receiver = Receiver::boot(&lab, &linux, qemu)?;
    let files = vec![("generator".to_owned(), std::fs::read(example_for_guests("generator"))?)];
    let vm = Vm { qemu: qemu.clone(), files, options: options(receiver.memory.path()), ..Vm::new("g", Vec::new()) };
    let mut sender = Guest::boot(&linux, &vm)?;
    let command = format!("SLUICE_SERVER={PORT} /generator {}", ARGUMENTS.join(" "));
    sender.run(&format!("{command} >/first 2>&1 & echo $! >/program"))?;
    lab.until('g', |g| g["windows"][0]["frames"].as_u64() > Some(1_000));
    sender.run("kill -KILL $(cat /program)")?;
    let frames = settled(&lab);
    sender.run(&format!("({command} count={FRAMES} >/said 2>&1; echo $? >/code) &"))?;
    switch(&lab);
    sender.wait_until("[ -e /code ]")?;
    ensure!(sender.run("cat /code")?.trim() == "0", "{}", sender.run("cat /said")?);
    lab.until('g', |g| g["windows"][0]["frames"] == FRAMES);
    receiver.check(frames, 1)?;
    reaches_nobody_else(&lab, &mut sender)
}

/// The QEMU of the sender has nothing of b's memory mapped, and its program no window there.
fn reaches_nobody_else(lab: &Lab, sender: &mut Guest) -> Result<()> {
    let b = lab.connect('b', SPLIT);
    let code = sender.run(&format!("SLUICE_SERVER={PORT} /generator b count=1 >/said; echo $?"))?;
    let said = sender.run("cat /said")?;
    ensure!(code.trim() != "0" && said.contains("error: peer \"b\": not in the window directory"), "{code} {said}");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", sender.id()))?;
    let has = |name: &str| maps.lines().any(|line| line.contains(name));
    ensure!(has("g.window") && !has("sluice-vhost-user"), "{maps}");
    drop(b);
    Ok(())
}

#[test]
fn a_program_in_a_vm_and_the_switch_fill_two_queues_of_a_stock_guest_with_qemu() -> Result<()> {
    a_program_in_a_vm_and_the_switch_fill_a_guest(&Qemu::installed())
}

#[test]
fn a_program_in_a_vm_and_the_switch_fill_two_queues_of_a_stock_guest_with_qemu_10() -> Result<()> {
    a_program_in_a_vm_and_the_switch_fill_a_guest(&qemu_10()?)
}
