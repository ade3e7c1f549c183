//! The one queue of a front-end, which two processes and the switch fill, as one of the processes sees it, which stops
//! the other at any store.

use crate::lab::*;
use crate::stepping::Stepped;
use crate::stranger::Stranger;
use crate::windows::{example, start};
use sluice_abi::directory::{Peer, Queue};
use sluice_abi::map::{PEER_LOCK, peer_base};
use sluice_abi::net::F;
use sluice_abi::packed::DescF;
use sluice_abi::queue_lock::{FREE, JOURNAL, PROGRESS, Progress, number_of, owner, word};
use sluice_abi::virtq::{Desc, avail, used};
use sluice_abi::{Gpa, PeerIdx};
use sluice_vhost_user::Frontend;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Instant;
use zerocopy::FromBytes;

/// The processes g and h, which may fill a queue of b, and b and c, which may send to each other.
pub fn lab() -> Lab {
    let process = |name| vm(name, "ram_mib = 32\npeers = [\"b\"]");
    Lab::new(&(process('g') + &process('h') + &vm('b', "lan = [\"c\"]") + &vm('c', "lan = [\"b\"]")))
}

/// Starts `program`, the generator, as g or h.
pub fn generator(program: &OsStr, lab: &Lab, vm: char, words: &[&str]) -> std::process::Child {
    let mut command = Command::new(program);
    command.arg("b").args(words);
    start(lab, vm, command)
}

/// The path of the generator.
pub fn program() -> OsString {
    example("generator").get_program().to_owned()
}

/// A frame that arrived: the VM that sent it, and its number.
pub type Arrived = (char, u64);

/// Takes the next frame of b.
pub fn take_any(b: &mut Frontend) -> Option<Arrived> {
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
pub fn count_of(b: &mut Frontend, from: char) -> usize {
    std::iter::from_fn(|| take_any(b)).filter(|&(vm, _)| vm == from).count()
}

/// Takes a frame of b, once there is one.
#[track_caller]
pub fn until_any(b: &mut Frontend) -> Arrived {
    let begin = Instant::now();
    loop {
        if let Some(arrived) = take_any(b) {
            return arrived;
        }
        assert!(begin.elapsed() < PATIENCE, "no frame");
        std::thread::yield_now();
    }
}

/// The lock, the queue and the buffers of b, as a process that shares them sees them: h, which has connected.
pub struct Watch {
    pub h: Stranger,
    pub program: OsString,
    pub lock: File,
    pub memory: File,
    /// Offsets in the memory of the parts that a burst changes, and their lengths.
    parts: Vec<(u64, usize)>,
}

impl Watch {
    /// Has h connect, and share the queue.
    pub fn new(lab: &Lab) -> Self {
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

    pub fn peer(&self) -> Peer {
        self.h.peer(0)
    }

    pub fn offset(&self, gpa: Gpa) -> u64 {
        gpa.0 - self.peer().regions[0].gpa.0
    }

    /// The owner word.
    pub fn owner(&self) -> u32 {
        let mut word = [0; 4];
        self.lock.read_exact_at(&mut word, 0).expect("a lock");
        u32::from_ne_bytes(word)
    }

    pub fn set_owner(&self, word: u32) {
        self.lock.write_all_at(&word.to_ne_bytes(), 0).expect("a lock");
    }

    /// Waits until nobody has the lock.
    #[track_caller]
    pub fn until_free(&self) {
        let begin = Instant::now();
        while self.owner() != FREE {
            assert!(begin.elapsed() < PATIENCE, "{:#x} has the lock", self.owner());
            std::thread::yield_now();
        }
    }

    pub fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read_exact_at(&mut bytes, at).expect("a memory");
        bytes
    }

    fn queue(&self) -> Queue {
        self.peer().queues[0]
    }

    fn is_packed(&self) -> bool {
        self.queue().features & F::RING_PACKED.bits() != 0
    }

    pub fn used_idx(&self) -> u16 {
        u16::from_le_bytes(self.read(self.offset(self.queue().addresses.device) + used::IDX))
    }

    /// How far the producers of a packed queue came.
    pub fn progress(&self) -> Progress {
        let mut word = [0; 8];
        self.lock.read_exact_at(&mut word, PROGRESS).expect("a lock");
        Progress::from_word(u64::from_ne_bytes(word))
    }

    pub fn set_progress(&self, word: u64) {
        self.lock.write_all_at(&word.to_ne_bytes(), PROGRESS).expect("a lock");
    }

    /// Where the memory has the descriptor of a packed ring at `slot`.
    pub fn desc(&self, slot: u16) -> u64 {
        self.offset(self.queue().addresses.desc) + 16 * u64::from(slot)
    }

    /// Where the memory has the buffer of a packed ring's descriptor at `slot`.
    pub fn buffer(&self, slot: u16) -> u64 {
        self.buffer_of(self.desc(slot))
    }

    /// Whether `count` descriptors of a packed ring are available, from `position` on: a slot (14:0) and its wrap
    /// counter (15).
    pub fn are_available(&self, position: u16, count: u16) -> bool {
        let size = self.queue().size;
        (position & 0x7fff..).take(count.into()).all(|slot| {
            let (slot, wrap) = (slot % size, (position >> 15 == 1) ^ (slot >= size));
            let flags = DescF::from_bits_retain(u16::from_le_bytes(self.read(self.desc(slot) + 14)));
            flags & (DescF::AVAIL | DescF::USED) == DescF::available(wrap)
        })
    }

    /// Watches the next `count` buffers, which are given other bytes, so that every store of a burst changes some.
    pub fn watch(&mut self, count: u16) {
        self.parts.clear();
        if self.is_packed() { self.watch_slots(count) } else { self.watch_entries(count) }
    }

    fn watch_entries(&mut self, count: u16) {
        let (queue, next) = (self.queue(), self.used_idx());
        let [desc, driver, device] =
            [queue.addresses.desc, queue.addresses.driver, queue.addresses.device].map(|at| self.offset(at));
        let slot = |index: u16| u64::from((next.wrapping_add(index)) % queue.size);
        self.parts.push((device, 4));
        for index in 0..count {
            let head = u16::from_le_bytes(self.read(driver + avail::RING + 2 * slot(index)));
            self.watch_buffer(desc + 16 * u64::from(head));
            let used = device + used::RING + 8 * slot(index);
            self.parts.push((used, 8));
            self.memory.write_all_at(&[0xa5; 8], used).expect("written");
        }
    }

    fn watch_slots(&mut self, count: u16) {
        let (size, next) = (self.queue().size, self.progress().position & 0x7fff);
        for index in 0..count {
            let desc = self.desc((next + index) % size);
            self.watch_buffer(desc);
            self.parts.push((desc, 16));
            self.lock.write_all_at(&[0xa5; 8], JOURNAL + 8 * u64::from(index)).expect("written");
        }
    }

    /// Where the memory has the buffer of the descriptor at `at`, of whatever format.
    fn buffer_of(&self, at: u64) -> u64 {
        self.offset(Desc::read_from_bytes(&self.read::<16>(at)).expect("a descriptor").addr)
    }

    /// Watches the buffer of the descriptor at `at`, of whatever format.
    fn watch_buffer(&mut self, at: u64) {
        let at = self.buffer_of(at);
        self.parts.push((at, 76));
        self.memory.write_all_at(&[0xa5; 76], at).expect("written");
    }

    /// All that is watched, as it is.
    pub fn look(&self, into: &mut Vec<u8>) {
        let mut lock = [0; 8];
        self.lock.read_exact_at(&mut lock, 0).expect("the owner word, and the counter of g");
        // The number of the burst may be another.
        lock[2..4].fill(0);
        into.clear();
        into.extend(lock);
        let journal = into.len();
        into.resize(journal + 64, 0);
        self.lock.read_exact_at(&mut into[journal..], PROGRESS).expect("the progress, and the begin of the journal");
        for &(at, len) in &self.parts {
            let begin = into.len();
            into.resize(begin + len, 0);
            self.memory.read_exact_at(&mut into[begin..], at).expect("a memory");
        }
    }

    /// Has VM `vm` as the owner in another burst than before: so the server does not end it while it is looked at.
    pub fn in_another_burst(&self, vm: usize) {
        let burst = (self.owner() >> 16) as u16;
        self.set_owner(word(number_of(vm), burst.wrapping_add(1)));
    }

    /// Starts a process that sends `count` frames, and stops it behind store number `store` of the burst, from 1 on.
    pub fn stop_behind_a_store(&mut self, lab: &Lab, count: u16, store: u32) -> Stepped {
        self.watch(count);
        let process = self.stop_before_a_burst(lab, &[&format!("count={count}")]);
        self.step_into_a_burst(&process);
        let mut bytes = Vec::new();
        self.look(&mut bytes);
        // Taking the lock was the first store.
        for _ in 1..store {
            bytes = self.step_to_a_store(&process, &bytes);
        }
        process
    }

    /// Lets g, a generator of `words`, try in vain to take the lock, stops it, and frees the lock.
    pub fn stop_before_a_burst(&self, lab: &Lab, words: &[&str]) -> Stepped {
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
    pub fn step_into_a_burst(&self, g: &Stepped) {
        for _ in 0..1_000_000 {
            if owner(self.owner()) == number_of(0) {
                return;
            }
            g.step();
        }
        panic!("it does not take the lock");
    }

    /// Executes g, which has the lock, up to the next store that changes what is watched, and returns that.
    pub fn step_to_a_store(&self, g: &Stepped, was: &[u8]) -> Vec<u8> {
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
pub fn calls(child: &std::process::Child) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).expect("maps");
    let block = maps.lines().find(|line| line.contains("sluice request block"));
    let Some(start) = block.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok()) else { return 0 };
    let memory = File::open(format!("/proc/{}/mem", child.id())).expect("memory");
    let mut count = [0; 8];
    memory.read_exact_at(&mut count, start + 8 * sluice_abi::call::CALLS as u64).expect("a request block");
    u64::from_le_bytes(count)
}
