//! What a front-end may ask for, and what it is told.

use super::body::{LogArea, MAX_REGIONS, Region, TableHeader, VringAddress, VringState};
use super::header::{Code, Fault, Header};
use zerocopy::{FromBytes, IntoBytes};

/// A ring, by its index, and whether the descriptor of its event comes with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VringEvent {
    /// The index of the ring.
    pub index: u32,
    /// Whether a descriptor comes with the message. If not, the ring is polled.
    pub descriptor: bool,
}

/// What a front-end asks for. See: "Vhost-user Protocol", "Front-end message types".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks for the features that are offered.
    GetFeatures,
    /// Chooses features.
    SetFeatures(u64),
    /// Takes the session. It has only one front-end anyway.
    SetOwner,
    /// Is no longer used. A back-end may ignore it.
    ResetOwner,
    /// Gives the memory, a descriptor for each region.
    SetMemTable(Vec<Region>),
    /// Gives the log of pages that are written, by a descriptor.
    SetLogBase(LogArea),
    /// Gives the event of changes of the log, by a descriptor.
    SetLogFd,
    /// Sets the number of a ring's entries.
    SetVringNum(VringState),
    /// Sets the addresses of a ring.
    SetVringAddr(VringAddress),
    /// Sets where a ring goes on.
    SetVringBase(VringState),
    /// Stops the ring of this index, and asks where it stands.
    GetVringBase(u32),
    /// Gives the event by which the driver notifies the device, and starts the ring.
    SetVringKick(VringEvent),
    /// Gives the event by which the device notifies the driver.
    SetVringCall(VringEvent),
    /// Gives the event by which the device tells of errors.
    SetVringErr(VringEvent),
    /// Asks for the protocol features that are offered.
    GetProtocolFeatures,
    /// Chooses protocol features.
    SetProtocolFeatures(u64),
    /// Asks for the number of queue pairs.
    GetQueueNum,
    /// Enables a ring, or disables it.
    SetVringEnable(VringState),
    /// Has the back-end announce the guest of this MAC address, after a migration.
    SendRarp([u8; 6]),
    /// Tells the MTU that the guest was told, bytes.
    NetSetMtu(u64),
    /// Sets the device status. See: VIRTIO 2.1 "Device Status Field".
    SetStatus(u64),
    /// Asks for the device status.
    GetStatus,
}

impl Message {
    /// Returns the index of the ring that the message names, if it names one.
    pub const fn ring(&self) -> Option<u32> {
        match self {
            Self::SetVringNum(state) | Self::SetVringBase(state) | Self::SetVringEnable(state) => Some(state.index),
            Self::SetVringAddr(address) => Some(address.index),
            Self::SetVringKick(event) | Self::SetVringCall(event) | Self::SetVringErr(event) => Some(event.index),
            Self::GetVringBase(index) => Some(*index),
            _ => None,
        }
    }

    /// Reads the message that `header` begins and `body` is all the rest of.
    ///
    /// # Errors
    /// The message is not one that this back-end knows, or its body has not the length or the form that it must have.
    pub fn read(header: &Header, body: &[u8]) -> Result<Self, Fault> {
        Ok(match header.code() {
            Code::GET_FEATURES => empty(body, Self::GetFeatures)?,
            Code::SET_FEATURES => Self::SetFeatures(read(body)?),
            Code::SET_OWNER => empty(body, Self::SetOwner)?,
            Code::RESET_OWNER => empty(body, Self::ResetOwner)?,
            Code::SET_MEM_TABLE => Self::SetMemTable(table(body)?),
            Code::SET_LOG_BASE => Self::SetLogBase(read(body)?),
            Code::SET_LOG_FD => empty(body, Self::SetLogFd)?,
            Code::SET_VRING_NUM => Self::SetVringNum(read(body)?),
            Code::SET_VRING_ADDR => Self::SetVringAddr(read::<VringAddress>(body)?.checked()?),
            Code::SET_VRING_BASE => Self::SetVringBase(read(body)?),
            Code::GET_VRING_BASE => Self::GetVringBase(read::<VringState>(body)?.index),
            Code::SET_VRING_KICK => Self::SetVringKick(event(body)?),
            Code::SET_VRING_CALL => Self::SetVringCall(event(body)?),
            Code::SET_VRING_ERR => Self::SetVringErr(event(body)?),
            Code::GET_PROTOCOL_FEATURES => empty(body, Self::GetProtocolFeatures)?,
            Code::SET_PROTOCOL_FEATURES => Self::SetProtocolFeatures(read(body)?),
            Code::GET_QUEUE_NUM => empty(body, Self::GetQueueNum)?,
            Code::SET_VRING_ENABLE => Self::SetVringEnable(read(body)?),
            Code::SEND_RARP => Self::SendRarp(mac(read(body)?)),
            Code::NET_SET_MTU => Self::NetSetMtu(read(body)?),
            Code::SET_STATUS => Self::SetStatus(read(body)?),
            Code::GET_STATUS => empty(body, Self::GetStatus)?,
            _ => return Err(Fault::Unknown),
        })
    }

    /// Returns how many descriptors come with the message: neither fewer nor more.
    pub const fn descriptors(&self) -> usize {
        match self {
            Self::SetMemTable(regions) => regions.len(),
            Self::SetLogBase(_) | Self::SetLogFd => 1,
            Self::SetVringKick(event) | Self::SetVringCall(event) | Self::SetVringErr(event) => {
                event.descriptor as usize
            }
            _ => 0,
        }
    }
}

/// The body of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A number. To a message that asks for no reply of its own, 0 says that all went well.
    Number(u64),
    /// Where a ring stands.
    State(VringState),
    /// Nothing: the message was handled.
    Empty,
}

impl Reply {
    /// Returns the reply to the message that `header` begins, as it is sent.
    pub fn bytes(&self, header: &Header) -> Vec<u8> {
        let body = match self {
            Self::Number(number) => number.as_bytes(),
            Self::State(state) => state.as_bytes(),
            Self::Empty => &[],
        };
        [header.reply(body.len() as u32).as_bytes(), body].concat()
    }
}

/// Reads a body that is as long as a `T`.
fn read<T: FromBytes>(body: &[u8]) -> Result<T, Fault> {
    T::read_from_bytes(body).map_err(|_| Fault::Body { len: body.len(), expected: size_of::<T>() })
}

/// Returns `message`, which has no body.
fn empty(body: &[u8], message: Message) -> Result<Message, Fault> {
    read::<()>(body).map(|()| message)
}

/// Reads the ring of a message with an event: its index in bits 7:0, and whether no descriptor comes in bit 8.
fn event(body: &[u8]) -> Result<VringEvent, Fault> {
    let word: u64 = read(body)?;
    let event = VringEvent { index: word as u32 & 0xff, descriptor: word & 1 << 8 == 0 };
    if word >> 9 == 0 { Ok(event) } else { Err(Fault::Bits(word)) }
}

/// Reads a memory table.
fn table(body: &[u8]) -> Result<Vec<Region>, Fault> {
    let short = Fault::Body { len: body.len(), expected: size_of::<TableHeader>() };
    let (header, regions) = TableHeader::read_from_prefix(body).map_err(|_| short)?;
    let count = header.count as usize;
    let expected = size_of::<TableHeader>() + count.min(MAX_REGIONS) * size_of::<Region>();
    if count == 0 || count > MAX_REGIONS {
        return Err(Fault::Regions(header.count));
    }
    if body.len() != expected {
        return Err(Fault::Body { len: body.len(), expected });
    }
    regions.chunks_exact(size_of::<Region>()).map(|region| read::<Region>(region)?.checked()).collect()
}

/// Returns the MAC address in the first six bytes of a word.
fn mac(word: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = word.to_ne_bytes();
    [a, b, c, d, e, f]
}
