//! Output that a reader may close at any line, as `head` does.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::exit;

/// Exit code after the reader closed the output: that of a program which SIGPIPE ends.
const UNREAD: i32 = 141;

/// Prints a line as the macro of `std` does, which would panic when the reader is gone.
macro_rules! println {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}

/// Prints a line as the macro of `std` does, which would panic when the reader is gone.
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

/// Prints a line on standard error, unless that is closed.
pub fn error_line(arguments: Arguments<'_>) {
    let _ = stderr().lock().write_fmt(format_args!("{arguments}\n"));
}
