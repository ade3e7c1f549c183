//! A process in the sandbox, which is this one's child.

use super::calls;
use rustix::process::{Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

/// Names the act of the child.
const ACT: &str = "SLUICED_TEST_ACT";

/// What the child does in the sandbox.
fn act(name: &str) {
    let done = match name {
        "a thread and memory" => {
            let sum = std::thread::spawn(|| vec![1_u8; 8 << 20].iter().map(|&byte| usize::from(byte)).sum::<usize>());
            sum.join().is_ok_and(|sum| sum == 8 << 20)
        }
        "a socket of the network" => std::net::UdpSocket::bind("127.0.0.1:0").is_ok(),
        "a program" => Command::new("/bin/true").spawn().is_ok(),
        "a folder" => std::fs::create_dir("/tmp").is_ok(),
        "a signal to another process" => {
            rustix::process::getppid().is_some_and(|it| kill_process(it, Signal::CONT).is_ok())
        }
        "memory with instructions" => {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_ANONYMOUS | libc::MAP_PRIVATE);
            vm_memory::mmap::MmapRegion::<()>::build(None, 4096, protection, flags).is_ok()
        }
        "a backtrace" => !std::backtrace::Backtrace::force_capture().to_string().is_empty(),
        "an abort" => std::process::abort(),
        _ => false,
    };
    println!("{name}: {done}");
}

/// Runs the test `child` in a process that does the act `name`.
fn child(name: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["sandbox::tests::a_process_in_the_sandbox_does_what_it_is_told", "--exact", "--nocapture"]);
    command.env(ACT, name).output().expect("a child")
}

/// The child of the other tests. Without one's order it enters no sandbox, as that would hold for all tests.
#[test]
fn a_process_in_the_sandbox_does_what_it_is_told() {
    let Ok(name) = std::env::var(ACT) else {
        for name in ["a thread and memory", "a backtrace"] {
            let output = child(name);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains(&format!("{name}: true")), "{output:?}");
        }
        return;
    };
    calls::restrict().expect("seccomp");
    act(&name);
}

#[test]
fn a_call_that_the_server_never_makes_ends_the_process() {
    for name in
        ["a socket of the network", "a program", "a folder", "a signal to another process", "memory with instructions"]
    {
        let output = child(name);
        assert_eq!(output.status.signal(), Some(Signal::SYS.as_raw()), "{name}: {output:?}");
    }
    assert_eq!(child("an abort").status.signal(), Some(Signal::ABORT.as_raw()), "an abort is one");
}
