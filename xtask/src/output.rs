//! What this program prints: whoever reads it may stop at any line, as `head` does.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::exit;

/// Exit code where nobody reads any more: that of a program which SIGPIPE ends.
const UNREAD: i32 = 141;

/// As the one of `std`, which would panic.
macro_rules! println {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}

/// As the one of `std`, which would panic.
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::output::error_line(format_args!($($argument)*)) };
}

/// Prints a line, or ends the program.
pub fn line(arguments: Arguments<'_>) {
    let mut out = stdout().lock();
    match out.write_fmt(format_args!("{arguments}\n")).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(UNREAD),
        Err(error) => {
            error_line(format_args!("error: standard output: {error}"));
            exit(1)
        }
    }
}

/// Prints a line on standard error, if somebody reads that.
pub fn error_line(arguments: Arguments<'_>) {
    let _ = stderr().lock().write_fmt(format_args!("{arguments}\n"));
}
