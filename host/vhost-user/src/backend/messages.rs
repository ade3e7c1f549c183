//! What each message of a front-end does with the device. See: "Vhost-user Protocol", "Front-end message types".

use super::agreed::{Messages, Protocol, Rings};
use super::device::{Device, Log};
use super::table::MemoryTable;
use super::vring::{Vring, event};
use crate::memory::Mapping;
use crate::message::body::{LogArea, Region, VringAddress, VringState};
use crate::message::{Fault, Message, Reply};
use sluice_abi::directory::Queue;
use sluice_abi::{packed, virtq};
use std::fs::File;
use std::rc::Rc;

type Done = Result<(), Fault>;

impl Device {
    /// Handles `message`, with which `files` came, as many as such a message has. Returns its reply, if it has one of
    /// its own.
    pub(super) fn handle(&mut self, message: Message, files: Vec<File>) -> Result<Option<Reply>, Fault> {
        match message {
            Message::GetFeatures => return Ok(Some(Reply::Number(self.offered.features()))),
            Message::GetProtocolFeatures => return Ok(Some(Reply::Number(self.offered.protocol().bits()))),
            Message::GetQueueNum => return self.count().map(Some),
            Message::GetVringBase(index) => return self.take_base(index).map(Some),
            Message::GetStatus => return self.get_status().map(Some),
            Message::SetLogBase(area) => return self.set_log(area, files).map(Some),
            // The session has one front-end, which owns it from the first message to the last. Who waits for changes of
            // the log, or for errors, learns of none by an event.
            Message::SetOwner | Message::ResetOwner => {}
            Message::SetLogFd => self.messages.need(Protocol::LOG_SHMFD)?,
            Message::SetVringErr(ring) => self.vring(ring.index).map(|_| ())?,
            Message::SetFeatures(chosen) => self.set_features(chosen)?,
            Message::SetProtocolFeatures(chosen) => self.messages = Messages::choose(&self.offered, chosen)?,
            Message::SetMemTable(regions) => self.set_memory(regions, files)?,
            Message::SetVringNum(state) => self.set_size(state)?,
            Message::SetVringAddr(address) => self.set_addresses(&address)?,
            Message::SetVringBase(state) => self.set_base(state)?,
            Message::SetVringKick(ring) => self.set_kick(ring.index, files)?,
            Message::SetVringCall(ring) => self.vring(ring.index)?.call = event(files)?,
            Message::SetVringEnable(state) => self.set_enabled(state)?,
            Message::SendRarp(mac) => self.set_mac(mac)?,
            Message::NetSetMtu(mtu) => self.set_mtu(mtu)?,
            Message::SetStatus(status) => self.set_status(status)?,
        }
        Ok(None)
    }

    /// Returns whether a message without a reply of its own has one, if the front-end wants it.
    pub(super) fn acknowledges(&self) -> bool {
        self.messages.have(Protocol::REPLY_ACK)
    }

    fn vring(&mut self, index: u32) -> Result<&mut Vring, Fault> {
        let count = self.vrings.len();
        let found = self.vrings.get_mut(index as usize);
        found.ok_or_else(|| Fault::Value(format!("ring {index} of {count}")))
    }

    /// Returns what rings are set up by, which is not known before SET_FEATURES.
    fn rings(&self) -> Result<Rings, Fault> {
        self.rings.ok_or(Fault::TooEarly)
    }

    fn count(&self) -> Result<Reply, Fault> {
        self.messages.need(Protocol::MQ).map(|()| Reply::Number(self.offer.pairs.into()))
    }

    fn set_features(&mut self, chosen: u64) -> Done {
        let rings = Rings::choose(&self.offered, self.messages, chosen)?;
        let running = self.vrings.iter().position(|vring| vring.ring.is_some());
        if let Some(index) = running.filter(|_| self.rings.is_some_and(|before| !before.may_become(rings))) {
            return Err(Fault::Value(format!("features {chosen:#x} while ring {index} has others")));
        }
        self.rings = Some(rings);
        self.log_writes()
    }

    /// Replaces the memory. The old one is unmapped, with the rings in it, before the new table is looked at.
    fn set_memory(&mut self, regions: Vec<Region>, files: Vec<File>) -> Done {
        for vring in &mut self.vrings {
            vring.keep_base();
        }
        self.memory = None;
        self.memory = Some(MemoryTable::new(regions.into_iter().zip(files).collect())?);
        (0..self.vrings.len()).try_for_each(|index| self.attach(index))
    }

    fn set_log(&mut self, area: LogArea, files: Vec<File>) -> Result<Reply, Fault> {
        self.messages.need(Protocol::LOG_SHMFD)?;
        let file = files.into_iter().next().ok_or(Fault::Descriptors { count: 0, expected: 1 })?;
        let mapping = Mapping::of_file(&file, area.offset, area.len);
        let mapping = Rc::new(mapping.map_err(|error| Fault::Value(format!("log: {error}")))?);
        self.log = Some(Log { area, file, mapping });
        self.log_writes().map(|()| Reply::Empty)
    }

    /// Has all rings mark what they write in the log, or has them stop that.
    fn log_writes(&mut self) -> Done {
        let log = self.log().map(|log| log.mapping.clone());
        for (index, vring) in self.vrings.iter_mut().enumerate() {
            if !vring.ring.as_mut().is_none_or(|ring| ring.set_log(log.as_ref())) {
                return Err(Fault::Value(format!("ring {index}: the log is too short for the memory")));
            }
        }
        Ok(())
    }

    fn set_size(&mut self, VringState { index, num }: VringState) -> Done {
        let packed = self.rings()?.packed();
        let largest = if packed { packed::MAX_SIZE } else { virtq::MAX_SIZE };
        let fits = u16::try_from(num).ok().filter(|&size| size > 0 && size <= largest);
        let Some(size) = fits.filter(|size| packed || size.is_power_of_two()) else {
            return Err(Fault::Value(format!("ring {index}: {num} entries")));
        };
        let vring = self.vring(index)?;
        vring.ring = None;
        vring.size = size;
        Ok(())
    }

    fn set_addresses(&mut self, address: &VringAddress) -> Done {
        self.rings()?;
        let vring = self.vring(address.index)?;
        vring.keep_base();
        vring.user = Some([address.descriptors, address.driver, address.device]);
        self.attach(address.index as usize)
    }

    fn set_base(&mut self, VringState { index, num: base }: VringState) -> Done {
        let packed = self.rings()?.packed();
        let vring = self.vring(index)?;
        // Old front-ends send no used position (bits 31:16). No buffer is in flight then, so it is the position of the
        // next one.
        let base = if packed && base >> 16 == 0 { base | base << 16 } else { base };
        vring.ring = None;
        vring.base = Some(base);
        Ok(())
    }

    /// Stops the ring, and returns where it stands.
    fn take_base(&mut self, index: u32) -> Result<Reply, Fault> {
        let vring = self.vring(index)?;
        vring.keep_base();
        vring.started = false;
        Ok(Reply::State(VringState { index, num: vring.base.unwrap_or(0) }))
    }

    fn set_kick(&mut self, index: u32, files: Vec<File>) -> Done {
        let enabled = !self.rings()?.enabled_by_message;
        let vring = self.vring(index)?;
        vring.kick = event(files)?;
        vring.started = true;
        vring.enabled |= enabled;
        self.attach(index as usize)
    }

    fn set_enabled(&mut self, VringState { index, num }: VringState) -> Done {
        if num > 1 {
            return Err(Fault::Value(format!("ring {index}: {num} is neither on nor off")));
        }
        self.vring(index)?.enabled = num == 1;
        Ok(())
    }

    fn set_mac(&mut self, mac: [u8; 6]) -> Done {
        self.messages.need(Protocol::RARP)?;
        self.mac = Some(mac);
        Ok(())
    }

    fn set_mtu(&mut self, mtu: u64) -> Done {
        self.messages.need(Protocol::MTU)?;
        let fits = u16::try_from(mtu).map_err(|_| Fault::Value(format!("an MTU of {mtu} bytes")))?;
        self.mtu = Some(fits);
        Ok(())
    }

    /// Keeps the status. Rings keep their state also when it is 0: QEMU asks afterwards where they stand.
    fn set_status(&mut self, status: u64) -> Done {
        self.messages.need(Protocol::STATUS)?;
        self.status = u8::try_from(status).map_err(|_| Fault::Bits(status))?;
        Ok(())
    }

    fn get_status(&self) -> Result<Reply, Fault> {
        self.messages.need(Protocol::STATUS).map(|()| Reply::Number(self.status.into()))
    }

    /// Makes the ring, once its size, addresses and memory are known and the front-end has started it.
    fn attach(&mut self, index: usize) -> Done {
        let (Some(rings), Some(memory), Some(vring)) = (self.rings, &self.memory, self.vrings.get_mut(index)) else {
            return Ok(());
        };
        let (Some(user), true, None) = (vring.user, vring.started, &vring.ring) else { return Ok(()) };
        let [desc, driver, device] = user.map(|user| memory.gpa(user));
        let (Some(desc), Some(driver), Some(device)) = (desc, driver, device) else {
            return Err(Fault::Value(format!("ring {index}: an address of {user:x?} is in no memory region")));
        };
        let addresses = virtq::QueueAddresses { desc, driver, device };
        let (features, size) = (rings.features.bits(), vring.size);
        let queue = Queue { addresses, features, index: index as u16, size, ..Queue::default() };
        let mut ring = memory.ring(&queue, vring.base)?;
        ring.ask_for_notifications(false);
        vring.ring = Some(ring);
        self.log_writes()
    }
}
