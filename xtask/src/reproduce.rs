//! The three examples, each built twice from nothing: by root in one directory on one core, and by an ordinary user in another
//! directory on two. What differs is told, file by file, with `otoshi diff`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use clap::Args;
use serde_json::Value;

use crate::{
    bases, deps,
    failure::{Failure, Result},
    process, project,
    project::Project,
};

/// Build the examples twice from nothing, in different directories, as root and rootless, on one core and on two, and compare.
///
/// Fails if a layer differs that no clock and no network reached, or a difference has no known cause.
#[derive(Debug, Args)]
pub(crate) struct Reproduce {
    /// The examples [default: all]
    #[arg(value_name = "EXAMPLE")]
    examples: Vec<String>,
}

/// The user that the second build belongs to; it exists in a mount namespace of the build's own.
const UID: u32 = 54323;

/// The steps whose results hold nothing of the day they ran on: files copied, and what a compiler makes of them.
const TIMELESS: [&str; 3] = ["COPY", "ADD", "WORKDIR"];

impl Reproduce {
    pub(crate) fn run(self) -> Result {
        deps::install(&[deps::BASES])?;
        let otoshi = project::build_otoshi()?;
        let bases = bases::make(&otoshi, false)?;
        let all = ["ruby-vite", "python-native", "rust-static"].map(str::to_owned).to_vec();
        let mut unexplained = Vec::new();
        for example in if self.examples.is_empty() { all } else { self.examples } {
            println!("\n{example}");
            let first = by_root(&otoshi, &example, &bases.old)?;
            let second = by_a_user(&otoshi, &example, &bases.old)?;
            unexplained
                .extend(compare(&first, &second)?.into_iter().map(|what| format!("{example}: {what}")));
        }
        if unexplained.is_empty() {
            println!("\nEvery difference is explained.");
            return Ok(());
        }
        Err(Failure::Wrong(format!("not explained:\n  {}", unexplained.join("\n  "))))
    }
}

/// A build, and the store that holds it.
struct Built {
    project: Project,
    home: PathBuf,
}

impl Built {
    fn otoshi(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.otoshi(arguments);
        command.env("OTOSHI_HOME", &self.home);
        command
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = process::read(&mut self.otoshi(arguments))?;
        serde_json::from_str(&text).map_err(|error| Failure::Wrong(format!("{arguments:?}: {error}: {text}")))
    }
}

fn by_root(otoshi: &Path, example: &str, base: &Path) -> Result<Built> {
    let project = Project::of_example(otoshi, example)?;
    project.import(base, bases::BASE)?;
    let mut build = Command::new("taskset");
    build.args(["--cpu-list", "0"]).arg(otoshi).arg("build").current_dir(project.path());
    process::read(build.env("OTOSHI_HOME", project.home()).env("RAYON_NUM_THREADS", "1"))?;
    let home = project.home();
    Ok(Built { project, home })
}

/// Builds as a user with sub-ids, who is made up for this build alone.
fn by_a_user(otoshi: &Path, example: &str, base: &Path) -> Result<Built> {
    let project = Project::of_example(otoshi, example)?;
    let top = project.path().parent().map(Path::to_owned).unwrap_or_default();
    let at = |name: &str| top.join(name);
    // A path of another length: what a compiler notes of its directory shows.
    let home = at("somebody/elses/store");
    fs::create_dir_all(&home).map_err(Failure::file("making", &home))?;
    let copy = |from: &Path, to: &str| fs::copy(from, at(to)).map_err(Failure::file("copying", from));
    copy(otoshi, "otoshi")?;
    copy(base, "base.tar")?;
    let passwd = fs::read_to_string("/etc/passwd").map_err(Failure::file("reading", "/etc/passwd"))?;
    for (file, text) in [
        ("passwd", format!("{passwd}otoshi-user:x:{UID}:{UID}::/:/bin/sh\n")),
        ("ids", "otoshi-user:400000:65536\n".to_owned()),
    ] {
        fs::write(at(file), text).map_err(Failure::file("writing", at(file)))?;
    }
    fs::set_permissions(at("otoshi"), fs::Permissions::from_mode(0o755))
        .map_err(Failure::file("opening", at("otoshi")))?;
    process::read(Command::new("chown").arg("-hR").arg(format!("{UID}:{UID}")).arg(&top))?;
    let script = format!(
        "set -e; touch /etc/subuid /etc/subgid; mount --bind passwd /etc/passwd; mount --bind ids /etc/subuid; \
         mount --bind ids /etc/subgid; cd project; exec setpriv --reuid {UID} --regid {UID} --clear-groups \
         sh -c '../otoshi import ../base.tar --name {} && ../otoshi build'",
        bases::BASE
    );
    let mut build = Command::new("unshare");
    build.args(["--mount", "sh", "-c", &script]).current_dir(&top).env("RAYON_NUM_THREADS", "2");
    process::read(build.env("OTOSHI_HOME", &home).env("HOME", &top))?;
    Ok(Built { project, home })
}

/// One layer of an image, and the step that made it.
struct Layer {
    diff_id: String,
    digest: String,
    step: String,
}

fn layers(built: &Built, image: &str) -> Result<Vec<Layer>> {
    let shown = built.json(&["inspect", image])?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let history = list(&shown["config"]["history"]);
    let mut steps =
        history.iter().filter(|step| step["empty_layer"] != true).map(|step| text(&step["created_by"]));
    let layers = list(&shown["layers"]);
    // A base without history has layers that no step names.
    let nameless = layers.len().saturating_sub(steps.clone().count());
    let step =
        |number: usize| if number < nameless { "base".to_owned() } else { steps.next().unwrap_or_default() };
    let names: Vec<String> = (0..layers.len()).map(step).collect();
    let both = layers.iter().zip(names);
    Ok(both
        .map(|(layer, step)| Layer { diff_id: text(&layer["diff_id"]), digest: text(&layer["digest"]), step })
        .collect())
}

/// Prints what differs; gives what nothing explains.
fn compare(first: &Built, second: &Built) -> Result<Vec<String>> {
    let images = first.json(&["images", "--json"])?;
    let names = images.as_array().into_iter().flatten().filter_map(|image| image["reference"].as_str());
    let names: Vec<&str> = names.filter(|name| *name != bases::BASE && !name.contains("debian")).collect();
    let (mut unexplained, mut told) = (Vec::new(), BTreeMap::new());
    for name in names {
        let (ours, theirs) = (layers(first, name)?, layers(second, name)?);
        let equal = ours.iter().zip(&theirs).filter(|(a, b)| a.digest == b.digest).count();
        println!("  {name}: {equal} of {} layers are the same, byte for byte", ours.len());
        if ours.len() != theirs.len() {
            unexplained.push(format!("{name}: {} layers and {}", ours.len(), theirs.len()));
        }
        for (ours, theirs) in ours.iter().zip(&theirs).filter(|(a, b)| a.digest != b.digest) {
            println!("    differs: {}", shortened(&ours.step));
            if ours.diff_id == theirs.diff_id {
                unexplained.push(format!("{name}: equal files are compressed differently: {}", ours.step));
            }
            // What a copy takes from another stage can come from a network.
            let timeless = TIMELESS.iter().any(|start| ours.step.starts_with(start));
            if timeless && !ours.step.contains("--from=") {
                unexplained.push(format!("{name}: {}", ours.step));
            }
        }
        if equal == ours.len() {
            continue;
        }
        // Both images in one store, so that they can be compared.
        let archive = first.project.path().with_file_name("theirs.tar");
        let path = archive.to_string_lossy();
        process::read(&mut second.otoshi(&["export", name, &path, "--format", "oci-archive"]))?;
        process::read(&mut first.otoshi(&["import", &path, "--name", "again/image:1"]))?;
        fs::remove_file(&archive).map_err(Failure::file("removing", &archive))?;
        let diff = differences(first.otoshi(&["diff", name, "again/image:1", "--json"]))?;
        for kind in ["config", "packages"] {
            for row in diff[kind].as_array().into_iter().flatten() {
                let what = row["name"].as_str().unwrap_or_default();
                // Digests of layers, and what counts them, follow from the files.
                if !what.starts_with("rootfs.diff_ids") {
                    unexplained.push(format!("{name}: {kind} {what}: {} and {}", row["old"], row["new"]));
                }
            }
        }
        for file in diff["files"].as_array().into_iter().flatten() {
            let path = file["path"].as_str().unwrap_or_default();
            match file["cause"].as_str() {
                Some(cause) => {
                    told.entry(cause.to_owned())
                        .or_insert_with(std::collections::BTreeSet::new)
                        .insert(path.to_owned());
                }
                None => unexplained.push(format!("{name}: {path} {} {}", file["change"], file["what"])),
            }
        }
    }
    for (cause, paths) in &told {
        println!("  {cause}:");
        for path in paths.iter().take(6) {
            println!("    {path}");
        }
        if paths.len() > 6 {
            println!("    and {} more", paths.len() - 6);
        }
    }
    Ok(unexplained)
}

/// What `otoshi diff --json` says; that something differs is no failure.
fn differences(mut command: Command) -> Result<Value> {
    let start = |source| Failure::Start { command: "otoshi diff".into(), source };
    let Output { stdout, stderr, status } = command.stdin(Stdio::null()).output().map_err(start)?;
    serde_json::from_slice(&stdout)
        .map_err(|_| Failure::Wrong(format!("otoshi diff: {status}: {}", String::from_utf8_lossy(&stderr))))
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > 100 { line.chars().take(99).chain(['…']).collect() } else { line.to_owned() }
}
