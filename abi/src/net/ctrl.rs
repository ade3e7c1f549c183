//! Control commands: class and command, then data, then an answer byte that the device writes.
//! See: VIRTIO 5.1.6.5 "Control Virtqueue".

/// Answer byte: the device has done what the command asks for.
pub const OK: u8 = 0;
/// Answer byte: the device refused the command.
pub const ERR: u8 = 1;
/// Class and command: promiscuous mode, 1 byte, 0 or 1. See: VIRTIO 5.1.6.5.1 "Packet Receive Filtering".
pub const RX_PROMISC: [u8; 2] = [0, 0];
/// Class and command: all multicast frames, 1 byte, 0 or 1. See: VIRTIO 5.1.6.5.1 "Packet Receive Filtering".
pub const RX_ALLMULTI: [u8; 2] = [0, 1];
/// Class and command: the tables of unicast and multicast addresses that are received. Each is a 32-bit number of
/// addresses and 6 bytes for each address. See: VIRTIO 5.1.6.5.2 "Setting MAC Address Filtering".
pub const MAC_TABLE_SET: [u8; 2] = [1, 0];
/// Class and command: sets the MAC address, 6 bytes. See: VIRTIO 5.1.6.5.2 "Setting MAC Address Filtering".
pub const MAC_ADDR_SET: [u8; 2] = [1, 1];
/// Class and command: the driver has announced itself, no data. See: VIRTIO 5.1.6.5.4 "Gratuitous Packet Sending".
pub const ANNOUNCE_ACK: [u8; 2] = [3, 0];
/// Class and command: the number of queue pairs that are used, 16 bits. See: VIRTIO 5.1.6.5.5 "Device operation in
/// multiqueue mode".
pub const MQ_VQ_PAIRS_SET: [u8; 2] = [4, 0];
