//! The driver's notes of the buffers that the device has, in private memory, out of the device's reach.

use super::{DeviceFault, Received, Token};
use sluice_memory::speculation::pick;

/// The notes of one buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<T> {
    /// The caller's token.
    pub token: T,
    /// Number of bytes that the device may write.
    pub len: u32,
    /// Number of descriptors of the ring; 0 if the device does not have the buffer.
    pub slots: u16,
    /// The next descriptor of the chain, in a split ring out of order.
    pub next: u16,
    /// Number of the buffer in the order in which buffers were given.
    pub place: u32,
}

/// The buffers by number, the free numbers, and the progress of each side.
///
/// With [`sluice_abi::net::F::IN_ORDER`] free numbers are not needed: the number of a buffer is that of its first
/// descriptor, and descriptors are used in order.
pub(super) struct Ledger<const N: usize, T> {
    held: [Held<T>; N],
    free: [u16; N],
    pub size: u16,
    pub in_order: bool,
    /// Number of descriptors that the device does not have. Fields that change with each buffer have 32 bits: the
    /// compiler reads narrower fields together with their neighbours, and such a read waits for the writes before it.
    pub room: u32,
    /// Free-running numbers of buffers given, published and taken back.
    pub given: u32,
    pub published: u32,
    pub taken: u32,
    /// Number of buffers of a batch that are still to be taken, and number of bytes in the last of them.
    pub batch_left: u16,
    batch_len: u32,
    pub fault: Option<DeviceFault>,
}

impl<const N: usize, T: Token> Ledger<N, T> {
    pub fn new(size: u16, in_order: bool) -> Self {
        Self {
            held: [Held { token: T::default(), len: 0, slots: 0, next: 0, place: 0 }; N],
            free: core::array::from_fn(|index| index as u16),
            size,
            in_order,
            room: size.into(),
            given: 0,
            published: 0,
            taken: 0,
            batch_left: 0,
            batch_len: 0,
            fault: None,
        }
    }

    /// Returns the number of buffers that were published and not taken back.
    #[inline(always)]
    pub const fn in_flight(&self) -> u16 {
        self.published.wrapping_sub(self.taken) as u16
    }

    /// Returns the number of buffers that were given and not taken back.
    #[inline(always)]
    pub const fn held(&self) -> u32 {
        self.given.wrapping_sub(self.taken)
    }

    /// Returns the free number at `place` of the list.
    #[inline(always)]
    pub fn free_at(&self, place: u32) -> Option<u16> {
        self.free.get(place as usize).copied()
    }

    /// Puts a free number at `place` of the list.
    #[inline(always)]
    pub fn set_free(&mut self, place: u32, number: u16) {
        if let Some(free) = self.free.get_mut(place as usize) {
            *free = number;
        }
    }

    /// Notes that the buffer `number` was given.
    #[inline(always)]
    pub fn hold(&mut self, number: u16, token: T, len: u32, slots: u16) {
        if let Some(held) = self.held.get_mut(usize::from(number)) {
            *held = Held { token, len, slots, next: held.next, place: self.given };
        }
        self.given = self.given.wrapping_add(1);
    }

    /// Notes which descriptor follows `number` in a chain.
    pub fn link(&mut self, number: u16, next: u16) {
        if let Some(held) = self.held.get_mut(usize::from(number)) {
            held.next = next;
        }
    }

    /// Returns the descriptor that follows `number` in a chain.
    pub fn linked(&self, number: u16) -> u16 {
        self.held.get(usize::from(number)).map_or(0, |held| held.next)
    }

    /// Takes the buffer `number` back, if the device has it.
    #[inline(always)]
    pub fn release(&mut self, number: u32) -> Result<Held<T>, DeviceFault> {
        let (published, hidden) = (self.published, self.given.wrapping_sub(self.published));
        let held = match self.held.get_mut(number as usize) {
            Some(held) if held.slots > 0 && (hidden == 0 || held.place.wrapping_sub(published) >= hidden) => held,
            _ => return Err(self.fail(DeviceFault::UsedId)),
        };
        let was = *held;
        held.slots = 0;
        self.taken = self.taken.wrapping_add(1);
        self.room += u32::from(was.slots);
        Ok(was)
    }

    /// Returns the token of buffer `number`; `None` unless the buffer is one descriptor that was published, with room
    /// for `len` bytes.
    #[inline(always)]
    pub fn plain(&self, number: u32, len: u32, published: u32) -> Option<T> {
        let held = pick(&self.held, number as usize)?;
        // A buffer that was not published has a place from `published` on; one with a place long before is for
        // release().
        let shown = held.place.wrapping_sub(published).cast_signed() < 0;
        (held.slots == 1 && shown && len <= held.len).then_some(held.token)
    }

    /// Notes that buffer `number`, which is one descriptor, came back, and that another was given as `as_number` with
    /// place `place`.
    #[inline(always)]
    pub fn replace(&mut self, number: u32, as_number: u16, token: T, len: u32, place: u32) {
        if number != as_number.into() {
            self.set_slots(number as usize, 0);
            self.set_slots(as_number.into(), 1);
        }
        if let Some(held) = self.held.get_mut(usize::from(as_number)) {
            (held.token, held.len, held.place) = (token, len, place);
        }
    }

    fn set_slots(&mut self, number: usize, slots: u16) {
        if let Some(held) = self.held.get_mut(number) {
            held.slots = slots;
        }
    }

    /// Begins a batch up to buffer `number`, which is not the oldest: all up to it are used, at most `most`. See:
    /// VIRTIO 2.7.9 "In-order use of descriptors", 2.8.8 "In-order use of descriptors".
    #[cold]
    pub fn begin_batch(&mut self, number: u32, len: u32, most: u16) -> Result<(), DeviceFault> {
        let held = self.held.get(number as usize).filter(|held| held.slots > 0);
        let before =
            held.map(|held| held.place.wrapping_sub(self.taken)).filter(|&before| before < self.in_flight().into());
        let before = before.ok_or(DeviceFault::UsedId).map_err(|fault| self.fail(fault))?;
        if before >= most.into() {
            return Err(self.fail(DeviceFault::UsedIdx));
        }
        (self.batch_left, self.batch_len) = (before as u16 + 1, len);
        Ok(())
    }

    /// Returns the number of bytes in `held`, which was just taken out of a batch: all buffers but the last are full.
    pub fn len_in_batch(&mut self, held: Held<T>) -> u32 {
        self.batch_left -= 1;
        if self.batch_left == 0 { self.batch_len } else { held.len }
    }

    /// Returns buffer `held`, which came back with `len` bytes.
    #[inline(always)]
    pub fn received(&mut self, held: Held<T>, len: u32) -> Result<Received<T>, DeviceFault> {
        if len > held.len {
            return Err(self.overrun(held));
        }
        Ok(Received { token: held.token, len })
    }

    /// Notes that the device wrote more than `held` has. The device keeps the buffer, as it keeps all others, for
    /// [`Ledger::reclaim`].
    #[cold]
    fn overrun(&mut self, held: Held<T>) -> DeviceFault {
        if let Some(free) = self.held.iter_mut().find(|free| free.slots == 0) {
            *free = held;
        }
        self.fail(DeviceFault::UsedLen)
    }

    /// Notes a fault: nothing more is given to or taken from the device.
    #[cold]
    pub fn fail(&mut self, fault: DeviceFault) -> DeviceFault {
        self.published = self.taken;
        self.batch_left = 0;
        self.room = 0;
        *self.fault.get_or_insert(fault)
    }

    /// Returns why nothing can be taken: the fault, or that nothing is there.
    #[cold]
    pub fn nothing(&self) -> DeviceFault {
        self.fault.unwrap_or(DeviceFault::UsedIdx)
    }

    /// Takes any buffer from the device, and returns its token; `None` if the device has none.
    pub fn reclaim(&mut self) -> Option<T> {
        let held = self.held.iter_mut().find(|held| held.slots > 0)?;
        held.slots = 0;
        Some(held.token)
    }
}
