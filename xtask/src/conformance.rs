//! Whether Otoshi builds what Docker builds: small Dockerfiles, built by both, and the images compared.
//!
//! `conformance/README.md` tells what a case is and what is compared.

mod bases;
mod bench;
mod builder;
mod case;
mod compare;
mod context;
mod image;
mod line;
mod pending;
mod random;
mod server;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use clap::Args;

use self::{
    bench::Bench,
    case::{Case, Reference},
    line::shortened,
};
use crate::{
    deps,
    failure::{Failure, Result},
    process, root,
};

/// Build every case with Otoshi and its reference, compare the images, and print a table.
#[derive(Debug, Args)]
pub(crate) struct Conformance {
    /// Only cases whose name contains one of these texts
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
    /// Compare with this one alone: docker-VERSION or the beginning of that, or today [default: today's, and this machine's]
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,
    /// Instead of the cases, try this many random Dockerfiles and contexts; what differs is reduced and kept
    #[arg(long, value_name = "N", conflicts_with_all = ["filter", "show"])]
    random: Option<u64>,
    /// Random seed, to repeat a run [default: a new one each time]
    #[arg(long, value_name = "S", requires = "random")]
    seed: Option<u64>,
}

/// How many scenes by chance the tests try, and which: the same ones each time.
const SCENES: u64 = 100;
const SEED: u64 = 20_261_129;

impl Conformance {
    /// Runs every case and some scenes by chance, as the tests do: with today's references.
    pub(crate) fn all(program: PathBuf) -> Result {
        let all = Self {
            filter: Vec::new(),
            jobs: 2,
            show: false,
            program: Some(program),
            reference: Some(bench::TODAY.to_owned()),
            random: None,
            seed: None,
        };
        let bench = all.bench()?;
        all.cases(&bench)?;
        random::Trial { count: SCENES, seed: SEED, jobs: all.jobs }.run(&bench)
    }

    pub(crate) fn run(self) -> Result {
        let bench = self.bench()?;
        let Some(count) = self.random else { return self.cases(&bench) };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = self.seed.unwrap_or_else(|| now.map_or(1, |now| now.as_secs()));
        random::Trial { count, seed, jobs: self.jobs }.run(&bench)
    }

    /// Starts what the cases are built with.
    fn bench(&self) -> Result<Bench> {
        if !process::is_root() {
            return Err(Failure::Wrong("the references need root: Docker's daemon and buildah".into()));
        }
        deps::install(&[deps::CONFORMANCE])?;
        Bench::set_up(self.program.as_deref(), self.reference.as_deref())
    }

    /// Builds and compares the cases that are asked for.
    fn cases(&self, bench: &Bench) -> Result {
        let folder = root().join("conformance");
        let mut pending = pending::read(&folder.join("pending.txt"))?;
        let mut cases = case::read_all(&folder.join("cases"))?;
        if let Some(name) = pending.keys().find(|name| !cases.iter().any(|case| case.name == **name)) {
            return Err(Failure::Wrong(format!("conformance/pending.txt: there is no case {name}")));
        }
        let wanted = |name: &str| {
            self.filter.is_empty() || self.filter.iter().any(|text| name.contains(text.as_str()))
        };
        cases.retain(|case| wanted(&case.name) && bench.knows(case));
        pending.retain(|name, _| cases.iter().any(|case| case.name == *name));
        if cases.is_empty() {
            return Err(Failure::Wrong("no case has such a name".into()));
        }
        let found = in_parallel(self.jobs, &cases, |case| {
            let found = if self.show { bench.show(case) } else { bench.compare(case) };
            found.unwrap_or_else(|failure| vec![failure.to_string()])
        });
        if self.show { Ok(()) } else { report(bench, &cases, found, &pending) }
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

/// What happened in a group.
#[derive(Debug, Default, Clone)]
struct Counts {
    cases: usize,
    docker: usize,
    buildah: usize,
    documentation: usize,
    otherwise: usize,
    pending: usize,
    failing: usize,
}

fn report(
    bench: &Bench,
    cases: &[Case],
    found: Vec<Vec<String>>,
    pending: &BTreeMap<String, String>,
) -> Result {
    let mut groups: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut failing = Vec::new();
    for (case, lines) in cases.iter().zip(found) {
        let counts = groups.entry(case.group()).or_default();
        counts.cases += 1;
        match (lines.is_empty(), pending.get(&case.name)) {
            (true, None) => match case.description.reference {
                Reference::Docker if case.is_otherwise(bench.docker().version()) => counts.otherwise += 1,
                Reference::Docker => counts.docker += 1,
                Reference::Buildah => counts.buildah += 1,
                Reference::Documentation => counts.documentation += 1,
            },
            (true, Some(_)) => {
                counts.failing += 1;
                failing.push((case, vec!["it passes now: remove it from conformance/pending.txt".into()]));
            }
            (false, Some(_)) => counts.pending += 1,
            (false, None) => {
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
    println!(
        "| group | cases | equal with Docker {} | with buildah | with documentation | different on purpose | pending | failing |",
        bench.docker().version()
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut total = Counts::default();
    for (group, counts) in &groups {
        row(group, counts);
        total.cases += counts.cases;
        total.docker += counts.docker;
        total.buildah += counts.buildah;
        total.documentation += counts.documentation;
        total.otherwise += counts.otherwise;
        total.pending += counts.pending;
        total.failing += counts.failing;
    }
    row("all", &total);
    if let Some(second) = bench.second() {
        let version = second.version();
        let asked = cases.iter().filter(|case| case.description.reference == Reference::Docker);
        let (otherwise, same): (Vec<_>, Vec<_>) = asked.partition(|case| case.is_otherwise(version));
        let (same, otherwise) = (same.len(), otherwise.len());
        println!(
            "Docker {version} gives the same for {same} cases as well, and something else for {otherwise}, as they say."
        );
    }
    if failing.is_empty() { Ok(()) } else { Err(Failure::Wrong(format!("{} cases fail", failing.len()))) }
}

fn row(name: &str, counts: &Counts) {
    let Counts { cases, docker, buildah, documentation, otherwise, pending, failing } = counts;
    println!(
        "| {name} | {cases} | {docker} | {buildah} | {documentation} | {otherwise} | {pending} | {failing} |"
    );
}
