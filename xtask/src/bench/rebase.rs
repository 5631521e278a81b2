//! Putting images on a new base: the proof of a large runner, one image, and a thousand.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use otoshi_test::Registry;
use serde_json::Value;

use super::measure::{Times, peak_memory, quiet};
use crate::{
    failure::{Failure, Result},
    process,
    project::Project,
};

/// How many programs and libraries the runner has.
const PROGRAMS: usize = 500;
/// How many bytes of files it has.
const BYTES: u64 = 300_000_000;
/// Where they are taken from.
const FROM: [&str; 4] = ["/usr/lib", "/usr/bin", "/usr/sbin", "/usr/share"];

/// Measures the proof and rebases of `apps` images.
pub(super) fn measure(otoshi: &Path, rounds: usize, apps: usize) -> Result {
    let project = Project::empty(otoshi)?;
    println!("| what | Otoshi |");
    println!("| --- | ---: |");
    proof(&project, rounds)?;
    fleet(&project, apps)
}

/// The proof of a runner of 300 MB with 500 programs and libraries, of a machine that knows neither base, one, and both.
fn proof(project: &Project, rounds: usize) -> Result {
    let root = project.path().join("root");
    let (programs, bytes) = runner(&root)?;
    for number in ["1", "2", "3"] {
        fs::write(root.join("base"), number).map_err(Failure::file("writing", &root))?;
        let tar = project.path().join("root.tar");
        let mut command = Command::new("tar");
        quiet(command.arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."))?;
        project.import(&tar, &format!("bench.test/runner:{number}"))?;
    }
    fs::remove_dir_all(&root).map_err(Failure::file("removing", &root))?;
    project.write("app/Dockerfile", "FROM bench.test/runner:1\nCOPY web /app/web\n")?;
    fs::copy("/bin/ls", project.path().join("app/web")).map_err(Failure::file("copying", "/bin/ls"))?;
    quiet(&mut project.otoshi(&["image", "build", "app", "-t", "bench.test/app:1"]))?;
    let check = |onto: &str| {
        let base = ["--base", "bench.test/runner:1", "--onto", onto, "bench.test/app:1"];
        let started = Instant::now();
        quiet(&mut project.otoshi(&[&["rebase", "--check"][..], &base].concat()))?;
        Ok::<_, Failure>(started.elapsed())
    };
    let records = project.home().join("records");
    let forget = || {
        for kind in ["facts", "proof"] {
            let _ = fs::remove_dir_all(records.join(kind));
        }
    };
    let (mut cold, mut warm) = (Times(Vec::new()), Times(Vec::new()));
    for _ in 0..rounds {
        forget();
        cold.0.push(check("bench.test/runner:2")?);
        warm.0.push(check("bench.test/runner:2")?);
    }
    // With the old base known: only the new one is read.
    let mut one = Times(Vec::new());
    for _ in 0..rounds {
        forget();
        // Moving to the third reads the old one and the application.
        check("bench.test/runner:3")?;
        one.0.push(check("bench.test/runner:2")?);
    }
    let megabytes = bytes / 1_000_000;
    println!(
        "| proof between two runners of {megabytes} MB with {programs} programs and libraries, nothing known | {cold} |"
    );
    println!("| the same, the old runner and the application known | {one} |");
    println!("| the same, both known | {warm} |");
    Ok(())
}

/// Many images of their own on one base, in a registry on loopback that keeps its files in memory, so that no disk is measured;
/// then that base moves.
fn fleet(project: &Project, apps: usize) -> Result {
    let registry = Registry::start_in_memory()?;
    let name = |name: &str| format!("{}/{name}", registry.host());
    for number in ["1", "2"] {
        project.write("base/etc/base", number)?;
        project.write("base/Dockerfile", "FROM scratch\nCOPY etc /etc\n")?;
        let tag = name(&format!("base:{number}"));
        quiet(&mut project.otoshi(&["image", "build", "base", "-t", &tag]))?;
        quiet(&mut project.otoshi(&["image", "push", &tag]))?;
    }
    project.write("app/Dockerfile", &format!("FROM {}\nCOPY own /own\n", name("base:1")))?;
    let mut images = Vec::new();
    for number in 0..=apps {
        project.write("app/own", &number.to_string())?;
        let tag = name(&format!("apps:{number}"));
        quiet(&mut project.otoshi(&["image", "build", "app", "-t", &tag]))?;
        quiet(&mut project.otoshi(&["image", "push", &tag]))?;
        images.push(tag);
    }
    project.forget()?;
    let (base, onto) = (name("base:1"), name("base:2"));
    let first = images.pop().unwrap_or_default();
    let options = ["--base", base.as_str(), "--onto", onto.as_str()];
    quiet(&mut project.otoshi(&[&["rebase", "--check"][..], &options, &[&first]].concat()))?;
    let shown =
        process::read(&mut project.otoshi(&[&["rebase", "--json"][..], &options, &[&first]].concat()))?;
    let shown: Value = serde_json::from_str(&shown).map_err(|error| Failure::Wrong(error.to_string()))?;
    println!(
        "| requests of one image whose layers are known, and blobs that it uploads | {}, the config |",
        shown[0]["requests"]
    );
    // Their layers were looked at once, as in a fleet that was moved before.
    let all: Vec<&str> = images.iter().map(String::as_str).collect();
    quiet(&mut project.otoshi(&[&["rebase", "--check"][..], &options, &all].concat()))?;
    let started = Instant::now();
    let mut command = project.otoshi(&[&["rebase"][..], &options, &all].concat());
    let memory = peak_memory(&mut command)?;
    let took = started.elapsed();
    println!(
        "| {apps} images on a new base | {:.1} s, {:.0} a second |",
        took.as_secs_f64(),
        apps as f64 / took.as_secs_f64()
    );
    println!("| peak memory of that | {memory} MB |");
    check_moved(project, &onto, &options, &all[..1])
}

/// The images do stand on the new base.
fn check_moved(project: &Project, onto: &str, options: &[&str; 4], images: &[&str]) -> Result {
    let options = ["--base", onto, options[2], options[3]];
    let shown = process::read(&mut project.otoshi(&[&["rebase", "--json"][..], &options, images].concat()))?;
    if shown.contains("\"outcome\": \"same\"") {
        return Ok(());
    }
    Err(Failure::Wrong(format!("an image was not moved: {shown}")))
}

/// Makes a directory of files of this machine: so many programs and libraries, and others up to the size.
fn runner(root: &Path) -> Result<(usize, u64)> {
    let (mut programs, mut bytes) = (0, 0);
    let mut waiting: Vec<PathBuf> = FROM.iter().map(PathBuf::from).collect();
    let mut others = Vec::new();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).map_err(Failure::file("listing", &directory))?.flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            if meta.is_dir() {
                waiting.push(path);
            } else if meta.is_file() && meta.len() < 5_000_000 {
                if programs < PROGRAMS && is_elf(&path) && bytes + meta.len() < BYTES {
                    programs += 1;
                    bytes += put(&path, root)?;
                } else {
                    others.push((path, meta.len()));
                }
            }
        }
    }
    others.sort();
    for (path, size) in others {
        if bytes + size <= BYTES && !is_elf(&path) {
            bytes += put(&path, root)?;
        }
    }
    // Fewer files than that on this machine: the rest is one that no compression makes smaller.
    if bytes < BYTES {
        let rest = root.join("rest");
        let line = format!("head -c {} /dev/urandom > {}", BYTES - bytes, rest.display());
        quiet(Command::new("sh").args(["-c", &line]))?;
        bytes = BYTES;
    }
    Ok((programs, bytes))
}

fn is_elf(path: &Path) -> bool {
    let mut start = [0; 4];
    fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && start == *b"\x7fELF")
}

fn put(path: &Path, root: &Path) -> Result<u64> {
    let to = root.join(path.strip_prefix("/").unwrap_or(path));
    let parent = to.parent().unwrap_or(root);
    fs::create_dir_all(parent).map_err(Failure::file("making", parent))?;
    fs::copy(path, &to).map_err(Failure::file("copying", path))
}
