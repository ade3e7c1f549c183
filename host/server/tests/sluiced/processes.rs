//! Processes that keep no rules, beside VMs that do.

use crate::hostile::others_go_on;
use crate::lab::*;
use crate::stranger::{Stranger, VARIABLE, play};
use crate::windows::PAIRS;
use rustix::io::Errno;
use sluice_abi::Gpa;
use sluice_abi::call::Status;
use sluice_abi::mmio::reg;
use sluice_abi::net::{F, ctrl};
use sluice_abi::virtq::{Desc, DescF};
use sluice_vhost_user::Frontend;
use sluice_vhost_user::memory::Mapping;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// The process g, which may fill a queue of b, and b and c, which may send to each other.
pub fn lab() -> Lab {
    let b = vm('b', "lan = [\"c\"]") + &vm('c', "lan = [\"b\"]");
    Lab::new(&(vm('g', "ram_mib = 4\npeers = [\"b\"]") + &b))
}

/// b and c.
pub fn others(lab: &Lab) -> (Frontend, Frontend) {
    (lab.connect_with('b', &PAIRS), lab.connect('c', SPLIT))
}

#[test]
fn a_process_that_hangs_up_is_ended() {
    if let Some(path) = std::env::var_os(VARIABLE) {
        return play(Path::new(&path));
    }
    let lab = lab();
    let g = Stranger::connect(&lab, 'g');
    g.socket.shutdown(std::net::Shutdown::Both).expect("hung up");
    g.ends(&lab, 'g', "the process has hung up");
    let mut g = Stranger::connect(&lab, 'g');
    g.places = std::fs::File::open("/dev/null").expect("a file").into();
    g.ends(&lab, 'g', "the process has hung up");
}

#[test]
fn a_request_of_no_kind_ends_the_process() {
    let lab = lab();
    let (mut b, mut c) = others(&lab);
    for kind in [4, 0x100, u32::MAX] {
        let mut g = Stranger::connect(&lab, 'g');
        assert!(g.request([kind, 0, 0, 0]).is_err());
        g.ends(&lab, 'g', &format!("a request of kind {kind}"));
        others_go_on(&mut b, &mut c);
    }
}

#[test]
fn who_makes_half_a_request_holds_nobody() {
    let lab = lab();
    let (mut b, mut c) = others(&lab);
    let mut g = Stranger::connect(&lab, 'g');
    for half in [1, 4, 15] {
        let request: Vec<u8> = [0, reg::MAGIC_VALUE, 0, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        g.socket.write_all(&request[..half]).expect("sent");
        others_go_on(&mut b, &mut c);
        g.socket.write_all(&request[half..]).expect("sent");
        let mut answer = [0; 4];
        g.socket.read_exact(&mut answer).expect("an answer");
        assert_eq!(u32::from_ne_bytes(answer), sluice_abi::mmio::MAGIC);
    }
}

#[test]
fn who_reads_no_answers_is_ended() {
    let lab = lab();
    let (mut b, mut c) = others(&lab);
    let mut g = Stranger::connect(&lab, 'g');
    g.socket.set_nonblocking(true).expect("set");
    let start = Instant::now();
    loop {
        match g.socket.write(&[0; 160]) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => others_go_on(&mut b, &mut c),
            Err(_) => break,
        }
        assert!(start.elapsed() < PATIENCE, "it goes on");
    }
    g.ends(&lab, 'g', "the process reads no answers");
    others_go_on(&mut b, &mut c);
}

#[test]
fn an_answer_to_no_placement_ends_the_process() {
    let lab = lab();
    let (mut b, mut c) = others(&lab);
    for (bytes, why) in [
        (&[][..], "an answer of 0 bytes"),
        (&[0][..], "an answer of 1 bytes"),
        (&[0; 7], "an answer of 7 bytes"),
        (&[1, 0, 0, 0, 0, 0, 0, 0], "an answer for peer 1, which nobody asked for"),
        (&[0xff; 8], "an answer for peer 4294967295, which nobody asked for"),
    ] {
        let g = Stranger::connect(&lab, 'g');
        assert_eq!(g.placement().0, 0);
        g.answer(bytes);
        g.ends(&lab, 'g', why);
        others_go_on(&mut b, &mut c);
    }
    let g = Stranger::connect(&lab, 'g');
    g.open();
    g.placed(0, 0);
    g.ends(&lab, 'g', "an answer for peer 0, which nobody asked for");
}

/// A process that can't map its peer's memory does not see it, and is not asked again before there is another memory.
#[test]
fn a_peer_that_is_not_mapped_is_not_shown() {
    let lab = lab();
    let (b, _c) = others(&lab);
    let g = Stranger::connect(&lab, 'g');
    g.placement();
    g.placed(0, Errno::NOMEM.raw_os_error() as u32);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(100) {
        assert!(!g.sees(0) && !g.has_placement());
    }
    drop(b);
    let _b = lab.connect_with('b', &PAIRS);
    g.open();
}

/// Whoever is slow to map a memory is not shown another one in its place, and gets no heap of messages of it.
#[test]
fn an_answer_is_for_the_memory_that_was_placed_and_no_other() {
    let lab = lab();
    let (mut b, _c) = others(&lab);
    let g = Stranger::connect(&lab, 'g');
    let (.., first) = g.placement();
    for _ in 0..40 {
        drop(b);
        b = lab.connect_with('b', &PAIRS);
    }
    lab.until('b', |b| b["rings"].as_array().is_some_and(|rings| rings.len() == 4));
    assert!(!g.has_placement(), "it has not answered to the first");
    g.placed(0, 0);
    let (peer, _, second) = g.placement();
    assert!(!g.sees(0), "it has mapped the memory of before");
    let inode = |file| rustix::fs::fstat(file).expect("a file").st_ino;
    assert_ne!(inode(&first[0]), inode(&second[0]));
    g.placed(peer, 0);
    g.until_it_sees(0, true);
    assert!(!g.has_placement());
}

#[test]
fn a_second_process_of_a_vm_is_refused_while_the_first_goes_on() {
    let lab = lab();
    let _others = others(&lab);
    let mut g = Stranger::connect(&lab, 'g');
    g.open();
    for _ in 0..3 {
        assert!(Stranger::try_connect(&lab, 'g').is_none());
    }
    assert_eq!(g.request([0, reg::MAGIC_VALUE, 0, 0]).ok(), Some(sluice_abi::mmio::MAGIC));
    assert!(g.sees(0));
    assert_eq!(lab.status('g')["connects"], 1);
}

#[test]
fn a_run_outside_of_the_ram_is_refused() {
    let ok = Status::OK.0 as u32;
    // In units of a run's alignment, of which the RAM has two.
    let lab = lab();
    let mut g = Stranger::connect(&lab, 'g');
    for (gpa, len, offset) in
        [(0, 3, 0), (1, 2, 0), (2, 1, 0), (0, 0, 0), (0, u32::MAX, u32::MAX), (u32::MAX, u32::MAX, 1), (0, 1, u32::MAX)]
    {
        assert_ne!(g.request([2, gpa, len, offset]).expect("an answer"), ok, "{gpa} {len} {offset}");
        assert_ne!(g.request([3, 0, len, offset]).expect("an answer"), ok, "{len} {offset}");
    }
    assert_eq!(g.request([2, 1, 1, 0]).ok(), Some(ok));
    assert_eq!(g.request([3, 0, 1, 0]).ok(), Some(ok));
    assert_ne!(g.request([3, 0, 1, 0]).ok(), Some(ok), "it is gone");
}

#[test]
fn the_directory_is_the_servers_alone_to_write() {
    let lab = lab();
    let g = Stranger::connect(&lab, 'g');
    let len = sluice_abi::map::DIRECTORY_LEN;
    assert!(Mapping::of_file_read_only(&g.directory, 0, len).is_ok());
    assert!(Mapping::of_file(&g.directory, 0, len).is_err(), "it can be mapped for writing");
    assert!(g.directory.write_all_at(&[1], 0).is_err());
    for file in [&g.directory, &g.ram, &g.block] {
        let len = file.metadata().expect("a file").len();
        assert!(file.set_len(len / 2).is_err() && file.set_len(2 * len).is_err(), "it can be resized");
    }
}

/// A random number generator: xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn of(&mut self, values: &[u32]) -> u32 {
        values[self.below(values.len())]
    }
}

/// Registers in any order, with queues anywhere, by a process onto which another has a window.
#[test]
fn a_driver_that_writes_registers_in_any_order_holds_nobody() {
    let registers: Vec<u32> = (0..0x120).step_by(4).chain([reg::STATUS; 8]).chain([reg::QUEUE_READY; 8]).collect();
    let values = [0, 1, 1, 1, 2, 3, 4, 11, 15, 64, 256, 1024, 0x1000, 0x3f_ffff, 0x40_0000, 0x8000_0000, u32::MAX];
    let g = vm('g', "ram_mib = 4\npeers = [\"f\"]") + &vm('f', "ram_mib = 4");
    let lab = Lab::new(&(g + &vm('b', "lan = [\"c\", \"f\"]") + &vm('c', "lan = [\"b\", \"f\"]")));
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let (g, mut random) = (Stranger::connect(&lab, 'g'), Random(0x9e37_79b9_7f4a_7c15));
    for round in 0..20 {
        let mut f = Stranger::connect(&lab, 'f');
        // Each second one has agreed on features, and gets further.
        if round % 2 == 0 {
            f.write(&[(reg::DRIVER_FEATURES_SEL, 1), (reg::DRIVER_FEATURES, 1), (reg::STATUS, 11)]);
        }
        for _ in 0..400 {
            let (kind, register) = (random.of(&[0, 1, 1, 1, 1, 2, 3]), random.of(&registers));
            let request = [kind, register, random.of(&values), random.of(&values)];
            if f.request(request).is_err() {
                break;
            }
        }
        if g.has_placement() {
            g.placement();
            g.placed(0, 0);
        }
        send(&mut b, mac('f'), mac('b'), 0..9);
        others_go_on(&mut b, &mut c);
    }
}

/// Sets up a device with two queue pairs and a control queue, whose areas are 16 KiB apart, and puts both pairs into
/// use.
pub fn drive(f: &mut Stranger) {
    // The ring is whole before it is in use: from then on the server may look there.
    let (at, command) = (0x4000 * 4, 0x20_0000);
    let flags = [DescF::NEXT, DescF::WRITE].map(|flag| flag.bits());
    let parts = [(command, 4, flags[0], 1), (command + 8, 1, flags[1], 0)];
    for (index, (addr, len, flags, next)) in (0..).zip(parts) {
        let desc = Desc { addr: Gpa(addr), len, flags, next };
        f.ram.write_all_at(desc.as_bytes(), at + 16 * index).expect("written");
    }
    let [class, number] = ctrl::MQ_VQ_PAIRS_SET;
    f.ram.write_all_at(&[class, number, 2, 0], command).expect("written");
    f.ram.write_all_at(&[0xff], command + 8).expect("written");
    f.ram.write_all_at(&[0, 0, 1, 0, 0, 0], at + 0x1000).expect("written");
    let features = (F::CTRL_VQ | F::MQ).bits() as u32;
    f.write(&[(reg::DRIVER_FEATURES, features), (reg::DRIVER_FEATURES_SEL, 1), (reg::DRIVER_FEATURES, 1)]);
    f.write(&[(reg::STATUS, 11)]);
    for queue in 0..5 {
        let at = 0x4000 * queue;
        let areas =
            [(reg::QUEUE_DESC_LOW, at), (reg::QUEUE_DRIVER_LOW, at + 0x1000), (reg::QUEUE_DEVICE_LOW, at + 0x2000)];
        f.write(&[(reg::QUEUE_SEL, queue), (reg::QUEUE_SIZE, 64)]);
        f.write(&areas);
        f.write(&[(reg::QUEUE_READY, 1)]);
    }
    f.write(&[(reg::STATUS, 15)]);
    f.write(&[(reg::QUEUE_NOTIFY, 4)]);
    let (start, mut answer) = (Instant::now(), [0xff]);
    while answer != [ctrl::OK] {
        assert!(start.elapsed() < PATIENCE, "{answer:?}");
        f.ram.read_exact_at(&mut answer, command + 8).expect("read");
    }
}

/// Registers that take no queue away leave the windows as they were.
#[test]
fn a_process_that_is_filled_may_write_registers() {
    let lab = Lab::new(&(vm('g', "ram_mib = 4\npeers = [\"f\"]") + &vm('f', "ram_mib = 4")));
    let (g, mut f) = (Stranger::connect(&lab, 'g'), Stranger::connect(&lab, 'f'));
    drive(&mut f);
    g.open();
    assert_eq!(g.peer(0).queues[0].index, 2, "the queue of its first sender");
    for register in [reg::INTERRUPT_ACK, reg::QUEUE_SEL, reg::DEVICE_FEATURES_SEL, 0xffc] {
        f.write(&[(register, 1)]);
        g.until_it_sees(0, true);
    }
    f.write(&[(reg::STATUS, 0)]);
    g.until_it_sees(0, false);
    assert!(!g.has_placement(), "its memory is the same");
    drive(&mut f);
    g.until_it_sees(0, true);
}

/// A session that ends at a step of its own, counted from the welcome.
fn leave(lab: &Lab, step: usize) {
    let mut g = Stranger::connect(lab, 'g');
    match step {
        0 => drop(g.socket.shutdown(std::net::Shutdown::Both)),
        1 => g.socket.write_all(&[0; 7]).expect("sent"),
        2 => drop(g.request([0, 0, 0, 0])),
        3 => drop(g.placement()),
        4 => g.open(),
        5 => {
            g.open();
            g.call(7);
        }
        6 => {
            g.placement();
            g.placed(0, 12);
        }
        _ => {
            g.open();
            g.call(u64::MAX);
            g.socket.shutdown(std::net::Shutdown::Both).expect("hung up");
            g.ends(lab, 'g', "the process has hung up");
        }
    }
}

/// The memory that the server has for itself, in KiB.
fn memory_of(lab: &Lab) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", lab.child.id())).expect("a status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn sessions_that_end_at_any_step_leave_nothing_behind() {
    let lab = lab();
    let (mut b, mut c) = others(&lab);
    let round = |b: &mut Frontend| {
        (0..8).for_each(|step| leave(&lab, step));
        lab.until('g', |g| g["connected_seconds"].is_null());
        // Whatever they left, the ring stops and starts.
        assert_eq!(b.stop().expect("positions").len(), 4);
        b.start().expect("rings");
    };
    round(&mut b);
    let (before, memory) = (lab.open_at_rest(), memory_of(&lab));
    (1..25).for_each(|_| round(&mut b));
    assert_eq!(lab.open_at_rest(), before, "descriptors and mappings");
    assert!(memory_of(&lab) < memory + 256, "{memory} KiB became {} KiB", memory_of(&lab));
    others_go_on(&mut b, &mut c);
    assert_eq!(lab.status('g')["connects"], 200);
}
