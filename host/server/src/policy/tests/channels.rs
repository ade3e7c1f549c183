//! Channels in policies.

use super::*;
use crate::policy::channels::Kind;

/// Two VMs, and a channel with these keys at line 11.
fn channel(keys: &str) -> String {
    two("mac = \"02:00:00:00:00:02\"\nlan = []") + &format!("[[channel]]\nname = \"c.1\"\n{keys}\n")
}

#[test]
fn a_channel_means_what_it_says() {
    let keys = "kind = \"packets\"\nring_kib = 64\nfile = \"/dev/shm/c\"\nwriter = { mode = 0o660 }\n\
                reader = { socket = \"r.sock\", mode = 0o666 }";
    let policy = Policy::parse(&channel(keys)).expect("a policy");
    let Channel { memory, sockets: [reader, writer] } = &policy.channels[0];
    assert_eq!(
        (memory.name.as_ref(), memory.kind, memory.capacity, memory.huge),
        ("c.1", Kind::Packets, 65_536, false)
    );
    assert_eq!(memory.file.as_deref(), Some(Path::new("/dev/shm/c")));
    assert_eq!((reader.path.to_str(), reader.mode), (Some("/f/r.sock"), 0o666));
    assert_eq!((writer.path.to_str(), writer.mode), (Some("/f/c.1.writer"), 0o660));
    let meaning = policy.meaning().to_string();
    for part in [
        "channel c.1: packets, a ring of 64 KiB\n    readers at /f/r.sock, mode 0666\n",
        "    the writer at /f/c.1.writer, mode 0660\n    in /dev/shm/c: whoever may write the file can cut it",
    ] {
        assert!(meaning.contains(part), "{meaning}");
    }
    let alone = "[[channel]]\nname = \"c\"\nkind = \"bytes\"\nring_kib = 4\nhuge = true";
    let policy = Policy::parse(alone).expect("a policy without VMs");
    assert!(policy.meaning().to_string().contains("a ring of 4 KiB, in huge pages if there are some\n"));
    assert_eq!(policy.channels[0].sockets.each_ref().map(|it| it.mode), [0o600, 0o600]);
}

#[test]
fn what_is_wrong_with_a_channel_is_named_with_its_line() {
    let right = "kind = \"bytes\"\nring_kib = 4";
    let other = |keys: &str| format!("{right}\n[[channel]]\nname = \"d\"\n{right}\n{keys}");
    for (keys, line, what) in [
        ("kind = \"bytes\"", 11, "missing field `ring_kib`"),
        ("ring_kib = 4", 11, "missing field `kind`"),
        ("ring_kib = 4\nkind = \"frames\"", 14, "unknown variant `frames`, expected `bytes` or `packets`"),
        ("kind = \"bytes\"\nring_kib = 5", 14, "channel \"c.1\": ring_kib: 5; a power of two from 4 to 4194304"),
        ("kind = \"bytes\"\nring_kib = 2", 14, "ring_kib: 2"),
        ("kind = \"bytes\"\nring_kib = 8388608", 14, "ring_kib: 8388608"),
        ("kind = \"bytes\"\nring_kib = 18446744073709551615", 14, "ring_kib: 18446744073709551615"),
        (&format!("{right}\nhuge = true\nfile = \"f\""), 15, "huge: a file has the pages of its file system"),
        (&format!("{right}\nreader = {{ mode = 660 }}"), 15, "reader: mode 0o1224; 0o600 to 0o777 are possible"),
        (&format!("{right}\nwriter = {{ mode = 0o060 }}"), 15, "writer: mode 0o60; 0o600"),
        (&format!("{right}\nwriter = {{ group = \"x\" }}"), 15, "unknown field `group`"),
        (
            &format!("{right}\nreader = {{ socket = \"a.sock\" }}"),
            15,
            "reader \"/f/a.sock\": it is the socket of vm \"a\"",
        ),
        (&format!("{right}\nreader = {{ socket = \"{}\" }}", "s".repeat(106)), 15, "at most 107 are possible"),
        (&format!("{right}\nfile = \"control.sock\""), 15, "file \"/f/control.sock\": it is the control socket"),
        (&other("writer = { socket = \"c.1.reader\" }"), 19, "it is the reader of channel \"c.1\""),
        (&other("").replace("\"d\"", "\"c.1\""), 16, "channel \"c.1\": name: used twice"),
        (&other("").replace("\"d\"", "\".d\""), 16, "channel \".d\": name: a channel's name can't have '.' at byte 0"),
        (&format!("{right}\npages = 2"), 15, "unknown field `pages`"),
    ] {
        let (found, why) = refused(&channel(keys));
        assert!(found == line && why.contains(what), "{keys}: line {found}: {why}");
    }
    let many =
        |count: usize| -> String { (0..count).map(|at| format!("[[channel]]\nname = \"n{at}\"\n{right}\n")).collect() };
    assert!(Policy::parse(&many(64)).is_ok());
    assert_eq!(refused(&many(65)), (64 * 4 + 2, "[[channel]]: 65 channels; at most 64 are possible".into()));
}
