//! Shared memory that is mapped, and rings in it. A ring keeps its memory mapped for as long as it lives.
//!
//! # Why rings are wrapped here
//! [`DriverQueue`] and [`DeviceQueue`] ask for memory that stays for ever, as a VM's memory does. Memory of a
//! vhost-user session is unmapped when the session ends. So only this file makes such queues, each beside a share of
//! what it lies in, and gives none away.
#![allow(unsafe_code, reason = "maps memory, and vouches for how long it stays mapped")]

mod shared;

use rustix::fd::AsFd;
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_abi::net::{F, Hdr};
use sluice_driver::{DeviceFault, DriverQueue, QueueError, Received};
use sluice_inside::{Dequeue, DeviceQueue, DirtyLog, Enqueue, Regions};
use sluice_memory::{PeerSlice, Words};
use std::fs::File;
use std::io;
use std::ptr::null_mut;
use std::rc::Rc;

/// Shared memory that is mapped for as long as this value, or a ring in it, lives.
pub struct Mapping {
    base: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps the `len` bytes at `offset` of `file`, shared. A file that is shorter is refused, since a touch behind its
    /// end would end the process. A file that is cut later still does that: only a seal prevents it
    /// (`F_SEAL_SHRINK`), and not all front-ends set one.
    pub fn of_file(file: &impl AsFd, offset: u64, len: u64) -> io::Result<Self> {
        Self::map(file, offset, len, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps as [`Mapping::of_file`] does, but for reading only: a write ends the process.
    pub fn of_file_read_only(file: &impl AsFd, offset: u64, len: u64) -> io::Result<Self> {
        Self::map(file, offset, len, ProtFlags::READ)
    }

    fn map(file: &impl AsFd, offset: u64, len: u64, access: ProtFlags) -> io::Result<Self> {
        let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
        let end = offset.checked_add(len).filter(|&end| end <= size && len > 0);
        let fits = end.and_then(|_| usize::try_from(len).ok());
        let len = fits.ok_or_else(|| io::Error::other(format!("{len} bytes at {offset:#x} of a file of {size}")))?;
        // SAFETY: the kernel chooses a range that nothing else lies in.
        let base = unsafe { mmap(null_mut(), len, access, MapFlags::SHARED, file, offset) }?;
        Ok(Self { base: base.cast(), len })
    }

    /// Maps `len` new zero bytes, and returns them with the file that shares them.
    pub fn shared(len: u64) -> io::Result<(Self, File)> {
        let file = File::from(memfd_create("sluice-vhost-user", MemfdFlags::CLOEXEC)?);
        ftruncate(&file, len)?;
        Ok((Self::of_file(&file, 0, len)?, file))
    }

    /// Asks the kernel for large pages, and for all of the memory now. Returns whether it takes the advice.
    pub fn wants_large_pages(&self) -> bool {
        // SAFETY: the range is this value's, and no advice of these changes a byte.
        let advise = |advice| unsafe { madvise(self.base.cast(), self.len, advice) };
        advise(Advice::LinuxHugepage).and_then(|()| advise(Advice::LinuxPopulateWrite)).is_ok()
    }

    /// Returns all of the memory.
    pub const fn slice(&self) -> PeerSlice<'_> {
        // SAFETY: the bytes are mapped, readable and writable for as long as self is borrowed, and nobody makes
        // references into them.
        unsafe { PeerSlice::from_raw(self.base, self.len as u64) }
    }

    /// Returns all of the memory, for a queue.
    ///
    /// # Safety
    /// What the caller makes of the result is not used once the mapping is dropped.
    const unsafe fn lasting_slice(&self) -> PeerSlice<'static> {
        // SAFETY: as in slice, for as long as the caller vouches for.
        unsafe { PeerSlice::from_raw(self.base, self.len as u64) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped with this length. Every slice of it borrowed self, or lies in a ring of this
        // file, which holds a share of the mapping and so was dropped before.
        let unmapped = unsafe { munmap(self.base.cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The mapped memory of a driver, by guest-physical address.
pub struct GuestMemory {
    regions: Regions,
    _mappings: Vec<Mapping>,
}

impl GuestMemory {
    /// Returns the memory that has each mapping at its address. Refused are regions that the window's code could not
    /// tell apart.
    pub fn new(mappings: Vec<(Gpa, Mapping)>) -> Result<Self, Clause> {
        // SAFETY: regions is private, and only DeviceRing makes queues in it, each with a share of this value.
        let slices: Vec<_> = mappings.iter().map(|(gpa, mapping)| (*gpa, unsafe { mapping.lasting_slice() })).collect();
        let regions = Regions::from_slices(&slices)?;
        Ok(Self { regions, _mappings: mappings.into_iter().map(|(_, mapping)| mapping).collect() })
    }
}

/// The device side of a ring, and shares of the driver's memory and of its log, which go last.
pub struct DeviceRing {
    queue: DeviceQueue,
    layout: Queue,
    memory: Rc<GuestMemory>,
    log: Option<Rc<Mapping>>,
}

impl DeviceRing {
    /// Returns the ring that `queue` describes in `memory`, which goes on at `base` if there is one. See:
    /// [`DeviceQueue::resume`].
    pub fn new(memory: &Rc<GuestMemory>, queue: &Queue, base: Option<u32>) -> Result<Self, Clause> {
        let device = match base {
            Some(base) => DeviceQueue::resume(queue, &memory.regions, base),
            None => DeviceQueue::new(queue, &memory.regions),
        };
        Ok(Self { queue: device?, layout: *queue, memory: memory.clone(), log: None })
    }

    /// Returns the queue, to be looked at.
    pub const fn queue(&self) -> &DeviceQueue {
        &self.queue
    }

    /// Returns what the ring was made of.
    pub const fn layout(&self) -> &Queue {
        &self.layout
    }

    /// Marks every write into the driver's memory in `log` from now on. See: [`DeviceQueue::set_log`].
    pub fn set_log(&mut self, log: Option<&Rc<Mapping>>) -> bool {
        // SAFETY: only the queue uses the log, and it is dropped, or has another log, before its share of this one
        // goes.
        let bitmap = log.map(|log| DirtyLog::new(unsafe { log.lasting_slice() }));
        let fits = self.queue.set_log(bitmap, &self.memory.regions);
        if fits {
            self.log = log.cloned();
        }
        fits
    }

    /// See: [`DeviceQueue::respond`].
    pub fn respond(&mut self, into: &mut [u8], answer: impl FnOnce(Option<&[u8]>) -> u8) -> Result<bool, Clause> {
        self.queue.respond(&self.memory.regions, into, answer)
    }

    /// See: [`DeviceQueue::enqueue`].
    pub fn enqueue(&mut self, hdr: &Hdr, frame: PeerSlice<'_>, min_buffer: u32) -> Result<Enqueue, Clause> {
        self.queue.enqueue(&self.memory.regions, hdr, frame, min_buffer, Words)
    }

    /// See: [`DeviceQueue::dequeue`].
    pub fn dequeue(&mut self, into: PeerSlice<'_>) -> Result<Dequeue, Clause> {
        self.queue.dequeue(&self.memory.regions, into, Words)
    }

    /// See: [`DeviceQueue::publish`].
    pub fn publish(&mut self) {
        self.queue.publish();
    }

    /// See: [`DeviceQueue::needs_notification`].
    pub fn needs_notification(&mut self) -> bool {
        self.queue.needs_notification()
    }

    /// See: [`DeviceQueue::ask_for_notifications`].
    pub fn ask_for_notifications(&mut self, on: bool) {
        self.queue.ask_for_notifications(on);
    }
}

/// The driver side of a ring of at most `N` entries, and a share of its memory, which goes last.
pub struct DriverRing<const N: usize> {
    queue: Box<DriverQueue<N>>,
    _memory: Rc<Mapping>,
}

impl<const N: usize> DriverRing<N> {
    /// Makes a queue of the `len` bytes at `at` of `memory`, which the device knows as `gpa`. See:
    /// [`DriverQueue::new`].
    pub fn new(
        memory: &Rc<Mapping>,
        (at, len): (u64, u64),
        gpa: Gpa,
        size: u16,
        features: F,
    ) -> Result<Self, QueueError> {
        // SAFETY: the queue is dropped with this value, before its share of the mapping, and is not given away.
        let area = unsafe { memory.lasting_slice() }.sub(at, len).map_err(|_| QueueError::Memory)?;
        let queue = Box::new(DriverQueue::new(gpa, area, size, features)?);
        Ok(Self { queue, _memory: memory.clone() })
    }

    /// Returns the queue, to be looked at.
    pub const fn queue(&self) -> &DriverQueue<N> {
        &self.queue
    }

    /// See: [`DriverQueue::give`].
    pub fn give(&mut self, at: Gpa, len: u32, token: u32) -> bool {
        self.queue.give(at, len, token)
    }

    /// See: [`DriverQueue::send`].
    pub fn send(&mut self, readable: &[(Gpa, u32)], token: u32) -> bool {
        self.queue.send(readable, token)
    }

    /// See: [`DriverQueue::publish`].
    pub fn publish(&mut self) {
        self.queue.publish();
    }

    /// See: [`DriverQueue::needs_notification`].
    pub fn needs_notification(&mut self) -> bool {
        self.queue.needs_notification()
    }

    /// See: [`DriverQueue::suppress_interrupts`].
    pub fn suppress_interrupts(&mut self, suppress: bool) {
        self.queue.suppress_interrupts(suppress);
    }

    /// See: [`DriverQueue::ready`].
    pub fn ready(&mut self) -> Result<u16, DeviceFault> {
        self.queue.ready()
    }

    /// See: [`DriverQueue::take`].
    pub fn take(&mut self) -> Result<Received, DeviceFault> {
        self.queue.take()
    }
}
