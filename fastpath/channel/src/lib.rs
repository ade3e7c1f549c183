//! Channels: shared memory in which one writer leaves packets, or bytes, for any number of readers.
//!
//! Readers can only read the memory, and the writer waits for nobody. A reader that is too slow is told how much it
//! lost, to the record and byte, and goes on with the oldest record that is whole. A record arrives as it was written,
//! or not at all.
//!
//! ```
//! use sluice_channel::{Kind, Lost, ReadError, Reader, Writer, format, memory_len};
//! use sluice_memory::PeerSlice;
//!
//! // The host makes the channel. Reader and writer are elsewhere: in other processes, or other virtual machines.
//! let mut words = vec![0u64; memory_len(4096) as usize / 8 + 8];
//! let words = PeerSlice::from_mut(&mut words);
//! let memory = words.sub(words.as_ptr().align_offset(64) as u64, memory_len(4096)).expect("as long");
//! format(memory, Kind::PACKETS, 4096)?;
//! let mut writer = Writer::open(memory)?;
//! let mut reader = Reader::open(memory)?;
//!
//! // A burst is published at once.
//! writer.write_burst([&b"one"[..], b"two"])?;
//! let mut record = [0; 64];
//! assert_eq!(reader.read(&mut record)?, Some(3));
//! assert_eq!(record[..3], *b"one");
//!
//! // Meanwhile the writer writes more than the ring holds.
//! (0..1000).try_for_each(|number: u32| writer.write(&number.to_le_bytes()))?;
//! let Err(ReadError::Overrun(Lost { records, .. })) = reader.read(&mut record) else { panic!("lost nothing") };
//! reader.read(&mut record)?;
//! // "two" was lost, and those before the one that comes next.
//! assert_eq!(u64::from(u32::from_le_bytes([record[0], record[1], record[2], record[3]])), records - 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | type | what |
//! |---|---|
//! | [`Writer`], [`Reader`] | packets: records of up to a quarter of the ring |
//! | [`ByteWriter`], [`ByteReader`] | a stream of bytes |
//! | [`format()`] | makes a channel of memory |
//! | `sluice_channel.h`, beside `Cargo.toml` | the same for C: one header, without a library |
//!
//! The layout is [`sluice_abi::channel`]. Files with channels, in large pages and with seals, are made by the crate
//! `sluice-channels` of the host.
//!
//! Reading order: [`sluice_abi::channel`], `positions.rs` (the order of loads and stores), `writer.rs`, `reader.rs`.
//!
//! # Who believes whom
//! A reader reads each number once, bounds it, copies the bytes out, and looks then whether they were overwritten
//! meanwhile. Numbers that no writer writes are a [`Fault`], which says what is wrong and where; the reader stays where
//! it is. What the bytes say is the writer's claim, always. A writer believes nothing of readers, as they write
//! nothing, and what it finds in the memory as it opens it is checked like what a reader finds.
//!
//! # Why not a queue that holds the writer back
//! Then one reader that stops would stop the writer and, with it, all other readers; and readers would need memory that
//! they can write. Receive queues of virtio-net are such queues, and are what the rest of Sluice is for.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod bytes;
mod channel;
mod error;
mod positions;
mod reader;
mod writer;

pub use bytes::{ByteReader, ByteWriter};
pub use channel::format;
pub use error::{ChannelError, Fault, Lost, ReadError, WriteError};
pub use reader::Reader;
pub use sluice_abi::channel::{Kind, MAX_CAPACITY, MIN_CAPACITY, max_len, memory_len};
pub use writer::Writer;
