//! Dockerfiles and contexts by chance, built by Otoshi and by Docker, and compared; what differs is made smaller until nothing
//! can be left out, and kept as a folder to look at.

mod dice;
mod grammar;
mod scene;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use self::{dice::Dice, scene::Scene};
use super::{
    bench::Bench,
    builder::{Builder, Built, Order},
    compare,
};
use crate::{
    failure::{Failure, Result},
    root,
};

/// How often a scene is tried in a smaller form.
const TRIES: usize = 400;

/// What there is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    pub(super) count: u64,
    pub(super) seed: u64,
    pub(super) jobs: usize,
}

/// A scene that the two builders do not make the same of.
struct Different {
    number: u64,
    scene: Scene,
    lines: Vec<String>,
}

impl Trial {
    /// Makes scenes and compares them; fails where one differs.
    pub(super) fn run(self, bench: &Bench) -> Result {
        let next = AtomicU64::new(0);
        let (found, counts) = (Mutex::new(Vec::new()), Mutex::new([0_u64; 2]));
        thread::scope(|scope| -> Result {
            let work = || -> Result {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= self.count {
                        return Ok(());
                    }
                    let scene = grammar::scene(&mut Dice::new(self.seed, number));
                    let place = bench.directory.path().join(format!("random-{number}"));
                    let (builds, lines) = compare(bench, &scene, &place)?;
                    lock(&counts)[usize::from(!builds)] += 1;
                    if !lines.is_empty() {
                        let scene = shrunk(bench, scene, &place)?;
                        let (_, lines) = compare(bench, &scene, &place)?;
                        lock(&found).push(Different { number, scene, lines });
                    }
                }
            };
            let threads: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                thread.join().map_err(|_| Failure::Wrong("a thread died".into()))??;
            }
            Ok(())
        })?;
        let [built, refused] = *lock(&counts);
        println!("{built} scenes of seed {} are built by Docker, {refused} are refused", self.seed);
        let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for different in &found {
            self.keep(different)?;
        }
        if found.is_empty() {
            return Ok(());
        }
        Err(Failure::Wrong(format!("{} scenes differ", found.len())))
    }

    /// Prints what differs, and writes it to a folder.
    fn keep(self, different: &Different) -> Result {
        let folder =
            root().join("target/conformance-random").join(format!("{}-{}", self.seed, different.number));
        let _ = fs::remove_dir_all(&folder);
        different.scene.write(&folder)?;
        println!("== {}\n{}", folder.display(), different.scene.shown());
        for line in &different.lines {
            println!("    {}", super::line::shortened(line));
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The smallest scene that differs and to which nothing smaller leads.
fn shrunk(bench: &Bench, scene: Scene, place: &Path) -> Result<Scene> {
    let mut best = scene;
    let mut tries = 0;
    'again: loop {
        for smaller in best.smaller() {
            tries += 1;
            if tries > TRIES {
                return Ok(best);
            }
            if !compare(bench, &smaller, place)?.1.is_empty() {
                best = smaller;
                continue 'again;
            }
        }
        return Ok(best);
    }
}

/// Builds a scene with both, and says whether Docker builds it, and what differs.
fn compare(bench: &Bench, scene: &Scene, place: &Path) -> Result<(bool, Vec<String>)> {
    let _ = fs::remove_dir_all(place);
    let context = place.join("context");
    scene.write(&context)?;
    let build = |builder: &dyn Builder| {
        builder.carry_out(&Order {
            context: &context,
            flags: &scene.flags,
            file: None,
            environment: &BTreeMap::new(),
            name: &format!("conformance.test/{}", place.file_name().unwrap_or_default().to_string_lossy()),
            archive: &archive(place, &builder.name()),
        })
    };
    let theirs = match build(bench.docker()) {
        // An image without a layer is one that Docker 20.10 makes and does not give away.
        Err(failure) if failure.to_string().contains("empty export") => return Ok((false, Vec::new())),
        other => other?,
    };
    let ours = build(&bench.otoshi);
    let _ = fs::remove_dir_all(place);
    // An accident is a difference, too.
    let ours = match ours {
        Ok(ours) => ours,
        Err(failure) => return Ok((true, vec![failure.to_string()])),
    };
    Ok(match (&ours, &theirs) {
        (Built::Image(ours, _), Built::Image(theirs, _)) => {
            (true, compare::differences(ours, theirs, &bench.docker().name(), &[]))
        }
        (Built::Refused(_), Built::Refused(_)) => (false, Vec::new()),
        (Built::Refused(text), _) => (true, vec![format!("Otoshi refuses: {text}")]),
        (_, Built::Refused(text)) => (false, vec![format!("Docker refuses: {text}")]),
    })
}

fn archive(place: &Path, builder: &str) -> PathBuf {
    place.join(format!("{builder}.tar"))
}
