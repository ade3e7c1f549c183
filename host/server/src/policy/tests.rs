//! Policies that are refused, each with the line that is wrong.

use super::*;

mod channels;
mod processes;
mod switches;

/// Two VMs that may send to each other, with these keys for the second.
fn two(keys: &str) -> String {
    format!(
        "[server]\nfolder = \"/f\"\n[[vm]]\nname = \"a\"\nmac = \"02:00:00:00:00:01\"\nlan = [\"b\"]\n\
         [[vm]]\nname = \"b\"\n{keys}\n"
    )
}

/// The line number and the message of what is wrong.
#[track_caller]
fn refused(text: &str) -> (usize, String) {
    let wrong = Policy::parse(text).expect_err("it is wrong");
    (text[..wrong.at].matches('\n').count() + 1, wrong.what)
}

#[test]
fn a_policy_means_what_it_says() {
    let keys = "mac = \"02:00:00:00:00:02\"\nmacs = [\"any\"]\npairs = 2\nmtu = 9000\nlan = [\"a\"]\n\
                socket = \"/s/b\"\nlimit = { packets_per_second = 5 }\ncapture = \"b.pcap\"";
    let policy = Policy::parse(&two(keys)).expect("a policy");
    let [a, b] = &policy.vms[..] else { panic!("two VMs") };
    assert_eq!((a.socket.to_str(), b.socket.to_str()), (Some("/f/a.sock"), Some("/s/b")));
    assert_eq!((a.lan.clone(), b.lan.clone(), a.pairs, b.pairs, a.mtu, b.mtu), (vec![1], vec![0], 1, 2, 1500, 9000));
    assert_eq!((b.macs.clone(), b.limit.packets_per_second), (Addresses::Any, Some(5)));
    assert_eq!((policy.control.to_str(), policy.ageing.as_secs()), (Some("/f/control.sock"), 300));
    assert_eq!(b.capture.as_deref().and_then(Path::to_str), Some("/f/b.pcap"));
}

#[test]
fn who_says_nothing_may_send_to_nobody() {
    let policy = Policy::parse(&two("mac = \"02:00:00:00:00:02\"")).expect("a policy");
    assert_eq!(policy.vms[1].lan, [0; 0]);
    assert!(policy.meaning().to_string().contains("gets no answer from b"), "{}", policy.meaning());
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let mac = "mac = \"02:00:00:00:00:02\"";
    for (keys, line, what) in [
        ("mac = \"02:00:00:00:00:01\"", 9, "mac 02:00:00:00:00:01: an address of vm \"a\""),
        ("mac = \"03:00:00:00:00:02\"", 9, "not those of a group"),
        ("mac = \"02:00:00:00:00\"", 9, "six bytes in hexadecimal"),
        ("", 7, "missing field `mac`"),
        (&format!("{mac}\nlan = [\"c\"]"), 10, "vm \"b\": lan \"c\": no such vm"),
        (&format!("{mac}\nlan = [\"b\"]"), 10, "lan \"b\": the switch forwards nothing"),
        (&format!("{mac}\nlan = [\n\"a\",\n\"a\"]"), 12, "lan \"a\": named twice"),
        (&format!("{mac}\nsocket = \"a.sock\""), 10, "socket \"/f/a.sock\": it is the socket of vm \"a\""),
        (&format!("{mac}\nsocket = \"control.sock\""), 10, "it is the control socket"),
        (&format!("{mac}\nsocket = \"{}\"", "s".repeat(106)), 10, "at most 107 are possible"),
        (&format!("{mac}\ncapture = \"b.sock\""), 10, "capture \"/f/b.sock\": it is the socket of vm \"b\""),
        (&format!("{mac}\nmacs = [\"02:00:00:00:00:01\"]"), 10, "macs 02:00:00:00:00:01: an address of vm \"a\""),
        (&format!("{mac}\npairs = 64"), 10, "pairs: 64; 1 to 63 are possible"),
        (&format!("{mac}\npairs = 0"), 10, "pairs: 0"),
        (&format!("{mac}\nmtu = 67"), 10, "mtu: 67; 68 to 65517 are possible"),
        (&format!("{mac}\nlimit = {{ bits_per_second = 0 }}"), 10, "limit: a rate of 0"),
        (&format!("{mac}\nlimit = {{ frames = 1 }}"), 10, "unknown field `frames`"),
        (&format!("{mac}\nnmae = 1"), 10, "unknown field `nmae`"),
        (&format!("{mac}\n[[vm]]\nname = \"a\"\nmac = \"02:00:00:00:00:03\""), 11, "vm \"a\": name: used twice"),
        (&format!("{mac}\n[[vm]]\nname = \"A\"\nmac = \"02:00:00:00:00:03\""), 11, "name: a-z"),
        ("mac = 1 2", 9, ""),
    ] {
        let (found, why) = refused(&two(keys));
        assert!(found == line && why.contains(what), "{keys}: line {found}: {why}");
    }
}

#[test]
fn a_policy_of_nobody_or_of_too_many_is_refused() {
    assert_eq!(refused("").1, "[[vm]]: 0 VMs; 1 to 256 are possible");
    let vm = |id: usize| format!("[[vm]]\nname = \"v{id}\"\nmac = \"02:00:00:00:{:02x}:{:02x}\"\n", id >> 8, id & 255);
    let most: String = (1..=256).map(vm).collect();
    assert!(Policy::parse(&most).is_ok());
    assert_eq!(refused(&(most + &vm(257))).1, "[[vm]]: 257 VMs; 1 to 256 are possible");
}

/// Two VMs, and a tap with these keys at line 11.
fn tap(keys: &str) -> String {
    two("mac = \"02:00:00:00:00:02\"\nlan = [\"up\"]") + &format!("[[tap]]\nname = \"up\"\n{keys}\n")
}

#[test]
fn a_tap_means_what_it_says_and_is_a_port_behind_the_vms() {
    let keys =
        "device = \"tap0\"\nlan = [\"a\"]\nmtu = 9000\nlimit = { packets_per_second = 5 }\ncapture = \"up.pcap\"";
    let policy = Policy::parse(&tap(keys)).expect("a policy");
    let up = &policy.taps[0];
    assert_eq!((up.device.as_str(), up.line, up.mtu, up.macs.clone()), ("tap0", 13, 9000, Addresses::Any));
    assert_eq!((up.lan.clone(), policy.vms[1].lan.clone(), policy.ports()), (vec![0], vec![2], 3));
    assert_eq!((policy.name(1), policy.name(2), policy.name(3)), (Some("b"), Some("up"), None));
    assert_eq!((up.limit.packets_per_second, up.capture.as_deref()), (Some(5), Some(Path::new("/f/up.pcap"))));
    let meaning = policy.meaning().to_string();
    for part in [
        "tap up: device tap0 of the host's network, MTU 9000\n    sends to a, from any address that is no vm's",
        "    at most 5 packets a second\n    captured to /f/up.pcap",
        "    sends to up\n    gets no answer from up",
    ] {
        assert!(meaning.contains(part), "{meaning}");
    }
}

#[test]
fn what_is_wrong_with_a_tap_is_named_with_its_line() {
    for (keys, line, what) in [
        ("", 11, "missing field `device`"),
        ("device = \"\"", 13, "tap \"up\": device: \"\"; the name of a device has 1 to 15 bytes"),
        ("device = \"0123456789abcdef\"", 13, "1 to 15 bytes"),
        ("device = \"tap%d\"", 13, "without / : %"),
        ("device = \"a b\"", 13, "device: \"a b\""),
        ("device = \"..\"", 13, "device: \"..\""),
        ("device = \"t\"\nlan = [\"c\"]", 14, "tap \"up\": lan \"c\": no such vm or tap"),
        ("device = \"t\"\nlan = [\"up\"]", 14, "the switch forwards nothing to the port that it comes from"),
        ("device = \"t\"\nlan = [\"a\", \"a\"]", 14, "named twice"),
        ("device = \"t\"\nmtu = 67", 14, "tap \"up\": mtu: 67; 68 to 65517 are possible"),
        ("device = \"t\"\nlimit = { bits_per_second = 0 }", 14, "tap \"up\": limit: a rate of 0"),
        ("device = \"t\"\ncapture = \"a.sock\"", 14, "capture \"/f/a.sock\": it is the socket of vm \"a\""),
        ("device = \"t\"\nmacs = [\"02:00:00:00:00:02\"]", 14, "macs 02:00:00:00:00:02: an address of vm \"b\""),
        ("device = \"t\"\npairs = 2", 14, "unknown field `pairs`"),
        (
            "device = \"t\"\n[[tap]]\nname = \"x\"\ndevice = \"t\"",
            16,
            "tap \"x\": device: \"t\": it is the device of tap \"up\"",
        ),
        ("device = \"t\"\n[[tap]]\nname = \"b\"\ndevice = \"u\"", 15, "tap \"b\": name: used twice"),
        ("device = \"t\"\n[[tap]]\nname = \"B\"\ndevice = \"u\"", 15, "tap \"B\": name: a-z"),
    ] {
        let (found, why) = refused(&tap(keys));
        assert!(found == line && why.contains(what), "{keys}: line {found}: {why}");
    }
    let many: String = (0..64).map(|id| format!("[[tap]]\nname = \"t{id}\"\ndevice = \"t{id}\"\n")).collect();
    assert!(
        Policy::parse(
            &(tap("device = \"t\"").replace("[[tap]]\nname = \"up\"\ndevice = \"t\"", "").replace("\"up\"", "\"t0\"")
                + &many)
        )
        .is_ok()
    );
    assert_eq!(refused(&(tap("device = \"t\"") + &many)).1, "[[tap]]: 65 taps; at most 64 are possible");
}
