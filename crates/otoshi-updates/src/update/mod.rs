//! Taking in what a check found: other values in `otoshi.toml`, and other digests in `otoshi.lock`.
//!
//! ```text
//! check ─▶ choose   what is wanted, and why the rest is left
//!            │ edit       otoshi.toml: the values, and no other byte      (otoshi-project)
//!            │ lock       the entries that move, and those of new names
//!            │ plan       with both; where that fails nothing is written
//!            ▼ replace    both files, or none                             (otoshi-project)
//! ```

mod choose;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use otoshi_engine::Engine;
use otoshi_explain::{Explain, Wording};
use otoshi_pipeline::{PhasePlan, Pipeline, PipelineError, Remote, Status};
use otoshi_project::{Lock, Project, Replacement, Role, Setting, edit, replace_all};
use otoshi_store::Home;
use similar::TextDiff;

use self::choose::{Chosen, choose, is_known};
pub use self::report::{Left, LockChange, UpdateOptions, Updated};
use crate::check::Check;

/// Writes newer versions into a project's files.
pub struct Update<'a> {
    home: &'a Home,
    engine: &'a dyn Engine,
    project: &'a Project,
    remote: &'a Remote,
    words: Wording<'a>,
}

impl<'a> Update<'a> {
    /// Puts together what an update needs. `words` says how a remedy is called.
    pub fn new(
        home: &'a Home,
        engine: &'a dyn Engine,
        project: &'a Project,
        remote: &'a Remote,
        words: Wording<'a>,
    ) -> Self {
        Self { home, engine, project, remote, words }
    }

    /// Takes in what is wanted.
    ///
    /// Fails where the project's files are wrong or cannot be written, where a name or value is not known, and where what is new cannot
    /// be resolved; both files are as they were then.
    pub fn run(&self, options: &UpdateOptions) -> Result<Updated, PipelineError> {
        let _alone = self.pipeline(self.project).alone()?;
        let paths = ["otoshi.toml", "otoshi.lock"].map(|name| self.project.root.join(name));
        let (manifest, lock_text) = (read(&paths[0])?.unwrap_or_default(), read(&paths[1])?);
        let lock = lock_text.as_deref().map_or_else(|| Ok(Lock::default()), Lock::parse)?;

        let given = self.given(options)?;
        // Where every value is given there is nothing to find out.
        let all_given = !options.names.is_empty() && options.names.len() == given.len();
        // What is taken in is planned as a whole, further below.
        let check = || {
            Check::new(self.home, self.engine, self.project, self.remote, self.words).without_phases().run()
        };
        let report = if all_given { None } else { Some(check()?) };
        let Chosen { settings, moves, left } = match &report {
            Some(report) => choose(self.project, report, options, &given),
            None => Chosen { settings: given, ..Chosen::default() },
        };

        let edited = edit(&manifest, &settings)?;
        let project = self.project.with_settings(&settings);
        let mut then = lock.clone();
        for (role, reference) in &moves {
            then.remove(*role, reference);
        }
        let changes = !settings.is_empty() || !moves.is_empty();
        let (then, phases) = if changes { self.settle(&project, then)? } else { (then, Vec::new()) };
        let (failed, unknown) = report.map(|report| (report.failed, report.unknown)).unwrap_or_default();
        let (diff, written) = if changes {
            let new_lock = if then == lock { lock_text.clone().unwrap_or_default() } else { then.text()? };
            let [toml, lock] = paths;
            let mut files = vec![
                Replacement { path: toml, old: Some(manifest), new: edited },
                Replacement { path: lock, old: lock_text, new: new_lock },
            ];
            files.retain(|file| file.old.as_deref().unwrap_or_default() != file.new);
            (files.iter().map(diff).collect(), !options.dry_run && replace_all(&files)?)
        } else {
            (String::new(), false)
        };
        Ok(Updated {
            version: 1,
            project: project.manifest.project.name.clone(),
            written,
            moved: lock_changes(&lock, &then),
            settings,
            phases,
            left: left.into_iter().map(|leaving| leaving.told(self.words)).collect(),
            failed,
            unknown,
            diff,
        })
    }

    fn pipeline<'b>(&'b self, project: &'b Project) -> Pipeline<'b> {
        Pipeline::new(self.home, self.engine, project).with_remote(self.remote)
    }

    /// The values that were given with their names, after refusing names that mean nothing here.
    fn given(&self, options: &UpdateOptions) -> Result<Vec<Setting>, PipelineError> {
        let mut given = Vec::new();
        let mut used: Option<BTreeSet<String>> = None;
        for name in &options.names {
            if let Some((name, value)) = name.split_once('=') {
                given.push(self.project.setting(name, value)?);
                continue;
            }
            let references = match &mut used {
                Some(known) => known,
                unknown => {
                    let bases = self.pipeline(self.project).used_bases()?;
                    unknown.insert(bases.into_iter().map(|base| base.reference.to_string()).collect())
                }
            };
            if !is_known(self.project, references, name) {
                // The error names what is most like it.
                let hint = self.project.setting(name, "").err().and_then(|error| error.remedy());
                let hint = hint.unwrap_or_else(|| {
                    let versions = self.project.manifest.versions.keys();
                    let known: Vec<&str> = versions
                        .chain(self.project.manifest.bases.keys())
                        .chain(references.iter())
                        .map(String::as_str)
                        .collect();
                    format!("there are {}", known.join(", ")).into()
                });
                return Err(PipelineError::Invalid {
                    message: format!("{name} is not a version or base of this project"),
                    hint: Some(hint),
                });
            }
        }
        Ok(given)
    }

    /// What the lock becomes for a project with other values, and what a build would then run because of that.
    fn settle(&self, project: &Project, lock: Lock) -> Result<(Lock, Vec<PhasePlan>), PipelineError> {
        let then = self.pipeline(project).with_lock(lock).locked_bases()?;
        let after = self.pipeline(project).with_lock(then.clone()).outlook()?;
        let phases = match self.pipeline(self.project).outlook() {
            Ok(now) => now.would_run(&after),
            // What is now may not be plannable any more; what comes is.
            Err(error) => {
                tracing::debug!(%error, "no plan of what is now");
                after.plan.phases.into_iter().filter(|phase| phase.status != Status::Fresh).collect()
            }
        };
        Ok((then, phases))
    }
}

impl std::fmt::Debug for Update<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Update").field("project", &self.project.root).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Option<String>, PipelineError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(|source| PipelineError::Read { path: path.to_owned(), source }),
    }
}

/// The entries of a lock that are others in another.
fn lock_changes(before: &Lock, after: &Lock) -> Vec<LockChange> {
    let entries = |lock: &Lock| -> BTreeMap<(Role, String), String> {
        let all = lock
            .roles
            .iter()
            .flat_map(|(role, bases)| bases.iter().map(|(base, locked)| (*role, base, locked)));
        all.map(|(role, base, locked)| ((role, base.to_string()), locked.index.to_string())).collect()
    };
    let (before, after) = (entries(before), entries(after));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .map(|(role, reference)| {
            let of = |lock: &BTreeMap<_, String>| lock.get(&(*role, reference.clone())).cloned();
            let (from, to) = (of(&before), of(&after));
            LockChange { role: *role, reference: reference.clone(), from, to }
        })
        .filter(|change| change.from != change.to)
        .collect()
}

/// What changes in a file, in the unified form.
fn diff(file: &Replacement) -> String {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy();
    let from = if file.old.is_some() { format!("a/{name}") } else { "/dev/null".to_owned() };
    TextDiff::from_lines(file.old.as_deref().unwrap_or_default(), &file.new)
        .unified_diff()
        .header(&from, &format!("b/{name}"))
        .to_string()
}
