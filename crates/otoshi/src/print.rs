//! Printing, which can fail: nobody reads on, as in `otoshi images | head`, or a disk is full.
//!
//! SIGPIPE stays ignored, since a registry that hangs up must not end the program; so a pipe that nobody reads is an error of whoever
//! prints, and ends the program without a word. Any other error of standard output is told. What standard error does not take, nobody
//! can be told.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
};

use crate::exit;

/// Prints data to standard output.
macro_rules! out {
    ($($text:tt)*) => { $crate::print::to_output(format_args!($($text)*)) };
}

/// Prints a line of data to standard output.
macro_rules! outln {
    () => { $crate::print::to_output(format_args!("\n")) };
    ($($text:tt)*) => { $crate::print::to_output(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line for people to standard error.
macro_rules! errln {
    ($($text:tt)*) => { $crate::print::to_error(format_args!($($text)*)) };
}

pub(crate) fn to_output(text: fmt::Arguments<'_>) {
    settle(io::stdout().lock().write_fmt(text));
}

/// Prints what standard output still holds back.
pub(crate) fn flush() {
    settle(io::stdout().lock().flush());
}

pub(crate) fn to_error(text: fmt::Arguments<'_>) {
    let mut error = io::stderr().lock();
    let _ = error.write_fmt(format_args!("{text}\n"));
}

/// Ends the program where printing failed.
fn settle(printed: io::Result<()>) {
    match printed {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit::now(exit::PIPE_CLOSED),
        Err(error) => {
            errln!("error: cannot write to standard output: {error}");
            exit::now(exit::NOT_WRITTEN);
        }
    }
}
