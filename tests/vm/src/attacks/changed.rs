//! C1: a VM with an in-VM switch is taken off its processor at every instruction of a burst, one after the other. Its
//! host removes the burst's flow meanwhile, and is done with that before the VM goes on.
//!
//! The flow is one that was not used for a while: that is the cause of the change. The VM reports nothing where it
//! stands, so the host closes its windows.

use super::cpu::delay;
use super::{Error, number};
use sluice::{BURST_SIZE, Burst, PeerIdx, PeerState, RX_SIZE, Receive, Transmit};
use sluice_switch::{FlowMemory, Switch, SwitchStats};
use sluice_vnf::{Net, Options, Outputs, Ports, Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] =
    &[("switch", |machine, how| sweep(machine, number(how)?)), ("late", |machine, how| late(machine, number(how)?))];

/// The receiver of all frames.
const TO: PeerIdx = PeerIdx(0);
/// The number of frames of a burst.
const FRAMES: usize = 4;
/// The first words of a frame: both addresses, and a type for experiments. Its number follows, and its time.
const HEADER: [[u8; 8]; 2] = [*b"\x02Slui\x01\x02S", *b"lui\x00\x88\xb5\0\0"];
/// The time of a frame that may come at any.
const ANY: u64 = u64::MAX;
/// Instructions by which bursts begin earlier, until one is found that is stopped behind its look-up.
const COARSE: u64 = 64;
/// Turns in which the flow has to be there.
const PATIENCE: usize = 100;

/// Where a burst was when it was stopped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// It had not looked up its flow, and found none.
    Before,
    /// It had, and has delivered no frame since.
    Within,
    /// It had delivered its frames.
    After,
    /// It was over.
    Over,
}

/// A VM that forwards frames of its own by its in-VM switch.
struct Sender<'s> {
    vnf: &'s Vnf,
    switch: Switch<'static, 's, &'s mut Net>,
    outputs: &'s Outputs,
    burst: Burst<'s>,
    /// The ticks of a turn.
    turn: u64,
    /// The number of the next frame.
    next: u64,
    /// The number of frames that were forwarded as the host returned them, in a later turn than that of their burst.
    late: u64,
}

/// Makes bursts that begin closer and closer to the beginning of a turn of `turn` ticks, so that its end stops each of
/// them one instruction later.
fn sweep(vnf: &mut Vnf, turn: u64) -> Result<(), Error> {
    let pages = vnf.flows().ok_or(Error::Arguments)?;
    let flows = FlowMemory::open(pages.table, pages.records).map_err(|_| Error::Arguments)?;
    let options = Options { pairs: flows.pairs(), tx_pair: flows.slow_pair(), ..Options::default() };
    let Ports { input, outputs, .. } = vnf.open(options)?;
    outputs.wait_for(None)?;
    let parts = (outputs.gate(), outputs.pool());
    let switch = Switch::new(input, parts, flows, None, clock::host_time).map_err(|_| Error::Arguments)?;
    let mut sender = Sender { vnf, switch, outputs: &outputs, burst: outputs.burst(), turn, next: 0, late: 0 };
    let mut before = COARSE;
    while sender.round(before)? == Place::Before {
        before += COARSE;
    }
    let (mut counts, mut last, mut back) = ([0; 3], Place::Before, 0);
    for before in before - COARSE.. {
        let place = sender.round(before)?;
        back += u64::from(place < last);
        last = place;
        let Some(count) = counts.get_mut(place as usize) else { break };
        *count += 1;
    }
    println!("stopped {} before, {} within, {} after, {back} not later", counts[0], counts[1], counts[2]);
    println!("sent {} late {} wrong 0", sender.switch.stats().forwarded, sender.late);
    Ok(())
}

impl Sender<'_> {
    /// Makes a burst that begins `before` instructions before the end of a turn. Returns where it was stopped.
    fn round(&mut self, before: u64) -> Result<Place, Error> {
        self.use_flow()?;
        let turn = self.begin();
        self.fill(turn, FRAMES)?;
        let was = *self.switch.stats();
        delay((turn + self.turn).saturating_sub(before + clock::now()));
        // Nothing is received here: how many instructions that takes is not the same each time.
        self.switch.tx_burst(&mut self.burst, FRAMES).map_err(sluice_vnf::Error::from)?;
        let now = *self.switch.stats();
        if clock::now() - turn < self.turn {
            return Ok(Place::Over);
        }
        self.drain()?;
        self.late += self.switch.stats().forwarded - now.forwarded;
        match (now.hits - was.hits, now.forwarded - was.forwarded) {
            (0, 0) => Ok(Place::Before),
            (_, 0) => Ok(Place::Within),
            _ => Ok(Place::After),
        }
    }

    /// Begins a turn, and returns when that was.
    fn begin(&mut self) -> u64 {
        self.switch.rest();
        self.vnf.yield_now();
        clock::now()
    }

    /// Uses the flow early in a turn.
    fn use_flow(&mut self) -> Result<(), Error> {
        for _ in 0..PATIENCE {
            let turn = self.begin();
            if self.outputs.state(TO) != PeerState::Ready {
                continue;
            }
            let SwitchStats { hits, forwarded, .. } = *self.switch.stats();
            // A burst that goes up to the end of the ring's arrays would take other instructions.
            let room = RX_SIZE - forwarded as usize % RX_SIZE;
            self.fill(ANY, if room <= 1 + FRAMES { room } else { 1 })?;
            self.send()?;
            if self.switch.stats().hits > hits && clock::now() - turn < self.turn / 2 {
                return Ok(());
            }
            self.drain()?;
        }
        Err(Error::Endless)
    }

    /// Forwards all that the host returns.
    fn drain(&mut self) -> Result<(), Error> {
        let returned = |stats: &SwitchStats| stats.returned + stats.again_lost;
        while returned(self.switch.stats()) < self.switch.stats().missed + self.switch.stats().torn {
            self.send()?;
        }
        Ok(())
    }

    /// Adds `count` frames of time `time` to the burst.
    fn fill(&mut self, time: u64, count: usize) -> Result<(), Error> {
        for _ in 0..count {
            let [first, second] = HEADER;
            let words = [first, second, self.next.to_le_bytes(), time.to_le_bytes(), [0; 8], [0; 8], [0; 8], [0; 8]];
            self.burst.push_bytes(words.as_flattened()).map_err(|_| Error::Arguments)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Forwards what there is.
    fn send(&mut self) -> Result<(), Error> {
        let Self { switch, burst, .. } = self;
        switch.rx_burst(burst, BURST_SIZE).map_err(sluice_vnf::Error::from)?;
        switch.tx_burst(burst, BURST_SIZE).map_err(sluice_vnf::Error::from)?;
        Ok(())
    }
}

/// Receives for as long as its first peer is there, in turns of `turn` ticks. A frame that was made before a look at
/// the queue, and was not there then, is late: on one processor, its sender was stopped in between.
fn late(vnf: &mut Vnf, turn: u64) -> Result<(), Error> {
    let ports = vnf.open(Options::default())?;
    let (mut burst, mut next, [mut began, mut looked]) = (ports.burst(), 0, [0; 2]);
    let [mut received, mut late, mut wrong] = [0u64; 3];
    loop {
        let now = clock::now();
        if ports.input.rx_burst(&mut burst, BURST_SIZE).map_err(sluice_vnf::Error::from)? == 0 {
            if ports.state(TO) == PeerState::Revoked {
                break;
            }
            looked = now;
            if now - began > turn {
                vnf.yield_now();
                began = clock::now();
            }
        }
        for frame in burst.frames() {
            let [number, time] = [16, 24].map(|at| frame.head(at).map_or(0, u64::from_le_bytes));
            received += 1;
            late += u64::from(time < looked);
            wrong += u64::from(number < next);
            next = number + 1;
        }
        burst.clear();
    }
    println!("received {received} late {late} wrong {wrong}");
    Ok(())
}
