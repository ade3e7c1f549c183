//! A channel of any words: readers and a writer, while somebody else writes into its memory.

use arbitrary::Arbitrary;
use sluice_abi::channel::{POSITIONS, RING, Record, word};
use sluice_channel::{ByteReader, ByteWriter, ChannelError, Kind, MIN_CAPACITY, Reader, Writer, format, memory_len};
use sluice_memory::PeerSlice;
use sluice_test_memory::guarded;
use std::cell::OnceCell;

/// Bytes of a reader's memory, and records of a burst.
const ROOM: usize = 4096;
const BURST: usize = 8;

/// What is done with a channel.
#[derive(Arbitrary, Debug)]
pub struct Channel {
    packets: bool,
    steps: Vec<Step>,
}

/// What is done next.
#[derive(Arbitrary, Debug)]
enum Step {
    /// The writer writes records, or bytes, of this length.
    Write { len: u16, count: u8 },
    /// The reader reads, with this room.
    Read { room: u16, count: u8 },
    /// Somebody writes a word of the ring.
    Ring { at: u16, word: Word },
    /// Somebody writes one of the writer's words.
    Position { index: u8, word: Word },
    /// Another reader, or another writer, opens the channel.
    Open { writer: bool },
}

/// A word that somebody writes.
#[derive(Arbitrary, Debug)]
enum Word {
    /// What stands before a record.
    Record {
        padding: bool,
        len: u16,
    },
    /// What is a little more or less than the word that is published.
    Near(i16),
    Any(u64),
}

impl Word {
    fn value(&self, memory: PeerSlice<'_>) -> u64 {
        match *self {
            Self::Record { padding, len } => {
                u64::from(if padding { Record::PADDING } else { Record::DATA }) << 32 | u64::from(len)
            }
            Self::Near(by) => memory.read::<u64>(POSITIONS).unwrap_or(0).wrapping_add_signed(by.into()),
            Self::Any(word) => word,
        }
    }
}

/// The two ends of either kind.
enum Ends {
    Packets(Writer<'static>, Reader<'static>),
    Bytes(ByteWriter<'static>, ByteReader<'static>),
}

impl Ends {
    fn open(packets: bool, memory: PeerSlice<'static>) -> Result<Self, ChannelError> {
        Ok(if packets {
            Self::Packets(Writer::open(memory)?, Reader::open(memory)?)
        } else {
            Self::Bytes(ByteWriter::open(memory)?, ByteReader::open(memory)?)
        })
    }

    fn write(&mut self, len: u16, count: u8) {
        let bytes = vec![len as u8; usize::from(len) % (2 * ROOM)];
        match self {
            Self::Packets(writer, _) => {
                let _ = writer.write_burst(vec![&bytes[..]; usize::from(count)]);
            }
            Self::Bytes(writer, _) => writer.write(&bytes),
        }
    }

    fn read(&mut self, room: usize, count: usize) {
        let (mut bytes, mut lens) = (vec![0; room], vec![0; count]);
        match self {
            Self::Packets(_, reader) => {
                if let Ok(read) = reader.read_burst(&mut bytes, &mut lens) {
                    assert!(read <= count && lens[..read].iter().sum::<usize>() <= room);
                }
            }
            Self::Bytes(_, reader) => assert!(reader.read(&mut bytes).unwrap_or(0) <= room),
        }
    }
}

/// Does the steps on a channel of its own, in memory between guards. No step panics, and each ends.
pub fn channel(input: &Channel) {
    thread_local! {
        static MEMORY: OnceCell<PeerSlice<'static>> = const { OnceCell::new() };
    }
    let memory = MEMORY.with(|memory| *memory.get_or_init(|| guarded(&[memory_len(MIN_CAPACITY)]).run(0)));
    crate::fill(memory, 0);
    let kind = if input.packets { Kind::PACKETS } else { Kind::BYTES };
    format(memory, kind, MIN_CAPACITY).expect("a channel");
    let mut ends = Ends::open(input.packets, memory).expect("an empty one");
    for step in &input.steps {
        match step {
            Step::Write { len, count } => ends.write(*len, count % 32),
            Step::Read { room, count } => ends.read(usize::from(*room) % ROOM, usize::from(*count) % BURST),
            Step::Ring { at, word } => {
                let at = RING + u64::from(*at) * 8 % MIN_CAPACITY;
                memory.write(at, word.value(memory)).expect("inside");
            }
            Step::Position { index, word } => {
                let at = POSITIONS + 8 * (u64::from(*index) % u64::from(word::COUNT));
                memory.write(at, word.value(memory)).expect("inside");
            }
            Step::Open { writer } => match (Ends::open(input.packets, memory), &mut ends) {
                (Ok(Ends::Packets(new, _)), Ends::Packets(old, _)) if *writer => *old = new,
                (Ok(Ends::Packets(_, new)), Ends::Packets(_, old)) => *old = new,
                (Ok(new), _) => ends = new,
                (Err(_), _) => {}
            },
        }
    }
}
