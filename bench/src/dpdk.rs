//! DPDK, by way of our library of C (rte_vhost/rte_vhost.c): every call of it.
//!
//! The library has one set of frames and one list of what was taken, and checks little of what it is asked for. So one
//! thread has it at a time, and what a call relies on is a value that an earlier call returned.
#![allow(unsafe_code, reason = "calls a library of C")]

use crate::arena::SIZE;
use crate::socket::{c_path, new_socket};
use anyhow::{Context, Result, anyhow, bail};
use core::ffi::{c_char, c_int, c_uint};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Milliseconds in which the library must have a device ready.
const PATIENCE: c_uint = 5000;
/// Bytes for what DPDK's driver says of its way to receive.
const PATH_LEN: usize = 64;
/// Frames that are carried over links at once.
const LINK_BURST: c_uint = 32;
/// Packets that are copied through a ring at once, and what their distance is a multiple of, in bytes.
const RING_BURST: usize = 32;
const RING_UNIT: usize = 4;
/// Bytes of a key of the library's hash table.
pub const KEY_LEN: usize = 16;

/// The library, started.
struct Library {
    socket: PathBuf,
    device: unsafe extern "C" fn(c_uint) -> c_int,
    frame: unsafe extern "C" fn(c_uint, c_uint, c_uint) -> *mut u8,
    enqueue: unsafe extern "C" fn(c_int, c_uint) -> c_uint,
    port: unsafe extern "C" fn(*const c_char, *const c_char, c_uint, *mut c_char, c_uint) -> c_int,
    rx: unsafe extern "C" fn(c_int, c_uint) -> c_uint,
    taken: unsafe extern "C" fn(c_uint, *mut c_uint) -> *const u8,
    free: unsafe extern "C" fn(c_uint),
    hash: unsafe extern "C" fn(c_uint) -> c_int,
    hash_add: unsafe extern "C" fn(*const [u8; KEY_LEN], c_uint) -> c_int,
    hash_keys: unsafe extern "C" fn(*const [u8; KEY_LEN], c_uint),
    hash_look_up: unsafe extern "C" fn() -> u64,
    hash_value: unsafe extern "C" fn(c_uint) -> c_uint,
    route: unsafe extern "C" fn(c_uint) -> u64,
    links: unsafe extern "C" fn(c_uint, *const c_char, c_uint) -> c_int,
    links_fill: unsafe extern "C" fn(c_uint, c_uint) -> c_uint,
    links_carry: unsafe extern "C" fn(c_uint, c_uint) -> c_uint,
    links_free: unsafe extern "C" fn(c_uint, c_uint) -> c_uint,
    ring: unsafe extern "C" fn(c_uint, c_uint, c_uint) -> c_int,
    ring_copy: unsafe extern "C" fn(c_uint, *const u8, *mut u8, c_uint, c_uint) -> c_uint,
    /// Frames that were taken and not freed: entries of the library's list that hold one.
    held: AtomicU32,
}

/// The library while its thread has it to itself. All clones are that thread's.
#[derive(Clone)]
pub struct Dpdk {
    loaded: &'static Library,
    _lock: Rc<MutexGuard<'static, ()>>,
}

/// A device of rte_vhost.
#[derive(Clone, Copy)]
pub struct Device(c_int);

/// A port of DPDK's virtio driver.
#[derive(Clone, Copy)]
pub struct Port(c_int);

/// Three links one behind the other, of ports of DPDK.
#[derive(Clone, Copy)]
pub struct Links(c_uint);

/// A ring for packets of one length. The library has two: one of elements, and one of mbufs.
#[derive(Clone, Copy)]
pub struct Ring {
    mbufs: bool,
    /// Bytes of a packet.
    len: u16,
}

impl Ring {
    /// Returns the number of bytes from one packet of a burst to the next.
    pub fn stride(self) -> usize {
        usize::from(self.len).next_multiple_of(if self.mbufs { 1 } else { RING_UNIT })
    }
}

/// A number of frames, all of which the library has: the first ones.
#[derive(Clone, Copy, Default)]
pub struct Frames(c_uint);

impl Library {
    fn start(file: &Path) -> Result<Self> {
        let socket = new_socket()?;
        let path = c_path(&socket)?;
        // SAFETY: our own library, whose functions have these signatures; it is never unloaded.
        unsafe {
            let library = Box::leak(Box::new(libloading::Library::new(file)?));
            let start = library.get::<unsafe extern "C" fn(*const c_char) -> c_int>(b"bench_start")?;
            match start(path.as_ptr()) {
                0 => {}
                1 => bail!("rte_eal_init failed"),
                _ => bail!("no socket at {}", socket.display()),
            }
            Ok(Self {
                socket,
                device: *library.get(b"bench_device")?,
                frame: *library.get(b"bench_frame")?,
                enqueue: *library.get(b"bench_enqueue")?,
                port: *library.get(b"bench_port")?,
                rx: *library.get(b"bench_rx")?,
                taken: *library.get(b"bench_taken")?,
                free: *library.get(b"bench_free")?,
                hash: *library.get(b"bench_hash")?,
                hash_add: *library.get(b"bench_hash_add")?,
                hash_keys: *library.get(b"bench_hash_keys")?,
                hash_look_up: *library.get(b"bench_hash_look_up")?,
                hash_value: *library.get(b"bench_hash_value")?,
                route: *library.get(b"bench_route")?,
                links: *library.get(b"bench_links")?,
                links_fill: *library.get(b"bench_links_fill")?,
                links_carry: *library.get(b"bench_links_carry")?,
                links_free: *library.get(b"bench_links_free")?,
                ring: *library.get(b"bench_ring")?,
                ring_copy: *library.get(b"bench_ring_copy")?,
                held: AtomicU32::new(0),
            })
        }
    }
}

impl Dpdk {
    /// Returns the library of file `file`, which is started once. Waits until no other thread has it; a thread that has
    /// it must not ask for it again.
    pub fn hold(file: &Path) -> Result<Self> {
        static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
        static LOCK: Mutex<()> = Mutex::new(());
        let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let started = LIBRARY.get_or_init(|| Library::start(file).map_err(|error| format!("{error:#}")));
        let loaded = started.as_ref().map_err(|what| anyhow!("{what}"))?;
        Ok(Self { loaded, _lock: Rc::new(lock) })
    }

    /// Returns where the library listens for front-ends.
    pub fn socket(&self) -> &Path {
        &self.loaded.socket
    }

    /// Returns the device whose front-end has just set up its queues.
    pub fn device(&self) -> Result<Device> {
        // SAFETY: the lock is held; there is nothing else to rely on.
        let vid = unsafe { (self.loaded.device)(PATIENCE) };
        (vid >= 0).then_some(Device(vid)).context("rte_vhost has no device ready")
    }

    /// Makes the frames `frames`, at most [`SIZE`], in buffers of `buffer_len` bytes.
    pub fn make(&self, frames: impl Iterator<Item = Vec<u8>>, buffer_len: u32) -> Result<Frames> {
        let mut made = 0;
        for bytes in frames {
            let len = c_uint::try_from(bytes.len())?;
            // SAFETY: the lock is held; the function refuses a frame that it has not, and one that is too long.
            let at = unsafe { (self.loaded.frame)(made, len, buffer_len) };
            if at.is_null() {
                bail!("rte_vhost: no mbuf of {buffer_len} bytes for frame {made} of {len}");
            }
            // SAFETY: the frame has as many bytes, and nobody else uses them now.
            unsafe { at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            made += 1;
        }
        Ok(Frames(made))
    }

    /// Lets rte_vhost put `frames` into the receive queue of `device`, and returns how many it took.
    #[inline(always)]
    pub fn enqueue(&self, device: Device, frames: Frames) -> usize {
        // SAFETY: the lock is held; a device whose front-end is gone takes nothing; the frames were made, and an
        // enqueue leaves them where they are.
        unsafe { (self.loaded.enqueue)(device.0, frames.0) as usize }
    }

    /// Opens a port of DPDK's virtio driver with `options` and buffers of `buffer_len` bytes. Returns the port, the
    /// device at its other end, and the name of the way by which the port receives.
    pub fn open(&self, options: &CStr, buffer_len: u32) -> Result<(Port, Device, String)> {
        let socket = c_path(&new_socket()?)?;
        let mut path = [0; PATH_LEN];
        // SAFETY: the lock is held; both strings end with 0, and `path` has `PATH_LEN` bytes.
        let port = unsafe {
            (self.loaded.port)(socket.as_ptr(), options.as_ptr(), buffer_len, path.as_mut_ptr(), PATH_LEN as c_uint)
        };
        if port < 0 {
            bail!("DPDK's virtio driver does not start: {port}");
        }
        let bytes = path.map(|byte: c_char| byte as u8);
        let path = CStr::from_bytes_until_nul(&bytes)?.to_string_lossy().into_owned();
        Ok((Port(port), self.device()?, path))
    }

    /// Takes at most `most` frames from `port`, and returns how many. Frames that another call took, and that were not
    /// freed, are lost.
    #[inline(always)]
    pub fn take(&self, port: Port, most: usize) -> usize {
        let most = most.min(SIZE.into()) as c_uint;
        // SAFETY: the lock is held; the port was opened, and the library's list has `SIZE` entries.
        let taken = unsafe { (self.loaded.rx)(port.0, most) };
        self.loaded.held.store(taken, Relaxed);
        taken as usize
    }

    /// Puts the bytes of frame `index` of those taken into `bytes`.
    ///
    /// # Errors
    /// No such frame was taken, or it was freed.
    pub fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<()> {
        self.copy(0, self.loaded.held.load(Relaxed), index, bytes)
    }

    /// Puts the bytes of frame `index` of `frames` into `bytes`.
    pub fn read_made(&self, frames: Frames, index: usize, bytes: &mut Vec<u8>) -> Result<()> {
        self.copy(SIZE.into(), frames.0, index, bytes)
    }

    /// As [`Dpdk::read`]: of `count` frames whose numbers in the library begin at `first`, and that are there.
    fn copy(&self, first: c_uint, count: c_uint, index: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let index = c_uint::try_from(index).ok().filter(|&index| index < count);
        let (index, mut len) = (index.with_context(|| format!("there are {count} frames"))?, 0);
        // SAFETY: the lock is held; there is such a frame, of `len` bytes in one piece: the driver merges none.
        let frame =
            unsafe { core::slice::from_raw_parts((self.loaded.taken)(first + index, &raw mut len), len as usize) };
        bytes.clear();
        bytes.extend_from_slice(frame);
        Ok(())
    }

    /// Routes the first 32 of `frames` by the table, as flows.c does. Returns a bit for each that it sends on.
    #[inline(always)]
    pub fn route(&self, frames: Frames) -> u64 {
        // SAFETY: the lock is held; the frames were made, and the function has a bound of its own.
        unsafe { (self.loaded.route)(frames.0) }
    }

    /// Frees the frames that were taken.
    #[inline(always)]
    pub fn free(&self) {
        let held = self.loaded.held.load(Relaxed);
        // SAFETY: the lock is held; the first `held` entries of the library's list were taken and not freed.
        unsafe { (self.loaded.free)(held) };
        self.loaded.held.store(0, Relaxed);
    }

    /// Makes an empty table of `rte_hash` with room for `entries` keys, at least 8. The library has one: it takes the
    /// place of the one before.
    pub fn new_hash(&self, entries: u32) -> Result<()> {
        // SAFETY: the lock is held; there is nothing else to rely on.
        let made = unsafe { (self.loaded.hash)(entries) };
        if made == 0 { Ok(()) } else { bail!("rte_hash_create: no table of {entries} entries") }
    }

    /// Adds `key` with `value` to the table.
    pub fn add_to_hash(&self, key: &[u8; KEY_LEN], value: u32) -> Result<()> {
        // SAFETY: the lock is held; the key has as many bytes, and is copied.
        let added = unsafe { (self.loaded.hash_add)(key, value) };
        if added == 0 { Ok(()) } else { bail!("rte_hash_add_key_data: {added}, key {value}") }
    }

    /// Copies the keys that the next [`Dpdk::look_up`] asks for: the first 32 of `keys`.
    pub fn set_keys(&self, keys: &[[u8; KEY_LEN]]) {
        // SAFETY: the lock is held; `keys` has at least as many keys as the function copies, which has a bound of its
        // own.
        unsafe { (self.loaded.hash_keys)(keys.as_ptr(), keys.len().min(u8::MAX.into()) as c_uint) }
    }

    /// Looks the keys up by `rte_hash_lookup_bulk_data`, and returns a bit for each that the table has.
    #[inline(always)]
    pub fn look_up(&self) -> u64 {
        // SAFETY: the lock is held; without a table, or without keys, nothing is looked up.
        unsafe { (self.loaded.hash_look_up)() }
    }

    /// Returns the value of key `index`, which is any value if the key was not found.
    pub fn value(&self, index: u8) -> u32 {
        // SAFETY: the lock is held; the function masks the index.
        unsafe { (self.loaded.hash_value)(index.into()) }
    }

    /// Connects three links: of memif ports, or of vhost and virtio-user ports. Each kind can be had once.
    pub fn links(&self, vhost: bool) -> Result<Links> {
        let folder = c_path(&tempfile::tempdir()?.keep())?;
        // SAFETY: the lock is held; the string ends with 0.
        let failed = unsafe { (self.loaded.links)(vhost.into(), folder.as_ptr(), PATIENCE) };
        if failed == 0 { Ok(Links(vhost.into())) } else { bail!("the ports of a link do not start: {failed}") }
    }

    /// Carries 32 frames of `len` bytes over `links`, and returns the ticks that `clock` says it took.
    ///
    /// # Errors
    /// There are no frames of this length, or one did not come through as it was.
    pub fn carry(&self, links: Links, len: u16, clock: impl Fn() -> u64) -> Result<u64> {
        // SAFETY: the lock is held; the function refuses a length of 0, and one that its buffers do not hold. The links
        // were connected, and what is carried and freed are as many frames as the calls before say that there are.
        let (ticks, right) = unsafe {
            let count = (self.loaded.links_fill)(LINK_BURST, len.into());
            if count == 0 {
                bail!("the library makes no frames of {len} bytes");
            }
            let before = clock();
            let came = (self.loaded.links_carry)(links.0, count);
            (clock() - before, (self.loaded.links_free)(came, len.into()))
        };
        if right == LINK_BURST { Ok(ticks) } else { bail!("{right} of {LINK_BURST} frames came through") }
    }

    /// Makes a ring for `count` packets, a power of two, of `len` bytes, in place of the one of its kind before.
    pub fn ring(&self, len: u16, mbufs: bool, count: u32) -> Result<Ring> {
        let ring = Ring { mbufs, len };
        // SAFETY: the lock is held; the function refuses what it has no memory for.
        let failed = unsafe { (self.loaded.ring)(mbufs.into(), ring.stride() as c_uint, count) };
        if failed == 0 { Ok(ring) } else { bail!("rte_ring: none of {count} packets of {len} bytes: {failed}") }
    }

    /// Copies 32 packets of `from` into `ring`, and out of it into `to`; in both one begins [`Ring::stride`] bytes
    /// behind the other. Returns how many came through.
    #[inline(always)]
    pub fn copy_through(&self, ring: Ring, from: &[u8], to: &mut [u8]) -> Result<usize> {
        let stride = ring.stride();
        if from.len().min(to.len()) < RING_BURST * stride {
            bail!("no room for {RING_BURST} packets of {stride} bytes");
        }
        // SAFETY: the lock is held; both have room for the packets, and packets fit into what the ring was made for: it
        // is checked, as another one may have taken its place.
        let copied = unsafe {
            let (from, to) = (from.as_ptr(), to.as_mut_ptr());
            (self.loaded.ring_copy)(ring.mbufs.into(), from, to, stride as c_uint, RING_BURST as c_uint)
        };
        Ok(copied as usize)
    }
}
