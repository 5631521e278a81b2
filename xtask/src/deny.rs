//! What dependencies may be: licences, sources and versions, by `cargo-deny` on `deny.toml`.

use std::{path::PathBuf, process::Command};

use clap::Args;

use crate::{failure::Result, process, root};

/// The version of `cargo-deny`, which is compiled once.
const VERSION: &str = "0.20.2";
/// What needs no database from elsewhere.
const CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// Install cargo-deny below target/ and check the dependencies.
#[derive(Debug, Args)]
pub(crate) struct Deny {
    /// Look for known vulnerabilities as well; their database comes from its git repository
    #[arg(long)]
    advisories: bool,
}

impl Deny {
    pub(crate) fn run(self) -> Result {
        let program = program()?;
        let mut deny = Command::new(program);
        deny.args(["--log-level", "error", "check", "--hide-inclusion-graph"])
            .args(CHECKS)
            .current_dir(root());
        if self.advisories {
            deny.arg("advisories");
        }
        process::run(&mut deny)
    }
}

/// The path of `cargo-deny`, made where it is missing or of another version.
fn program() -> Result<PathBuf> {
    let tools = root().join("target/tools");
    let program = tools.join("bin/cargo-deny");
    let said = process::read(Command::new(&program).arg("--version"));
    if said.is_ok_and(|said| said.trim().ends_with(VERSION)) {
        return Ok(program);
    }
    let mut install = Command::new("cargo");
    install.args(["install", "cargo-deny", "--version", VERSION, "--locked", "--debug", "--force"]);
    install.arg("--root").arg(&tools).arg("--target-dir").arg(tools.join("build"));
    // It is somebody else's code: not linted, and not debugged.
    install.env_remove("RUSTC_WORKSPACE_WRAPPER").env_remove("RUSTFLAGS").env("CARGO_PROFILE_DEV_DEBUG", "0");
    process::run(&mut install)?;
    Ok(program)
}
