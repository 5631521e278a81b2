//! The stages that a target reaches, and what each reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Dockerfile, DockerfileError, GlobalScope, Instruction, Mount, Word, suggest};

/// The reachable stages of one target.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The target's number.
    pub target: usize,
    /// The reachable stages, each after those that it needs.
    pub order: Vec<usize>,
    /// The reachable stages by number.
    pub stages: BTreeMap<usize, ReachedStage>,
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
    /// The number of the stage with this name, or of that number.
    pub fn stage_named(&self, name: &str) -> Option<usize> {
        let lower = name.to_lowercase();
        let by_name = self.stages.iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
        by_name.or_else(|| name.parse().ok().filter(|&index| index < self.stages.len()))
    }

    /// What `--from=text` means in the stage `stage`: an earlier stage by name or number, else an image.
    fn source_before(&self, stage: usize, text: &str) -> Source {
        let lower = text.to_lowercase();
        let named = self.stages[..stage].iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
        match named.or_else(|| text.parse().ok().filter(|&index| index < stage)) {
            Some(index) => Source::Stage(index),
            None => Source::Image(text.to_owned()),
        }
    }
}

impl Graph {
    /// Finds what the target needs: the last stage when `None`.
    pub fn reach(
        dockerfile: &Dockerfile,
        globals: &GlobalScope,
        target: Option<&str>,
    ) -> Result<Self, DockerfileError> {
        let last =
            dockerfile.stages.len().checked_sub(1).ok_or_else(|| DockerfileError::new("there is no FROM"))?;
        let target = match target {
            None => last,
            Some(name) => dockerfile.stage_named(name).ok_or_else(|| {
                let names = dockerfile.stages.iter().filter_map(|stage| stage.name.as_deref());
                let hint = suggest(name, names).map(|near| format!("did you mean {near:?}?"));
                DockerfileError::new(format!("unknown stage {name:?} in {}", dockerfile.name)).with_hint(hint)
            })?,
        };
        let mut graph = Self { target, order: Vec::new(), stages: BTreeMap::new() };
        graph.visit(dockerfile, globals, target)?;
        Ok(graph)
    }

    /// Stages refer to earlier stages only, so this ends.
    fn visit(
        &mut self,
        dockerfile: &Dockerfile,
        globals: &GlobalScope,
        index: usize,
    ) -> Result<(), DockerfileError> {
        if self.stages.contains_key(&index) {
            return Ok(());
        }
        let stage = &dockerfile.stages[index];
        let at =
            |error: DockerfileError| error.or_at(&dockerfile.name, &dockerfile.text, stage.from.span.clone());
        let image = globals.expand(&stage.from.value.image).map_err(at)?;
        if image.is_empty() {
            let error =
                DockerfileError::new(format!("FROM {}: the image's name is empty", stage.from.value.image.0));
            return Err(at(error.with_hint(Some("give the ARG a default before FROM, or pass it".into()))));
        }
        let platform =
            stage.from.value.platform.as_ref().map(|word| globals.expand(word)).transpose().map_err(at)?;
        let base = match dockerfile.source_before(index, &image) {
            // A number is a stage in --from only.
            Source::Stage(parent) if image.parse::<usize>().is_err() => Base::Stage(parent),
            _ if image == "scratch" => Base::Scratch,
            _ => Base::Image(image),
        };
        let mut depends_on: BTreeSet<usize> = match base {
            Base::Stage(parent) => BTreeSet::from([parent]),
            _ => BTreeSet::new(),
        };
        for from in froms(dockerfile, index) {
            if let Source::Stage(other) = dockerfile.source_before(index, from) {
                depends_on.insert(other);
            }
        }
        self.stages.insert(index, ReachedStage { index, base, platform, depends_on: depends_on.clone() });
        for other in depends_on {
            self.visit(dockerfile, globals, other)?;
        }
        self.order.push(index);
        Ok(())
    }

    /// What `--from` means in a stage; the context when there is none.
    #[allow(clippy::unused_self, reason = "only a reached stage can be asked about")]
    pub fn source(&self, dockerfile: &Dockerfile, stage: usize, from: Option<&str>) -> Source {
        from.map_or(Source::Context, |from| dockerfile.source_before(stage, from))
    }

    /// Every image from outside that is reached, as it stands after expansion.
    pub fn images(&self, dockerfile: &Dockerfile) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (index, stage) in &self.stages {
            if let Base::Image(name) = &stage.base {
                found.insert(name.clone());
            }
            for from in froms(dockerfile, *index) {
                if let Source::Image(name) = dockerfile.source_before(*index, from) {
                    found.insert(name);
                }
            }
        }
        found
    }
}

/// Every `--from` and mount `from=` of a stage. Variables are not expanded there.
fn froms(dockerfile: &Dockerfile, index: usize) -> Vec<&str> {
    let mut found: Vec<&Word> = Vec::new();
    for instruction in &dockerfile.stages[index].instructions {
        match &instruction.value {
            Instruction::Copy(copy) => found.extend(&copy.from),
            Instruction::Add(add) => found.extend(&add.copy.from),
            Instruction::Run(run) => {
                for mount in &run.mounts {
                    if let Mount::Bind { from, .. } | Mount::Cache { from, .. } = mount {
                        found.extend(from);
                    }
                }
            }
            _ => {}
        }
    }
    found.into_iter().map(|word| word.0.as_str()).collect()
}
