//! What a phase that is a Dockerfile can observe.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_dockerfile::{
    Base, Dockerfile, GlobalScope, Graph, Instruction, Mount, Scope, Source, Word, glob,
};
use otoshi_engine::{Context, Engine};
use otoshi_oci::{Digest, Platform};

use crate::{Part, PartKind, PipelineError};

/// A Dockerfile with everything that gives it its meaning.
pub(crate) struct Phase<'a> {
    pub(crate) name: &'static str,
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) target: Option<&'a str>,
    pub(crate) args: &'a BTreeMap<String, String>,
    /// Images of other roles: the text that FROM has → manifest.
    pub(crate) roles: &'a BTreeMap<String, Digest>,
    pub(crate) platform: &'a Platform,
}

impl Phase<'_> {
    /// The stages that are reached.
    pub(crate) fn graph(&self) -> Result<(GlobalScope, Graph), PipelineError> {
        let platform = self.platform.to_string();
        let globals = GlobalScope::evaluate(self.dockerfile, self.args, &platform, &platform)
            .map_err(PipelineError::dockerfile(self.name))?;
        let graph = Graph::reach(self.dockerfile, &globals, self.target)
            .map_err(PipelineError::dockerfile(self.name))?;
        Ok((globals, graph))
    }

    /// The external images that are reached, other roles' left out.
    pub(crate) fn bases(&self) -> Result<BTreeSet<String>, PipelineError> {
        let (_, graph) = self.graph()?;
        Ok(graph.images(self.dockerfile).into_iter().filter(|name| !self.roles.contains_key(name)).collect())
    }

    /// Everything but the bases, which the lock knows. Without a context its files do not count.
    pub(crate) fn parts(
        &self,
        engine: &dyn Engine,
        context: Option<&Context>,
    ) -> Result<Vec<Part>, PipelineError> {
        let (globals, graph) = self.graph()?;
        let mut parts = vec![Part::new(PartKind::Setting, "platform", self.platform)];
        let mut arguments: BTreeSet<&str> =
            self.dockerfile.globals.iter().map(|arg| arg.value.name.as_str()).collect();
        let mut scopes: BTreeMap<usize, Scope> = BTreeMap::new();
        for index in &graph.order {
            let stage = &self.dockerfile.stages[*index];
            let label = stage.name.clone().unwrap_or_else(|| format!("stage {index}"));
            parts.push(Part::new(PartKind::Instruction, format!("{label} 0"), &stage.from.source));
            let mut scope = match &graph.stages[index].base {
                Base::Stage(parent) => scopes[parent].clone(),
                _ => Scope::for_base(&globals, self.args, Vec::new()),
            };
            if let Base::Image(name) = &graph.stages[index].base
                && let Some(image) = self.roles.get(name)
                && self.sees_whole(&graph, *index)
            {
                parts.push(Part::new(PartKind::Role, name, image));
            }
            for (place, located) in stage.instructions.iter().enumerate() {
                parts.push(Part::new(
                    PartKind::Instruction,
                    format!("{label} {}", place + 1),
                    &located.source,
                ));
                let mut reads: Vec<(Option<&Word>, Vec<&Word>)> = Vec::new();
                match &located.value {
                    Instruction::Arg(args) => {
                        for arg in args {
                            arguments.insert(&arg.name);
                            let _ = scope.declare(arg);
                        }
                    }
                    Instruction::Env(pairs) => {
                        let _ = scope.set_env(pairs);
                    }
                    Instruction::Copy(copy) => {
                        reads.push((copy.from.as_ref(), copy.sources.iter().collect()));
                    }
                    Instruction::Add(add) => reads.push((None, add.copy.sources.iter().collect())),
                    Instruction::Run(run) => {
                        for mount in &run.mounts {
                            if let Mount::Bind { from, source, .. } = mount {
                                reads.push((from.as_ref(), source.iter().collect()));
                            }
                        }
                    }
                    _ => {}
                }
                for (from, sources) in reads {
                    let source = graph.source(self.dockerfile, *index, from.map(|word| word.0.as_str()));
                    // A name that only the base's environment knows: count everything.
                    let paths = sources.iter().map(|word| {
                        scope.expand(word).ok().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".into())
                    });
                    let paths: Vec<String> =
                        if sources.is_empty() { vec!["/".into()] } else { paths.collect() };
                    self.read(&mut parts, engine, context, &graph, &source, &paths)?;
                }
            }
            scopes.insert(*index, scope);
        }
        for name in arguments {
            if let Some(value) = self.args.get(name)
                && !self.roles.contains_key(value)
            {
                parts.push(Part::new(PartKind::Argument, name, value));
            }
        }
        Ok(parts)
    }

    /// Whether a stage on another role's image observes all of it, as opposed to being copied from only.
    fn sees_whole(&self, graph: &Graph, index: usize) -> bool {
        let runs = self.dockerfile.stages[index].instructions.iter().any(|located| {
            !matches!(located.value, Instruction::Arg(_) | Instruction::Env(_) | Instruction::Label(_))
        });
        let is_base = graph.stages.values().any(|stage| stage.base == Base::Stage(index));
        index == graph.target || runs || is_base
    }

    fn read(
        &self,
        parts: &mut Vec<Part>,
        engine: &dyn Engine,
        context: Option<&Context>,
        graph: &Graph,
        source: &Source,
        paths: &[String],
    ) -> Result<(), PipelineError> {
        let failed = || PipelineError::engine_in(self.name);
        let image = match source {
            Source::Context => {
                if let Some(context) = context {
                    let digest = context.select_digest(paths).map_err(failed())?;
                    parts.push(Part::new(PartKind::Context, paths.join(" "), digest));
                }
                return Ok(());
            }
            Source::Stage(index) => match &graph.stages[index].base {
                Base::Image(name) if !self.sees_whole(graph, *index) => {
                    self.roles.get(name).map(|image| (name, image))
                }
                _ => None,
            },
            Source::Image(name) | Source::Named(name) => self.roles.get(name).map(|image| (name, image)),
        };
        let Some((name, image)) = image else { return Ok(()) };
        for path in paths {
            let value = if glob::has_meta(path) {
                image.to_string()
            } else {
                engine
                    .content(image, path)
                    .map_err(failed())?
                    .map_or_else(|| "nothing".into(), |digest| digest.to_string())
            };
            parts.push(Part::new(PartKind::Role, format!("{name} {path}"), value));
        }
        Ok(())
    }
}
