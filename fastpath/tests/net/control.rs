//! Commands over the control queue, and the configuration of the device.

use super::*;
use sluice::{LinkStatus, Transmit};
use sluice_driver::{Cause, Command, ControlError};

const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
const MOVED: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

fn refused(command: Command, cause: Cause) -> Result<(), ControlError> {
    Err(ControlError { command, cause })
}

fn send(from: &mut Vm<Device>, to: [u8; 6]) {
    let source = from.net.mac();
    from.net.tx_burst(&mut from.burst(&[frame(to, source, 1)]), MAX_BURST).expect("room");
}

#[test]
fn an_address_is_set_and_told_and_a_refusal_changes_nothing() {
    for format in RingFormat::ALL {
        let lan = Lan::two();
        let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(format)));
        assert_eq!(a.net.control(|| true).set_mac(mac(1)), refused(Command::MacAddrSet, Cause::Refused));
        assert_eq!(a.net.mac(), mac(0));
        assert_eq!(a.net.control(|| true).set_mac(MOVED), Ok(()));
        assert_eq!(a.net.mac(), MOVED);
        send(&mut b, MOVED);
        send(&mut b, mac(0));
        send(&mut a, mac(1));
        assert_eq!((a.received().len(), b.received().len()), (1, 1));
        a.net.restart().expect("the same device");
        assert_eq!(a.net.mac(), mac(0), "as at first");
        let error = b.net.control(|| true).set_mac(MOVED).expect_err("the manifest permits it to a only");
        assert_eq!(error.to_string(), "VIRTIO_NET_CTRL_MAC_ADDR_SET: refused");
    }
}

#[test]
fn receive_filters_are_set() {
    let lan = Lan::two();
    let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(RingFormat::default())));
    let mut arrive = |b: &mut Vm<Device>| {
        [GROUP, MOVED, mac(1), BROADCAST].map(|to| {
            send(&mut a, to);
            b.received().len()
        })
    };
    assert_eq!(arrive(&mut b), [0, 0, 1, 1]);
    assert_eq!(b.net.control(|| true).set_allmulticast(true), Ok(()));
    assert_eq!(arrive(&mut b), [1, 0, 1, 1]);
    let mut control = b.net.control(|| true);
    assert_eq!((control.set_allmulticast(false), control.set_filter(&[MOVED], &[GROUP])), (Ok(()), Ok(())));
    assert_eq!(arrive(&mut b), [1, 1, 1, 1]);
    assert_eq!(b.net.control(|| true).set_filter(&[], &[]), Ok(()));
    assert_eq!(arrive(&mut b), [0, 0, 1, 1]);
    assert_eq!(b.net.control(|| true).set_promiscuous(true), Ok(()));
    assert_eq!(arrive(&mut b), [1, 1, 1, 1]);
    let many = [MOVED; 33];
    assert_eq!(b.net.control(|| true).set_filter(&many, &[]), refused(Command::MacTableSet, Cause::TooMany));
}

#[test]
fn a_device_that_asks_for_an_announcement_is_told_that_it_was_made() {
    let lan = Lan::two();
    let announces = Options { features: F::CTRL_VQ | F::GUEST_ANNOUNCE, ..options(RingFormat::default()) };
    let mut a = lan.start(0, announces);
    assert_eq!(a.net.link(), LinkStatus::LINK_UP | LinkStatus::ANNOUNCE);
    assert_eq!(a.net.control(|| true).announced(), Ok(()));
    assert_eq!(a.net.link(), LinkStatus::LINK_UP);
    assert_eq!(a.net.control(|| true).set_promiscuous(true), refused(Command::Promiscuous, Cause::NotOffered));
}

#[test]
fn without_a_control_queue_every_command_says_so() {
    let lan = Lan::two();
    let mut a = lan.start(0, Options { features: F::empty(), ..options(RingFormat::default()) });
    assert!(!a.net.features().intersects(F::CTRL_VQ | F::CTRL_RX | F::CTRL_MAC_ADDR));
    let mut control = a.net.control(|| true);
    assert_eq!(control.set_mac(MOVED), refused(Command::MacAddrSet, Cause::NotOffered));
    assert_eq!(control.set_promiscuous(true), refused(Command::Promiscuous, Cause::NotOffered));
    assert_eq!(control.set_allmulticast(true), refused(Command::AllMulticast, Cause::NotOffered));
    assert_eq!(control.set_filter(&[], &[]), refused(Command::MacTableSet, Cause::NotOffered));
    assert_eq!(control.announced(), refused(Command::AnnounceAck, Cause::NotOffered));
    assert_eq!(a.net.link(), LinkStatus::LINK_UP);
}

#[test]
fn a_device_that_does_not_answer_is_waited_for_as_long_as_the_caller_likes() {
    let lan = Lan::two();
    let mut a = lan.start(0, options(RingFormat::default()));
    lan.asleep.set(true);
    let mut looks = 0;
    let answer = a.net.control(|| {
        looks += 1;
        looks < 10
    });
    let mut answer = answer;
    assert_eq!(answer.set_promiscuous(true), refused(Command::Promiscuous, Cause::Silent));
    assert_eq!(looks, 10);
    lan.asleep.set(false);
    assert_eq!(a.net.control(|| true).set_promiscuous(true), refused(Command::Promiscuous, Cause::Silent), "no more");
    a.net.restart().expect("the same device");
    assert_eq!(a.net.control(|| true).set_promiscuous(true), Ok(()));
}
