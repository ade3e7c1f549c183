//! Named channels of a host: files in memory, each with one [`sluice_channel`], which one process or virtual machine
//! writes and many read.
//!
//! ```
//! use sluice_channel::{Kind, Reader, Writer};
//! use sluice_channels::{ChannelFile, Pages, map_reader, map_writer};
//!
//! let channel = ChannelFile::create("telemetry.vm1".parse()?, Kind::PACKETS, 1 << 20, Pages::Huge)?;
//! // Descriptors, for SCM_RIGHTS or for the memory backend of an ivshmem device. Readers have another one.
//! let (of_writer, of_reader) = (channel.writer(), channel.reader());
//!
//! let written = map_writer(&of_writer)?;
//! let mut writer = Writer::open(written.slice())?;
//! // From here on nobody else can become a writer, whatever descriptor he has.
//! channel.seal_writer()?;
//! let read = map_reader(&of_reader)?;
//! let mut reader = Reader::open(read.slice())?;
//! writer.write(b"hello")?;
//! assert_eq!(reader.read(&mut [0; 64])?, Some(5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A file has seals: nobody can cut it, which would end whoever has it mapped, or make it longer. Its memory is there
//! from the start. A reader's descriptor is open for reading only, and so is every mapping by it. A channel that has a
//! path, for virtual machines, has no seals ([`ChannelFile::at`]).
//!
//! A process gets a channel of the server `sluiced` by the socket of its readers, or of its writer:
//!
//! ```no_run
//! use sluice_channel::Reader;
//! use sluice_channels::{Connected, Files};
//!
//! let channel = Connected::reader("/run/sluice/telemetry.reader".as_ref(), Files::Sealed)?;
//! let mut reader = Reader::open(channel.memory())?;
//! let mut packet = [0; 2048];
//! while let Some(len) = reader.read(&mut packet)? {
//!     println!("{} bytes", packet[..len].len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading order: [`ChannelFile`], [`Name`], [`handout`] (how a server gives channels to processes).
#![forbid(unsafe_code)]

mod file;
pub mod handout;
mod name;

pub use file::{ChannelFile, ChannelFileError, Claims, Pages, map_reader, map_writer};
pub use handout::{ConnectError, Connected, Files, Role};
pub use name::{Name, NameError};
