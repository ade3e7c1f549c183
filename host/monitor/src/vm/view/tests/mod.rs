//! What a processor finds when it walks the tables that the monitor makes. An emulator does not look at memory types,
//! flushes more than it must, and shows a page that nothing of ours touches to nobody.

mod changes;
mod list;

use super::*;
use crate::vm::gate_image::CodePart;
use crate::vmx::instruction::{Dropped, dropped, read};
use sluice_abi::PeerIdx;

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
    physical::init_for_tests();
    physical::alloc().unwrap()
}

/// Views of a VM with a peer, packet memory and a request block.
fn views() -> Views {
    views_of(GateKind::Isolated)
}

/// The same with another gate.
fn views_of(gate: GateKind) -> Views {
    let [stub, gate_page, window, code, constants] = [(); 5].map(|()| frame());
    let directory = physical::alloc_contiguous(map::DIRECTORY_LEN, map::PAGE).unwrap();
    let state = physical::alloc_contiguous(map::STATE_LEN, map::PAGE).unwrap();
    let part = |offset, hpa, execute| CodePart { offset: map::CODE + offset, hpa, len: map::PAGE, execute };
    let image =
        GateImage { stub, gate: gate_page, window, code: vec![part(0, code, true), part(map::PAGE, constants, false)] };
    let peers = [PeerMemory { offset: map::peer_base(PeerIdx(0)), ram: PEER }];
    let pages = HomePages { stub, directory, flows: None };
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

/// Walks the tables below `root`, whose entries are there if they have one of the bits `present`; `find` is where a
/// table is. All entries on the way to a leaf have the bits `link`.
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

/// The table of docs/memory-map.md, and nothing else. The list is in the gate view alone (rule G3), peers in the window
/// alone (rule G1), all page tables are read-only (rule G5), and nothing is writable and executable but the VM's own
/// memory in home.
#[test]
fn each_view_maps_what_the_memory_map_says() {
    let mut views = registered();
    let home: Vec<_> = walk_ept(views.home).iter().map(Range::rights).collect();
    let page = map::PAGE;
    assert_eq!(
        home,
        [
            (0, STACK_GUARD.0, RIGHTS),
            (IMAGE_START.0, RAM.len - IMAGE_START.0, RIGHTS),
            at(map::GATE, page, READ | EXECUTE),
            at(map::DIRECTORY, map::DIRECTORY_LEN, READ)
        ]
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

/// In the gate view nothing is a VM's; in the window packet memory, request block and what peers show are, and nothing
/// else.
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

/// The page that CR3 names has the host's table in it, with one entry; from there on all is the host's. Nothing is left
/// for the processor to write, nothing is a program's, and what is written is not executed (rules G5, G14).
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

/// Write-back tables of four levels, and no accessed and dirty flags: the processor writes nothing into tables (rule
/// G5).
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

/// Slot 2 as a store of the gate's leaves it.
fn armed(isolated: &Isolated) -> u64 {
    isolated.list.get(WINDOW) & !0xff | u64::from(EptPointer::ARMED)
}

/// Whether VMFUNC takes an entry: no bit beyond the physical addresses, four levels.
fn is_valid(entry: u64) -> bool {
    entry & !ADDRESS == u64::from(EptPointer::ARMED)
}
