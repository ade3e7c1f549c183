//! Lists that change while they are read.

use super::*;
use crate::action::Nsh;
use core::cell::Cell;
use sluice::{BufferLen, Mempool, PacketMemory};
use sluice_abi::Gpa;
use sluice_test_memory::zeroed;

/// Returns what comes of the list if it changes as the word with the number `torn` is read, whether that word was read,
/// and whether the frame, of UDP over IPv4, is as it was.
fn act(list: &ActionList, torn: usize) -> (Option<Verdict>, bool, bool) {
    let mut bytes = [0; 60];
    bytes[12..24].copy_from_slice(&[0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
    bytes[38..40].copy_from_slice(&[0, 26]);
    let memory = PacketMemory::new(Gpa(0), zeroed(4 << 10)).expect("small");
    let mut free = [0; 2];
    let pool = Mempool::new(memory, BufferLen::KiB2, &mut free).expect("room");
    let mut burst = pool.burst();
    let (mut head, mut frame) = (Head::EMPTY, burst.push_bytes(&bytes).expect("room"));
    head.load(&frame);
    let parsed = Parsed::of(0, head.bytes(), frame.len());
    let is_whole = Cell::new(true);
    let word = |at| {
        is_whole.set(is_whole.get() && at != torn);
        list.word(at)
    };
    let verdict = apply(word, || is_whole.get(), &mut frame, &mut head, &parsed);
    let is_same = frame.head::<60>(0) == Some(bytes) && frame.len() == 60;
    (verdict, !is_whole.get(), is_same)
}

#[test]
fn a_list_that_changes_while_it_is_read_does_nothing() {
    const PUSH: Action = Action::PushNsh(Nsh { path: 0x101, ttl: 9, context: [7; 16] });
    const ROUTER: [Action; 3] = [Action::SetDestination([2; 6]), Action::SetSource([4; 6]), Action::DecrementTtl];
    let nat = [Action::SetIpv4Source([9; 4]), Action::SetSourcePort(9)];
    let lists: [&[Action]; 7] = [
        &[],
        &ROUTER,
        &[Action::PopTag],
        &[Action::DecrementTtl, ROUTER[0], ROUTER[1]],
        &[ROUTER[0], ROUTER[1], nat[0], nat[1], Action::SetTos { value: 4, mask: 0xfc }],
        &[ROUTER[1], PUSH, ROUTER[0], Action::PopNsh, Action::PushTag { service: true, control: 5 }],
        &[Action::PopNsh],
    ];
    for (actions, output) in lists.into_iter().flat_map(|list| [(list, true), (list, false)]) {
        let output: &[_] = if output { &[Action::Output(3)] } else { &[] };
        let list = ActionList::new(&[actions, output].concat(), 4).expect("a list");
        let (verdict, _, is_same) = act(&list, usize::MAX);
        let is_sent = verdict == Some(Verdict::Output(3));
        assert!(verdict.is_some() && is_same == (!is_sent || actions.is_empty()), "{actions:?}: {verdict:?}");
        let read = (0..16).map(|torn| act(&list, torn)).take_while(|&(_, was_read, _)| was_read);
        assert!(read.map(|done| assert_eq!(done, (None, true, true), "{actions:?}")).count() > actions.len() / 2);
    }
}
