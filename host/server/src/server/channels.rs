//! Channels: made at the start, and kept when the policy is read again.

use super::{Server, ServerError, listen};
use crate::channels::{Channel, Shared, allow};
use crate::policy::{self, Policy};
use crate::sockets::Socket;
use crate::status::ChannelStatus;
use crate::systemd;
use sluice_channels::Pages;
use std::path::Path;
use tracing::{info, warn};

/// What is new of each channel of a policy: its memory, and its sockets.
pub(super) type Made = Vec<(Option<Shared>, [Option<Socket>; 2])>;

/// Makes all of `channels`.
pub(super) fn create(channels: &[policy::Channel], handed: &systemd::Handed) -> Result<Vec<Channel>, ServerError> {
    let create = |wanted: &policy::Channel| {
        let [reader, writer] = &wanted.sockets;
        let sockets = [listen(handed, &reader.path, reader.mode)?, listen(handed, &writer.path, writer.mode)?];
        Ok(Channel::new(Shared::create(&wanted.memory)?, sockets))
    };
    channels.iter().map(create).collect()
}

/// Takes the one of `all` of which `is` says yes.
fn take<T>(all: &mut Vec<T>, is: impl FnMut(&T) -> bool) -> Option<T> {
    all.iter().position(is).map(|at| all.swap_remove(at))
}

impl Server {
    /// Says which channels have other pages than the policy wants.
    pub(super) fn say_pages(&self) {
        for (wanted, channel) in self.policy.channels.iter().zip(&self.channels) {
            let (channel, pages) = (wanted.memory.name.as_ref(), channel.shared.file.pages());
            match pages {
                Pages::Advised | Pages::Small if wanted.memory.huge => {
                    warn!(channel, pages = pages.name(), "no huge pages are set aside: it has others");
                }
                _ => {}
            }
        }
    }

    /// Makes what `new` has of channels that is not there.
    pub(super) fn new_channels(&self, new: &Policy) -> Result<Made, ServerError> {
        let has = |path: &Path| self.channels.iter().any(|it| it.sockets().iter().any(|socket| socket.path() == path));
        let socket = |wanted: &policy::Access| {
            (!has(&wanted.path)).then(|| listen(&self.handed, &wanted.path, wanted.mode)).transpose()
        };
        let make = |wanted: &policy::Channel| {
            if self.policy.channels.iter().any(|old| old.memory.is_file_of_another(&wanted.memory)) {
                return Err(ServerError::InUse(wanted.memory.name.clone()));
            }
            let stays = self.policy.channels.iter().any(|old| old.memory == wanted.memory);
            let memory = (!stays).then(|| Shared::create(&wanted.memory)).transpose()?;
            let [reader, writer] = &wanted.sockets;
            Ok((memory, [socket(reader)?, socket(writer)?]))
        };
        new.channels.iter().map(make).collect()
    }

    /// Goes over to the channels of `new`. Those with the same memory stay, with whoever has it. Whoever has another
    /// one's keeps it, and is no longer known here.
    pub(super) fn change_channels(&mut self, new: &Policy, made: Made) {
        let (mut old, mut sockets) = (Vec::new(), Vec::new());
        for (was, channel) in self.policy.channels.iter().zip(std::mem::take(&mut self.channels)) {
            let (shared, of_channel) = channel.into_parts();
            old.push((was.memory.clone(), shared));
            sockets.extend(of_channel);
        }
        for (wanted, (made, [reader, writer])) in new.channels.iter().zip(made) {
            let shared =
                made.or_else(|| take(&mut old, |(memory, _)| *memory == wanted.memory).map(|(_, shared)| shared));
            let [to_reader, to_writer] = &wanted.sockets;
            let mut of =
                |made: Option<Socket>, path: &Path| made.or_else(|| take(&mut sockets, |it| it.path() == path));
            let (reader, writer) = (of(reader, &to_reader.path), of(writer, &to_writer.path));
            if let (Some(shared), Some(reader), Some(writer)) = (shared, reader, writer) {
                let sockets = [reader, writer];
                allow(&sockets, &wanted.sockets);
                self.channels.push(Channel::new(shared, sockets));
            }
        }
        for (memory, _) in old {
            info!(channel = memory.name.as_ref(), "the channel is gone: the policy has changed");
        }
    }

    pub(super) fn channel_status(&self, index: usize) -> ChannelStatus {
        let (wanted, channel) = (&self.policy.channels[index], &self.channels[index]);
        let shared = &channel.shared;
        // Of a file that was cut nothing is known.
        let claims = shared.file.claims().unwrap_or_default();
        ChannelStatus {
            name: wanted.memory.name.to_string(),
            kind: wanted.memory.kind.name().into(),
            ring_bytes: wanted.memory.capacity,
            pages: shared.file.pages().name().into(),
            file: wanted.memory.file.clone(),
            reader: wanted.sockets[0].path.clone(),
            writer: wanted.sockets[1].path.clone(),
            writer_seconds: shared.writer_seconds(),
            readers: shared.readers() as u64,
            reader_connects: shared.counts.readers,
            writer_connects: shared.counts.writers,
            refused: shared.counts.refused,
            writers: claims.writers,
            written_bytes: claims.written,
        }
    }
}
