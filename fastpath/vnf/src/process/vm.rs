//! A program within a VM that `sluiced` serves: a virtio-serial port leads to the server, and ivshmem devices are the
//! file with this program's RAM, and the memory of its peers. See: QEMU, "Inter-VM Shared Memory device".

use super::print;
use super::shared::Slot;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use sluice::PeerSlice;
use sluice_abi::PeerIdx;
use sluice_abi::handover::window_file;
use sluice_abi::map::{self, PAGE};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Where the system has its PCI devices.
const PCI: &str = "/sys/bus/pci/devices";
/// The identity of ivshmem devices: vendor and device. See: QEMU, "Device Specification for Inter-VM shared memory
/// device".
const IVSHMEM: [&str; 2] = ["0x1af4", "0x1110"];
/// The shared memory of such a device. See: Linux, Documentation/PCI/sysfs-pci.rst.
const MEMORY: &str = "resource2";
/// Largest number of bytes that answers to an earlier program can have.
const STALE: usize = 1 << 20;

/// An ivshmem device.
struct Device {
    folder: PathBuf,
    memory: File,
    /// Length of its memory, bytes.
    len: u64,
}

/// What the devices and the port of the VM are to this program.
pub struct Handed {
    pub port: OwnedFd,
    pub slot: Slot,
    pub ram: PeerSlice<'static>,
}

/// Takes the port at `path` and the devices of the VM: of those in the order of their PCI addresses the first is the
/// file with the RAM, and the others are the memory of the peers, in the order of the policy.
pub fn connect(path: &Path) -> io::Result<Handed> {
    let mut devices = devices(Path::new(PCI))?.into_iter();
    let own = devices.next().ok_or_else(|| io::Error::other("no ivshmem device: the VM needs one with window_file"))?;
    let port = OpenOptions::new().read(true).write(true).open(path);
    let mut port = port.map_err(|error| named(path, &error))?;
    let mut slot = Slot::reserve()?;
    let in_device = |error: io::Error| named(&own.folder, &error);
    slot.map_directory(&own.memory, window_file::DIRECTORY).map_err(in_device)?;
    if !slot.has_directory() {
        return Err(named(&own.folder, &"the first ivshmem device has no window directory: it is not window_file"));
    }
    slot.map_request(&own.memory, window_file::REQUEST).map_err(in_device)?;
    let ram = slot.map(map::PACKETS, &own.memory, window_file::RAM).map_err(in_device)?;
    begin(&mut port).map_err(|error| named(path, &error))?;
    // What an earlier program has left there is nothing to this one.
    clear(ram);
    for (index, device) in devices.enumerate() {
        let idx = PeerIdx::new(index).ok_or_else(|| named(&device.folder, &"a VM has not as many peers"))?;
        slot.map(map::peer_base(idx), &device.memory, 0).map_err(|error| named(&device.folder, &error))?;
        let pages = u32::try_from(device.len / PAGE).map_err(|_| named(&device.folder, &"it is too long"))?;
        exchange(&mut port, [5, index as u32, pages, 0]).map_err(|error| named(path, &error))?;
    }
    Ok(Handed { port: port.into(), slot, ram })
}

/// Returns the ivshmem devices in `folder`, in the order of their addresses, with their memory enabled.
fn devices(folder: &Path) -> io::Result<Vec<Device>> {
    let entries = fs::read_dir(folder).map_err(|error| named(folder, &error))?;
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    folders.sort();
    let is = |folder: &Path, [vendor, device]: [&str; 2]| {
        let has = |name: &str, id: &str| fs::read_to_string(folder.join(name)).is_ok_and(|text| text.trim() == id);
        has("vendor", vendor) && has("device", device)
    };
    folders.into_iter().filter(|folder| is(folder, IVSHMEM)).map(Device::open).collect()
}

impl Device {
    fn open(folder: PathBuf) -> io::Result<Self> {
        let enable = folder.join("enable");
        fs::write(&enable, "1").map_err(|error| named(&enable, &error))?;
        let path = folder.join(MEMORY);
        let memory = OpenOptions::new().read(true).write(true).open(&path);
        let memory = memory.map_err(|error| named(&path, &error))?;
        let len = memory.metadata()?.len();
        Ok(Self { folder, memory, len })
    }
}

/// Says that this program begins, and passes over answers that were another's.
fn begin(port: &mut File) -> io::Result<()> {
    let number = std::process::id() ^ super::host_time() as u32;
    send(port, [4, number, 0, 0])?;
    // Words may be cut where the other program stopped to read.
    let mut last = [0; 4];
    for read in 1..=STALE {
        last.rotate_left(1);
        port.read_exact(&mut last[3..])?;
        if read >= 4 && last == number.to_ne_bytes() {
            return Ok(());
        }
    }
    Err(io::Error::other("no server of sluiced is at the other end"))
}

/// Sends a message to the server, and returns its answer.
fn exchange(port: &mut File, message: [u32; 4]) -> io::Result<u32> {
    send(port, message)?;
    let mut answer = [0; 4];
    port.read_exact(&mut answer)?;
    Ok(u32::from_ne_bytes(answer))
}

fn send(port: &mut File, message: [u32; 4]) -> io::Result<()> {
    port.write_all(message.map(u32::to_ne_bytes).as_flattened())
}

/// Ends this program once the server at the other end of `port` has gone, as a VM ends whose host is switched off.
pub fn follow(port: OwnedFd) -> io::Result<()> {
    let work = move || {
        loop {
            let mut fds = [PollFd::new(&port, PollFlags::empty())];
            if poll(&mut fds, None).is_ok() && fds[0].revents().contains(PollFlags::HUP) {
                break;
            }
        }
        print(format_args!("error: the server has gone\n"));
        std::process::exit(1)
    };
    std::thread::Builder::new().name("sluice-server".into()).spawn(work).map(drop)
}

/// Writes zeros to all of `ram`.
fn clear(ram: PeerSlice<'static>) {
    let zeros = [0; PAGE as usize];
    for at in (0..ram.len()).step_by(zeros.len()) {
        // The length is a multiple of the page.
        let _ = ram.copy_from_slice(at, &zeros);
    }
}

/// Returns an error about `path`.
fn named(path: &Path, what: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ivshmem_devices_are_found_in_the_order_of_their_addresses() {
        let folder = tempfile::tempdir().expect("a folder");
        for (address, id, len) in
            [("0000:00:06.0", "0x1110", 4096), ("0000:00:05.0", "0x1110", 8192), ("0000:00:04.0", "0x1000", 1)]
        {
            let device = folder.path().join(address);
            fs::create_dir(&device).expect("a folder");
            for (name, text) in [("vendor", "0x1af4\n"), ("device", id)] {
                fs::write(device.join(name), text).expect("a file");
            }
            fs::write(device.join(MEMORY), vec![0; len]).expect("a file");
        }
        let found = devices(folder.path()).expect("devices");
        assert_eq!(found.iter().map(|it| it.len).collect::<Vec<_>>(), [8192, 4096]);
        let enabled = |address: &str| fs::read_to_string(folder.path().join(address).join("enable")).ok();
        assert_eq!(enabled("0000:00:05.0").as_deref(), Some("1"));
        assert_eq!(enabled("0000:00:04.0"), None, "no other device is touched");
    }
}
