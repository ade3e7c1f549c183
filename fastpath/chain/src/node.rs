//! A machine of a chain at work: from its ports, through its function, to the next hop.

mod lanes;

use crate::nsh::{Direction, Nsh, Outer, Spi};
use crate::{Cause, ChainFile, FileError, Packet, Router, RouterError, Rule, Table, seconds};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use lanes::{Beside, Lanes, each_frame};
use sluice_switch::{HEAD, Key, Parsed, WORDS};
use sluice_vnf::{
    Error, FileError as ModuleError, Frame, FrameMut, MAX_PAIRS, Options, PeerError, Ports, Vnf, clock, println,
};
use zerocopy::network_endian::U16;

/// Flows of which a proxy keeps a header, and for how many seconds without a packet.
const KEPT: usize = 4096;
const KEPT_SECONDS: u64 = 60;

/// Returns the options of a VM of a chain: as many queue pairs as its device has, for all the VMs that may send to it.
pub fn options() -> Options {
    Options { pairs: MAX_PAIRS as u16, ..Options::default() }
}

/// Reasons for which a machine can't be part of its chains.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The first arguments are not those of every VM of a chain.
    #[error("arguments: want the vm's own name and the name of a chain file first")]
    Arguments,
    /// The machine has no such module.
    #[error("{0}: no such module")]
    NoFile(&'static str),
    /// The module can't be read.
    #[error("{0}: {1}")]
    Unreadable(&'static str, ModuleError),
    /// The chain file is wrong.
    #[error("{0}: {1}")]
    File(&'static str, FileError),
    /// The machine can't take part.
    #[error("{0}: {1}")]
    Router(&'static str, RouterError),
    /// A VM that frames may have to be sent to is not in the window directory.
    #[error("{0}: peer \"{1}\" is not in the window directory")]
    NoPeer(&'static str, String),
    /// The ports can't be used.
    #[error(transparent)]
    Ports(#[from] Error),
}

/// A VM of service chains.
pub struct Node {
    router: Router,
    lanes: Lanes,
    /// Frames that enter a chain here.
    rules: Vec<(Rule, Spi)>,
}

impl Node {
    /// Reads the chain file that the second argument of `vnf` names, finds the VM that the first one names in it, and
    /// waits until the next hops are ready; for seconds at most, as a hop may be away. `beside` names a peer that is no
    /// hop: what lies outside of the chains, or a proxy's function.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn open(vnf: &Vnf, ports: &Ports, beside: Option<&str>) -> Result<Self, ChainError> {
        let (me, name) = vnf.arg(0).zip(vnf.arg(1)).ok_or(ChainError::Arguments)?;
        let text = vnf.text(name).ok_or(ChainError::NoFile(name))?;
        let text = text.map_err(|error| ChainError::Unreadable(name, error))?;
        let file = ChainFile::parse(text).map_err(|error| ChainError::File(name, error))?;
        let router = Router::new(&file, me).map_err(|error| ChainError::Router(name, error))?;
        let find = |vm: &str| {
            let mut patience = vnf.patience();
            loop {
                match ports.gate().find(vm) {
                    Err(PeerError::Busy) => patience.wait(vnf)?,
                    found => return found.map_err(|_| ChainError::NoPeer(name, vm.to_string())),
                }
            }
        };
        let peers = router.slots().iter().map(|vm| find(vm)).collect::<Result<Vec<_>, _>>()?;
        let lanes = Lanes::new(ports, &peers, beside.map(find).transpose()?, &file);
        lanes.wait(vnf, ports);
        Ok(Self { router, lanes, rules: rules(&file, me) })
    }

    /// Does the work of a function that knows network service headers: shows each inner packet to `work`, and sends on
    /// the frames for which it returns `true`. Returns once no chain is left for this VM; then the counters are
    /// printed.
    ///
    /// # Errors
    /// [`Error::Receive`] and [`Error::Send`].
    pub fn serve(
        &mut self,
        vnf: &mut Vnf,
        ports: &mut Ports,
        mut work: impl FnMut(&mut Packet<'_, '_>) -> bool,
    ) -> Result<(), Error> {
        let Self { router, lanes, .. } = self;
        let done = lanes.run(vnf, ports, router, |router, burst, _, slots| {
            each_frame(burst, slots, |frame| through_function(router, frame, &mut work));
        });
        self.report(ports);
        done
    }

    /// Does the work of a function that lets every packet pass, and looks at none.
    ///
    /// # Errors
    /// As [`Node::serve`].
    pub fn relay(&mut self, vnf: &mut Vnf, ports: &mut Ports) -> Result<(), Error> {
        self.relay_with_callback(vnf, ports, |_| ())
    }

    /// Does [`Node::relay`], and tells `arrived` the number of frames of each burst, before they go on: for a VNF that
    /// measures itself.
    ///
    /// # Errors
    /// As [`Node::serve`].
    pub fn relay_with_callback(
        &mut self,
        vnf: &mut Vnf,
        ports: &mut Ports,
        mut arrived: impl FnMut(usize),
    ) -> Result<(), Error> {
        let Self { router, lanes, .. } = self;
        let done = lanes.run(vnf, ports, router, |router, burst, _, slots| {
            arrived(burst.len());
            router.forward_burst(burst, slots);
        });
        self.report(ports);
        done
    }

    /// Does the work of a classifier, at an end of its chains: frames that a rule of a chain matches enter it, and
    /// those that arrive along a chain leave it, to the peer beside. Frames that no rule matches are dropped. Returns
    /// once the peer beside is gone, too.
    ///
    /// # Errors
    /// As [`Node::serve`].
    pub fn classify(&mut self, vnf: &mut Vnf, ports: &mut Ports) -> Result<(), Error> {
        let Self { router, lanes, rules } = self;
        lanes.ends_with_beside = true;
        let done = lanes.run(vnf, ports, router, |router, burst, beside, slots| {
            each_frame(burst, slots, |frame| match Nsh::is_in(frame) {
                true => out_of_chain(router, frame, beside),
                false => into_chain(router, frame, rules),
            });
        });
        self.report(ports);
        done
    }

    /// Does the work of a proxy for the function beside, which does not know network service headers: takes the header
    /// of each frame off, sends the frame to the function, and puts the header of the frame's flow back in front of
    /// what comes from there. While the function is not there, the hop's policy decides. See: RFC 7665, 4.6.
    ///
    /// The newest header of a flow is kept: a function must not change addresses, protocol or ports, and frames that
    /// are in it while the chain gets a new version come back with that. While the header of a flow is kept, which is
    /// for 60 seconds without a packet, frames of the same addresses, protocol and ports of another chain are dropped.
    ///
    /// # Errors
    /// As [`Node::serve`].
    pub fn proxy(&mut self, vnf: &mut Vnf, ports: &mut Ports) -> Result<(), Error> {
        let Self { router, lanes, .. } = self;
        let (mut kept, time) = (Table::new(KEPT), seconds(KEPT_SECONDS));
        let done = lanes.run(vnf, ports, router, |router, burst, beside, slots| {
            each_frame(burst, slots, |frame| match Nsh::is_in(frame) {
                true => to_function(router, frame, beside, |flow, outer| keep(&mut kept, time, flow, outer)),
                false => match kept.keep(&flow(frame), time, clock::now()) {
                    Some(outer) => from_function(router, frame, outer),
                    None => router.stray(frame.len(), Cause::Unknown),
                },
            });
        });
        self.report(ports);
        done
    }

    /// Prints the counters of each path, and of each VM that frames were sent to.
    fn report(&self, ports: &Ports) {
        println!("{}", self.router);
        self.lanes.report(ports, self.router.slots());
    }
}

/// Shows the packet in `frame` to `work`, and returns the slot of the next hop.
fn through_function(
    router: &mut Router,
    frame: &mut FrameMut<'_>,
    work: &mut impl FnMut(&mut Packet<'_, '_>) -> bool,
) -> Option<u8> {
    let arrival = router.arrive(frame)?;
    let judged = match Packet::new(frame, arrival.nsh) {
        _ if arrival.nsh.is_oam() => Ok(()),
        Ok(mut packet) => work(&mut packet).then_some(()).ok_or(Cause::Refused),
        Err(cause) => Err(cause),
    };
    match judged {
        Ok(()) => router.leave(arrival, frame),
        Err(cause) => router.refuse(arrival, cause),
    }
}

/// Puts a header in front of `frame` by the first rule that matches, and returns the slot of the first hop.
fn into_chain(router: &mut Router, frame: &mut FrameMut<'_>, rules: &[(Rule, Spi)]) -> Option<u8> {
    let key = parsed(frame).key;
    match rules.iter().find(|(rule, _)| rule.matches(&key)) {
        Some((_, path)) => router.enter(*path, frame),
        None => router.stray(frame.len(), Cause::Unclassified),
    }
}

/// Takes the header of `frame` off, and returns the slot of the VM beside.
fn out_of_chain(router: &mut Router, frame: &mut FrameMut<'_>, beside: Beside) -> Option<u8> {
    let arrival = router.arrive(frame)?;
    let taken = if arrival.ends { arrival.nsh.pop(frame).map(drop) } else { Err(Cause::Index) };
    match (taken, beside) {
        (Err(cause), _) => router.refuse(arrival, cause),
        (Ok(()), Some((slot, true))) => Some(slot),
        (Ok(()), _) => router.refuse(arrival, Cause::Closed),
    }
}

/// The flow of a frame, as a proxy tells flows apart.
type FlowKey = [u64; WORDS];

/// Takes the header of `frame` off and keeps it, and returns the slot of the function; or passes by the function.
fn to_function(
    router: &mut Router,
    frame: &mut FrameMut<'_>,
    beside: Beside,
    keep: impl FnOnce(FlowKey, Outer) -> Result<(), Cause>,
) -> Option<u8> {
    let arrival = router.arrive(frame)?;
    match beside {
        _ if arrival.nsh.is_oam() => router.leave(arrival, frame),
        Some((slot, true)) => match arrival.nsh.pop(frame).and_then(|outer| keep(flow(frame), outer)) {
            Ok(()) => Some(slot),
            Err(cause) => router.refuse(arrival, cause),
        },
        _ if arrival.open => {
            router.bypass(arrival.nsh.path(), 1);
            router.leave(arrival, frame)
        }
        _ => router.refuse(arrival, Cause::Closed),
    }
}

/// Keeps `outer` for a flow for `time`, in place of one of another version of its chain.
fn keep(kept: &mut Table<FlowKey, Outer>, time: u64, flow: FlowKey, outer: Outer) -> Result<(), Cause> {
    let (now, path) = (clock::now(), outer.nsh().path());
    if kept.get(&flow, now).is_some_and(|before| !before.nsh().path().is_version_of(path)) {
        return Err(Cause::OtherChain);
    }
    kept.insert(flow, outer, time, now).then_some(()).ok_or(Cause::Room)
}

/// Puts the header back in front of `frame`, and returns the slot of the next hop.
fn from_function(router: &mut Router, frame: &mut FrameMut<'_>, outer: &Outer) -> Option<u8> {
    match outer.push(frame) {
        Ok(()) => router.resume(outer.nsh(), frame),
        Err(cause) => router.count(outer.nsh().path(), cause),
    }
}

/// Returns the chains that frames enter at the end `me`, with their rules in the order of the file.
fn rules(file: &ChainFile, me: &str) -> Vec<(Rule, Spi)> {
    let ways = file.current().flat_map(|chain| Direction::ALL.map(|direction| (chain, direction)));
    let begins = ways.filter(|(chain, direction)| chain.ends[usize::from(*direction == Direction::Return)] == me);
    begins.flat_map(|(chain, way)| chain.rules(way).iter().map(move |rule| (rule.clone(), chain.spi(way)))).collect()
}

fn parsed(frame: &Frame<'_>) -> Parsed {
    let mut head = [0; HEAD];
    let head = &mut head[..usize::from(frame.len()).min(HEAD)];
    // The copy is no longer than the frame.
    let _ = frame.copy_to_slice(0, head);
    Parsed::of(0, head, frame.len())
}

fn flow(frame: &Frame<'_>) -> FlowKey {
    let key = parsed(frame).key;
    *Key { ttl: 0, tos: 0, tcp_flags: U16::ZERO, ..key }.words()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{chained, with};

    #[test]
    fn a_proxy_gives_no_frame_the_header_of_another_chain() {
        let outer = |path: Spi| {
            let frame = chained(63 << 6 | 6, [1, 3], path.bits(), 255, &[0; 16], &[0x5a; 60]);
            with(&frame, |frame| Nsh::read(frame).and_then(|nsh| nsh.pop(frame))).0.unwrap()
        };
        let (mut kept, time) = (Table::new(2), seconds(60));
        let (one, other) = (FlowKey::default(), [1; WORDS]);
        let spi = |path, version| Spi::new(path, version, Direction::Forward);
        for path in [spi(1, 0), spi(1, 1), spi(1, 0)] {
            assert_eq!(keep(&mut kept, time, one, outer(path)), Ok(()), "the newest version");
            assert_eq!(kept.get(&one, clock::now()).map(|outer| outer.nsh().path()), Some(path));
        }
        for path in [spi(2, 0), Spi::new(1, 0, Direction::Return)] {
            assert_eq!(keep(&mut kept, time, one, outer(path)), Err(Cause::OtherChain));
            assert_eq!(kept.get(&one, clock::now()).map(|outer| outer.nsh().path()), Some(spi(1, 0)));
        }
        assert_eq!(keep(&mut kept, time, other, outer(spi(2, 0))), Ok(()), "another flow");
        assert_eq!(keep(&mut kept, time, [2; WORDS], outer(spi(2, 0))), Err(Cause::Room));
    }
}
