//! Where COPY, ADD and bind mounts read from, and what a source of theirs picks there.
//!
//! - A path is followed through links and picks what is there; its last name as written is the name in a directory.
//! - A pattern picks what it matches beneath the path before its first wildcard. Matched links are followed as well.
//! - `--parents` picks by patterns of `.dockerignore` form, from the root or from the pivot `/./`, with the directories
//!   that lead there; links are picked as links.
//! - `--exclude` leaves out what such patterns match inside a directory, and of files found by a pattern those whose name
//!   matches.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use otoshi_dockerfile::{Ignore, glob};
use otoshi_oci::{Digest, Fields, contents::inside};
use rustix::fs::FileType;

use super::{EmbeddedEngine, chain::Chain, copy::Source, mount::OverlayMount, rootfs, session};
use crate::{
    Context, ContextEntry, EngineError, EntryKind,
    content::{Item, ItemKind, hash_items, walk_where},
    names,
    records::ContentDigest,
};

/// What one source of an instruction picks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick<'a> {
    pub(crate) source: &'a str,
    pub(crate) parents: bool,
    pub(crate) exclude: &'a [String],
}

/// The patterns of a pick, ready to be matched.
struct Filter {
    include: Option<Ignore>,
    exclude: Ignore,
}

impl Pick<'_> {
    /// Whether picking nothing is no mistake.
    pub(crate) fn is_pattern(&self) -> bool {
        glob::has_meta(self.source)
    }

    /// The path or pattern that leads to the roots, and what is picked beneath them.
    fn parts(&self) -> Result<(String, Filter), EngineError> {
        let exclude = Ignore::of_patterns(self.exclude)?;
        if !self.parents {
            return Ok((inside(self.source), Filter { include: None, exclude }));
        }
        let (root, pattern) = self.source.split_once("/./").unwrap_or(("", self.source));
        let pattern = inside(pattern);
        // An empty pattern is the whole.
        let include = if pattern.is_empty() { None } else { Some(Ignore::of_patterns([pattern])?) };
        Ok((inside(root), Filter { include, exclude }))
    }
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.include.is_none() && self.exclude.is_empty()
    }

    fn picks(&self, path: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.excludes(path, false))
            && !self.exclude.excludes(path, false)
    }

    /// Whether anything may be picked beneath a directory.
    fn goes_into(&self, directory: &str) -> bool {
        let included = self
            .include
            .as_ref()
            .is_none_or(|include| include.excludes(directory, true) || include.may_match_beneath(directory));
        included && (!self.exclude.excludes(directory, true) || self.exclude.has_exceptions())
    }

    /// Keeps what is picked and the directories that lead there.
    fn apply<T>(&self, items: Vec<T>, path: impl Fn(&T) -> String) -> Vec<T> {
        if self.is_empty() {
            return items;
        }
        let mut kept: BTreeSet<String> = BTreeSet::new();
        for item in &items {
            let path = path(item);
            if self.picks(&path) {
                kept.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
                kept.insert(path);
            }
        }
        items.into_iter().filter(|item| kept.contains(&path(item))).collect()
    }
}

/// Where COPY and bind mounts read from.
pub(crate) enum Tree<'a> {
    Context(&'a Context),
    Chain(Chain),
}

impl Tree<'_> {
    /// The digest of what is at a path, links followed; `None` when there is nothing.
    pub(crate) fn digest(&self, engine: &EmbeddedEngine, path: &str) -> Result<Option<Digest>, EngineError> {
        match self {
            Self::Context(context) => {
                if context.sources(path)?.is_empty() {
                    return Ok(None);
                }
                context.select_digest(&[path.to_owned()]).map(Some)
            }
            Self::Chain(chain) => engine.content_of(chain, path),
        }
    }

    /// The digest of what a source picks, with the names it will have; `None` when it picks nothing.
    pub(crate) fn pick_digest(
        &self,
        engine: &EmbeddedEngine,
        pick: Pick<'_>,
    ) -> Result<Option<Digest>, EngineError> {
        let chain = match self {
            Self::Context(context) => return context_digest(context, pick),
            Self::Chain(chain) => chain,
        };
        let key = Fields::new("pick 2").text(chain.key.as_str()).text(pick.source).flag(pick.parents);
        let key = key.list(pick.exclude).digest();
        if let Some(ContentDigest(known)) = engine.home().records().get(key.hex()) {
            return Ok(known);
        }
        let mount = chain.mount(engine)?;
        let sources = pick_in_tree(mount.path(), pick)?;
        let mut picked = Fields::new("picked 2").number(sources.len() as u64);
        for source in &sources {
            // Of a directory that is copied only the content counts, of a file its name too.
            let is_directory = source.items.first().is_some_and(|root| root.kind == ItemKind::Directory);
            let name = if is_directory { String::new() } else { names::of_path(&source.name) };
            let items = if is_directory { &source.items[1..] } else { &source.items[..] };
            picked = picked.flag(is_directory).text(name).text(hash_items(items)?.as_str());
        }
        let digest = (!sources.is_empty()).then(|| picked.digest());
        engine.home().records().remember(key.hex(), &ContentDigest(digest.clone()))?;
        Ok(digest)
    }

    /// A directory or file on disk with what is at a path.
    pub(crate) fn materialized(
        &self,
        engine: &EmbeddedEngine,
        path: &str,
        held: &mut session::Held,
    ) -> Result<PathBuf, EngineError> {
        match self {
            // A copy, so that a step never sees what .dockerignore leaves out nor later changes.
            Self::Context(context) => {
                let id = context.snapshot(engine.home(), (0, 0))?;
                let found = context.resolve(&inside(path)).unwrap_or_default();
                Ok(engine.home().snapshots().path(&id).join(names::to_path(&found)))
            }
            Self::Chain(chain) => {
                let mount = chain.mount(engine)?;
                let found = mount.path().join(rootfs::resolve(mount.path(), Path::new(path))?);
                held.mounts.push(mount);
                Ok(found)
            }
        }
    }
}

/// A tree that files are copied from.
pub(crate) enum OpenTree<'a> {
    Context(&'a Context),
    Chain { mount: OverlayMount, lowers: Vec<PathBuf> },
}

impl<'a> OpenTree<'a> {
    pub(crate) fn open(engine: &EmbeddedEngine, tree: &Tree<'a>) -> Result<Self, EngineError> {
        Ok(match tree {
            Tree::Context(context) => Self::Context(context),
            Tree::Chain(chain) => Self::Chain { mount: chain.mount(engine)?, lowers: chain.lowers(engine)? },
        })
    }

    /// What a source picks.
    pub(crate) fn pick(&mut self, pick: Pick<'_>) -> Result<Vec<Source>, EngineError> {
        match self {
            Self::Context(context) => pick_in_context(context, pick),
            Self::Chain { mount, .. } => pick_in_tree(mount.path(), pick),
        }
    }

    /// The file of a snapshot that a merged view shows.
    pub(crate) fn locate(&self, path: &Path) -> Option<PathBuf> {
        let Self::Chain { mount, lowers } = self else { return None };
        let relative = path.strip_prefix(mount.path()).ok()?;
        lowers.iter().map(|lower| lower.join(relative)).find(|path| fs::symlink_metadata(path).is_ok())
    }
}

/// What a source picks of a context: names, roots, and the entries beneath them with their paths from there.
type InContext<'a> = Vec<(String, String, Vec<(&'a str, &'a ContextEntry)>)>;

fn entries_in_context<'a>(context: &'a Context, pick: Pick<'_>) -> Result<InContext<'a>, EngineError> {
    let (pattern, filter) = pick.parts()?;
    let by_pattern = glob::has_meta(&pattern);
    if by_pattern && !pick.parents {
        let (before, _) = glob::split(&pattern)?;
        if context.resolve(before).is_none() {
            return Err(nowhere_to_look(before, &pattern));
        }
    }
    let mut found = Vec::new();
    for (name, root) in context.named_sources(&pattern)? {
        let is_file = context.entry(&root).is_some_and(|entry| entry.kind != EntryKind::Directory);
        if is_file && (pick.parents || by_pattern && filter.exclude.excludes(&name, false)) {
            continue;
        }
        let cut = if root.is_empty() { 0 } else { root.len() + 1 };
        let beneath: Vec<(&str, &ContextEntry)> =
            if is_file { Vec::new() } else { context.beneath(&root).map(|e| (&e.path[cut..], e)).collect() };
        let picked = filter.apply(beneath, |(path, _)| (*path).to_owned());
        if !pick.parents || !picked.is_empty() {
            found.push((name, root, picked));
        }
    }
    Ok(found)
}

/// Fails where something that was picked cannot be read.
fn readable(context: &Context, found: &InContext<'_>) -> Result<(), EngineError> {
    for (_, root, entries) in found {
        context.readable(context.entry(root).into_iter().chain(entries.iter().map(|(_, entry)| *entry)))?;
    }
    Ok(())
}

fn context_digest(context: &Context, pick: Pick<'_>) -> Result<Option<Digest>, EngineError> {
    // The usual `COPY . .` needs no look at the single entries.
    if !pick.parents && pick.exclude.is_empty() && inside(pick.source).is_empty() {
        return context.tree_digest().map(Some);
    }
    let found = entries_in_context(context, pick)?;
    if found.is_empty() {
        return Ok(None);
    }
    readable(context, &found)?;
    let mut fields = Fields::new("picked of a context 2");
    for (name, root, entries) in &found {
        match context.entry(root) {
            Some(file) if file.kind != EntryKind::Directory => {
                fields = fields.flag(true).text(file.key_as(name));
            }
            _ => fields = fields.flag(false),
        }
        fields = fields.list(entries.iter().map(|(path, entry)| entry.key_as(path)));
    }
    Ok(Some(fields.digest()))
}

fn pick_in_context(context: &Context, pick: Pick<'_>) -> Result<Vec<Source>, EngineError> {
    // All that comes from a context is owned by root.
    let item = |path: &str, entry: &ContextEntry| Item {
        path: names::to_path(path),
        source: match &entry.kind {
            EntryKind::Empty => "/dev/null".into(),
            _ => entry.below(context.root()),
        },
        kind: match &entry.kind {
            EntryKind::Directory => ItemKind::Directory,
            EntryKind::File => ItemKind::File { size: entry.size },
            EntryKind::Empty => ItemKind::Empty,
            EntryKind::Symlink(target) => ItemKind::Symlink(names::to_path(target)),
            EntryKind::Fifo => ItemKind::Special { format: FileType::Fifo.as_raw_mode(), device: 0 },
        },
        attributes: false,
        mode: entry.mode,
        uid: 0,
        gid: 0,
    };
    let whole = || Item {
        path: PathBuf::new(),
        source: context.root().to_path_buf(),
        kind: ItemKind::Directory,
        attributes: false,
        mode: 0o755,
        uid: 0,
        gid: 0,
    };
    let found = entries_in_context(context, pick)?;
    readable(context, &found)?;
    let sources = found.into_iter().map(|(name, root, entries)| {
        let root = context.entry(&root).map_or_else(whole, |entry| item("", entry));
        let items = std::iter::once(root).chain(entries.iter().map(|(path, entry)| item(path, entry)));
        Source { name: names::to_path(&name), items: items.collect() }
    });
    Ok(sources.collect())
}

/// What a source picks of a mounted tree.
pub(crate) fn pick_in_tree(root: &Path, pick: Pick<'_>) -> Result<Vec<Source>, EngineError> {
    let (pattern, filter) = pick.parts()?;
    let by_pattern = glob::has_meta(&pattern);
    if by_pattern && !pick.parents {
        let (before, _) = glob::split(&pattern)?;
        if fs::symlink_metadata(root.join(rootfs::resolve(root, Path::new(before))?)).is_err() {
            return Err(nowhere_to_look(before, &pattern));
        }
    }
    let paths = if by_pattern { glob_tree(root, &pattern)? } else { vec![PathBuf::from(pattern)] };
    let mut found = Vec::new();
    for path in paths {
        let place = root.join(rootfs::resolve(root, &path)?);
        let Ok(meta) = fs::symlink_metadata(&place) else { continue };
        let name = path.file_name().unwrap_or_default().to_owned();
        if !meta.is_dir()
            && (pick.parents
                || by_pattern && filter.exclude.excludes(&names::to_text(name.as_encoded_bytes()), false))
        {
            continue;
        }
        let items = walk_where(&place, &|path| filter.is_empty() || filter.goes_into(&names::of_path(path)))?;
        let mut items = items.into_iter();
        let first = items.next();
        let picked = filter.apply(items.collect(), |item: &Item| names::of_path(&item.path));
        if !pick.parents || !picked.is_empty() {
            found.push(Source { name: name.into(), items: first.into_iter().chain(picked).collect() });
        }
    }
    Ok(found)
}

/// The error of a pattern whose part before the first wildcard is not there: one that only matches nothing copies nothing.
fn nowhere_to_look(before: &str, pattern: &str) -> EngineError {
    EngineError::Invalid {
        message: format!("there is no {before}, where files like {pattern} are looked for"),
        hint: Some("a pattern may match nothing, but its directory must exist".into()),
    }
}

/// Lists the paths of a mounted tree that match a pattern; links before the first wildcard are followed, others not.
fn glob_tree(root: &Path, pattern: &str) -> Result<Vec<PathBuf>, EngineError> {
    let (before, wildcards) = glob::split(pattern)?;
    let start = root.join(rootfs::resolve(root, Path::new(before))?);
    let mut found = vec![(start, PathBuf::from(before))];
    for part in wildcards.split('/') {
        let mut next = Vec::new();
        for (place, path) in found {
            let Ok(entries) = fs::read_dir(&place) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                if glob::matches(part, &names::to_text(name.as_encoded_bytes()))? {
                    next.push((entry.path(), path.join(name)));
                }
            }
        }
        // A link is not a directory to go on in.
        next.sort();
        found = next;
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}
