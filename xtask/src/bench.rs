//! What Otoshi's speed and memory are, beside Docker's engine with BuildKit on the same files and bases.
//!
//! Every comparison is made in turns, Otoshi then Docker, again and again; medians, and the least and the most.

mod base;
mod buildah;
mod check;
mod docker;
mod engine;
mod measure;
mod phases;
mod rebase;
mod refresh;
mod registry;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use clap::Args;

use self::{
    docker::Docker,
    measure::{in_turns, peak_memory, quiet, row, timed_in_turns},
    phases::{APP, BIG, BUILDER, RUNNER},
};
use crate::{
    bases, deps,
    failure::{Failure, Result},
    process,
    project::{self, Project},
};

/// Measure speed and memory beside Docker's engine, and print a table.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// How often each side of a quick comparison is measured
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// How often each side of the cold build is measured
    #[arg(long, default_value_t = 3)]
    cold_rounds: usize,
    /// Measure pushes and pulls beside skopeo, and nothing else
    #[arg(long)]
    registry: bool,
    /// Measure builds on a machine without a store, with and without a registry that remembers, and nothing else
    #[arg(long)]
    new_machine: bool,
    /// Measure the engine beside Docker and buildah, and nothing else
    #[arg(long)]
    engine: bool,
    /// Measure putting images on a new base, and nothing else
    #[arg(long)]
    rebase: bool,
    /// With --rebase: how many images
    #[arg(long, default_value_t = 1000)]
    apps: usize,
    /// Measure a refresh beside Docker, and nothing else
    #[arg(long)]
    refresh: bool,
    /// Measure checks of a fleet of images by ten runners, and nothing else
    #[arg(long)]
    check: bool,
    /// With --check: how many images
    #[arg(long, default_value_t = 5000)]
    images: usize,
    /// The program to measure, in place of one that is built now
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Measure reading installed packages and indexes of repositories, and nothing else
    #[arg(long)]
    packages: bool,
    /// Measure making a base of packages beside mmdebstrap, and nothing else
    #[arg(long)]
    bases: bool,
}

impl Bench {
    pub(crate) fn run(self) -> Result {
        if self.bases {
            deps::install(&[deps::BASES, deps::BOOTSTRAP])?;
            return base::measure(&self.built()?, self.rounds.min(5));
        }
        if self.packages {
            deps::install(&[deps::BASES, deps::BOOTSTRAP])?;
            return base::reading();
        }
        if self.check {
            deps::install(&[deps::BENCH])?;
            return check::measure(&self.built()?, self.images);
        }
        if self.rebase {
            deps::install(&[deps::BENCH])?;
            return rebase::measure(&self.built()?, self.rounds.min(5), self.apps);
        }
        deps::install(&[deps::BASES, deps::BENCH])?;
        let otoshi = self.built()?;
        let bases = bases::make(&otoshi, false)?;
        let project = Project::empty(&otoshi)?;
        project.import(&bases.old, bases::BASE)?;
        if self.registry {
            println!("| what | Otoshi | skopeo | ratio of medians |");
            println!("| --- | ---: | ---: | ---: |");
            return registry::measure(&project, self.rounds.min(5));
        }
        if self.new_machine {
            println!("| what | Otoshi |");
            println!("| --- | ---: |");
            return registry::new_machine(&otoshi, self.rounds.min(5));
        }
        let docker = Docker::start()?;
        // The same image on both sides; Docker's commands need the machine's certificates inside.
        docker.import(&bases.old, bases::BASE)?;
        let header =
            "| what | Otoshi | Docker with BuildKit | ratio of medians |\n| --- | ---: | ---: | ---: |";
        if self.refresh {
            println!("{header}");
            return refresh::measure(&otoshi, &bases, &docker, self.cold_rounds);
        }
        let sides = engine::Sides::new(&project, &docker, &bases.old)?;
        if self.engine {
            return sides.measure(self.rounds);
        }
        println!("{header}");
        self.nothing_changed(&project, &docker)?;
        self.run_step(&project, &docker)?;
        self.cold_build(&otoshi, &bases.old, &docker)?;
        refresh::measure(&otoshi, &bases, &docker, self.cold_rounds)?;
        memory(&project)?;
        registry::measure(&project, self.rounds.min(5))?;
        registry::new_machine(&otoshi, self.rounds.min(5))?;
        sides.measure(self.rounds)
    }

    /// The program to measure.
    fn built(&self) -> Result<PathBuf> {
        match &self.program {
            Some(path) => path.canonicalize().map_err(Failure::file("finding", path)),
            None => project::build_dist(),
        }
    }

    /// All four phases of a project of 10,000 files in which nothing changed.
    fn nothing_changed(&self, project: &Project, docker: &Docker) -> Result {
        for number in 0..10_000 {
            let directory = number / 100;
            project
                .write(&format!("src/{directory:02}/{number:05}"), &format!("file {number}\n").repeat(20))?;
        }
        for (file, text) in [
            ("otoshi.toml", BIG),
            ("builder.Dockerfile", BUILDER),
            ("runner.Dockerfile", RUNNER),
            ("app.Dockerfile", APP),
        ] {
            project.write(file, text)?;
        }
        let ours = || process::read(&mut project.otoshi(&["build"])).map(drop);
        let root = project.path();
        let compiled = format!("{}:/src:ro", root.join("src").display());
        let theirs = || {
            let base = format!("BASE={}", bases::BASE);
            docker.build(&root, &["-f", "builder.Dockerfile", "--build-arg", &base, "-t", "big/builder"])?;
            docker.run(&[
                "run",
                "--rm",
                "-v",
                &compiled,
                "big/builder",
                "sh",
                "-c",
                "cat /src/*/* | sha256sum",
            ])?;
            docker.build(&root, &["-f", "runner.Dockerfile", "--build-arg", &base, "-t", "big/runner"])?;
            docker
                .build(&root, &["-f", "app.Dockerfile", "--build-arg", "RUNNER=big/runner", "-t", "big/web"])
        };
        let (ours, theirs) = in_turns(self.rounds, 2, ours, theirs)?;
        row("nothing changed, four phases, 10,000 files", &ours, &theirs);
        Ok(())
    }

    /// What one RUN costs over its command: 21 steps less 1, by 20.
    fn run_step(&self, project: &Project, docker: &Docker) -> Result {
        let root = project.path().join("steps");
        for count in [1, 21] {
            let steps = "RUN true\n".repeat(count);
            let from = format!("FROM {}\n{steps}", bases::BASE);
            project.write(&format!("steps/{count}.Dockerfile"), &from)?;
        }
        let ours = |count: &str| {
            let file = format!("steps/{count}.Dockerfile");
            process::read(&mut project.otoshi(&["image", "build", "steps", "-f", &file, "--no-cache"]))
                .map(drop)
        };
        let theirs = |count: &str| docker.build(&root, &["-f", &format!("{count}.Dockerfile"), "--no-cache"]);
        let (many, their_many) = in_turns(self.rounds.min(7), 1, || ours("21"), || theirs("21"))?;
        let (one, their_one) = in_turns(self.rounds.min(7), 1, || ours("1"), || theirs("1"))?;
        row("a RUN step, over `true` itself", &many.less(&one, 20), &their_many.less(&their_one, 20));
        Ok(())
    }

    /// The Ruby example from nothing but its base.
    fn cold_build(&self, otoshi: &Path, base: &Path, docker: &Docker) -> Result {
        let shop = Project::of_example(otoshi, "ruby-vite")?;
        let ours = || {
            shop.forget()?;
            shop.import(base, bases::BASE)?;
            quiet(&mut Command::new("sync"))?;
            let started = Instant::now();
            process::read(&mut shop.otoshi(&["build"]))?;
            Ok(started.elapsed())
        };
        let theirs = || docker.build_shop(&shop.path());
        let (ours, theirs) = timed_in_turns(self.cold_rounds, 0, ours, theirs)?;
        row("cold build of the Ruby example", &ours, &theirs);
        Ok(())
    }
}

/// The most memory that writing a layer of 2 GB takes.
fn memory(project: &Project) -> Result {
    let make = "RUN head -c 2000000000 /dev/urandom > /big";
    project.write("large/Dockerfile", &format!("FROM {}\n{make}\n", bases::BASE))?;
    let most = peak_memory(&mut project.otoshi(&["image", "build", "large", "--no-cache"]))?;
    println!("| peak memory while writing a layer of 2 GB | {most} MB | | |");
    Ok(())
}
