//! Stock QEMU at the other end: its firmware drives the device before there is any operating system.

#[path = "../../../host/vhost-user/tests/common/mod.rs"]
mod common;

use anyhow::{Context, Result, ensure};
use common::Open;
use sluice_abi::net::F;
use sluice_vhost_user::{Backend, Error, Offer, Session};
use std::time::{Duration, Instant};
use vhost_peers::qemu::{MAC, Qemu};

const PATIENCE: Duration = Duration::from_secs(60);
/// The UDP ports of a DHCP client and of a server. See: RFC 2131, 4.1.
const DHCP: [u8; 4] = [0, 68, 0, 67];

/// Whether `frame` is a DHCP message of the guest to everybody, with an IPv4 header without options.
fn is_discover(frame: &[u8]) -> bool {
    frame.len() > 42
        && frame[..6] == [0xff; 6]
        && frame[6..12] == MAC
        && frame[12..14] == [8, 0]
        && frame[23] == 17
        && frame[34..38] == DHCP
}

/// Waits for a DHCP message of the guest.
fn discover(session: &mut Session) -> Result<()> {
    let (start, mut frame) = (Instant::now(), [0; 2_048]);
    while start.elapsed() < PATIENCE {
        session.handle(Duration::from_millis(1))?;
        while let Some(len) = session.device().dequeue(0, &mut frame)? {
            session.device().publish(0)?;
            if is_discover(&frame[..len]) {
                return Ok(());
            }
        }
    }
    anyhow::bail!("no DHCP message within {PATIENCE:?}")
}

/// Waits until the rings are stopped and run again.
fn restart(session: &mut Session) -> Result<()> {
    let start = Instant::now();
    while session.device().is_running(1) {
        session.handle(Duration::from_millis(50))?;
        ensure!(start.elapsed() < PATIENCE, "the VM was reset, and the rings go on");
    }
    Ok(session.until_running(1, PATIENCE)?)
}

/// Serves the network boot of one QEMU, which is then killed.
fn boot(backend: &Backend, socket: &std::path::Path, pairs: u16) -> Result<()> {
    let mut qemu = Qemu::start(socket, pairs)?;
    let mut session = backend.accept(PATIENCE)?;
    session.until_running(1, PATIENCE).with_context(|| qemu.kill().unwrap_or_default())?;
    let device = session.device();
    ensure!(device.features().contains(F::VERSION_1), "{:?}", device.features());
    ensure!(device.queue(0).is_some() && device.queue(1).is_some(), "QEMU has enabled both rings");
    ensure!(device.memory().iter().map(|(region, _)| region.len).sum::<u64>() >= 200 << 20, "not all of the memory");
    discover(&mut session).with_context(|| qemu.kill().unwrap_or_default())?;
    qemu.reset()?;
    restart(&mut session).with_context(|| qemu.kill().unwrap_or_default())?;
    discover(&mut session).with_context(|| qemu.kill().unwrap_or_default())?;
    qemu.kill()?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match session.handle(Duration::from_millis(50)) {
            Err(Error::HungUp) => return Ok(()),
            other => drop(other?),
        }
    }
    anyhow::bail!("QEMU is dead, and nobody noticed")
}

#[test]
fn the_firmware_of_a_vm_boots_from_our_device_side_in_qemu() {
    let _turn = common::turn();
    for pairs in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let features =
            F::VERSION_1 | F::MRG_RXBUF | F::RING_PACKED | F::INDIRECT_DESC | F::EVENT_IDX | F::MQ | F::CTRL_VQ;
        let backend = Backend::bind(&socket, Offer { features, pairs }).unwrap();
        let before = Open::now();
        boot(&backend, &socket, pairs).unwrap_or_else(|error| panic!("{pairs} pairs: {error:?}"));
        assert_eq!(Open::now(), before);
    }
}
