//! A split ring. See: VIRTIO 2.7 "Split Virtqueues".

use super::chain::{Chain, Piece, Tables};
use super::ledger::{Held, Ledger};
use super::{DeviceFault, LINE, QueueError, Received, Swap, Token};
use sluice_abi::net::F;
use sluice_abi::virtq::{Desc, DescF, QueueAddresses, UsedElem, avail, desc_table_len, used};
use sluice_abi::{Gpa, RingIdx};
use sluice_memory::{Cell16, PeerSlice, Ring, SplitEvents};

const fn avail_at(size: u16) -> u64 {
    desc_table_len(size).next_multiple_of(LINE)
}

const fn used_at(size: u16) -> u64 {
    (avail_at(size) + avail::len(size)).next_multiple_of(LINE)
}

/// Returns the length in bytes of the memory of a queue of `size` entries.
pub(super) const fn len(size: u16) -> u64 {
    used_at(size) + used::len(size)
}

/// Returns the areas of a queue of `size` entries that starts at `gpa`.
pub(super) const fn addresses(gpa: Gpa, size: u16) -> QueueAddresses {
    QueueAddresses { desc: gpa, driver: Gpa(gpa.0 + avail_at(size)), device: Gpa(gpa.0 + used_at(size)) }
}

/// The areas, and the driver's position in them. Of the memory that the device can write, only `used` and the device's
/// notification suppression are ever read.
pub(super) struct Split {
    desc: Ring<'static, Desc>,
    avail: Ring<'static, u16>,
    avail_idx: Cell16<'static>,
    used: Ring<'static, UsedElem>,
    used_idx: Cell16<'static>,
    /// Flags and index of the used ring. The index changes when a buffer comes back.
    used_head: PeerSlice<'static>,
    /// The notifications that the device asks for.
    device: SplitEvents<Cell16<'static>>,
    /// The interrupts that the driver asks for.
    driver: SplitEvents<Cell16<'static>>,
    /// The next descriptor, and below the first one of the oldest buffer: both in order only.
    next: u32,
    oldest: u32,
    /// Number of buffers that came back and were not taken yet.
    ready: u32,
    /// Number of buffers published since the device was last notified, or was found to want no notification.
    unnotified: u64,
}

impl Split {
    /// Returns an empty queue of `size` entries.
    pub fn new(memory: PeerSlice<'static>, size: u16, features: F) -> Result<Self, QueueError> {
        let part = |at, len| memory.sub(at, len).map_err(|_| QueueError::Memory);
        let driver = part(avail_at(size), avail::len(size))?;
        let device = part(used_at(size), used::len(size))?;
        let event_idx = features.contains(F::EVENT_IDX);
        let cell = |area: PeerSlice<'static>, at| {
            let cell = area.cell16(at).ok_or(QueueError::Memory)?;
            cell.store_release(0);
            Ok(cell)
        };
        let events = |area, event| {
            let event = event_idx.then(|| cell(area, event)).transpose()?;
            Ok(SplitEvents { flags: cell(area, avail::FLAGS)?, event })
        };
        Ok(Self {
            desc: memory.ring(0, size).ok_or(QueueError::Memory)?,
            avail: driver.ring(avail::RING, size).ok_or(QueueError::Memory)?,
            avail_idx: cell(driver, avail::IDX)?,
            used: device.ring(used::RING, size).ok_or(QueueError::Memory)?,
            used_idx: cell(device, used::IDX)?,
            used_head: device.sub(0, used::RING).map_err(|_| QueueError::Memory)?,
            device: events(device, used::avail_event(size))?,
            driver: events(driver, avail::used_event(size))?,
            next: 0,
            oldest: 0,
            ready: 0,
            unnotified: 0,
        })
    }

    /// Returns a free descriptor. The caller has checked that there is one.
    #[inline(always)]
    fn claim<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>) -> u16 {
        ledger.room -= 1;
        if ledger.in_order {
            let index = self.next;
            self.next = (index + 1) & u32::from(ledger.size - 1);
            index as u16
        } else {
            ledger.free_at(ledger.room).unwrap_or(0)
        }
    }

    /// Puts the buffer that starts at descriptor `head` into the available ring.
    #[inline(always)]
    fn offer<const N: usize, T: Token>(
        &mut self,
        ledger: &mut Ledger<N, T>,
        head: u16,
        token: T,
        len: u32,
        slots: u16,
    ) {
        self.avail.set(ledger.given, head);
        ledger.hold(head, token, len, slots);
    }

    #[inline(always)]
    pub fn give<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>, at: Gpa, len: u32, token: T) -> bool {
        if ledger.room == 0 {
            return false;
        }
        let head = self.claim(ledger);
        self.desc.set_words(head, at, len, DescF::WRITE.bits(), 0);
        self.offer(ledger, head, token, len, 1);
        true
    }

    /// Adds one descriptor for the whole of `chain`, which lies in a table, or else one for each piece. The caller has
    /// checked that one is free. Returns `false`, and adds none, if too few are free.
    pub fn add<const N: usize, T: Token>(
        &mut self,
        ledger: &mut Ledger<N, T>,
        tables: Option<Tables>,
        chain: Chain<'_>,
        token: T,
    ) -> bool {
        let head = if ledger.in_order { self.next as u16 } else { ledger.free_at(ledger.room - 1).unwrap_or(0) };
        let next = |index, piece: Piece| if piece.last { 0 } else { index + 1 };
        let table = |tables: Tables| tables.write(head, chain, |index, piece| descriptor(piece, next(index, piece)));
        let slots = match tables.and_then(table) {
            Some(addr) => {
                self.claim(ledger);
                let len = u32::from(chain.count) * size_of::<Desc>() as u32;
                self.desc.set(head, Desc { addr, len, flags: DescF::INDIRECT.bits(), next: 0 });
                1
            }
            None if ledger.room < chain.count.into() => return false,
            None => self.write_chain(ledger, chain),
        };
        self.offer(ledger, head, token, chain.writable_len, slots);
        true
    }

    /// Adds `chain` in order: the descriptor behind the last one of the ring is the first one. See: VIRTIO 2.7.5.2
    /// "Driver Requirements: The Virtqueue Descriptor Table".
    fn write_chain<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>, chain: Chain<'_>) -> u16 {
        let mut index = self.claim(ledger);
        for piece in chain.pieces() {
            let next = if piece.last { 0 } else { self.claim(ledger) };
            self.desc.set(index, descriptor(piece, next));
            ledger.link(index, next);
            index = next;
        }
        chain.count
    }

    /// Publishes all buffers. See: VIRTIO 2.7.13.3 "Updating idx".
    #[inline]
    pub fn publish<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>) {
        let count = ledger.given.wrapping_sub(ledger.published);
        if count > 0 && ledger.fault.is_none() {
            self.avail_idx.store_release(ledger.given as u16);
            ledger.published = ledger.given;
            self.unnotified += u64::from(count);
        }
    }

    #[inline]
    pub fn ready<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>) -> Result<u16, DeviceFault> {
        let ready = RingIdx(self.used_idx.load_acquire()).ahead_of(RingIdx(ledger.taken as u16));
        if ready > ledger.in_flight() || u32::from(ready) < self.ready {
            self.ready = 0;
            return Err(ledger.fail(DeviceFault::UsedIdx));
        }
        self.ready = ready.into();
        Ok(ready)
    }

    #[inline(always)]
    pub fn is_ready<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>) -> Result<bool, DeviceFault> {
        Ok(self.ready > 0 || self.ready(ledger)? > 0)
    }

    #[inline(always)]
    pub fn take<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>) -> Result<Received<T>, DeviceFault> {
        if self.ready == 0 || ledger.in_flight() == 0 {
            return Err(ledger.nothing());
        }
        let UsedElem { id, len } = self.used.get(ledger.taken);
        let held = if !ledger.in_order {
            self.take_any(ledger, id)?
        } else if ledger.batch_left == 0 && id == self.oldest {
            self.take_oldest(ledger)?
        } else {
            return self.take_of_batch(ledger, id, len);
        };
        self.ready -= 1;
        ledger.received(held, len)
    }

    /// Does [`super::DriverQueue::exchange`].
    #[inline(always)]
    pub fn exchange<const N: usize, T: Token, const IN_ORDER: bool>(
        &mut self,
        ledger: &mut Ledger<N, T>,
        most: usize,
        mut swap: impl Swap<T>,
    ) -> usize {
        let ready = if ledger.batch_left > 0 { 0 } else { self.ready(ledger).unwrap_or(0) };
        let most = most.min(ready.into());
        let (desc, avail, used, last) = (self.desc, self.avail, self.used, u32::from(ledger.size - 1));
        let (taken, given, published, oldest, next) =
            (ledger.taken, ledger.given, ledger.published, self.oldest, self.next);
        let mut done = 0;
        // Only `done` counts on: each further counter would take a register.
        while done < most {
            let UsedElem { id, len } = used.get(taken.wrapping_add(done as u32));
            if IN_ORDER && id != (oldest + done as u32) & last {
                break;
            }
            let Some(token) = ledger.plain(id, len, published) else { break };
            let Some((at, len, token)) = swap(token, len) else { break };
            let head = if IN_ORDER { (next + done as u32) & last } else { id } as u16;
            let place = given.wrapping_add(done as u32);
            desc.set_words(head, at, len, DescF::WRITE.bits(), 0);
            avail.set(place, head);
            ledger.replace(id, head, token, len, place);
            done += 1;
        }
        let count = done as u32;
        (ledger.taken, ledger.given) = (taken.wrapping_add(count), given.wrapping_add(count));
        if IN_ORDER {
            (self.oldest, self.next) = ((oldest + count) & last, (next + count) & last);
        }
        self.ready -= count;
        done
    }

    #[inline(always)]
    fn take_any<const N: usize, T: Token>(
        &mut self,
        ledger: &mut Ledger<N, T>,
        id: u32,
    ) -> Result<Held<T>, DeviceFault> {
        let place = ledger.room;
        let held = ledger.release(id)?;
        ledger.set_free(place, id as u16);
        if held.slots > 1 {
            free_rest(ledger, id as u16, place, held.slots);
        }
        Ok(held)
    }

    #[inline(always)]
    fn take_oldest<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>) -> Result<Held<T>, DeviceFault> {
        let held = ledger.release(self.oldest)?;
        self.oldest = (self.oldest + u32::from(held.slots)) & u32::from(ledger.size - 1);
        Ok(held)
    }

    /// Takes a buffer of a batch, in order. The used element `id` and `len` begins the batch, unless one is being taken
    /// already.
    #[cold]
    fn take_of_batch<const N: usize, T: Token>(
        &mut self,
        ledger: &mut Ledger<N, T>,
        id: u32,
        len: u32,
    ) -> Result<Received<T>, DeviceFault> {
        if ledger.batch_left == 0 {
            ledger.begin_batch(id, len, self.ready as u16)?;
        }
        let held = self.take_oldest(ledger)?;
        self.ready -= 1;
        let len = ledger.len_in_batch(held);
        ledger.received(held, len)
    }

    pub const fn watch_word(&self) -> Option<PeerSlice<'static>> {
        Some(self.used_head)
    }

    pub fn needs_notification<const N: usize, T: Token>(&mut self, ledger: &Ledger<N, T>) -> bool {
        let count = core::mem::take(&mut self.unnotified);
        count > 0 && self.device.wanted(RingIdx(ledger.published as u16), count)
    }

    /// Asks the device for an interrupt at the next buffer, or for none: with an event index, for one at the entry that
    /// is furthest away.
    pub fn suppress_interrupts<const N: usize, T: Token>(&mut self, ledger: &Ledger<N, T>, suppress: bool) {
        let next = ledger.taken as u16;
        let furthest = self.driver.event.is_some().then(|| RingIdx(next.wrapping_sub(1)));
        self.driver.ask(if suppress { furthest } else { Some(RingIdx(next)) });
    }
}

/// Puts the descriptors behind `head` of a chain of `slots` into the list of free ones.
#[cold]
fn free_rest<const N: usize, T: Token>(ledger: &mut Ledger<N, T>, head: u16, place: u32, slots: u16) {
    let mut index = head;
    for at in 1..slots {
        index = ledger.linked(index);
        ledger.set_free(place + u32::from(at), index);
    }
}

const fn descriptor(piece: Piece, next: u16) -> Desc {
    let write = if piece.write { DescF::WRITE } else { DescF::empty() };
    let flags = write.union(if piece.last { DescF::empty() } else { DescF::NEXT });
    Desc { addr: piece.at, len: piece.len, flags: flags.bits(), next }
}
