//! Tokens without Open vSwitch.

use super::*;

const LINKS: [Link; 2] = [(0, 1), (5, 1)];

fn fence() -> Fence {
    Fence::new().expect("random bytes")
}

fn back(fence: &mut Fence) -> Vec<Token> {
    fence.back().collect()
}

#[test]
fn a_token_is_back_when_it_came_by_all_ports() {
    let mut fence = fence();
    let (first, frame) = fence.issue(LINKS[0], LINKS.to_vec()).expect("room");
    let (second, _) = fence.issue(LINKS[0], LINKS.to_vec()).expect("room");
    assert!(first < second && fence.take(0, &frame) && back(&mut fence).is_empty());
    // Twice by the same port is not by both.
    assert!(fence.take(0, &frame) && back(&mut fence).is_empty());
    assert!(fence.take(5, &frame));
    assert_eq!(back(&mut fence), [first]);
    assert!(fence.take(5, &frame) && back(&mut fence).is_empty());
}

#[test]
fn a_frame_with_other_addresses_or_another_type_is_no_token() {
    let mut fence = fence();
    let (token, frame) = fence.issue(LINKS[0], vec![LINKS[0]]).expect("room");
    for at in 0..NUMBER {
        let mut other = frame;
        other[at] ^= 1;
        assert!(!fence.take(0, &other), "byte {at}");
    }
    assert!(!fence.take(0, &frame[..NUMBER - 1]));
    // One that is cut off is none of ours to give to a VM, and comes back in no other way.
    assert!(fence.take(0, &frame[..NUMBER + 7]) && back(&mut fence).is_empty());
    assert!(fence.take(0, &frame));
    assert_eq!(back(&mut fence), [token]);
}

#[test]
fn nothing_is_awaited_by_a_connection_that_is_gone() {
    let mut fence = fence();
    let (token, frame) = fence.issue(LINKS[0], LINKS.to_vec()).expect("room");
    assert!(fence.take(0, &frame));
    fence.now_up(&LINKS);
    assert!(back(&mut fence).is_empty());
    fence.now_up(&[(0, 1), (5, 2)]);
    assert_eq!(back(&mut fence), [token]);
    // One whose own connection is gone is lost.
    fence.issue(LINKS[0], vec![LINKS[1]]).expect("room");
    fence.now_up(&[(0, 2), (5, 1)]);
    assert!(back(&mut fence).is_empty() && fence.waiting.is_empty());
}

#[test]
fn tokens_that_never_come_back_do_not_pile_up() {
    let mut fence = fence();
    for _ in 0..MOST {
        fence.issue(LINKS[0], LINKS.to_vec()).expect("room");
    }
    assert!(matches!(fence.issue(LINKS[0], LINKS.to_vec()), Err(Error::Tokens(MOST))));
    fence.withdraw(Token(1));
    assert!(fence.issue(LINKS[0], LINKS.to_vec()).is_ok());
}

#[test]
fn two_fences_have_other_secrets() {
    let (one, other) = (fence(), fence());
    assert_ne!(one.addresses, other.addresses);
    assert!(one.addresses.iter().all(|address| address[0] & 3 == 2));
    assert_ne!(one.rules(["p0"].into_iter()), other.rules(["p0"].into_iter()));
}
