use std::{fmt::Write, process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_oci::{
    diff::{self, Change, Changed},
    tar,
};
use otoshi_store::Home;

use crate::{exit, failure::Failure};

/// Show the differences between two images: config, packages and files.
///
/// Neither image is run, and file times are not compared. Exit codes: 0 no differences; 1 differences found.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The old image's name or digest
    old: String,
    /// The new image's name or digest
    new: String,
    /// Print JSON: an object with `old` and `new` (digests), `config` and `packages` (lists of `name`, `old`, `new`) and `files` (a
    /// list of `path`, `change`, which is added, removed or changed, `what`, a list of `name`, `old`, `new`, and `cause`, where a file is
    /// known to hold a time or the like)
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = super::claim(home)?;
        let (old, new) = (super::find(home, &self.old)?, super::find(home, &self.new)?);
        if old.digest != new.digest {
            let remote = super::remote(home);
            remote.complete(&old)?;
            remote.complete(&new)?;
        }
        let found = diff::compare(home.layout(), &old, &new)?;
        if self.json {
            let shown = serde_json::json!({
                "old": old.digest,
                "new": new.digest,
                "config": found.config,
                "packages": found.packages,
                "files": found.files,
            });
            println!("{}", serde_json::to_string_pretty(&shown).unwrap_or_default());
        } else {
            print!("{}", text(&found));
        }
        Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::DIFFERENT) })
    }
}

fn text(found: &diff::Diff) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (title, rows) in [("config", &found.config), ("packages", &found.packages)] {
        if !rows.is_empty() {
            let _ = writeln!(text, "{title}");
            for row in rows {
                let _ = writeln!(text, "  {}", line(row));
            }
        }
    }
    if !found.files.is_empty() {
        let _ = writeln!(text, "files");
        for file in &found.files {
            let sign = match file.change {
                Change::Added => '+',
                Change::Removed => '-',
                Change::Changed => '~',
            };
            let what: Vec<String> = file.what.iter().map(fact).collect();
            let cause = file.cause.map(|cause| format!("  ({cause})")).unwrap_or_default();
            let line = format!("  {sign} {}  {}", file.path, what.join(", "));
            let _ = writeln!(text, "{}{cause}", line.trim_end());
        }
    }
    text
}

fn shown(value: Option<&String>) -> String {
    value.map_or_else(|| "(none)".to_owned(), |value| tar::display(value.as_bytes()))
}

fn line(row: &Changed) -> String {
    let name = tar::display(row.name.as_bytes());
    format!("{name}  {} → {}", shown(row.old.as_ref()), shown(row.new.as_ref()))
}

/// A digest says nothing to people but that it differs.
fn fact(row: &Changed) -> String {
    if row.name == "content" && row.old.is_some() && row.new.is_some() { row.name.clone() } else { line(row) }
}
