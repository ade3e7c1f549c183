//! Policies that are refused, each with the line that is wrong.

use super::*;

mod processes;

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
