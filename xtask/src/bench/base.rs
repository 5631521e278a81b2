//! A base of installed packages, beside mmdebstrap, which has the same packages in its cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use super::measure::{Times, quiet, row, timed_in_turns};
use crate::{
    failure::{Failure, Result},
    process,
    project::Project,
};

const RELEASE: &str = "trixie";
const WANTED: [&str; 3] = ["ca-certificates", "libpq5", "ruby"];

/// Runs the benchmarks of reading packages, with the index of all of Debian's main as apt gets it.
pub(super) fn reading() -> Result {
    let directory = tempfile::tempdir().map_err(Failure::file("making", "a directory"))?;
    let index = index(directory.path())?;
    let mut cargo = Command::new("cargo");
    cargo.args(["bench", "-p", "otoshi-packages", "--bench", "*"]).current_dir(crate::root());
    process::run(cargo.env("OTOSHI_PACKAGES", index))
}

/// Has apt fetch the index of main into a directory of its own, and returns its text.
fn index(directory: &Path) -> Result<PathBuf> {
    let (state, sources) = (directory.join("state"), directory.join("sources.list"));
    for made in [state.join("lists/partial"), directory.join("cache/archives/partial")] {
        fs::create_dir_all(&made).map_err(Failure::file("making", &made))?;
    }
    let line = format!("deb [arch=amd64] http://deb.debian.org/debian {RELEASE} main\n");
    fs::write(&sources, line).map_err(Failure::file("writing", &sources))?;
    let apt = |program: &str| {
        let mut apt = Command::new(program);
        for (option, path) in [
            ("Dir::State", &state),
            ("Dir::State::Lists", &state.join("lists")),
            ("Dir::Cache", &directory.join("cache")),
            ("Dir::Etc::SourceList", &sources),
            ("Dir::Etc::SourceParts", &directory.join("none")),
        ] {
            apt.arg("-o").arg(format!("{option}={}", path.display()));
        }
        apt
    };
    process::run(apt("apt-get").args(["-qq", "-o", "APT::Sandbox::User=root", "update"]))?;
    let listed = process::read(apt("apt-get").args([
        "indextargets",
        "--format",
        "$(FILENAME)",
        "Created-By: Packages",
    ]))?;
    let text = process::read(apt("/usr/lib/apt/apt-helper").arg("cat-file").arg(listed.trim()))?;
    let file = directory.join("Packages");
    fs::write(&file, text).map_err(Failure::file("writing", &file))?;
    Ok(file)
}

/// Measures how long a base with apt takes, from its sources to a compressed layer; mmdebstrap writes a compressed archive, and
/// a plain one.
///
/// Both ask the repository whether anything is new, and fetch no package. Neither syncs files to disk one by one.
pub(super) fn measure(otoshi: &Path, rounds: usize) -> Result {
    let project = Project::empty(otoshi)?;
    project.write(
        "otoshi.toml",
        &format!(
            "[project]\nname = \"base\"\n[bases]\nRUN = {{ debian = \"trixie\", packages = {WANTED:?}, variant = \"apt\" }}\n\
             [runner]\ndockerfile = \"Dockerfile\"\n[processes]\nshell = [\"bash\"]\n"
        ),
    )?;
    project.write("Dockerfile", "ARG RUN\nFROM ${RUN}\n")?;
    quiet(&mut project.otoshi(&["build"]))?;
    // Beside the project: what lies in it is its source.
    let beside = project.home().with_file_name("beside");
    fs::create_dir(&beside).map_err(Failure::file("making", &beside))?;
    let tree = beside.join("root.tar");
    quiet(project.otoshi(&["export", "base/runner"]).arg(&tree).args(["--format", "rootfs"]))?;
    let mut sources = Command::new("tar");
    sources.args(["--extract", "--to-stdout", "--file"]).arg(&tree).arg("etc/apt/sources.list");
    let sources = process::read(&mut sources)?;
    let cache = beside.join("cache");
    fill(&project.home().join("packages/deb"), &cache)?;

    let ours = || {
        // All but the packages and indexes that were fetched.
        for name in ["images", "snapshots", "records", "work", "format"] {
            let path = project.home().join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(Failure::file("removing", &path))?;
        }
        quiet(&mut Command::new("sync"))?;
        let started = Instant::now();
        quiet(&mut project.otoshi(&["build", "--refresh"]))?;
        Ok(started.elapsed())
    };
    let theirs = |archive: &str| {
        let fill = format!(
            "--setup-hook=mkdir -p \"$1/var/cache/apt/archives\" && cp {}/*.deb \"$1/var/cache/apt/archives\"",
            cache.display()
        );
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=apt", "--mode=root", "--format=tar", "--quiet", &fill]);
        command.arg("--hook-directory=/usr/share/mmdebstrap/hooks/merged-usr");
        command.arg(format!("--include={}", WANTED.join(",")));
        command.args(["--dpkgopt=force-unsafe-io", "--aptopt=Acquire::Check-Valid-Until \"false\""]);
        command.arg(RELEASE).arg(beside.join(archive)).args(sources.lines());
        quiet(&mut Command::new("sync"))?;
        let started = Instant::now();
        quiet(&mut command)?;
        Ok(started.elapsed())
    };
    let mut plain = Times(Vec::new());
    let (ours, theirs) = timed_in_turns(rounds, 1, ours, || {
        plain.0.push(theirs("theirs.tar")?);
        theirs("theirs.tar.gz")
    })?;
    // That of the first, which warms up.
    plain.0.remove(0);
    println!("| what | Otoshi | mmdebstrap | ratio of medians |");
    println!("| --- | ---: | ---: | ---: |");
    row("a base with apt and Ruby, packages at hand; mmdebstrap: to a .tar.gz", &ours, &theirs);
    row("the same; mmdebstrap: to a .tar", &ours, &plain);
    Ok(())
}

/// Puts packages where apt looks for them, under the names that it gives them.
fn fill(kept: &Path, cache: &Path) -> Result {
    fs::create_dir(cache).map_err(Failure::file("making", cache))?;
    for entry in fs::read_dir(kept).map_err(Failure::file("listing", kept))? {
        let deb = entry.map_err(Failure::file("listing", kept))?.path();
        let mut show = Command::new("dpkg-deb");
        show.args(["--show", "--showformat=${Package}_${Version}_${Architecture}.deb"]).arg(&deb);
        let name = process::read(&mut show)?.replace(':', "%3a");
        fs::copy(&deb, cache.join(name)).map_err(Failure::file("copying", &deb))?;
    }
    Ok(())
}
