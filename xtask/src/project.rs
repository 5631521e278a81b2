//! A copy of an example with a store of its own, and the otoshi program to work on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    failure::{Failure, Result},
    process, root,
};

/// The environment variable that tells the tests of the examples where the program is.
pub(crate) const OTOSHI: &str = "OTOSHI_TEST_PROGRAM";

/// Builds the program for the tasks that use it, in the profile that tests and these tasks have: what it is made of is compiled once.
pub(crate) fn build_otoshi() -> Result<PathBuf> {
    build("dev")
}

/// Builds the program as the tests have it: with what they need of its libraries, which is then compiled for both at once.
pub(crate) fn build_for_tests() -> Result<PathBuf> {
    let mut build = Command::new("cargo");
    // Any test of it would do: it is the program that is wanted.
    build.args(["test", "--no-run", "--test", "terminal"]).current_dir(root());
    process::run(&mut build)?;
    Ok(program("debug"))
}

/// Builds the program as it is released, to be measured.
pub(crate) fn build_dist() -> Result<PathBuf> {
    build("dist")
}

fn build(profile: &str) -> Result<PathBuf> {
    let mut build = Command::new("cargo");
    build.args(["build", "--profile", profile, "--bin", "otoshi"]).current_dir(root());
    process::run(&mut build)?;
    // Cargo's own name for the directory of the profile `dev`.
    Ok(program(if profile == "dev" { "debug" } else { profile }))
}

fn program(directory: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(directory).join("otoshi")
}

/// A project on a store; both are removed when this is dropped.
pub(crate) struct Project {
    otoshi: PathBuf,
    directory: TempDir,
}

impl Project {
    /// Copies an example.
    pub(crate) fn of_example(otoshi: &Path, example: &str) -> Result<Self> {
        let project = Self::empty(otoshi)?;
        copy(&root().join("examples").join(example), &project.path())?;
        Ok(project)
    }

    /// Makes a project with no file in it.
    pub(crate) fn empty(otoshi: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("otoshi-")
            .tempdir()
            .map_err(Failure::file("making", "a directory"))?;
        let project = Self { otoshi: otoshi.to_owned(), directory };
        fs::create_dir(project.path()).map_err(Failure::file("making", project.path()))?;
        Ok(project)
    }

    /// The project's directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    /// The store.
    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Removes all that the store holds.
    pub(crate) fn forget(&self) -> Result {
        match fs::remove_dir_all(self.home()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::file("removing", self.home())(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes a file, and the directories that lead to it.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result {
        let path = self.path().join(file);
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(Failure::file("making", parent))?;
        fs::write(&path, text).map_err(Failure::file("writing", path))
    }

    /// Changes a file's text.
    pub(crate) fn replace(&self, file: &str, old: &str, new: &str) -> Result {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
        if !text.contains(old) {
            return Err(Failure::Wrong(format!("{file} has no {old:?}")));
        }
        fs::write(&path, text.replace(old, new)).map_err(Failure::file("writing", path))
    }

    /// The program, in the project's directory and on its store.
    pub(crate) fn otoshi(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.otoshi);
        command.args(arguments).current_dir(self.path()).env("OTOSHI_HOME", self.home());
        command
    }

    /// A line of shell there, for which `otoshi` is the program.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let programs = self.otoshi.parent().unwrap_or(Path::new("."));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.path()).env("OTOSHI_HOME", self.home());
        command.env("PATH", format!("{}:{path}", programs.display()));
        command
    }

    /// Names an archive's image.
    pub(crate) fn import(&self, archive: &Path, name: &str) -> Result {
        process::read(self.otoshi(&["import"]).arg(archive).args(["--name", name])).map(drop)
    }
}

/// Copies a directory as a fresh checkout has it: without what its .gitignore names at the top.
fn copy(from: &Path, to: &Path) -> Result {
    let ignored = fs::read_to_string(from.join(".gitignore")).unwrap_or_default();
    let mut cp = Command::new("cp");
    cp.args(["--recursive", "--preserve=mode,timestamps"]).arg(from.join(".")).arg(to);
    process::read(&mut cp)?;
    for line in ignored.lines().filter_map(|line| line.strip_prefix('/')) {
        let made = to.join(line);
        if made.is_dir() {
            fs::remove_dir_all(&made).map_err(Failure::file("removing", &made))?;
        }
    }
    Ok(())
}

/// What an example's page says it stands on: the lines of its `<pre id="platform">`.
pub(crate) fn platform(page: &str) -> Result<&str> {
    page.split_once("<pre id=\"platform\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .map(|(lines, _)| lines.trim_end())
        .ok_or_else(|| Failure::Wrong(format!("the page names nothing that it stands on:\n{page}")))
}
