//! A front-end that is no part of DPDK: stock QEMU, as a child process.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The guest's MAC address.
pub const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// A running QEMU with a VM without a disk, whose firmware boots from the network. Dropping this kills it.
pub struct Qemu {
    child: Child,
}

impl Qemu {
    /// Starts QEMU with its front-end at `socket`, of `pairs` queue pairs.
    ///
    /// The device has no MSI-X vectors: QEMU 7.2 ends when a driver starts a vhost-user device that has some, in an
    /// emulated VM.
    pub fn start(socket: &Path, pairs: u16) -> Result<Self> {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-machine", "q35,memory-backend=memory", "-accel", "tcg", "-m", "256M", "-display", "none"]);
        command.args(["-nodefaults", "-boot", "n", "-object", "memory-backend-memfd,id=memory,size=256M,share=on"]);
        command.arg("-chardev").arg(format!("socket,id=socket,path={}", socket.display()));
        command.arg("-netdev").arg(format!("vhost-user,id=net,chardev=socket,queues={pairs}"));
        let multi = if pairs > 1 { "on" } else { "off" };
        let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
        command.arg("-device").arg(format!(
            "virtio-net-pci,netdev=net,mac={mac},vectors=0,disable-legacy=on,mq={multi},romfile=pxe-virtio.rom"
        ));
        command.args(["-monitor", "stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Self { child: sluice_guard::tie(&mut command).spawn().context("qemu-system-x86_64")? })
    }

    /// Resets the VM, whose firmware then starts again.
    pub fn reset(&mut self) -> Result<()> {
        let monitor = self.child.stdin.as_mut().context("QEMU has no standard input")?;
        Ok(writeln!(monitor, "system_reset")?)
    }

    /// Kills QEMU, as `kill -9` does, and returns what it has printed.
    pub fn kill(&mut self) -> Result<String> {
        self.child.kill()?;
        self.child.wait()?;
        let mut output = String::new();
        self.child.stderr.take().map_or(Ok(0), |mut stderr| stderr.read_to_string(&mut output))?;
        Ok(output)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // QEMU may have ended by itself.
        let _ = self.kill();
    }
}
