//! A packed ring. See: VIRTIO 2.8 "Packed Virtqueues".

use super::chain::{Chain, Piece, Tables};
use super::ledger::{Held, Ledger};
use super::slot::{PackedPosition, START, Word};
use super::{DeviceFault, LINE, QueueError, Received, Swap, Token};
use core::mem::offset_of;
use sluice_abi::Gpa;
use sluice_abi::net::F;
use sluice_abi::packed::{Desc, DescF, EventSuppress, ring_len};
use sluice_abi::virtq::QueueAddresses;
use sluice_memory::{Cell16, PackedEvents, PeerSlice, Table};

const EVENT_LEN: u64 = size_of::<EventSuppress>() as u64;

const fn driver_at(size: u16) -> u64 {
    ring_len(size).next_multiple_of(LINE)
}

const fn device_at(size: u16) -> u64 {
    (driver_at(size) + EVENT_LEN).next_multiple_of(LINE)
}

/// Returns the length in bytes of the memory of a queue of `size` entries.
pub(super) const fn len(size: u16) -> u64 {
    device_at(size) + EVENT_LEN
}

/// Returns the areas of a queue of `size` entries that starts at `gpa`.
pub(super) const fn addresses(gpa: Gpa, size: u16) -> QueueAddresses {
    QueueAddresses { desc: gpa, driver: Gpa(gpa.0 + driver_at(size)), device: Gpa(gpa.0 + device_at(size)) }
}

/// The areas, and the driver's position in them. Of the memory that the device can write, only used descriptors and the
/// device's event suppression are ever read.
pub(super) struct Packed {
    ring: Table<'static, Desc>,
    memory: PeerSlice<'static>,
    /// The notifications that the device asks for.
    device: PackedEvents<Cell16<'static>>,
    /// The interrupts that the driver asks for.
    driver: PackedEvents<Cell16<'static>>,
    front: Front,
    /// Position of the next descriptor that the device will mark used.
    used: PackedPosition,
    /// Position of the first slot that is not published.
    published: PackedPosition,
    /// Number of slots published since the device was last notified, or was found to want no notification.
    unnotified: u64,
}

/// The state that changes with each slot that is written.
#[derive(Clone, Copy)]
struct Front {
    /// Position of the next buffer.
    next: PackedPosition,
    /// Number of slots that were written and are not published yet. `first` is the first of them, with the last word,
    /// which publishes them all.
    hidden: u32,
    first: (u16, Word),
}

impl Front {
    /// Writes a descriptor into the next slot. The first one since [`Packed::publish`] stays the driver's until then,
    /// and so do all that follow, as the device goes by the order of the ring.
    #[inline(always)]
    fn put(&mut self, ring: &Table<'_, Desc>, addr: Gpa, len: u32, id: u16, flags: DescF) {
        let (slot, wrap) = (self.next.slot(), self.next.wrap());
        let mut word = Word::new(len, id, flags.union(DescF::available(wrap)));
        if self.hidden == 0 {
            self.first = (slot, word);
            word = Word::new(len, id, DescF::used(!wrap));
        }
        ring.set_addr(slot, addr);
        ring.store_release(slot, word.0);
        self.hidden += 1;
        self.next = self.next.advance(1, ring.size());
    }
}

impl Packed {
    /// Returns an empty queue of `size` entries.
    pub fn new(memory: PeerSlice<'static>, size: u16, features: F) -> Result<Self, QueueError> {
        let ring = memory.table(0, size).ok_or(QueueError::Memory)?;
        for slot in 0..size {
            let _ = ring.set(slot, Desc::default());
        }
        let events = |at| {
            let cell = |at| {
                let cell = memory.cell16(at).ok_or(QueueError::Memory)?;
                cell.store_release(0);
                Ok(cell)
            };
            Ok(PackedEvents { desc: cell(at)?, flags: cell(at + 2)?, event_idx: features.contains(F::EVENT_IDX), size })
        };
        Ok(Self {
            ring,
            memory,
            driver: events(driver_at(size))?,
            device: events(device_at(size))?,
            front: Front { next: START, hidden: 0, first: (0, Word(0)) },
            used: START,
            published: START,
            unnotified: 0,
        })
    }

    /// Returns a number for a buffer that starts at the next slot: in order, that slot.
    #[inline(always)]
    fn number<const N: usize, T: Token>(&self, ledger: &Ledger<N, T>) -> u16 {
        if ledger.in_order {
            return self.front.next.slot();
        }
        ledger.free_at(ledger.held()).unwrap_or(0)
    }

    #[inline(always)]
    pub fn give<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>, at: Gpa, len: u32, token: T) -> bool {
        if ledger.room == 0 {
            return false;
        }
        let number = self.number(ledger);
        self.front.put(&self.ring, at, len, number, DescF::WRITE);
        ledger.room -= 1;
        ledger.hold(number, token, len, 1);
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
        let number = self.number(ledger);
        let slots = match tables.and_then(|tables| tables.write(number, chain, |_, piece| in_table(piece))) {
            Some(addr) => {
                let len = u32::from(chain.count) * size_of::<Desc>() as u32;
                self.front.put(&self.ring, addr, len, number, DescF::INDIRECT);
                1
            }
            None if ledger.room < chain.count.into() => return false,
            None => {
                for piece in chain.pieces() {
                    let next = if piece.last { DescF::empty() } else { DescF::NEXT };
                    self.front.put(&self.ring, piece.at, piece.len, number, next.union(write_flag(piece)));
                }
                chain.count
            }
        };
        ledger.room -= u32::from(slots);
        ledger.hold(number, token, chain.writable_len, slots);
        true
    }

    /// Publishes all descriptors. See: VIRTIO 2.8.21.1.1 "Driver Requirements: Updating flags".
    #[inline]
    pub fn publish<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>) {
        let Front { next, hidden, first } = self.front;
        if hidden > 0 && ledger.fault.is_none() {
            self.ring.store_release(first.0, first.1.0);
            self.published = next;
            ledger.published = ledger.given;
            self.unnotified += u64::from(hidden);
            self.front.hidden = 0;
        }
    }

    #[inline(always)]
    fn word(&self, slot: u16) -> Word {
        Word(self.ring.load_acquire(slot).unwrap_or(0))
    }

    /// Returns the number of used descriptors in a row, at most `most`. A slot that is neither as the driver left it
    /// nor used breaks the protocol.
    #[inline]
    pub fn ready<const N: usize, T: Token>(
        &mut self,
        ledger: &mut Ledger<N, T>,
        most: u16,
    ) -> Result<u16, DeviceFault> {
        if ledger.batch_left > 0 {
            return Ok(ledger.batch_left);
        }
        let most = ledger.in_flight().min(most);
        let (mut at, mut ready) = (self.used, 0);
        while ready < most {
            let owner = self.word(at.slot()).owner();
            if owner != DescF::used(at.wrap()) {
                if owner != DescF::available(at.wrap()) {
                    return Err(ledger.fail(DeviceFault::UsedFlags));
                }
                break;
            }
            ready += 1;
            at = at.advance(1, ledger.size);
        }
        Ok(ready)
    }

    #[inline(always)]
    pub fn take<const N: usize, T: Token>(&mut self, ledger: &mut Ledger<N, T>) -> Result<Received<T>, DeviceFault> {
        let most = ledger.in_flight();
        if most == 0 {
            return Err(ledger.nothing());
        }
        if ledger.batch_left > 0 {
            return self.take_of_batch(ledger);
        }
        let (slot, wrap) = (self.used.slot(), self.used.wrap());
        let word = self.word(slot);
        if word.owner() != DescF::used(wrap) {
            return Err(ledger.nothing());
        }
        if ledger.in_order && word.id() != u32::from(slot) {
            ledger.begin_batch(word.id(), word.len(), most)?;
            return self.take_of_batch(ledger);
        }
        let held = self.release(ledger, word.id())?;
        if !ledger.in_order {
            ledger.set_free(ledger.held(), word.id() as u16);
        }
        ledger.received(held, word.len())
    }

    /// Does [`super::DriverQueue::exchange`].
    #[inline(always)]
    pub fn exchange<const N: usize, T: Token, const IN_ORDER: bool>(
        &mut self,
        ledger: &mut Ledger<N, T>,
        most: usize,
        mut swap: impl Swap<T>,
    ) -> usize {
        let most = if ledger.batch_left > 0 { 0 } else { most.min(ledger.in_flight().into()) };
        let (ring, mut front, mut used) = (self.ring, self.front, self.used);
        let (given, published) = (ledger.given, ledger.published);
        let mut done = 0;
        while done < most {
            let word = Word(ring.load_acquire(used.slot()).unwrap_or(0));
            if word.owner() != DescF::used(used.wrap()) || IN_ORDER && word.id() != u32::from(used.slot()) {
                break;
            }
            let Some(token) = ledger.plain(word.id(), word.len(), published) else { break };
            let Some((at, len, token)) = swap(token, word.len()) else { break };
            let number = if IN_ORDER { front.next.slot() } else { word.id() as u16 };
            front.put(&ring, at, len, number, DescF::WRITE);
            ledger.replace(word.id(), number, token, len, given.wrapping_add(done as u32));
            used = used.advance(1, ring.size());
            done += 1;
        }
        (self.front, self.used) = (front, used);
        (ledger.taken, ledger.given) = (ledger.taken.wrapping_add(done as u32), given.wrapping_add(done as u32));
        done
    }

    #[inline(always)]
    fn release<const N: usize, T: Token>(
        &mut self,
        ledger: &mut Ledger<N, T>,
        id: u32,
    ) -> Result<Held<T>, DeviceFault> {
        let held = ledger.release(id)?;
        self.used = self.used.advance(held.slots, ledger.size);
        Ok(held)
    }

    /// Takes the oldest buffer of a batch, in order. The buffer starts where the device will go on.
    #[cold]
    fn take_of_batch<const N: usize, T: Token>(
        &mut self,
        ledger: &mut Ledger<N, T>,
    ) -> Result<Received<T>, DeviceFault> {
        let held = self.release(ledger, self.used.slot().into())?;
        let len = ledger.len_in_batch(held);
        ledger.received(held, len)
    }

    pub fn needs_notification(&mut self) -> bool {
        let count = core::mem::take(&mut self.unnotified);
        count > 0 && self.device.wanted(self.published.slot(), self.published.wrap(), count)
    }

    /// Returns number and flags of the next buffer that comes back.
    pub fn watch_word(&self) -> Option<PeerSlice<'static>> {
        let at = u64::from(self.used.slot()) * size_of::<Desc>() as u64 + offset_of!(Desc, id) as u64;
        self.memory.sub(at, 4).ok()
    }

    /// Asks the device for an interrupt at the next buffer, or for none.
    pub fn suppress_interrupts(&mut self, suppress: bool) {
        self.driver.ask((!suppress).then_some((self.used.slot(), self.used.wrap())));
    }
}

const fn write_flag(piece: Piece) -> DescF {
    if piece.write { DescF::WRITE } else { DescF::empty() }
}

/// Returns the descriptor of `piece` in a table, where only one flag is defined. See: VIRTIO 2.8.19 "Driver
/// Requirements: Indirect Descriptors".
const fn in_table(piece: Piece) -> Desc {
    Desc { addr: piece.at, len: piece.len, id: 0, flags: write_flag(piece).bits() }
}
