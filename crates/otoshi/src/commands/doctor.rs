use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use otoshi_explain::{Explain, Kind};
use otoshi_sandbox::doctor::{self, Finding, Health};
use otoshi_store::Home;

use crate::{exit, failure::Failure};

/// Check whether images can be built on this machine, and what is missing; exit code 5 if they cannot.
///
/// Every permission and feature is tried; nothing is changed.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print JSON: a list of `name`, `health` (`good`, `limited`, `bad`), `found`, `hint`
    #[arg(long)]
    json: bool,
}

impl Doctor {
    #[allow(clippy::unnecessary_wraps, reason = "as every command")]
    pub(crate) fn run(self, home: Option<PathBuf>) -> Result<ExitCode, Failure> {
        let mut findings = doctor::examine_rights();
        findings.extend(store(home));
        findings.push(authorities());
        findings.push(program("git", "ADD of git repositories needs it"));
        let bad = findings.iter().any(|finding| finding.health == Health::Bad);
        if self.json {
            outln!("{}", serde_json::to_string_pretty(&findings).unwrap_or_default());
        } else {
            let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
            for finding in &findings {
                let word = match finding.health {
                    Health::Good => "good",
                    Health::Limited => "limited",
                    Health::Bad => "bad",
                };
                outln!("{:width$} {word:8} {}", finding.name, finding.found);
                if let Some(hint) = &finding.hint {
                    outln!("{:width$} {:8} hint: {hint}", "", "");
                }
            }
            outln!("{}", if bad { "images cannot be built here" } else { "images can be built here" });
        }
        Ok(if bad { exit::of(Kind::Sandbox) } else { ExitCode::SUCCESS })
    }
}

/// The store, and a command that runs on its file system.
fn store(home: Option<PathBuf>) -> Vec<Finding> {
    let opened = home
        .map_or_else(Home::default_path, Ok)
        .and_then(|path| Home::open(&path))
        .and_then(|home| home.snapshots().draft().map(|draft| (home, draft)));
    let (home, draft) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let hint =
                error.hint().unwrap_or_else(|| "set OTOSHI_HOME to a directory that can be written".into());
            let bad = Finding::limited("store", error.to_string(), hint);
            return vec![Finding { health: Health::Bad, ..bad }];
        }
    };
    let mut findings = vec![room(home.root())];
    findings.extend(doctor::examine_sandbox(&draft.work(), None));
    findings
}

fn room(root: &Path) -> Finding {
    let shown = root.display();
    match rustix::fs::statvfs(root) {
        Ok(stat) => {
            let free = (stat.f_bavail * stat.f_frsize) as f64 / 1e9;
            let found = format!("{shown}, {free:.1} GB free");
            if free < 2.0 {
                Finding::limited(
                    "store",
                    found,
                    "builders are large: make room, or set OTOSHI_HOME; otoshi gc helps",
                )
            } else {
                Finding::good("store", found)
            }
        }
        Err(error) => {
            Finding::limited("store", format!("{shown}: {error}"), "set OTOSHI_HOME to another directory")
        }
    }
}

fn authorities() -> Finding {
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    if Path::new(bundle).is_file() {
        Finding::good("authorities", bundle)
    } else {
        let found = format!("there is no {bundle}");
        Finding::limited(
            "authorities",
            found,
            "install ca-certificates, or name a bundle in [build] ca-certificates",
        )
    }
}

fn program(name: &'static str, why: &str) -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file()) {
        Some(path) => Finding::good(name, path.display().to_string()),
        None => Finding::limited(name, "not found", why),
    }
}
