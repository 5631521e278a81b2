//! Every test, with what they need.

use std::process::Command;

use clap::Args;

use crate::{bases, conformance::Conformance, deps, failure::Result, process, project, releases, root};

/// Installs what is missing and runs every test.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Handed to `cargo test --workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Test {
    pub(crate) fn run(self) -> Result {
        deps::install(&[deps::TESTS, deps::BASES, deps::BOOTSTRAP])?;
        bases::make(false)?;
        releases::make()?;
        let otoshi = project::build_otoshi()?;
        let mut tests = Command::new("cargo");
        tests.args(["test", "--workspace"]).args(&self.arguments).current_dir(root());
        process::run(tests.env(project::OTOSHI, otoshi))?;
        if !self.arguments.is_empty() {
            return Ok(());
        }
        if !process::is_root() {
            eprintln!("passed over: the conformance suite needs root for its references");
            return Ok(());
        }
        Conformance::all()
    }
}
