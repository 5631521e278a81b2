use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_project::Project;
use otoshi_store::Home;
use otoshi_updates::{Finding, PackageUpdate, Report, State, Unknown};

use crate::{
    engine::{engine, remote},
    exit,
    failure::Failure,
    remedy::words,
};

/// Show which bases, packages and versions have updates, and which phases those would rerun.
///
/// For a project, this checks the tags of all bases, the packages installed in the bases and the runner (against the
/// repositories that those images are configured to use), and end-of-life dates. Installed packages are read from the layers.
/// For images, given by their names in a registry or in the store, it checks their packages, their end-of-life dates and, where
/// they name them, their bases. Nothing is built or changed.
///
/// What cannot be understood (a package database in an unknown format, packages without a repository, a tag of an unknown form)
/// is reported as unknown, with the reason. Only what was compared counts as fresh.
///
/// Exit codes: 0 everything is fresh; 10 updates available; 11 security updates available; 20 something could not be checked,
/// or is unknown.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Images to check instead of a project
    images: Vec<String>,
    /// Project directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "images")]
    project: PathBuf,
    /// Print JSON: `version`, `project`, `findings`, `failed`, `unknown`, `fresh`, `bare`, `images`, `support`, `counts`, `cycles`, `requests`; its
    /// schema is that of `otoshi schema check`
    #[arg(long, group = "form")]
    json: bool,
    /// Print Markdown, for pull requests and job summaries
    #[arg(long, group = "form")]
    markdown: bool,
    /// Print SARIF 2.1.0, for code scanning services
    #[arg(long, group = "form")]
    sarif: bool,
}

impl Check {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let remote = remote(home);
        let report = if self.images.is_empty() {
            let project = Project::find(&self.project).map_err(Box::new)?;
            let engine = engine(home, &remote);
            otoshi_updates::Check::new(home, &engine, &project, &remote, &words).run()
        } else {
            let settings = otoshi_project::Check::default();
            otoshi_updates::CheckImages::new(home, &remote, &settings, &words).run(&self.images)
        };
        let report = report.map_err(Box::new)?;
        if self.json {
            outln!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        } else if self.markdown {
            out!("{}", report.markdown());
        } else if self.sarif {
            outln!(
                "{}",
                serde_json::to_string_pretty(&report.sarif(exit::check(report.verdict())))
                    .unwrap_or_default()
            );
        } else {
            print(&report);
        }
        Ok(exit::of_check(report.verdict()))
    }
}

/// How many packages of an image are listed for people.
const LISTED: usize = 12;

fn print(report: &Report) {
    for finding in &report.findings {
        outln!("{:8} {}  {}", word(finding.state), finding.name, finding.text);
        if let Some(because) = &finding.because {
            let until = finding.until.as_ref().map(|until| format!(", until {until}")).unwrap_or_default();
            outln!("{:9}because {because}{until}", "");
        }
        print_packages(finding);
        if let Some(first) = &finding.first_seen {
            outln!("{:9}first seen {first}", "");
        }
        for phase in &finding.phases {
            let reason = phase.reasons.first().map(otoshi_pipeline::Reason::text).unwrap_or_default();
            outln!("{:9}would run {} {} because {reason}", "", phase.number, phase.phase);
        }
        if let Some(command) = finding.command.as_ref().filter(|_| finding.state == State::Found) {
            outln!("{:9}take it in: {command}", "");
        }
    }
    for image in &report.images {
        let told = [
            ("foreign", &image.foreign, "in none of its repositories"),
            ("unknown", &image.unknown, "in none of the repositories that answered"),
        ];
        for (word, packages, what) in told {
            if !packages.is_empty() {
                let (named, all) =
                    (packages.iter().take(LISTED).cloned().collect::<Vec<_>>(), packages.len());
                let more = if all > LISTED { ", …" } else { "" };
                outln!(
                    "{word:8} {}  {all} of {} packages {what}: {}{more}",
                    image.name,
                    image.packages,
                    named.join(", ")
                );
            }
        }
    }
    for support in &report.support {
        if let Some(told) = support.told() {
            outln!("{:8} {}  {told}", "support", support.name);
        }
    }
    out!("{}", unknown_lines(&report.unknown));
    for image in &report.bare {
        outln!("{:8} {image}  it has no packages, and nothing says what it is made of", "bare");
    }
    for failed in &report.failed {
        outln!("{:8} {}  {}", "failed", failed.reference, failed.message);
        if let Some(hint) = &failed.hint {
            outln!("{:9}hint: {hint}", "");
        }
    }
    let counts = report.counts;
    let security =
        if counts.security > 0 { format!(" ({} security)", counts.security) } else { String::new() };
    outln!(
        "{} found{security}, {} held, {} ignored, {} failed, {} unknown, {} fresh",
        counts.found,
        counts.held,
        counts.ignored,
        counts.failed,
        counts.unknown,
        counts.fresh
    );
    let cycles = &report.cycles;
    if let Some(failed) = &cycles.failed {
        errln!("warning: no newer table of end-of-life dates: {failed}");
    }
    let source = cycles.source.as_ref().map(|source| format!(", from {source}")).unwrap_or_default();
    errln!("end-of-life dates as of {}, {} days ago{source}", cycles.date, cycles.age_days);
}

/// Says of what nothing is known, and why.
pub(super) fn unknown_lines(all: &[Unknown]) -> String {
    let mut text = String::new();
    for unknown in all {
        let state = if unknown.state == State::Found { "unknown" } else { word(unknown.state) };
        text.push_str(&format!("{state:8} {}  {}\n", unknown.name, unknown.text));
        if let Some(because) = &unknown.because {
            text.push_str(&format!("{:9}because {because}\n", ""));
        } else if let Some(hint) = &unknown.hint {
            text.push_str(&format!("{:9}hint: {hint}\n", ""));
        }
    }
    text
}

fn print_packages(finding: &Finding) {
    // Those of the image below are told there.
    let (inherited, own): (Vec<_>, Vec<_>) = finding.packages.iter().partition(|update| update.inherited);
    for update in own.iter().take(LISTED) {
        let kind = if update.security { "security" } else { "update" };
        let state = match (&update.because, update.state) {
            (Some(because), State::Held | State::Ignored) => format!(", {}: {because}", word(update.state)),
            _ => String::new(),
        };
        let PackageUpdate { name, from, to, repository, .. } = *update;
        outln!("{:9}{kind:8} {name} {from} → {to} ({repository}){state}", "");
    }
    if let Some(more @ 1..) = own.len().checked_sub(LISTED) {
        outln!("{:9}and {more} more, which --json lists", "");
    }
    if !inherited.is_empty() {
        outln!("{:9}{} of {} come with its base", "", inherited.len(), finding.packages.len());
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Found => "found",
        State::Held => "held",
        State::Ignored => "ignored",
    }
}
