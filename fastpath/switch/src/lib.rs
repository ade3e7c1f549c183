//! What a switch inside of a virtual machine does with a frame: a key of what the frame's headers prove, a look-up in a
//! table of flows that a host writes, and actions that are safe whatever the frame is.
//!
//! ```text
//! Frame ─► Head ─► Parsed::of ─► Reader::look_up ─► Hit ─► Reader::apply ─► Verdict
//!                   Key               ▲ the table's memory      ▲
//!                                   Writer: flows of key, mask and actions
//! ```
//!
//! ```
//! use sluice_memory::CacheLine;
//! use sluice_switch::{Action, ActionList, Key, Layers, Mask, Parsed, Reader, Seed, Shape, Writer};
//!
//! let shape = Shape { entries: 64, lists: 16 };
//! let memory: Vec<_> = (0..shape.lines()).map(|_| CacheLine::default()).collect();
//! let seed = Seed::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
//! let mut writer = Writer::new(&memory, shape, seed)?;
//! let mut reader = Reader::new(&memory, shape, seed, None)?;
//!
//! // All UDP to port 53 goes out by port 2, from the next epoch on.
//! let mut frame = [0; 60];
//! frame[12..14].copy_from_slice(&[0x08, 0x00]);
//! frame[14..24].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17]);
//! frame[34..40].copy_from_slice(&[0x12, 0x34, 0, 53, 0, 8]);
//! let parsed = Parsed::of(1, &frame, 60);
//! let mask = Mask::closed(Key { protocol: 0xff, destination_port: 0xffff.into(), ..Key::default() });
//! writer.insert(&parsed.key, &mask, &ActionList::new(&[Action::DecrementTtl, Action::Output(2)], 4)?)?;
//! writer.publish();
//!
//! let (epoch, mut hits) = (reader.epoch(), [None; 1]);
//! reader.look_up(epoch, &[parsed], &mut hits);
//! let list = hits[0].and_then(|hit| reader.actions(&hit)).expect("a hit");
//! assert_eq!(list.actions().last(), Some(Action::Output(2)));
//! assert!(parsed.key.layers.contains(Layers::IPV4 | Layers::TRANSPORT));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading order: [`Key`] (what can be matched), [`Parsed`] (what a frame proves), [`Mask`], then [`Writer`] and
//! [`Reader`] (src/table.rs has the layout of the memory), [`Action`] and [`Reader::apply`]; then what a host needs to
//! change a table that is in use: [`Report`] and [`Quiescence`], [`Statistics`] and [`Ledger`]; at last [`FlowMemory`],
//! which has all of this for one switch, and [`Switch`], the port that works with it.
//!
//! # A burst and a change
//! ```text
//! reader, of a VM                               host
//! Reader::begin   epoch, unless the lease is    Writer::remove, insert
//!                 over                          Writer::publish       opens the next epoch
//! Reader::look_up, Statistics::prefetch         Quiescence::poll      until it returns that epoch: done
//! Reader::apply, windows                        Ledger::collect       for each flow of Writer::dead
//! Statistics::add                               Writer::reclaim       frees the entries
//! Reader::end     reports
//! ```
//!
//! # Who believes whom
//! A frame's lengths are checked against the bytes, and what they do not prove is not in the key. A reader masks every
//! index that it reads, compares the whole key, and takes an entry between two readings of its generation that are
//! equal. Actions change a copy of the frame's head, and nothing of the frame before the generation was read again, so
//! a list that was torn does nothing. Nothing here takes a lock; look-up and actions allocate nothing; the writer does.
//! A host believes of a report word and of statistics only what an honest reader may have written, and then it is true
//! of that reader alone.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
extern crate alloc;

mod action;
mod epoch;
mod head;
mod key;
mod line;
mod mask;
mod memory;
#[cfg(test)]
mod model;
mod parse;
mod port;
mod quiescence;
mod report;
mod statistics;
mod table;

pub use action::{Action, ActionError, ActionList, Cause, LIST_WORDS, Nsh, Verdict, update_checksum};
pub use head::Head;
pub use key::{Key, Layers, SHORT, WORDS};
pub use line::Line;
pub use mask::{Mask, MaskError};
pub use memory::{FlowMemory, FlowMemoryError};
pub use parse::link::ether_type;
pub use parse::nsh::next;
pub use parse::transport::protocol;
pub use parse::{HEAD, Parsed};
pub use port::{Switch, SwitchStats};
pub use quiescence::{Quiescence, ReportFault};
pub use report::Report;
pub use statistics::{Counts, CountsFault, Ledger, Statistics};
pub use table::{BURST, EntryId, Front, Hit, Reader, SUBTABLES, Seed, Shape, ShapeError, TableError, Writer};
