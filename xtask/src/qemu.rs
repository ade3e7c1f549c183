//! A boot image in QEMU, which emulates no VMX: how far the boot loader gets, and what the monitor then says.

use anyhow::Result;
use sluice_guard::bounded;
use sluice_report::Report;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Time that a boot may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The firmware that starts the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// Boots `image` and runs it to the monitor's verdict; at most a minute.
pub fn boot(image: &Path, firmware: Firmware) -> Result<Report> {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-m", "256", "-nographic", "-no-reboot"]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]).arg("-cdrom").arg(image);
    if firmware == Firmware::Uefi {
        command.args(["-bios", "/usr/share/ovmf/OVMF.fd"]);
    }
    let ended = bounded(&mut command, PATIENCE)?;
    Ok(Report::parse(&String::from_utf8_lossy(&ended.output), "monitor"))
}
