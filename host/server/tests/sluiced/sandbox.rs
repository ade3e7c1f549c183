//! What a server can't do any more when it serves.

use crate::lab::*;
use rustix::process::Signal;
use std::fs;
use std::process::Command;
use std::time::Instant;

/// The values of `key` in the states of all threads of the server.
fn states(lab: &Lab, key: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", lab.child.id())).expect("threads");
    let state = |thread: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.expect("a thread").path().join("status")).expect("a state");
        let value = |line: &str| line.strip_prefix(key)?.strip_prefix(':').map(|value| value.trim().to_owned());
        text.lines().find_map(value).expect("the key")
    };
    threads.map(state).collect()
}

/// Returns the line of the log about the sandbox, once the thread that writes the log has written it.
fn said(lab: &Lab) -> String {
    let start = Instant::now();
    loop {
        let log = fs::read_to_string(lab.file("log")).expect("a log");
        if let Some(line) = log.lines().find(|line| line.contains("sandbox: ")) {
            return line.to_owned();
        }
        assert!(start.elapsed() < PATIENCE, "{log}");
        std::thread::yield_now();
    }
}

/// Whether the kernel keeps the server to its files. Says so if not.
fn has_landlock(lab: &Lab) -> bool {
    let said = said(lab);
    let has = said.contains("files by landlock ABI ");
    if !has {
        println!("skipped: {said}");
    }
    has
}

#[test]
fn all_threads_of_a_server_have_the_filter_and_get_no_rights_back() {
    let lab = Lab::new(&pair());
    assert!(said(&lab).contains("sandbox: system calls by seccomp, files by "), "{}", said(&lab));
    assert_eq!(states(&lab, "Seccomp"), ["2", "2"], "the server, and its log");
    assert_eq!(states(&lab, "NoNewPrivs"), ["1", "1"]);
    let lab = Lab::with_words(&pair(), &["--sandbox", "off"]);
    assert!(said(&lab).contains("sandbox: off"), "{}", said(&lab));
    assert_eq!(states(&lab, "Seccomp"), ["0", "0"]);
}

#[test]
fn a_policy_with_files_outside_of_the_sandbox_is_refused_with_the_reason() {
    let mut lab = Lab::new(&pair());
    if !has_landlock(&lab) {
        return;
    }
    let outside = tempfile::tempdir().expect("a folder");
    for (key, file) in [("capture", "a.pcap"), ("socket", "z.sock")] {
        let path = outside.path().join(file);
        lab.policy(&vm('a', &format!("{key} = \"{}\"", path.display())));
        let output = lab.ask(&["reload"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let why = format!(
            "{key} {}: Permission denied (os error 13); the sandbox has the server make files in {}",
            path.display(),
            lab.file("").display().to_string().trim_end_matches('/')
        );
        assert!(output.status.code() == Some(1) && error.contains(&why), "{error}");
        assert!(!path.exists());
    }
    // The policy's own folder may be used, and the server has been told nothing else.
    lab.policy(&(vm('a', "capture = \"a.pcap\"") + &vm('c', "")));
    assert!(lab.ask(&["reload"]).status.success());
    assert_eq!(lab.end(Signal::TERM).0, Some(0));
    assert_eq!(fs::read(lab.file("a.pcap")).map(|bytes| bytes.len()).ok(), Some(24));
}

#[test]
fn a_folder_that_the_command_line_names_may_be_written_to() {
    let outside = tempfile::tempdir().expect("a folder");
    let word = outside.path().to_str().expect("text");
    let lab = Lab::with_words(&pair(), &["--writes", word]);
    lab.policy(&vm('a', &format!("capture = \"{word}/a.pcap\"\nsocket = \"{word}/a.sock\"")));
    assert!(lab.ask(&["reload"]).status.success());
    assert!(outside.path().join("a.pcap").exists() && outside.path().join("a.sock").exists());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, format!("[server]\nfolder = \"{}\"\n{}", folder.path().display(), pair())).expect("a policy");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluiced"));
    command.args(["run", "--writes", "/no/such/folder"]).arg(policy);
    let ended = sluice_guard::bounded(&mut command, PATIENCE).expect("an end");
    let error = String::from_utf8_lossy(&ended.errors).into_owned();
    let is_named = error.contains("folder /no/such/folder: No such file");
    assert_eq!((ended.status.code(), is_named), (Some(1), true), "{error}");
    assert!(!folder.path().join("a.sock").exists(), "what was made is gone");
}
