//! A boot image in QEMU, which emulates no VMX: how far the boot loader gets, and what the monitor then says.

use crate::Report;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Command, Stdio};

/// How the machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// Boots `image` and runs it to the monitor's verdict; at most a minute.
pub fn boot(image: &Path, firmware: Firmware) -> Result<Report> {
    let mut command = Command::new("timeout");
    command.args(["60", "qemu-system-x86_64", "-m", "256", "-nographic", "-no-reboot"]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]).arg("-cdrom").arg(image);
    if firmware == Firmware::Uefi {
        command.args(["-bios", "/usr/share/ovmf/OVMF.fd"]);
    }
    let output = command.stdin(Stdio::null()).output().context("qemu-system-x86_64")?;
    Ok(Report::parse(&String::from_utf8_lossy(&output.stdout), "monitor"))
}
