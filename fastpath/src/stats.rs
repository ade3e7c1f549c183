//! Counters of ports.
//!
//! A new counter is one field here; [`RxStats::xstats`] and [`TxStats::xstats`] tell its name. The place that counts a
//! frame as left or dropped is `left` in peer_port.rs for peers, virtio_net/transmit.rs for the device, and
//! virtio_net/receive.rs for frames that arrive.

macro_rules! stats {
    ($(#[$about:meta])* $name:ident, $prefix:literal: $($(#[$doc:meta])* $field:ident,)+) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)+
        }

        impl $name {
            /// The counters of a new port.
            pub const NONE: Self = Self { $($field: 0,)+ };

            /// Returns all counters with their names, in the order of the fields.
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
    /// Counters of a port that receives: frames that it received, and frames that it dropped, by cause. Every counter
    /// but `bytes` counts frames.
    RxStats, "rx_":
    /// Frames received.
    packets,
    /// Length of the frames received in bytes, without headers of virtio-net.
    bytes,
    /// Frames dropped because they were damaged: empty, shorter than their header, or with a header that does not fit
    /// them or asks for what was not negotiated.
    bad_frame,
    /// Frames dropped because they lay in several buffers and were longer than one of the pool.
    too_long,
    /// Frames dropped by a wrapper that injects faults.
    dropped,
}

stats! {
    /// Counters of a port that sends: frames that it delivered, and frames that it left in bursts, by cause. Every
    /// counter but `bytes` counts frames. The counters behind `bytes` count a frame each time that a call leaves it; no
    /// frame is lost by that, except for `unsent` and `dropped`.
    TxStats, "tx_":
    /// Frames delivered.
    packets,
    /// Length of the frames delivered in bytes, without headers of virtio-net.
    bytes,
    /// Frames left because their peer's ring was full, or another producer was filling it, or because the call ended
    /// before them.
    full,
    /// Frames left because they are longer than their peer takes.
    too_long,
    /// Frames left because no peer takes them.
    bad_frame,
    /// Frames left because of an offload that their peer did not negotiate.
    not_negotiated,
    /// Frames left because their peer broke the protocol.
    peer_fault,
    /// Frames left because their peer was not ready.
    not_ready,
    /// Frames left because the host ended the call, or the call came from within another one.
    aborted,
    /// Frames left because the call did not take place: packet memory is not registered, or the status is undefined.
    refused,
    /// Frames lost because this VM's own device was stopped before it sent them.
    unsent,
    /// Frames dropped by a wrapper that injects faults.
    dropped,
}
