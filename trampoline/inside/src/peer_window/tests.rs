//! Queues that several windows fill by turns.

use super::*;
use crate::driver::Driver;
use crate::peer::{BUFFER_LEN, Memory, WindowSender, read, with_header};
use crate::{Slot, Window, transmit};
use sluice_abi::call::{Code, Outcome, Packet, Status};
use sluice_abi::queue_lock::{FREE, MAX_OWNER, word};
use sluice_memory::Words;

fn page() -> LockPage<'static> {
    LockPage::new(PeerSlice::from_mut(vec![0_u64; 512].leak())).expect("a page")
}

/// Has `sender` share the queue of its peer 0, as owner `owner` of the lock in `page`.
fn share(sender: &mut WindowSender, page: LockPage<'static>, owner: u16) {
    let extent = sender.window.packets.extent();
    let peer = sender.window.peers[0].as_mut().expect("attached");
    let entry = Queue { owner, ..peer.entry };
    (peer.shared, peer.target) = (Shared::new(&entry, page).ok(), None);
    assert!(peer.shared.is_some());
    peer.retarget(extent);
}

/// A sender, which is too long for the stack of a test that has two.
fn sender() -> Box<WindowSender> {
    Box::new(WindowSender::new(2, 8))
}

/// Two senders to the first one's peer, and their lock.
fn two() -> (Box<WindowSender>, Box<WindowSender>, LockPage<'static>) {
    let (mut a, mut b, page) = (sender(), sender(), page());
    a.peers[0].attach(&mut b.window, PeerIdx(0)).expect("attached");
    share(&mut a, page, 1);
    share(&mut b, page, MAX_OWNER);
    (a, b, page)
}

fn packet(place: u32, peer: u8) -> Packet {
    Packet::new(place * 100, 64, PeerIdx(peer))
}

#[test]
fn producers_fill_a_shared_queue_by_turns_and_each_goes_on_behind_the_other() {
    let (mut a, mut b, page) = two();
    let packets = a.packets();
    let frame = |place: u32| with_header(&read(packets, u64::from(place) * 100, 64));
    a.peers[0].give(8);
    for turn in 0..40 {
        let (first, second) = (turn % 5, 7 + turn % 3);
        assert_eq!(a.transmit(&[packet(first, 0), packet(first + 1, 0)]).accepted, [0, 1]);
        assert_eq!(page.lock.holder(), FREE);
        assert_eq!(b.transmit(&[packet(second, 0)]).accepted, [0]);
        let arrived: Vec<_> = std::iter::from_fn(|| a.peers[0].take()).map(|(_, bytes)| bytes).collect();
        assert_eq!(arrived, [frame(first), frame(first + 1), frame(second)], "turn {turn}");
        a.peers[0].give(3);
    }
    assert_eq!([1, MAX_OWNER].map(|owner| page.published(owner)), [80, 40]);
}

/// Frames stay with whoever does not get the lock, and others' peers get theirs.
#[test]
fn a_queue_whose_lock_is_taken_is_as_good_as_full() {
    let (mut a, _b, page) = two();
    a.peers.iter_mut().for_each(|peer| peer.give(4));
    assert!(page.lock.take(word(9, 1)));
    let burst = a.transmit(&[packet(0, 0), packet(1, 1), packet(2, 0)]);
    assert_eq!((burst.status, burst.accepted), (Status::FULL, vec![1]));
    assert_eq!((a.peers[0].used_idx(), a.peers[1].used_idx(), page.lock.holder()), (0, 1, word(9, 1)));
    page.lock.release();
    assert_eq!(a.transmit(&[packet(0, 0), packet(1, 1), packet(2, 0)]).accepted, [0, 1, 2]);
    assert_eq!((a.peers[0].used_idx(), a.peers[1].used_idx(), page.lock.holder()), (2, 2, FREE));
}

#[test]
fn a_call_that_finds_a_fault_leaves_the_lock() {
    let (mut a, mut b, page) = two();
    a.peers[0].set_avail_idx(100);
    assert_eq!(a.transmit(&[packet(0, 0)]).status.code(), Code::PeerFault);
    assert_eq!(page.lock.holder(), FREE);
    assert_eq!(a.transmit(&[packet(0, 0)]).status.code(), Code::PeerNotReady, "as with a queue of its own");
    a.peers[0].set_avail_idx(0);
    assert_eq!(b.transmit(&[packet(0, 0)]).status, Status::FULL, "and full it is");
    a.peers[0].give(1);
    let too_long = b.transmit(&[Packet::new(0, BUFFER_LEN as u16, PeerIdx(0)), packet(0, 0)]);
    assert_eq!((too_long.status.code(), too_long.accepted, page.lock.holder()), (Code::TooLong, vec![1], FREE));
}

/// A window on the packed ring of `driver`, as owner `owner` of the lock in `page`, with its packets and its request.
fn on_a_packed_ring(driver: &Driver, page: LockPage<'static>, owner: u16) -> (Box<Window>, [Memory; 2]) {
    let (mut window, packets, request) = (Box::new(Window::new()), Memory::new(&[0x4000]), Memory::new(&[4096]));
    assert_eq!(window.attach_peer(PeerIdx(0), &driver.entry(1500), Slot::of(driver.ram())), Ok(()));
    window.set_packets(packets.run(0));
    packets.run(0).copy_from_slice(0, &[owner as u8; 0x4000]).expect("inside");
    let peer = window.peers[0].as_mut().expect("attached");
    (peer.shared, peer.target) = (Shared::new(&Queue { owner, ..peer.entry }, page).ok(), None);
    window.set_packets(packets.run(0));
    (window, [packets, request])
}

fn send_lines(window: &mut Window, request: &Memory, count: u64) -> Outcome {
    (0..count).for_each(|at| request.run(0).write(8 * at, Packet::new(0, 64, PeerIdx(0))).expect("inside"));
    transmit(window, request.run(0), count, Words)
}

#[test]
fn producers_fill_a_packed_queue_by_turns_and_a_page_of_nonsense_is_a_fault() {
    let (mut driver, page) = (Driver::new(8, net::F::RING_PACKED), page());
    driver.device().0.leave(&page);
    let [(mut a, a_memory), (mut b, b_memory)] = [1, 2].map(|owner| on_a_packed_ring(&driver, page, owner));
    let mut turn = |window: &mut Window, [_, request]: &[Memory; 2], owner: u8, count| {
        for _ in 0..count {
            let piece = driver.piece(100, true);
            driver.give(&[piece], false);
        }
        assert_eq!(send_lines(window, request, count).status, Status::OK);
        for _ in 0..count {
            assert_eq!(driver.take().map(|(_, bytes)| bytes), Some(with_header(&[owner; 64])));
        }
        assert_eq!((driver.take(), page.lock.holder(), page.progress().burst), (None, FREE, 0));
    };
    for round in 0..if cfg!(miri) { 4 } else { 30 } {
        turn(&mut a, &a_memory, 1, 1 + round % 5);
        turn(&mut b, &b_memory, 2, 1 + round % 3);
    }
    page.set_progress(queue_lock::Progress { position: 8, ..page.progress() });
    assert_eq!(send_lines(&mut a, &a_memory[1], 1).status.code(), Code::PeerFault);
    assert_eq!((page.lock.holder(), a.is_quarantined(PeerIdx(0))), (FREE, true));
}

/// A call that is ended for good while it publishes leaves the queue behind its burst.
#[test]
fn a_burst_in_a_packed_queue_that_was_interrupted_is_published_once_and_the_queue_left() {
    let (mut driver, page) = (Driver::new(8, net::F::RING_PACKED), page());
    driver.device().0.leave(&page);
    let [(mut a, a_memory), (mut b, b_memory)] = [1, 2].map(|owner| on_a_packed_ring(&driver, page, owner));
    for (is_begun, sender) in [(false, 2), (true, 1)] {
        for _ in 0..3 {
            let piece = driver.piece(100, true);
            driver.give(&[piece], false);
        }
        (0..3).for_each(|at| a_memory[1].run(0).write(8 * at, Packet::new(0, 64, PeerIdx(0))).expect("inside"));
        let packets = a_memory[1].run(0).table(0, 3).expect("aligned");
        a.begin(3, 0);
        let peer = a.peer(0).expect("attached");
        assert!(peer.enter(1) == Entry::Entered && peer.enqueue_more(packets, PeerIdx(0), Words) == 3);
        if is_begun {
            a.phase.set(crate::phase::Phase::WHOLE);
        }
        a.recover();
        assert_eq!((page.lock.holder(), page.progress().burst), (FREE, 0));
        if !is_begun {
            assert_eq!(send_lines(&mut b, &b_memory[1], 3).status, Status::OK);
        }
        for _ in 0..3 {
            assert_eq!(driver.take().map(|(_, bytes)| bytes), Some(with_header(&[sender; 64])), "{is_begun}");
        }
    }
    let piece = driver.piece(100, true);
    driver.give(&[piece], false);
    assert_eq!(send_lines(&mut b, &b_memory[1], 1).status, Status::OK);
    assert_eq!(driver.take().map(|(_, bytes)| bytes), Some(with_header(&[2; 64])), "behind it");
}

#[test]
fn a_queue_that_can_not_be_shared_is_refused() {
    let (page, queue) =
        (page(), |owner, features: net::F| Queue { owner, features: features.bits(), ..Queue::default() });
    let split = net::F::VERSION_1;
    for (owner, features, fits) in [
        (1, split, true),
        (MAX_OWNER, split, true),
        (MAX_OWNER + 1, split, false),
        (queue_lock::HOST, split, false),
        (1, split | net::F::RING_PACKED, true),
        (MAX_OWNER + 1, split | net::F::RING_PACKED, false),
    ] {
        assert_eq!(Shared::new(&queue(owner, features), page).is_ok(), fits, "{owner} {features:?}");
    }
    // Nor can one whose lock is not mapped.
    let mut sender = WindowSender::new(1, 8);
    sender.peers[0].entry.queues[0].owner = 1;
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Err(Clause::Layout));
}
