//! The sender: measures what a call costs.

use crate::Error;
use crate::frame::{self, Addresses, FRAME_LENGTHS, HEADER_LEN, Header, Kind};
use crate::imix;
use crate::options::{Proof, Sweep};
use sluice_clock::{Json, Row};
use sluice_vnf::Error::{Frame, Send};
use sluice_vnf::{BURST_SIZE, BufferLen, Burst, Gate, MAX_BURST, Mempool, PeerIdx, PeerPort, RX_SIZE, Transmit};
use sluice_vnf::{Vnf, clock, println};

/// Calls before a row is measured.
const WARM_UP: usize = 2;

/// Measures every burst size with every frame length.
pub fn sweep(vnf: &mut Vnf, options: &Sweep<'static>) -> Result<(), Error> {
    with_sender(vnf, options.to, |sender| {
        for (number, frame) in (0..).zip(options.frames.iter()) {
            for burst in options.bursts.iter() {
                let row = sender.measure(number, burst, frame, options.packets)?;
                println!("row {}", Json(&row));
            }
        }
        Ok(())
    })
}

/// Sends `packets` of the options and prints the number of exits from the first to the last.
pub fn proof(vnf: &mut Vnf, options: &Proof<'static>) -> Result<(), Error> {
    with_sender(vnf, options.to, |sender| {
        let exits = sender.prove(options)?;
        println!("proof packets={} exits={exits}", options.packets);
        Ok(())
    })
}

/// Everything a sender needs, and the end of the stream when it is done.
fn with_sender(
    vnf: &mut Vnf,
    to: Option<&'static str>,
    work: impl FnOnce(&mut BurstSender<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (gate, memory) = vnf.connect()?;
    let peer = vnf.wait_for_peer(&gate, to)?;
    let mut free = [0; MAX_BURST];
    let pool = Mempool::new(memory, BufferLen::default(), &mut free).map_err(sluice_vnf::Error::Pool)?;
    let mut sender = BurstSender::new(vnf, &gate, &pool, peer);
    work(&mut sender)?;
    sender.finish()
}

struct BurstSender<'a> {
    vnf: &'a Vnf,
    gate: &'a Gate,
    port: PeerPort<'a>,
    burst: Burst<'a>,
    addresses: Addresses,
    sequence: u64,
    /// Packets given to the peer since it last had a turn.
    since_turn: usize,
    turns: u64,
    /// Ticks between two readings of the counter with nothing between.
    empty: u64,
}

impl<'a> BurstSender<'a> {
    fn new(vnf: &'a Vnf, gate: &'a Gate, pool: &'a Mempool<'a>, peer: PeerIdx) -> Self {
        let destination = gate.peer(peer).map_or([0; 6], |peer| peer.mac);
        let addresses = Addresses { destination, source: [2, 0, 0, 0, 0, 1] };
        let empty = (0..16).map(|_| clock::now().abs_diff(clock::now())).min().unwrap_or(0);
        let port = PeerPort::new(gate, peer);
        Self { vnf, gate, port, burst: pool.burst(), addresses, sequence: 0, since_turn: 0, turns: 0, empty }
    }

    /// Measures a row: at least `packets` packets in calls that took the whole burst.
    fn measure(&mut self, row: u16, burst: u16, frame: u16, packets: u64) -> Result<Row, Error> {
        for _ in 0..WARM_UP {
            self.call(row, burst, frame)?;
        }
        let (mut ticks, mut measured) = (0, 0);
        let (exits, turns) = (sluice_clock::exits(), self.turns);
        while measured < packets {
            if let Some(whole) = self.call(row, burst, frame)? {
                ticks += whole;
                measured += u64::from(burst);
            }
        }
        let exits = sluice_clock::exits() - exits;
        Ok(Row {
            gate: self.gate.kind().name(),
            burst,
            frame,
            packets: measured,
            counter: clock::counter(),
            ticks,
            // Outside the calls: one for each turn given away, and the second question itself.
            exits: exits.saturating_sub(self.turns - turns + 1),
        })
    }

    /// Sends one burst; the ticks that the call took, if it took the whole burst.
    fn call(&mut self, row: u16, burst: u16, frame: u16) -> Result<Option<u64>, Error> {
        if self.since_turn + usize::from(burst) > RX_SIZE {
            self.give_turn();
        }
        for _ in 0..burst {
            self.push(Kind::Data, row, imix::len(frame, self.sequence))?;
        }
        let before = clock::now();
        let sent = self.port.tx_burst(&mut self.burst, MAX_BURST);
        let ticks = clock::now() - before;
        let whole = sent.map_err(Send)? == usize::from(burst);
        self.since_turn += usize::from(burst);
        self.drain()?;
        Ok(whole.then(|| ticks.saturating_sub(self.empty)))
    }

    /// Sends the rest of the burst.
    fn drain(&mut self) -> Result<(), Error> {
        while !self.burst.is_empty() {
            self.give_turn();
            self.port.tx_burst(&mut self.burst, MAX_BURST).map_err(Send)?;
        }
        Ok(())
    }

    fn give_turn(&mut self) {
        self.vnf.yield_now();
        self.turns += 1;
        self.since_turn = 0;
    }

    /// Exits from the first packet to the last, while the peer receives on a processor of its own.
    fn prove(&mut self, options: &Proof<'_>) -> Result<u64, Error> {
        let before = sluice_clock::exits();
        let mut left = options.packets;
        while left > 0 || !self.burst.is_empty() {
            while left > 0 && self.burst.len() < usize::from(options.burst) {
                self.push(Kind::Data, 0, options.frame)?;
                left -= 1;
            }
            self.port.tx_burst(&mut self.burst, MAX_BURST).map_err(Send)?;
        }
        // The second question is itself an exit, where there are exits.
        Ok((sluice_clock::exits() - before).saturating_sub(1))
    }

    fn push(&mut self, kind: Kind, row: u16, len: u16) -> Result<(), Error> {
        let mut bytes = [0; *FRAME_LENGTHS.end() as usize];
        let bytes = &mut bytes[..usize::from(len)];
        frame::write(bytes, self.addresses, Header { kind, row, sequence: self.sequence });
        self.burst.push_bytes(bytes).map_err(Frame)?;
        self.sequence += u64::from(kind == Kind::Data);
        Ok(())
    }

    /// Tells the receiver how many frames there were.
    fn finish(&mut self) -> Result<(), Error> {
        self.push(Kind::Fin, 0, *FRAME_LENGTHS.start())?;
        self.drain()
    }
}

const _: () = assert!(HEADER_LEN <= *FRAME_LENGTHS.start() as usize && BURST_SIZE <= RX_SIZE);
