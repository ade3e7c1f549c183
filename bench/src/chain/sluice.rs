//! Ours: VMs in one process, each with RAM of its own, and a gate `direct` from each to the next.

use super::{BURST, CHAINED, HOPS, PLAIN, Subject};
use crate::clock::ticks;
use crate::slot::pages;
use anyhow::{Context, Result, anyhow, bail};
use sluice::{
    Access, AccessMemory, BufferLen, Burst, Gate, Mempool, PacketMemory, PeerPort, PeerSlice, Receive, RingFormat,
    Slot, Transmit, VirtioNet,
};
use sluice_abi::directory::{GateKind, word};
use sluice_abi::map::{DIRECTORY_LEN, PAGE};
use sluice_abi::run::Run;
use sluice_abi::{Gpa, PeerIdx};
use sluice_chain::{ChainFile, Router};
use sluice_control::{Manifest, Network, publish};
use sluice_driver::Registers;
use std::cell::RefCell;
use std::rc::Rc;

/// Bytes of a VM's RAM, of which the second half is packet memory.
const RAM: u64 = 4 << 20;
/// Buffers of a VM.
const BUFFERS: usize = 768;
/// The last VM's number: the one before the first hop is 0.
const LAST: usize = HOPS;

/// The VMs, one behind the other.
pub struct Forwarders {
    first: (PeerPort<'static>, Burst<'static>),
    hops: Vec<Hop>,
    frame: u16,
}

/// A VM that receives, and one that sends, unless it is the last.
struct Hop {
    net: VirtioNet<'static, Device>,
    burst: Burst<'static>,
    output: Option<PeerPort<'static>>,
    router: Option<Router>,
}

/// The registers of one VM, and the host behind them.
struct Device(Rc<World>, u32);

struct World {
    network: RefCell<Network>,
    /// The RAM of all VMs, which is what a sender's slot refers to.
    ram: PeerSlice<'static>,
    pages: Vec<PeerSlice<'static>>,
}

impl Registers for Device {
    fn read(&mut self, register: u32) -> u32 {
        self.0.network.borrow_mut().read(self.1, register)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.0.network.borrow_mut().write(self.1, register, value);
        self.0.publish();
    }
}

fn zeroed(len: u64) -> PeerSlice<'static> {
    PeerSlice::from_mut(vec![0u64; len as usize / 8].leak())
}

impl World {
    fn new() -> Result<Rc<Self>> {
        let vm = |number: usize| {
            let peers = if number < LAST { format!("peers = [\"v{}\"]", number + 1) } else { String::new() };
            let ram = RAM >> 20;
            format!("[[vm]]\nname = \"v{number}\"\nram_mib = {ram}\nimage = \"i\"\ngate = \"direct\"\n{peers}\n")
        };
        let manifest = Manifest::parse(&(0..=LAST).map(vm).collect::<String>())?;
        let mut network = Network::new(&manifest);
        for number in 0..=LAST {
            let run = Run { gpa: Gpa(RAM / 2), len: RAM / 2, offset: 0 };
            network.add_run(number as u32, run).map_err(|error| anyhow!("{error}"))?;
        }
        let ram = PeerSlice::from_mut(pages((LAST + 1) * RAM as usize / 8, false)?);
        let pages = (0..LAST).map(|_| zeroed(DIRECTORY_LEN)).collect();
        let world = Rc::new(Self { network: RefCell::new(network), ram, pages });
        world.publish();
        Ok(world)
    }

    /// Writes the directories.
    fn publish(&self) {
        for (number, page) in self.pages.iter().enumerate() {
            let mut directory = self.network.borrow().directory(number as u32);
            directory.header.gate = GateKind::Direct as u32;
            let regions = directory.peers.iter_mut().take(1).flat_map(|peer| peer.regions.iter_mut());
            regions.for_each(|region| region.slot_offset = (number as u64 + 1) * RAM + region.gpa.0);
            if let Some(words) = page.table(0, word::COUNT as u16) {
                publish(&words, &directory);
            }
        }
    }

    fn packets(&self, number: usize) -> Result<PacketMemory> {
        let memory = self.ram.sub(number as u64 * RAM + RAM / 2, RAM / 2).map_err(|_| anyhow!("RAM"))?;
        PacketMemory::new(Gpa(RAM / 2), memory).context("small")
    }

    /// Returns the memory for the queues of VM `number`, and its pool.
    fn pool(&self, number: usize) -> Result<(PacketMemory, &'static Mempool<'static>)> {
        let (queues, buffers) = self.packets(number)?.split_at(VirtioNet::QUEUE_LEN).context("no room for queues")?;
        let pool = Mempool::new(buffers, BufferLen::KiB2, vec![0; BUFFERS].leak())?;
        Ok((queues, Box::leak(Box::new(pool))))
    }

    /// Returns the port of VM `number` to the next.
    fn output(&self, number: usize) -> Result<PeerPort<'static>> {
        let access = AccessMemory {
            directory: self.pages[number],
            request: zeroed(PAGE),
            packets: self.packets(number)?.memory,
            slot: Slot::of(self.ram),
            state: Box::leak(Box::default()),
        };
        let gate = Gate::discover(Access::direct(access)).map_err(|error| anyhow!("{error}"))?;
        Ok(PeerPort::new(Box::leak(Box::new(gate)), PeerIdx(0)))
    }
}

/// A chain whose hops are the VMs. The last has a VM behind it, for its router.
fn chain() -> Result<ChainFile> {
    let hops: String = (1..=LAST).map(|number| format!("{{ vm = \"v{number}\", policy = \"closed\" }},")).collect();
    let text = format!("[[chain]]\nname = \"c\"\npath = 1\nends = [\"v0\", \"end\"]\nhops = [{hops}]\n");
    Ok(ChainFile::parse(&text)?)
}

impl Forwarders {
    /// Starts the VMs, for frames of `frame` bytes, which have network service headers if `nsh`.
    pub fn new(frame: u16, nsh: bool) -> Result<Self> {
        let world = World::new()?;
        let (_, pool) = world.pool(0)?;
        let mut hops = Vec::new();
        for number in 1..=LAST {
            let (queues, pool) = world.pool(number)?;
            let device = Device(Rc::clone(&world), number as u32);
            let net =
                VirtioNet::start(device, queues, pool, RingFormat::default()).map_err(|error| anyhow!("{error}"))?;
            let output = if number < LAST { Some(world.output(number)?) } else { None };
            let mut router = if nsh { Some(Router::new(&chain()?, &format!("v{number}"))?) } else { None };
            router.iter_mut().for_each(|router| router.set_ready(u64::MAX));
            hops.push(Hop { net, burst: pool.burst(), output, router });
        }
        Ok(Self { first: (world.output(0)?, pool.burst()), hops, frame })
    }

    /// Makes the frames.
    fn fill(&mut self) -> Result<()> {
        let mut bytes = [0x5a; CHAINED as usize];
        // TTL 63, 6 words, MD type 1, Ethernet, path 1 of version 0, index 255. See: RFC 8300, 2.
        bytes[12..22].copy_from_slice(&[0x89, 0x4f, 0x0f, 0xc6, 1, 3, 0, 1, 0, 255]);
        for number in 0..BURST {
            bytes[usize::from(PLAIN) - 1] = number as u8;
            self.first.1.push_bytes(&bytes[..self.frame.into()])?;
        }
        Ok(())
    }

    /// Checks the frames that came through, and frees them.
    fn check(&mut self) -> Result<()> {
        let Some(hop) = self.hops.last_mut() else { bail!("no hops") };
        // Each forwarder takes one from TTL and index.
        let taken = if hop.router.is_some() { HOPS as u8 } else { 0 };
        let (ttl, index) = (63 - taken, 255 - taken);
        for (number, frame) in hop.burst.frames().enumerate() {
            let right = frame.head(14) == Some([ttl >> 2, ttl << 6 | 6])
                && frame.head(21) == Some([index])
                && frame.head(usize::from(PLAIN) - 1) == Some([number as u8]);
            if !right {
                bail!("frame {number} came through as another one");
            }
        }
        let count = hop.burst.len();
        hop.burst.clear();
        if count == BURST { Ok(()) } else { bail!("{count} of {BURST} frames came through") }
    }
}

impl Subject for Forwarders {
    fn burst(&mut self) -> Result<u64> {
        self.fill()?;
        let before = ticks();
        self.first.0.tx_burst(&mut self.first.1, BURST)?;
        for hop in &mut self.hops {
            hop.net.rx_burst(&mut hop.burst, BURST)?;
            if let Some(router) = &mut hop.router {
                let mut slots = [None; BURST];
                router.forward_burst(&mut hop.burst, &mut slots);
                if slots != [Some(0); BURST] {
                    bail!("a frame was dropped");
                }
            }
            if let Some(output) = &mut hop.output {
                output.tx_burst(&mut hop.burst, BURST)?;
            }
        }
        let passed = ticks() - before;
        self.check()?;
        Ok(passed)
    }
}
