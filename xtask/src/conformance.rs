//! Whether Otoshi builds what Docker builds: small Dockerfiles, built by both, and the images compared.
//!
//! `conformance/README.md` tells what a case is and what is compared.

mod bases;
mod builder;
mod case;
mod compare;
mod context;
mod image;
mod pending;
mod random;
mod server;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use clap::Args;
use tempfile::TempDir;

use self::{
    builder::{Buildah, Builder, Built, Order, Otoshi},
    case::{Case, Reference},
    context::Workplace,
    server::Server,
};
use crate::{
    deps,
    docker::Daemon,
    failure::{Failure, Result},
    process, project, root,
};

/// Builds every case with Otoshi and its reference, compares the images, and prints a table.
#[derive(Debug, Args)]
pub(crate) struct Conformance {
    /// Only cases whose name has one of these texts in it
    filter: Vec<String>,
    /// How many cases run at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print what the reference made, and do not compare
    #[arg(long)]
    show: bool,
    /// The otoshi to try [default: one that is built for it]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// In place of the cases, so many Dockerfiles and contexts by chance; what differs is made smaller and kept
    #[arg(long, value_name = "N", conflicts_with_all = ["filter", "show"])]
    random: Option<u64>,
    /// Where chance begins, so that it can be repeated [default: another one each time]
    #[arg(long, value_name = "S", requires = "random")]
    seed: Option<u64>,
}

/// How a case ended.
enum Outcome {
    Equal,
    Different(Vec<String>),
}

impl Conformance {
    /// Runs every case, as the tests do.
    pub(crate) fn all() -> Result {
        Self { filter: Vec::new(), jobs: 2, show: false, program: None, random: None, seed: None }.run()
    }

    pub(crate) fn run(self) -> Result {
        let folder = root().join("conformance");
        let mut pending = pending::read(&folder.join("pending.txt"))?;
        let mut cases = case::read_all(&folder.join("cases"))?;
        if let Some(name) = pending.keys().find(|name| !cases.iter().any(|case| case.name == **name)) {
            return Err(Failure::Wrong(format!("conformance/pending.txt: there is no case {name}")));
        }
        let wanted = |name: &str| {
            self.filter.is_empty() || self.filter.iter().any(|text| name.contains(text.as_str()))
        };
        cases.retain(|case| wanted(&case.name));
        pending.retain(|name, _| wanted(name));
        if cases.is_empty() {
            return Err(Failure::Wrong("no case has such a name".into()));
        }
        if !process::is_root() {
            return Err(Failure::Wrong("the references need root: Docker's daemon and buildah".into()));
        }
        deps::install(&[deps::CONFORMANCE])?;
        let bench = Bench::set_up(&cases, self.program.as_deref())?;
        if let Some(count) = self.random {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let seed = self.seed.unwrap_or_else(|| now.map_or(1, |now| now.as_secs()));
            return random::Trial { count, seed, jobs: self.jobs }.run(&bench);
        }
        let outcomes = in_parallel(self.jobs, &cases, |case| {
            let outcome = if self.show { bench.show(case) } else { bench.compare(case) };
            outcome.unwrap_or_else(|failure| Outcome::Different(vec![failure.to_string()]))
        });
        if self.show { Ok(()) } else { report(&cases, outcomes, &pending) }
    }
}

/// Calls a function for every case, several at a time; the results are in the cases' order.
fn in_parallel<T: Send>(jobs: usize, cases: &[Case], call: impl Fn(&Case) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { break };
                    let result = call(case);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(index, result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect()
}

/// Everything that cases are run with.
struct Bench {
    otoshi: Otoshi,
    docker: Daemon,
    buildah: Buildah,
    server: Server,
    directory: TempDir,
}

impl Bench {
    fn set_up(cases: &[Case], program: Option<&Path>) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("otoshi-conformance-")
            .tempdir()
            .map_err(Failure::file("making", "a directory"))?;
        let path = |name: &str| directory.path().join(name);
        let program = match program {
            Some(program) => std::path::absolute(program).map_err(Failure::file("finding", program))?,
            None => project::build_otoshi()?,
        };
        let otoshi = Otoshi { program, home: path("otoshi") };
        let docker = Daemon::start()?;
        let bases = bases::make(&docker, directory.path())?;
        for archive in &bases {
            otoshi.import(archive)?;
        }
        let buildah = Buildah { home: path("buildah") };
        if cases.iter().any(|case| case.description.reference == Reference::Buildah) {
            for archive in &bases {
                buildah.import(archive)?;
            }
        }
        let server = Server::start(path("cases"))?;
        Ok(Self { otoshi, docker, buildah, server, directory })
    }

    /// The builder that says what is right; for the documentation, the one that builds an equivalent.
    fn reference(&self, case: &Case) -> Option<&dyn Builder> {
        match case.description.reference {
            Reference::Docker => Some(&self.docker),
            Reference::Buildah => Some(&self.buildah),
            Reference::Documentation if case.has_equivalent() => Some(&self.docker),
            Reference::Documentation => None,
        }
    }

    fn workplace(&self, case: &Case) -> Result<Workplace> {
        Workplace::prepare(case, &self.directory.path().join("cases").join(&case.name))
    }

    fn build(&self, case: &Case, builder: &dyn Builder, place: &Workplace, own: bool) -> Result<Built> {
        let it = &case.description;
        let flags = if own { &it.flags } else { it.reference_flags.as_ref().unwrap_or(&it.flags) };
        let server = self.server.url(&format!("{}/context", case.name));
        let flags: Vec<String> = flags.iter().map(|flag| flag.replace("{server}", &server)).collect();
        builder.carry_out(&Order {
            context: &place.context,
            flags: &flags,
            file: place.equivalent.as_deref().filter(|_| !own),
            environment: &it.environment,
            name: &format!("conformance.test/{}", case.name),
            archive: &place.archive(builder.name()),
        })
    }

    fn compare(&self, case: &Case) -> Result<Outcome> {
        let place = self.workplace(case)?;
        let theirs =
            self.reference(case).map(|builder| self.build(case, builder, &place, false)).transpose()?;
        let ours = self.build(case, &self.otoshi, &place, true)?;
        let name = self.reference(case).map_or("the documentation", Builder::name);
        let mut found = against(case, &ours, theirs.as_ref(), name);
        if let (Some(text), Built::Image(_, said)) = (&case.description.warns, &ours)
            && !said.contains(text)
        {
            found.push(format!("it does not warn of {text:?}: {said}"));
        }
        Ok(if found.is_empty() { Outcome::Equal } else { Outcome::Different(found) })
    }

    /// Prints what the reference made.
    fn show(&self, case: &Case) -> Result<Outcome> {
        let place = self.workplace(case)?;
        let builder = self.reference(case).unwrap_or(&self.otoshi);
        let own = case.description.reference == Reference::Documentation && !case.has_equivalent();
        let shown = match self.build(case, builder, &place, own)? {
            Built::Refused(text) => format!("refused: {text}"),
            Built::Image(image, text) => {
                let base = ["/bin/", "/dev/", "/proc/", "/sys/"];
                let tree =
                    image.tree.iter().filter(|(path, _)| !base.iter().any(|base| path.starts_with(base)));
                let lines: Vec<String> = tree.map(|(path, node)| format!("{path} {node}")).collect();
                format!("{text}\n{}\n{}", image.config["config"], lines.join("\n"))
            }
        };
        println!("== {}, {}\n{shown}", case.name, builder.name());
        Ok(Outcome::Equal)
    }
}

/// Every way in which a result is not what it must be.
fn against(case: &Case, ours: &Built, theirs: Option<&Built>, name: &str) -> Vec<String> {
    let it = &case.description;
    let mut found = Vec::new();
    if it.fails {
        let sides = [("Otoshi", Some(ours), &it.message), (name, theirs, &it.reference_message)];
        for (name, built, message) in sides {
            match (built, message) {
                (Some(Built::Refused(text)), Some(message)) if !text.contains(message) => {
                    found.push(format!("{name} does not say {message:?}: {text}"));
                }
                (Some(Built::Image(..)), _) => found.push(format!("{name} builds what must be refused")),
                _ => {}
            }
        }
        return found;
    }
    match (ours, theirs) {
        (Built::Refused(text), _) => found.push(format!("Otoshi refuses: {text}")),
        (_, Some(Built::Refused(text))) => found.push(format!("{name} refuses: {text}")),
        (Built::Image(ours, _), theirs) => {
            if let Some(Built::Image(theirs, _)) = theirs {
                found.extend(compare::differences(ours, theirs, name, &it.left_over));
            }
            found.extend(compare::broken_promises(ours, it.config.as_ref(), &it.files, &it.complete));
        }
    }
    found
}

/// What happened in a group.
#[derive(Debug, Default, Clone)]
struct Counts {
    cases: usize,
    docker: usize,
    buildah: usize,
    documentation: usize,
    pending: usize,
    failing: usize,
}

fn report(cases: &[Case], outcomes: Vec<Outcome>, pending: &BTreeMap<String, String>) -> Result {
    let mut groups: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut failing = Vec::new();
    for (case, outcome) in cases.iter().zip(outcomes) {
        let counts = groups.entry(case.group()).or_default();
        counts.cases += 1;
        match (outcome, pending.get(&case.name)) {
            (Outcome::Equal, None) => match case.description.reference {
                Reference::Docker => counts.docker += 1,
                Reference::Buildah => counts.buildah += 1,
                Reference::Documentation => counts.documentation += 1,
            },
            (Outcome::Equal, Some(_)) => {
                counts.failing += 1;
                failing.push((case, vec!["it is right now: take it out of conformance/pending.txt".into()]));
            }
            (Outcome::Different(_), Some(_)) => counts.pending += 1,
            (Outcome::Different(lines), None) => {
                counts.failing += 1;
                failing.push((case, lines));
            }
        }
    }
    for (case, lines) in &failing {
        let folder: PathBuf = ["conformance/cases", &case.name].iter().collect();
        println!("{}: {}", folder.display(), case.description.about);
        for line in lines {
            println!("    {}", shortened(line));
        }
    }
    println!("| group | cases | equal with Docker | with buildah | with documentation | pending | failing |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut total = Counts::default();
    for (group, counts) in &groups {
        row(group, counts);
        total.cases += counts.cases;
        total.docker += counts.docker;
        total.buildah += counts.buildah;
        total.documentation += counts.documentation;
        total.pending += counts.pending;
        total.failing += counts.failing;
    }
    row("all", &total);
    if failing.is_empty() { Ok(()) } else { Err(Failure::Wrong(format!("{} cases fail", failing.len()))) }
}

/// A line without its middle, where it is very long: what a builder printed ends with the reason.
fn shortened(line: &str) -> String {
    let count = line.chars().count();
    if count <= 800 {
        return line.to_owned();
    }
    let start: String = line.chars().take(200).collect();
    let end: String = line.chars().skip(count - 500).collect();
    format!("{start} … {end}")
}

fn row(name: &str, counts: &Counts) {
    let Counts { cases, docker, buildah, documentation, pending, failing } = counts;
    println!("| {name} | {cases} | {docker} | {buildah} | {documentation} | {pending} | {failing} |");
}
