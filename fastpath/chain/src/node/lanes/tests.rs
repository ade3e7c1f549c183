//! The loop's steps, with lanes that nobody takes frames from.

use super::*;
use crate::testing::{bursts, bytes, chained};
use std::vec;

#[test]
fn a_vm_that_takes_no_frame_for_too_long_is_away() {
    let mut lane = Lane { peer: PeerIdx(0), queue: bursts(1).remove(0), since: 0, away_until: 0 };
    let long = 1 << 50;
    lane.notice(0, 1);
    assert_eq!((lane.since, lane.away_until), (0, 0), "nothing waits");
    assert!(lane.queue.push(60).is_ok());
    lane.notice(0, long);
    let since = lane.since;
    lane.notice(0, long);
    assert!(since > 0 && (lane.since, lane.away_until) == (since, 0), "not yet");
    lane.notice(1, 1);
    assert!(lane.since > since && lane.away_until == 0, "a frame was taken");
    lane.notice(0, 1);
    assert!(lane.since == 0 && lane.away_until > since);
}

const FILE: &str = r#"
[[chain]]
name = "c"
path = 1
ends = ["in", "out"]
hops = [{ vm = "a", policy = "open" }, { vm = "b", policy = "open" }, { vm = "c", policy = "open" }]
"#;

/// Returns a frame on its way to hop b, whose last byte is `number`.
fn to_b(number: u8) -> Vec<u8> {
    chained(62 << 6 | 6, [1, 3], 1 << 8, 254, &[9; 16], &[number; 60])
}

/// Frames for hop b, which is away, wait for room on the way past it. One that came later finds room there, and waits.
#[test]
fn frames_that_look_for_another_way_are_not_overtaken() {
    let mut router = Router::new(&ChainFile::parse(FILE).unwrap(), "a").unwrap();
    let [b, c] = ["b", "c"].map(|vm| router.slots().iter().position(|slot| slot == vm).unwrap());
    let slots = router.slots().len();
    let mut bursts = bursts(slots + 1);
    let held = vec![bursts.remove(0)];
    let lane = |queue| Lane { peer: PeerIdx(0), queue, since: 0, away_until: 0 };
    let lanes = bursts.into_iter().map(lane).collect();
    let ready = !(1 << b);
    let (stall, report, behind, lost) = (None, None, 0, 0);
    let mut lanes = Lanes { lanes, held, slots, stall, report, ready, behind, lost, ends_with_beside: false };
    router.set_ready(ready);
    for number in [1, 2] {
        lanes.lanes[b].queue.push_bytes(&to_b(number)).unwrap();
    }
    while lanes.lanes[c].queue.room() > 0 {
        lanes.lanes[c].queue.push_bytes(&to_b(0)).unwrap();
    }
    lanes.held[0].push_bytes(&to_b(3)).unwrap();
    lanes.held[0].frame_mut(0).unwrap().set_mark(c as u32);
    // Hop c takes a frame, after those for b looked.
    assert_eq!((lanes.redirect(&mut router, b).unwrap(), lanes.are_stranded()), (0, true));
    lanes.lanes[c].queue.drop_front(1);
    assert_eq!((lanes.admit(0).unwrap(), lanes.is_free(0)), (0, false), "a newer frame");
    // In the next turn there is room for one of them, and then for all.
    for (room, redirected, admitted) in [(0, 1, 0), (10, 1, 1)] {
        lanes.lanes[c].queue.drop_front(room);
        lanes.behind = 0;
        assert_eq!(lanes.redirect(&mut router, b).unwrap(), redirected);
        assert_eq!(lanes.admit(0).unwrap(), admitted);
    }
    assert!(!lanes.are_stranded() && lanes.is_free(0));
    let last: Vec<_> = lanes.lanes[c].queue.frames().map(|frame| bytes(frame).pop().unwrap()).collect();
    assert!(last.ends_with(&[0, 1, 2, 3]), "{last:?}");
}
