//! Stock QEMU as a VM.

use crate::lab::*;
use std::time::{Duration, Instant};
use vhost_peers::qemu::{MAC, Qemu};

/// The firmware asks for an address by a broadcast, before and after a reset.
#[test]
fn what_firmware_broadcasts_reaches_its_lan_in_qemu() {
    let qemu = "[[vm]]\nname = \"q\"\nmac = \"52:54:00:12:34:56\"\nlan = [\"b\"]\n";
    let lab = Lab::new(&(qemu.to_owned() + &vm('b', "")));
    let mut b = lab.connect('b', PACKED);
    let mut vm = Qemu::start(&lab.socket('q'), 1).expect("QEMU");
    for life in 1..=2 {
        let (start, mut bytes) = (Instant::now(), [0; 2_048]);
        let len = loop {
            if let Some(len) = b.receive(0, &mut bytes).expect("a receive queue") {
                break len;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "life {life}: {}", lab.status('q'));
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(len >= 60 && bytes[6..12] == MAC, "{:02x?}", &bytes[..len]);
        vm.reset().expect("a monitor");
        lab.until('q', |q| q["rings"].as_array().is_some_and(Vec::is_empty));
        while b.receive(0, &mut bytes).expect("a receive queue").is_some() {}
        b.flush(0).expect("published");
    }
    drop(vm);
    lab.until('q', |q| q["connected_seconds"].is_null() && q["connects"] == 1);
}
