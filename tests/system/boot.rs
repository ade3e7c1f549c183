//! The image for a real machine, as far as a machine without VMX can boot it.

use crate::build_bare;
use xtask::image;
use xtask::qemu::{self, Firmware};

fn boots(firmware: Firmware) {
    build_bare();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sluice.iso");
    image::write(&path).expect("an image");
    let report = qemu::boot(&path, firmware).expect("a run");
    assert_eq!(report.verdict, Some(Err("this processor lacks: VMX".into())), "{:#?}", report.lines);
}

#[test]
fn the_image_boots_by_bios_in_qemu_and_names_what_is_missing() {
    boots(Firmware::Bios);
}

#[test]
fn the_image_boots_by_uefi_in_qemu_and_names_what_is_missing() {
    boots(Firmware::Uefi);
}
