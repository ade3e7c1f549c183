//! The memory of a VM: RAM that is mapped one to one, who has which part of it, and what the host maps beside it.
#![allow(unsafe_code, reason = "gives out RAM, each part once")]

use super::cpu::Host;
use crate::ports::Store;
use crate::runs::Runs;
use crate::{FlowPages, SetupError};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, replace};
use core::ptr::{NonNull, null_mut};
use core::slice::from_raw_parts;
use sluice::{Access, AccessMemory, PacketMemory, Slot, Window};
use sluice_abi::boot::{ARGS_LEN, BootInfo, MAGIC, MAX_MODULES, Module};
use sluice_abi::directory::{HostF, word};
use sluice_abi::flows::Header;
use sluice_abi::run::RUN_ALIGN;
use sluice_abi::{Gpa, map};
use sluice_driver::RegisterBlock;
use sluice_memory::PeerSlice;
use spin::Mutex;

#[repr(C, align(4096))]
struct Pages<const LEN: usize>([u8; LEN]);

static mut REQUEST: Pages<{ map::PAGE as usize }> = Pages([0; _]);
static mut STATE: Pages<{ map::STATE_LEN as usize }> = Pages([0; _]);
/// The memory that [`crate::Ports`] refer to, which is too large for the stack.
static mut STORE: Store = Store::new();

/// All memory of the VM. There is one.
pub struct Memory {
    /// The host wrote it before the VM started; since then nobody writes it.
    boot: &'static BootInfo,
    /// Free RAM that runs of packet memory can be made of, if there is any.
    pub packets: Option<Runs>,
    /// The memory that ports refer to, until they use it.
    pub store: Option<&'static mut Store>,
    /// The pages for an access, until they are used.
    pub pages: Option<AccessPages>,
    /// Whether flow memory was handed out.
    has_flows: bool,
}

/// The pages that an [`Access`] needs, beside packet memory.
pub struct AccessPages(());

impl Memory {
    /// Returns the memory of the VM whose boot information is at `boot`.
    ///
    /// # Safety
    /// This is called once, in a VM of a Sluice host whose RAM is mapped one to one. `boot` is what the monitor put
    /// into RDI: the modules and the free RAM that are listed there are nobody's.
    pub unsafe fn new(boot: Gpa) -> Self {
        // SAFETY: the contract above; every bit pattern is a valid BootInfo.
        let info = unsafe { &*(boot.0 as *const BootInfo) };
        assert!(info.magic == MAGIC, "no boot information at {boot}");
        let base = info.free.0.next_multiple_of(RUN_ALIGN);
        let len = (info.free.0 + info.free_len).saturating_sub(base) / RUN_ALIGN * RUN_ALIGN;
        // SAFETY: free RAM is nobody's, by the contract.
        let packets = (len > 0).then(|| Runs::new(Gpa(base), unsafe { PeerSlice::from_raw(base as *mut u8, len) }));
        let store = &raw mut STORE;
        // SAFETY: nothing else refers to the store, and this function is called once.
        let store = unsafe { &mut *store };
        Self { boot: info, packets, store: Some(store), pages: Some(AccessPages(())), has_flows: false }
    }

    /// Returns the arguments, up to the first byte that is not UTF-8.
    pub fn args(&self) -> &'static str {
        let bytes = &self.boot.args[..(self.boot.args_len as usize).min(ARGS_LEN)];
        bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }

    /// Returns the module named `name`.
    pub fn module(&self, name: &str) -> Option<&'static [u8]> {
        let count = (self.boot.module_count as usize).min(MAX_MODULES);
        let module = self.boot.modules[..count].iter().find(|module| is_named(module, name))?;
        // SAFETY: the contract of `new`; modules are outside the image and outside free RAM.
        Some(unsafe { from_raw_parts(module.gpa.0 as *const u8, module.len as usize) })
    }

    /// Returns the VM's flow table and its records once, if the host gave it these.
    pub fn flow_pages(&mut self) -> Option<FlowPages> {
        let part = |offset: u64, len: u64| {
            // SAFETY: the host maps these pages for as long as the VM runs, at least as long as it says. Where they are
            // read-only, nobody writes through a slice.
            unsafe { PeerSlice::from_raw((map::SLOT_VA + offset) as *mut u8, len) }
        };
        let features: u64 = part(map::DIRECTORY, map::PAGE).read(8 * word::FEATURES as u64).ok()?;
        let is_there = HostF::from_bits_truncate(features).contains(HostF::FLOWS);
        if !is_there || replace(&mut self.has_flows, true) {
            return None;
        }
        let header: Header = part(map::FLOWS, map::PAGE).read(0).ok()?;
        let (table, records) = (header.table_len.min(map::FLOWS_LEN), header.records_len.min(map::FLOW_RECORDS_LEN));
        Some(FlowPages { table: part(map::FLOWS, table), records: part(map::FLOW_RECORDS, records) })
    }

    /// Returns the registers of the VM's network device.
    pub const fn registers(&self) -> RegisterBlock {
        // SAFETY: the host emulates the registers there for as long as the VM runs; the boot page tables map them one
        // to one.
        unsafe { RegisterBlock::new(map::MMIO_GPA as *mut u8, sluice_abi::mmio::WINDOW_LEN) }
    }
}

impl AccessPages {
    /// Registers the request block and `packets` with `host`, and returns the access to the peers.
    pub fn register(self, host: Host, packets: PacketMemory) -> Result<Access, SetupError> {
        // SAFETY: a static page that nothing else refers to: there is one AccessPages.
        let request = unsafe { PeerSlice::from_raw((&raw mut REQUEST).cast(), map::PAGE) };
        SetupError::check(host.register(request))?;
        SetupError::check(host.add_run(packets.memory, packets.offset.into()))?;
        // SAFETY: the host maps these pages for as long as the VM runs. They are read-only there: nobody writes through
        // this slice.
        let directory = unsafe { PeerSlice::from_raw((map::SLOT_VA + map::DIRECTORY) as *mut u8, map::DIRECTORY_LEN) };
        // SAFETY: the host maps the regions that its directory lists, and only slices lead to them.
        let slot = unsafe { Slot::at(map::SLOT_VA as *mut u8) };
        // SAFETY: static pages that nothing else refers to: there is one AccessPages.
        let state = unsafe { Window::init((&raw mut STATE).cast()) };
        // SAFETY: the directory is a host's, as `host` proves, which registered both.
        Ok(unsafe { Access::new(AccessMemory { directory, request, packets: packets.memory, slot, state }) })
    }
}

fn is_named(module: &Module, name: &str) -> bool {
    let end = module.name.iter().position(|&byte| byte == 0).unwrap_or(module.name.len());
    module.name[..end] == *name.as_bytes()
}

/// An image's global allocator, of `N` bytes: [`crate::heap!`] makes it. What does not fit is a panic, which ends the
/// VM.
#[doc(hidden)]
pub struct Heap<const N: usize> {
    bytes: UnsafeCell<MaybeUninit<[u8; N]>>,
    /// `None` before the first allocation.
    free: Mutex<Option<linked_list_allocator::Heap>>,
}

// SAFETY: only `free` leads to `bytes`, under its lock.
unsafe impl<const N: usize> Sync for Heap<N> {}

impl<const N: usize> Heap<N> {
    #[allow(clippy::new_without_default, reason = "for statics")]
    pub const fn new() -> Self {
        Self { bytes: UnsafeCell::new(MaybeUninit::uninit()), free: Mutex::new(None) }
    }
}

// SAFETY: `linked_list_allocator` hands out each byte of `bytes` once, until it is given back; a lock is held
// meanwhile, and nothing unwinds.
unsafe impl<const N: usize> GlobalAlloc for Heap<N> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut free = self.free.lock();
        // SAFETY: a global allocator is a static, so its bytes stay where they are, and nothing else refers to them.
        let free = free.get_or_insert_with(|| unsafe { linked_list_allocator::Heap::new(self.bytes.get().cast(), N) });
        free.allocate_first_fit(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if let (Some(free), Some(at)) = (self.free.lock().as_mut(), NonNull::new(at)) {
            // SAFETY: the caller's promise: `at` is of `alloc`, with this layout.
            unsafe { free.deallocate(at, layout) };
        }
    }
}

/// Gives an image a heap of `$bytes` bytes, for `extern crate alloc`. A Linux program has its own, and nothing is made
/// for it. The heap is for what a VNF sets up; frames are never there.
#[macro_export]
macro_rules! heap {
    ($bytes:expr) => {
        const _: () = {
            #[global_allocator]
            static HEAP: $crate::Heap<{ $bytes }> = $crate::Heap::new();
        };
    };
}
