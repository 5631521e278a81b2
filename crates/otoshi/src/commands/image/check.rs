use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::Args;
use otoshi_dockerfile::{
    BuildArgs, Dockerfile, Ignore,
    check::{BaseFacts, Finding, Findings, Surrounding},
};
use otoshi_engine::EngineError;
use otoshi_oci::{Digest, Image, Platform, Reference};
use otoshi_store::Home;
use serde::Serialize;

use super::{given, source};
use crate::{
    exit,
    failure::{Failure, snippet},
};

/// Point out likely mistakes in a Dockerfile, as `docker build --check` does, without building.
///
/// `# check=skip=RULE,RULE` at the top of the file skips rules; above an instruction it skips them for that instruction. The
/// variables of bases that are not in the store are unknown, so uses of them are not checked. Exit codes: 0 nothing found; 1
/// something found; 2 the Dockerfile is invalid.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The build context
    #[arg(default_value = ".")]
    context: PathBuf,
    /// The Dockerfile; `-` for standard input [default: Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Build argument; NAME alone takes the value of the environment variable
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Platform to build for [default: this machine's]
    #[arg(long)]
    platform: Option<Platform>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    findings: Vec<Shown<'a>>,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    rule: &'static str,
    message: &'a str,
    hint: Option<&'a str>,
    file: &'a str,
    /// From 1.
    line: usize,
    /// In bytes, from 1.
    column: usize,
    /// What is meant, as it stands in the file.
    text: &'a str,
    about: &'static str,
    url: String,
}

impl Check {
    /// The check of what would be built.
    pub(super) fn new(
        context: PathBuf,
        file: Option<PathBuf>,
        build_arg: Vec<String>,
        platform: Option<Platform>,
    ) -> Self {
        Self { context, file, build_arg, platform, json: false }
    }

    /// With findings as JSON, or as text.
    pub(super) fn with_json(self, json: bool) -> Self {
        Self { json, ..self }
    }

    pub(super) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let args: BTreeMap<String, String> =
            self.build_arg.iter().filter_map(|text| given::pair(text)).collect();
        let (name, text, ignore) = source::dockerfile(&self.context, self.file.as_deref())?;
        let dockerfile = match Dockerfile::parse(&name, &text) {
            Ok(dockerfile) => dockerfile,
            Err(error) => {
                if let Some((dockerfile, findings)) = Dockerfile::check_before_error(&name, &text, &args) {
                    print(&dockerfile, &findings);
                }
                return Err(EngineError::from(error).into());
            }
        };
        let platform = self.platform.unwrap_or_else(Platform::host);
        let findings = findings(home, &dockerfile, ignore.as_deref(), &args, &platform)?;
        if self.json {
            let findings = findings.found.iter().map(|found| shown(&dockerfile, found)).collect();
            outln!("{}", serde_json::to_string_pretty(&Report { findings }).unwrap_or_default());
        } else {
            print(&dockerfile, &findings);
        }
        match findings.found.len() {
            0 => errln!("{}: nothing was found", dockerfile.name),
            1 => errln!("{}: one finding", dockerfile.name),
            count => errln!("{}: {count} findings", dockerfile.name),
        }
        Ok(if findings.found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::DIFFERENT) })
    }
}

/// Prints findings with their places.
fn print(dockerfile: &Dockerfile, findings: &Findings) {
    for found in &findings.found {
        outln!("{}: {}", found.rule.name(), found.message);
        let (span, message) = (found.span.clone(), found.message.clone());
        let place = dockerfile.error_at(span, message, found.hint.clone());
        outln!("{}\n", snippet(&place).unwrap_or_default());
    }
}

fn shown<'a>(dockerfile: &'a Dockerfile, found: &'a Finding) -> Shown<'a> {
    let line_start = dockerfile.text[..found.span.start].rfind('\n').map_or(0, |end| end + 1);
    Shown {
        rule: found.rule.name(),
        message: &found.message,
        hint: found.hint.as_deref(),
        file: &dockerfile.name,
        line: found.line,
        column: found.span.start - line_start + 1,
        text: &dockerfile.text[found.span.clone()],
        about: found.rule.about(),
        url: found.rule.url(),
    }
}

/// Runs the checks with what the store knows about images.
pub(super) fn findings(
    home: &Home,
    dockerfile: &Dockerfile,
    ignore: Option<&str>,
    args: &BuildArgs,
    platform: &Platform,
) -> Result<Findings, Failure> {
    let ignore = ignore.map(Ignore::parse).transpose().map_err(EngineError::from)?;
    let base = |name: &str, wanted: &str| {
        let wanted: Platform = wanted.parse().ok()?;
        let reference = Reference::parse(name).ok()?;
        let found = home.layout().names().resolve(&reference).ok()??;
        let image = Image::load(home.layout(), &Digest::of(&found).ok()?, &wanted).ok()?;
        let own = image.platform();
        let pairs = image.config.config.env.iter().filter_map(|pair| pair.split_once('='));
        let env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(BaseFacts {
            env,
            has_shell: image.config.config.shell.is_some(),
            other_platform: (!wanted.matches(&own)).then(|| own.to_string()),
        })
    };
    let around = Surrounding {
        args,
        target_platform: &platform.to_string(),
        build_platform: &Platform::host().to_string(),
        ignore: ignore.as_ref(),
        base: &base,
        is_reference: &|text| Reference::parse(text).is_ok(),
    };
    Ok(dockerfile.check(&around).map_err(EngineError::from)?)
}
