//! A refresh of the Ruby example after a security update of its base, beside the commands of a team that has Docker alone.
//!
//! Each round has a base of its own: Debian with its security updates, and a file that says which round it is. Both sides push
//! to the same registry on loopback, from which they also fetch the base, and keep their caches from round to round.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use otoshi_test::Registry;

use super::{
    docker::{Docker, Shop},
    measure::{Times, quiet, row},
};
use crate::{
    bases::Made,
    failure::{Failure, Result},
    process,
    project::Project,
};

/// Measures a refresh with push; Docker once from the builder on, and once for runner and app alone.
pub(super) fn measure(otoshi: &Path, made: &Made, docker: &Docker, rounds: usize) -> Result {
    let registry = Registry::start()?;
    let host = registry.host();
    // Both fetch the base from the registry; Docker's has this machine's authorities inside.
    let (base, their_base) =
        (format!("{host}/debian:trixie-slim"), format!("{host}/docker/debian:trixie-slim"));
    let publisher = Project::empty(otoshi)?;
    let publish = |archive: &Path| {
        publisher.import(archive, &base)?;
        quiet(&mut publisher.otoshi(&["image", "push", &base]))
    };
    let publish_theirs = |archive: &Path| {
        docker.import(archive, &their_base)?;
        docker.run(&["push", "--quiet", &their_base])?;
        docker.run(&["image", "rm", &their_base])
    };
    let project = Project::of_example(otoshi, "ruby-vite")?;
    let file = project.path().join("otoshi.toml");
    let manifest = fs::read_to_string(&file).map_err(Failure::file("reading", &file))?;
    let manifest = manifest.replace("otoshi.test/debian:", &format!("{host}/debian:"));
    project.write("otoshi.toml", &format!("{manifest}\n[registry]\nrepository = \"{host}/shop\"\n"))?;
    publish(&made.old)?;
    quiet(&mut project.otoshi(&["build"]))?;
    quiet(&mut project.otoshi(&["push"]))?;
    publish_theirs(&made.old)?;
    let source = project.path();
    let shop = Shop::new(docker, &source, &their_base)?;
    let theirs = format!("{host}/docker/shop");
    let pull = || docker.run(&["pull", "--quiet", &their_base]);
    pull()?;
    shop.build_all()?;
    shop.push(&theirs)?;

    let (mut ours, mut whole, mut runner) = (Times(Vec::new()), Times(Vec::new()), Times(Vec::new()));
    for round in 0..rounds {
        let moved = next(&project, &made.patched, round)?;
        publish(&moved)?;
        ours.0.push(timed(|| {
            let text = process::read(&mut project.otoshi(&["refresh", "--push", "--json"]))?;
            if text.contains("\"outcome\": \"refreshed\"") {
                return Ok(());
            }
            Err(Failure::Wrong(format!("nothing was refreshed: {text}")))
        })?);
        publish_theirs(&moved)?;
        whole.0.push(timed(|| {
            pull()?;
            shop.build_all()?;
            shop.push(&theirs)
        })?);
        // Again with another base, and this time the builder stays as it is.
        publish_theirs(&next(&project, &made.patched, rounds + round)?)?;
        runner.0.push(timed(|| {
            pull()?;
            shop.build_runner_and_apps()?;
            shop.push(&theirs)
        })?);
    }
    row("refresh of the Ruby example and push; Docker: the same four phases", &ours, &whole);
    row("the same; Docker: runner and app only", &ours, &runner);
    Ok(())
}

/// The patched base with a file of this round.
fn next(project: &Project, patched: &Path, round: usize) -> Result<PathBuf> {
    let (base, extra) = (project.home().with_file_name("base.tar"), project.home().with_file_name("extra"));
    fs::copy(patched, &base).map_err(Failure::file("copying", patched))?;
    fs::create_dir_all(extra.join("etc")).map_err(Failure::file("making", &extra))?;
    fs::write(extra.join("etc/round"), round.to_string()).map_err(Failure::file("writing", &extra))?;
    quiet(Command::new("tar").arg("-C").arg(&extra).arg("-rf").arg(&base).arg("./etc/round"))?;
    Ok(base)
}

/// How long something takes, once what came before is on the disk.
fn timed(work: impl FnOnce() -> Result) -> Result<Duration> {
    quiet(&mut Command::new("sync"))?;
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}
