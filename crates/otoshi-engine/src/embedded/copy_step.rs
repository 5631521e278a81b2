//! COPY and ADD as steps: what is picked, the key made of it, and the result.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use otoshi_dockerfile::{Add, Copy, Heredoc, Word, glob};
use otoshi_explain::Remedy;
use otoshi_http::SafeUrl;
use otoshi_oci::{Digest, Fields, contents::inside};
use otoshi_store::{Draft, Implied, SnapshotId};

use super::{
    EmbeddedEngine,
    accounts::Accounts,
    archive,
    build::Build,
    chmod::Chmod,
    copy::{Copier, Destination, Overrides, Source, check_below},
    mount::OverlayMount,
    remote::{Fetched, Remote, Wanted},
    rootfs,
    run_step::Stepped,
    source::{OpenTree, Pick, Tree},
    stage::Stage,
    times::Origin,
};
use crate::{EngineError, EntryKind, Output, records::StepSnapshot};

/// An instruction with everything expanded.
struct Expanded {
    sources: Vec<String>,
    /// Names and texts of the heredocs.
    heredocs: Vec<(String, String)>,
    /// Absolute, with a slash at its end where it is written as a directory.
    dest: String,
    chown: Option<String>,
    /// As it is written, and what it means.
    chmod: Option<(String, Chmod)>,
    exclude: Vec<String>,
    parents: bool,
    /// The layer does not look at what lies below.
    link: bool,
    /// Whether archives are unpacked; local ones are when nothing is said.
    unpack: Option<bool>,
    /// For ADD, `--checksum`.
    checksum: Option<String>,
}

/// One source, before anything of it is read.
enum Place<'a> {
    Path(Pick<'a>),
    Elsewhere(Fetched),
}

/// What to write in place of a path in quotes: without brackets, space separates paths inside of quotes, too.
fn quoted(word: &Word, copy: &Copy, is_add: bool) -> Option<String> {
    let is_path = copy.sources.contains(word) || copy.dest == *word;
    let is_open = |quote: char| word.0.matches(quote).count() % 2 == 1;
    let keyword = if is_add { "ADD" } else { "COPY" };
    (is_path && (is_open('"') || is_open('\'')))
        .then(|| format!("paths with spaces stand in a list: {keyword} [\"a b\", \"/\"]"))
}

impl Expanded {
    fn new(stage: &Stage, copy: &Copy, add: Option<&Add>) -> Result<Self, EngineError> {
        let expand = |word: &Word| {
            stage.scope.expand(word).map_err(|error| error.with_hint(quoted(word, copy, add.is_some())))
        };
        let list = |words: &[Word]| words.iter().map(expand).collect::<Result<Vec<_>, _>>();
        let optional = |word: &Option<Word>| word.as_ref().map(expand).transpose();
        let dest = expand(&copy.dest)?;
        let is_directory = dest.ends_with('/') || dest.ends_with("/.") || matches!(dest.as_str(), "." | "");
        let slash = if is_directory { "/" } else { "" };
        let chmod = optional(&copy.chmod)?;
        let heredoc = |heredoc: &Heredoc| {
            let text = if heredoc.expand {
                stage.scope.expand_text(&heredoc.content)?
            } else {
                heredoc.content.clone()
            };
            Ok((heredoc.name.clone(), text))
        };
        Ok(Self {
            sources: list(&copy.sources)?,
            heredocs: copy.heredocs.iter().map(heredoc).collect::<Result<_, EngineError>>()?,
            dest: format!("{}{slash}", rootfs::absolute(stage.cwd(), &dest).trim_end_matches('/')),
            chown: optional(&copy.chown)?,
            // As with BuildKit, a mode makes --link an ordinary copy.
            link: copy.link && chmod.is_none(),
            chmod: chmod.map(|mode| Chmod::parse(&mode).map(|meant| (mode, meant))).transpose()?,
            exclude: list(&copy.exclude)?,
            parents: copy.parents,
            unpack: add.map_or(Some(false), |add| add.unpack),
            checksum: add.map(|add| optional(&add.checksum)).transpose()?.flatten(),
        })
    }

    /// Everything that decides about the result besides content and layers below.
    fn settings(&self) -> Digest {
        let chmod = self.chmod.as_ref().map(|(written, _)| written);
        Fields::new("copy settings 1")
            .text(&self.dest)
            .option(self.chown.as_ref())
            .option(chmod)
            .flag(self.link)
            .option_number(self.unpack.map(i32::from))
            .digest()
    }

    fn pick<'a>(&'a self, source: &'a str) -> Pick<'a> {
        Pick { source, parents: self.parents, exclude: &self.exclude }
    }

    /// Where a source lies; what lies elsewhere is fetched.
    fn place<'a>(
        &'a self,
        build: &Build<'_>,
        source: &'a str,
        add: Option<&Add>,
    ) -> Result<Place<'a>, EngineError> {
        let wanted = Wanted {
            checksum: self.checksum.as_deref(),
            keep_git_dir: add.is_some_and(|add| add.keep_git_dir),
            ssh: build.request.ssh.get("default"),
            secrets: Some(&build.request.secrets),
        };
        let remote = Remote::parse(source, wanted)?;
        match (remote, add) {
            (None, _) if self.checksum.is_some() => Err(EngineError::invalid(format!(
                "ADD --checksum is for files from HTTP and for git repositories, but {source} is a path"
            ))),
            (None, _) => Ok(Place::Path(self.pick(source))),
            (Some(_), None) => Err(EngineError::Invalid {
                message: format!("COPY takes paths only, not {}", SafeUrl::new(source)),
                hint: Some("ADD takes URLs and git repositories".into()),
            }),
            (Some(_), Some(_)) if self.checksum.is_some() && self.sources.len() > 1 => {
                Err(EngineError::invalid("ADD --checksum takes one source"))
            }
            (Some(remote), Some(_)) => {
                remote.fetch(build.engine, wanted, build.request.no_cache).map(Place::Elsewhere)
            }
        }
    }
}

/// A COPY or ADD, as it is written.
#[derive(Clone)]
pub(crate) struct Written<'a> {
    pub(crate) copy: &'a Copy,
    /// What ADD says besides.
    pub(crate) add: Option<&'a Add>,
    pub(crate) text: &'a str,
}

/// Copies into a stage.
pub(crate) fn copy(
    build: &Build<'_>,
    stage: &Stage,
    index: usize,
    written: Written<'_>,
) -> Result<Stepped, EngineError> {
    let Written { copy, add, text } = written;
    let engine = build.engine;
    let no_cache = build.request.no_cache;
    let expanded = Expanded::new(stage, copy, add)?;
    let from = copy.from.as_ref().map(|word| word.0.as_str());
    let tree = build.tree(index, from)?;

    let mut content = Fields::new("copy content 1");
    let mut places = Vec::new();
    for source in &expanded.sources {
        let place = expanded.place(build, source, add)?;
        match &place {
            Place::Path(pick) => {
                let digest = tree.pick_digest(engine, *pick)?;
                if digest.is_none() && !pick.is_pattern() {
                    return Err(missing(&tree, source, text));
                }
                content = content.text("path").option(digest.as_ref().map(Digest::as_str));
            }
            Place::Elsewhere(fetched) => {
                content = content.text("elsewhere").text(fetched.key.as_str()).list(&expanded.exclude);
            }
        }
        places.push(place);
    }
    for (name, text) in &expanded.heredocs {
        content = content.text("heredoc").text(name).text(text);
    }
    let content = content.digest();
    let settings = expanded.settings();
    // The names of accounts are looked up in what lies below.
    let below_key = if expanded.link && expanded.chown.as_deref().is_none_or(is_numeric) {
        "link"
    } else {
        stage.chain.key.as_str()
    };
    // 5: directories on the way have what an octal --chmod has of 0755.
    let key = Fields::new("copy 5").text(below_key).text(content.as_str()).text(settings.as_str()).digest();
    if !no_cache && let Some(snapshot) = engine.recall(&key) {
        return Ok(Stepped { snapshot, cached: true });
    }

    let below = Below::open(engine, stage, expanded.link)?;
    let below_path = below.path();
    let owner = match &expanded.chown {
        None => None,
        Some(owner) if expanded.link && !is_numeric(owner) => {
            Some(stage.chain.accounts(engine)?.owner(owner)?)
        }
        Some(owner) => Some(Accounts::in_tree(&below_path).owner(owner)?),
    };
    let overrides = Overrides { owner, mode: expanded.chmod.as_ref().map(|(_, meant)| meant.clone()) };
    let mut open = OpenTree::open(engine, &tree)?;
    let mut found = Vec::new();
    let mut may_unpack = Vec::new();
    for place in &places {
        let (sources, by_default) = match place {
            Place::Path(pick) => (open.pick(*pick)?, true),
            Place::Elsewhere(fetched) => (fetched.sources(&expanded.exclude)?, false),
        };
        may_unpack.extend(sources.iter().map(|_| expanded.unpack.unwrap_or(by_default)));
        found.extend(sources);
    }
    let heredocs = engine.home().snapshots().draft()?;
    for (name, text) in &expanded.heredocs {
        found.push(write_heredoc(&heredocs, name, text)?);
        may_unpack.push(false);
    }
    let destination = Destination::look(&below_path, &expanded.dest)?;
    let is_archive =
        |source: &Source| source.items.len() == 1 && archive::is_archive(&source.items[0].source);
    let archives: Vec<bool> =
        found.iter().zip(may_unpack).map(|(source, may)| may && is_archive(source)).collect();
    let facts = destination.facts()?;
    // The names of accounts are numbers by now.
    let result = Fields::new("copied 3")
        .text(content.as_str())
        .text(facts.as_str())
        .text(settings.as_str())
        .option_number(owner.map(|(uid, _)| uid))
        .option_number(owner.map(|(_, gid)| gid))
        .digest();
    // What an archive leaves depends on more of what lies below than these facts.
    let is_plain = !archives.contains(&true);
    if is_plain {
        check_below(&below_path, &found, &destination)?;
    }
    if !no_cache
        && is_plain
        && let Some(snapshot) = engine.recall(&result)
    {
        engine.home().records().put(key.hex(), &StepSnapshot(snapshot.clone()))?;
        return Ok(Stepped { snapshot, cached: true });
    }
    let draft = engine.home().snapshots().draft()?;
    let tree_path = draft.tree();
    let locate = |path: &Path| open.locate(path);
    let mut copier = Copier::new(&tree_path, &below_path, overrides, &locate);
    for (source, is_archive) in found.iter().zip(archives) {
        if !is_archive {
            copier.copy(source, &destination)?;
            continue;
        }
        copier.directories_for_archive(&destination.path)?;
        let view = below.writable(engine, stage, &draft)?;
        let into = view.path().join(&destination.path);
        archive::unpack(engine, &source.items[0].source, &into, owner)?;
    }
    draft.implies(Implied { root: true, parents: false })?;
    let keys: &[&Digest] = if is_plain { &[&key, &result] } else { &[&key] };
    let snapshot = engine.keep(draft, if is_plain { &result } else { &key }, keys)?;
    let origin = Origin {
        place: place_of(build, from, &expanded),
        content: &content,
        checkout: None,
        is_made: true,
        after: Output::DEFAULT_EPOCH,
    };
    give_time(build, &tree, &expanded, origin, &snapshot)?;
    Ok(Stepped { snapshot, cached: false })
}

/// What a copy is known by, whatever it copies. Stages that copy the same to the same place have one result.
fn place_of(build: &Build<'_>, from: Option<&str>, expanded: &Expanded) -> Digest {
    let place = Fields::new("time of a copy 2").text(&build.request.versions_of).option(from);
    place.text(&expanded.dest).list(&expanded.sources).digest()
}

/// Gives a copy the time that its files have in layers.
fn give_time(
    build: &Build<'_>,
    tree: &Tree<'_>,
    expanded: &Expanded,
    origin: Origin<'_>,
    snapshot: &SnapshotId,
) -> Result<(), EngineError> {
    let sources: Vec<String> = expanded.sources.iter().map(|source| inside(source)).collect();
    let paths: Vec<&str> =
        sources.iter().map(|source| if source.is_empty() { "." } else { source }).collect();
    let plain = expanded.heredocs.is_empty() && !sources.iter().any(|source| glob::has_meta(source));
    let mut origin = origin;
    match tree {
        Tree::Context(context) => match context.checkout() {
            // What was made of the source is in no commit, and what it was made of is.
            Some((root, true)) => origin.checkout = Some((root, &[])),
            Some((root, false)) => {
                // Patterns are not git's: the last commit of all is the one of all that they match.
                origin.checkout = Some((root, if plain { &paths } else { &[] }));
                origin.is_made = !plain;
            }
            None => {}
        },
        Tree::Chain(chain) => origin.after = build.engine.latest(chain),
    }
    build.engine.give_time(snapshot, &origin)
}

/// What lies below, as a copying sees it.
enum Below {
    Layers(OverlayMount),
    /// Nothing: an empty directory.
    Nothing(Draft),
}

impl Below {
    fn open(engine: &EmbeddedEngine, stage: &Stage, link: bool) -> Result<Self, EngineError> {
        if link {
            return Ok(Self::Nothing(engine.home().snapshots().draft()?));
        }
        Ok(Self::Layers(stage.chain.mount(engine)?))
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Layers(mount) => mount.path().to_path_buf(),
            Self::Nothing(draft) => draft.tree(),
        }
    }

    /// The layers with a draft on top that takes what is written.
    fn writable(
        &self,
        engine: &EmbeddedEngine,
        stage: &Stage,
        draft: &Draft,
    ) -> Result<OverlayMount, EngineError> {
        let lowers = match self {
            Self::Layers(_) => stage.chain.lowers(engine)?,
            Self::Nothing(_) => Vec::new(),
        };
        OverlayMount::writable(engine.home(), &lowers, &draft.tree())
    }
}

/// Whether `--chown` names numbers only.
fn is_numeric(owner: &str) -> bool {
    owner.split(':').all(|part| part.parse::<u32>().is_ok())
}

fn write_heredoc(draft: &Draft, name: &str, text: &str) -> Result<Source, EngineError> {
    // The name comes from the Dockerfile and must not lead out of the draft.
    if matches!(name, "" | "." | "..") || name.contains('/') {
        return Err(EngineError::invalid(format!("the heredoc {name:?} cannot be a file name")));
    }
    let path = draft.tree().join(name);
    fs::write(&path, text).map_err(EngineError::io("writing", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
        .map_err(EngineError::io("setting the mode of", &path))?;
    Ok(Source { name: name.into(), items: crate::content::walk(&path)? })
}

fn missing(tree: &Tree<'_>, source: &str, text: &str) -> EngineError {
    let inside = inside(source);
    let climbs = source.split('/').any(|part| part == "..");
    let hint = match tree {
        Tree::Context(_) if climbs => Some(
            "paths begin at the context, and none leads out of it: build with a directory above as context"
                .into(),
        ),
        Tree::Context(context) if context.root().join(&inside).symlink_metadata().is_ok() => {
            Some("the ignore file leaves it out".into())
        }
        Tree::Context(context) => {
            let names = context
                .entries()
                .iter()
                .filter(|entry| entry.kind == EntryKind::File)
                .map(|entry| entry.path.as_str());
            let near = otoshi_dockerfile::suggest(&inside, names);
            near.map(|near| format!("did you mean {near:?}?"))
        }
        Tree::Chain(_) => None,
    };
    EngineError::Invalid { message: format!("{text}: no {source} there"), hint: hint.map(Remedy::Words) }
}
