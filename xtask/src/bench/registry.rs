//! Pushing and pulling beside skopeo, with a registry on loopback: an image of a gigabyte, and a project that is there already.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use otoshi_test::Registry;

use super::{
    measure::{peak_memory, quiet, row, timed_in_turns},
    phases::{BUILDER, RUNNER},
};
use crate::{
    bases,
    failure::{Failure, Result},
    process,
    project::Project,
};

/// Four layers of 250 MB that no compression makes smaller.
const LAYERS: &str = "RUN head -c 250000000 /dev/urandom > /1\nRUN head -c 250000000 /dev/urandom > /2\n\
    RUN head -c 250000000 /dev/urandom > /3\nRUN head -c 250000000 /dev/urandom > /4\n";

const PROJECT: &str = "[project]\nname = \"small\"\n[bases]\nBASE = \"otoshi.test/debian:trixie-slim\"\n\
    [registry]\nrepository = \"HOST/small\"\n[builder]\ndockerfile = \"builder.Dockerfile\"\n\
    [compile]\nrun = \"date > built\"\n[runner]\ndockerfile = \"runner.Dockerfile\"\n\
    [processes]\nweb = \"cat built\"\ncli = \"date\"\n";

/// Measures pushes and pulls; the project's store has the base.
pub(super) fn measure(project: &Project, rounds: usize) -> Result {
    let registry = Registry::start()?;
    project.write("gigabyte/Dockerfile", &format!("FROM {}\n{LAYERS}", bases::BASE))?;
    let name = format!("{}/gigabyte:1", registry.host());
    quiet(&mut project.otoshi(&["image", "build", "gigabyte", "-t", &name]))?;
    let layout = project.path().join("layout").display().to_string();
    quiet(&mut project.otoshi(&["export", &name, &layout, "--format", "oci"]))?;
    let (in_layout, in_registry) = (format!("oci:{layout}:{name}"), format!("docker://{name}"));
    let copied = project.path().join("copied");
    let elsewhere = project.path().join("elsewhere");

    let push = |command: &mut dyn FnMut() -> Result| {
        registry.forget();
        timed(command)
    };
    let pull = |directory: &Path, command: &mut dyn FnMut() -> Result| {
        let _ = fs::remove_dir_all(directory);
        timed(command)
    };
    let skopeo = |from: &str, to: &str| {
        let options = ["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"];
        quiet(Command::new("skopeo").args(options).args([from, to]))
    };
    let ours = || push(&mut || quiet(&mut project.otoshi(&["image", "push", &name])));
    let theirs = || push(&mut || skopeo(&in_layout, &in_registry));
    let (ours, theirs) = timed_in_turns(rounds, 1, ours, theirs)?;
    row("push of 1 GB to loopback, beside skopeo", &ours, &theirs);

    let into = format!("oci:{}:copied", copied.display());
    let pulling = || {
        let mut command = project.otoshi(&["pull", &name]);
        command.env("OTOSHI_HOME", &elsewhere);
        command
    };
    let ours = || pull(&elsewhere, &mut || quiet(&mut pulling()));
    let theirs = || pull(&copied, &mut || skopeo(&in_registry, &into));
    let (ours, theirs) = timed_in_turns(rounds, 1, ours, theirs)?;
    row("pull of 1 GB from loopback, beside skopeo", &ours, &theirs);

    registry.forget();
    let pushed = peak_memory(&mut project.otoshi(&["image", "push", &name]))?;
    let _ = fs::remove_dir_all(&elsewhere);
    let pulled = peak_memory(&mut pulling())?;
    println!("| peak memory of that push and pull | {pushed} MB, {pulled} MB | | |");
    nothing_to_push(project, &registry.host())
}

/// A real example on a machine without a store: the first time, and when a registry remembers it.
pub(super) fn new_machine(otoshi: &Path, rounds: usize) -> Result {
    let registry = Registry::start()?;
    let example = Project::of_example(otoshi, "python-native")?;
    let base = bases::BASE.replace("otoshi.test", &registry.host());
    example.import(&bases::make(otoshi, false)?.old, bases::BASE)?;
    quiet(&mut example.otoshi(&["image", "push", bases::BASE, &base]))?;
    example.replace("otoshi.toml", "otoshi.test", &registry.host())?;
    let memory = format!("[registry]\nrepository = \"{}/guestbook\"\n\n[build]", registry.host());
    example.replace("otoshi.toml", "[build]", &memory)?;
    let build = |first: bool| {
        example.forget()?;
        if first {
            registry.forget_repository("guestbook");
        }
        let took = timed(&mut || quiet(&mut example.otoshi(&["build"])))?;
        if first {
            quiet(&mut example.otoshi(&["push"]))?;
        }
        Ok(took)
    };
    let first = timed_in_turns(1, 0, || build(true), || build(false))?.0;
    let (again, changed) = timed_in_turns(
        rounds,
        1,
        || build(false),
        || {
            let now = Instant::now();
            example.write("guestbook/new.py", &format!("# {now:?}\n"))?;
            let took = build(false)?;
            std::fs::remove_file(example.path().join("guestbook/new.py"))
                .map_err(Failure::file("removing", "guestbook/new.py"))?;
            Ok(took)
        },
    )?;
    println!("| `examples/python-native` on a machine without a store, from nothing | {first} |");
    println!("| the same when the registry remembers it | {again} |");
    println!("| the same with one source file more | {changed} |");
    Ok(())
}

/// How many requests it takes to find that four images are there.
fn nothing_to_push(project: &Project, host: &str) -> Result {
    for (file, text) in [
        ("otoshi.toml", PROJECT.replace("HOST", host).as_str()),
        ("builder.Dockerfile", BUILDER),
        ("runner.Dockerfile", RUNNER),
    ] {
        project.write(file, text)?;
    }
    project.write(".dockerignore", "layout\ncopied\nelsewhere\nsrc\n")?;
    quiet(&mut project.otoshi(&["build"]))?;
    quiet(&mut project.otoshi(&["push"]))?;
    let shown = process::read(&mut project.otoshi(&["push", "--json"]))?;
    let shown: serde_json::Value = serde_json::from_str(&shown)
        .map_err(|error| Failure::Wrong(format!("otoshi push --json: {error}: {shown}")))?;
    println!("| requests of a push of four images that are there | {} | | |", shown["requests"]);
    Ok(())
}

/// Times a command; neither side waits for what the other left to write.
fn timed(command: &mut dyn FnMut() -> Result) -> Result<Duration> {
    quiet(&mut Command::new("sync"))?;
    let started = Instant::now();
    command().map(|()| started.elapsed())
}
