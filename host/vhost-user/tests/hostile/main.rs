//! Front-ends that break the protocol: the session ends with an error that says why, and leaves nothing behind.

#[path = "../common/mod.rs"]
mod common;
mod descriptors;
#[path = "../common/front.rs"]
#[allow(dead_code, reason = "a part is needed here")]
mod front;
mod memory;
mod order;
#[path = "../common/recorded.rs"]
mod recorded;
mod rings;
mod wire;

use common::Open;
use front::{Front, LEN, PACKED, SPLIT, end_of};
use sluice_vhost_user::Session;

/// Asserts that a session, prepared by `prepare`, ends with an error that has `why` in it when the front-end does
/// `act`, and that nothing stays open.
#[track_caller]
fn ends_prepared(why: &str, prepare: impl Fn(&Front, &mut Session), act: impl Fn(&Front)) {
    let _turn = common::turn();
    let before = Open::now();
    let end = {
        let (front, mut session) = Front::new();
        prepare(&front, &mut session);
        act(&front);
        end_of(&mut session).map(|error| error.to_string())
    };
    assert!(end.as_ref().is_some_and(|end| end.contains(why)), "{end:?} does not say {why:?}");
    assert_eq!(Open::now(), before);
}

/// Asserts that `act` ends the session with an error that has `why` in it, and that nothing stays open.
#[track_caller]
fn ends(why: &str, act: impl Fn(&Front)) {
    ends_prepared(why, |_, _| {}, act);
}

#[test]
fn a_lawful_front_end_is_served() {
    let _turn = common::turn();
    let before = Open::now();
    for (features, size) in [(SPLIT, 256), (PACKED, 256), (PACKED, 1_000)] {
        let (front, mut session) = Front::new();
        front.features(features);
        front.memory(&[(0, LEN / 2), (LEN / 2, LEN / 2)]);
        front.ring(size, [0, LEN / 4, LEN / 2]);
        let end = end_of(&mut session);
        assert!(end.is_none(), "{end:?}");
    }
    assert_eq!(Open::now(), before);
}
