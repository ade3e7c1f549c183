//! What the kernel says of frames and headers that no VM of a test would send.

use super::*;
use sluice_abi::net::{HdrF, gso};
use std::process::Command;

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("ip");
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_header_that_lies_is_refused_by_the_kernel_and_costs_no_other_frame_with_tap() {
    let name = format!("slu{:x}", std::process::id());
    let mut tap = TapDevice::open(&name, true).expect("a tap");
    ip(&format!("link set {name} up"));
    let mut bytes = [0_u8; 100];
    bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    let checksum = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 16, ..Hdr::default() };
    let segments = Hdr { gso_type: gso::TCPV4, gso_size: 10, ..checksum };
    let cases = [
        (Hdr::default(), Enqueue::Filled),
        (checksum, Enqueue::Filled),
        (Hdr { csum_start: 90, ..checksum }, Enqueue::BadHeader),
        (Hdr { csum_start: u16::MAX, csum_offset: u16::MAX, ..checksum }, Enqueue::BadHeader),
        (Hdr { gso_type: 2, ..segments }, Enqueue::BadHeader),
        (Hdr { gso_size: 0, ..segments }, Enqueue::BadHeader),
        (Hdr::default(), Enqueue::Filled),
    ];
    for (hdr, wanted) in cases {
        let frame = PeerSlice::from_mut(&mut bytes[..]);
        assert_eq!(TapRing(&mut tap).enqueue(&hdr, frame, 0), Ok(wanted), "{hdr:?}");
    }
    assert_eq!((tap.fault(), tap.is_down), (None, false));
}

#[test]
fn a_device_that_is_deleted_is_a_fault_whatever_is_done_next_with_tap() {
    for is_read in [false, true] {
        let name = format!("slv{:x}{}", std::process::id(), u8::from(is_read));
        let mut tap = TapDevice::open(&name, true).expect("a tap");
        ip(&format!("link del {name}"));
        let mut bytes = [0_u8; 100];
        let memory = PeerSlice::from_mut(&mut bytes[..]);
        if is_read {
            assert_eq!(TapRing(&mut tap).dequeue(memory), Ok(Dequeue::Empty));
        } else {
            assert_eq!(TapRing(&mut tap).enqueue(&Hdr::default(), memory, 0), Ok(Enqueue::Full));
        }
        assert!(tap.fault().is_some_and(|why| why.starts_with("the device is gone: ")), "{:?}", tap.fault());
    }
}
