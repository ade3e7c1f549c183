//! What is wrong is said at once, with what and where; and what VMs say comes out whole.

use crate::common::{Launcher, finished};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::{ffi::OsStr, fs};

/// The verdict, which is a failure.
#[track_caller]
fn failure(launcher: &Launcher) -> String {
    let (exit, lines) = launcher.run();
    assert_eq!(exit, Some(1), "{lines:?}");
    let verdict = lines.last().cloned().unwrap_or_default();
    verdict.strip_prefix("[launcher] RESULT fail: ").expect("a verdict").to_owned()
}

#[test]
fn a_manifest_that_is_no_file_is_named() {
    let launcher = Launcher::new();
    let path = launcher.path("manifest.toml");
    let named = |why: &str| assert_eq!(failure(&launcher), format!("{}: {why}", path.display()));
    fs::create_dir(&path).expect("a folder");
    named("a folder, not a file");
    fs::remove_dir(&path).expect("a folder");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    named("a FIFO, not a file");
    fs::remove_file(&path).expect("a FIFO");
    std::os::unix::fs::symlink("/dev/zero", &path).expect("a link");
    named("a device, not a file");
    fs::remove_file(&path).expect("a link");
    fs::write(&path, [0xff; 9]).expect("a file");
    named("stream did not contain valid UTF-8");
    fs::write(&path, vec![b'\n'; (1 << 20) + 1]).expect("a file");
    named("longer than 1048576 bytes");
}

#[test]
fn an_image_that_can_not_be_executed_is_named_before_anything_starts() {
    let refused = |launcher: Launcher, why: &str| {
        let launcher = launcher.vm("first", "echo ran > $SLUICE_OUT/ran", "").named("a", "");
        let folder = launcher.path("images").display().to_string();
        assert_eq!(failure(&launcher), format!("vm \"a\": image \"a\": {why} in {folder}"));
        assert!(!launcher.path("out/ran").exists());
    };
    refused(Launcher::new(), "no such file");
    let plain = Launcher::new().file("images/a", b"#!/bin/sh\n", 0o644);
    refused(plain, "not a program that may be executed (Permission denied (os error 13))");
    for bytes in [&b""[..], b"echo I am no program", b"\x7fELF\x01\x01\x01", &[b"\x7fELF\x02", &[0; 60][..]].concat()] {
        refused(Launcher::new().file("images/a", bytes, 0o755), "neither a script (#!) nor an ELF program for x86-64");
    }
    let folder = Launcher::new();
    fs::create_dir(folder.path("images/a")).expect("a folder");
    refused(folder, "a folder, not a file");
}

/// Messages of four words by hand, as docs/interfaces.md has them: a run is added, refused by name, removed once.
#[test]
fn runs_of_packet_memory_come_and_go_and_are_refused_by_name() {
    let words = |numbers: [u8; 4]| numbers.map(|number| format!("\\{number:03o}\\000\\000\\000")).concat();
    let ask = |numbers| format!("printf '{}' >&3; dd bs=4 count=1 <&3 2>/dev/null | od -An -tx1", words(numbers));
    let (add, far, remove) = ([2, 0, 1, 0], [2, 2, 1, 1], [3, 0, 1, 0]);
    let script = [add, add, far, remove, remove, add].map(ask).join("\n");
    let (exit, lines) = Launcher::of(&script).run();
    let answers: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("[a]  ")).collect();
    assert_eq!(answers, ["08 00 00 00", "03 04 00 00", "03 02 00 00", "08 00 00 00", "03 06 00 00", "08 00 00 00"]);
    for said in [
        "run of 0x200000 bytes at GPA 0x0, offset 0x0: the run shares RAM or offsets with another run",
        "run of 0x200000 bytes at GPA 0x400000, offset 0x200000: the run is not within RAM",
        "run of 0x200000 bytes at offset 0x0: no run of this length starts at this offset",
    ] {
        let said = format!("[launcher] vm a: {said}");
        assert!(lines.iter().any(|line| line.starts_with(&said)), "{said}: {lines:#?}");
    }
    assert_eq!(exit, Some(0));
}

#[test]
fn an_image_that_does_not_start_is_named() {
    let launcher =
        Launcher::new().vm("b", "sleep 1000", "").file("images/a", b"#!/no/such/shell\n", 0o755).named("a", "");
    let path = launcher.path("images/a");
    let why = "the interpreter or loader that it names): No such file or directory (os error 2)";
    assert_eq!(failure(&launcher), format!("vm \"a\": image {} ({why}", path.display()));
}

#[test]
fn folders_of_the_command_line_that_are_not_there_are_named() {
    for name in ["images", "files", "out"] {
        let launcher = Launcher::of("exit 0");
        let path = launcher.path(name);
        fs::remove_dir_all(&path).expect("a folder");
        assert_eq!(failure(&launcher), format!("--{name} {}: no such folder", path.display()));
    }
}

/// Nothing can change the verdict then; others would wait for what never comes.
#[test]
fn a_vm_that_fails_ends_the_run_and_the_verdict_repeats_what_it_said() {
    let launcher = Launcher::new()
        .vm("a", "echo 'error: a wheel came off'; exit 3", "")
        .vm("b", "echo up; exec sleep 1000", "")
        .vm("c", "kill -s SEGV $$", "restarts = 1");
    let (exit, lines) = launcher.run();
    let verdict = "[launcher] RESULT fail: vm a exit code 3: error: a wheel came off";
    assert_eq!((exit, lines.last().map(String::as_str)), (Some(1), Some(verdict)));
    assert!(lines.contains(&"[launcher] vm b stopped with the run".into()), "{lines:?}");
    assert_eq!(failure(&Launcher::of("kill -s SEGV $$")), "vm a stopped: SIGSEGV");
}

#[test]
fn a_vm_starts_again_as_often_as_it_may_and_then_its_last_end_counts() {
    let script = "echo life >> $SLUICE_OUT/lives; [ $(wc -l < $SLUICE_OUT/lives) -gt 3 ]";
    let launcher = Launcher::new().vm("a", script, "restarts = 3");
    let (exit, lines) = launcher.run();
    assert_eq!((exit, launcher.lines_of("out/lives", 4).len()), (Some(0), 4), "{lines:?}");
    let again: Vec<_> = (1..=3).map(|n| format!("[launcher] vm a starts again, {n} of 3")).collect();
    assert_eq!(lines.iter().filter(|line| line.contains("again")).cloned().collect::<Vec<_>>(), again);
}

#[test]
fn what_a_vm_prints_comes_out_in_whole_lines() {
    let script = r"printf 'one\ntwo\377\n\nno end'; exec >&-; echo closed > $SLUICE_OUT/closed";
    let (exit, lines) = Launcher::of(script).run();
    assert_eq!(
        (exit, &lines[1..5]),
        (Some(0), &["[a] one", "[a] two\u{fffd}", "[a] ", "[a] no end"].map(String::from)[..])
    );
    let flood = "head -c 300000 /dev/zero | tr '\\0' x";
    let (_, lines) = Launcher::of(flood).run();
    let lengths: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("[a] ")).map(str::len).collect();
    assert_eq!((lengths.iter().sum::<usize>(), lengths[0]), (300_000, 1 << 16));
}

#[test]
fn names_and_folders_need_no_encoding() {
    let launcher =
        Launcher::new().vm("a", "cat \"$SLUICE_FILES/$SLUICE_MODULES\" > \"$SLUICE_OUT/copy\"", "modules = [\"m\"]");
    let odd = launcher.folder.path().join(OsStr::from_bytes(b"odd \xff\n folder"));
    fs::create_dir(&odd).expect("a folder");
    fs::write(odd.join("m"), "text").expect("a file");
    let output = launcher.command_with(&[], &odd, &odd).output().expect("the launcher");
    assert_eq!(finished(&output).0, Some(0), "{output:?}");
    assert_eq!(fs::read_to_string(odd.join("copy")).expect("a copy"), "text");
}

/// Only where there is a choice a processor is named, and never one outside the mask.
#[test]
fn a_vm_is_told_no_processor_that_it_may_not_use() {
    let launcher = Launcher::new().vm("a", "echo cpu=$SLUICE_CPU", "cpu = 7");
    let (_, lines) = launcher.run();
    let told = lines.iter().find_map(|line| line.strip_prefix("[a] cpu=")).expect("a line").to_owned();
    let mask = Command::new("sh").args(["-c", "taskset -cp $$"]).output().expect("taskset");
    let mask = String::from_utf8_lossy(&mask.stdout).into_owned();
    let first = mask.rsplit(": ").next().and_then(|list| list.trim().split([',', '-']).next()).expect("a processor");
    let (_, lines) = finished(&launcher.command_behind(&["taskset", "-c", first]).output().expect("the launcher"));
    assert!(lines.contains(&"[a] cpu=".into()), "{lines:?}, else {told}");
}
