//! The host's switch and the device side of the control queue, with our own driver side at each port.

mod changes;
mod command;
mod forward;
mod hostile;
mod multiqueue;
mod notify;
mod offload;
mod slow;
mod uplink;

use sluice_abi::Gpa;
use sluice_abi::net::{self, F, HDR_LEN, Hdr};
use sluice_control::{Counters, Event, Manifest, Network, Served, Switch, Tap, Told};
use sluice_driver::{
    Arrival, ArrivedFrame, ControlQueue, DriverQueue, Part, Receiver, Registers, Setup, Started, Wanted,
};
use sluice_memory::PeerSlice;
use std::cell::{Cell, RefCell};
use zerocopy::IntoBytes;

/// Bytes of RAM of each VM, and where in it queues, what is sent, and what is received lie.
const RAM: u64 = 4 << 20;
const RINGS: u64 = 0x1_0000;
const RING_STRIDE: u64 = 0x4000;
const SENT: u64 = 0x10_0000;
const RECEIVED: u64 = 0x20_0000;
/// Entries of each queue, and bytes of a receive buffer.
const SIZE: u16 = 32;
const BUFFER: u32 = 4096;
const N: usize = SIZE as usize;

const BROADCAST: [u8; 6] = [0xff; 6];
/// Nobody has it.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

/// The address that VM `vm` has at first.
fn mac(vm: u32) -> [u8; 6] {
    [2, b'S', b'l', b'u', b'i', vm as u8]
}

/// Zeroed memory that is never freed.
fn memory(len: u64) -> PeerSlice<'static> {
    PeerSlice::from_mut(vec![0u128; len as usize / 16 + 1].leak()).sub(0, len).expect("inside")
}

/// All VMs and their host.
struct World {
    network: RefCell<Network>,
    switch: RefCell<Switch>,
    rams: Vec<PeerSlice<'static>>,
    seen: RefCell<Seen>,
    now: Cell<u64>,
    /// What came of serving a port, and of writing a register.
    events: RefCell<Vec<Event>>,
    /// Drivers that were told of used buffers.
    told: RefCell<Vec<Told>>,
    /// Who decides about frames on slow paths.
    decider: RefCell<slow::Decider>,
}

/// Frames that a tap saw, and at whose port.
#[derive(Default)]
struct Seen(Vec<(u32, Vec<u8>)>);

impl Tap for Seen {
    fn frame(&mut self, vm: u32, frame: PeerSlice<'_>) {
        self.0.push((vm, bytes(frame, 0, frame.len() as u32)));
    }
}

fn bytes(memory: PeerSlice<'_>, at: u64, len: u32) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    memory.copy_to_slice(at, &mut bytes).expect("inside");
    bytes
}

impl World {
    /// VMs a, b, c and so on, each with these keys in the manifest.
    fn new(vms: &[&str]) -> Self {
        Self::with("", vms)
    }

    fn with(keys: &str, vms: &[&str]) -> Self {
        let vm = |(name, rest): (char, &&str)| {
            format!("[[vm]]\nname = \"{name}\"\nram_mib = 4\nimage = \"i\"\ngate = \"direct\"\n{rest}\n")
        };
        let text: String = [keys.to_owned()].into_iter().chain(('a'..).zip(vms).map(vm)).collect();
        let manifest = Manifest::parse(&text).expect("a manifest");
        let rams: Vec<_> = vms.iter().map(|_| memory(RAM)).collect();
        let switch = Switch::new(&manifest, &rams, memory(Switch::ROOM_LEN)).expect("memory");
        Self {
            network: RefCell::new(Network::new(&manifest)),
            switch: RefCell::new(switch),
            rams,
            seen: RefCell::default(),
            now: Cell::new(0),
            events: RefCell::default(),
            told: RefCell::default(),
            decider: RefCell::default(),
        }
    }

    fn serve(&self, vm: u32) -> Served {
        let (mut network, mut seen) = (self.network.borrow_mut(), self.seen.borrow_mut());
        let (mut switch, mut decider) = (self.switch.borrow_mut(), self.decider.borrow_mut());
        let served = switch.serve(&mut network, vm, self.now.get(), &mut *seen, &mut *decider);
        self.events.borrow_mut().extend(served.event);
        for told in &served.told {
            network.tell(told.vm);
            self.told.borrow_mut().push(*told);
        }
        served
    }

    fn counters(&self, vm: u32) -> Counters {
        self.switch.borrow().counters(vm)
    }

    /// The number of the queue by which VM `sender` reaches the peer at `index` of its directory, if it does.
    fn window_queue(&self, sender: u32, index: usize) -> Option<u16> {
        let peer = self.network.borrow().directory(sender).peers[index];
        (peer.queue_count > 0).then_some(peer.queues[0].index)
    }

    /// Starts the driver of VM `vm` with the features of `wanted` that there are, and as many pairs.
    fn start(&self, vm: u32, features: F, pairs: u16) -> Driver<'_> {
        Driver::start(self, vm, Wanted { features, pairs })
    }
}

/// The device registers of one VM, and the host behind them.
struct Device<'w>(&'w World, u32);

impl Registers for Device<'_> {
    fn read(&mut self, register: u32) -> u32 {
        self.0.network.borrow().read(self.1, register)
    }

    fn write(&mut self, register: u32, value: u32) {
        let event = self.0.network.borrow_mut().write(self.1, register, value);
        if event == Some(Event::Notified) {
            let turns = (0..100).take_while(|_| self.0.serve(self.1).more).count();
            assert!(turns < 100, "there is always more");
        } else {
            self.0.events.borrow_mut().extend(event);
        }
    }
}

/// What a VM's driver has.
struct Driver<'w> {
    world: &'w World,
    vm: u32,
    agreed: Started,
    receive: Vec<DriverQueue<N>>,
    transmit: Vec<DriverQueue<N>>,
    control: Option<ControlQueue>,
    receiver: Receiver,
    sent: u32,
}

impl<'w> Driver<'w> {
    fn start(world: &'w World, vm: u32, wanted: Wanted) -> Self {
        let ram = world.rams[vm as usize];
        ram.copy_from_slice(0, &[0; RECEIVED as usize]).expect("inside");
        let mut device = Device(world, vm);
        let mut setup = Setup::new(&mut device, wanted).expect("a device");
        let agreed = *setup.agreed();
        let at = |index: u16| RINGS + u64::from(index) * RING_STRIDE;
        let queue = |setup: &mut Setup<'_, _>, index| {
            let memory = ram.sub(at(index), RING_STRIDE).expect("inside");
            let queue = DriverQueue::<N>::new(Gpa(at(index)), memory, SIZE, agreed.features).expect("a queue");
            setup.set_queue(index, &queue).expect("taken");
            queue
        };
        let receive = (0..agreed.pairs).map(|pair| queue(&mut setup, net::receiveq(pair))).collect();
        let transmit = (0..agreed.pairs).map(|pair| queue(&mut setup, net::transmitq(pair))).collect();
        let control = agreed.features.contains(F::CTRL_VQ).then(|| {
            let index = ControlQueue::index(&agreed);
            let memory = ram.sub(at(index), RING_STRIDE).expect("inside");
            let control = ControlQueue::new(Gpa(at(index)), memory, agreed.features).expect("a queue");
            setup.set_queue(index, control.queue()).expect("taken");
            control
        });
        setup.start();
        let receiver = Receiver::new(agreed.features);
        let mut driver = Self { world, vm, agreed, receive, transmit, control, receiver, sent: 0 };
        driver.give(N as u32);
        driver
    }

    fn ram(&self) -> PeerSlice<'static> {
        self.world.rams[self.vm as usize]
    }

    fn device(&self) -> Device<'w> {
        Device(self.world, self.vm)
    }

    /// Gives `count` receive buffers to the first receive queue.
    fn give(&mut self, count: u32) {
        for token in 0..count {
            assert!(self.receive[0].give(Gpa(RECEIVED + u64::from(token * BUFFER)), BUFFER, token));
        }
        self.receive[0].publish();
    }

    /// Transmits `frame` on pair 0, with all 0 in front.
    fn send(&mut self, frame: &[u8]) {
        self.send_on(0, &Hdr::default(), frame);
    }

    fn send_on(&mut self, pair: usize, hdr: &Hdr, frame: &[u8]) {
        self.put(pair, hdr, frame);
        self.publish(pair);
        while self.transmit[pair].ready().expect("no fault") > 0 {
            self.transmit[pair].take().expect("a buffer");
        }
    }

    /// Puts a frame into the queue, and says nothing of it.
    fn put(&mut self, pair: usize, hdr: &Hdr, frame: &[u8]) {
        let at = SENT + u64::from(self.sent % 8) * 0x1_8000;
        self.sent += 1;
        self.ram().copy_from_slice(at, &[hdr.as_bytes(), frame].concat()).expect("inside");
        assert!(self.transmit[pair].send(&[(Gpa(at), HDR_LEN + frame.len() as u32)], 0), "room");
    }

    fn publish(&mut self, pair: usize) {
        self.transmit[pair].publish();
        if self.transmit[pair].needs_notification() {
            self.device().write(sluice_abi::mmio::reg::QUEUE_NOTIFY, net::transmitq(pair as u16).into());
        }
    }

    /// Frames that arrived on pair 0, with their headers.
    fn arrivals(&mut self) -> Vec<(Hdr, Vec<u8>)> {
        let (ram, mut all) = (self.ram(), Vec::new());
        let buffer = |token: u32| ram.sub(RECEIVED + u64::from(token * BUFFER), BUFFER.into()).ok();
        loop {
            let mut parts = [Part::default(); N];
            match self.receiver.take(&mut self.receive[0], buffer, &mut parts).expect("no fault") {
                Arrival::Nothing => break,
                Arrival::Frame(ArrivedFrame { hdr, parts: count, .. }) => {
                    let part = |part: &Part| bytes(buffer(part.token).expect("its own"), part.start.into(), part.len);
                    all.push((hdr, parts[..count].iter().flat_map(part).collect()));
                    for part in &parts[..count] {
                        let at = Gpa(RECEIVED + u64::from(part.token * BUFFER));
                        assert!(self.receive[0].give(at, BUFFER, part.token));
                    }
                }
                Arrival::Dropped(_) => panic!("nothing is to be dropped"),
            }
        }
        self.receive[0].publish();
        all
    }

    fn received(&mut self) -> Vec<Vec<u8>> {
        self.arrivals().into_iter().map(|(_, frame)| frame).collect()
    }
}

/// A frame of 60 bytes.
fn frame(destination: [u8; 6], source: [u8; 6], mark: u8) -> Vec<u8> {
    [&destination[..], &source, &[0x08, 0x06], &[mark; 46]].concat()
}
