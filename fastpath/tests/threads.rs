//! Access and memory are moved to a thread, which makes gate, pool and ports of them.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use sluice::{BufferLen, MAX_BURST, Mempool, PacketMemory, PeerIdx, PeerPort, RX_SIZE, Receive, RingFormat, Transmit};
use sluice_abi::Gpa;
use sluice_test_memory::zeroed;
use std::thread;
use world::{World, contents, frame, push};

const FRAMES: usize = 5_000;

const fn len(number: usize) -> u16 {
    60 + (number % 1400) as u16
}

#[test]
fn a_sender_on_a_thread_of_its_own_reaches_a_receiver_on_another() {
    for format in RingFormat::ALL {
        let world = World::new(1500);
        let mut receiver = world.receiver(0, format, 2 * RX_SIZE);
        let packets = zeroed(2 << 20);
        let set = (world.access(packets), PacketMemory::new(Gpa(0), packets).expect("small"));
        let sender = thread::spawn(move || {
            let (access, packets) = set;
            let gate = world::gate(access);
            let mut free = [0; MAX_BURST];
            let pool = Mempool::new(packets, BufferLen::KiB2, &mut free).expect("room");
            let (mut port, mut burst, mut made) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst(), 0);
            while made < FRAMES || !burst.is_empty() {
                while burst.len() < 32 && made < FRAMES {
                    push(&mut burst, made, len(made));
                    made += 1;
                }
                if port.tx_burst(&mut burst, MAX_BURST).expect("an honest receiver") == 0 {
                    thread::yield_now();
                }
            }
        });
        let (mut burst, mut arrived) = (receiver.pool.burst(), 0);
        while arrived < FRAMES {
            if receiver.net.rx_burst(&mut burst, 64).expect("an honest sender") == 0 {
                thread::yield_now();
            }
            for bytes in contents(&burst) {
                assert!(bytes == frame(arrived, len(arrived)), "frame {arrived}");
                arrived += 1;
            }
            burst.clear();
        }
        sender.join().expect("the sender ends well");
    }
}
