//! Any frame at a hop of a service chain, and any chain file.

use arbitrary::Arbitrary;
use sluice::{BufferLen, FrameMut, Mempool, PacketMemory, PeerSlice};
use sluice_abi::Gpa;
use sluice_chain::{ChainFile, Direction, Nsh, Packet, Router, Spi};
use sluice_test_memory::guarded;
use std::cell::OnceCell;

/// Length of the longest frame in bytes.
const LONGEST: usize = 1500;
const CHAINS: &str = r#"
[[chain]]
name = "a"
path = 1
ends = ["in", "out"]
hops = [{ vm = "hop", policy = "open" }, { vm = "next", policy = "open" }]
[[chain]]
name = "b"
path = 2
version = 7
oam = true
ends = ["in", "hop"]
hops = [{ vm = "next", policy = "closed" }]
"#;

/// A frame, how its header begins if that is not left to its bytes, and which VMs are there.
#[derive(Arbitrary, Debug)]
pub struct Frame {
    header: Option<Header>,
    ready: u8,
    address: [u8; 4],
    port: u16,
    bytes: Vec<u8>,
}

/// The first bytes of a header that may be right.
#[derive(Arbitrary, Debug)]
struct Header {
    flags: u8,
    ttl: u8,
    words: u8,
    md_type: u8,
    next: u8,
    chain: bool,
    back: bool,
    index: u8,
}

impl Header {
    /// Returns the EtherType and the first eight bytes. See: RFC 8300, 2.
    fn bytes(&self) -> [u8; 10] {
        let first = u16::from(self.flags & 3) << 12 | u16::from(self.ttl & 63) << 6 | u16::from(self.words & 63);
        let [high, low] = first.to_be_bytes();
        let (path, version) = if self.chain { (1, 0) } else { (2, 7) };
        [0x89, 0x4f, high, low, self.md_type, self.next, u8::from(self.back) << 7, path, version, self.index]
    }
}

thread_local! {
    static PACKETS: OnceCell<PeerSlice<'static>> = const { OnceCell::new() };
}

/// Lets a classifier and a hop take the frame, a proxy its header, and a function its packet.
pub fn frame(input: &Frame) {
    let mut bytes = input.bytes[..input.bytes.len().min(LONGEST)].to_vec();
    if let (Some(header), Some(place)) = (&input.header, bytes.get_mut(12..22)) {
        place.copy_from_slice(&header.bytes());
    }
    if bytes.is_empty() {
        return;
    }
    let chains = ChainFile::parse(CHAINS).expect("a file");
    let router = |vm| {
        let mut router = Router::new(&chains, vm).expect("a VM of the file");
        router.set_ready(input.ready.into());
        router
    };
    on_frame(&bytes, |frame| enter(&mut router("in"), frame));
    on_frame(&bytes, |frame| forward(&mut router("hop"), frame));
    on_frame(&bytes, |frame| {
        let Ok(nsh) = Nsh::read(frame) else { return };
        if let Ok(mut packet) = Packet::new(frame, nsh) {
            let _ = packet.set_source(input.address.into(), input.port);
            let _ = packet.set_destination(input.address.into(), input.port);
        }
    });
    on_frame(&bytes, |frame| {
        let before = content(frame);
        let Ok(outer) = Nsh::read(frame).and_then(|nsh| nsh.pop(frame)) else { return };
        outer.push(frame).expect("there is the room that was taken away");
        assert_eq!(content(frame), before);
    });
}

/// Puts a header in front of a frame that enters a chain, and changes nothing else.
fn enter(router: &mut Router, frame: &mut FrameMut<'_>) {
    let (before, path) = (content(frame), Spi::new(1, 0, Direction::Forward));
    if router.enter(path, frame).is_some() {
        let nsh = Nsh::read(frame).expect("a header");
        assert_eq!(nsh.path(), path);
        nsh.pop(frame).expect("an Ethernet frame in it");
    }
    assert_eq!(content(frame), before);
}

/// Forwards a frame, which changes its TTL and its index alone; and the same again, by the way of frames that are
/// alike.
fn forward(router: &mut Router, frame: &mut FrameMut<'_>) {
    let before = content(frame);
    let slot = router.forward(frame);
    let after = content(frame);
    assert!(slot.is_some() || after == before);
    let changed = |at: usize| slot.is_some() && matches!(at, 14 | 15 | 21);
    assert!((0..before.len()).all(|at| changed(at) || before[at] == after[at]));
    frame.set(0, &before).expect("as long as before");
    assert_eq!((router.forward(frame), content(frame)), (slot, after));
}

fn content(frame: &FrameMut<'_>) -> Vec<u8> {
    let mut bytes = vec![0; frame.len().into()];
    frame.copy_to_slice(0, &mut bytes).expect("all of it");
    bytes
}

/// Does `work` on a frame of its own, in memory between guards.
fn on_frame(bytes: &[u8], work: impl FnOnce(&mut FrameMut<'_>)) {
    let memory = PACKETS.with(|memory| *memory.get_or_init(|| guarded(&[4096]).run(0)));
    let memory = PacketMemory::new(Gpa(0), memory).expect("small");
    let mut free = [0; 1];
    let pool = Mempool::new(memory, BufferLen::KiB2, &mut free).expect("room");
    let mut burst = pool.burst();
    work(&mut burst.push_bytes(bytes).expect("room"));
}

/// Reads a chain file. An error names a line that the file has; of a good file each VM gets a router.
pub fn file(text: &str) {
    match ChainFile::parse(text) {
        Err(error) => assert!((1..=text.split('\n').count()).contains(&error.line), "{error}"),
        Ok(file) => {
            let ways = file.chains.iter().flat_map(|chain| Direction::ALL.map(|direction| (chain, direction)));
            for (vm, _) in ways.flat_map(|(chain, direction)| chain.stations(direction)) {
                let mut router = Router::new(&file, vm).expect("a VM of the file");
                assert_eq!(router.add(&file), Ok(()), "nothing changed");
            }
        }
    }
}
