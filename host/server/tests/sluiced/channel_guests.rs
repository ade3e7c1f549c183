//! Stock Linux in stock QEMU with channels of the server, as memory of a device.

use crate::channels::{channel, program, state, until};
use crate::lab::*;
use crate::linux::linux;
use anyhow::{Result, ensure};
use sluice_channel::{ReadError, Reader, Writer};
use sluice_channels::{Connected, Files};
use sluice_tests_qemu::{Guest, Vm};
use std::ffi::OsString;
use std::fs;
use std::time::Instant;

/// Packets each way.
const COUNT: u64 = 10_000;

/// QEMU's options for a device at PCI address `at` with the memory of channel `name`.
fn device(lab: &Lab, name: &str, at: &str, more: &str) -> [OsString; 4] {
    let object = format!("memory-backend-file,id={name},share=on,size=2M,mem-path={}{more}", lab.file(name).display());
    ["-object".into(), object.into(), "-device".into(), format!("ivshmem-plain,memdev={name},addr={at}").into()]
}

/// The guest reads what a process of the host writes, with memory that it can't write, and writes what another reads.
#[test]
fn a_stock_guest_reads_a_channel_and_writes_another_with_qemu() -> Result<()> {
    let table = |name: &str| channel(name, "packets", &format!("file = \"{name}\""));
    let lab = Lab::new(&(table("down") + &table("up")));
    let options = [device(&lab, "down", "0x10", ",readonly=on"), device(&lab, "up", "0x11", "")].concat();
    let files = vec![("channel".into(), fs::read(program("-static"))?)];
    let mut guest = Guest::start(&linux(), &Vm { files, options, ..Vm::new("guest", Vec::new()) })?;
    let of_writer = Connected::writer(&lab.file("down.writer"), Files::Any)?;
    let mut writer = Writer::open(of_writer.memory())?;
    (0..COUNT).try_for_each(|number| writer.write(&number.to_le_bytes()))?;
    let of_reader = Connected::reader(&lab.file("up.reader"), Files::Any)?;
    let mut reader = Reader::open(of_reader.memory())?;
    guest.run("for at in 10 11; do echo 1 >/sys/bus/pci/devices/0000:00:$at.0/enable; done")?;
    let mut bar = |what: &str, at: &str| {
        guest.run(&format!("/channel {what} /sys/bus/pci/devices/0000:00:{at}.0/resource2 {COUNT}"))
    };
    ensure!(bar("bar-read", "10")?.contains(&format!("read {COUNT}")));
    bar("bar-scribble", "10")?;
    ensure!(bar("bar-read", "10")?.contains(&format!("read {COUNT}")), "what it can only read is as it was");
    bar("bar-write", "11")?;
    let (start, mut next, mut bytes) = (Instant::now(), 0_u64, [0; 8]);
    while next < COUNT {
        match reader.read(&mut bytes) {
            Ok(None) => ensure!(start.elapsed() < PATIENCE, "{next} packets"),
            Ok(Some(8)) if u64::from_le_bytes(bytes) == next => next += 1,
            Err(ReadError::NewWriter { .. }) => {}
            other => anyhow::bail!("{other:?} instead of {next}"),
        }
    }
    assert_eq!(state(&lab, "up")["written_bytes"], 32 * COUNT);
    // A guest writes what it likes, and the server and the reader look at it.
    bar("bar-scribble", "11")?;
    until(&lab, "up", |up| up["written_bytes"] == u64::MAX);
    ensure!(matches!(reader.read(&mut bytes), Err(ReadError::Fault(_))));
    Ok(())
}
