//! DPDK's virtio driver, over a ring that its vhost library fills: both in this process, by a socket.
#![allow(unsafe_code, reason = "calls a library of C")]

use super::Receiver;
use crate::device::Ring;
use crate::rte_vhost::{PATIENCE, Vhost, vhost};
use anyhow::{Result, bail};
use core::ffi::{c_char, c_int, c_uint};
use std::ffi::{CStr, CString};
use std::path::Path;

/// Frames that its vectorized way takes at once; it takes no fewer.
const AT_ONCE: u16 = 8;
/// Its vectorized way gives new buffers at the start of a call only, so that many of the ring's 256 are never filled at
/// once.
const MOST: u16 = 128;
/// Bytes for what the driver says of its way to receive.
const PATH_LEN: usize = 64;

/// The functions of our C library that receive.
pub struct Functions {
    pub port: unsafe extern "C" fn(*const c_char, *const c_char, c_uint, *mut c_char, c_uint) -> c_int,
    pub rx: unsafe extern "C" fn(c_int, c_uint) -> c_uint,
    pub taken: unsafe extern "C" fn(c_uint, *mut c_uint) -> *const u8,
    pub free: unsafe extern "C" fn(c_uint),
}

/// A port of the driver and the device behind it. The library's functions for several of them are called in turn.
pub struct Dpdk {
    vhost: &'static std::sync::Mutex<Vhost>,
    functions: &'static Functions,
    enqueue: unsafe extern "C" fn(c_int, c_uint) -> c_uint,
    port: c_int,
    vid: c_int,
    path: String,
    buffer_len: u32,
    count: u16,
    taken: usize,
}

impl Dpdk {
    /// With buffers of `buffer_len` bytes; `library` is the file of our C library.
    pub fn new(library: &Path, ring: Ring, buffer_len: u32) -> Result<Self> {
        let options = match ring {
            Ring::Split => c"mrg_rxbuf=0,in_order=0,vectorized=1",
            Ring::InOrder => c"mrg_rxbuf=0,in_order=1",
            Ring::Packed => c"mrg_rxbuf=0,in_order=0,packed_vq=1,vectorized=1",
        };
        let vhost = vhost(library)?;
        let held = vhost.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (functions, enqueue) = (held.receive, held.enqueue);
        let socket = CString::new(tempfile::tempdir()?.keep().join("socket").to_string_lossy().as_bytes())?;
        let mut path = [0; PATH_LEN];
        // SAFETY: the library's functions with these signatures; both strings end with 0, and `path` has `PATH_LEN`
        // bytes.
        let (port, vid) = unsafe {
            let port =
                (functions.port)(socket.as_ptr(), options.as_ptr(), buffer_len, path.as_mut_ptr(), PATH_LEN as c_uint);
            (port, if port < 0 { -1 } else { (held.ready)(PATIENCE) })
        };
        if vid < 0 {
            bail!("DPDK's virtio driver does not start: {port}");
        }
        let bytes = path.map(|byte: c_char| byte as u8);
        let path = CStr::from_bytes_until_nul(&bytes)?.to_string_lossy().into_owned();
        drop(held);
        Ok(Self { vhost, functions, enqueue, port, vid, path, buffer_len, count: 0, taken: 0 })
    }
}

impl Receiver for Dpdk {
    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn takes(&self, burst: u16) -> bool {
        self.path != "vectorized" || burst.is_multiple_of(AT_ONCE) && burst <= MOST
    }

    fn prepare(&mut self, count: u16, len: u16) -> Result<()> {
        self.count = count;
        self.vhost.lock().unwrap_or_else(std::sync::PoisonError::into_inner).prepare(count, len, self.buffer_len)
    }

    fn fill(&mut self) -> usize {
        // SAFETY: the library's function with this signature; prepare() made the frames.
        unsafe { (self.enqueue)(self.vid, self.count.into()) as usize }
    }

    #[inline(never)]
    fn take(&mut self, most: usize) -> usize {
        // SAFETY: the library's function with this signature; a burst is no longer than its list of frames.
        self.taken = unsafe { (self.functions.rx)(self.port, most as c_uint) as usize };
        self.taken
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<()> {
        if index >= self.taken {
            bail!("no frame {index}");
        }
        let mut len = 0;
        // SAFETY: the library's function with this signature; the frame was taken and not freed, and has `len`
        // bytes at `at`.
        let frame = unsafe {
            let at = (self.functions.taken)(index as c_uint, &raw mut len);
            core::slice::from_raw_parts(at, len as usize)
        };
        bytes.clear();
        bytes.extend_from_slice(frame);
        Ok(())
    }

    #[inline(never)]
    fn free(&mut self) {
        // SAFETY: the library's function with this signature; `self.taken` frames were taken and not freed.
        unsafe { (self.functions.free)(self.taken as c_uint) };
        self.taken = 0;
    }
}
