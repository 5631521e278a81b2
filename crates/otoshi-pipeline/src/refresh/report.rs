//! What a refresh did, as data.

use otoshi_rebase::Finding;
use schemars::JsonSchema;
use serde::Serialize;

use super::cost::{Candidate, Cost};
use crate::{Moved, PhasePlan};

/// Says how a refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshOutcome {
    /// Nothing moved outside, and nothing was written.
    Same,
    /// The images are new.
    Refreshed,
    /// The images would be new; nothing ran, and nothing moved.
    Planned,
    /// The application would not find something, or the smoke test failed; everything is as it was.
    Refused,
}

/// Describes an image before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ImageChange {
    /// Its name.
    pub name: String,
    /// Its digest before; none where it was not known here.
    pub old: Option<String>,
    /// Its digest now.
    pub new: String,
}

/// Describes a package of the runner that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its version before; none where it was added.
    pub old: Option<String>,
    /// Its version now; none where it was removed.
    pub new: Option<String>,
    /// Whether the newer version, or one between the two, fixes a security problem; none where it is not newer, or where the
    /// image's repositories do not say so.
    pub security: Option<bool>,
}

impl PackageChange {
    /// Says for people whether it fixes a security problem.
    pub fn mark(&self) -> &'static str {
        if self.security == Some(true) { "security" } else { "" }
    }
}

/// Describes a refresh.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Refreshed {
    /// The version of this form; 1.
    pub version: u32,
    /// The project's name.
    pub project: String,
    /// How it ended.
    pub outcome: RefreshOutcome,
    /// What had to run.
    pub cost: Cost,
    /// The plans that were thought of before anything ran, the cheapest first; the last one was chosen.
    pub choice: Vec<Candidate>,
    /// Why not less, where that is more than the bases' move.
    pub because: Vec<String>,
    /// What else people should know.
    pub notes: Vec<String>,
    /// The phases: what ran, and what was kept.
    pub phases: Vec<PhasePlan>,
    /// The bases that moved.
    pub moved: Vec<Moved>,
    /// The images.
    pub images: Vec<ImageChange>,
    /// The runner's packages that changed.
    pub packages: Vec<PackageChange>,
    /// What the application would not find; empty unless it was refused, or accepted.
    pub findings: Vec<Finding>,
    /// What it would not find, and that was accepted.
    pub waived: Vec<Finding>,
    /// What the smoke test said where it failed.
    pub failed: Option<String>,
    /// The processes that passed the smoke test.
    pub tried: Vec<String>,
    /// Layers of the app images that are new, of how many.
    pub layers: [usize; 2],
    /// Bytes of these, of how many.
    pub bytes: [u64; 2],
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What all phases took when each ran last, in milliseconds; none where that is not known here.
    pub full_ms: Option<u64>,
}

impl Refreshed {
    /// Says in a few words how it ended.
    pub fn headline(&self) -> String {
        match self.outcome {
            RefreshOutcome::Same => "nothing moved upstream".to_owned(),
            RefreshOutcome::Refused => "nothing was changed".to_owned(),
            RefreshOutcome::Refreshed => self.cost.text().to_owned(),
            RefreshOutcome::Planned => format!("{} would run", self.cost.plan()),
        }
    }

    /// Writes it as Markdown, for a pull request or a job's summary.
    pub fn markdown(&self) -> String {
        let mut text = format!("## {}: {}\n\n", self.project, self.headline());
        if let Some(failed) = &self.failed {
            text.push_str(&format!("**The smoke test failed:** {failed}\n\n"));
        }
        for base in &self.moved {
            let old = base.old.as_ref().map_or("nothing", |digest| short(digest.as_str()));
            text.push_str(&format!(
                "- `{}` of the {}: `{old}` → `{}`\n",
                base.reference,
                base.role,
                short(base.new.as_str())
            ));
        }
        if self.outcome != RefreshOutcome::Same {
            for candidate in &self.choice {
                let (plan, because) = (candidate.plan.plan(), &candidate.because);
                let line = if candidate.taken {
                    format!("- **Plan: {plan}**: {because}\n")
                } else {
                    format!("- {plan} will not do: {because}\n")
                };
                text.push_str(&line);
            }
        }
        if !self.images.is_empty() {
            text.push_str("\n| image | before | now |\n| --- | --- | --- |\n");
            for image in &self.images {
                let old = image.old.as_deref().map_or("–", short);
                text.push_str(&format!("| `{}` | `{old}` | `{}` |\n", image.name, short(&image.new)));
            }
        }
        if !self.packages.is_empty() {
            text.push_str("\n| package | before | now | |\n| --- | --- | --- | --- |\n");
            for package in &self.packages {
                let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "–".to_owned());
                text.push_str(&format!(
                    "| {} | {} | {} | {} |\n",
                    package.name,
                    version(&package.old),
                    version(&package.new),
                    package.mark()
                ));
            }
        }
        for note in &self.notes {
            text.push_str(&format!("\n- {note}"));
        }
        for finding in self.findings.iter().chain(&self.waived) {
            text.push_str(&format!("\n- {finding}"));
        }
        if !self.tried.is_empty() {
            text.push_str(&format!("\n- smoke test: {} passed", self.tried.join(" and ")));
        }
        if self.outcome == RefreshOutcome::Planned {
            return text;
        }
        let [new, all] = self.layers;
        text.push_str(&format!("\n{new} of {all} layers are new. {:.1} s", self.took_ms as f64 / 1e3));
        if let Some(full) = self.full_ms {
            text.push_str(&format!("; a full rebuild took {:.1} s", full as f64 / 1e3));
        }
        text.push_str(".\n");
        text
    }
}

/// The start of a digest, for people.
fn short(digest: &str) -> &str {
    &digest[..19.min(digest.len())]
}

#[cfg(test)]
mod tests {
    use otoshi_project::Role;

    use super::*;

    #[test]
    fn markdown_tells_the_plan_the_packages_and_what_they_fix() {
        let package = |name: &str, old: Option<&str>, new: Option<&str>, security| PackageChange {
            name: name.into(),
            old: old.map(Into::into),
            new: new.map(Into::into),
            security,
        };
        let thought = |plan, taken, because: &str| Candidate { plan, taken, because: because.into() };
        let sum = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let refreshed = Refreshed {
            version: 1,
            project: "shop".into(),
            outcome: RefreshOutcome::Refreshed,
            cost: Cost::Runner,
            choice: vec![
                thought(Cost::Nothing, false, "runner: upgrade of libssl3:amd64 is new: 3.0.17"),
                thought(Cost::Runner, true, "builder and compiled application stay"),
            ],
            because: Vec::new(),
            notes: vec!["held back by the runner's own settings: libc6".into()],
            phases: Vec::new(),
            moved: vec![Moved {
                role: Role::Runner,
                reference: "debian:12".into(),
                old: Some(sum("a").parse().unwrap()),
                new: sum("b").parse().unwrap(),
            }],
            images: vec![ImageChange { name: "shop/web".into(), old: None, new: sum("c") }],
            packages: vec![
                package("libssl3", Some("3.0.15"), Some("3.0.17"), Some(true)),
                package("tzdata", Some("2025a"), Some("2025b"), Some(false)),
                package("gone", Some("1"), None, None),
            ],
            findings: Vec::new(),
            waived: Vec::new(),
            failed: None,
            tried: vec!["web".into()],
            layers: [1, 4],
            bytes: [10, 40],
            took_ms: 2300,
            full_ms: Some(28_200),
        };
        assert_eq!(
            refreshed.markdown(),
            "## shop: phases 3 and 4 ran, and the application's layers stayed\n\n\
             - `debian:12` of the runner: `sha256:aaaaaaaaaaaa` → `sha256:bbbbbbbbbbbb`\n\
             - doing nothing will not do: runner: upgrade of libssl3:amd64 is new: 3.0.17\n\
             - **Plan: phases 3 and 4**: builder and compiled application stay\n\
             \n| image | before | now |\n| --- | --- | --- |\n| `shop/web` | `–` | `sha256:cccccccccccc` |\n\
             \n| package | before | now | |\n| --- | --- | --- | --- |\n\
             | libssl3 | 3.0.15 | 3.0.17 | security |\n| tzdata | 2025a | 2025b |  |\n| gone | 1 | – |  |\n\
             \n- held back by the runner's own settings: libc6\
             \n- smoke test: web passed\
             \n1 of 4 layers are new. 2.3 s; a full rebuild took 28.2 s.\n"
        );
    }
}
