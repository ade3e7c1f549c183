//! Single calls, all of one kind: do they all take the same?

use crate::Error;
use crate::options::Calls;
use crate::sender::{PeerSender, with_sender};
use crate::spread::Spread;
use core::fmt;
use sluice_clock::WindowTimer;
use sluice_vnf::{Vnf, clock, println};

/// Calls before the first that counts.
const WARM_UP: usize = 2;
/// One call of this number has its window measured, too.
const WINDOW: u64 = 16;
/// One more call for each of this number goes over the end of the ring's arrays.
const OVER_THE_END: u64 = 32;

pub fn calls(vnf: &mut Vnf, options: &Calls) -> Result<(), Error> {
    with_sender(vnf, |sender| {
        for frame in options.frames.iter() {
            for burst in options.bursts.iter() {
                for row in measure(sender, burst, frame, options.count)?.iter().filter(|row| row.calls.count() > 0) {
                    println!("call {row}");
                }
            }
        }
        sender.finish()
    })
}

/// Calls of one kind.
struct Row {
    burst: u16,
    frame: u16,
    over_the_end: bool,
    unit: &'static str,
    calls: Spread,
    /// The time that the window was open.
    windows: Spread,
}

/// At least `count` calls: those that stay within the ring's arrays, and those that go over their end.
fn measure(sender: &mut PeerSender<'_>, burst: u16, frame: u16, count: u64) -> Result<[Row; 2], Error> {
    let unit = clock::counter().unit();
    let row = |over_the_end| Row { burst, frame, over_the_end, unit, calls: Spread::new(), windows: Spread::new() };
    let mut rows = [row(false), row(true)];
    sender.align()?;
    for _ in 0..WARM_UP {
        sender.call(burst, frame)?;
    }
    sender.align()?;
    while rows[0].calls.count() < count {
        one(sender, &mut rows, burst, frame)?;
    }
    // One frame further on, the last of a burst is the first behind the end: there a split costs most.
    sender.call(1, frame)?;
    while burst > 1 && rows[1].calls.count() < (count / OVER_THE_END).max(1) {
        one(sender, &mut rows, burst, frame)?;
    }
    Ok(rows)
}

fn one(sender: &mut PeerSender<'_>, rows: &mut [Row; 2], burst: u16, frame: u16) -> Result<(), Error> {
    if let Some(call) = sender.call(burst, frame)? {
        rows[usize::from(call.over_the_end)].calls.note(call.ticks);
    }
    if (rows[0].calls.count() + rows[1].calls.count()) % WINDOW == 1 {
        let over_the_end = sender.goes_over_the_end(burst);
        if let Some(ticks) = window(sender, burst)? {
            rows[usize::from(over_the_end)].windows.note(ticks);
        }
    }
    Ok(())
}

/// The same burst once more: what its window was open for, where there is one that can be told from the rest of a call.
fn window(sender: &mut PeerSender<'_>, burst: u16) -> Result<Option<u64>, Error> {
    let Some(timer) = WindowTimer::of(sender.gate) else { return Ok(None) };
    sender.make_room(burst);
    let open = timer.open(burst).map_err(sluice_vnf::Error::Send)?;
    sender.note(burst);
    Ok(Some(open))
}

/// As JSON.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { burst, frame, over_the_end, unit, calls, windows } = self;
        let (count, least, greatest) = (calls.count(), calls.least(), calls.greatest());
        write!(
            f,
            r#"{{"burst":{burst},"frame":{frame},"over_the_end":{over_the_end},"calls":{count},"unit":"{unit}","#
        )?;
        write!(f, r#""min":{least},"mean":{:.3},"max":{greatest},"variance":{:.6},"#, calls.mean(), calls.variance())?;
        match windows.count() {
            0 => write!(f, r#""windows":0,"window_max":null}}"#),
            count => write!(f, r#""windows":{count},"window_max":{}}}"#, windows.greatest()),
        }
    }
}
