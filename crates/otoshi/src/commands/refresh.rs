use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_engine::Events;
use otoshi_oci::{Digest, Reference};
use otoshi_pipeline::{Checkout, Pipeline, RefreshOptions, RefreshOutcome, Refreshed, Status};
use otoshi_project::Project;
use otoshi_store::Home;

use crate::{
    engine::{engine, remote_for},
    exit,
    failure::Failure,
    progress,
    remedy::words,
    words::short,
};

/// Bring images up to date at the lowest cost: move the runner to its new bases and keep the compiled application.
///
/// The runner's bases in otoshi.lock move to what their tags point to now, and to the newer packages that [refresh] upgrade
/// asks for. The runner is rebuilt if it has to be, and the app images are assembled again. Everything that the application
/// found in its old runner must be in the new one; if it is not, and recompiling can help, the builder's bases move too. The
/// smoke test in [verify] runs before any name moves; then all names move at once. The previous state is kept for `otoshi
/// rollback`. The cheapest plan that works is chosen before anything runs, and the reasons against cheaper ones are listed.
/// Exit code 6: the proof found something or the smoke test failed, and nothing was changed.
#[derive(Debug, Args)]
pub(crate) struct Refresh {
    /// An app image to refresh in its registry, without the project's directory
    image: Option<String>,
    /// Project directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "image")]
    project: PathBuf,
    /// Move the builder's bases as well
    #[arg(long)]
    builder: bool,
    /// Show what would run, and why, without running it
    #[arg(long)]
    dry_run: bool,
    /// Push the new images, as `otoshi push` does
    #[arg(long)]
    push: bool,
    /// Tag for the pushed app images, as in `otoshi push --tag`
    #[arg(short, long, value_name = "TAG")]
    tag: Option<String>,
    /// Accept a finding, such as soname-missing=libfoo.so.1; may be repeated
    #[arg(long, value_name = "FINDING")]
    allow: Vec<String>,
    /// Show the output of every command
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON: `outcome`, `cost`, `choice`, `because`, `notes`, `phases`, `moved`, `images`, `packages`, `findings`, `layers`, `bytes`, `took_ms`, `full_ms`
    #[arg(long)]
    json: bool,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

impl Refresh {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let options = RefreshOptions {
            builder: self.builder,
            allow: super::rebase::waivers(&self.allow)?,
            from_registry: self.image.is_some(),
            dry_run: self.dry_run,
        };
        let events: Arc<dyn Events> = progress::to_standard_error(self.verbose).into();
        let remote = remote_for(home, &events);
        let engine = engine(home, &remote);
        let checkout = match &self.image {
            Some(image) => {
                let reference = Reference::parse(image)?;
                Some(Checkout::of_image(home, &remote, &reference).map_err(Box::new)?)
            }
            None => None,
        };
        let directory = checkout.as_ref().map_or_else(|| self.project.clone(), Checkout::directory);
        let project = Project::find(&directory).map_err(Box::new)?;
        let pipeline = Pipeline::new(home, &engine, &project).with_remote(&remote);
        let (refreshed, results) = pipeline.refresh(&options, &words, events.as_ref()).map_err(Box::new)?;
        // From a registry it goes back there: nothing else would keep it. With nothing new as well: an earlier push may have been
        // cut off, and what is there already is not sent again.
        let pushes = (self.push || self.image.is_some()) && !self.dry_run;
        if pushes && let Some(results) = &results {
            super::push::publish(&pipeline, Some(results), self.tag.as_deref())?;
        }
        if self.json {
            outln!("{}", serde_json::to_string_pretty(&refreshed).unwrap_or_default());
        } else if self.markdown {
            out!("{}", refreshed.markdown());
        } else {
            print(&refreshed);
        }
        Ok(match refreshed.outcome {
            RefreshOutcome::Refused => ExitCode::from(exit::REFUSED),
            _ => ExitCode::SUCCESS,
        })
    }
}

fn print(refreshed: &Refreshed) {
    let mut text = format!("{}: {}\n", refreshed.project, refreshed.headline());
    let is_planned = refreshed.outcome == RefreshOutcome::Planned;
    if let Some(failed) = &refreshed.failed {
        text.push_str(&format!("  the smoke test failed: {failed}\n"));
    }
    for base in &refreshed.moved {
        let old = base.old.as_ref().map(Digest::as_str).map_or("nothing", short);
        text.push_str(&format!(
            "  {} of the {}: {old} → {}\n",
            base.reference,
            base.role,
            short(base.new.as_str())
        ));
    }
    if refreshed.outcome != RefreshOutcome::Same {
        for candidate in &refreshed.choice {
            let (plan, because) = (candidate.plan.plan(), &candidate.because);
            let line = if candidate.taken {
                format!("  plan: {plan}: {because}\n")
            } else {
                format!("  {plan} will not do: {because}\n")
            };
            text.push_str(&line);
        }
    }
    for because in &refreshed.because {
        text.push_str(&format!("  because {because}\n"));
    }
    for phase in &refreshed.phases {
        let word = match (phase.status, is_planned) {
            (Status::Fresh, true) => "stays",
            (_, true) => "would run",
            (Status::Stale, false) => "ran",
            (_, false) => "kept",
        };
        text.push_str(&format!("  {} {:8} {word}\n", phase.number, phase.phase));
        for reason in phase.reasons.iter().filter(|_| is_planned) {
            text.push_str(&format!("               {}\n", reason.text));
        }
    }
    if refreshed.outcome != RefreshOutcome::Same {
        for image in &refreshed.images {
            let old = image.old.as_deref().map_or("nothing", short);
            text.push_str(&format!("  {}  {old} → {}\n", image.name, short(&image.new)));
        }
    }
    for package in &refreshed.packages {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "nothing".to_owned());
        text.push_str(&format!(
            "  package {}  {} → {}{}{}\n",
            package.name,
            version(&package.old),
            version(&package.new),
            if package.mark().is_empty() { "" } else { "  " },
            package.mark()
        ));
    }
    for note in &refreshed.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    for finding in &refreshed.findings {
        text.push_str(&format!("  {finding}\n"));
    }
    for finding in &refreshed.waived {
        text.push_str(&format!("  accepted: {finding}\n"));
    }
    if !refreshed.tried.is_empty() {
        text.push_str(&format!("  smoke test: {} passed\n", refreshed.tried.join(" and ")));
    }
    out!("{text}");
    if is_planned {
        return;
    }
    let [new, all] = refreshed.layers;
    let [bytes, of] = refreshed.bytes;
    let full = refreshed.full_ms.map(|full| format!("; a full rebuild took {:.1} s", full as f64 / 1e3));
    errln!(
        "{new} of {all} layers are new, {:.1} of {:.1} MB, in {:.2} s{}",
        bytes as f64 / 1e6,
        of as f64 / 1e6,
        refreshed.took_ms as f64 / 1e3,
        full.unwrap_or_default()
    );
    if let Some(finding) = refreshed.findings.first() {
        errln!(
            "\nhint: change what the application needs, or accept a finding with --allow '{}'",
            finding.waiver()
        );
    }
}
