//! RUN `--mount`: what each counts for in the step's key, and what the sandbox mounts.
//!
//! A bind mount counts by its content, a cache by its name, a secret and an agent by their ids. Nothing is mounted, copied or
//! started before it is known that the step must run.

use std::{
    borrow::Cow,
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
};

use otoshi_dockerfile::{Mount, Sharing, Word};
use otoshi_explain::Remedy;
use otoshi_oci::{Digest, Fields};
use otoshi_sandbox::{self as sandbox, Limits};
use otoshi_store::Draft;

use super::{
    EmbeddedEngine,
    build::Build,
    copy::{Copier, Destination, Overrides},
    rootfs,
    secret::read_secret,
    session,
    source::{OpenTree, Pick, Tree},
    ssh,
    stage::Stage,
};
use crate::EngineError;

/// The mounts of one RUN, in the stage where it stands.
pub(crate) struct RunMounts<'a> {
    pub(crate) build: &'a Build<'a>,
    pub(crate) stage: &'a Stage,
    pub(crate) index: usize,
}

/// What a cache mount says about the directory behind it.
struct Cache<'m> {
    id: Option<&'m Word>,
    from: Option<&'m Word>,
    source: Option<&'m Word>,
    sharing: Sharing,
    /// Owner, group and mode, where the mount says one of them.
    owned: Option<(u32, u32, u32)>,
}

impl<'m> Cache<'m> {
    fn new(
        (id, from, source): (Option<&'m Word>, Option<&'m Word>, Option<&'m Word>),
        sharing: Sharing,
        (uid, gid, mode): (Option<u32>, Option<u32>, Option<u32>),
    ) -> Self {
        let says = uid.is_some() || gid.is_some() || mode.is_some();
        let owned = says.then(|| (uid.unwrap_or(0), gid.unwrap_or(0), mode.unwrap_or(0o755)));
        Self { id, from, source, sharing, owned }
    }
}

/// What a command gets from its mounts.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) mounts: Vec<sandbox::Mount>,
    pub(crate) env: Vec<(String, String)>,
    /// How many agents there are.
    agents: usize,
}

impl RunMounts<'_> {
    fn expand(&self, word: &Word) -> Result<String, EngineError> {
        Ok(self.stage.scope.expand(word)?)
    }

    fn optional(&self, word: Option<&Word>) -> Result<Option<String>, EngineError> {
        word.map(|word| self.expand(word)).transpose()
    }

    fn target(&self, target: &Word) -> Result<String, EngineError> {
        let path = rootfs::absolute(self.stage.cwd(), &self.expand(target)?);
        let first = path.split('/').nth(1).unwrap_or_default();
        if matches!(first, "" | "proc") {
            return Err(EngineError::Invalid {
                message: format!("RUN --mount: nothing can be mounted at the target {path}"),
                hint: Some("target=DIRECTORY says where".into()),
            });
        }
        Ok(path)
    }

    fn settled<'m>(&self, mount: &'m Mount) -> Result<Cow<'m, Mount>, EngineError> {
        Ok(mount.settled(&|word| self.stage.scope.expand(word))?)
    }

    /// The tree and the path in it that a mount with `from` and `source` shows.
    fn source(&self, from: Option<&Word>, source: Option<&Word>) -> Result<(Tree<'_>, String), EngineError> {
        let tree = self.build.tree(self.index, from.map(|word| word.0.as_str()))?;
        Ok((tree, self.optional(source)?.unwrap_or_else(|| "/".to_owned())))
    }

    /// What makes a cache mount the same as another: its id, who owns it with which mode, and with `from` the content that it
    /// starts with. Source: BuildKit, `dockerfile2llb/convert_runmount.go`.
    fn cache_id(&self, cache: &Cache<'_>, target: &str) -> Result<Digest, EngineError> {
        let id = self.optional(cache.id)?.unwrap_or_else(|| target.to_owned());
        let content = match cache.from {
            Some(_) => {
                let (tree, source) = self.source(cache.from, cache.source)?;
                let digest = tree.digest(self.build.engine, &source)?;
                let absent = || EngineError::invalid(format!("RUN --mount=type=cache: no {source} there"));
                Some(digest.ok_or_else(absent)?)
            }
            None => None,
        };
        let key = Fields::new("cache 3").text(id).flag(cache.sharing == Sharing::Private);
        let key = match cache.owned {
            Some((uid, gid, mode)) => key.flag(true).number(uid).number(gid).number(mode),
            None => key.flag(false),
        };
        Ok(key.option(content.as_ref().map(Digest::as_str)).digest())
    }

    /// Puts into a new cache what it starts with.
    fn fill_cache(&self, cache: &Cache<'_>, draft: &Draft) -> Result<(), EngineError> {
        let (engine, directory) = (self.build.engine, draft.tree());
        if cache.from.is_some() {
            let (tree, source) = self.source(cache.from, cache.source)?;
            let (empty, destination) = (draft.work(), Destination::look(&directory, "/")?);
            let pick = Pick { source: &source, parents: false, exclude: &[] };
            for source in &OpenTree::open(engine, &tree)?.pick(pick)? {
                // Files are copied, not linked: the cache is written to.
                Copier::new(&directory, &empty, Overrides::default(), &|_| None)
                    .copy(source, &destination)?;
            }
        }
        let (uid, gid, mode) = cache.owned.unwrap_or((0, 0, 0o755));
        chown(&directory, Some(uid), Some(gid)).map_err(EngineError::io("owning the cache", &directory))?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode))
            .map_err(EngineError::io("setting the mode of", &directory))
    }

    /// Everything about a mount that a step's result may depend on.
    pub(crate) fn key(&self, mount: &Mount) -> Result<Digest, EngineError> {
        let fields = match &*self.settled(mount)? {
            Mount::Later { .. } => Fields::new("mount later 1"),
            Mount::Bind { target, source, from, rw } => {
                let (tree, source) = self.source(from.as_ref(), source.as_ref())?;
                let digest =
                    tree.digest(self.build.engine, &source)?.ok_or_else(|| EngineError::Invalid {
                        message: format!("RUN --mount=type=bind: no {source} there"),
                        hint: None,
                    })?;
                Fields::new("mount bind 1").text(self.target(target)?).flag(*rw).text(digest.as_str())
            }
            Mount::Cache { target, id, sharing, from, source, uid, gid, mode, ro } => {
                let cache =
                    Cache::new((id.as_ref(), from.as_ref(), source.as_ref()), *sharing, (*uid, *gid, *mode));
                let target = self.target(target)?;
                let id = self.cache_id(&cache, &target)?;
                Fields::new("mount cache 1").text(id.as_str()).text(target).flag(*ro)
            }
            Mount::Tmpfs { target, size } => {
                Fields::new("mount tmpfs 1").text(self.target(target)?).option_number(*size)
            }
            Mount::Secret { id, target, env, uid, gid, mode, .. } => {
                let (id, target) = (self.optional(id.as_ref())?, self.optional(target.as_ref())?);
                let fields = Fields::new("mount secret 1").option(id).option(target).option(env.as_ref());
                fields.option_number(*uid).option_number(*gid).option_number(*mode)
            }
            Mount::Ssh { id, target, uid, gid, mode, .. } => {
                let (id, target) = (self.optional(id.as_ref())?, self.optional(target.as_ref())?);
                let fields = Fields::new("mount ssh 1").option(id).option(target);
                fields.option_number(*uid).option_number(*gid).option_number(*mode)
            }
        };
        Ok(fields.digest())
    }

    /// Makes a mount ready; what must live as long as the command is held.
    pub(crate) fn prepare(
        &self,
        mount: &Mount,
        held: &mut session::Held,
        seen: &mut Seen,
    ) -> Result<(), EngineError> {
        let engine = self.build.engine;
        let mount = self.settled(mount)?;
        match &*mount {
            Mount::Later { .. } => {}
            Mount::Bind { target, source, from, rw } => {
                let (tree, source) = self.source(from.as_ref(), source.as_ref())?;
                let path = tree.materialized(engine, &source, held)?;
                let target = self.target(target)?;
                seen.mounts.push(if *rw {
                    writable(engine, path, target, held)?
                } else {
                    sandbox::Mount::Bind { source: path, target, limits: Limits::READ_ONLY }
                });
            }
            Mount::Cache { target, id, sharing, from, source, uid, gid, mode, ro } => {
                let target = self.target(target)?;
                let cache =
                    Cache::new((id.as_ref(), from.as_ref(), source.as_ref()), *sharing, (*uid, *gid, *mode));
                let id = self.cache_id(&cache, &target)?;
                let kept = engine.home().cache(&id, |draft| self.fill_cache(&cache, draft))?;
                let directory = match sharing {
                    Sharing::Private if !held.take(&kept)? => {
                        let draft = engine.home().snapshots().draft()?;
                        self.fill_cache(&cache, &draft)?;
                        let tree = draft.tree();
                        held.drafts.push(draft);
                        tree
                    }
                    _ => kept,
                };
                if *sharing == Sharing::Locked {
                    held.caches.push(directory.clone());
                }
                let limits = Limits { read_only: *ro, ..Limits::default() };
                seen.mounts.push(sandbox::Mount::Bind { source: directory, target, limits });
            }
            Mount::Tmpfs { target, size } => {
                let target = self.target(target)?;
                seen.mounts.push(sandbox::Mount::Tmpfs { target, size: *size, mode: 0o1777 });
            }
            Mount::Secret { id, target, env, required, uid, gid, mode } => {
                let id = self.optional(id.as_ref())?.unwrap_or_default();
                let Some(content) = self.build.request.secrets.get(&id).map(read_secret).transpose()? else {
                    return not_given("secret", &id, *required);
                };
                if let Some(env) = env {
                    seen.env.push((env.clone(), String::from_utf8_lossy(&content).into_owned()));
                }
                if env.is_none() || target.is_some() {
                    let default = Word(format!("/run/secrets/{id}"));
                    let target = self.target(target.as_ref().unwrap_or(&default))?;
                    let (mode, uid, gid) = (mode.unwrap_or(0o400), uid.unwrap_or(0), gid.unwrap_or(0));
                    seen.mounts.push(sandbox::Mount::File { content, target, mode, uid, gid });
                }
            }
            Mount::Ssh { id, target, required, uid, gid, mode } => {
                let id = self.optional(id.as_ref())?.unwrap_or_else(|| "default".to_owned());
                let default = Word(format!("/run/buildkit/ssh_agent.{}", seen.agents));
                let target = self.target(target.as_ref().unwrap_or(&default))?;
                if seen.agents == 0 {
                    seen.env.push(("SSH_AUTH_SOCK".into(), target.clone()));
                }
                seen.agents += 1;
                let Some(agent) = self.build.request.ssh.get(&id) else {
                    return not_given("ssh", &id, *required);
                };
                let owner = (uid.unwrap_or(0), gid.unwrap_or(0));
                let agent = ssh::Forwarded::start(agent, owner, mode.unwrap_or(0o600))?;
                let source = agent.socket().to_path_buf();
                seen.mounts.push(sandbox::Mount::Bind { source, target, limits: Limits::default() });
                held.agents.push(agent);
            }
        }
        Ok(())
    }
}

fn not_given(kind: &str, id: &str, required: bool) -> Result<(), EngineError> {
    if !required {
        return Ok(());
    }
    let given = id.to_owned();
    let remedy = match kind {
        "ssh" => Remedy::GiveSsh { id: given },
        _ => Remedy::GiveSecret { id: given },
    };
    Err(EngineError::Invalid {
        message: format!("the {kind} {id:?} is required but was not given"),
        hint: Some(remedy),
    })
}

/// A view of a directory or file whose writes are thrown away.
fn writable(
    engine: &EmbeddedEngine,
    path: PathBuf,
    target: String,
    held: &mut session::Held,
) -> Result<sandbox::Mount, EngineError> {
    let draft = engine.home().snapshots().draft()?;
    let (upper, work) = (draft.tree(), draft.work());
    held.drafts.push(draft);
    if path.is_dir() {
        session::copy_root(&path, &upper)?;
        return Ok(sandbox::Mount::OverlayView { lowers: vec![path], upper, work, target });
    }
    let source = upper.join("file");
    fs::copy(&path, &source).map_err(EngineError::io("copying", &path))?;
    Ok(sandbox::Mount::Bind { source, target, limits: Limits::default() })
}
