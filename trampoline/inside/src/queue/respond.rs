//! Requests that the device answers: bytes that it reads, then room for the answer. Control queues hold them.
//! See: VIRTIO 5.1.6.5 "Control Virtqueue". Hosts use this module, the window does not.

use super::chain::Chain;
use super::device::DeviceQueue;
use crate::Regions;
use sluice_abi::call::Clause;
use sluice_memory::PeerSlice;

impl DeviceQueue {
    /// Takes the next request, answers it, and shows the driver the answer. Returns `false` if there is no request.
    /// `into` is room for the bytes of a request. `answer` gets them, or `None` where they are more than that, and
    /// returns the byte that the driver reads.
    pub fn respond(
        &mut self,
        regions: &Regions,
        into: &mut [u8],
        answer: impl FnOnce(Option<&[u8]>) -> u8,
    ) -> Result<bool, Clause> {
        // With nothing pending there is room for every chain, so no request is carried out and then found again.
        self.publish();
        let Some(mut chain) = self.next_chain()? else { return Ok(false) };
        let Request { len, room } = Request::read(&mut chain, regions, into)?;
        let room = room.ok_or(Clause::TooShort)?;
        let bytes = usize::try_from(len).ok().and_then(|len| into.get(..len));
        room.write(0, answer(bytes)).map_err(|_| Clause::Region)?;
        let used = self.use_chain(&chain, 1);
        self.publish();
        if used { Ok(true) } else { Err(Clause::ChainLength) }
    }
}

/// The request that a chain holds.
struct Request {
    /// Number of bytes that the driver wrote, including those for which there is no room.
    len: u64,
    /// The first piece that the device may write.
    room: Option<PeerSlice<'static>>,
}

impl Request {
    /// Follows `chain` to its end. Each byte that has room in `into` is read once.
    fn read(chain: &mut Chain, regions: &Regions, into: &mut [u8]) -> Result<Self, Clause> {
        let mut request = Self { len: 0, room: None };
        while let Some(piece) = chain.next(regions)? {
            let memory = piece.memory(regions)?;
            if piece.writable {
                request.room = request.room.or(Some(memory).filter(|memory| !memory.is_empty()));
            } else if request.room.is_some() {
                return Err(Clause::NotReadable);
            } else {
                request.take(memory, into).map_err(|_| Clause::Region)?;
            }
        }
        Ok(request)
    }

    fn take(&mut self, memory: PeerSlice<'static>, into: &mut [u8]) -> Result<(), sluice_memory::OutOfRegion> {
        let free = usize::try_from(self.len).ok().and_then(|len| into.get_mut(len..)).unwrap_or_default();
        let len = memory.len().min(free.len() as u64);
        self.len += memory.len();
        memory.sub(0, len)?.copy_to_slice(0, &mut free[..len as usize])
    }
}
