//! What is shown and taken away while a VM runs, and what the processor drops of it.

use super::*;

/// What is taken out of a view is dropped from the processor (rule G11): of both views where CR3 is another, and of the
/// VM's linear addresses there and where a call was aborted.
#[test]
fn what_was_mapped_before_is_dropped_from_the_processor() {
    let mut views = registered();
    let isolated = views.isolated().unwrap();
    let [gate, window] = [isolated.gate, isolated.window].map(|view| Dropped::Ept(view.pointer().0));
    dropped();
    isolated.register(OTHER_CR3, VPID).unwrap();
    let (old, new) = ([gate, window, Dropped::Vpid(VPID)], [gate, window]);
    assert_eq!(dropped(), [old.as_slice(), &new].concat());
    for view in [isolated.gate, isolated.window] {
        let low: Vec<_> = walk_ept(view).iter().map(|range| range.from).filter(|&from| from < map::SLOT_GPA).collect();
        assert_eq!(low, [OTHER_CR3]);
    }
    isolated.disarm(VPID);
    assert_eq!(dropped(), [Dropped::Vpid(VPID)]);
}

/// The views of a VM that starts again are as before it registered, and the processor holds nothing else (rules G3, G4,
/// G11, G13). Then it registers as for the first time.
#[test]
fn a_vm_that_starts_again_has_nothing_in_the_window() {
    let mut views = registered();
    let isolated = views.isolated().unwrap();
    let [gate, window] = [isolated.gate, isolated.window].map(|view| Dropped::Ept(view.pointer().0));
    let before = [isolated.gate, isolated.window].map(walk_ept);
    let of_the_vm = |range: &Range| {
        range.from < map::SLOT_GPA || [map::PACKETS, map::REQUEST].contains(&(range.from - map::SLOT_GPA))
    };
    dropped();
    isolated.unregister(VPID).unwrap();
    assert_eq!(dropped(), [window, window, gate, window, Dropped::Vpid(VPID)]);
    for (view, before) in [isolated.gate, isolated.window].into_iter().zip(&before) {
        let rest: Vec<_> = before.iter().filter(|range| !of_the_vm(range)).copied().collect();
        assert_eq!(walk_ept(view), rest);
    }
    assert!(!is_valid(armed(isolated)));
    assert!(isolated.constant.get(map::CONSTANT_WORD as usize / 8) >> 52 != 0);
    isolated.show_request(REQUEST).unwrap();
    isolated.show_run(0, PACKETS.0, PACKETS.1).unwrap();
    isolated.register(CR3, VPID).unwrap();
    assert_eq!([isolated.gate, isolated.window].map(walk_ept), before);
    assert!(is_valid(armed(isolated)));
}

/// Ranges of the peer's memory that `view` shows, by the peer's addresses and by where they lead in its RAM.
fn peers_in(view: View) -> Vec<(u64, u64, u64)> {
    let first = map::SLOT_GPA + map::peer_base(PeerIdx(0));
    let ranges = walk_ept(view).into_iter().filter(|range| range.from >= first);
    ranges.map(|range| (range.from - first, range.to.wrapping_sub(PEER.hpa.0), range.len)).collect()
}

/// What a peer takes back is in the view no more, page by page, and the processor holds none of it (rules G1, G11,
/// G13). However often a peer does that, it costs the host no memory.
#[test]
fn what_a_peer_takes_back_is_gone_and_costs_no_memory() {
    let mut views = registered();
    let view = views.isolated().unwrap().window;
    let eptp = Dropped::Ept(view.pointer().0);
    dropped();
    for _ in 0..3 {
        hide(&mut views, RUN);
        assert_eq!((peers_in(view), dropped()), (vec![(RING.0, RING.0, RING.1)], vec![eptp]));
        // A run over the page of a ring, which stays when the run goes.
        show(&mut views, (0, 0x3000));
        show(&mut views, (0x4000, (2 << 20) - 0x4000));
        assert_eq!(peers_in(view), [(0, 0, 2 << 20)]);
        hide(&mut views, (0, 0x3000));
        hide(&mut views, (0x4000, (2 << 20) - 0x4000));
        show(&mut views, RUN);
        // Some pages of a large one.
        hide(&mut views, (RUN.0 + 0x1000, RUN.1 - 0x2000));
        let end = RUN.0 + RUN.1 - 0x1000;
        let page = |at: u64| (at, at, 0x1000);
        assert_eq!(peers_in(view), [page(RING.0), page(RUN.0), page(end)]);
        show(&mut views, (RUN.0 + 0x1000, RUN.1 - 0x2000));
        assert_eq!(peers_in(view), [page(RING.0), (RUN.0, RUN.0, RUN.1)]);
        dropped();
    }
    // All of the tests' frames, if each time took one.
    for _ in 0..10_000 {
        hide(&mut views, (0, 0x1000));
        hide(&mut views, (RUN.0, RUN.1 - 0x1000));
        show(&mut views, (0, 2 << 20));
        show(&mut views, RUN);
        hide(&mut views, (0, 4 << 20));
    }
    dropped();
}

/// A VM whose ring code runs in itself can't be ended by a peer that takes its memory back while it is used: there is a
/// page of nobody's (rule G13).
#[test]
fn what_is_taken_from_a_vms_own_ring_code_is_nobodys() {
    for gate in [GateKind::Direct, GateKind::Guarded] {
        let mut views = views_of(gate);
        let view = views.peers().unwrap();
        assert_eq!(peers_in(view), [(RING.0, RING.0, RING.1), (RUN.0, RUN.0, RUN.1)]);
        dropped();
        hide(&mut views, RUN);
        hide(&mut views, RING);
        assert_eq!(dropped(), [Dropped::Ept(view.pointer().0); 2]);
        let ours = RAM.hpa.0..PEER.hpa.0 + PEER.len;
        let left: Vec<_> = walk_ept(view)
            .into_iter()
            .filter(|range| range.from >= map::SLOT_GPA + map::peer_base(PeerIdx(0)))
            .collect();
        assert_eq!(left.iter().map(|range| range.len).sum::<u64>(), RUN.1 + RING.1);
        assert!(left.iter().all(|range| !ours.contains(&range.to)), "{left:x?}");
        show(&mut views, RUN);
        assert!(peers_in(view).contains(&(RUN.0, RUN.0, RUN.1)));
    }
    assert!(views_of(GateKind::Hypercall).peers().is_none());
}

/// A run that is removed is in the window no more, and the processor holds none of it.
#[test]
fn packet_memory_comes_and_goes_run_by_run() {
    let mut views = registered();
    let isolated = views.isolated().unwrap();
    let window = isolated.window;
    let packets = |window: View| {
        let base = map::SLOT_GPA + map::PACKETS;
        let ranges = walk_ept(window).into_iter().filter(move |r| (base..base + map::PACKETS_LEN).contains(&r.from));
        ranges.map(|range| (range.from - base, range.to - RAM.hpa.0, range.len)).collect::<Vec<_>>()
    };
    isolated.show_run(6 << 20, RAM.hpa, 2 << 20).unwrap();
    assert_eq!(packets(window), [(0, 4 << 20, 2 << 20), (6 << 20, 0, 2 << 20)]);
    dropped();
    isolated.hide_run(0, PACKETS.1).unwrap();
    assert_eq!((packets(window), dropped()), (vec![(6 << 20, 0, 2 << 20)], vec![Dropped::Ept(window.pointer().0)]));
}

/// The compare in the gate is with the page of the CR3 that was registered last, and before that with none (rule G4).
#[test]
fn the_constant_is_the_page_of_the_registered_tables() {
    let mut views = views();
    let isolated = views.isolated().unwrap();
    let constant = |isolated: &Isolated| isolated.constant.get(map::CONSTANT_WORD as usize / 8);
    // A CR3 shifted has no such bits.
    assert!(constant(isolated) >> 52 != 0);
    for cr3 in [CR3, OTHER_CR3] {
        isolated.register(cr3, VPID).unwrap();
        assert_eq!(constant(isolated), cr3 >> 12);
    }
}
