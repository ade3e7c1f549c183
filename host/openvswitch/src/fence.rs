//! Tokens that come back when Open vSwitch is done with all frames that a port was given before.
//!
//! A token is a frame that rules of ours ([`Fence::rules`]) send out by all of our ports. Open vSwitch takes the frames
//! of a port of type `dummy` one after the other, in one thread, which does the look-up, the upcall if there is no
//! flow, and the actions of one frame before it takes the next one. It writes what leaves by a port in that order, too.
//! So behind a token on a port's stream comes no frame that the token's own port was given before it; and once the
//! token has come back by all ports, what Open vSwitch sends of these frames was received.
//!
//! Not waited for are frames that Open vSwitch keeps: those given to a controller, or the parts of a datagram that its
//! connection tracking puts together.
//!
//! # Who can make a token
//! The addresses of a token are random, and who does not know them makes none: a frame with the EtherType and other
//! addresses is dropped. So this EtherType, of which IEEE 802 says that it is for local experiments, is not for VMs.
//! The rule that looks at the addresses is in a table of its own: beside the others it would make each flow of the
//! datapath one of its addresses.

use crate::error::{Error, Result};
use rustix::rand::{GetRandomFlags, getrandom};
use std::collections::{BTreeMap, VecDeque};
use std::io;

/// EtherType of a token. See: IEEE 802, 9.2 "Local Experimental Ethertypes".
pub const ETHER_TYPE: u16 = 0x88b5;
/// The cookie of the rules.
pub const COOKIE: u64 = 0x736c_7569_6365;
/// The table of the rule that looks at the addresses.
pub const TABLE: u8 = 253;

/// Length of a token's frame, in bytes.
const LEN: usize = 60;
/// Where the number of a token is in its frame.
const NUMBER: usize = 14;
/// Tokens that are on their way, at most.
const MOST: usize = 1_024;

/// One token. A later one is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub(crate) u64);

/// A port's number, and which of its connections it is.
type Link = (u16, u64);

/// The tokens of a bridge.
#[derive(Debug)]
pub struct Fence {
    /// Destination and source address.
    addresses: [[u8; 6]; 2],
    next: u64,
    waiting: BTreeMap<Token, Waiting>,
    back: VecDeque<Token>,
}

/// A token on its way.
#[derive(Debug)]
struct Waiting {
    from: Link,
    /// By which it has not come back.
    left: Vec<Link>,
}

impl Fence {
    /// Returns a fence whose tokens have addresses that nobody knows.
    pub fn new() -> Result<Self> {
        let mut random = [0; 12];
        let count = getrandom(&mut random, GetRandomFlags::empty()).map_err(|error| Error::Random(error.into()))?;
        if count != random.len() {
            return Err(Error::Random(io::Error::other("fewer bytes than were asked for")));
        }
        let [mut destination, mut source] = [[0; 6]; 2];
        destination.copy_from_slice(&random[..6]);
        source.copy_from_slice(&random[6..]);
        // Addresses of stations, which are administered locally.
        for address in [&mut destination, &mut source] {
            address[0] = address[0] & 0xfc | 0x02;
        }
        let (waiting, back) = (BTreeMap::new(), VecDeque::new());
        Ok(Self { addresses: [destination, source], next: 0, waiting, back })
    }

    /// Returns the rules, a line for each, for `ovs-ofctl -O OpenFlow13 add-flows BRIDGE -`. `ports` are the names of
    /// all of our ports in Open vSwitch. `ovs-ofctl del-flows BRIDGE cookie=0x736c75696365/-1` takes the rules away.
    pub fn rules<'n>(&self, ports: impl Iterator<Item = &'n str>) -> String {
        let [destination, source] = self.addresses.map(|address| address.map(|byte| format!("{byte:02x}")).join(":"));
        // A port is no output for what came in by it, unless it is named so.
        let outputs: String = ports.map(|name| format!(",output:{name}")).collect();
        let common = format!("cookie={COOKIE:#x},dl_type={ETHER_TYPE:#x}");
        format!(
            "{common},table=0,priority=65535,actions=resubmit(,{TABLE})\n\
             {common},table={TABLE},priority=1,dl_dst={destination},dl_src={source},actions=in_port{outputs}\n\
             {common},table={TABLE},priority=0,actions=drop\n"
        )
    }

    /// Returns a new token, and its frame. It goes to Open vSwitch by `from`, and is to come back by `all`.
    pub(crate) fn issue(&mut self, from: Link, all: Vec<Link>) -> Result<(Token, [u8; LEN])> {
        if self.waiting.len() >= MOST {
            return Err(Error::Tokens(MOST));
        }
        self.next += 1;
        let token = Token(self.next);
        self.waiting.insert(token, Waiting { from, left: all });
        let mut frame = [0; LEN];
        frame[..6].copy_from_slice(&self.addresses[0]);
        frame[6..12].copy_from_slice(&self.addresses[1]);
        frame[12..NUMBER].copy_from_slice(&ETHER_TYPE.to_be_bytes());
        frame[NUMBER..NUMBER + 8].copy_from_slice(&token.0.to_be_bytes());
        Ok((token, frame))
    }

    /// Forgets a token.
    pub(crate) fn withdraw(&mut self, token: Token) {
        self.waiting.remove(&token);
    }

    /// Takes a frame that came by `port`, if it is a token. Returns whether it was one.
    pub(crate) fn take(&mut self, port: u16, frame: &[u8]) -> bool {
        let Some((head, rest)) = frame.split_at_checked(NUMBER) else { return false };
        let [destination, source] = self.addresses;
        let is_ours = head[..6] == destination && head[6..12] == source && head[12..] == ETHER_TYPE.to_be_bytes();
        if let Some(number) = rest.first_chunk().filter(|_| is_ours) {
            self.came(Token(u64::from_be_bytes(*number)), |link| link.0 == port);
        }
        is_ours
    }

    /// Notes which connections there are. By one that is gone no frame comes any more, and what was on its way by it is
    /// lost, tokens among it.
    pub(crate) fn now_up(&mut self, links: &[Link]) {
        self.waiting.retain(|_, waiting| links.contains(&waiting.from));
        let tokens: Vec<_> = self.waiting.keys().copied().collect();
        tokens.into_iter().for_each(|token| self.came(token, |link| !links.contains(link)));
    }

    /// Returns the tokens that came back by all ports.
    pub(crate) fn back(&mut self) -> impl Iterator<Item = Token> {
        self.back.drain(..)
    }

    fn came(&mut self, token: Token, by: impl Fn(&Link) -> bool) {
        let Some(waiting) = self.waiting.get_mut(&token) else { return };
        waiting.left.retain(|link| !by(link));
        if waiting.left.is_empty() {
            self.waiting.remove(&token);
            self.back.push_back(token);
        }
    }
}

#[cfg(test)]
mod tests;
