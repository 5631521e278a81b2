//! Every test, with what they need.
//!
//! What is made once is made side by side: roots of other releases while Otoshi is compiled, bases and today's tools while the
//! tests are.

use std::{process::Command, thread};

use clap::Args;

use crate::{
    bases,
    conformance::Conformance,
    deps,
    failure::{Failure, Result},
    peers, process, project, releases, root,
};

/// Install what is missing and run every test.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Handed to `cargo test --workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Test {
    pub(crate) fn run(self) -> Result {
        deps::install(&[deps::TESTS, deps::BASES, deps::BOOTSTRAP])?;
        // The conformance suite needs root for its references, and does not run beside chosen tests.
        let is_whole = self.arguments.is_empty() && process::is_root();
        let otoshi = beside(releases::make, project::build_for_tests)?;
        let wanted = || {
            bases::make(&otoshi, false)?;
            bases::make_for_tests(&otoshi, false)?;
            if is_whole { peers::make(&otoshi, false).map(drop) } else { Ok(()) }
        };
        // What is behind `--` is for the tests when they run.
        let at = self.arguments.iter().position(|word| word == "--").unwrap_or(self.arguments.len());
        let (chosen, told) = self.arguments.split_at(at);
        let cargo = || {
            let mut cargo = Command::new("cargo");
            cargo.args(["test", "--workspace"]).args(chosen).current_dir(root());
            cargo.env(project::OTOSHI, &otoshi);
            if is_whole {
                // All that the tests need is here: one that passes over is a mistake.
                cargo.env(otoshi_test::STRICT, "1");
            }
            cargo
        };
        // Benches, too: they are to compile.
        let all: &[&str] = if self.arguments.is_empty() { &["--all-targets"] } else { &[] };
        beside(wanted, || process::run(cargo().args(all).arg("--no-run")))?;
        // All that fails is told at once.
        let tests = || process::run(cargo().arg("--no-fail-fast").args(told));
        if is_whole {
            // Neither has enough to do for all cores all the time.
            return beside(|| Conformance::all(otoshi.clone()), tests);
        }
        if self.arguments.is_empty() {
            eprintln!("skipped: the conformance suite needs root for its references");
        }
        tests()
    }
}

/// Does two things at the same time; what the second one gives, when both went well.
fn beside<T>(one: impl FnOnce() -> Result + Send, other: impl FnOnce() -> Result<T>) -> Result<T> {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let given = other();
        one.join().unwrap_or_else(|_| Err(Failure::Wrong("a task panicked".into())))?;
        given
    })
}
