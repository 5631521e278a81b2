use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use otoshi_oci::{
    Image,
    contents::parts,
    diff::{self, Change, Changed},
    tar,
};
use otoshi_packages::{Installed, Package, installed};
use otoshi_store::Home;

use crate::{engine::remote, exit, failure::Failure, named::find};

/// Show the differences between two images: config, packages and files.
///
/// Neither image is run, and file times are not compared. Exit codes: 0 no differences; 1 differences found.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The old image's name or digest
    old: String,
    /// The new image's name or digest
    new: String,
    /// Print JSON: an object with `old` and `new` (digests), `config` and `packages` (lists of `name`, `old`, `new`), `unread` (why the
    /// packages of an image are not compared) and `files` (a list of `path`, `change`, which is added, removed or changed, `what`, a list of `name`, `old`, `new`, and `cause`, where a file is
    /// known to hold a time or the like)
    #[arg(long)]
    json: bool,
    /// Print how much differs, by directory, in place of each difference
    #[arg(long, conflicts_with = "json")]
    stat: bool,
}

impl Diff {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let (old, new) = (find(home, &self.old)?, find(home, &self.new)?);
        if old.digest != new.digest {
            let remote = remote(home);
            remote.complete(&old)?;
            remote.complete(&new)?;
        }
        let found = diff::compare(home.layout(), &old, &new)?;
        let packages = Packages::compare(home, &old, &new);
        if self.json {
            let shown = serde_json::json!({
                "old": old.digest,
                "new": new.digest,
                "config": found.config,
                "packages": packages.changed,
                "unread": packages.unread,
                "files": found.files,
            });
            outln!("{}", serde_json::to_string_pretty(&shown).unwrap_or_default());
        } else if self.stat {
            out!("{}", stat(&found, &packages));
        } else {
            out!("{}", text(&found, &packages));
        }
        Ok(if found.is_empty() && packages.changed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(exit::DIFFERENT)
        })
    }
}

/// What differs between the packages of two images.
struct Packages {
    /// As `NAME:ARCHITECTURE`, with their versions, sorted.
    changed: Vec<Changed>,
    /// Why those of an image could not be read.
    unread: Vec<String>,
}

impl Packages {
    /// Compares what the images' package managers have on record. All layers are in the store.
    fn compare(home: &Home, old: &Image, new: &Image) -> Self {
        let (mut changed, mut unread) = (Vec::new(), Vec::new());
        if old.diff_ids() != new.diff_ids() {
            let here = |layer: &otoshi_oci::ImageLayer| Err(format!("{} is not there", layer.digest).into());
            let mut read = |image| {
                let read = Installed::of_image(home, image, &here);
                read.map_err(|error| unread.push(with_causes(&error))).ok()
            };
            if let (Some(old), Some(new)) = (read(old), read(new)) {
                let version = |package: Option<&Package>| package.map(|package| package.version.clone());
                changed.extend(installed::changes(&old, &new).into_iter().map(|package| {
                    let colon = if package.architecture.is_empty() { "" } else { ":" };
                    let name = format!("{}{colon}{}", package.name, package.architecture);
                    Changed { name, old: version(package.old), new: version(package.new) }
                }));
                changed.sort_by(|a, b| a.name.cmp(&b.name));
            }
        }
        Self { changed, unread }
    }
}

impl Packages {
    /// Why they are not compared, a line for each reason.
    fn not_compared(&self) -> String {
        let line =
            |reason: &String| format!("packages are not compared: {}\n", tar::display(reason.as_bytes()));
        self.unread.iter().map(line).collect()
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn text(found: &diff::Diff, packages: &Packages) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (title, rows) in [("config", &found.config), ("packages", &packages.changed)] {
        if !rows.is_empty() {
            let _ = writeln!(text, "{title}");
            for row in rows {
                let _ = writeln!(text, "  {}", line(row));
            }
        }
    }
    text += &packages.not_compared();
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

/// How much was added, removed and changed.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    added: usize,
    removed: usize,
    changed: usize,
}

impl Count {
    fn of_rows(rows: &[Changed]) -> Self {
        rows.iter().fold(Self::default(), |count, row| {
            count.and(match (&row.old, &row.new) {
                (None, _) => Change::Added,
                (_, None) => Change::Removed,
                _ => Change::Changed,
            })
        })
    }

    fn and(self, change: Change) -> Self {
        match change {
            Change::Added => Self { added: self.added + 1, ..self },
            Change::Removed => Self { removed: self.removed + 1, ..self },
            Change::Changed => Self { changed: self.changed + 1, ..self },
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.added, "added"), (self.removed, "removed"), (self.changed, "changed")];
        let parts = all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// The two topmost directories of a path.
fn directory(path: &str) -> String {
    let parts = parts(path);
    format!("/{}", parts[..parts.len().saturating_sub(1).min(2)].join("/"))
}

fn stat(found: &diff::Diff, packages: &Packages) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (title, rows) in [("config", &found.config), ("packages", &packages.changed)] {
        if !rows.is_empty() {
            let _ = writeln!(text, "{title:10}{}", Count::of_rows(rows));
        }
    }
    text += &packages.not_compared();
    let mut directories: BTreeMap<String, Count> = BTreeMap::new();
    for file in &found.files {
        let count = directories.entry(directory(&file.path)).or_default();
        *count = count.and(file.change);
    }
    if !directories.is_empty() {
        let all = found.files.iter().fold(Count::default(), |count, file| count.and(file.change));
        let _ = writeln!(text, "{:10}{all}", "files");
    }
    let width = directories.keys().map(|name| name.chars().count()).max().unwrap_or_default();
    for (name, count) in directories {
        let _ = writeln!(text, "  {name:width$}  {count}");
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
