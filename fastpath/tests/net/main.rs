//! A whole virtio-net device: slow path, control queue, several receive queues, PCI, restart. The host's devices and
//! switch are behind it.

mod control;
mod hostile;
mod pairs;
mod pci;
mod sleep;
mod slow_path;

use sluice::{
    BufferLen, Burst, F, MAX_BURST, Mempool, Options, PacketMemory, PeerSlice, Receive, ReceiveQueue, RingFormat,
    VirtioNet, VirtioNetError,
};
use sluice_abi::Gpa;
use sluice_abi::directory::Queue;
use sluice_abi::net::{receiveq, transmitq};
use sluice_control::{Event, Manifest, Network, Switch};
use sluice_driver::{Registers, Transport};
use sluice_memory::Words;
use sluice_test_memory::zeroed;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

/// Length of the RAM of each VM in bytes. The second half is packet memory.
const RAM: u64 = 4 << 20;
const HALF: u64 = RAM / 2;
const BROADCAST: [u8; 6] = [0xff; 6];
/// Number of buffers of a pool.
const BUFFERS: usize = 256;
/// Number of entries of queues in these tests.
const ENTRIES: u16 = 32;

/// Returns the address that VM `vm` has at first.
const fn mac(vm: u32) -> [u8; 6] {
    [2, b'S', b'l', b'u', b'i', vm as u8]
}

/// Returns a frame of 60 bytes.
fn frame(destination: [u8; 6], source: [u8; 6], mark: u8) -> Vec<u8> {
    [&destination[..], &source, &[0x08, 0x06], &[mark; 46]].concat()
}

/// All VMs and their host. A clone is the same.
#[derive(Clone)]
struct Lan(Rc<Host>);

struct Host {
    network: RefCell<Network>,
    switch: RefCell<Switch>,
    rams: Vec<PeerSlice<'static>>,
    /// The host serves notifications later.
    asleep: Cell<bool>,
    /// Number of notifications so far.
    notified: Cell<u32>,
}

impl Deref for Lan {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Lan {
    /// Returns VMs a, b, c and so on, each with these keys in the manifest.
    fn new(vms: &[&str]) -> Self {
        let vm = |(name, rest): (char, &&str)| {
            format!("[[vm]]\nname = \"{name}\"\nram_mib = 4\nimage = \"i\"\ngate = \"direct\"\n{rest}\n")
        };
        let text: String = ('a'..).zip(vms).map(vm).collect();
        let manifest = Manifest::parse(&text).expect("a manifest");
        let rams: Vec<_> = vms.iter().map(|_| zeroed(RAM)).collect();
        let switch = Switch::new(&manifest, &rams, zeroed(Switch::ROOM_LEN)).expect("memory");
        Self(Rc::new(Host {
            network: RefCell::new(Network::new(&manifest)),
            switch: RefCell::new(switch),
            rams,
            asleep: Cell::new(false),
            notified: Cell::new(0),
        }))
    }

    /// Returns two VMs that the switch forwards between.
    fn two() -> Self {
        Self::new(&["lan = [\"b\"]\nset_mac = true", "lan = [\"a\"]"])
    }

    /// Serves the notifications of VM `vm`'s driver.
    fn serve(&self, vm: u32) {
        let (mut network, mut switch) = (self.network.borrow_mut(), self.switch.borrow_mut());
        while switch.serve(&mut network, vm, 0, &mut (), &mut ()).more {}
    }

    /// Returns VM `vm`'s queue of this number, which its driver has in use.
    fn queue(&self, vm: u32, index: u16) -> Queue {
        self.network.borrow().device(vm).and_then(|device| device.queue(index)).expect("a queue in use")
    }

    /// Returns the registers of VM `vm`'s device.
    fn device(&self, vm: u32) -> Device {
        Device(self.clone(), vm)
    }

    fn packets(&self, vm: u32) -> PacketMemory {
        let half = self.rams[vm as usize].sub(HALF, HALF).expect("inside");
        PacketMemory::new(Gpa(HALF), half).expect("small")
    }

    /// Starts VM `vm`'s driver on `transport`.
    fn start_on<T: Transport, const PAIRS: usize>(
        &self,
        vm: u32,
        transport: T,
        options: Options,
    ) -> Result<Vm<T, PAIRS>, VirtioNetError> {
        let (queues, buffers) = self.packets(vm).split_at(Options::queue_len(PAIRS as u16)).expect("inside");
        let free = Box::leak(vec![0; BUFFERS].into_boxed_slice());
        let pool: &'static _ =
            Box::leak(Box::new(Mempool::new(buffers, BufferLen::KiB2, free).expect("room for buffers")));
        Ok(Vm { net: VirtioNet::start_pairs(transport, queues, pool, options, [const { None }; PAIRS])?, pool })
    }

    /// Starts VM `vm`'s driver with one queue pair.
    fn start(&self, vm: u32, options: Options) -> Vm<Device> {
        self.start_on(vm, self.device(vm), options).expect("a device")
    }
}

fn options(format: RingFormat) -> Options {
    Options { entries: ENTRIES, tx_entries: ENTRIES, ..format.into() }
}

/// The device registers of one VM, and the host behind them.
struct Device(Lan, u32);

impl Registers for Device {
    fn read(&mut self, register: u32) -> u32 {
        self.0.network.borrow().read(self.1, register)
    }

    fn write(&mut self, register: u32, value: u32) {
        let event = self.0.network.borrow_mut().write(self.1, register, value);
        if event == Some(Event::Notified) {
            self.0.notified.set(self.0.notified.get() + 1);
            if !self.0.asleep.get() {
                self.0.serve(self.1);
            }
        }
    }
}

/// A VM's device and its pool.
struct Vm<T, const PAIRS: usize = 1> {
    net: VirtioNet<'static, T, [Option<ReceiveQueue>; PAIRS]>,
    pool: &'static Mempool<'static>,
}

impl<T: Transport, const PAIRS: usize> Vm<T, PAIRS> {
    /// Returns a burst of these frames.
    fn burst(&self, frames: &[Vec<u8>]) -> Burst<'static> {
        let mut burst = self.pool.burst();
        frames.iter().for_each(|bytes| assert!(burst.push_bytes(bytes).is_ok(), "room"));
        burst
    }

    /// Returns all frames that arrived.
    fn received(&mut self) -> Vec<Vec<u8>> {
        let mut burst = self.pool.burst();
        self.net.rx_burst(&mut burst, MAX_BURST).expect("an honest device side");
        contents(&burst)
    }
}

/// Returns the bytes of all frames.
fn contents(burst: &Burst<'_>) -> Vec<Vec<u8>> {
    let bytes = |frame: sluice::Frame<'_>| {
        let mut bytes = vec![0; frame.len().into()];
        frame.copy_to_slice(0, &mut bytes).expect("inside");
        bytes
    };
    burst.frames().map(bytes).collect()
}
