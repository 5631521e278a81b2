//! Git in a directory that may be a checkout, asked without what a repository's own settings would run.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Returns git for a directory, with its messages in English and none of them shown; `None` where the directory is in no checkout,
/// which is seen without git.
pub fn git(directory: &Path) -> Option<Command> {
    if !directory.ancestors().any(|above| above.join(".git").exists()) {
        return None;
    }
    let mut git = Command::new("git");
    git.arg("-C").arg(directory).args([
        "-c",
        "core.fsmonitor=false",
        "--literal-pathspecs",
        "--no-optional-locks",
    ]);
    git.env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null());
    Some(git)
}
