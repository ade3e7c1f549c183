use super::*;
use sluice_test_memory::zeroed;

const SHAPE: Shape = Shape { entries: 64, lists: 4 };

fn header() -> Header {
    let (entries, lists) = (SHAPE.entries, SHAPE.lists);
    let ports = std::array::from_fn(|pair| pair as u16);
    Header { entries, lists, slow_pair: 3, seed: [1, 2], ports, ..Header::default() }
}

#[test]
fn the_memory_is_made_of_large_pages_and_has_room_for_all() {
    assert_eq!(FlowMemory::lens(SHAPE), Some((PAGE, PAGE)));
    let (table, records) = FlowMemory::lens(Shape { entries: 1 << 20, lists: 1 << 10 }).expect("room");
    assert!(table.is_multiple_of(PAGE) && records.is_multiple_of(PAGE));
    assert!(table > 128 << 20 && records == (64 << 20) + PAGE);
    assert_eq!(FlowMemory::lens(Shape { entries: 1 << 24, lists: 4 }), None);
    let (table, records) = (zeroed(PAGE), zeroed(PAGE));
    let made = FlowMemory::create(table, records, header()).expect("memory");
    let opened = FlowMemory::open(table, records).expect("memory");
    assert_eq!(opened.header(), made.header());
    assert_eq!((opened.shape(), opened.pairs(), opened.slow_pair()), (SHAPE, 4, 3));
    assert_eq!((opened.table().len(), opened.records().len()), (SHAPE.lines(), 64));
    assert_eq!((opened.header().table_len, opened.header().records_len), (PAGE, PAGE));
    // No part of the records is another one.
    let at = |line: &CacheLine| std::ptr::from_ref(line).addr();
    let ends = [at(opened.report()), at(&opened.counters()[0]), at(opened.counters().last().expect("lines"))];
    assert!(ends.is_sorted() && ends[2] < at(&opened.records()[0]));
}

#[test]
fn what_is_no_flow_memory_is_refused() {
    let (table, records) = (zeroed(PAGE), zeroed(PAGE));
    assert_eq!(FlowMemory::open(table, records).err(), Some(FlowMemoryError::Magic(0)));
    let mut ports = header().ports;
    ports[63] = PORTS;
    let wrong = Shape { entries: 65, lists: 4 };
    for (header, error) in [
        (Header { slow_pair: 0, ..header() }, FlowMemoryError::SlowPair(0)),
        (Header { slow_pair: 64, ..header() }, FlowMemoryError::SlowPair(64)),
        (Header { ports, ..header() }, FlowMemoryError::Port { pair: 63, port: PORTS }),
        (Header { entries: 65, ..header() }, FlowMemoryError::Shape(ShapeError::Shape(wrong))),
        (Header { entries: 1 << 16, ..header() }, FlowMemoryError::Short),
    ] {
        assert_eq!(FlowMemory::create(table, records, header).err(), Some(error));
    }
    FlowMemory::create(table, records, header()).expect("memory");
    assert_eq!(FlowMemory::open(table, records.sub(0, 4096).expect("inside")).err(), Some(FlowMemoryError::Short));
    table.write(8, 2u32).expect("inside");
    assert_eq!(FlowMemory::open(table, records).err(), Some(FlowMemoryError::Version(2)));
}
