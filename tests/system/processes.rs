//! VNFs as processes: captures of every kind, files that can't be written, peers that start again.

use crate::build_hosted;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use xtask::artifacts;

/// A run of the launcher in a folder of its own.
struct Run {
    folder: TempDir,
    manifest: String,
}

impl Run {
    fn new() -> Self {
        build_hosted();
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["images", "files", "out"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        for image in ["pcap", "forward"] {
            symlink(artifacts::hosted().join(image), folder.path().join("images").join(image)).expect("a link");
        }
        Self { folder, manifest: String::new() }
    }

    /// `a` sends `capture` to `b`. `mtu` bounds the length of frames.
    fn pair(capture: &[u8], mtu: u16) -> Self {
        let run = Self::new().vm("a", "pcap", "send x.pcap", "peers = [\"b\"]\nmodules = [\"x.pcap\"]");
        fs::write(run.path("files/x.pcap"), capture).expect("a capture");
        run.vm("b", "pcap", "receive y.pcap", &format!("mtu = {mtu}"))
    }

    fn vm(mut self, name: &str, image: &str, args: &str, rest: &str) -> Self {
        self.manifest += &format!(
            "[[vm]]\nname = \"{name}\"\nram_mib = 4\nimage = \"{image}\"\nargs = \"{args}\"\n\
             gate = \"direct\"\n{rest}\n"
        );
        self
    }

    /// Writes an image that is a shell script.
    fn script(self, name: &str, text: &str) -> Self {
        let path = self.path("images").join(name);
        fs::write(&path, format!("#!/bin/sh\ncd \"$SLUICE_OUT\"\n{text}\n")).expect("a script");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the verdict.
    fn verdict(&self) -> String {
        fs::write(self.path("manifest.toml"), &self.manifest).expect("a manifest");
        let mut command = Command::new(artifacts::hosted().join("sluice-launcher"));
        command.arg("--images").arg(self.path("images")).arg("--files").arg(self.path("files"));
        command.arg("--out").arg(self.path("out")).args(["--timeout", "300"]).arg(self.path("manifest.toml"));
        let output = command.stdin(Stdio::null()).output().expect("the launcher");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let verdict = text.lines().last().and_then(|line| line.strip_prefix("[launcher] RESULT ")).unwrap_or(&text);
        assert_eq!(output.status.success(), verdict == "pass", "{text}");
        verdict.to_owned()
    }

    /// Returns the names of files that were written.
    fn written(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("out")).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

/// Returns a frame of `len` bytes, with an EtherType if there is room for it.
fn frame(len: usize, ether_type: u16) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|at| at as u8).collect();
    if let Some(bytes) = frame.get_mut(12..14) {
        bytes.copy_from_slice(&ether_type.to_be_bytes());
    }
    frame
}

/// Returns a capture of `frames`, each with its length on the network. `words` makes the bytes of a number.
fn capture(words: fn(u32) -> [u8; 4], magic: u32, snaplen: u32, frames: &[(Vec<u8>, u32)]) -> Vec<u8> {
    let version = if words(1) == 1u32.to_le_bytes() { [2, 0, 4, 0] } else { [0, 2, 0, 4] };
    let mut file = [words(magic), version, words(0), words(0), words(snaplen), words(1)].concat();
    for (number, (frame, original)) in (0..).zip(frames) {
        file.extend([words(number), words(7 * number), words(frame.len() as u32), words(*original)].concat());
        file.extend(frame);
    }
    file
}

fn little(frames: &[(Vec<u8>, u32)]) -> Vec<u8> {
    capture(u32::to_le_bytes, 0xa1b2_c3d4, 65_535, frames)
}

fn whole(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<(Vec<u8>, u32)> {
    frames.into_iter().map(|frame| (frame.clone(), frame.len() as u32)).collect()
}

#[track_caller]
fn arrives(capture: &[u8], mtu: u16) {
    let run = Run::pair(capture, mtu);
    assert_eq!(run.verdict(), "pass");
    assert!(fs::read(run.path("out/y.pcap")).expect("a file") == capture, "another file");
    assert_eq!(run.written(), ["y.pcap"]);
}

#[test]
fn captures_of_every_kind_arrive_byte_for_byte() {
    let empty_and_cut = [(vec![], 0), (frame(60, 0x800), 60), (vec![], 1500), (frame(20, 0x800), 9000)];
    let empty_and_cut: Vec<_> = empty_and_cut.iter().cycle().take(300).cloned().collect();
    for (words, magic) in [
        (u32::to_le_bytes as fn(u32) -> [u8; 4], 0xa1b2_c3d4),
        (u32::to_be_bytes, 0xa1b2_c3d4),
        (u32::to_le_bytes, 0xa1b2_3c4d),
        (u32::to_be_bytes, 0xa1b2_3c4d),
    ] {
        arrives(&capture(words, magic, 96, &empty_and_cut), 1500);
    }
    arrives(&little(&[]), 1500);
    arrives(&little(&whole((1..200).map(|len| frame(len, 0x86dd)))), 1500);
    let mut twice = frame(1522, 0x88a8);
    twice[16..18].copy_from_slice(&[0x81, 0x00]);
    arrives(&little(&whole([frame(1906, 0x800), frame(60, 0x800)])), 1892);
    arrives(&little(&whole([frame(1514, 0x800), frame(1518, 0x8100), frame(1518, 0x88a8), twice])), 1500);
}

/// The frames that these programs announce records with are frames like any others in a capture.
#[test]
fn a_capture_of_such_a_transfer_arrives() {
    let announcement = |kind: u8| {
        let mut frame = frame(80, 0x88b5);
        frame[14..22].copy_from_slice(b"SluicePc");
        frame[22..36].fill(0);
        frame[22] = kind;
        frame
    };
    arrives(&little(&whole((0..5).cycle().take(300).map(announcement))), 1500);
}

#[test]
fn what_the_programs_tell_each_other_fits_the_smallest_mtu() {
    arrives(&little(&whole((0..100).map(|len| frame(len % 83, 0x800)))), 68);
}

/// The capture is far larger than the RAM of either VM.
#[test]
fn a_capture_of_any_size_streams() {
    arrives(&little(&whole((0..30_000).map(|number| frame(900 + number % 600, 0x800)))), 1500);
}

#[test]
fn a_capture_that_can_not_be_sent_names_record_and_byte_and_leaves_nothing() {
    let first = frame(60, 0x800);
    let two = |second: Vec<u8>| whole([first.clone(), second]);
    let mut longer = little(&two(frame(60, 0x800)));
    longer[108] = 61;
    let cases = [
        (
            little(&two(frame(1515, 0x800))),
            1500,
            "record 2, byte 100: a frame of 1515 bytes is longer than the peer takes, which is 1514",
        ),
        (
            little(&two(frame(1519, 0x8100))),
            1500,
            "record 2, byte 100: a frame of 1519 bytes is longer than the peer takes, which is 1518",
        ),
        (
            little(&two(frame(83, 0x800))),
            68,
            "record 2, byte 100: a frame of 83 bytes is longer than the peer takes, which is 82",
        ),
        (
            little(&two(frame(1907, 0x800))),
            1892,
            "record 2, byte 100: a frame of 1907 bytes is longer than the peer takes, which is 1906",
        ),
        (
            little(&two(frame(60, 0x800)))[..120].to_vec(),
            1500,
            "record 2, byte 120: truncated: 4 of 60 bytes of a record",
        ),
        (longer, 1500, "record 2, byte 108: 61 bytes captured of a frame of 60"),
        (capture(u32::to_le_bytes, 0x0a0d_0d0a, 0, &[]), 1500, "byte 0: not a pcap file: it starts with 0a 0d 0d 0a"),
        (vec![], 1500, "byte 0: truncated: 0 of 24 bytes of the file header"),
    ];
    for (file, mtu, why) in cases {
        let run = Run::pair(&file, mtu);
        let verdict = run.verdict();
        assert!(
            verdict.starts_with(&format!("fail: vm a exit code 1: error: x.pcap: {why}")),
            "{verdict}\nwanted {why}"
        );
        assert!(run.written().is_empty(), "{:?}", run.written());
    }
}

#[test]
fn a_file_that_can_not_be_written_in_full_fails_the_run() {
    // Some write errors appear while the file grows, and the last of them at its end only.
    let file = |frames: usize| little(&whole((0..frames).map(|_| frame(1000, 0x800))));
    for file in [file(100), file(1)] {
        let run = Run::pair(&file, 1500);
        symlink("/dev/full", run.path("out/y.pcap")).expect("a link");
        let verdict = run.verdict();
        assert!(verdict.starts_with("fail: vm b exit code 1: error: y.pcap: No space left on device"), "{verdict}");
    }
    let run = Run::pair(&file(1), 1500);
    fs::create_dir(run.path("out/y.pcap")).expect("a folder");
    let verdict = run.verdict();
    assert!(verdict.starts_with("fail: vm b exit code 1: error: y.pcap: "), "{verdict}");
}

/// The switch's capture is begun before anything starts.
#[test]
fn a_tap_that_can_not_be_written_fails_the_run() {
    let run = Run::new().vm("a", "forward", "", "tap = \"t.pcap\"");
    symlink("/dev/full", run.path("out/t.pcap")).expect("a link");
    assert_eq!(run.verdict(), "fail: vm \"a\": tap: No space left on device (os error 28)");
}

/// `b` is killed as soon as `forward` may have found it, and only its second life gets any frame.
#[test]
fn forward_goes_on_when_its_peer_is_back() {
    let file = little(&whole((0..1000).map(|number| frame(60 + number, 0x800))));
    let second =
        "if [ -e second ]; then exec \"${0%/*}/pcap\"; fi; \"${0%/*}/pcap\" & sleep 1; kill -9 $!; > second; exit 1";
    let run = Run::new()
        .script("late", "until [ -e second ]; do sleep 0.05; done; exec \"${0%/*}/pcap\"")
        .script("again", second)
        .vm("a", "late", "send x.pcap", "peers = [\"forward\"]\nmodules = [\"x.pcap\"]")
        .vm("forward", "forward", "b", "peers = [\"b\"]")
        .vm("b", "again", "receive y.pcap", "restarts = 1");
    fs::write(run.path("files/x.pcap"), &file).expect("a capture");
    assert_eq!(run.verdict(), "pass");
    assert!(fs::read(run.path("out/y.pcap")).expect("a file") == file);
}
