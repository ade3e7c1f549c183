//! Descriptors that are missing, too many, or of the wrong kind.

use crate::front::{Front, GPA, SPLIT, USER, end_of, event, message};
use crate::recorded::{DPDK, QEMU, files, lengthen};
use crate::{common, ends};
use common::Open;
use rustix::fd::{AsFd, OwnedFd};
use sluice_vhost_user::message::header::Code;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

#[test]
fn a_missing_or_surplus_descriptor_ends_the_session() {
    let _turn = common::turn();
    let before = Open::now();
    for step in QEMU.iter().chain(DPDK) {
        for surplus in [false, true] {
            let (front, mut session) = Front::new();
            lengthen(&front);
            let mut files = files(&front, step);
            if surplus {
                files.push(front.event.as_fd());
            } else if files.pop().is_none() {
                continue;
            }
            front.raw(&message(step.0, step.1, step.2), &files);
            let end = end_of(&mut session).unwrap_or_else(|| panic!("{step:x?}")).to_string();
            let why = format!("{}: {} descriptors, not ", step.0, files.len());
            assert!(end.starts_with(&why), "{end}");
        }
    }
    assert_eq!(Open::now(), before);
}

#[test]
fn a_descriptor_that_is_said_not_to_come_ends_the_session() {
    for code in [Code::SET_VRING_KICK, Code::SET_VRING_CALL, Code::SET_VRING_ERR] {
        ends(&format!("{code}: 1 descriptors, not 0"), |front| front.event(code, 1 << 8));
    }
}

#[test]
fn more_descriptors_than_a_message_can_have_end_the_session() {
    ends("more than 8 descriptors", |front| {
        front.send(Code::SET_OWNER, &[], &[front.file.as_fd(); 9]);
    });
    // Nine of them come with different bytes of one message.
    ends("more than 8 descriptors", |front| {
        let bytes = message(Code::SET_VRING_KICK, 1, &[0]);
        bytes.iter().take(9).for_each(|byte| front.raw(&[*byte], &[front.event.as_fd()]));
    });
}

/// Opens what is neither memory nor an event: the ends of a pipe and of a socket, a folder and a device.
fn others() -> Vec<OwnedFd> {
    let (read, write) = std::io::pipe().unwrap();
    let (socket, peer) = UnixStream::pair().unwrap();
    let [folder, device] = ["/", "/dev/null"].map(|path| File::open(path).unwrap());
    vec![read.into(), write.into(), socket.into(), peer.into(), folder.into(), device.into()]
}

#[test]
fn an_event_of_the_wrong_kind_ends_the_session() {
    for (code, which) in
        [Code::SET_VRING_KICK, Code::SET_VRING_CALL].into_iter().flat_map(|code| (0..7).map(move |which| (code, which)))
    {
        ends(&format!("{code}: the descriptor is no event"), |front| {
            let others = others();
            front.features(SPLIT);
            front.send(code, &[0], &[others.get(which).map_or(front.file.as_fd(), AsFd::as_fd)]);
        });
    }
}

#[test]
fn memory_of_the_wrong_kind_ends_the_session() {
    for which in 0..8 {
        ends("SET_MEM_TABLE: memory region at 0x100000: ", |front| {
            let mut others = others();
            let read_only = File::open(format!("/proc/self/fd/{}", front.file.as_raw_fd())).unwrap();
            others.extend([event().into(), read_only.into()]);
            front.send(Code::SET_MEM_TABLE, &[1, GPA, 4_096, USER, 0], &[others[which].as_fd()]);
        });
    }
}
