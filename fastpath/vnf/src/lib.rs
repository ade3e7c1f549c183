//! All that a virtual network function (VNF) depends on: one source for a virtual machine's image and for a Linux
//! process.
//!
//! The crate stands on top of the stack: it finds what the host gave the VNF (packet memory, a network device, a gate
//! to each peer) and opens the ports of the crate `sluice` (package `sluice-fastpath`) on that. This VNF passes on
//! IPv4:
//!
//! ```no_run
//! use sluice_vnf::{BURST_SIZE, Error, Options, Receive, Vnf};
//!
//! sluice_vnf::main!(run);
//!
//! fn run(vnf: &mut Vnf) -> Result<(), Error> {
//!     let mut ports = vnf.open(Options::default())?;
//!     let peer = ports.wait_for(vnf.arg(0))?;
//!     let mut burst = ports.burst();
//!     loop {
//!         ports.input.rx_burst(&mut burst, BURST_SIZE)?;
//!         burst.retain(|frame| frame.head(12) == Some([0x08, 0x00]));
//!         if ports.send(peer, &mut burst)? == 0 {
//!             vnf.yield_now();
//!         }
//!     }
//! }
//! ```
//!
//! Six things to know: [`main!`] runs a function with its [`Vnf`]; [`Ports`] are all that a VNF receives from and sends
//! to; a [`Burst`] holds frames in order; a [`Frame`] is read, and a [`FrameMut`] changed, by offset; a [`PeerIdx`]
//! names a peer; a [`TxError`] says what was refused. Everything of the crate `sluice` is here, too, for programs that
//! need more; [`abi`] is the contract with the host.
//!
//! Ports go into wrappers ([`wrap`]) that count, capture, limit and lose frames; all of [`Ports`] can be used beside
//! them. Here each frame that was delivered is in a capture file, too:
//!
//! ```no_run
//! use sluice_vnf::wrap::PcapWriter;
//! use sluice_vnf::{BURST_SIZE, Error, Options, PeerPort, Ports, Receive, Vnf, clock};
//!
//! fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
//!     let mut file = vnf.create("sent.pcap")?;
//!     let Ports { input, outputs, .. } = vnf.open(Options::default())?;
//!     let peer = outputs.wait_for(None)?;
//!     let port = PeerPort::new(outputs.gate(), peer);
//!     let mut port = PcapWriter::new(port, |bytes: &[u8]| file.write(bytes), clock::now);
//!     let mut burst = outputs.burst();
//!     loop {
//!         input.rx_burst(&mut burst, BURST_SIZE)?;
//!         match outputs.send_by(&mut port, peer, &mut burst) {
//!             Ok(0) => vnf.yield_now(),
//!             Ok(_) => {}
//!             Err(Error::PeerGone) => break,
//!             Err(error) => return Err(error.into()),
//!         }
//!     }
//!     drop(port);
//!     Ok(file.finish()?)
//! }
//! # sluice_vnf::main!(run);
//! ```
//!
//! The program needs a build script with one line, `sluice_build::image()`. For the target `x86_64-unknown-none` a
//! `Vnf` is then a VM of a Sluice host; for Linux it is a process that `sluice-launcher` started, or that `sluiced`
//! takes, whose socket the environment variable `SLUICE_SERVER` names. It shares memory with its peers.
//!
//! Reading order: [`Vnf`], [`Ports`], [`Outputs`], [`Error`]; then [`clock`] to tell time.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(not(target_os = "none"))]
#[path = "process/mod.rs"]
mod machine;
#[cfg(target_os = "none")]
#[path = "vm/mod.rs"]
mod machine;

pub mod clock;
mod connect;
mod outputs;
mod patience;
mod ports;
mod runs;

pub use connect::Error;
#[cfg(target_os = "none")]
#[doc(hidden)]
pub use machine::Heap;
pub use machine::{FileError, Module, Output, Transport, Vnf, print, start};
pub use outputs::{Outputs, deliver};
pub use patience::Patience;
pub use ports::{MAX_PAIRS, Net, Options, Ports};
pub use sluice::*;
pub use sluice_abi as abi;

use sluice_abi::run::RunRefusal;

/// The flow memory of a VNF with an in-VM switch: what `sluice_switch::FlowMemory::open` takes.
#[derive(Clone, Copy, Debug)]
pub struct FlowPages {
    /// The table, which the host writes.
    pub table: PeerSlice<'static>,
    /// The records, which this VNF writes.
    pub records: PeerSlice<'static>,
}

impl Vnf {
    /// Returns the VNF's flow memory, once; `None` if the manifest gives it none.
    pub fn flows(&mut self) -> Option<FlowPages> {
        self.flow_pages()
    }
}

/// Reasons for which a VNF can't reach its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// There is no memory for packets.
    #[error("no memory for packets: give the VM more RAM")]
    NoMemory,
    /// The VNF was set up before, and its memory is in use.
    #[error("packet memory was handed out before")]
    Taken,
    /// The host refused to register the memory.
    #[error("the host refuses to register packet memory: {0:?}")]
    Refused(Status),
    /// The host refused to add or remove a run.
    #[error("the host refuses a run of packet memory: {0}")]
    Run(RunRefusal),
    /// Neither [`Vnf::add_run`] nor [`Vnf::setup`] returned this memory, or it was removed.
    #[error("no such run of packet memory was handed out")]
    NoSuchRun,
    /// A call is under way, and takes packets from the memory that was registered before.
    #[error("packet memory can't change while a call is under way")]
    Busy,
}

impl SetupError {
    /// Returns the error that `status` tells of a registration.
    fn check(status: Status) -> Result<(), Self> {
        match (status, status.refusal()) {
            (Status::OK, _) => Ok(()),
            (_, Some(why)) => Err(Self::Run(why)),
            (status, None) => Err(Self::Refused(status)),
        }
    }
}

/// Returns the lines of a VNF's configuration, each with its number from 1 and without spaces around it. Lines that are
/// empty or start with `#` are left out.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Returns the Ethernet address that `text` writes as six hexadecimal numbers with `:` between them; `None` if it does
/// not.
///
/// ```
/// assert_eq!(sluice_vnf::mac("02:00:00:00:0b:01"), Some([2, 0, 0, 0, 11, 1]));
/// assert_eq!(sluice_vnf::mac("02:00:00:00:0b"), None);
/// ```
pub fn mac(text: &str) -> Option<[u8; 6]> {
    let (mut words, mut bytes) = (text.split(':'), [0; 6]);
    for byte in &mut bytes {
        // A sign is not a digit.
        let word = words.next().filter(|word| word.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(word, 16).ok()?;
    }
    words.next().is_none().then_some(bytes)
}

/// Returns the ones' complement sum of the big-endian words of `bytes`, without a last odd byte. The sum of an intact
/// IPv4 header is FFFFH. See: RFC 1071 "Computing the Internet Checksum".
pub fn ones_sum(bytes: &[u8]) -> u16 {
    bytes.as_chunks().0.iter().fold(0, |sum, word| {
        let (sum, carry) = u16::from_be_bytes(*word).overflowing_add(sum);
        sum + u16::from(carry)
    })
}

/// Prints a line on the machine's console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => { $crate::print(format_args!("{}\n", format_args!($($argument)*))) };
}

#[cfg(all(test, not(target_os = "none")))]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_six_hexadecimal_numbers() {
        assert_eq!(mac("02:0:a:Ff:10:1"), Some([2, 0, 10, 0xff, 0x10, 1]));
        for text in [
            "",
            "02:0:a:ff:10",
            "02:0:a:ff:10:1:2",
            "02:0:a:ff:10:",
            "02:0:a:ff:10:100",
            "02:0:a:ff:10:+1",
            "02:0:a:ff:10:g",
        ] {
            assert_eq!(mac(text), None, "{text}");
        }
    }

    #[test]
    fn an_intact_header_sums_up_to_all_ones() {
        let mut header = [0x45, 0, 0, 0x54, 0xff, 0xff, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe];
        let sum = !ones_sum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(ones_sum(&header), 0xffff);
        assert_eq!((ones_sum(&[0xff, 0xff, 0, 1]), ones_sum(&[0x12, 0x34, 0x56]), ones_sum(&[])), (1, 0x1234, 0));
    }

    #[test]
    fn lines_that_say_something_have_their_numbers() {
        let found: Vec<_> = lines("# first\n\n  a b \n\t#c\nd").collect();
        assert_eq!(found, [(3, "a b"), (5, "d")]);
    }
}
