//! Build arguments that a command computes in a base image: run once for each image and command, then remembered.

use std::collections::BTreeMap;

use otoshi_dockerfile::CommandForm;
use otoshi_engine::{EngineError, Events, Network, RunRequest};
use otoshi_explain::Remedy;
use otoshi_oci::{Digest, Fields};
use otoshi_project::{BaseName, Computed, Lock, Project, Role};
use otoshi_store::{Kind, Record};
use serde::{Deserialize, Serialize};

use crate::{
    PipelineError,
    bases::{Rules, ensure},
    error::During,
    lock_place::LockPlace,
    world::World,
};

/// The value of an argument that planning cannot know: no phase was ever made with it.
const UNKNOWN: &str = "(not computed yet)";

/// The value that a command printed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ArgumentValue(pub(crate) String);

impl Record for ArgumentValue {
    const KIND: Kind = Kind::Argument;
}

/// An argument that a command computes.
pub(crate) struct Argument {
    name: String,
    /// What it is computed in.
    pub(crate) base: BaseName,
    run: String,
}

impl Argument {
    /// Every computed argument of a project.
    pub(crate) fn all(project: &Project) -> Result<Vec<Self>, PipelineError> {
        let computed = project.computed()?.into_iter();
        let argument = |(name, base, computed): (String, String, Computed)| {
            Ok(Self { name, base: argument_base_name(base)?, run: computed.run })
        };
        computed.map(argument).collect()
    }
}

/// The computed arguments of a project on a lock.
pub(crate) struct Arguments<'w> {
    pub(crate) world: &'w World<'w>,
    pub(crate) lock: &'w LockPlace,
}

impl Arguments<'_> {
    /// The value of every computed argument; while planning, those that were computed before.
    ///
    /// Their bases have a role of their own in `otoshi.lock`, `args`, that moves with the builder's.
    pub(crate) fn values(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<BTreeMap<String, String>, PipelineError> {
        let wanted = Argument::all(self.world.project)?;
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.lock.change(events.is_some(), |lock| {
            let value = |argument: Argument| {
                let image = self.base(lock, &argument, rules, events)?;
                let value = self.value(&argument, image, events)?;
                Ok((argument.name, value))
            };
            wanted.into_iter().map(value).collect()
        })
    }

    /// The value of an argument: what is known, else what its command says where one may run.
    fn value(
        &self,
        argument: &Argument,
        image: Digest,
        events: Option<&dyn Events>,
    ) -> Result<String, PipelineError> {
        let (key, records) = (argument_key(&image, &argument.run), self.world.home.records());
        if let Some(ArgumentValue(known)) = records.get(key.hex()) {
            return Ok(known);
        }
        if let Some(known) = self.recall(&key)? {
            return Ok(known);
        }
        let Some(events) = events else { return Ok(UNKNOWN.to_owned()) };
        let value = self.compute(argument, image, events)?;
        records.put(key.hex(), &ArgumentValue(value.clone()))?;
        Ok(value)
    }

    /// The value that another machine computed; it is known here from then on.
    fn recall(&self, key: &Digest) -> Result<Option<String>, PipelineError> {
        let value = self.world.memory.as_ref().and_then(|memory| memory.recall_argument(key));
        if let Some(value) = &value {
            self.world.home.records().remember(key.hex(), &ArgumentValue(value.clone()))?;
        }
        Ok(value)
    }

    /// The image in which an argument is computed, as the lock has it; added to the lock where that lacks it.
    pub(crate) fn base(
        &self,
        lock: &mut Lock,
        argument: &Argument,
        rules: Rules<'_>,
        events: Option<&dyn Events>,
    ) -> Result<Digest, PipelineError> {
        let (Argument { name, base, .. }, platform) = (argument, &self.world.platform);
        let moves = rules.move_roles.contains(&Role::Builder);
        if let Some(digest) = lock.get(Role::Arguments, base.as_str(), platform).filter(|_| !moves) {
            return Ok(digest.clone());
        }
        if rules.locked {
            let message = format!("otoshi.lock has no {base} for the argument {name}");
            return Err(PipelineError::invalid(message, Remedy::BuildUnlocked));
        }
        let found = self
            .world
            .with_base_source(events, |source| source.resolve(base.reference(), platform))?
            .ok_or_else(|| {
                PipelineError::invalid(
                    format!("the argument {name} is computed in {base}, which is not in the store"),
                    Remedy::Import { name: base.to_string() },
                )
            })?;
        let image = found.platform.clone();
        lock.set(Role::Arguments, base, platform, found);
        Ok(image)
    }

    fn compute(
        &self,
        argument: &Argument,
        image: Digest,
        events: &dyn Events,
    ) -> Result<String, PipelineError> {
        let (Argument { name, base, run }, world) = (argument, self.world);
        world.with_base_source(Some(events), |source| {
            ensure(source, Role::Arguments, base, &image, &world.platform)
        })?;
        let command = CommandForm::Shell(run.to_owned());
        let request = RunRequest {
            platform: world.platform.clone(),
            network: Network::None,
            ..RunRequest::new(image, format!("argument {name}"), Some(command))
        };
        let failed = PipelineError::engine_in(During::Arguments);
        let outcome = match world.engine.run(&request, events) {
            Ok(outcome) if outcome.code == 0 => outcome,
            Ok(outcome) => {
                let what = format!("{run}, for {name},");
                return Err(failed(EngineError::Command { what, code: outcome.code, at: None }));
            }
            Err(error) => return Err(failed(error)),
        };
        let text = String::from_utf8(outcome.stdout)
            .map_err(|_| PipelineError::NotText { what: format!("what {name} prints") })?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }
}

/// Stands for what a command prints in an image.
pub(crate) fn argument_key(image: &Digest, run: &str) -> Digest {
    Fields::new("argument 2").text(image.as_str()).text(run).digest()
}

/// The name of the base that an argument is computed in.
fn argument_base_name(name: String) -> Result<BaseName, PipelineError> {
    BaseName::parse(&name).map_err(|source| PipelineError::BadBase { role: Role::Arguments, name, source })
}
