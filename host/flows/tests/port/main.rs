//! An in-VM switch with its full switch, and real rings of two receivers: what becomes of each frame.

mod changes;
mod faults;
mod order;
#[path = "../../../../fastpath/tests/world/mod.rs"]
#[allow(dead_code, reason = "the tests of ports use more of it")]
mod world;

use sluice::{Burst, Mempool, Receive, RingFormat, RxError, RxStats, Transmit, TxError, TxStats};
use sluice_abi::directory::NAME_LEN;
use sluice_abi::flows::{SLOW_HEADER, SlowHeader, SlowKind};
use sluice_abi::net::Hdr;
use sluice_control::{Answer, Manifest, Missed, SlowPath};
use sluice_flows::{FlowSetup, FlowSwitches};
use sluice_memory::PeerSlice;
use sluice_switch::{FlowMemory, Switch};
use sluice_test_memory::zeroed;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use world::{Receiver, World, contents};
use zerocopy::{FromBytes, IntoBytes};

/// The queue pairs of b and c, by which their frames come in, and of the slow path.
const B: u32 = 1;
const C: u32 = 2;
const SLOW: u32 = 3;
/// Times of the manifest.
const LEASE: u64 = 1_000;
const REVOKE: u64 = 100;
const IDLE: u64 = 10_000;

thread_local! {
    /// The time of switch and host.
    static NOW: Cell<u64> = const { Cell::new(1) };
    /// What somebody else does when the switch looks at the time: in a burst, behind the frames that waited.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

fn now() -> u64 {
    if let Some(act) = MEANWHILE.take() {
        act();
    }
    NOW.get()
}

fn wait(time: u64) {
    NOW.set(now() + time);
}

/// The device of the VM with the in-VM switch, and the host behind its slow path.
#[derive(Default)]
struct Device {
    /// Frames that arrived: the mark of each, and its bytes.
    arrived: VecDeque<(u32, Vec<u8>)>,
    /// Frames that the switch sent to the host, with their headers.
    sent: VecDeque<Vec<u8>>,
    /// Largest number of frames in `sent`.
    room: usize,
    host: FlowSwitches,
    /// What the host does when the next frame is sent to it, in the middle of a burst.
    meanwhile: Option<fn(&mut FlowSwitches)>,
}

#[derive(Clone, Default)]
struct Net(Rc<RefCell<Device>>);

impl Receive for Net {
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        let (mut device, before) = (self.0.borrow_mut(), into.len());
        while into.len() - before < most
            && into.room() > 0
            && let Some((mark, bytes)) = device.arrived.front()
            && let Ok(mut frame) = into.push_bytes(bytes)
        {
            frame.set_mark(*mark);
            device.arrived.pop_front();
        }
        Ok(into.len() - before)
    }

    fn rx_stats(&self) -> RxStats {
        RxStats::NONE
    }
}

impl Transmit for Net {
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        let mut device = self.0.borrow_mut();
        let taken = most.min(burst.len()).min(device.room - device.sent.len());
        device.sent.extend(contents(burst).into_iter().take(taken));
        if let Some(act) = device.meanwhile.take() {
            act(&mut device.host);
        }
        burst.drop_front(taken);
        Ok(taken)
    }

    fn tx_stats(&self) -> TxStats {
        TxStats::NONE
    }
}

impl Net {
    fn arrive(&self, pair: u32, frame: Vec<u8>) {
        self.0.borrow_mut().arrived.push_back((pair, frame));
    }

    /// Has the host decide about the first `count` frames on the slow path, and returns how many there were.
    fn serve(&self, count: usize) -> usize {
        let Device { sent, arrived, host, .. } = &mut *self.0.borrow_mut();
        let frames: Vec<_> = sent.drain(..count.min(sent.len())).collect();
        for mut bytes in frames.iter().cloned() {
            let (header, _) = SlowHeader::read_from_prefix(&bytes).expect("a header");
            assert_eq!(header.kind, SlowKind::Missed as u32);
            let frame = zeroed(bytes.len() as u64 - u64::from(SLOW_HEADER));
            frame.copy_from_slice(0, &bytes[usize::from(SLOW_HEADER)..]).expect("room");
            let missed = Missed { vm: 0, port: header.port as u16, number: header.number, hdr: Hdr::default(), frame };
            let (kind, number) = match host.missed(&missed, now()) {
                Answer::Output(ports) => (SlowKind::Output, ports),
                Answer::Again => (SlowKind::Again, 0),
                Answer::Nothing => continue,
            };
            let answer = SlowHeader { kind: kind as u32, port: header.port, number };
            bytes[..usize::from(SLOW_HEADER)].copy_from_slice(answer.as_bytes());
            arrived.push_back((SLOW, bytes));
        }
        if let Some(number) = host.decided(0) {
            let done = SlowHeader { kind: SlowKind::Done as u32, port: 0, number };
            arrived.push_back((SLOW, done.as_bytes().to_vec()));
        }
        frames.len()
    }

    fn host<R>(&self, act: impl FnOnce(&mut FlowSwitches) -> R) -> R {
        act(&mut self.0.borrow_mut().host)
    }
}

/// An in-VM switch between b and c.
struct Bench {
    net: Net,
    switch: Switch<'static, 'static, Net>,
    pool: &'static Mempool<'static>,
    receivers: [Receiver; 2],
    world: World,
    records: PeerSlice<'static>,
}

/// Returns a manifest of a switch a with peers b and c, which send to it, and these keys for its flows.
fn manifest(keys: &str) -> Manifest {
    let vm = |name: &str, rest: &str| {
        assert!(name.len() <= NAME_LEN);
        format!("[[vm]]\nname = \"{name}\"\nram_mib = 4\nimage = \"i\"\ngate = \"direct\"\n{rest}\n")
    };
    let times = format!("lease_ticks = {LEASE}\nrevoke_ticks = {REVOKE}\nidle_ticks = {IDLE}");
    let a = format!("peers = [\"b\", \"c\"]\n[vm.flows]\nentries = 64\nlists = 16\n{times}\n{keys}");
    let text = [vm("a", &a), vm("b", "peers = [\"a\"]"), vm("c", "peers = [\"a\"]")].concat();
    Manifest::parse(&format!("ageing_ticks = 100000\n{text}")).expect("a manifest")
}

impl Bench {
    /// Returns a switch with the built-in learning switch behind it, or with these flows.
    fn new(flows: Option<&str>) -> Self {
        let manifest = manifest(if flows.is_some() { "switch = \"flows.toml\"" } else { "" });
        let (world, net) = (World::new(1500), Net::default());
        let lens = FlowSetup::lens(manifest.vms[0].flows.as_ref().expect("flows")).expect("room");
        let (table, records) = (zeroed(lens.0), zeroed(lens.1));
        let mut host = FlowSwitches::new(3);
        host.add(&manifest, 0, FlowSetup { memory: (table, records), seed: [1, 2], file: flows, has_outside: false })
            .expect("a switch");
        host.start(0, now());
        *net.0.borrow_mut() = Device { room: 1000, host, ..Device::default() };
        let receivers = [0, 1].map(|place| world.receiver(place, RingFormat::default(), 512));
        let (gate, pool) = world.sender(1024);
        let gate: &'static _ = Box::leak(Box::new(gate));
        let memory = FlowMemory::open(table, records).expect("flow memory");
        assert_eq!((memory.pairs(), memory.slow_pair()), (4, 3));
        let switch = Switch::new(net.clone(), (gate, pool), memory, None, now).expect("a switch");
        Self { net, switch, pool, receivers, world, records }
    }

    /// Has the switch forward all that arrived, once.
    fn turn(&mut self) {
        let mut burst = self.pool.burst();
        self.switch.rx_burst(&mut burst, 256).expect("frames");
        let count = burst.len();
        assert_eq!(self.switch.tx_burst(&mut burst, 256), Ok(count));
        assert!(burst.is_empty());
    }

    /// Lets switch and host go on until nothing is under way, and returns what b and c received.
    fn settle(&mut self) -> [Vec<Vec<u8>>; 2] {
        loop {
            self.turn();
            let served = self.net.serve(usize::MAX);
            if served == 0 && self.net.0.borrow().arrived.is_empty() {
                break;
            }
        }
        self.receivers.each_mut().map(Receiver::take)
    }

    fn stat(&self, name: &str) -> u64 {
        self.switch.stats().xstats().find(|(known, _)| *known == name).expect("a counter").1
    }
}

/// Returns frame `number` of a flow of UDP over IPv4 between two stations, with `port` as source port.
fn frame(destination: u8, source: u8, port: u16, number: u16) -> Vec<u8> {
    let mut bytes = vec![0; 60];
    bytes[..14].copy_from_slice(&[2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source, 8, 0]);
    bytes[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
    bytes[26..34].copy_from_slice(&[10, 0, 0, source, 10, 0, 0, destination]);
    bytes[34..36].copy_from_slice(&port.to_be_bytes());
    bytes[36..40].copy_from_slice(&[0, 53, 0, 26]);
    bytes[58..60].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn number_of(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[58], frame[59]])
}
