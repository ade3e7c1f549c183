//! Actions on frames: what changes, what stays, and that every checksum is the one that is computed anew.

mod frames;

use frames::{Extension, Network, NshSpec, Spec, Transport, any_spec, every_kind, ones_sum};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice::{BufferLen, FrameMut, Hdr, HdrF, Mempool, PacketMemory};
use sluice_abi::Gpa;
use sluice_memory::CacheLine;
use sluice_switch::{Action, ActionError, ActionList, Cause, Head, Hit, Key, Layers, Mask, Nsh, Parsed, Reader, Seed};
use sluice_switch::{Shape, Verdict, Writer};
use sluice_test_memory::zeroed;

/// Does the actions on a frame that has this header of virtio-net, as a list and as the list of an entry in a table.
/// Returns what came of it, which is the same. A frame that is dropped is as it was.
fn act_with(frame: &[u8], hdr: Option<Hdr>, actions: &[Action]) -> (Verdict, Vec<u8>) {
    let list = ActionList::new(actions, 16).expect("a list");
    assert_eq!(ActionList::check(*list.words(), 16), Ok(list));
    assert_eq!(list.actions().collect::<Vec<_>>(), actions);
    let (verdict, bytes) = with_frame(frame, hdr, |frame, head, parsed| list.apply(frame, head, parsed));
    let of_entry = |frame: &mut FrameMut<'_>, head: &mut Head, parsed: &Parsed| {
        with_entry(&list, parsed, |reader, hit, _| reader.apply(hit, frame, head, parsed))
    };
    assert_eq!(with_frame(frame, hdr, of_entry), (Some(verdict), bytes.clone()), "{actions:?}");
    assert!(matches!(verdict, Verdict::Output(_)) || bytes == frame, "{actions:?}: {verdict:?}");
    (verdict, bytes)
}

/// Returns what `act` makes of a frame, and the frame afterwards.
fn with_frame<T>(
    frame: &[u8],
    hdr: Option<Hdr>,
    act: impl FnOnce(&mut FrameMut<'_>, &mut Head, &Parsed) -> T,
) -> (T, Vec<u8>) {
    let memory = PacketMemory::new(Gpa(0), zeroed(8 << 10)).expect("small");
    let mut free = [0; 2];
    let pool = Mempool::new(memory, BufferLen::KiB4, &mut free).expect("room");
    let mut burst = pool.burst();
    let (mut head, mut frame) = (Head::EMPTY, burst.push_bytes(frame).expect("room"));
    if let Some(hdr) = hdr {
        frame.set_offloads(hdr).expect("they fit");
    }
    head.load(&frame);
    let parsed = Parsed::of(0, head.bytes(), frame.len());
    let done = act(&mut frame, &mut head, &parsed);
    let mut bytes = vec![0; frame.len().into()];
    frame.copy_to_slice(0, &mut bytes).expect("all of it");
    (done, bytes)
}

/// Calls `act` with a table's reader, the entry with this list that the key matched, and what takes the entry away.
fn with_entry<T>(list: &ActionList, parsed: &Parsed, act: impl FnOnce(&Reader<'_>, &Hit, &mut dyn FnMut()) -> T) -> T {
    let (shape, seed) = (Shape { entries: 4, lists: 1 }, Seed::new([1, 2]));
    let memory: Vec<_> = (0..shape.lines()).map(|_| CacheLine::default()).collect();
    let mut writer = Writer::new(&memory, shape, seed).expect("a table");
    let mut reader = Reader::new(&memory, shape, seed, None).expect("a table");
    let id = writer.insert(&parsed.key, &Mask::closed(Key::default()), list).expect("room");
    let (epoch, mut hits) = (writer.publish(), [None; 1]);
    reader.look_up(epoch, &[*parsed], &mut hits);
    act(&reader, &hits[0].expect("a hit"), &mut || assert!(writer.revoke(id)))
}

/// Returns the frame after the actions, which send it.
fn sent(frame: &[u8], actions: &[Action]) -> Vec<u8> {
    let (verdict, bytes) = act_with(frame, None, &[actions, &[Action::Output(3)]].concat());
    assert_eq!(verdict, Verdict::Output(3), "{actions:?}");
    bytes
}

fn dropped(spec: &Spec, actions: &[Action]) -> Cause {
    match act_with(&spec.bytes(), None, &[actions, &[Action::Output(3)]].concat()) {
        (Verdict::Drop(cause), _) => cause,
        (verdict, _) => panic!("{verdict:?}"),
    }
}

/// Asserts that the checksums of a packet at `at` are those of its bytes.
fn has_right_checksums(frame: &[u8]) {
    let parsed = Parsed::of(0, frame, frame.len() as u16);
    let (key, packet) = (parsed.key, &frame[usize::from(parsed.network)..]);
    let be = |at: usize| usize::from(packet[at]) << 8 | usize::from(packet[at + 1]);
    let (addresses, end) = if key.layers.contains(Layers::IPV4) {
        assert_eq!(ones_sum(&[&packet[..4 * usize::from(packet[0] & 15)]]), 0xffff, "IPv4's");
        (&packet[12..20], be(2))
    } else if key.layers.contains(Layers::IPV6) {
        (&packet[8..40], 40 + be(4))
    } else {
        return;
    };
    let fragment = key.layers.contains(Layers::FRAGMENT) || parsed.routed;
    let summed = [6, 17].contains(&key.protocol) || key.protocol == 58 && addresses.len() == 32;
    if key.layers.contains(Layers::TRANSPORT) && summed && !fragment {
        let segment = &packet[usize::from(parsed.transport - parsed.network)..end];
        let rest = [(segment.len() as u32).to_be_bytes(), u32::from(key.protocol).to_be_bytes()].concat();
        assert_eq!(ones_sum(&[addresses, &rest, segment]), 0xffff, "that of protocol {}", key.protocol);
    }
}

fn tcp() -> Transport {
    Transport::Tcp { source: 0x1234, destination: 80, flags: 0x12, options: 0 }
}

fn key(frame: &[u8]) -> sluice_switch::Key {
    Parsed::of(0, frame, frame.len() as u16).key
}

#[test]
fn each_action_sets_its_field() {
    let (v4, v6) = (Spec::new(Network::ipv4(), tcp()).bytes(), Spec::new(Network::ipv6(&[]), tcp()).bytes());
    let of = |frame: &[u8], action| key(&sent(frame, &[action]));
    assert_eq!(of(&v4, Action::SetDestination([1; 6])).destination, [1; 6]);
    assert_eq!(of(&v4, Action::SetSource([1; 6])).source, [1; 6]);
    assert_eq!(of(&v4, Action::SetIpv4Source([1; 4])).ipv4_source, [1; 4]);
    assert_eq!(of(&v4, Action::SetIpv4Destination([1; 4])).ipv4_destination, [1; 4]);
    assert_eq!(of(&v6, Action::SetIpv6Source([1; 16])).ipv6_source, [1; 16]);
    assert_eq!(of(&v6, Action::SetIpv6Destination([1; 16])).ipv6_destination, [1; 16]);
    for frame in [&v4, &v6] {
        assert_eq!(of(frame, Action::SetTos { value: 0xff, mask: 0xf0 }).tos, 0xf8);
        assert_eq!((of(frame, Action::SetTtl(9)).ttl, of(frame, Action::DecrementTtl).ttl), (9, 63));
        assert_eq!(of(frame, Action::SetSourcePort(7)).source_port.get(), 7);
        assert_eq!(of(frame, Action::SetDestinationPort(7)).destination_port.get(), 7);
    }
    assert_eq!(key(&sent(&v6, &[Action::SetTos { value: 0, mask: 0xff }])).flow_label.get(), 0x4_5678);
}

#[test]
fn tags_are_pushed_set_and_popped() {
    let plain = Spec::udp4().bytes();
    let push = |service, control| Action::PushTag { service, control };
    let two = sent(&plain, &[push(false, 0x2005), push(true, 6)]);
    assert_eq!(two, Spec { tags: vec![(true, 6), (false, 0x2005)], ..Spec::udp4() }.bytes());
    assert_eq!(sent(&two, &[Action::PopTag, Action::PopTag]), plain);
    let set = sent(&two, &[Action::SetTag { control: 0xffff, mask: 0xe000 }]);
    assert_eq!(key(&set).tags[0].get(), 0xe006);
    // The network header moves along.
    let moved = sent(&plain, &[push(false, 1), Action::DecrementTtl, Action::SetSourcePort(9)]);
    assert_eq!((key(&moved).ttl, key(&moved).source_port.get()), (63, 9));
    has_right_checksums(&moved);
}

#[test]
fn a_network_service_header_is_pushed_and_popped() {
    let plain = Spec { tags: vec![(false, 5)], ..Spec::udp4() }.bytes();
    let nsh = Nsh { path: 0x0000_2aff, ttl: 63, context: [0xcc; 16] };
    let push = [Action::PushNsh(nsh), Action::SetDestination([8; 6]), Action::PushTag { service: false, control: 1 }];
    let pushed = sent(&plain, &push);
    assert_eq!(pushed.len(), plain.len() + 14 + 24 + 4);
    assert_eq!(pushed[42..], plain);
    let parsed = key(&pushed);
    let layers = Layers::ETHERNET | Layers::TAG | Layers::NSH | Layers::INNER;
    assert_eq!((parsed.layers, parsed.nsh_path.get(), parsed.nsh_ttl), (layers, 0x2aff, 63));
    assert_eq!((parsed.destination, parsed.source), ([8; 6], frames::SOURCE));
    assert_eq!(sent(&pushed, &[Action::PopNsh]), plain);
    // What is inside is changed in its place, and the same after the header was taken away.
    let inner = [Action::PushNsh(nsh), Action::DecrementTtl, Action::SetSourcePort(5), Action::PopNsh];
    let changed = sent(&Spec::udp4().bytes(), &inner);
    assert_eq!(changed, sent(&Spec::udp4().bytes(), &inner[1..3]));
    let md2 = NshSpec { md2: Some(3), ethernet: true, path: 1, ttl: 1, o: false };
    let popped = sent(&Spec { nsh: Some(md2), ..Spec::udp4() }.bytes(), &[Action::PopNsh, Action::DecrementTtl]);
    assert_eq!(key(&popped).ttl, 63);
    has_right_checksums(&popped);
}

#[test]
fn a_time_to_live_that_is_over_drops_the_frame() {
    for ttl in [0, 1, 2] {
        let Network::Ipv4 { tos, source, destination, .. } = Network::ipv4() else { unreachable!() };
        let v4 = Network::Ipv4 { tos, ttl, source, destination, options: 0, fragment: 0 };
        let Network::Ipv6 { class, label, source, destination, .. } = Network::ipv6(&[]) else { unreachable!() };
        let v6 = Network::Ipv6 { class, label, limit: ttl, source, destination, extensions: vec![] };
        for network in [v4, v6] {
            let frame = Spec::new(network, tcp()).bytes();
            let (verdict, after) = act_with(&frame, None, &[Action::DecrementTtl, Action::Output(1)]);
            let wanted = if ttl == 2 { Verdict::Output(1) } else { Verdict::Drop(Cause::Expired) };
            assert_eq!((verdict, after == frame), (wanted, ttl < 2));
        }
    }
}

#[test]
fn a_frame_without_the_header_is_dropped() {
    let udp = Spec::udp4();
    let sctp = Spec::new(Network::ipv4(), Transport::Sctp { source: 1, destination: 2 });
    let arp = Spec::new(Network::Arp { operation: 1 }, tcp());
    for (spec, action) in [
        (&udp, Action::PopTag),
        (&udp, Action::SetTag { control: 0, mask: 0 }),
        (&udp, Action::PopNsh),
        (&udp, Action::SetIpv6Source([0; 16])),
        (&sctp, Action::SetSourcePort(1)),
        (&arp, Action::SetIpv4Source([0; 4])),
        (&arp, Action::DecrementTtl),
        (&arp, Action::SetTtl(1)),
        (&arp, Action::SetTos { value: 0, mask: 1 }),
        (&arp, Action::SetDestinationPort(1)),
    ] {
        assert_eq!(dropped(spec, &[action]), Cause::Unfit, "{action:?}");
    }
    // A checksum of a header that is not read, and one that is too far behind to be known.
    for protocol in [33, 136] {
        let spec = Spec::new(Network::ipv4(), Transport::Other(protocol));
        assert_eq!(dropped(&spec, &[Action::SetIpv4Source([0; 4])]), Cause::Unfit);
    }
    let far = Spec::new(Network::ipv6(&[Extension::Destination(20)]), tcp());
    assert_eq!(dropped(&far, &[Action::SetIpv6Source([0; 16])]), Cause::Unfit);
    let nsh = Action::PushNsh(Nsh { path: 0, ttl: 0, context: [0; 16] });
    assert_eq!(dropped(&udp, &[nsh, nsh]), Cause::NoRoom);
    assert_eq!(act_with(&udp.bytes(), None, &[]).0, Verdict::Drop(Cause::NoOutput));
    assert_eq!(act_with(&udp.bytes(), None, &[Action::SetTtl(3)]).0, Verdict::Drop(Cause::NoOutput));
}

/// The field holds the sum of the pseudo-header. See: VIRTIO 5.1.6.2 "Packet Transmission".
#[test]
fn a_checksum_that_is_left_to_the_receiver_stays_so() {
    for (transport, offset) in [(tcp(), 16), (Transport::Udp { source: 1, destination: 2 }, 6)] {
        let mut frame = Spec::new(Network::ipv4(), transport).bytes();
        let (at, protocol) = (34 + offset, frame[23]);
        let len = (frame.len() - 34) as u16;
        let partial = |frame: &[u8]| ones_sum(&[&frame[26..34], &[0, protocol], &len.to_be_bytes()]);
        let sum = partial(&frame).to_be_bytes();
        frame[at..at + 2].copy_from_slice(&sum);
        let hdr = Hdr {
            flags: HdrF::NEEDS_CSUM.bits(),
            gso_type: 0,
            hdr_len: 0,
            gso_size: 0,
            csum_start: 34,
            csum_offset: offset as u16,
            num_buffers: 1,
        };
        let actions =
            [Action::SetIpv4Source([9, 8, 7, 6]), Action::SetSourcePort(77), Action::DecrementTtl, Action::Output(1)];
        let (verdict, after) = act_with(&frame, Some(hdr), &actions);
        assert_eq!((verdict, &after[at..at + 2]), (Verdict::Output(1), &partial(&after).to_be_bytes()[..]));
        assert_eq!(key(&after).source_port.get(), 77);
    }
}

#[test]
fn a_datagram_without_a_checksum_stays_without() {
    let mut frame = Spec::udp4().bytes();
    frame[40..42].fill(0);
    let after = sent(&frame, &[Action::SetIpv4Source([1; 4]), Action::SetSourcePort(1)]);
    assert_eq!(after[40..42], [0, 0]);
}

#[test]
fn a_list_is_checked_before_it_is_used() {
    let new = |actions: &[Action]| ActionList::new(actions, 4);
    let output = Action::Output(3);
    assert_eq!(new(&[Action::Output(4)]), Err(ActionError::Port(4)));
    assert_eq!(new(&[output, output]), Err(ActionError::BehindOutput));
    assert_eq!(new(&[Action::SetTtl(0)]), Err(ActionError::Ttl(0)));
    let nsh = |ttl| Action::PushNsh(Nsh { path: 0, ttl, context: [0; 16] });
    assert_eq!((new(&[nsh(64)]), new(&[nsh(63)]).is_ok()), (Err(ActionError::Ttl(64)), true));
    assert_eq!(new(&[Action::PopTag; 17]), Err(ActionError::TooLong));
    assert_eq!(new(&[Action::SetIpv6Source([0; 16]); 6]), Err(ActionError::TooLong));
    assert_eq!(new(&[]), Ok(ActionList::DROP));
    let word = |words: &[u64]| {
        let mut all = [0; 16];
        all[..words.len()].copy_from_slice(words);
        ActionList::check(all, 4).err()
    };
    let bad = |at, word| Some(ActionError::Word { at, word });
    assert_eq!(word(&[0x12]), bad(0, 0x12));
    assert_eq!(word(&[0x0001_0000_0301]), bad(0, 0x0001_0000_0301));
    assert_eq!(word(&[0, 6]), bad(1, 6));
    assert_eq!(word(&[6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 9]), bad(15, 9));
}

/// Whatever the order, and with or without each of them.
#[test]
fn a_router_s_actions_are_done_in_any_order() {
    for spec in
        every_kind().into_iter().filter(|spec| key(&spec.bytes()).layers.intersects(Layers::IPV4 | Layers::IPV6))
    {
        let frame = spec.bytes();
        let only_ttl = sent(&frame, &[Action::SetTtl(63)]);
        let wanted = [&[2; 6][..], &[4; 6], &only_ttl[12..]].concat();
        let [to, from, ttl] = [Action::SetDestination([2; 6]), Action::SetSource([4; 6]), Action::DecrementTtl];
        let orders =
            [[to, from, ttl], [from, to, ttl], [ttl, to, from], [ttl, from, to], [to, ttl, from], [from, ttl, to]];
        orders.iter().for_each(|order| assert_eq!(sent(&frame, order), wanted, "{order:?}"));
        assert_eq!(sent(&frame, &[to, Action::SetDestination([1; 6]), to, from, ttl]), wanted);
        assert_eq!(sent(&frame, &[from]), [&frame[..6], &[4; 6], &frame[12..]].concat());
    }
}

/// In a table with one list, that of the first flow becomes that of another one; and in one look-up, hits of two flows
/// with lists of their own follow each other.
#[test]
fn each_hit_of_a_look_up_gets_the_actions_of_its_own_entry() {
    let (shape, seed) = (Shape { entries: 4, lists: 2 }, Seed::new([1, 2]));
    let memory: Vec<_> = (0..shape.lines()).map(|_| CacheLine::default()).collect();
    let mut writer = Writer::new(&memory, shape, seed).expect("a table");
    let mut reader = Reader::new(&memory, shape, seed, None).expect("a table");
    let spec = every_kind().into_iter().next().expect("one").bytes();
    let key =
        |in_port| Parsed { key: Key { in_port, ..Parsed::of(0, &spec, spec.len() as u16).key }, ..Parsed::default() };
    let mask = Mask::closed(Key { in_port: u16::MAX, ..Key::default() });
    for round in 0..3 {
        let lists =
            [4 * round + 1, 4 * round + 2].map(|port| ActionList::new(&[Action::Output(port)], 16).expect("a list"));
        let insert =
            |in_port: u16| writer.insert(&key(in_port).key, &mask, &lists[usize::from(in_port)]).expect("room");
        let ids = [0, 1].map(insert);
        let (epoch, mut hits) = (writer.publish(), [None; 4]);
        // The list that was read last is now that of the flow which comes first.
        let order = if round % 2 == 0 { [0, 1, 1, 0] } else { [1, 0, 0, 1] };
        reader.look_up(epoch, &order.map(key), &mut hits);
        let apply = |hit: Option<Hit>| {
            with_frame(&spec, None, |frame, head, parsed| reader.apply(&hit.expect("a hit"), frame, head, parsed)).0
        };
        let wanted = order.map(|flow| Some(Verdict::Output(4 * round + 1 + flow)));
        assert_eq!(hits.map(apply), wanted);
        assert!(ids.iter().all(|id| writer.remove(*id)));
        let epoch = writer.publish();
        writer.reclaim(epoch);
    }
}

#[test]
fn the_actions_of_an_entry_that_was_taken_away_are_not_done() {
    let spec = every_kind().into_iter().next().expect("one");
    let list = ActionList::new(&[Action::SetSource([9; 6]), Action::PushTag { service: false, control: 1 }], 4);
    for list in [list.expect("a list"), ActionList::new(&[Action::Output(1)], 4).expect("a list"), ActionList::DROP] {
        let act = |frame: &mut FrameMut<'_>, head: &mut Head, parsed: &Parsed| {
            with_entry(&list, parsed, |reader, hit, revoke| {
                revoke();
                reader.apply(hit, frame, head, parsed)
            })
        };
        assert_eq!(with_frame(&spec.bytes(), None, act), (None, spec.bytes()));
    }
}

/// Returns actions that change fields of the packet.
fn any_changes() -> impl Strategy<Value = Vec<Action>> {
    let change = prop_oneof![
        any::<[u8; 4]>().prop_map(Action::SetIpv4Source),
        any::<[u8; 4]>().prop_map(Action::SetIpv4Destination),
        any::<[u8; 16]>().prop_map(Action::SetIpv6Source),
        any::<[u8; 16]>().prop_map(Action::SetIpv6Destination),
        any::<(u8, u8)>().prop_map(|(value, mask)| Action::SetTos { value, mask }),
        (1u8..).prop_map(Action::SetTtl),
        Just(Action::DecrementTtl),
        any::<u16>().prop_map(Action::SetSourcePort),
        any::<u16>().prop_map(Action::SetDestinationPort),
        (any::<bool>(), any::<u16>()).prop_map(|(service, control)| Action::PushTag { service, control }),
        Just(Action::PopTag),
        any::<[u8; 16]>().prop_map(|context| Action::PushNsh(Nsh { path: 5, ttl: 5, context })),
        Just(Action::PopNsh),
    ];
    vec(change, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn checksums_that_are_updated_are_those_that_are_computed_anew(spec in any_spec(), changes in any_changes()) {
        let frame = spec.bytes();
        has_right_checksums(&frame);
        let actions = [&changes[..], &[Action::Output(0)]].concat();
        let Ok(_) = ActionList::new(&actions, 16) else { return Ok(()) };
        let (verdict, after) = act_with(&frame, None, &actions);
        if verdict == Verdict::Output(0) {
            has_right_checksums(&after);
        }
    }

    #[test]
    fn words_are_a_list_or_not_and_do_no_harm(words in any::<[u64; 16]>(), small in any::<bool>(), spec in any_spec()) {
        let words = words.map(|word| if small { word & 0x3f_ff1f } else { word });
        if let Ok(list) = ActionList::check(words, 16) {
            let actions: Vec<_> = list.actions().collect();
            prop_assert_eq!(ActionList::new(&actions, 16), Ok(list));
            act_with(&spec.bytes(), None, &actions);
        }
    }
}

#[test]
fn every_kind_of_frame_is_forwarded_or_has_no_time_to_live() {
    for spec in every_kind() {
        let frame = spec.bytes();
        let (verdict, after) = act_with(&frame, None, &[Action::DecrementTtl, Action::Output(0)]);
        let ip = key(&frame).layers.intersects(Layers::IPV4 | Layers::IPV6);
        assert_eq!(verdict, if ip { Verdict::Output(0) } else { Verdict::Drop(Cause::Unfit) });
        assert_eq!(key(&after).ttl, if ip { 63 } else { 0 });
        has_right_checksums(&after);
    }
}
