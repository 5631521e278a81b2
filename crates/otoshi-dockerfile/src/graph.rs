//! The stages that a target reaches, and what each reads.
//!
//! FROM names earlier stages; `--from` of COPY and `from=` of a mount name a stage (by name or number), which must be an
//! earlier one, or an image. A named context takes the place of an image, and of a whole stage that has its name. The
//! ONBUILD triggers of a stage or an image run in the stages on it, and read from where those stand.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Dockerfile, DockerfileError, GlobalScope, Instruction, Located, Mount, Word, suggest};
use otoshi_explain::Explain;

/// What is known outside the Dockerfile and decides which stages are reached.
pub trait Surroundings {
    /// Whether a named context has this name.
    fn is_named_context(&self, _name: &str) -> bool {
        false
    }

    /// The ONBUILD triggers in the config of an image, by the text that FROM has after expansion.
    fn triggers(&self, _image: &str) -> Vec<String> {
        Vec::new()
    }
}

/// Nothing is known.
impl Surroundings for () {}

/// The reachable stages of one target.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The target's number.
    pub target: usize,
    /// The reachable stages, each after those that it needs.
    pub order: Vec<usize>,
    /// The reachable stages by number.
    pub stages: BTreeMap<usize, ReachedStage>,
    /// The names that `--from` has and that mean a named context.
    named: BTreeSet<String>,
}

/// A reachable stage.
#[derive(Debug, Clone)]
pub struct ReachedStage {
    /// Its number.
    pub index: usize,
    /// What it starts from.
    pub base: Base,
    /// Its `--platform`, expanded.
    pub platform: Option<String>,
    /// The stages that it needs.
    pub depends_on: BTreeSet<usize>,
    /// What the ONBUILD instructions of the stage or image below ask for, before this stage's own instructions.
    pub triggers: Vec<Located<Instruction>>,
}

impl ReachedStage {
    /// Everything that runs in the stage: the triggers, then its own instructions, unless a named context stands for it.
    pub fn instructions<'a>(
        &'a self,
        dockerfile: &'a Dockerfile,
    ) -> impl Iterator<Item = &'a Located<Instruction>> {
        let stage = &dockerfile.stages[self.index];
        let is_replaced =
            matches!((&self.base, &stage.name), (Base::Named(context), Some(name)) if context == name);
        let own: &[Located<Instruction>] = if is_replaced { &[] } else { &stage.instructions };
        self.triggers.iter().chain(own)
    }
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image, as it stands after expansion.
    Image(String),
    /// A named context, by its name.
    Named(String),
}

/// What a `--from` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The build's context.
    Context,
    /// A stage.
    Stage(usize),
    /// An image.
    Image(String),
    /// A named context.
    Named(String),
}

impl Dockerfile {
    /// The number of the stage with this name, in any case; of two with one name the later.
    pub fn stage_named(&self, name: &str) -> Option<usize> {
        self.last_named(name, self.stages.len())
    }

    /// The last stage before `stage` that FROM names so: as it is kept, in lower case.
    fn base_named(&self, name: &str, stage: usize) -> Option<usize> {
        self.last_named(name, stage).filter(|_| *name == name.to_lowercase())
    }

    fn last_named(&self, name: &str, before: usize) -> Option<usize> {
        let lower = name.to_lowercase();
        self.stages[..before].iter().rposition(|stage| stage.name.as_deref() == Some(&lower))
    }

    fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.name.as_deref())
    }

    /// What `--from=text` means in the stage `stage`: an earlier stage by name or number, else an image.
    fn source_before(&self, stage: usize, text: &str) -> Result<Source, DockerfileError> {
        if let Some(index) = self.last_named(text, stage) {
            return Ok(Source::Stage(index));
        }
        let number = text.parse::<usize>().ok();
        match self.last_named(text, self.stages.len()).or(number) {
            None => Ok(Source::Image(text.to_owned())),
            Some(index) if index < stage => Ok(Source::Stage(index)),
            Some(index) if index == stage => {
                Err(DockerfileError::new(format!("the stage {text:?} cannot copy from itself")))
            }
            Some(index) if index < self.stages.len() => {
                let hint = "move the stage up: only stages above can be read".to_owned();
                Err(DockerfileError::new(format!("the stage {text:?} comes later")).with_hint(Some(hint)))
            }
            Some(_) => {
                let hint = format!("stages are numbered from 0 to {}", self.stages.len() - 1);
                Err(DockerfileError::new(format!("there is no stage {text}")).with_hint(Some(hint)))
            }
        }
    }
}

impl Graph {
    /// Finds what the target needs: the last stage when `None`. Triggers of images and named contexts are not known.
    ///
    /// Fails where the target is no stage of the Dockerfile, where FROM names nothing, and where a variable of FROM
    /// has no value.
    pub fn reach(
        dockerfile: &Dockerfile,
        globals: &GlobalScope,
        target: Option<&str>,
    ) -> Result<Self, DockerfileError> {
        Self::reach_in(dockerfile, globals, target, &())
    }

    /// As [`Graph::reach`], with what is known outside the Dockerfile.
    ///
    /// Fails as [`Graph::reach`] does, and where a `--from` names nothing or a trigger of an image is wrong.
    pub fn reach_in(
        dockerfile: &Dockerfile,
        globals: &GlobalScope,
        target: Option<&str>,
        outside: &dyn Surroundings,
    ) -> Result<Self, DockerfileError> {
        let last =
            dockerfile.stages.len().checked_sub(1).ok_or_else(|| DockerfileError::new("there is no FROM"))?;
        let target = match target {
            None => last,
            Some(name) => dockerfile.stage_named(name).ok_or_else(|| {
                let near =
                    suggest(name, dockerfile.stage_names()).map(|near| format!("did you mean {near:?}?"));
                let all =
                    || Some(dockerfile.stage_names().collect::<Vec<_>>()).filter(|names| !names.is_empty());
                let hint = near.or_else(|| Some(format!("one of {}", all()?.join(", "))));
                DockerfileError::new(format!("unknown stage {name:?} in {}", dockerfile.name)).with_hint(hint)
            })?,
        };
        // As with docker build, FROM and `--from` of all stages mean something, reached or not.
        for stage in &dockerfile.stages {
            base_of(dockerfile, globals, stage)?;
            sources_of(dockerfile, stage.index, stage.instructions.iter(), outside)?;
        }
        let mut stages = BTreeMap::new();
        let mut named = BTreeSet::new();
        let mut needed = BTreeSet::from([target]);
        // Stages need earlier stages only: going down, each is known to be needed before it is looked at.
        while let Some(index) = needed.pop_last() {
            let stage = reached(dockerfile, globals, index, outside)?;
            needed.extend(&stage.depends_on);
            let froms = stage.instructions(dockerfile).flat_map(froms).map(|(from, _)| from);
            named.extend(froms.filter(|from| outside.is_named_context(from)).map(str::to_owned));
            stages.insert(index, stage);
        }
        Ok(Self { target, order: stages.keys().copied().collect(), stages, named })
    }

    /// What `--from` means in a stage; the context when there is none.
    pub fn source(&self, dockerfile: &Dockerfile, stage: usize, from: Option<&str>) -> Source {
        let Some(from) = from else { return Source::Context };
        if self.named.contains(from) && dockerfile.last_named(from, stage).is_none() {
            return Source::Named(from.to_owned());
        }
        // Of a reached stage every source was looked at.
        dockerfile.source_before(stage, from).unwrap_or_else(|_| Source::Image(from.to_owned()))
    }

    /// Every named context that is reached, by the names that FROM and `--from` have.
    pub fn contexts(&self) -> BTreeSet<&str> {
        let bases = self.stages.values().filter_map(|stage| match &stage.base {
            Base::Named(name) => Some(name.as_str()),
            _ => None,
        });
        bases.chain(self.named.iter().map(String::as_str)).collect()
    }

    /// Every image from outside that is reached, as it stands after expansion.
    pub fn images(&self, dockerfile: &Dockerfile) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (index, stage) in &self.stages {
            if let Base::Image(name) = &stage.base {
                found.insert(name.clone());
            }
            for (from, _) in stage.instructions(dockerfile).flat_map(froms) {
                if let Source::Image(name) = self.source(dockerfile, *index, Some(from))
                    && name != "scratch"
                {
                    found.insert(name);
                }
            }
        }
        found
    }
}

fn reached(
    dockerfile: &Dockerfile,
    globals: &GlobalScope,
    index: usize,
    outside: &dyn Surroundings,
) -> Result<ReachedStage, DockerfileError> {
    let stage = &dockerfile.stages[index];
    let at =
        |error: DockerfileError| error.or_at(&dockerfile.name, &dockerfile.text, stage.from.span.clone());
    let (image, platform) = base_of(dockerfile, globals, stage)?;
    let own_context = stage.name.as_deref().filter(|name| outside.is_named_context(name));
    let (base, triggers) = match dockerfile.base_named(&image, index) {
        _ if own_context.is_some() => (Base::Named(own_context.unwrap_or_default().to_owned()), Vec::new()),
        Some(parent) => (Base::Stage(parent), triggers(dockerfile, parent).map_err(at)?),
        None if image == "scratch" => (Base::Scratch, Vec::new()),
        None if outside.is_named_context(&image) => {
            let found = image_triggers(&outside.triggers(&image), stage).map_err(at)?;
            (Base::Named(image), found)
        }
        None => {
            let found = image_triggers(&outside.triggers(&image), stage).map_err(at)?;
            (Base::Image(image), found)
        }
    };
    let mut depends_on: BTreeSet<usize> = match base {
        Base::Stage(parent) => BTreeSet::from([parent]),
        _ => BTreeSet::new(),
    };
    let reached = ReachedStage { index, base, platform, depends_on: BTreeSet::new(), triggers };
    depends_on.extend(sources_of(dockerfile, index, reached.instructions(dockerfile), outside)?);
    Ok(ReachedStage { depends_on, ..reached })
}

/// The image of a stage and its platform, expanded; fails where nothing is left of them.
fn base_of(
    dockerfile: &Dockerfile,
    globals: &GlobalScope,
    stage: &crate::Stage,
) -> Result<(String, Option<String>), DockerfileError> {
    let from = &stage.from.value;
    let at =
        |error: DockerfileError| error.or_at(&dockerfile.name, &dockerfile.text, stage.from.span.clone());
    let image = globals.expand(&from.image).map_err(at)?;
    if image.is_empty() {
        let error = DockerfileError::new(format!("FROM {}: the image's name is empty", from.image.0));
        return Err(at(error.with_hint(Some(empty_hint(globals, &from.image)))));
    }
    let platform = from.platform.as_ref().map(|word| globals.expand(word)).transpose().map_err(at)?;
    if let (Some(word), Some("")) = (&from.platform, platform.as_deref()) {
        let error = DockerfileError::new(format!("FROM --platform={}: the platform is empty", word.0));
        return Err(at(error.with_hint(Some(empty_hint(globals, word)))));
    }
    Ok((image, platform))
}

/// The stages that instructions of a stage read; fails where a `--from` names none that can be read.
fn sources_of<'a>(
    dockerfile: &Dockerfile,
    index: usize,
    instructions: impl Iterator<Item = &'a Located<Instruction>>,
    outside: &dyn Surroundings,
) -> Result<BTreeSet<usize>, DockerfileError> {
    let mut found = BTreeSet::new();
    for instruction in instructions {
        for (from, reader) in froms(instruction) {
            if outside.is_named_context(from) && dockerfile.last_named(from, index).is_none() {
                continue;
            }
            let source = dockerfile.source_before(index, from).map_err(|error| {
                let message = format!("{reader}: {error}");
                let hint = error.hint();
                dockerfile.error_at(instruction.span.clone(), message, hint)
            })?;
            if let Source::Stage(other) = source {
                found.insert(other);
            }
        }
    }
    Ok(found)
}

/// What to do about a word of FROM that has become empty: a name that nearly fits, or a default.
fn empty_hint(globals: &GlobalScope, word: &Word) -> String {
    let name: String = word.0.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    suggest(&name, globals.names().filter(|known| *known != name)).map_or_else(
        || "give the ARG a default before the first FROM, or pass it".to_owned(),
        |near| {
            format!(
                "did you mean ${near}? Otherwise give the ARG a default before the first FROM, or pass it"
            )
        },
    )
}

/// The parsed ONBUILD triggers of an image, shown where the stage on it starts.
fn image_triggers(
    texts: &[String],
    stage: &crate::Stage,
) -> Result<Vec<Located<Instruction>>, DockerfileError> {
    let from = &stage.from;
    let parse = |text: &String| {
        let trigger = Instruction::parse_trigger(text)?;
        Ok(Located { span: from.span.clone(), line: from.line, end_line: from.end_line, ..trigger })
    };
    texts.iter().map(parse).collect()
}

/// The parsed ONBUILD triggers of a stage.
fn triggers(dockerfile: &Dockerfile, stage: usize) -> Result<Vec<Located<Instruction>>, DockerfileError> {
    let mut found = Vec::new();
    for instruction in &dockerfile.stages[stage].instructions {
        if let Instruction::Onbuild(text) = &instruction.value {
            let trigger = Instruction::parse_trigger(text)?;
            // It is shown where it stands in the Dockerfile.
            let (span, line, end_line) = (instruction.span.clone(), instruction.line, instruction.end_line);
            found.push(Located { span, line, end_line, ..trigger });
        }
    }
    Ok(found)
}

/// Every `--from` and mount `from=` of an instruction, with what names it. Variables are not expanded there.
fn froms(instruction: &Located<Instruction>) -> Vec<(&str, &'static str)> {
    match &instruction.value {
        Instruction::Copy(copy) => copy.from.iter().map(|word| (word.0.as_str(), "COPY --from")).collect(),
        Instruction::Run(run) => {
            let of_mounts = run.mounts.iter().filter_map(|mount| match mount {
                Mount::Bind { from, .. } | Mount::Cache { from, .. } | Mount::Later { from, .. } => {
                    from.as_ref()
                }
                _ => None,
            });
            of_mounts.map(|word| (word.0.as_str(), "RUN --mount from")).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
