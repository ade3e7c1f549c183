//! Processes that do not outlive the process that started them, however that ends: by itself, SIGTERM, SIGKILL, a
//! panic, a closed terminal.
//!
//! [`run`] makes two processes of a program: the outer process, which is the one that was started, and the inner
//! process, which does the work. Both are *subreapers*: a process whose parent ends becomes a child of the next
//! subreaper above.
//!
//! | process that ends | what happens |
//! |---|---|
//! | inner, in any way | its descendants become the outer one's, which kills them and ends with the same exit code |
//! | outer, by a signal that can be caught | it passes the signal on, waits for the inner one, and kills what is left |
//! | outer, in any other way | the kernel sends SIGTERM to the inner process, which ends as after any SIGTERM |
//!
//! See: prctl(2), `PR_SET_CHILD_SUBREAPER` and `PR_SET_PDEATHSIG`.
//!
//! # Why not `PR_SET_PDEATHSIG` alone
//! That signal reaches a child, not the child's children. [`tie`] uses it for a child that must not outlive both
//! processes.
//!
//! # Why not a PID namespace
//! The end of its first process ends all others, but on most machines only root may make one.

mod bounded;
mod child;
mod descendants;
mod outer;
mod signals;

pub use bounded::{Ended, bounded, watched};
pub use child::tie;
pub use descendants::end_descendants;
pub use outer::run;
pub use signals::{Signals, code, name};

use std::{io, process, thread};

/// Starts a thread that ends this process and all its descendants after a signal, for an inner process that uses no
/// [`Signals`] itself.
pub fn end_on_signal() -> io::Result<()> {
    let signals = Signals::catch()?;
    let wait = move || {
        let signal = loop {
            match signals.raised() {
                Some(signal) => break signal,
                None => signals.wait(&[], None),
            }
        };
        end_descendants();
        process::exit(code(signal).into());
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}
