//! DPDK's `rte_vhost_enqueue_burst`. We are its front-end, over vhost-user.

use crate::arena::{Arena, frame};
use crate::device::{self, Ring};
use crate::dpdk::{Device, Dpdk, Frames};
use crate::driver::Driver;
use crate::imix;
use anyhow::{Context, Result, bail};
use sluice_abi::directory::Queue;
use std::os::fd::AsRawFd;
use std::path::Path;
use vhost::vhost_user::Frontend;
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::EventFd;

/// Where a packed ring starts: slot 0, wrap counter 1. See: "Vhost-user Protocol", VHOST_USER_SET_VRING_BASE.
const PACKED_BASE: u16 = 1 << 15;

/// Devices of the library.
pub struct RteVhost {
    dpdk: Dpdk,
    devices: Vec<(Ring, Device)>,
    buffer_len: u32,
    /// Where the frames go that are sent.
    device: Device,
    frames: Frames,
    /// Connections: a device ends with its own.
    _frontends: Vec<Frontend>,
}

impl RteVhost {
    /// A device for each of `queues` of the driver in `arena`; `library` is the file of our C library.
    pub fn new(library: &Path, arena: &mut Arena, queues: &[(Ring, Queue)]) -> Result<Self> {
        let dpdk = Dpdk::hold(library)?;
        let (mut devices, mut frontends) = (Vec::new(), Vec::new());
        for &(ring, queue) in queues {
            frontends.push(connect(dpdk.socket(), arena, ring, queue).with_context(|| format!("{ring:?}"))?);
            devices.push((ring, dpdk.device().with_context(|| format!("{ring:?}"))?));
        }
        let (_, device) = *devices.first().context("no queue")?;
        let (buffer_len, frames) = (arena.buffer_len, Frames::default());
        Ok(Self { dpdk, devices, buffer_len, device, frames, _frontends: frontends })
    }
}

/// Makes frames 0 to `count`, of `len` bytes or of the mix, in buffers of `buffer_len` bytes.
pub fn make_frames(dpdk: &Dpdk, count: u16, len: u16, buffer_len: u32) -> Result<Frames> {
    dpdk.make((0..count).map(|index| frame(index, imix::len(len, index.into()).into())), buffer_len)
}

/// A connection that tells of the driver's memory, of `queue` as receive queue, and of a transmit queue, which the
/// library wants, too.
fn connect(socket: &Path, arena: &mut Arena, ring: Ring, queue: Queue) -> Result<Frontend> {
    let transmitq = Driver::new(arena, ring)?.queue();
    let frontend = Frontend::connect(socket, 2)?;
    frontend.set_owner()?;
    let (wanted, offered) = (ring.features().bits(), frontend.get_features()?);
    if wanted & !offered != 0 {
        bail!("features {:#x} are not offered", wanted & !offered);
    }
    frontend.set_features(wanted)?;
    frontend.set_mem_table(&[VhostUserMemoryRegionInfo {
        guest_phys_addr: 0,
        memory_size: arena.memory.len(),
        userspace_addr: arena.memory.as_ptr() as u64,
        mmap_offset: 0,
        mmap_handle: arena.file.as_raw_fd(),
    }])?;
    for (index, queue) in [queue, transmitq].iter().enumerate() {
        set_up(&frontend, index, queue, arena.memory.as_ptr() as u64, ring)?;
    }
    Ok(frontend)
}

fn set_up(frontend: &Frontend, index: usize, queue: &Queue, base: u64, ring: Ring) -> Result<()> {
    frontend.set_vring_num(index, queue.size)?;
    frontend.set_vring_base(index, if ring == Ring::Packed { PACKED_BASE } else { 0 })?;
    let at = VringConfigData {
        queue_max_size: queue.size,
        queue_size: queue.size,
        flags: 0,
        desc_table_addr: base + queue.addresses.desc.0,
        used_ring_addr: base + queue.addresses.device.0,
        avail_ring_addr: base + queue.addresses.driver.0,
        log_addr: None,
    };
    frontend.set_vring_addr(index, &at)?;
    frontend.set_vring_call(index, &EventFd::new(0)?)?;
    Ok(frontend.set_vring_kick(index, &EventFd::new(0)?)?)
}

impl device::Device for RteVhost {
    fn prepare(&mut self, ring: Ring, count: u16, len: u16) -> Result<()> {
        let found = self.devices.iter().find(|(known, _)| *known == ring);
        self.device = found.context("no such ring")?.1;
        self.frames = make_frames(&self.dpdk, count, len, self.buffer_len)?;
        Ok(())
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        self.dpdk.enqueue(self.device, self.frames)
    }
}
