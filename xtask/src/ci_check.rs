//! Whether the README tells newcomers the commands that CI and the demo really run.

use std::fs;

use clap::Args;

use crate::{
    failure::{Failure, Result},
    root,
};

/// The commands, and the files that must have each on a line of its own (in the README: in a block of commands).
const NAMED: [(&str, &[&str]); 2] =
    [("cargo xtask demo", &["README.md"]), ("cargo xtask test", &["README.md", ".ci/run"])];

/// Check that README.md names the very commands that ran, and that .ci/run calls the tests.
#[derive(Debug, Args)]
pub(crate) struct CiCheck {}

impl CiCheck {
    pub(crate) fn run(self) -> Result {
        for (command, files) in NAMED {
            for file in files {
                let path = root().join(file);
                let text = fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
                if !names(&text, command) {
                    return Err(Failure::Wrong(format!("{file} has no line {command:?}")));
                }
            }
        }
        println!("the README names the commands that run");
        Ok(())
    }
}

/// Whether a line is the command, a comment behind it allowed.
fn names(text: &str, command: &str) -> bool {
    text.lines().any(|line| line.split('#').next().unwrap_or_default().trim() == command)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_command_is_a_whole_line() {
        assert!(names("```sh\ncargo xtask test   # every test\n```", "cargo xtask test"));
        assert!(!names("run `cargo xtask test`, or not", "cargo xtask test"));
        assert!(!names("cargo xtask testing\n# cargo xtask test", "cargo xtask test"));
    }
}
