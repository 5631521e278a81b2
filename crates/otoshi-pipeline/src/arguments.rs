//! Build arguments that a command computes in a base image: run once for each image and command, then remembered.

use std::collections::BTreeMap;

use otoshi_dockerfile::CommandForm;
use otoshi_engine::{EngineError, Events, Network, RunRequest};
use otoshi_oci::{Digest, Fields};
use otoshi_project::{BaseName, Lock, Role};
use otoshi_store::{Kind, Record};
use serde::{Deserialize, Serialize};

use crate::{
    Pipeline, PipelineError,
    bases::{Rules, ensure},
    error::During,
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

impl Pipeline<'_> {
    /// The value of every computed argument; while planning, those that were computed before.
    ///
    /// Their bases have a role of their own in `otoshi.lock`, `args`, that moves with the builder's.
    pub(crate) fn computed_arguments(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<BTreeMap<String, String>, PipelineError> {
        let wanted = self.project.computed()?;
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut lock = self.lock()?;
        let before = lock.clone();
        let mut values = BTreeMap::new();
        for (name, base, computed) in wanted {
            let base = argument_base_name(base)?;
            let image = self.argument_base(&mut lock, &name, &base, rules, events)?;
            let key = argument_key(&image, &computed.run);
            let known = match self.home.records().get(key.hex()) {
                Some(ArgumentValue(known)) => Some(known),
                None => self.recall_argument(&key)?,
            };
            let value = match (known, events) {
                (Some(value), _) => value,
                (None, None) => UNKNOWN.to_owned(),
                (None, Some(events)) => {
                    let value = self.compute(&name, &base, image, &computed.run, events)?;
                    self.home.records().put(key.hex(), &ArgumentValue(value.clone()))?;
                    value
                }
            };
            values.insert(name, value);
        }
        if (events.is_some() || self.has_own_lock()) && lock != before {
            self.save_lock(&lock)?;
        }
        Ok(values)
    }

    /// The value that another machine computed; it is known here from then on.
    fn recall_argument(&self, key: &Digest) -> Result<Option<String>, PipelineError> {
        let value = self.memory.as_ref().and_then(|memory| memory.recall_argument(key));
        if let Some(value) = &value {
            self.home.records().put(key.hex(), &ArgumentValue(value.clone()))?;
        }
        Ok(value)
    }

    /// The image in which an argument is computed, as the lock has it; added to the lock where that lacks it.
    pub(crate) fn argument_base(
        &self,
        lock: &mut Lock,
        name: &str,
        base: &BaseName,
        rules: Rules<'_>,
        events: Option<&dyn Events>,
    ) -> Result<Digest, PipelineError> {
        let moves = rules.move_roles.contains(&Role::Builder);
        if let Some(digest) = lock.get(Role::Arguments, base.as_str(), &self.platform).filter(|_| !moves) {
            return Ok(digest.clone());
        }
        if rules.locked {
            let message = format!("otoshi.lock has no {base} for the argument {name}");
            return Err(PipelineError::invalid(message, "run otoshi build without --locked"));
        }
        let found = self
            .with_base_source(events, |source| source.resolve(base.reference(), &self.platform))?
            .ok_or_else(|| {
                PipelineError::invalid(
                    format!("the argument {name} is computed in {base}, which is not in the store"),
                    format!("otoshi import ROOTFS.tar --name {base}"),
                )
            })?;
        lock.set(Role::Arguments, base, &self.platform, &found.index, &found.platform);
        Ok(found.platform)
    }

    fn compute(
        &self,
        name: &str,
        base: &BaseName,
        image: Digest,
        run: &str,
        events: &dyn Events,
    ) -> Result<String, PipelineError> {
        self.with_base_source(Some(events), |source| {
            ensure(source, Role::Arguments, base, &image, &self.platform)
        })?;
        let command = CommandForm::Shell(run.to_owned());
        let request = RunRequest {
            platform: self.platform.clone(),
            network: Network::None,
            ..RunRequest::new(image, format!("argument {name}"), Some(command))
        };
        let failed = PipelineError::engine_in(During::Arguments);
        let outcome = match self.engine.run(&request, events) {
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
pub(crate) fn argument_base_name(name: String) -> Result<BaseName, PipelineError> {
    BaseName::parse(&name).map_err(|source| PipelineError::BadBase { role: Role::Arguments, name, source })
}
