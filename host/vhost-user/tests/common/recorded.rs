//! What front-ends sent when they were recorded, with the descriptors that came along left out: they follow from the
//! message. Repetitions are shortened.

use crate::front::Front;
use rustix::fd::{AsFd, BorrowedFd};
use sluice_vhost_user::message::header::Code;
use std::sync::LazyLock;

/// Request, flags, and the words of the body.
pub type Step = (Code, u32, &'static [u64]);

/// Bits 63:32 of a word that has a ring in bits 31:0, and a number.
const fn num(num: u64) -> u64 {
    num << 32
}

/// QEMU 7.2 with one queue pair, whose firmware (iPXE) starts the device, resets it, and starts it again.
pub static QEMU: LazyLock<Vec<Step>> = LazyLock::new(|| [GREETING, START, RESET, START].concat());

/// What QEMU sends first.
const GREETING: &[Step] = &[
    (Code::GET_FEATURES, 1, &[]),
    (Code::GET_PROTOCOL_FEATURES, 1, &[]),
    (Code::SET_PROTOCOL_FEATURES, 1, &[0x10009]),
    (Code::GET_QUEUE_NUM, 1, &[]),
    (Code::SET_OWNER, 1, &[]),
    (Code::GET_FEATURES, 1, &[]),
    (Code::SET_VRING_CALL, 1, &[0]),
    (Code::SET_VRING_ERR, 1, &[0]),
    (Code::SET_VRING_CALL, 1, &[1]),
    (Code::SET_VRING_ERR, 1, &[1]),
];

/// Before the features are chosen, QEMU enables both rings.
const START: &[Step] = &[
    (Code::SET_VRING_ENABLE, 1, &[num(1)]),
    (Code::SET_VRING_ENABLE, 1, &[1 | num(1)]),
    (Code::SET_FEATURES, 1, &[0x1_4000_0000]),
    (Code::GET_STATUS, 1, &[]),
    (Code::SET_STATUS, 1, &[8]),
    (Code::SET_MEM_TABLE, 9, &[1, 0, 0x1000_0000, 0x7ff2_0bff_f000, 0]),
    (Code::SET_VRING_NUM, 1, &[num(0x100)]),
    (Code::SET_VRING_BASE, 1, &[0]),
    (Code::SET_VRING_ADDR, 1, &[0, 0x7ff2_1bf5_e000, 0x7ff2_1bf6_0000, 0x7ff2_1bf5_f000, 0xff6_1000]),
    (Code::SET_VRING_KICK, 1, &[0]),
    (Code::SET_VRING_CALL, 1, &[0]),
    (Code::SET_VRING_NUM, 1, &[1 | num(0x100)]),
    (Code::SET_VRING_BASE, 1, &[1]),
    (Code::SET_VRING_ADDR, 1, &[1, 0x7ff2_1bf6_1000, 0x7ff2_1bf6_3000, 0x7ff2_1bf6_2000, 0xff6_4000]),
    (Code::SET_VRING_KICK, 1, &[1]),
    (Code::SET_VRING_CALL, 1, &[1]),
    (Code::GET_STATUS, 1, &[]),
    (Code::SET_STATUS, 1, &[0xf]),
];

/// The reset of the device.
const RESET: &[Step] = &[(Code::SET_STATUS, 1, &[0]), (Code::GET_VRING_BASE, 1, &[0]), (Code::GET_VRING_BASE, 1, &[1])];

/// DPDK 22.11, `net_virtio_user` with one queue pair and packed rings, which enables rings at the end. Its
/// guest-physical space is its own.
pub const DPDK: &[Step] = &[
    (Code::SET_OWNER, 1, &[]),
    (Code::GET_FEATURES, 1, &[]),
    (Code::GET_PROTOCOL_FEATURES, 1, &[]),
    (Code::SET_PROTOCOL_FEATURES, 1, &[0x10009]),
    (Code::SET_VRING_CALL, 1, &[0]),
    (Code::SET_VRING_CALL, 1, &[1]),
    (Code::SET_FEATURES, 1, &[0x5_4000_0000]),
    (Code::SET_STATUS, 9, &[0xb]),
    (Code::GET_STATUS, 1, &[]),
    (Code::GET_STATUS, 1, &[]),
    (Code::SET_MEM_TABLE, 9, &[1, 0x1_0033_8000, 0x1000_0000, 0x1_0033_8000, 0]),
    (Code::SET_VRING_NUM, 1, &[num(0x100)]),
    (Code::SET_VRING_BASE, 1, &[num(0x8000)]),
    (Code::SET_VRING_ADDR, 1, &[0, 0x1_102d_c000, 0x1_102d_e000, 0x1_102d_d000, 0]),
    (Code::SET_VRING_KICK, 1, &[0]),
    (Code::SET_VRING_NUM, 1, &[1 | num(0x100)]),
    (Code::SET_VRING_BASE, 1, &[1 | num(0x8000)]),
    (Code::SET_VRING_ADDR, 1, &[1, 0x1_102d_7000, 0x1_102d_9000, 0x1_102d_8000, 0]),
    (Code::SET_VRING_KICK, 1, &[1]),
    (Code::SET_VRING_ENABLE, 1, &[num(1)]),
    (Code::SET_VRING_ENABLE, 1, &[1 | num(1)]),
    (Code::SET_STATUS, 9, &[0xf]),
];

/// Returns the descriptors that come with a step: the front-end's memory or its event.
pub fn files<'f>(front: &'f Front, (code, _, _): &Step) -> Vec<BorrowedFd<'f>> {
    match *code {
        Code::SET_MEM_TABLE => vec![front.file.as_fd()],
        Code::SET_VRING_KICK | Code::SET_VRING_CALL | Code::SET_VRING_ERR => vec![front.event.as_fd()],
        _ => Vec::new(),
    }
}

/// Makes the front-end's memory as long as that of the front-ends that were recorded. What is not touched takes no
/// room.
pub fn lengthen(front: &Front) {
    front.file.set_len(0x1000_0000).unwrap();
}
