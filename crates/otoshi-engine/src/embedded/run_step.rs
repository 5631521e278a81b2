//! RUN, COPY, ADD and WORKDIR: the instructions that leave something in the file system.
//!
//! Each has a key made of all that it can observe. The result of an earlier step with the same key is used again.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use otoshi_dockerfile::{Copy, Mount, Run, Sharing, Word};
use otoshi_oci::Digest;
use otoshi_sandbox as sandbox;
use otoshi_store::{Draft, Kind, SnapshotId};

use super::{
    EmbeddedEngine,
    build::Build,
    chain::Chain,
    copy::{Copier, Destination, Overrides, Source, parse_mode},
    rootfs,
    session::{self, Command},
    stage::Stage,
};
use crate::{
    Context, EngineError, EntryKind, Secret, StepId,
    content::{digest_of_fields, hash_items},
};

/// What an instruction left, and whether it was there already.
pub(crate) struct Stepped {
    pub(crate) snapshot: SnapshotId,
    pub(crate) cached: bool,
}

impl EmbeddedEngine {
    /// The snapshot recorded for a step's key, if it is still there.
    pub(crate) fn recall(&self, key: &Digest) -> Option<SnapshotId> {
        let id = self.home().records().get::<SnapshotId>(Kind::Step, key.hex())?;
        self.home().snapshots().get(&id)?;
        self.home().records().touch(Kind::Step, key.hex());
        Some(id)
    }

    /// Makes a draft the snapshot of a step.
    pub(crate) fn keep(
        &self,
        draft: Draft,
        content: &Digest,
        keys: &[&Digest],
    ) -> Result<SnapshotId, EngineError> {
        let id = SnapshotId::of_key(content);
        draft.commit(&id)?;
        for key in keys {
            self.home().records().put(Kind::Step, key.hex(), &id)?;
        }
        Ok(id)
    }
}

/// Runs a command on top of a stage.
pub(crate) fn run(
    build: &Build<'_>,
    stage: &Stage,
    index: usize,
    run: &Run,
    step: StepId,
) -> Result<Stepped, EngineError> {
    let (engine, request) = (build.engine, build.request);
    let argv = stage.argv(&run.script());
    let mut key = vec![
        "run".to_owned(),
        stage.chain.key.to_string(),
        format!("{argv:?}"),
        format!("{:?}", stage.scope.run_env()),
        stage.cwd().to_owned(),
        stage.config.config.user.clone(),
        format!("{:?} {:?}", run.network, request.ca_certificates.is_some()),
    ];
    if run.security.as_deref().is_some_and(|security| security != "sandbox") {
        return Err(EngineError::invalid("RUN --security=insecure is not allowed here"));
    }
    let mut mounts = Vec::new();
    let mut env = stage.scope.run_env();
    // Held while the step runs: merged views, locks on caches, private copies.
    let mut held = session::Held::default();
    for mount in &run.mounts {
        let prepared = prepare_mount(build, stage, index, mount, &mut held)?;
        key.push(prepared.key);
        mounts.extend(prepared.mount);
        env.extend(prepared.env);
    }
    let key = digest_of_fields(key);
    if !request.no_cache
        && let Some(snapshot) = engine.recall(&key)
    {
        return Ok(Stepped { snapshot, cached: true });
    }
    held.lock()?;
    env.extend(stage.scope.proxy_env());
    let draft = engine.home().snapshots().draft()?;
    let command = Command {
        argv,
        env,
        cwd: stage.cwd().to_owned(),
        user: stage.config.config.user.clone(),
        mounts,
        ca_certificates: request.ca_certificates.clone(),
        network: !matches!(run.network.as_deref(), Some("none")),
    };
    let spec = command.spec(engine, &stage.chain, Some(&draft))?;
    let code = session::run_logged(engine, &spec, build.number, step, build.events)?;
    if build.is_stopped() {
        return Err(EngineError::Stopped);
    }
    if code != 0 {
        return Err(EngineError::Command { what: "the command".into(), code, at: None });
    }
    drop(held);
    let snapshot = engine.keep(draft, &key, &[&key])?;
    Ok(Stepped { snapshot, cached: false })
}

struct Prepared {
    key: String,
    mount: Option<sandbox::Mount>,
    env: Option<(String, String)>,
}

fn prepare_mount(
    build: &Build<'_>,
    stage: &Stage,
    index: usize,
    mount: &Mount,
    held: &mut session::Held,
) -> Result<Prepared, EngineError> {
    let engine = build.engine;
    let expand = |word: &Word| stage.scope.expand(word);
    let at = |target: &Word| -> Result<String, EngineError> {
        Ok(rootfs::absolute(stage.cwd(), &expand(target)?))
    };
    match mount {
        Mount::Bind { target, source, from, rw } => {
            let from = from.as_ref().map(expand).transpose()?;
            let source = source.as_ref().map_or(Ok("/".to_owned()), expand)?;
            let target = at(target)?;
            let tree = build.tree(index, from.as_deref())?;
            let digest = tree.digest(engine, &source)?;
            let digest = digest
                .ok_or_else(|| EngineError::invalid(format!("RUN --mount=type=bind: no {source} there")))?;
            let path = tree.materialized(engine, &source, held)?;
            let mount = if *rw {
                let draft = engine.home().snapshots().draft()?;
                let view = sandbox::Mount::OverlayView {
                    lowers: vec![path],
                    upper: draft.tree(),
                    work: draft.work(),
                    target: target.clone(),
                };
                held.drafts.push(draft);
                view
            } else {
                sandbox::Mount::Bind { source: path, target: target.clone(), read_only: true }
            };
            Ok(Prepared { key: format!("bind {target} {rw} {digest}"), mount: Some(mount), env: None })
        }
        Mount::Cache { target, id, sharing, ro, .. } => {
            let target = at(target)?;
            let id = id.as_ref().map(expand).transpose()?.unwrap_or_else(|| target.clone());
            let source = if *sharing == Sharing::Private {
                held.private(engine, &id)?
            } else {
                engine.home().cache_dir(&id)?
            };
            if *sharing == Sharing::Locked {
                held.caches.push(source.clone());
            }
            if let Mount::Cache { uid, gid, mode, .. } = mount {
                own_cache(&source, *uid, *gid, *mode)?;
            }
            let mount = sandbox::Mount::Bind { source, target: target.clone(), read_only: *ro };
            Ok(Prepared { key: format!("cache {id} {target}"), mount: Some(mount), env: None })
        }
        Mount::Tmpfs { target, size } => {
            let target = at(target)?;
            let mount = sandbox::Mount::Tmpfs { target: target.clone(), size: *size, mode: 0o755 };
            Ok(Prepared { key: format!("tmpfs {target} {size:?}"), mount: Some(mount), env: None })
        }
        Mount::Secret { id, target, env, required, uid, gid, mode } => {
            let name = id.as_ref().map(expand).transpose()?.unwrap_or_default();
            let key = format!("secret {name} {target:?} {env:?}");
            let Some(content) = build.request.secrets.get(&name).map(read_secret).transpose()? else {
                if *required {
                    return Err(EngineError::Invalid {
                        message: format!("the secret {name:?} is required and was not given"),
                        hint: None,
                    });
                }
                return Ok(Prepared { key, mount: None, env: None });
            };
            let variable =
                env.as_ref().map(|env| (env.clone(), String::from_utf8_lossy(&content).into_owned()));
            let mount = match target {
                None if variable.is_some() => None,
                target => {
                    let default = Word(format!("/run/secrets/{name}"));
                    let target = at(target.as_ref().unwrap_or(&default))?;
                    let (mode, uid, gid) = (mode.unwrap_or(0o400), uid.unwrap_or(0), gid.unwrap_or(0));
                    Some(sandbox::Mount::File { content, target, mode, uid, gid })
                }
            };
            Ok(Prepared { key, mount, env: variable })
        }
        Mount::Ssh { .. } => {
            Err(EngineError::invalid("RUN --mount=type=ssh is not possible with this engine"))
        }
    }
}

/// Reads a secret's value; errors name the place, never the value.
pub(crate) fn read_secret(secret: &Secret) -> Result<Vec<u8>, EngineError> {
    match secret {
        Secret::File(path) => fs::read(path).map_err(EngineError::io("reading the secret", path)),
        Secret::Env(name) => {
            std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes).ok_or_else(|| {
                EngineError::invalid(format!("the secret's environment variable {name} is not set"))
            })
        }
    }
}

fn own_cache(path: &Path, uid: Option<u32>, gid: Option<u32>, mode: Option<u32>) -> Result<(), EngineError> {
    use std::os::unix::fs::PermissionsExt;
    if uid.is_some() || gid.is_some() {
        std::os::unix::fs::chown(path, uid, gid).map_err(EngineError::io("owning the cache", path))?;
    }
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(EngineError::io("setting the mode of", path))?;
    }
    Ok(())
}

/// Where COPY and bind mounts read from.
pub(crate) enum Tree<'a> {
    Context(&'a Context),
    Chain(Chain),
}

impl Tree<'_> {
    /// The digest of what is at a path, links followed; `None` when there is nothing.
    fn digest(&self, engine: &EmbeddedEngine, path: &str) -> Result<Option<Digest>, EngineError> {
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

    /// A directory or file on disk with what is at a path.
    fn materialized(
        &self,
        engine: &EmbeddedEngine,
        path: &str,
        held: &mut session::Held,
    ) -> Result<PathBuf, EngineError> {
        match self {
            // A copy, so that a step never sees what .dockerignore leaves out nor later changes.
            Self::Context(context) => {
                let id = context.snapshot(engine.home(), (0, 0))?;
                let found = context.resolve(&crate::context::clean(path)).unwrap_or_default();
                Ok(engine.home().snapshots().path(&id).join(found))
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

/// Copies into a stage.
pub(crate) fn copy(
    build: &Build<'_>,
    stage: &Stage,
    index: usize,
    copy: &Copy,
    text: &str,
    unpack: bool,
) -> Result<Stepped, EngineError> {
    let engine = build.engine;
    if copy.parents || !copy.exclude.is_empty() {
        return Err(EngineError::invalid("--parents and --exclude are not possible with this engine"));
    }
    let expand = |word: &Word| stage.scope.expand(word);
    let from = copy.from.as_ref().map(expand).transpose()?;
    let tree = build.tree(index, from.as_deref())?;
    let sources: Vec<String> = copy.sources.iter().map(expand).collect::<Result<_, _>>()?;
    let dest = expand(&copy.dest)?;
    let slash = if dest.ends_with('/') || dest.ends_with("/.") || dest == "." { "/" } else { "" };
    let dest = format!("{}{slash}", rootfs::absolute(stage.cwd(), &dest).trim_end_matches('/'));
    let chown = copy.chown.as_ref().map(expand).transpose()?;
    let chmod = copy.chmod.as_ref().map(expand).transpose()?;

    let mut content = Vec::new();
    for source in &sources {
        let digest = tree.digest(engine, source)?;
        if digest.is_none() && !otoshi_dockerfile::glob::has_meta(source) {
            return Err(missing(&tree, source, text));
        }
        // The last name matters: it becomes the name in the destination.
        content.push(format!(
            "{} {digest:?}",
            source.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
        ));
    }
    for heredoc in &copy.heredocs {
        content.push(format!("{} {}", heredoc.name, digest_of_fields([&heredoc.content])));
    }
    let content = digest_of_fields(content);
    let settings = format!("{dest} {chown:?} {chmod:?} {unpack} {}", sources.len() + copy.heredocs.len());
    let key = digest_of_fields(["copy", stage.chain.key.as_str(), content.as_str(), &settings]);
    let no_cache = build.request.no_cache;
    if !no_cache && let Some(snapshot) = engine.recall(&key) {
        return Ok(Stepped { snapshot, cached: true });
    }

    let below = stage.chain.mount(engine)?;
    let overrides = Overrides {
        owner: chown.map(|owner| rootfs::owner(below.path(), &owner)).transpose()?,
        mode: chmod.map(|mode| parse_mode(&mode)).transpose()?,
    };
    let mut from_tree = FromTree::open(engine, &tree)?;
    let mut found = Vec::new();
    for source in &sources {
        found.extend(from_tree.sources(source)?);
    }
    let heredocs = engine.home().snapshots().draft()?;
    for heredoc in &copy.heredocs {
        // The name comes from the Dockerfile and must not lead out of the draft.
        let plain = !matches!(heredoc.name.as_str(), "" | "." | "..") && !heredoc.name.contains('/');
        if !plain {
            return Err(EngineError::invalid(format!(
                "the heredoc's name {:?} cannot be a file's name",
                heredoc.name
            )));
        }
        let path = heredocs.tree().join(&heredoc.name);
        let text =
            if heredoc.expand { stage.scope.expand_text(&heredoc.content)? } else { heredoc.content.clone() };
        fs::write(&path, text).map_err(EngineError::io("writing", &path))?;
        found.push(Source::of_tree(&heredocs.tree(), Path::new(&heredoc.name))?);
    }
    let destination = Destination::look(below.path(), &dest, &found)?;
    let facts = destination.facts()?;
    let result =
        digest_of_fields(["copied", content.as_str(), facts.as_str(), &settings, &format!("{overrides:?}")]);
    if !no_cache && let Some(snapshot) = engine.recall(&result) {
        engine.home().records().put(Kind::Step, key.hex(), &snapshot)?;
        return Ok(Stepped { snapshot, cached: true });
    }
    let draft = engine.home().snapshots().draft()?;
    let tree_path = draft.tree();
    let locate = |path: &Path| from_tree.locate(path);
    let (archives, plain): (Vec<Source>, Vec<Source>) = found
        .into_iter()
        .partition(|source| unpack && source.items.len() == 1 && is_archive(&source.items[0].source));
    let mut copier = Copier::new(&tree_path, below.path(), overrides, &locate);
    for archive in &archives {
        let target = rootfs::resolve(below.path(), Path::new(&dest))?;
        copier.parent_directories(&target)?;
        unpack_archive(engine, &archive.items[0].source, &tree_path.join(&target))?;
    }
    if !plain.is_empty() {
        copier.copy(&plain, &destination)?;
    }
    let snapshot = engine.keep(draft, &result, &[&key, &result])?;
    Ok(Stepped { snapshot, cached: false })
}

fn missing(tree: &Tree<'_>, source: &str, text: &str) -> EngineError {
    let hint = match tree {
        Tree::Context(context) => {
            let names = context
                .entries()
                .iter()
                .filter(|entry| entry.kind == EntryKind::File)
                .map(|entry| entry.path.as_str());
            let near = otoshi_dockerfile::suggest(&crate::context::clean(source), names);
            near.map(|near| format!("did you mean {near:?}?"))
                .or_else(|| Some("it may be excluded by .dockerignore".into()))
        }
        Tree::Chain(_) => None,
    };
    EngineError::Invalid { message: format!("{text}: no {source} there"), hint }
}

/// An opened source of COPY.
enum FromTree<'a> {
    Context(&'a Context),
    Chain { mount: super::mount::OverlayMount, lowers: Vec<PathBuf> },
}

impl<'a> FromTree<'a> {
    fn open(engine: &EmbeddedEngine, tree: &Tree<'a>) -> Result<Self, EngineError> {
        Ok(match tree {
            Tree::Context(context) => Self::Context(context),
            Tree::Chain(chain) => Self::Chain { mount: chain.mount(engine)?, lowers: chain.lowers(engine)? },
        })
    }

    fn sources(&mut self, pattern: &str) -> Result<Vec<Source>, EngineError> {
        match self {
            Self::Context(context) => {
                Ok(context.sources(pattern)?.iter().map(|path| Source::of_context(context, path)).collect())
            }
            Self::Chain { mount, .. } => {
                let pattern = crate::context::clean(pattern);
                let paths = if otoshi_dockerfile::glob::has_meta(&pattern) {
                    glob_tree(mount.path(), &pattern)?
                } else {
                    vec![PathBuf::from(pattern)]
                };
                paths.iter().map(|path| Source::of_tree(mount.path(), path)).collect()
            }
        }
    }

    fn locate(&self, path: &Path) -> Option<PathBuf> {
        let Self::Chain { mount, lowers } = self else { return None };
        let relative = path.strip_prefix(mount.path()).ok()?;
        lowers.iter().map(|lower| lower.join(relative)).find(|path| fs::symlink_metadata(path).is_ok())
    }
}

/// Lists the paths of a mounted tree that match a pattern, level by level.
fn glob_tree(root: &Path, pattern: &str) -> Result<Vec<PathBuf>, EngineError> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for directory in found {
            let here = root.join(rootfs::resolve(root, &directory)?);
            let Ok(entries) = fs::read_dir(&here) else { continue };
            for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
                if otoshi_dockerfile::glob::matches(part, &name)? {
                    next.push(directory.join(name));
                }
            }
        }
        next.sort();
        found = next;
    }
    Ok(found)
}

/// Tells by its first bytes whether ADD unpacks this file.
fn is_archive(path: &Path) -> bool {
    let mut head = [0u8; 512];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut head));
    let head = &head[..read.unwrap_or_default()];
    let magics: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    magics.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar")
}

fn unpack_archive(engine: &EmbeddedEngine, archive: &Path, into: &Path) -> Result<(), EngineError> {
    let file = fs::File::open(archive).map_err(EngineError::io("opening", archive))?;
    let mut options = engine.unpack_options(&archive.display().to_string());
    options.whiteouts = false;
    otoshi_oci::layer::unpack_layer(file, into, &options)?;
    Ok(())
}

/// Makes a stage's working directory; `None` when it is there already.
pub(crate) fn workdir(
    engine: &EmbeddedEngine,
    stage: &Stage,
    path: &str,
    no_cache: bool,
) -> Result<Option<Stepped>, EngineError> {
    let key = digest_of_fields(["workdir", stage.chain.key.as_str(), path, &stage.config.config.user]);
    if !no_cache {
        if let Some(snapshot) = engine.recall(&key) {
            return Ok(Some(Stepped { snapshot, cached: true }));
        }
        if engine.home().records().get::<bool>(Kind::Content, key.hex()) == Some(true) {
            return Ok(None);
        }
    }
    let below = stage.chain.mount(engine)?;
    let found = rootfs::resolve(below.path(), Path::new(path))?;
    if below.path().join(&found).is_dir() {
        engine.home().records().put(Kind::Content, key.hex(), &true)?;
        return Ok(None);
    }
    let account = rootfs::account(below.path(), &stage.config.config.user)?;
    let draft = engine.home().snapshots().draft()?;
    let tree = draft.tree();
    let overrides = Overrides { owner: Some((account.uid, account.gid)), mode: None };
    Copier::new(&tree, below.path(), overrides, &|_| None).parent_directories(&found)?;
    let items = hash_items(&crate::content::walk(&tree)?)?;
    let snapshot = engine.keep(draft, &digest_of_fields(["workdir", items.as_str()]), &[&key])?;
    Ok(Some(Stepped { snapshot, cached: false }))
}

/// Copies one path from an image to the same path on another.
pub(crate) fn copy_between(
    engine: &EmbeddedEngine,
    from: &Chain,
    onto: &Chain,
    path: &str,
) -> Result<SnapshotId, EngineError> {
    let content = engine.content_of(from, path)?.ok_or_else(|| EngineError::Invalid {
        message: format!("the builder image has no {path}"),
        hint: Some("look at [app] dependencies in otoshi.toml".into()),
    })?;
    let key = digest_of_fields(["between", onto.key.as_str(), content.as_str(), path]);
    if let Some(snapshot) = engine.recall(&key) {
        return Ok(snapshot);
    }
    let below = onto.mount(engine)?;
    let mut tree = FromTree::open(engine, &Tree::Chain(from.clone()))?;
    let sources = tree.sources(path)?;
    let destination = Destination::look(below.path(), path, &sources)?;
    let result = digest_of_fields(["copied between", content.as_str(), destination.facts()?.as_str()]);
    if let Some(snapshot) = engine.recall(&result) {
        engine.home().records().put(Kind::Step, key.hex(), &snapshot)?;
        return Ok(snapshot);
    }
    let draft = engine.home().snapshots().draft()?;
    let tree_path = draft.tree();
    let locate = |path: &Path| tree.locate(path);
    Copier::new(&tree_path, below.path(), Overrides::default(), &locate).copy(&sources, &destination)?;
    engine.keep(draft, &result, &[&key, &result])
}

/// The secret ids and where they come from, for messages.
pub(crate) fn secret_mounts(
    request_secrets: &std::collections::BTreeMap<String, Secret>,
) -> Result<Vec<sandbox::Mount>, EngineError> {
    request_secrets
        .iter()
        .map(|(id, secret)| {
            let target = format!("/run/secrets/{id}");
            Ok(sandbox::Mount::File { content: read_secret(secret)?, target, mode: 0o400, uid: 0, gid: 0 })
        })
        .collect()
}
