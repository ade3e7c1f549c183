//! Control commands: class and command, then data, then an answer byte that the device writes.
//! See: VIRTIO 5.1.6.5 "Control Virtqueue".

/// The answer byte: done.
pub const OK: u8 = 0;
/// The answer byte: refused.
pub const ERR: u8 = 1;
/// Class and command: sets the MAC address, 6 bytes. See: VIRTIO 5.1.6.5.2 "Setting MAC Address Filtering".
pub const MAC_ADDR_SET: [u8; 2] = [1, 1];
/// Class and command: the driver has announced itself, no data. See: VIRTIO 5.1.6.5.4 "Gratuitous Packet Sending".
pub const ANNOUNCE_ACK: [u8; 2] = [3, 0];
/// Class and command: how many queue pairs are used, 16 bits. See: VIRTIO 5.1.6.5.5 "Device operation in multiqueue mode".
pub const MQ_VQ_PAIRS_SET: [u8; 2] = [4, 0];
