//! Counters of an in-VM switch.
//!
//! The host reads them, too: they are copied to its records now and then.

use crate::action::Cause;
use core::sync::atomic::Ordering::Relaxed;
use sluice_abi::flows::COUNTERS_LEN;
use sluice_memory::CacheLine;

/// Number of calls after which the counters are copied for the host.
const CALLS: u64 = 64;

macro_rules! stats {
    ($($(#[$doc:meta])* $field:ident,)+) => {
        /// Counters of frames: what they matched, and what became of them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct SwitchStats {
            $($(#[$doc])* pub $field: u64,)+
            /// Number of calls.
            calls: u64,
        }

        impl SwitchStats {
            /// The counters of a new switch.
            pub const NONE: Self = Self { $($field: 0,)+ calls: 0 };
            /// The names of the counters.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field),)+];

            fn words(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$field,)+]
            }
        }
    };
}

stats! {
    /// Frames that matched an entry.
    hits,
    /// Frames that matched no entry, and went to the host.
    missed,
    /// Frames that went to the host because the table's lease was over.
    lapsed,
    /// Frames that waited in the switch, behind earlier ones of their flow on the slow path.
    held,
    /// Frames that went to the host although they matched an entry, so that the host's switch sees its flow in use.
    refreshed,
    /// Frames that went to the host because their entry changed while it was read.
    torn,
    /// Frames that the host returned.
    returned,
    /// Frames that were delivered to peers.
    forwarded,
    /// Frames dropped because too many wait for their peer.
    full,
    /// Frames dropped because their peer was not ready.
    not_ready,
    /// Frames dropped because their peer takes no such frame.
    refused,
    /// Frames dropped because their entry went away, or the lease was over, while they waited.
    stale,
    /// Frames dropped because their entry has no output.
    no_output,
    /// Frames dropped because their time to live was over.
    expired,
    /// Frames dropped because they lack a header that an action changes.
    unfit,
    /// Frames dropped because they have no room for a header.
    no_room,
    /// Frames dropped because too many wait behind earlier ones of their flow.
    hold_full,
    /// Frames dropped because the slow path was full.
    slow_full,
    /// Frames dropped because the device refuses them.
    slow_refused,
    /// Frames of the host's that were no answer.
    slow_bad,
    /// Frames dropped because the host returned them for an entry that was gone again.
    again_lost,
    /// Subtables in which frames were looked up: of each frame as many as that took.
    searched,
}

const _: () = assert!(SwitchStats::NAMES.len() <= COUNTERS_LEN);

impl SwitchStats {
    /// Returns all counters with their names.
    pub fn xstats(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        Self::NAMES.iter().copied().zip(self.words())
    }

    /// Returns the counters that the switch behind `lines` copied last, with their names, as its VM says.
    pub fn copied(lines: &[CacheLine]) -> impl Iterator<Item = (&'static str, u64)> {
        let words = lines.iter().flat_map(CacheLine::words);
        Self::NAMES.iter().copied().zip(words.map(|word| word.load(Relaxed)))
    }

    pub(super) fn dropped(&mut self, cause: Cause) {
        *match cause {
            Cause::NoOutput => &mut self.no_output,
            Cause::Expired => &mut self.expired,
            Cause::Unfit => &mut self.unfit,
            Cause::NoRoom => &mut self.no_room,
        } += 1;
    }

    /// Copies the counters to `lines`.
    pub(super) fn publish(&self, lines: &[CacheLine]) {
        let words = lines.iter().flat_map(CacheLine::words);
        words.zip(self.words()).for_each(|(word, count)| word.store(count, Relaxed));
    }

    /// Counts a call, after some of which the counters are copied to `lines`.
    pub(super) fn count_burst(&mut self, lines: &[CacheLine]) {
        self.calls += 1;
        if self.calls.is_multiple_of(CALLS) {
            self.publish(lines);
        }
    }
}
