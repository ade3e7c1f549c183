//! Every device side delivers, and a driver finds out one that does not.

use super::*;
use crate::arena::Arena;
use crate::driver::{Driver, Series};
use crate::layout::Layout;
use crate::series::Row;
use clap::ValueEnum;
use xtask::artifacts;

/// Returns the program that `xtask` built, if there is one.
pub fn built(path: PathBuf) -> Option<PathBuf> {
    if !path.exists() {
        eprintln!("without {}", path.display());
    }
    path.exists().then_some(path)
}

/// Returns DPDK's library, if `xtask` built it.
pub fn dpdk() -> Option<PathBuf> {
    built(artifacts::results().join("libdpdk_bench.so"))
}

/// Rows of all that there is, for bursts that divide the ring and one that does not.
fn rows(cores: u16, frame: u16, buffer_len: u32) -> Vec<Row> {
    let mut options = Options::parse_from(["ring-bench", "--turns=2", "--packets=300", "--burst=1,7,64"]);
    options.cores = vec![cores];
    options.window = built(artifacts::bare().join("window"));
    options.rte_vhost = dpdk();
    // DPDK ties its thread to one processor.
    let processors = clock::processors();
    let mut world = World::new(&options, buffer_len, frame.max(SHORT)).unwrap();
    let mut rows = Vec::new();
    let print = |row: &Row| {
        rows.push(row.clone());
        Ok(())
    };
    series::run(&options, &processors, &mut world, frame, print).unwrap();
    let rivals: usize =
        Impl::value_variants().iter().filter(|who| options.wants(**who)).map(|who| who.rings().len()).sum();
    assert!(rivals >= 7 && rows.len() == options.burst.len() * rivals, "{rows:?}");
    rows
}

#[test]
fn every_device_side_delivers_short_and_long_frames() {
    for row in [rows(1, 64, BUFFER), rows(1, IMIX, BUFFER), rows(1, 9000, LARGE_BUFFER)].concat() {
        assert!(row.cycles_per_packet > 0.0 && row.round_trip_ns.is_none(), "{row:?}");
    }
}

#[test]
fn every_driver_receives_short_and_long_frames() {
    let mut options = Options::parse_from(["ring-bench", "--turns=2", "--packets=300", "--burst=1,7,64"]);
    options.rte_vhost = dpdk();
    for (frame, buffer_len) in [(64, BUFFER), (IMIX, BUFFER), (9000, LARGE_BUFFER)] {
        let mut world = receive::World::new(&options, buffer_len, frame.max(SHORT)).unwrap();
        let (mut ours, mut theirs) = (0, 0);
        let count = |row: &Row| {
            *(if row.r#impl == "sluice" { &mut ours } else { &mut theirs }) += 1;
            assert!(row.side == Side::Driver && row.cycles_per_packet > 0.0, "{row:?}");
            Ok(())
        };
        receive::run(&options, &mut world, frame, count).unwrap();
        // Of bursts of 1 and 7, and with some releases of 64, DPDK has no row where its vectorized way is taken.
        assert!(ours == 9 && (options.rte_vhost.is_none() || theirs >= 6), "{ours} and {theirs}");
    }
}

#[test]
fn every_device_side_delivers_to_another_processor() {
    if clock::processors().len() < 2 {
        return;
    }
    for row in rows(2, 1518, BUFFER) {
        assert!(row.cycles_per_packet > 0.0 && row.round_trip_ns.is_some_and(|ns| ns > 0.0), "{row:?}");
    }
}

#[test]
fn a_row_is_printed_with_these_fields_and_no_others() {
    let row = Row {
        side: Side::Device,
        r#impl: Impl::RteVhost.name(),
        ring: Ring::InOrder,
        cores: 1,
        round_trip_ns: None,
        frame: 64,
        burst: 32,
        cycles_per_packet: 56.25,
        ratio_to_dpdk: None,
        path: None,
    };
    assert_eq!(
        serde_json::to_string(&row).unwrap(),
        concat!(
            r#"{"side":"device","impl":"rte_vhost","ring":"in-order","cores":1,"round_trip_ns":null,"#,
            r#""frame":64,"burst":32,"cycles_per_packet":56.25,"ratio_to_dpdk":null,"path":null}"#
        )
    );
}

/// What a driver says of frames 0 and 1, 64 bytes each, if `device` says that two buffers are used.
fn driver_says(arena: &mut Arena, ring: Ring, device: impl FnOnce(&Arena, &Layout)) -> Result<u16, String> {
    let mut driver = Driver::new(arena, ring).unwrap();
    driver.expect(Series { burst: 2, len: 64, counts_buffers: true }).unwrap();
    driver.give_all();
    device(arena, &driver.layout());
    driver.take(2).map_err(|error| error.to_string())
}

/// The two frames, the second of which ends `short` bytes early.
fn write(arena: &Arena, short: usize) {
    for slot in 0..2 {
        let bytes = [&sluice_abi::net::PLAIN_HDR[..], &arena::frame(slot, 64)].concat();
        let len = bytes.len() - short * usize::from(slot);
        arena.memory.copy_from_slice(arena.buffer_at(slot).0, &bytes[..len]).unwrap();
    }
}

#[test]
fn a_device_side_that_does_not_deliver_is_found_out() {
    let mut arena = Arena::new(BUFFER).unwrap();
    for ring in [Ring::Split, Ring::Packed] {
        let right = |arena: &Arena, ring: &Layout| {
            write(arena, 0);
            ring.use_all(0, 2, |_| 76);
        };
        assert_eq!(driver_says(&mut arena, ring, right), Ok(2));
        assert_eq!(driver_says(&mut arena, ring, |_, _| ()), Ok(0));
        let absent = driver_says(&mut arena, ring, |_, ring| ring.use_all(0, 2, |_| 76)).unwrap_err();
        assert!(absent.contains("did not arrive in its place"), "{absent}");
        let torn = |arena: &Arena, ring: &Layout| {
            write(arena, 1);
            ring.use_all(0, 2, |_| 76);
        };
        let torn = driver_says(&mut arena, ring, torn).unwrap_err();
        assert!(torn.contains("frame 1 of 64 bytes did not arrive as it was sent"), "{torn}");
        let long = |arena: &Arena, ring: &Layout| {
            write(arena, 0);
            ring.use_all(0, 2, |_| 77);
        };
        let long = driver_says(&mut arena, ring, long).unwrap_err();
        assert!(long.contains("77 bytes came back"), "{long}");
    }
}

#[test]
fn dpdk_is_not_asked_for_frames_that_there_are_not() {
    let Some(file) = built(artifacts::results().join("libdpdk_bench.so")) else { return };
    let Ok(dpdk) = dpdk::Dpdk::hold(&file) else { return };
    let make = |count, len| dpdk.make((0..count).map(|_| vec![0; len]), BUFFER).map(drop).map_err(|it| it.to_string());
    assert_eq!(make(arena::SIZE, BUFFER as usize), Ok(()));
    assert!(make(arena::SIZE + 1, 64).unwrap_err().contains("frame 256 of 64"));
    assert!(make(1, BUFFER as usize + 1).unwrap_err().contains("frame 0 of 2049"));
    let (port, device, _) = dpdk.open(c"mrg_rxbuf=0,in_order=1", BUFFER).unwrap();
    let frames = dpdk.make((0..3).map(|index| arena::frame(index, 64)), BUFFER).unwrap();
    let reads = |index| {
        let mut bytes = Vec::new();
        dpdk.read(index, &mut bytes).map(|()| bytes).map_err(|error| error.to_string())
    };
    assert!(reads(0).is_err());
    // All that there are.
    assert_eq!((dpdk.enqueue(device, frames), dpdk.take(port, usize::MAX)), (3, 3));
    assert_eq!((reads(2), reads(3)), (Ok(arena::frame(2, 64)), Err("there are 3 frames".to_owned())));
    dpdk.free();
    assert_eq!(reads(0), Err("there are 0 frames".to_owned()));
    // Nothing is freed twice.
    dpdk.free();
    assert_eq!((dpdk.enqueue(device, frames), dpdk.take(port, 3)), (3, 3));
    dpdk.free();
}

#[test]
fn the_floor_copies_no_frame_for_which_a_buffer_has_no_room() {
    use crate::device::Device;
    let mut arena = Arena::new(BUFFER).unwrap();
    let driver = Driver::new(&mut arena, Ring::Split).unwrap();
    let mut floor = copy::Copy::new(&arena, vec![(Ring::Split, driver.layout())]);
    floor.prepare(Ring::Split, 32, IMIX).unwrap();
    floor.prepare(Ring::Split, 32, SHORT).unwrap();
    assert!(floor.prepare(Ring::Split, 32, 9000).unwrap_err().to_string().contains("no room for 9000 bytes"));
}
