//! Errors of calls that receive.

use sluice_driver::DeviceFault;

/// The error of a call that receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RxError {
    /// The device side of the receive queue, which is whoever sends to this VM, broke the protocol. Nothing is received
    /// before the device is started anew.
    #[error("the device side of the receive queue broke the protocol: {0}")]
    Device(DeviceFault),
    /// The burst is of another pool than the one that the port was started with.
    #[error("the burst is of another pool than the port")]
    ForeignPool,
}
