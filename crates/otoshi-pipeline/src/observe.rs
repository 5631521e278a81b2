//! What a phase that is a Dockerfile can observe.
//!
//! Counted are the instructions of the reached stages, the arguments that they declare, the bases by their locked
//! digest, the files of the context that COPY, ADD and mounts name, and of other roles' images the paths copied out of
//! them; the whole image where a stage runs on it. The ONBUILD triggers of an image are part of the image, and what they
//! read counts as well. Where a name's value is not known, everything that it could name counts. Files that `--exclude`
//! leaves out do count.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use otoshi_dockerfile::{
    Base, GlobalScope, Graph, Instruction, Located, Mount, Scope, Source, Surroundings, Word, glob,
};
use otoshi_engine::{Context, Engine};
use otoshi_oci::{Digest, Image, Platform, contents::inside, layout::Layout};
use otoshi_project::{Phase, Role};

use crate::{
    Part, PartKind, PipelineError,
    files::{RoleFile, Target, is_role, role_of},
};

/// What a phase observes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observation {
    /// The parts, in the order that the key has them.
    pub(crate) parts: Vec<Part>,
    /// The files behind the parts that are digests of files.
    pub(crate) reads: Vec<Read>,
}

/// Files that a part stands for.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// The part's kind and name.
    pub(crate) part: (PartKind, String),
    pub(crate) context: Arc<Context>,
    pub(crate) patterns: Vec<String>,
}

impl Observation {
    pub(crate) fn add(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Adds a setting that is a text.
    pub(crate) fn add_setting(&mut self, name: impl Into<String>, value: impl ToString) {
        self.add(Part::setting(name, value));
    }

    /// Adds a part that is a digest of files.
    fn add_read(&mut self, part: Part, context: &Arc<Context>, patterns: Vec<String>) {
        let slot = (part.kind(), part.name().into_owned());
        if !self.reads.iter().any(|read| read.part == slot) {
            self.reads.push(Read { part: slot, context: Arc::clone(context), patterns });
        }
        self.add_once(part);
    }

    /// Adds a part once; for those that say the same however often they are read.
    fn add_once(&mut self, part: Part) {
        if !self.parts.contains(&part) {
            self.parts.push(part);
        }
    }

    /// Adds the whole source tree.
    pub(crate) fn add_source(&mut self, phase: Phase, context: &Arc<Context>) -> Result<(), PipelineError> {
        let digest = context.tree_digest().map_err(PipelineError::engine_in(phase))?;
        self.add_read(Part::Source { digest }, context, vec!["/".into()]);
        Ok(())
    }
}

/// Compiled output that lies over a context.
pub(crate) enum Compiled {
    /// Its directory.
    Tree(PathBuf),
    /// Its symbolic links; the rest is elsewhere.
    Links(BTreeSet<String>),
}

impl Compiled {
    fn has_link(&self, path: &str) -> bool {
        match self {
            Self::Tree(tree) => tree.join(path).is_symlink(),
            Self::Links(links) => links.contains(path),
        }
    }
}

/// Looks at one role's Dockerfile.
pub(crate) struct Observer<'a> {
    pub(crate) engine: &'a dyn Engine,
    pub(crate) layout: &'a Layout,
    pub(crate) platform: &'a Platform,
    pub(crate) file: &'a RoleFile,
    /// Bases and other roles' images: the text that FROM has → manifest.
    pub(crate) images: &'a BTreeMap<String, Digest>,
    pub(crate) context: &'a Arc<Context>,
    /// Compiled output that lies over the context; counted by content elsewhere.
    pub(crate) compiled: Option<Compiled>,
}

/// A stage that a target reaches.
#[derive(Clone, Copy)]
struct Reached<'g> {
    graph: &'g Graph,
    index: usize,
}

/// A stage that was walked through: what names mean at its end, and whether all of them are known.
#[derive(Clone)]
struct Walked {
    scope: Scope,
    env_known: bool,
}

impl Surroundings for Observer<'_> {
    fn triggers(&self, image: &str) -> Vec<String> {
        let image = self.images.get(image).and_then(|id| Image::load(self.layout, id, self.platform).ok());
        image.map(|image| image.config.config.on_build).unwrap_or_default()
    }
}

impl Observer<'_> {
    /// Adds everything that the file's targets observe.
    pub(crate) fn observe(&self, seen: &mut Observation) -> Result<(), PipelineError> {
        if self.file.dockerfile.escape != '\\' {
            seen.add_setting("escape", self.file.dockerfile.escape);
        }
        self.times(seen);
        // A stage that knows for which target it is built is another one for each.
        let knows_target = self.file.dockerfile.text.contains("TARGETSTAGE");
        let mut walked: BTreeMap<usize, Walked> = BTreeMap::new();
        let mut arguments: BTreeSet<(String, String)> = BTreeSet::new();
        for target in &self.file.targets {
            if knows_target {
                walked.clear();
            }
            // With the triggers of the images, which were not known when the file was loaded.
            let graph = Graph::reach_in(&self.file.dockerfile, &target.globals, target.name.as_deref(), self)
                .map_err(PipelineError::dockerfile(self.file.phase))?;
            for index in &graph.order {
                let base = &graph.stages[index].base;
                if let Base::Image(name) = base
                    && let Some(by) = role_of(name).and_then(Role::phase)
                    && self.sees_whole(&graph, *index)
                {
                    seen.add_once(Part::whole(by, self.image(name)?.clone()));
                }
                // A stage of several targets is one stage; how often it is reached makes no difference.
                if !walked.contains_key(index) {
                    let stage =
                        self.stage(seen, target, Reached { graph: &graph, index: *index }, &walked)?;
                    let visible = stage.scope.visible_args();
                    arguments.extend(visible.iter().map(|(name, value)| (name.clone(), value.clone())));
                    walked.insert(*index, stage);
                }
            }
        }
        for (name, value) in arguments {
            if !is_role(&value) {
                // Two stages may see two values under one name.
                let of_name =
                    |part: &Part| matches!(part, Part::Argument { name: known, .. } if *known == name);
                let again = seen.parts.iter().any(of_name);
                seen.add(Part::Argument { name, value, again });
            }
        }
        for name in &self.file.bases {
            let argument = self.file.argument_of(name.as_str());
            let digest = self.image(name.as_str())?.clone();
            seen.add(Part::Base { name: name.clone(), digest, argument });
        }
        Ok(())
    }

    /// `SOURCE_DATE_EPOCH`, which counts whether a stage declares it or not.
    fn times(&self, seen: &mut Observation) {
        const NAME: &str = "SOURCE_DATE_EPOCH";
        for target in &self.file.targets {
            let time = self.file.args.get(NAME).or_else(|| target.globals.values().get(NAME));
            if let Some(time) = time {
                seen.add_once(Part::setting(NAME, time));
            }
        }
    }

    fn stage(
        &self,
        seen: &mut Observation,
        target: &Target,
        at: Reached<'_>,
        walked: &BTreeMap<usize, Walked>,
    ) -> Result<Walked, PipelineError> {
        let Reached { graph, index } = at;
        let (stage, reached) = (&self.file.dockerfile.stages[index], &graph.stages[&index]);
        let label = stage.name.clone().unwrap_or_else(|| format!("stage {index}"));
        seen.add(Part::Instruction { stage: label.clone(), text: stage.from.source.clone() });
        if let Some(platform) = &reached.platform {
            seen.add_setting(format!("platform of {label}"), platform);
        }
        let mut here = self.start(&target.globals, &reached.base, walked);
        // The triggers of the stage below count where they run; their text stands there.
        let own = stage.instructions.iter().map(|located| (located, true));
        for (located, is_own) in reached.triggers.iter().map(|located| (located, false)).chain(own) {
            if is_own {
                seen.add(Part::Instruction { stage: label.clone(), text: located.source.clone() });
            }
            self.instruction(seen, at, &mut here, located)?;
        }
        Ok(here)
    }

    /// What names mean at the start of a stage.
    fn start(&self, globals: &GlobalScope, base: &Base, walked: &BTreeMap<usize, Walked>) -> Walked {
        let on = |env, env_known| Walked { scope: Scope::for_base(globals, &self.file.args, env), env_known };
        match base {
            // Stages stand on earlier ones, which come first in the graph's order.
            Base::Stage(parent) => walked.get(parent).cloned().unwrap_or_else(|| on(Vec::new(), false)),
            Base::Scratch => on(Vec::new(), true),
            Base::Named(_) => on(Vec::new(), false),
            Base::Image(name) => {
                let config = self
                    .images
                    .get(name)
                    .and_then(|digest| Image::load(self.layout, digest, self.platform).ok());
                match config {
                    None => on(Vec::new(), false),
                    Some(image) => {
                        let pairs = image.config.config.env.iter().filter_map(|pair| pair.split_once('='));
                        on(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), true)
                    }
                }
            }
        }
    }

    fn instruction(
        &self,
        seen: &mut Observation,
        at: Reached<'_>,
        here: &mut Walked,
        located: &Located<Instruction>,
    ) -> Result<(), PipelineError> {
        // An expansion that fails here fails in the build as well, which says where.
        match &located.value {
            Instruction::Arg(args) => {
                for arg in args {
                    here.env_known &= here.scope.declare(arg).is_ok();
                }
            }
            Instruction::Env(pairs) => here.env_known &= here.scope.set_env(pairs).is_ok(),
            Instruction::Copy(copy) => {
                let mut paths = here.paths(&copy.sources);
                if copy.parents {
                    // What patterns with `**` reach is all beneath the path before the first wildcard.
                    paths = paths.iter().map(|path| before_wildcard(path)).collect();
                }
                self.read(seen, at, copy.from.as_ref(), &paths)?;
            }
            Instruction::Add(add) => {
                let mut paths = Vec::new();
                for source in &add.copy.sources {
                    if !self.elsewhere(seen, here, source, add.checksum.as_ref())? {
                        paths.extend(here.paths(std::slice::from_ref(source)));
                    }
                }
                self.read(seen, at, None, &paths)?;
            }
            Instruction::Run(run) => {
                for mount in &run.mounts {
                    let settled = mount.settled(&|word| here.scope.expand(word)).ok();
                    let Some(settled) = settled.filter(|settled| here.env_known || **settled == *mount)
                    else {
                        // What it mounts is not known.
                        if let Mount::Later { from, .. } = mount {
                            self.read(seen, at, from.as_ref(), &["/".to_owned()])?;
                        }
                        continue;
                    };
                    let (from, source) = match &*settled {
                        Mount::Bind { from, source, .. } => (from.as_ref(), source),
                        // Without `from` a cache starts empty.
                        Mount::Cache { from: Some(from), source, .. } => (Some(from), source),
                        _ => continue,
                    };
                    let paths = match source {
                        Some(word) => here.paths(std::slice::from_ref(word)),
                        None => vec!["/".to_owned()],
                    };
                    self.read(seen, at, from, &paths)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts a source of ADD that lies elsewhere by what it holds now; tells whether it is one.
    fn elsewhere(
        &self,
        seen: &mut Observation,
        here: &Walked,
        source: &Word,
        checksum: Option<&Word>,
    ) -> Result<bool, PipelineError> {
        let known = |word: &Word| here.env_known || !word.0.contains('$');
        let expand = |word: &Word| here.scope.expand(word).ok().filter(|_| known(word));
        let Some(name) = expand(source) else {
            // It may be anything, so that the phase runs each time.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
            seen.add_once(Part::Remote { address: source.0.clone(), state: now.to_string() });
            return Ok(false);
        };
        let checksum = checksum.and_then(expand);
        let state = self.engine.remote(&name, checksum.as_deref());
        let Some(state) = state.map_err(PipelineError::engine_in(self.file.phase))? else { return Ok(false) };
        seen.add_once(Part::Remote { address: name, state });
        Ok(true)
    }

    /// Whether a stage on another role's image observes all of it, as opposed to being copied from only.
    fn sees_whole(&self, graph: &Graph, index: usize) -> bool {
        let mut instructions = graph.stages[&index].instructions(&self.file.dockerfile);
        let works = instructions.any(|located| {
            !matches!(located.value, Instruction::Arg(_) | Instruction::Env(_) | Instruction::Label(_))
        });
        let is_base = graph.stages.values().any(|stage| stage.base == Base::Stage(index));
        index == graph.target || works || is_base
    }

    fn read(
        &self,
        seen: &mut Observation,
        Reached { graph, index }: Reached<'_>,
        from: Option<&Word>,
        paths: &[String],
    ) -> Result<(), PipelineError> {
        if paths.is_empty() {
            return Ok(());
        }
        let image = match graph.source(&self.file.dockerfile, index, from.map(|word| word.0.as_str())) {
            Source::Context => return self.read_context(seen, paths),
            Source::Stage(other) => match graph.stages.get(&other).map(|stage| &stage.base) {
                Some(Base::Image(name)) if is_role(name) && !self.sees_whole(graph, other) => name.clone(),
                _ => return Ok(()),
            },
            Source::Image(name) | Source::Named(name) if is_role(&name) => name,
            // Counted as a base; one that only a trigger names is not known.
            Source::Image(name) if name != "scratch" => return self.image(&name).map(|_| ()),
            Source::Image(_) | Source::Named(_) => return Ok(()),
        };
        let manifest = self.image(&image)?;
        let Some(by) = role_of(&image).and_then(Role::phase) else { return Ok(()) };
        for path in paths {
            // Which paths a pattern matches is known to the engine only.
            let content = if glob::has_meta(path) {
                Some(manifest.clone())
            } else {
                self.engine.content(manifest, path).map_err(PipelineError::engine_in(self.file.phase))?
            };
            seen.add_once(Part::at_path(by, path, content));
        }
        Ok(())
    }

    fn read_context(&self, seen: &mut Observation, paths: &[String]) -> Result<(), PipelineError> {
        let mut patterns = paths.to_vec();
        if let Some(tree) = &self.compiled
            && patterns.iter().any(|path| self.leads_elsewhere(tree, path))
        {
            patterns = vec!["/".to_owned()];
        }
        let digest =
            self.context.select_digest(&patterns).map_err(PipelineError::engine_in(self.file.phase))?;
        seen.add_read(Part::Context { patterns: patterns.clone(), digest }, self.context, patterns);
        Ok(())
    }

    /// Whether a path of source and compiled output merged may lead to source files under another path, by a link.
    fn leads_elsewhere(&self, compiled: &Compiled, path: &str) -> bool {
        let clean = inside(path);
        if clean.is_empty() || glob::has_meta(&clean) {
            return false;
        }
        let by_source = self.context.resolve(&clean).is_some_and(|found| found != clean);
        let parts: Vec<&str> = clean.split('/').collect();
        let prefixes = (1..=parts.len()).map(|count| parts[..count].join("/"));
        let mut is_link = prefixes.map(|prefix| {
            let here = self.context.entry(&prefix).map(|entry| &entry.kind);
            matches!(here, Some(otoshi_engine::EntryKind::Symlink(_))) || compiled.has_link(&prefix)
        });
        by_source || is_link.any(|is_link| is_link)
    }

    fn image(&self, name: &str) -> Result<&Digest, PipelineError> {
        let missing = || {
            PipelineError::invalid(
                format!("{}: nothing is known about the image {name}", self.file.role),
                "an image that only an ONBUILD trigger names must have a stage of its own, with FROM",
            )
        };
        self.images.get(name).ok_or_else(missing)
    }
}

impl Walked {
    /// The paths that these words name; the whole where that is not known.
    fn paths(&self, words: &[Word]) -> Vec<String> {
        let path = |word: &Word| {
            let known = self.env_known || !word.0.contains('$');
            let expanded = self.scope.expand(word).ok().filter(|path| known && !path.is_empty());
            expanded.unwrap_or_else(|| "/".to_owned())
        };
        words.iter().map(path).collect()
    }
}

/// The part of a source of `--parents` that holds no wildcard.
fn before_wildcard(path: &str) -> String {
    let parts = path.split('/').take_while(|part| !glob::has_meta(part));
    let found = parts.filter(|part| *part != ".").collect::<Vec<_>>().join("/");
    if inside(&found).is_empty() { "/".to_owned() } else { found }
}
