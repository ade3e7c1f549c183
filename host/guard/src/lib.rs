//! Processes that do not outlive who started them, however that one ends: by itself, SIGTERM, SIGKILL, a panic, a closed terminal.
//!
//! [`run`] makes two processes of a program: the outer one, which is the one that was started, and the inner one, which does the work.
//! Both are *subreapers*: who is left behind by a parent that ended becomes a child of the next subreaper above. So
//!
//! | who ends | what happens |
//! |---|---|
//! | the inner one, in any way | all that it started is the outer one's now, which kills it and ends with the same exit code |
//! | the outer one, by a signal that can be caught | it passes the signal on, waits for the inner one, and then kills what is left |
//! | the outer one, in any other way | the kernel sends SIGTERM to the inner one, which ends as after any SIGTERM |
//!
//! See: prctl(2), `PR_SET_CHILD_SUBREAPER` and `PR_SET_PDEATHSIG`.
//!
//! # Why not `PR_SET_PDEATHSIG` alone
//! It reaches a child, not the child's children. [`tie`] sets it all the same, where a child must not outlive both.
//!
//! # Why not a PID namespace
//! Its end is the end of all in it, but most machines give it to root alone.

mod bounded;
mod descendants;
mod outer;
mod signals;
mod tie;

pub use bounded::{Ended, bounded};
pub use descendants::end_descendants;
pub use outer::run;
pub use signals::{Signals, code, name};
pub use tie::tie;

use std::{io, process, thread};

/// Ends this process, and all that it started, when a signal asks for it: for an inner process that looks at no [`Signals`] itself.
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
