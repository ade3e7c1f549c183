//! What a processor finds when it walks the tables that the monitor makes. An emulator does not look at memory types, flushes more than it
//! must, and shows a page that nothing of ours touches to nobody.

use super::*;
use crate::vm::image::Part;
use crate::vmx::instruction::{Dropped, dropped, read};
use sluice_abi::PeerIdx;
use std::sync::LazyLock;

const READ: u64 = 1;
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;
const RIGHTS: u64 = READ | WRITE | EXECUTE;
/// Of a leaf of an EPT: write-back, the guest's PAT does not count, no #VE.
const KIND: u64 = 6 << 3 | 1 << 6 | 1 << 63;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const RAM: Ram = Ram { hpa: Hpa(4 << 30), len: 8 << 20 };
const PEER: Ram = Ram { hpa: Hpa(6 << 30), len: 4 << 20 };
const PACKETS: (Hpa, u64) = (Hpa(RAM.hpa.0 + (4 << 20)), 2 << 20);
const REQUEST: Hpa = Hpa(RAM.hpa.0 + 0x5000);
const CR3: u64 = 0x1018;
/// What of the peer is shown, by its own addresses: a page of its ring, and its run.
const RING: (u64, u64) = (0x3000, map::PAGE);
const RUN: (u64, u64) = (2 << 20, 2 << 20);
const OTHER_CR3: u64 = 0x3000;
const VPID: u16 = 7;

/// A frame of the host's. The memory is the test's own, one to one.
fn frame() -> Hpa {
    static MEMORY: LazyLock<()> = LazyLock::new(|| {
        let memory = vec![0u8; 32 << 20].leak();
        let at = memory.as_ptr() as u64;
        frames::init(at, at + memory.len() as u64);
    });
    LazyLock::force(&MEMORY);
    frames::alloc().unwrap()
}

/// Views of a VM with a peer, packet memory and a request block.
fn views() -> Views {
    views_of(GateKind::Isolated)
}

/// The same with another gate.
fn views_of(gate: GateKind) -> Views {
    let [stub, gate_page, window, code, constants] = [(); 5].map(|()| frame());
    let directory = frames::alloc_contiguous(map::DIRECTORY_LEN, map::PAGE).unwrap();
    let state = frames::alloc_contiguous(map::STATE_LEN, map::PAGE).unwrap();
    let part = |offset, hpa, execute| Part { offset: map::CODE + offset, hpa, len: map::PAGE, execute };
    let image =
        GateImage { stub, gate: gate_page, window, code: vec![part(0, code, true), part(map::PAGE, constants, false)] };
    let peers = [PeerMemory { offset: map::peer_base(PeerIdx(0)), ram: PEER }];
    let pages = HomePages { stub, directory };
    let mut views = Views::new(gate, RAM, &pages, &image, state, &peers).unwrap();
    if let Some(isolated) = views.isolated() {
        isolated.show_request(REQUEST).unwrap();
        isolated.show_run(0, PACKETS.0, PACKETS.1).unwrap();
    }
    [RING, RUN].into_iter().for_each(|range| show(&mut views, range));
    views
}

/// Shows `len` bytes of the peer's from its address `from`.
fn show(views: &mut Views, (from, len): (u64, u64)) {
    views.show(map::peer_base(PeerIdx(0)) + from, Hpa(PEER.hpa.0 + from), len).unwrap();
}

fn hide(views: &mut Views, (from, len): (u64, u64)) {
    views.hide(map::peer_base(PeerIdx(0)) + from, len).unwrap();
}

fn registered() -> Views {
    let mut views = views();
    views.isolated().unwrap().register(CR3, VPID).unwrap();
    views
}

/// Addresses that four levels of tables map in a row, where to, and the bits of their leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: u64,
    to: u64,
    len: u64,
    bits: u64,
}

impl Range {
    fn rights(&self) -> (u64, u64, u64) {
        (self.from, self.len, self.bits & RIGHTS)
    }
}

/// Walks the tables below `root`, whose entries are there if they have one of the bits `present`; `find` is where a table is. All entries
/// on the way to a leaf have the bits `link`.
fn walk(root: Hpa, present: u64, link: u64, find: &dyn Fn(u64) -> Hpa) -> Vec<Range> {
    let mut tables = vec![(root, 0, 3)];
    let mut leaves = Vec::new();
    while let Some((table, base, level)) = tables.pop() {
        for place in 0..Table::WORDS {
            let (word, from) = (Table::at(table).get(place), base | (place as u64) << (12 + 9 * level));
            if word & present == 0 {
                continue;
            }
            let leaf = level == 0 || word & LARGE != 0;
            if leaf {
                leaves.push(Range {
                    from,
                    to: word & ADDRESS,
                    len: 4096 << (9 * level),
                    bits: word & !ADDRESS & !LARGE,
                });
            } else {
                assert_eq!(word & !ADDRESS, link, "{from:#x} at level {level}");
                tables.push((find(word & ADDRESS), from, level - 1));
            }
        }
    }
    leaves.sort_by_key(|leaf| leaf.from);
    leaves.into_iter().fold(Vec::new(), |mut ranges: Vec<Range>, leaf| {
        match ranges.last_mut() {
            Some(last) if (last.from + last.len, last.to + last.len, last.bits) == (leaf.from, leaf.to, leaf.bits) => {
                last.len += leaf.len;
            }
            _ => ranges.push(leaf),
        }
        ranges
    })
}

fn walk_ept(view: View) -> Vec<Range> {
    walk(Hpa(view.pointer().0 & ADDRESS), RIGHTS, RIGHTS, &Hpa)
}

/// Range `from` of `len` bytes in the slot.
fn at(offset: u64, len: u64, rights: u64) -> (u64, u64, u64) {
    (map::SLOT_GPA + offset, len, rights)
}

/// Where `ranges` lead from guest-physical `gpa`.
fn led(ranges: &[Range], gpa: u64) -> Hpa {
    let range = ranges.iter().find(|range| (range.from..range.from + range.len).contains(&gpa)).expect("mapped");
    Hpa(range.to + gpa - range.from)
}

/// The table of docs/memory-map.md, and nothing else. The list is in the gate view alone (rule G3), peers in the window alone (rule G1), all
/// page tables are read-only (rule G5), and nothing is writable and executable but the VM's own memory in home.
#[test]
fn each_view_maps_what_the_memory_map_says() {
    let mut views = registered();
    let home: Vec<_> = walk_ept(views.home).iter().map(Range::rights).collect();
    let page = map::PAGE;
    assert_eq!(
        home,
        [(0, RAM.len, RIGHTS), at(map::GATE, page, READ | EXECUTE), at(map::DIRECTORY, map::DIRECTORY_LEN, READ)]
    );
    let root = (CR3 & ADDRESS, page, READ);
    let isolated = views.isolated().unwrap();
    let gate: Vec<_> = walk_ept(isolated.gate).iter().map(Range::rights).collect();
    assert_eq!(
        gate,
        [
            root,
            at(map::GATE, page, EXECUTE),
            at(map::TABLES, tables::FEW as u64 * page, READ),
            at(map::LIST, page, READ | WRITE),
            at(map::CONSTANT, page, READ)
        ]
    );
    let window: Vec<_> = walk_ept(isolated.window).iter().map(Range::rights).collect();
    assert_eq!(
        window,
        [
            root,
            at(map::GATE, page, EXECUTE),
            at(map::CODE, page, EXECUTE),
            at(map::CODE + page, page, READ),
            at(map::STATE, map::STATE_LEN, READ | WRITE),
            at(map::STACK, map::STACK_LEN, READ | WRITE),
            at(map::REQUEST, page, READ),
            at(map::TABLES, (tables::FEW + tables::FOR_PEER) as u64 * page, READ),
            at(map::PACKETS, PACKETS.1, READ | WRITE),
            at(map::peer_base(PeerIdx(0)) + RING.0, RING.1, READ | WRITE),
            at(map::peer_base(PeerIdx(0)) + RUN.0, RUN.1, READ | WRITE)
        ]
    );
}

/// In the gate view nothing is a VM's; in the window packet memory, request block and what peers show are, and nothing else.
#[test]
fn gate_and_window_lead_to_no_other_memory_of_a_vm() {
    let mut views = registered();
    let isolated = views.isolated().unwrap();
    let of_vms = |view| {
        let ranges =
            walk_ept(view).into_iter().filter(|range| range.to >= RAM.hpa.0 && range.to < PEER.hpa.0 + PEER.len);
        ranges.map(|range| (range.from - map::SLOT_GPA, Hpa(range.to), range.len)).collect::<Vec<_>>()
    };
    assert_eq!(of_vms(isolated.gate), []);
    let window = [
        (map::REQUEST, REQUEST, map::PAGE),
        (map::PACKETS, PACKETS.0, PACKETS.1),
        (map::peer_base(PeerIdx(0)) + RING.0, Hpa(PEER.hpa.0 + RING.0), RING.1),
        (map::peer_base(PeerIdx(0)) + RUN.0, Hpa(PEER.hpa.0 + RUN.0), RUN.1),
    ];
    assert_eq!(of_vms(isolated.window), window);
}

/// Whatever the guest has in its PAT, and whatever it writes where the host would put a #VE (rules G5, G11).
#[test]
fn all_that_is_mapped_is_write_back_and_raises_no_exception() {
    let mut views = registered();
    let isolated = views.isolated().unwrap();
    for range in [isolated.gate, isolated.window].into_iter().flat_map(walk_ept) {
        assert_eq!(range.bits & !RIGHTS, KIND, "{range:x?}");
    }
}

/// The page that CR3 names has the host's table in it, with one entry; from there on all is the host's. Nothing is left for the processor to
/// write, nothing is a program's, and what is written is not executed (rules G5, G14).
#[test]
fn the_hosts_page_tables_lead_where_the_slot_has_its_memory() {
    const PRESENT: u64 = 1;
    const ACCESSED: u64 = 1 << 5;
    const DIRTY: u64 = 1 << 6;
    const NO_EXECUTE: u64 = 1 << 63;
    let mut views = registered();
    let isolated = views.isolated().unwrap();
    for view in [isolated.gate, isolated.window] {
        let ept = walk_ept(view);
        let root = led(&ept, CR3 & ADDRESS);
        let entries: Vec<_> = (0..Table::WORDS).filter(|&place| Table::at(root).get(place) != 0).collect();
        assert_eq!(entries, [map::SLOT_PML4_INDEX]);
        let pages = walk(root, PRESENT, PRESENT | WRITE | ACCESSED, &|gpa| led(&ept, gpa));
        let usable = |rights: u64| {
            PRESENT | ACCESSED | DIRTY | rights & WRITE | if rights & EXECUTE == 0 { NO_EXECUTE } else { 0 }
        };
        // The tables themselves have no address there.
        let mapped =
            ept.iter().filter(|range| range.from >= map::SLOT_GPA && range.from != map::SLOT_GPA + map::TABLES);
        let wanted: Vec<_> = mapped
            .map(|range| (map::SLOT_VA + range.from - map::SLOT_GPA, range.from, range.len, usable(range.bits)))
            .collect();
        let found: Vec<_> = pages.iter().map(|page| (page.from, page.to, page.len, page.bits)).collect();
        let covers = |(from, to, len, bits): (u64, u64, u64, u64)| {
            let leads = |&(at, is, all, has): &(u64, u64, u64, u64)| {
                bits == has && from >= at && from + len <= at + all && to.wrapping_sub(from) == is.wrapping_sub(at)
            };
            found.iter().any(leads)
        };
        assert!(wanted.iter().all(|&range| covers(range)), "{found:x?} {wanted:x?}");
        // Of packet memory and peers the page tables map what may be registered, and the EPT what is.
        let fixed = |&(from, ..): &(u64, u64, u64, u64)| from < map::SLOT_VA + map::PACKETS;
        assert!(found.iter().filter(|range| fixed(range)).eq(wanted.iter().filter(|range| fixed(range))));
    }
}

/// Write-back tables of four levels, and no accessed and dirty flags: the processor writes nothing into tables (rule G5).
/// See: SDM volume 3, table "Format of Extended-Page-Table Pointer".
#[test]
fn a_processor_writes_no_flags_into_the_views() {
    let mut views = registered();
    let home = views.home();
    let isolated = views.isolated().unwrap();
    for pointer in [home, isolated.gate.pointer(), isolated.window.pointer()] {
        assert_eq!(pointer.0 & !ADDRESS, 6 | 3 << 3);
    }
}

/// The list as the processor reads it.
fn words(isolated: &Isolated) -> Vec<u64> {
    (0..Table::WORDS).map(|place| isolated.list.get(place)).collect()
}

/// Slot 2 as a store of the gate's leaves it.
fn armed(isolated: &Isolated) -> u64 {
    isolated.list.get(WINDOW) & !0xff | u64::from(EptPointer::ARMED)
}

/// Whether VMFUNC takes an entry: no bit beyond the physical addresses, four levels.
fn is_valid(entry: u64) -> bool {
    entry & !ADDRESS == u64::from(EptPointer::ARMED)
}

/// Home, gate, the window at rest; no word of a guest's, whatever it registers (rule G3).
#[test]
fn the_list_holds_three_views_and_nothing_else() {
    let mut views = registered();
    let home = views.home();
    let isolated = views.isolated().unwrap();
    for cr3 in [OTHER_CR3, CR3, 0x7f_f01e] {
        isolated.register(cr3, VPID).unwrap();
        let mut wanted = vec![0; Table::WORDS];
        let window = isolated.window.pointer().0 & ADDRESS | 6;
        wanted[..3].copy_from_slice(&[home.0, isolated.gate.pointer().0, window]);
        assert_eq!(words(isolated), wanted);
        assert!(isolated.at_rest(home));
    }
    for place in [HOME, FIRST, WINDOW, 3, 511] {
        let before = isolated.list.get(place);
        isolated.list.set(place, before ^ 0x1000);
        assert!(!isolated.at_rest(home), "{place}");
        isolated.list.set(place, before);
    }
}

/// The host's bit outlives the gate's store, which a slot of 0 would not (rule G3). Nothing opens the window of a VM that has not registered.
#[test]
fn a_window_that_is_disabled_can_not_be_armed() {
    let mut views = views();
    let isolated = views.isolated().unwrap();
    for held in [false, true, false] {
        assert!(!is_valid(armed(isolated)) && !isolated.is_held());
        isolated.hold(held);
    }
    isolated.register(CR3, VPID).unwrap();
    assert!(is_valid(armed(isolated)) && !isolated.is_held());
    isolated.hold(true);
    assert!(!is_valid(armed(isolated)) && isolated.is_held());
    isolated.list.set(WINDOW, armed(isolated));
    isolated.disarm(VPID);
    assert!(isolated.is_held(), "an aborted call lets nothing be opened that was not to be");
    isolated.hold(false);
    let window = isolated.window.pointer().0;
    assert_eq!((armed(isolated), isolated.list.get(WINDOW)), (window, window & ADDRESS | 6));
}

/// A call that is ended from outside leaves the window at rest and the vCPU in home, whatever it exited for (rule G9): the gate's own VMCALL, and any
/// other reason.
#[test]
fn a_call_that_is_ended_leaves_nothing_armed() {
    let mut views = registered();
    let home = views.home();
    for reason in 0..80 {
        let isolated = views.isolated().unwrap();
        isolated.list.set(WINDOW, armed(isolated));
        write(Field::EptPointer, isolated.gate.pointer().0);
        write(Field::ExitReason, reason);
        assert!(views.end_call(VPID));
        assert_eq!(read(Field::EptPointer), home.0, "exit reason {reason}");
        assert!(views.isolated().unwrap().at_rest(home), "exit reason {reason}");
    }
}

/// What is taken out of a view is dropped from the processor (rule G11): of both views where CR3 is another, and of the VM's linear addresses there and
/// where a call was aborted.
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

/// The views of a VM that starts again are as before it registered, and the processor holds nothing else (rules G3, G4, G11, G13). Then it registers
/// as for the first time.
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

/// What a peer takes back is in the view no more, page by page, and the processor holds none of it (rules G1, G11, G13). However often a peer does
/// that, it costs the host no memory.
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

/// A VM whose ring code runs in itself can't be ended by a peer that takes its memory back while it is used: there is a page of nobody's (rule G13).
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

#[test]
fn places_are_told_by_the_pointer() {
    let mut views = registered();
    let home = views.home();
    let isolated = views.isolated().unwrap();
    let [gate, window] = [isolated.gate, isolated.window].map(|view| view.pointer().0);
    assert_eq!([home.0, gate, window].map(|eptp| views.place(eptp)), [Place::Home, Place::Gate, Place::Window]);
}

/// The list is looked at where nothing of the host's changes it. Whatever it says in the crossing, the vCPU is there.
#[test]
fn a_list_that_is_not_at_rest_in_home_is_told_at_an_exit() {
    let mut views = registered();
    let home = views.home().0;
    let isolated = views.isolated().unwrap();
    let [gate, window] = [isolated.gate, isolated.window].map(|view| view.pointer().0);
    for place in [HOME, FIRST, WINDOW, 3, 511] {
        let list = views.isolated().unwrap().list;
        let before = list.get(place);
        list.set(place, if place == WINDOW { before & !0xff | u64::from(EptPointer::ARMED) } else { before ^ 0x1000 });
        assert_eq!(views.place_at_exit(home), None, "{place}");
        assert_eq!([gate, window].map(|eptp| views.place_at_exit(eptp)), [Some(Place::Gate), Some(Place::Window)]);
        list.set(place, before);
        assert_eq!(views.place_at_exit(home), Some(Place::Home));
    }
    views.isolated().unwrap().hold(true);
    assert_eq!(views.place_at_exit(home), Some(Place::Home), "what is held rests");
}
