//! How the program ends: every exit code, and nowhere else.

use std::process::ExitCode;

use otoshi_explain::Kind;
use otoshi_updates::Verdict;

/// Two things that were compared differ, or a check of a Dockerfile found something.
pub(crate) const DIFFERENT: u8 = 1;
/// An application would not find on a new base what it needs, or the smoke test failed.
pub(crate) const REFUSED: u8 = 6;
/// Something could not be looked at, or was not understood.
pub(crate) const NOT_KNOWN: u8 = 20;

/// Nobody reads standard output on: as a shell has it of a program that ended by SIGPIPE.
pub(crate) const PIPE_CLOSED: u8 = 141;
/// Standard output cannot be written.
pub(crate) const NOT_WRITTEN: u8 = 4;

/// Ends the program at once.
pub(crate) fn now(code: u8) -> ! {
    std::process::exit(code.into())
}

/// The exit code of an error of a kind.
fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Build => 1,
        Kind::User => 2,
        Kind::Registry => 3,
        Kind::Machine => 4,
        Kind::Sandbox => 5,
    }
}

/// How the program ends with an error of a kind.
pub(crate) fn of(kind: Kind) -> ExitCode {
    ExitCode::from(code(kind))
}

/// The exit code of a check.
pub(crate) fn check(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Fresh => 0,
        Verdict::Updates => 10,
        Verdict::Security => 11,
        Verdict::NotKnown => NOT_KNOWN,
    }
}

/// How a check ends.
pub(crate) fn of_check(verdict: Verdict) -> ExitCode {
    ExitCode::from(check(verdict))
}
