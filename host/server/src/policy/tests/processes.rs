//! VMs that are processes, and their peers.

use super::*;

/// A VM g with these keys, from line 7 on, b and c.
fn three(keys: &str) -> String {
    let rest = "[[vm]]\nname = \"b\"\nmac = \"02:00:00:00:00:02\"\n[[vm]]\nname = \"c\"\nmac = \"02:00:00:00:00:03\"\n";
    format!("[server]\nfolder = \"/f\"\n\n[[vm]]\nname = \"g\"\nmac = \"02:00:00:00:00:01\"\n{keys}\n{rest}")
}

const RAM: &str = "ram_mib = 32";

#[test]
fn a_vm_has_a_pair_for_the_switch_and_one_for_each_that_writes_into_its_memory() {
    let text = three(&format!("{RAM}\npeers = [\"c\", \"b\"]"));
    let text = text.replace("name = \"b\"\n", "name = \"b\"\nram_mib = 2\npeers = [\"c\"]\n");
    let policy = Policy::parse(&text).expect("a policy");
    let [g, b, c] = &policy.vms[..] else { panic!("three VMs") };
    assert_eq!([g.ram_len, b.ram_len, c.ram_len], [Some(32 << 20), Some(2 << 20), None]);
    assert_eq!([&g.peers[..], &b.peers[..], &c.peers[..]], [&[2, 1][..], &[2], &[]]);
    assert_eq!([g.pairs, b.pairs, c.pairs], [1, 2, 3]);
    let with = text.replace("name = \"c\"\n", "name = \"c\"\npairs = 5\n");
    assert_eq!(Policy::parse(&with).expect("more are possible").vms[2].pairs, 5);
}

#[test]
fn what_is_wrong_with_a_process_is_named_with_its_line() {
    let many: Vec<_> = (0..65).map(|id| format!("\"v{id}\"")).collect();
    let vms: String =
        (0..65).map(|id| format!("[[vm]]\nname = \"v{id}\"\nmac = \"02:00:00:00:01:{id:02x}\"\n")).collect();
    for (keys, line, what) in [
        ("ram_mib = 0", 7, "vm \"g\": ram_mib: an even number from 2 to 1024 is needed"),
        ("ram_mib = 33", 7, "ram_mib: an even number"),
        ("ram_mib = 1026", 7, "ram_mib: an even number"),
        ("ram_mib = 4294967295", 7, "ram_mib: an even number"),
        ("ram_mib = -2", 7, "invalid value"),
        ("peers = [\"b\"]", 7, "vm \"g\": peers: only a process has some: a VM with ram_mib"),
        ("window_file = \"w\"", 7, "vm \"g\": window_file: only a program has one: a VM with ram_mib"),
        ("ram_mib = 64\nwindow_file = \"w\"", 7, "ram_mib: beside window_file a power of two less 2 is needed: 30, 62"),
        ("ram_mib = 62\nwindow_file = \"g.sock\"", 8, "window_file \"/f/g.sock\": it is the socket of vm \"g\""),
        (&format!("{RAM}\npeers = [\"b\",\n\"x\"]"), 9, "vm \"g\": peers \"x\": no such vm"),
        (&format!("{RAM}\npeers = [\"b\",\n\"g\"]"), 9, "peers \"g\": a vm can't be its own peer"),
        (&format!("{RAM}\npeers = [\n\"b\",\n\"b\"]"), 10, "peers \"b\": named twice"),
        (&format!("{RAM}\npeers = [{}]\n{vms}", many.join(",")), 8, "vm \"g\": peers: 65; at most 64 are possible"),
        (&format!("{RAM}\npeers = \"b\""), 8, "invalid type"),
        (&format!("{RAM}\npeer = [\"b\"]"), 8, "unknown field `peer`"),
    ] {
        let (found, why) = refused(&three(keys));
        assert!(found == line && why.contains(what), "{keys}: line {found}: {why}");
    }
}

#[test]
fn a_process_with_too_few_pairs_for_its_senders_is_refused() {
    let text = three(&format!("{RAM}\npeers = [\"c\"]"));
    let front_end = text.replace("name = \"c\"\n", "name = \"c\"\npairs = 1\n");
    assert_eq!(Policy::parse(&front_end).expect("they share one").vms[2].pairs, 1);
    for (pairs, fits) in [(1, false), (2, true), (63, true)] {
        let keys = format!("name = \"c\"\npairs = {pairs}\n{RAM}\n");
        let text = text.replace("name = \"c\"\n", &keys);
        if fits {
            assert!(Policy::parse(&text).is_ok());
        } else {
            let what = "vm \"c\": pairs: 1; 2 are needed: one for the switch, and one for each sender";
            assert_eq!(refused(&text), (14, what.into()));
        }
    }
    let sender = |id: usize| {
        let mac = format!("mac = \"02:00:00:00:01:{id:02x}\"");
        format!("[[vm]]\nname = \"v{id}\"\n{mac}\n{RAM}\npeers = [\"c\"]\n")
    };
    let senders = |count: usize| three("") + &(0..count).map(sender).collect::<String>();
    assert_eq!(Policy::parse(&senders(62)).expect("a policy").vms[2].pairs, 63);
    assert!(refused(&senders(63)).1.contains("pairs: 64; 1 to 63 are possible"));
}

#[test]
fn a_policy_says_who_writes_into_whose_memory() {
    let policy = Policy::parse(&three(&format!("{RAM}\npeers = [\"c\", \"b\"]"))).expect("a policy");
    let text = policy.meaning().to_string();
    assert!(text.contains("vm g: 02:00:00:00:00:01 at /f/g.sock\n    queue pairs: 1, MTU 1500\n"), "{text}");
    assert!(text.contains("    a process with 32 MiB of RAM\n"), "{text}");
    assert!(text.contains("    writes into the memory of c, b: nothing protects them from it\n"), "{text}");
    assert_eq!(text.matches("a process with").count(), 1, "{text}");
    let json = serde_json::to_value(policy.meaning()).expect("JSON");
    let of = |id: usize, key: &str| json["vms"][id][key].clone();
    assert_eq!((of(0, "ram_bytes"), of(0, "peers")), ((32 << 20).into(), serde_json::json!(["c", "b"])));
    assert_eq!((of(1, "ram_bytes"), of(1, "peers"), of(1, "pairs")), (().into(), serde_json::json!([]), 2.into()));
}

/// A session goes on over a reload only if it would be the same.
#[test]
fn what_is_connected_goes_on_as_what_it_was() {
    let old = three(&format!("{RAM}\npeers = [\"c\"]"));
    let policy = |text: &str| Policy::parse(text).expect("a policy");
    let goes_on = |new: &str, id: usize| policy(&old).before(&policy(new), id).is_some();
    assert!((0..3).all(|id| goes_on(&old, id)));
    let more = old.replace(RAM, "ram_mib = 64");
    assert_eq!([0, 1, 2].map(|id| goes_on(&more, id)), [false, true, true], "a process has its RAM for its life");
    let other = three(&format!("{RAM}\npeers = [\"b\"]"));
    assert_eq!([0, 1, 2].map(|id| goes_on(&other, id)), [false; 3]);
    // With the same number of pairs it makes no difference who fills them.
    let pairs = three("").replace("name = \"c\"\n", "name = \"c\"\npairs = 2\n");
    assert!(goes_on(&pairs, 2) && !goes_on(&three(""), 2));
}

#[test]
fn a_program_in_a_vm_has_a_file_and_peers_whose_memory_can_be_a_device() {
    let text = three("ram_mib = 62\nwindow_file = \"g.window\"\npeers = [\"b\"]");
    let policy = Policy::parse(&text).expect("a policy");
    assert_eq!(policy.vms[0].window(), Some((Path::new("/f/g.window"), 64 << 20)));
    assert!(policy.meaning().to_string().contains("62 MiB of RAM: /f/g.window, 64 MiB"), "{}", policy.meaning());
    let (line, what) = refused(&text.replace("name = \"b\"\n", "name = \"b\"\nram_mib = 2\n"));
    assert_eq!((line, &*what), (9, "vm \"g\": peers: \"b\" is no VM whose memory could be an ivshmem device"));
}
