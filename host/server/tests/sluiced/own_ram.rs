//! Processes with memory of their own as RAM.

use crate::hostile::others_go_on;
use crate::lab::*;
use crate::processes::{drive, lab, others};
use crate::stranger::Stranger;
use crate::windows::{Killed, PAIRS, example, start};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use sluice_abi::call::Status;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The length of the RAM of the process in [`lab`], and in units of requests.
const LEN: u64 = 4 << 20;
const UNITS: u32 = 2;

fn file(len: u64) -> File {
    let file = File::from(memfd_create("own", MemfdFlags::CLOEXEC).expect("a file"));
    file.set_len(len).expect("room");
    file
}

/// The frames of a generator lie in the file, and arrive as from any other RAM.
#[test]
fn a_process_sends_out_of_memory_of_its_own() {
    let lab = Lab::new(&(vm('g', "ram_mib = 32\npeers = [\"b\"]") + &vm('b', "")));
    let mut b = lab.connect_with('b', &PAIRS);
    let path = lab.file("ram");
    File::create(&path).and_then(|file| file.set_len(32 << 20)).expect("a file");
    let mut generator = example("generator");
    generator.args(["b", "count=100", "length=200"]).env("SLUICE_RAM", &path);
    let process = start(&lab, 'g', generator);
    let mut bytes = [0; 2_048];
    let (mut next, begin) = (0_u64, std::time::Instant::now());
    while next < 100 {
        assert!(begin.elapsed() < PATIENCE, "{next} frames");
        let Some(len) = b.receive(1, &mut bytes).expect("a receive queue") else { continue };
        b.flush(1).expect("published");
        assert_eq!((len, &bytes[14..22]), (200, &next.to_be_bytes()[..]));
        next += 1;
    }
    assert!(process.wait_with_output().expect("an end").status.success());
    let ram = std::fs::read(&path).expect("the file");
    let head = [&mac('b')[..], &mac('g'), &[0x88, 0xb5]].concat();
    assert!(ram.windows(head.len()).any(|bytes| bytes == head), "no frame lies in the file");
}

#[test]
fn a_file_of_another_length_is_refused_before_it_is_given() {
    let lab = Lab::new(&(vm('g', "ram_mib = 32\npeers = [\"b\"]") + &vm('b', "")));
    let path = lab.file("ram");
    File::create(&path).and_then(|file| file.set_len(30 << 20)).expect("a file");
    let mut generator = example("generator");
    generator.arg("b").env("SLUICE_RAM", &path);
    let output = start(&lab, 'g', generator).wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("ram_mib of this VM is 32 MiB"), "{said}");
    // Another one is as welcome as ever.
    let _g = Killed(start(&lab, 'g', {
        let mut generator = example("generator");
        generator.arg("b");
        generator
    }));
    lab.until('g', |g| g["connected_seconds"].is_number());
}

/// All of these are answered, and the process goes on with the RAM that it has.
#[test]
fn what_can_not_be_ram_is_refused_and_the_session_goes_on() {
    let lab = lab();
    let (mut b, mut c) = others(&lab);
    let mut g = Stranger::connect(&lab, 'g');
    let (long, short, folder) = (file(LEN + (2 << 20)), file(LEN - 1), File::open("/").expect("a folder"));
    let zero = File::options().read(true).write(true).open("/dev/zero").expect("a device");
    let read_only = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&long))).expect("a copy");
    let [invalid, bad, access] = [Errno::INVAL, Errno::BADF, Errno::ACCESS].map(|errno| errno.raw_os_error() as u32);
    for (request, file, expected) in [
        ([6, UNITS, 0, 0], &short, invalid),
        ([6, UNITS, 2, 0], &long, invalid),
        ([6, UNITS, u32::MAX, 0], &long, invalid),
        ([6, UNITS + 1, 0, 0], &long, invalid),
        ([6, 0, 0, 0], &long, invalid),
        ([6, u32::MAX, 0, 0], &long, invalid),
        ([6, UNITS, 0, 0], &folder, invalid),
        ([6, UNITS, 0, 0], &zero, invalid),
        ([6, UNITS, 0, 0], &read_only, access),
    ] {
        assert_eq!(g.request_with(request, &[file]).expect("an answer"), expected, "{request:?} {file:?}");
        others_go_on(&mut b, &mut c);
    }
    assert_eq!(g.request([6, UNITS, 0, 0]).expect("an answer"), bad, "without a descriptor");
    // A descriptor beside any other request is closed.
    let open = lab.open_at_rest();
    for _ in 0..50 {
        g.request_with([0, 0, 0, 0], &[&long]).expect("an answer");
    }
    assert_eq!(lab.open_at_rest(), open);
    assert_eq!(g.request_with([6, UNITS, 1, 0], &[&long]).expect("an answer"), 0);
    // Once it is used it stays.
    assert_eq!(g.request([2, 0, UNITS, 0]).expect("an answer"), Status::OK.0 as u32);
    let busy = Errno::BUSY.raw_os_error() as u32;
    assert_eq!(g.request_with([6, UNITS, 0, 0], &[&long]).expect("an answer"), busy);
    assert_eq!(long.metadata().expect("a length").len(), LEN + (2 << 20));
    others_go_on(&mut b, &mut c);
}

#[test]
fn a_request_with_many_descriptors_ends_the_process() {
    let lab = lab();
    let (mut b, mut c) = others(&lab);
    let (long, mut open) = (file(LEN), Vec::new());
    for files in [&[&long, &long][..], &[&long; 10], &[&long; 3]] {
        let mut g = Stranger::connect(&lab, 'g');
        assert!(g.request_with([6, UNITS, 0, 0], files).is_err());
        g.ends(&lab, 'g', "a request with more than one descriptor");
        open.push(lab.open_at_rest());
        others_go_on(&mut b, &mut c);
    }
    assert!(open.iter().all(|it| *it == open[0]), "descriptors and mappings: {open:?}");
}

/// A process gives its RAM, and a peer's window is on that: what the peer sends lies there.
#[test]
fn a_window_on_a_process_is_on_the_memory_that_it_gave() {
    let lab = Lab::new(&(vm('g', "ram_mib = 4\npeers = [\"r\"]") + &vm('r', "ram_mib = 4")));
    let mut r = Stranger::connect(&lab, 'r');
    let own = file(LEN);
    assert_eq!(r.request_with([6, UNITS, 0, 0], &[&own]).expect("an answer"), 0);
    r.ram = own.try_clone().expect("a copy");
    drive(&mut r);
    let g = Stranger::connect(&lab, 'g');
    let (_, places, files) = g.placement();
    assert_eq!((places[0].len, places[0].file_offset), (LEN, 0));
    own.write_all_at(b"that is mine", LEN - 12).expect("written");
    let mut bytes = [0; 12];
    File::from(files[0].try_clone().expect("a copy")).read_exact_at(&mut bytes, LEN - 12).expect("its memory");
    assert_eq!(&bytes, b"that is mine");
}
