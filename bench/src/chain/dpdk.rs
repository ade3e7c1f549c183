//! DPDK's: three links of ports, whose driver names are in rte_vhost/rte_vhost.c.

use super::Subject;
use crate::clock::ticks;
use crate::dpdk::{self, Links};
use anyhow::Result;
use std::cell::RefCell;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The links of both kinds, which the library makes once.
static MADE: Mutex<[Option<Links>; 2]> = Mutex::new([None; 2]);

/// Three links, and frames of one length.
pub struct Dpdk {
    loaded: dpdk::Dpdk,
    links: Links,
    frame: u16,
}

impl Dpdk {
    /// Connects the links, by vhost and virtio-user or by memif.
    pub fn new(library: &Path, vhost: bool, frame: u16) -> Result<Self> {
        let loaded = library_of(library)?;
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let links = made[usize::from(vhost)].map_or_else(|| loaded.links(vhost), Ok)?;
        made[usize::from(vhost)] = Some(links);
        Ok(Self { loaded, links, frame })
    }
}

/// Returns the library, which a thread asks for once.
fn library_of(file: &Path) -> Result<dpdk::Dpdk> {
    thread_local! {
        static LIBRARY: RefCell<Option<dpdk::Dpdk>> = const { RefCell::new(None) };
    }
    if let Some(library) = LIBRARY.with_borrow(Clone::clone) {
        return Ok(library);
    }
    let library = dpdk::Dpdk::hold(file)?;
    LIBRARY.set(Some(library.clone()));
    Ok(library)
}

impl Subject for Dpdk {
    fn burst(&mut self) -> Result<u64> {
        self.loaded.carry(self.links, self.frame, ticks)
    }
}
