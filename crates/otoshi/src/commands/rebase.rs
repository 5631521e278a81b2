use std::{process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_oci::{Platform, Reference};
use otoshi_pipeline::{Outcome, PipelineError, RebaseOptions, Rebased, Rebaser, side_by_side};
use otoshi_rebase::{Conflict, Waiver, WaiverError};
use otoshi_registry::Quiet;
use otoshi_store::Home;

use crate::{engine::remote, exit, failure::Failure, words::short};

/// How many images are worked on at the same time.
const PARALLEL: usize = 8;

/// Move images to another base without building: swap the base's layers under the application's.
///
/// The boundary between base and application is read from the image's annotations or labels and verified; configs and histories
/// are merged. Before anything is written, the application's files are compared with both bases: everything they found in the
/// old base must be in the new one. Anything that is missing is reported and the image is left alone (exit code 6), unless
/// --allow names it. Images in the store are changed there, others in their registry.
#[derive(Debug, Args)]
pub(crate) struct Rebase {
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The new base [default: what the name of the old base points to now]
    #[arg(long, value_name = "REF")]
    onto: Option<String>,
    /// The old base, if the image does not name it
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// Only this platform of a multi-platform image; may be repeated
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// Accept a finding, such as soname-missing=libfoo.so.1; may be repeated
    #[arg(long, value_name = "FINDING")]
    allow: Vec<String>,
    /// Show what would be done, without writing it
    #[arg(long)]
    dry_run: bool,
    /// Only show what the application would no longer find; exit code 6 if there is anything
    #[arg(long)]
    check: bool,
    /// Print JSON: a list with an object for each image (`image`, `outcome`, `old`, `new`, `platforms` with `conflicts`, `findings`,
    /// `waived`, `left_behind`, `requests`, `moved`, `took_ms`, or `error`)
    #[arg(long)]
    json: bool,
}

impl Rebase {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let parse = |text: &String| Reference::parse(text).map_err(Failure::from);
        let images = self.images.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let platforms = self
            .platform
            .iter()
            .map(|text| text.parse::<Platform>().map_err(|error| Failure::usage(error.to_string(), None)));
        let options = RebaseOptions {
            onto: self.onto.as_ref().map(parse).transpose()?,
            base: self.base.as_ref().map(parse).transpose()?,
            platforms: platforms.collect::<Result<_, _>>()?,
            allow: waivers(&self.allow)?,
            dry_run: self.dry_run || self.check,
        };
        let remote = remote(home);
        let rebaser = Rebaser::new(home, &remote);
        let results = side_by_side(&images, PARALLEL, |image| {
            let result = rebaser.rebase(image, &options, Arc::new(Quiet));
            if !self.json {
                self.print(image, &result, images.len());
            }
            result
        });
        if self.json {
            let list: Vec<_> =
                images.iter().zip(&results).map(|(image, result)| json(image, result)).collect();
            outln!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
        }
        let refused = results.iter().flatten().any(|rebased| rebased.outcome == Outcome::Refused);
        let done = results.iter().flatten().count();
        if images.len() > 1 {
            errln!("{done} of {} images done", images.len());
        }
        // Of several images each failure was told; the exit code is that of the first.
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return Err(Box::new(error).into());
        }
        Ok(if refused { ExitCode::from(exit::REFUSED) } else { ExitCode::SUCCESS })
    }

    fn print(&self, image: &Reference, result: &Result<Rebased, PipelineError>, count: usize) {
        match result {
            Ok(rebased) if self.check => print_findings(rebased),
            Ok(rebased) => print(rebased),
            Err(error) if count > 1 => errln!("{}: {error}", image.familiar()),
            Err(_) => {}
        }
    }
}

/// Parses what is accepted.
pub(crate) fn waivers(texts: &[String]) -> Result<Vec<Waiver>, Failure> {
    let parse =
        |text: &String| text.parse().map_err(|error: WaiverError| Failure::usage(error.to_string(), None));
    texts.iter().map(parse).collect()
}

fn json(image: &Reference, result: &Result<Rebased, PipelineError>) -> serde_json::Value {
    match result {
        Ok(rebased) => serde_json::to_value(rebased).unwrap_or_default(),
        Err(error) => serde_json::json!({ "image": image.familiar(), "error": error.to_string() }),
    }
}

fn print(rebased: &Rebased) {
    let mut text = match (rebased.outcome, &rebased.new) {
        (Outcome::Same, _) => format!("{} is already based on {}\n", rebased.image, rebased.onto),
        (Outcome::Refused, _) => format!("{} stays as it is\n", rebased.image),
        (outcome, new) => {
            let word = match outcome {
                Outcome::WouldRebase => " (nothing was written)",
                _ if rebased.in_store => " (in the store)",
                _ => "",
            };
            let new = new.as_deref().unwrap_or_default();
            format!("{}  {} → {} on {}{word}\n", rebased.image, short(&rebased.old), short(new), rebased.onto)
        }
    };
    let several = rebased.platforms.len() > 1;
    for platform in &rebased.platforms {
        let name = if several { format!("  {}", platform.platform) } else { String::new() };
        if !matches!(rebased.outcome, Outcome::Same | Outcome::Refused) {
            text.push_str(&format!(
                "{name}  {} of the base's layers are replaced by {}, {} of the application's stay\n",
                platform.seam, platform.base_layers, platform.kept
            ));
        }
        for conflict in &platform.conflicts {
            text.push_str(&format!("{name}  {}\n", sentence(conflict)));
        }
        for finding in &platform.waived {
            text.push_str(&format!("{name}  accepted: {finding}\n"));
        }
    }
    for left in &rebased.left_behind {
        let about = if left.about.is_empty() { String::new() } else { format!(" of {}", short(&left.about)) };
        text.push_str(&format!("  not carried over: {} {}{about}\n", left.kind, short(&left.digest)));
    }
    if !matches!(rebased.outcome, Outcome::Same | Outcome::Refused) {
        let [kept, all] = rebased.layers;
        let requests = rebased.requests;
        text.push_str(&format!("  {kept} of {all} layers stay where they are; {requests} requests\n"));
    }
    out!("{text}");
    if rebased.outcome == Outcome::Refused {
        print_findings(rebased);
    }
}

/// Prints what the application would no longer find; to standard output, since it is the answer.
fn print_findings(rebased: &Rebased) {
    let mut text = String::new();
    let mut first = None;
    for platform in &rebased.platforms {
        let several = rebased.platforms.len() > 1;
        let name = if several { format!("{}: ", platform.platform) } else { String::new() };
        for finding in &platform.findings {
            first.get_or_insert_with(|| finding.waiver());
            text.push_str(&format!("  {name}{finding}\n"));
        }
    }
    if text.is_empty() {
        outln!("{}: nothing that was looked at is missing in {}", rebased.image, rebased.onto);
        print_examined(rebased);
        return;
    }
    out!("{}: what it found in its base and would not find in {}\n{text}", rebased.image, rebased.onto);
    if let Some(waiver) = first {
        errln!("\nhint: build it again on the new base, or accept a finding with --allow '{waiver}'");
    }
}

/// Prints what the answer rests on.
fn print_examined(rebased: &Rebased) {
    for platform in &rebased.platforms {
        let name =
            if rebased.platforms.len() > 1 { format!("{}: ", platform.platform) } else { String::new() };
        outln!("  {name}looked at: {}", platform.examined);
        for unjudged in &platform.examined.unjudged {
            outln!("  {name}not judged: {unjudged}");
        }
    }
}

fn sentence(conflict: &Conflict) -> String {
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    format!(
        "{}: both changed it from {}; the base to {}, the application to {}; it is now {}",
        conflict.key,
        or_none(&conflict.old),
        or_none(&conflict.new),
        or_none(&conflict.app),
        or_none(&conflict.merged)
    )
}
