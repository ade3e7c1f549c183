//! Counters of ports. All but `bytes` count frames.

macro_rules! stats {
    ($(#[$about:meta])* $name:ident, $prefix:literal: $($(#[$doc:meta])* $field:ident,)+) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)+
        }

        impl $name {
            /// No frame yet.
            pub const NONE: Self = Self { $($field: 0,)+ };

            /// All counters by name, in the order of the fields.
            pub fn xstats(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((concat!($prefix, stringify!($field)), self.$field),)+].into_iter()
            }
        }

        impl core::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                $(self.$field = self.$field.wrapping_add(other.$field);)+
            }
        }
    };
}

stats! {
    /// What a port received, and what it dropped and why. Every counter but `bytes` counts frames.
    RxStats, "rx_":
    /// Frames received.
    packets,
    /// Bytes of the frames received, without headers of virtio-net.
    bytes,
    /// Frames dropped because they were damaged: empty, shorter than their header, or with a header that does not fit them or asks for
    /// what was not negotiated.
    bad_frame,
    /// Frames dropped because they lay in several buffers and were longer than one of the pool.
    too_long,
    /// Frames dropped by a wrapper that was told to.
    dropped,
}

stats! {
    /// What a port delivered, and what it left in bursts and why. Every counter but `bytes` counts frames; those behind `bytes` count a
    /// frame each time that a call leaves it, and nothing is lost by that.
    TxStats, "tx_":
    /// Frames delivered.
    packets,
    /// Bytes of the frames delivered, without headers of virtio-net.
    bytes,
    /// Frames left because their peer's ring was full, or because the call did not come to them.
    full,
    /// Frames longer than their peer takes.
    too_long,
    /// Frames that no peer takes.
    bad_frame,
    /// Frames with an offload that their peer did not negotiate.
    not_negotiated,
    /// Frames to a peer that was found to break the protocol.
    peer_fault,
    /// Frames to a peer that was not ready.
    not_ready,
    /// Frames of a call that was ended, by the host or because it came from within another one.
    aborted,
    /// Frames of a call that did not take place: packet memory is not registered, or the host gave a status of no meaning.
    refused,
    /// Frames that this VM's own device had not sent when it was stopped: they are lost.
    unsent,
    /// Frames dropped by a wrapper that was told to.
    dropped,
}
