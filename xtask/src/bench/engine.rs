//! The engine beside Docker's with BuildKit, and beside buildah: steps, layers, contexts, stages, and a base that moves.

use std::{fs, path::Path, process::Command, time::Instant};

use otoshi_test::Registry;

use super::{
    buildah::Buildah,
    docker::Docker,
    measure::{Times, quiet},
};
use crate::{
    bases,
    failure::{Failure, Result},
    process,
    project::Project,
};

/// The three that are compared.
pub(super) struct Sides<'a> {
    pub(super) project: &'a Project,
    pub(super) docker: &'a Docker,
    buildah: Buildah,
}

/// One way to build, for each side in turn.
#[derive(Clone, Copy)]
enum Side {
    Otoshi,
    Docker,
    Buildah,
}

const SIDES: [Side; 3] = [Side::Otoshi, Side::Docker, Side::Buildah];

/// Files of the large context.
const FILES: usize = 50_000;
/// Files of a megabyte each in the large layer.
const MEGABYTES: usize = 500;

impl<'a> Sides<'a> {
    /// Takes the base in on the third side too; the first two have it.
    pub(super) fn new(project: &'a Project, docker: &'a Docker, base: &Path) -> Result<Self> {
        let buildah = Buildah::new()?;
        buildah.import(base, bases::BASE)?;
        Ok(Self { project, docker, buildah })
    }

    /// Measures everything, and prints a row for each.
    pub(super) fn measure(&self, rounds: usize) -> Result {
        println!("| what | Otoshi | Docker with BuildKit | ratio | buildah | ratio |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        self.twenty_steps(rounds.min(7))?;
        self.large_context(rounds.min(7))?;
        self.moved_base(rounds.min(5))?;
        self.stages(rounds.min(5))?;
        self.large_layer(rounds.min(3))
    }

    fn build(&self, side: Side, directory: &str, arguments: &[&str]) -> Result {
        let path = self.project.path().join(directory);
        match side {
            Side::Otoshi => {
                let mut command = self.project.otoshi(&["image", "build", "."]);
                quiet(command.args(arguments).current_dir(path))
            }
            Side::Docker => self.docker.build(&path, arguments),
            Side::Buildah => self.buildah.build(&path, arguments),
        }
    }

    /// Measures a call for each side in turn, after a call that is not measured; `before` is done for all sides, once a round.
    fn in_turns(
        &self,
        what: &str,
        rounds: usize,
        before: impl Fn(usize) -> Result,
        call: impl Fn(Side) -> Result,
    ) -> Result<[Times; 3]> {
        let mut times = [const { Times(Vec::new()) }; 3];
        for round in 0..=rounds {
            before(round)?;
            for (side, times) in SIDES.iter().zip(&mut times) {
                // Nobody waits for what another one left to write.
                quiet(&mut Command::new("sync"))?;
                let started = Instant::now();
                call(*side)?;
                if round > 0 {
                    times.0.push(started.elapsed());
                }
            }
        }
        let [ours, docker, buildah] = &times;
        let ratio = |theirs: &Times| ours.median() / theirs.median();
        let (one, two) = (ratio(docker), ratio(buildah));
        println!("| {what} | {ours} | {docker} | {one:.3} | {buildah} | {two:.3} |");
        Ok(times)
    }

    fn twenty_steps(&self, rounds: usize) -> Result {
        let text = format!("FROM {}\n{}", bases::BASE, "RUN true\n".repeat(20));
        self.project.write("twenty/Dockerfile", &text)?;
        self.in_turns(
            "20 steps of `RUN true`",
            rounds,
            |_| Ok(()),
            |side| self.build(side, "twenty", &["--no-cache", "-t", "otoshi.test/twenty:1"]),
        )
        .map(drop)
    }

    fn write_files(&self) -> Result {
        for number in 0..FILES {
            let path = format!("context/src/{:03}/{number:05}", number / 100);
            self.project.write(&path, &format!("file {number}\n").repeat(20))?;
        }
        Ok(())
    }

    fn large_context(&self, rounds: usize) -> Result {
        self.write_files()?;
        self.project.write("context/Dockerfile", &format!("FROM {}\nCOPY . /src\n", bases::BASE))?;
        self.in_turns(
            "a context of 50,000 files, unchanged",
            rounds,
            |_| Ok(()),
            |side| self.build(side, "context", &["-t", "otoshi.test/context:1"]),
        )
        .map(drop)
    }

    /// The base has another file each time; what is copied is the same. The context is that of [`Self::large_context`].
    fn moved_base(&self, rounds: usize) -> Result {
        const MOVING: &str = "otoshi.test/moving:1";
        self.project.write("context/moving.Dockerfile", &format!("FROM {MOVING}\nCOPY src /src\n"))?;
        let archive = self.project.path().join("moving.tar");
        let move_base = |round: usize| {
            self.project.write("moving/etc/round", &format!("{round}\n"))?;
            let mut tar = Command::new("tar");
            quiet(tar.arg("-C").arg(self.project.path().join("moving")).arg("-cf").arg(&archive).arg("."))?;
            self.project.import(&archive, MOVING)?;
            self.docker.import(&archive, MOVING)?;
            self.buildah.import(&archive, MOVING)
        };
        let build = ["-f", "moving.Dockerfile", "-t", "otoshi.test/moved:1"];
        self.in_turns("the base moved, 50,000 copied files did not", rounds, move_base, |side| {
            self.build(side, "context", &build)
        })?;
        // No copy is repeated: nothing but the base is new.
        move_base(rounds + 1)?;
        let mut command = self.project.otoshi(&["image", "build", "."]);
        let said = process::read_both(command.args(build).current_dir(self.project.path().join("context")))?;
        if said.contains("] cached") {
            Ok(())
        } else {
            Err(Failure::Wrong(format!("the copy was repeated:\n{said}")))
        }
    }

    /// Eight stages that have a core to do, beside the same work in a row.
    fn stages(&self, rounds: usize) -> Result {
        const WORK: &str = "head -c 150000000 /dev/zero | sha256sum";
        let base = bases::BASE;
        let stage = |n: usize| format!("FROM {base} AS s{n}\nRUN {WORK} > /{n}\n");
        let copies: String = (0..8).map(|n| format!("COPY --from=s{n} /{n} /{n}\n")).collect();
        let apart: String = (0..8).map(stage).collect();
        let row: String = (0..8).map(|n| format!("RUN {WORK} > /{n}\n")).collect();
        self.project.write("stages/apart", &format!("{apart}FROM {base}\n{copies}"))?;
        self.project.write("stages/row", &format!("FROM {base}\n{row}"))?;
        let build = |side, file| {
            self.build(side, "stages", &["-f", file, "--no-cache", "-t", "otoshi.test/stages:1"])
        };
        let apart =
            self.in_turns("eight stages side by side", rounds, |_| Ok(()), |side| build(side, "apart"))?;
        let row = self.in_turns("the same work in a row", rounds, |_| Ok(()), |side| build(side, "row"))?;
        let gained: Vec<String> = row
            .iter()
            .zip(&apart)
            .map(|(row, apart)| format!("{:.2}", row.median() / apart.median()))
            .collect();
        println!("| gained by doing it side by side | {} | {} | | {} | |", gained[0], gained[1], gained[2]);
        Ok(())
    }

    /// A layer of text and noise, copied, compressed with gzip and pushed; a file of it is another one each time.
    fn large_layer(&self, rounds: usize) -> Result {
        let registry = Registry::start()?;
        let mut noise = 88_172_645_463_325_252_u64;
        let mut next = || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise
        };
        let words: Vec<String> = (0..4096).map(|_| format!("{:x}", next() >> (20 + next() % 30))).collect();
        for number in 0..MEGABYTES {
            let mut text = String::with_capacity(1 << 20);
            while text.len() < 1_000_000 {
                text.push_str(&words[next() as usize % words.len()]);
                text.push(if next() % 9 == 0 { '\n' } else { ' ' });
            }
            self.project.write(&format!("large/data/{number:03}"), &text)?;
        }
        self.project.write("large/Dockerfile", &format!("FROM {}\nCOPY data /data\n", bases::BASE))?;
        let name = |side: &str| format!("{}/{side}:1", registry.host());
        let change = |round: usize| self.project.write("large/data/round", &format!("{round}\n"));
        self.in_turns(
            "a layer of 500 MB, copied, compressed and pushed",
            rounds,
            change,
            |side| match side {
                Side::Otoshi => {
                    self.build(side, "large", &["-t", &name("otoshi")])?;
                    quiet(&mut self.project.otoshi(&["image", "push", &name("otoshi")]))
                }
                Side::Docker => {
                    self.build(side, "large", &["-t", &name("docker")])?;
                    self.docker.run(&["push", "--quiet", &name("docker")])
                }
                Side::Buildah => {
                    self.build(side, "large", &["-t", &name("buildah")])?;
                    self.buildah.push(&name("buildah"))
                }
            },
        )?;
        let mut sizes = Vec::new();
        for side in ["otoshi", "docker", "buildah"] {
            let mut inspect = Command::new("skopeo");
            inspect.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", name(side))]);
            let manifest: serde_json::Value = serde_json::from_str(&process::read(&mut inspect)?)
                .map_err(|error| Failure::Wrong(format!("a manifest of {side}: {error}")))?;
            let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
            let top = layers.last().and_then(|layer| layer["size"].as_f64()).unwrap_or(f64::NAN);
            sizes.push(format!("{:.1} MB", top / 1e6));
        }
        println!("| that layer's size | {} | {} | | {} | |", sizes[0], sizes[1], sizes[2]);
        let large = self.project.path().join("large");
        fs::remove_dir_all(&large).map_err(Failure::file("removing", &large))
    }
}
