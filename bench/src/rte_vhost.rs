//! DPDK's `rte_vhost_enqueue_burst`. We are its front-end, over vhost-user; rte_vhost/rte_vhost.c makes a library of
//! it.
#![allow(unsafe_code, reason = "calls a library of C")]

use crate::arena::{Arena, SIZE, frame};
use crate::device::{Device, Ring};
use crate::driver::Driver;
use crate::imix;
use crate::receive::Functions;
use anyhow::{Context, Result, anyhow, bail};
use core::ffi::{c_char, c_int, c_uint};
use libloading::{Library, Symbol};
use sluice_abi::directory::Queue;
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use vhost::vhost_user::Frontend;
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::EventFd;

/// Milliseconds in which the library must have a device ready.
pub const PATIENCE: c_uint = 5000;
/// Where a packed ring starts: slot 0, wrap counter 1. See: "Vhost-user Protocol", VHOST_USER_SET_VRING_BASE.
const PACKED_BASE: u16 = 1 << 15;

type Start = unsafe extern "C" fn(*const c_char) -> c_int;
type Ready = unsafe extern "C" fn(c_uint) -> c_int;
type Frame = unsafe extern "C" fn(c_uint, c_uint, c_uint) -> *mut u8;
type Enqueue = unsafe extern "C" fn(c_int, c_uint) -> c_uint;

/// The library, started. It has one set of frames, so one user at a time.
pub struct Vhost {
    socket: PathBuf,
    pub ready: Ready,
    frame: Frame,
    pub enqueue: Enqueue,
    /// For DPDK's driver.
    pub receive: &'static Functions,
}

/// The library of file `library`, started once.
pub fn vhost(library: &Path) -> Result<&'static Mutex<Vhost>> {
    static VHOST: OnceLock<Result<Mutex<Vhost>, String>> = OnceLock::new();
    let started = VHOST.get_or_init(|| start(library).map(Mutex::new).map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|what| anyhow!("{what}"))
}

impl Vhost {
    /// Makes frames 0 to `count` of `len` bytes each, in buffers of `buffer_len` bytes.
    pub fn prepare(&self, count: u16, len: u16, buffer_len: u32) -> Result<()> {
        for index in 0..count.min(SIZE) {
            let len = imix::len(len, index.into());
            let bytes = frame(index, len.into());
            // SAFETY: the library's function with this signature.
            let at = unsafe { (self.frame)(index.into(), len.into(), buffer_len) };
            if at.is_null() {
                bail!("rte_vhost: no mbufs of {buffer_len} bytes");
            }
            // SAFETY: the frame has as many bytes, and nobody else uses them now.
            unsafe { at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
        Ok(())
    }
}

/// Devices of the library.
pub struct RteVhost {
    vhost: MutexGuard<'static, Vhost>,
    devices: Vec<(Ring, c_int)>,
    buffer_len: u32,
    vid: c_int,
    count: u16,
    /// Connections: a device ends with its own.
    _frontends: Vec<Frontend>,
}

impl RteVhost {
    /// A device for each of `queues` of the driver in `arena`; `library` is the file of our C library.
    pub fn new(library: &Path, arena: &mut Arena, queues: &[(Ring, Queue)]) -> Result<Self> {
        let vhost = vhost(library)?.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut devices, mut frontends) = (Vec::new(), Vec::new());
        for &(ring, queue) in queues {
            frontends.push(connect(&vhost.socket, arena, ring, queue).with_context(|| format!("{ring:?}"))?);
            // SAFETY: the library's function with this signature.
            let vid = unsafe { (vhost.ready)(PATIENCE) };
            if vid < 0 {
                bail!("rte_vhost does not take the {ring:?} ring");
            }
            devices.push((ring, vid));
        }
        Ok(Self { buffer_len: arena.buffer_len, vhost, devices, vid: -1, count: 0, _frontends: frontends })
    }
}

fn start(library: &Path) -> Result<Vhost> {
    let socket = tempfile::tempdir()?.keep().join("socket");
    let path = CString::new(socket.to_string_lossy().as_bytes())?;
    // SAFETY: our own library, whose functions have these signatures; it is never unloaded.
    unsafe {
        let library: &'static Library = Box::leak(Box::new(Library::new(library)?));
        let start: Symbol<'_, Start> = library.get(b"bench_start")?;
        match start(path.as_ptr()) {
            0 => {}
            1 => bail!("rte_eal_init failed"),
            _ => bail!("no socket at {}", socket.display()),
        }
        let (ready, frame) = (*library.get(b"bench_device")?, *library.get(b"bench_frame")?);
        let receive = Box::leak(Box::new(Functions {
            port: *library.get(b"bench_port")?,
            rx: *library.get(b"bench_rx")?,
            taken: *library.get(b"bench_taken")?,
            free: *library.get(b"bench_free")?,
        }));
        Ok(Vhost { socket, ready, frame, enqueue: *library.get(b"bench_enqueue")?, receive })
    }
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

impl Device for RteVhost {
    fn prepare(&mut self, ring: Ring, count: u16, len: u16) -> Result<()> {
        let found = self.devices.iter().find(|(known, _)| *known == ring);
        (self.vid, self.count) = (found.context("no such ring")?.1, count);
        self.vhost.prepare(count, len, self.buffer_len)
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        // SAFETY: the library's function with this signature; prepare() made the frames.
        unsafe { (self.vhost.enqueue)(self.vid, self.count.into()) as usize }
    }
}
