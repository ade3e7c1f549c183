//! VMs that reach each other by the host's switch alone: ARP, then ICMP echo, and frames to a VM that the manifest does
//! not permit. Arguments, for three VMs that are started in this order:
//!
//! - `ask COUNT` asks for the address of the second VM, sends a frame to the third one, which is denied to it, and then
//!   pings the second COUNT times.
//! - `answer COUNT` answers ARP and pings, up to that number, and then asks for the address of the third VM.
//! - `last` waits for that question, which must be the first frame that it ever gets, and answers.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod frame;
mod link;

use core::fmt;
use frame::{BROADCAST, Echo, Frame};
use link::{Link, LinkError};
use sluice_vnf::{Patience, Vnf, println};

sluice_vnf::main!(run);

/// The number of looks at the receive queue after which a question is asked again.
const LOOKS: usize = 2_000;

/// The work of a station.
#[derive(Clone, Copy)]
enum Role {
    Ask(u16),
    Answer(u16),
    Last,
}

enum Error {
    Arguments(&'static str),
    Link(LinkError),
    /// A frame that this station must not get: its source, and its EtherType.
    Unexpected([u8; 6], u16),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(args) => write!(f, "arguments {args:?}: ask COUNT, answer COUNT or last"),
            Self::Link(error) => error.fmt(f),
            Self::Unexpected(source, kind) => write!(f, "a frame of type {kind:#06x} from {source:02x?}"),
        }
    }
}

impl<T: Into<LinkError>> From<T> for Error {
    fn from(error: T) -> Self {
        Self::Link(error.into())
    }
}

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let role = role(vnf.args()).ok_or(Error::Arguments(vnf.args()))?;
    let mut station = Station { link: Link::start(vnf)?, patience: vnf.patience(), vnf };
    let mac = station.link.mac();
    println!("address {mac:02x?}");
    match role {
        Role::Ask(count) => station.ask(count),
        Role::Answer(count) => station.answer(count),
        Role::Last => station.last(),
    }
}

fn role(args: &str) -> Option<Role> {
    let mut words = args.split_whitespace();
    match (words.next()?, words.next().map(str::parse)) {
        ("ask", Some(Ok(count))) => Some(Role::Ask(count)),
        ("answer", Some(Ok(count))) => Some(Role::Answer(count)),
        ("last", None) => Some(Role::Last),
        _ => None,
    }
}

struct Station<'v> {
    vnf: &'v Vnf,
    link: Link,
    patience: Patience,
}

impl Station<'_> {
    /// Returns the address of the VM with index `host`, and the address of this VM on the same network.
    fn resolve(&mut self, own: u8, host: u8) -> Result<[u8; 6], Error> {
        let question = frame::arp_request(self.link.mac(), own, host);
        loop {
            self.link.send(self.vnf, &question)?;
            let answer = self.wait(|frame| frame::arp_answer(frame, host))?;
            if let Some(mac) = answer {
                return Ok(mac);
            }
        }
    }

    /// Waits for a frame in which `find` finds what is wanted. Returns `None` if none came for some time.
    fn wait<T>(&mut self, mut find: impl FnMut(&Frame) -> Option<T>) -> Result<Option<T>, Error> {
        for _ in 0..LOOKS {
            while let Some(frame) = self.link.receive()? {
                if let Some(found) = find(&frame) {
                    self.patience.renew();
                    return Ok(Some(found));
                }
            }
            self.patience.wait(self.vnf)?;
        }
        Ok(None)
    }

    fn ask(&mut self, count: u16) -> Result<(), Error> {
        let peer = self.resolve(1, 2)?;
        println!("10.0.0.2 is at {peer:02x?}");
        let mut denied = peer;
        denied[5] += 1;
        self.link.send(self.vnf, &frame::arp_request(self.link.mac(), 1, 3).to(denied))?;
        let mut sent = 0u32;
        for sequence in 0..count {
            let ping = Echo { sequence, is_answer: false }.frame(self.link.mac(), peer);
            loop {
                self.link.send(self.vnf, &ping)?;
                sent += 1;
                let wanted = Some(Echo { sequence, is_answer: true });
                if self.wait(|frame| (Echo::parse(frame) == wanted).then_some(()))?.is_some() {
                    break;
                }
            }
        }
        println!("{count} of {sent} pings were answered");
        Ok(())
    }

    fn answer(&mut self, count: u16) -> Result<(), Error> {
        let mut missing = count;
        while missing > 0 {
            let mac = self.link.mac();
            let Some((answer, ping)) = self.wait(|frame| frame::answer(frame, mac, 2))? else { continue };
            self.link.send(self.vnf, &answer)?;
            // A question that was sent twice, as its answer took long, is answered twice.
            missing = ping.map_or(missing, |sequence| count.saturating_sub(sequence + 1));
        }
        let last = self.resolve(2, 3)?;
        println!("10.0.0.3 is at {last:02x?}");
        Ok(())
    }

    fn last(&mut self) -> Result<(), Error> {
        loop {
            let (mac, mut other) = (self.link.mac(), None);
            let found = self.wait(|frame| {
                let question = frame.destination() == BROADCAST && frame::arp_sender(frame) == Some(2);
                other = (!question).then(|| (frame.source(), frame.kind()));
                Some(frame::answer(frame, mac, 3))
            })?;
            if let Some((source, kind)) = other {
                return Err(Error::Unexpected(source, kind));
            }
            if let Some(Some((answer, _))) = found {
                self.link.send(self.vnf, &answer)?;
                println!("answered");
                return Ok(());
            }
        }
    }
}
