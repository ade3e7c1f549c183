//! The one queue of a front-end, which two processes and the switch fill.

use crate::lab::*;
use crate::stepping::Stepped;
use crate::stranger::Stranger;
use crate::windows::{Killed, example, start};
use sluice_abi::directory::Peer;
use sluice_abi::map::{PEER_LOCK, peer_base};
use sluice_abi::queue_lock::{FREE, HOST, counter, number_of, owner, word};
use sluice_abi::virtq::{Desc, avail, used};
use sluice_abi::{Gpa, PeerIdx};
use sluice_vhost_user::Frontend;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

/// The processes g and h, which may fill a queue of b, and b and c, which may send to each other.
fn lab() -> Lab {
    let process = |name| vm(name, "ram_mib = 32\npeers = [\"b\"]");
    Lab::new(&(process('g') + &process('h') + &vm('b', "lan = [\"c\"]") + &vm('c', "lan = [\"b\"]")))
}

/// Starts `program`, the generator, as g or h.
fn generator(program: &OsStr, lab: &Lab, vm: char, words: &[&str]) -> std::process::Child {
    let mut command = Command::new(program);
    command.arg("b").args(words);
    start(lab, vm, command)
}

/// The path of the generator.
fn program() -> OsString {
    example("generator").get_program().to_owned()
}

/// A frame that arrived: the VM that sent it, and its number.
type Arrived = (char, u64);

/// Takes the next frame of b.
fn take_any(b: &mut Frontend) -> Option<Arrived> {
    let mut bytes = [0; 2_048];
    let len = b.receive(0, &mut bytes).expect("a receive queue")?;
    b.flush(0).expect("published");
    let number = if bytes[6..12] == mac('c') {
        let number = u32::from_le_bytes(bytes[14..18].try_into().expect("four"));
        assert!(bytes[18..len] == [number as u8; 46], "a frame of the switch is whole");
        number.into()
    } else {
        assert!(len == 64 && bytes[22..len].iter().all(|&byte| byte == 0), "a frame of a process is whole");
        u64::from_be_bytes(bytes[14..22].try_into().expect("eight"))
    };
    Some((char::from(bytes[11]), number))
}

/// Takes what has come, and returns how many frames of `from`.
fn count_of(b: &mut Frontend, from: char) -> usize {
    std::iter::from_fn(|| take_any(b)).filter(|&(vm, _)| vm == from).count()
}

#[test]
fn two_processes_and_the_switch_fill_the_one_queue_of_a_front_end() {
    const EACH: u64 = 1_000;
    let lab = lab();
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let load = ["rate=30"];
    let program = program();
    let processes = ['g', 'h'].map(|vm| Killed(generator(&program, &lab, vm, &load)));
    // What is next of g and of h, and the last of c; and how many frames of each came since all had begun.
    let (mut next, mut last, mut counts, mut changes, mut before) = ([0; 2], None, [0; 3], 0, 'b');
    let mut sent = 0;
    let mut arrive = |b: &mut Frontend| {
        let (from, number) = take_any(b)?;
        match ['g', 'h'].iter().position(|&vm| vm == from) {
            Some(place) => {
                assert_eq!(number, next[place], "{from}: in order, none lost, none twice");
                next[place] += 1;
            }
            None => {
                assert!(last < Some(number), "c: in order, none twice");
                last = Some(number);
            }
        }
        Some(from)
    };
    let begin = Instant::now();
    while counts.iter().any(|&count| count < EACH) {
        assert!(begin.elapsed() < 3 * PATIENCE, "{counts:?} frames of g, h and c");
        if c.send(0, &frame(mac('b'), mac('c'), sent)).expect("a transmit queue") {
            sent += 1;
        }
        c.flush(0).expect("published");
        if let Some(from) = arrive(&mut b) {
            changes += u64::from(from != before);
            (before, counts[from as usize % 3]) = (from, counts[from as usize % 3] + 1);
        }
    }
    assert!(changes > 10, "they fill it by turns: {changes} changes");
    lab.until('c', |c| c["counters"]["taken"] == sent);
    drop(processes);
    ['g', 'h'].iter().for_each(|&vm| lab.until(vm, |it| it["connected_seconds"].is_null()));
    while let Some(from) = arrive(&mut b) {
        counts[from as usize % 3] += 1;
    }
    let [forwarded, full] = ["forwarded", "full"].map(|name| lab.counter('b', name));
    assert_eq!((counts[usize::from(b'c') % 3], forwarded + full), (forwarded, sent.into()), "what is accepted arrives");
}

/// The lock, the queue and the buffers of b, as a process that shares them sees them: h, which has connected.
struct Watch {
    h: Stranger,
    program: OsString,
    lock: File,
    memory: File,
    /// Offsets in the memory of the parts that a burst changes, and their lengths.
    parts: Vec<(u64, usize)>,
}

impl Watch {
    /// Has h connect, and share the queue.
    fn new(lab: &Lab) -> Self {
        let (program, h) = (program(), Stranger::connect(lab, 'h'));
        let (_, places, files) = h.placement();
        h.placed(0, 0);
        h.until_it_sees(0, true);
        let at = peer_base(PeerIdx(0)) + PEER_LOCK;
        let (mut lock, mut memory) = (None, None);
        for (place, file) in places.iter().zip(files) {
            if place.slot_offset == at {
                lock = Some(File::from(file));
            } else {
                memory = Some(File::from(file));
            }
        }
        let (lock, memory) = (lock.expect("a lock"), memory.expect("a memory"));
        Self { h, program, lock, memory, parts: Vec::new() }
    }

    fn peer(&self) -> Peer {
        self.h.peer(0)
    }

    fn offset(&self, gpa: Gpa) -> u64 {
        gpa.0 - self.peer().regions[0].gpa.0
    }

    /// The owner word.
    fn owner(&self) -> u32 {
        let mut word = [0; 4];
        self.lock.read_exact_at(&mut word, 0).expect("a lock");
        u32::from_ne_bytes(word)
    }

    fn set_owner(&self, word: u32) {
        self.lock.write_all_at(&word.to_ne_bytes(), 0).expect("a lock");
    }

    /// Waits until nobody has the lock.
    #[track_caller]
    fn until_free(&self) {
        let begin = Instant::now();
        while self.owner() != FREE {
            assert!(begin.elapsed() < PATIENCE, "{:#x} has the lock", self.owner());
            std::thread::yield_now();
        }
    }

    fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read_exact_at(&mut bytes, at).expect("a memory");
        bytes
    }

    fn used_idx(&self) -> u16 {
        u16::from_le_bytes(self.read(self.offset(self.peer().queues[0].addresses.device) + used::IDX))
    }

    /// Watches the next `count` buffers, which are given other bytes, so that every store of a burst changes some.
    fn watch(&mut self, count: u16) {
        let (queue, next) = (self.peer().queues[0], self.used_idx());
        let [desc, driver, device] =
            [queue.addresses.desc, queue.addresses.driver, queue.addresses.device].map(|at| self.offset(at));
        let slot = |index: u16| u64::from((next.wrapping_add(index)) % queue.size);
        self.parts = vec![(device, 4)];
        for index in 0..count {
            let head = u16::from_le_bytes(self.read(driver + avail::RING + 2 * slot(index)));
            let buffer = Desc::read_from_bytes(&self.read::<16>(desc + 16 * u64::from(head))).expect("a descriptor");
            self.parts.push((self.offset(buffer.addr), 76));
            self.parts.push((device + used::RING + 8 * slot(index), 8));
        }
        for &(at, len) in &self.parts[1..] {
            self.memory.write_all_at(&[0xa5; 76][..len], at).expect("written");
        }
    }

    /// All that is watched, as it is.
    fn look(&self, into: &mut Vec<u8>) {
        let mut lock = [0; 8];
        self.lock.read_exact_at(&mut lock, 0).expect("the owner word, and the counter of g");
        // The number of the burst may be another.
        lock[2..4].fill(0);
        into.clear();
        into.extend(lock);
        for &(at, len) in &self.parts {
            let begin = into.len();
            into.resize(begin + len, 0);
            self.memory.read_exact_at(&mut into[begin..], at).expect("a memory");
        }
    }

    /// Has VM `vm` as the owner in another burst than before: so the server does not end it while it is looked at.
    fn in_another_burst(&self, vm: usize) {
        let burst = (self.owner() >> 16) as u16;
        self.set_owner(word(number_of(vm), burst.wrapping_add(1)));
    }

    /// Lets g, a generator of `words`, try in vain to take the lock, stops it, and frees the lock.
    fn stop_before_a_burst(&self, lab: &Lab, words: &[&str]) -> Stepped {
        self.in_another_burst(1);
        let g = generator(&self.program, lab, 'g', words);
        let begin = Instant::now();
        while calls(&g) < 8 {
            assert!(begin.elapsed() < PATIENCE, "it makes no call");
            self.in_another_burst(1);
            std::thread::yield_now();
        }
        let g = Stepped::stop(g);
        self.set_owner(FREE);
        g
    }

    /// Executes g until it has the lock.
    fn step_into_a_burst(&self, g: &Stepped) {
        for _ in 0..1_000_000 {
            if owner(self.owner()) == number_of(0) {
                return;
            }
            g.step();
        }
        panic!("it does not take the lock");
    }

    /// Executes g, which has the lock, up to the next store that changes what is watched, and returns that.
    fn step_to_a_store(&self, g: &Stepped, was: &[u8]) -> Vec<u8> {
        let mut is = was.to_vec();
        while is == was {
            self.in_another_burst(0);
            g.step();
            self.look(&mut is);
        }
        is
    }
}

/// Number of beginnings and ends of calls of the process `child`; 0 if it has no request block yet.
fn calls(child: &std::process::Child) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).expect("maps");
    let block = maps.lines().find(|line| line.contains("sluice request block"));
    let Some(start) = block.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok()) else { return 0 };
    let memory = File::open(format!("/proc/{}/mem", child.id())).expect("memory");
    let mut count = [0; 8];
    memory.read_exact_at(&mut count, start + 8 * sluice_abi::call::CALLS as u64).expect("a request block");
    u64::from_le_bytes(count)
}

/// A process that is killed behind each of the stores of a burst: from taking the lock to leaving it.
#[test]
fn a_burst_whose_process_is_killed_at_any_store_is_there_as_a_whole_or_not_at_all() {
    const FRAMES: u16 = 2;
    let lab = lab();
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let mut watch = Watch::new(&lab);
    let (mut published, mut rounds, mut is_over) = ([false; 2], 0, false);
    while !is_over {
        rounds += 1;
        watch.watch(FRAMES);
        let before = watch.used_idx();
        let g = watch.stop_before_a_burst(&lab, &[&format!("count={FRAMES}")]);
        watch.step_into_a_burst(&g);
        let mut bytes = Vec::new();
        watch.look(&mut bytes);
        // Taking the lock was the first store.
        for _ in 1..rounds {
            bytes = watch.step_to_a_store(&g, &bytes);
        }
        is_over = watch.owner() == FREE;
        assert!(!is_over || watch.used_idx() != before, "what is filled is published before the lock is left");
        g.kill();
        let filled = watch.used_idx().wrapping_sub(before);
        watch.until_free();
        lab.until('g', |g| g["connected_seconds"].is_null());
        assert!([0, FRAMES].contains(&filled), "{filled} frames of {FRAMES} after {rounds} stores");
        assert_eq!(watch.used_idx().wrapping_sub(before), filled, "the server leaves it as it is");
        // Others go on behind it.
        send(&mut c, mac('b'), mac('c'), u32::from(rounds)..u32::from(rounds) + 1);
        let all: Vec<_> = (0..=filled).map(|_| until_any(&mut b)).collect();
        let whole: Vec<_> = (0..u64::from(filled)).map(|number| ('g', number)).chain([('c', rounds.into())]).collect();
        assert_eq!(all, whole, "after {rounds} stores");
        published[usize::from(filled > 0)] = true;
    }
    assert_eq!(published, [true; 2], "it was killed before and behind the store that publishes");
    assert!(
        rounds >= 4 + 3 * FRAMES,
        "{rounds} stores: the lock, frames, used elements, the index, and the lock again"
    );
    assert_eq!(lab.counter('b', "full"), 0, "nobody found the lock taken by who had ended");
}

/// Takes a frame of b, once there is one.
#[track_caller]
fn until_any(b: &mut Frontend) -> Arrived {
    let begin = Instant::now();
    loop {
        if let Some(arrived) = take_any(b) {
            return arrived;
        }
        assert!(begin.elapsed() < PATIENCE, "no frame");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_is_stopped_in_a_burst_is_ended_and_others_go_on() {
    let lab = lab();
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let watch = Watch::new(&lab);
    let mut g = watch.stop_before_a_burst(&lab, &[]);
    watch.step_into_a_burst(&g);
    g.leave_stopped();
    send(&mut c, mac('b'), mac('c'), 0..9);
    lab.until('c', |c| c["counters"]["taken"] == 9);
    assert_eq!(g.ended_by(), Some(9));
    watch.until_free();
    lab.until('g', |g| g["last_end"].as_str().is_some_and(|why| why.contains("stays in a burst")));
    let lost = lab.counter('b', "full");
    send(&mut c, mac('b'), mac('c'), 9..12);
    let numbers: Vec<_> = (lost..12).map(|_| until_any(&mut b)).collect();
    assert!(numbers.ends_with(&[('c', 9), ('c', 10), ('c', 11)]), "{numbers:?}");
    let next = Killed(generator(&watch.program, &lab, 'g', &[]));
    assert_eq!(until_any(&mut b), ('g', 0), "and so does another process of it");
    drop(next);
    assert!(watch.h.sees(0));
}

/// What stands in the owner word is everybody's to write who shares the queue.
#[test]
fn an_owner_word_that_nobody_writes_holds_nobody() {
    let lab = lab();
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let watch = Watch::new(&lab);
    let of = |owner| word(owner, 7);
    // The host, which is in no burst when it looks; a process that is not there; VMs without a window on it; nobody.
    let hostile = [of(HOST), of(number_of(0)), of(number_of(2)), of(number_of(3)), of(9), of(1023), of(0), u32::MAX];
    for (number, word) in (0..).zip(hostile) {
        watch.set_owner(word);
        watch.until_free();
        send(&mut c, mac('b'), mac('c'), number..number + 1);
        assert_eq!(until_any(&mut b), ('c', number.into()), "{word:#x}");
    }
    assert!(
        std::fs::read_to_string(lab.file("log")).expect("a log").contains("owner word 0x7ffff, which nobody writes")
    );
    // What a process says of what it has published is shown, and no more.
    watch.lock.write_all_at(&[0xff; 4], counter(number_of(1))).expect("a lock");
    lab.until('h', |h| h["windows"][0]["frames"] == u32::MAX && h["windows"][0]["is_shared"] == true);
    // Its own word is good for as long as one burst may take.
    watch.set_owner(of(number_of(1)));
    watch.h.ends(&lab, 'h', "stays in a burst");
    send(&mut c, mac('b'), mac('c'), 50..51);
    while until_any(&mut b) != ('c', 50) {}
    assert_eq!(count_of(&mut b, 'c'), 0);
}

/// A ring stops once who is in a burst has left it, and behind what that brought.
#[test]
fn a_shared_ring_stops_behind_the_burst_that_is_under_way() {
    let lab = lab();
    let mut b = lab.connect('b', SPLIT);
    let watch = Watch::new(&lab);
    watch.h.call(41);
    watch.set_owner(word(number_of(1), 20));
    let at = watch.offset(watch.peer().queues[0].addresses.device) + used::IDX;
    let is_free = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            watch.h.until_it_sees(0, false);
            std::thread::sleep(Duration::from_millis(100));
            watch.memory.write_all_at(&3_u16.to_le_bytes(), at).expect("written");
            is_free.store(true, Ordering::Release);
            watch.set_owner(FREE);
            watch.h.call(42);
        });
        let stands = b.stop().expect("positions")[0];
        assert!(is_free.load(Ordering::Acquire), "the burst is under way");
        assert_eq!(stands, 3);
    });
}
