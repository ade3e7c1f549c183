//! What clients of the control socket ask for.

use super::Server;
use super::flows::now;
use crate::connection::Connection;
use crate::control::{Answer, Request};
use crate::status::{RingStatus, Status, VmStatus, WindowStatus};
use crate::windows::Window;
use sluice_abi::net::F;
use sluice_control::Device;

impl Server {
    /// Goes on with the clients, and answers their requests.
    pub(super) fn serve_clients(&mut self) {
        for (client, request) in self.control.turn() {
            let answer = match request {
                Err(why) => Answer::Failed(why),
                Ok(Request::Status) => Answer::Status(self.status()),
                Ok(Request::Reload) => match self.reload() {
                    Ok(text) => Answer::Done(text),
                    Err(error) => Answer::Failed(error.to_string()),
                },
                Ok(Request::Capture { vm }) => self.capture(client, &vm),
            };
            self.control.answer(client, &answer);
        }
        let control = &self.control;
        self.captures.retain(|client| control.has(client));
    }

    fn capture(&mut self, client: u64, name: &str) -> Answer {
        let Some(vm) = (0..self.policy.ports()).find(|&id| self.policy.name(id) == Some(name)) else {
            return Answer::Failed(format!("no vm or tap \"{name}\""));
        };
        self.captures.begin(client, vm as u32);
        Answer::Capture
    }

    /// Gives clients the frames that were captured for them.
    pub(super) fn give_captures(&mut self) {
        let Self { control, captures, .. } = self;
        control.capturing(|client| {
            let Some(live) = captures.of(client.id) else { return };
            let given = client.give(live.waiting.make_contiguous());
            live.waiting.drain(..given);
        });
    }

    fn status(&mut self) -> Status {
        let vms = (0..self.policy.vms.len()).map(|vm| self.vm_status(vm)).collect();
        let taps = (0..self.policy.taps.len()).map(|tap| self.tap_status(tap)).collect();
        let channels = (0..self.channels.len()).map(|channel| self.channel_status(channel)).collect();
        Status { uptime_seconds: self.begin.elapsed().as_secs(), vms, taps, channels }
    }

    fn vm_status(&mut self, id: usize) -> VmStatus {
        let flows = self.flows.numbers(id as u32, now());
        let (counters, bytes) = (self.switch.counters(id as u32), self.switch.bytes(id as u32));
        let shared: Vec<_> = (0..self.policy.vms[id].peers.len()).map(|index| self.is_shared((id, index))).collect();
        let (vm, rings) = (&self.policy.vms[id], self.switch.rings());
        let set_up = rings.connection(id).and_then(Connection::set_up);
        let own = |device: &Device| (device.features(), device.queues().collect());
        let set_up = set_up.or_else(|| self.network.device(id as u32).map(own));
        let (features, queues) = set_up.unwrap_or_else(|| (F::empty(), Vec::new()));
        let windows = rings.connection(id).and_then(Connection::process).map_or(&[][..], |process| &process.windows);
        let peers = vm.peers.iter().map(|&peer| self.policy.vms[peer].name.clone());
        let state = |((peer, is_shared), window): ((String, bool), &Window)| WindowStatus {
            peer,
            state: window.state.name().into(),
            is_shared,
            frames: window.frames,
        };
        let windows = peers.zip(shared).zip(windows).map(state).collect();
        let port = rings.get(id);
        let connection = port.and_then(|port| port.connection.as_ref());
        VmStatus {
            name: vm.name.clone(),
            socket: vm.socket.clone(),
            mac: vm.mac.to_string(),
            connected_seconds: connection.map(|connection| connection.since.elapsed().as_secs()),
            connects: port.as_ref().map_or(0, |port| port.connects),
            last_end: port.and_then(|port| port.last_end.clone()),
            features: features.bits(),
            rings: queues.iter().map(|queue| RingStatus { queue: queue.index, size: queue.size }).collect(),
            windows,
            flows: flows.into_iter().flatten().map(|(name, number)| (name.to_owned(), number)).collect(),
            taken_bytes: bytes[0],
            forwarded_bytes: bytes[1],
            counters: counters.named().into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        }
    }
}
