//! Commands that a test runs, and a root to run them in.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Runs a command, which reads nothing, and gives what it prints.
///
/// # Panics
/// When it fails, with what it says on standard error.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    String::from_utf8_lossy(&output(command)).into_owned()
}

/// Does what [`run`] does, and gives the bytes that the command prints.
///
/// # Panics
/// When it fails, with what it says on standard error.
#[track_caller]
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    output.stdout
}

/// All that a command said: its standard output, then its standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Puts busybox into the directory `bin` of a root, with links for these of its applets.
pub fn busybox(root: &Path, applets: &[&str]) {
    let bin = root.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    for applet in applets {
        symlink("busybox", bin.join(applet)).unwrap();
    }
}
