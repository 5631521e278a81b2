//! RUN and WORKDIR: what a command leaves in the file system, and a working directory that is new.
//!
//! Each has a key made of all that it can observe. The result of an earlier step with the same key is used again.

use std::{fs, path::Path};

use otoshi_dockerfile::{Mount, Run, Sharing, Word};
use otoshi_oci::Digest;
use otoshi_sandbox as sandbox;
use otoshi_store::{Draft, Kind, SnapshotId};

use super::{
    EmbeddedEngine,
    build::Build,
    copy::{Copier, Overrides},
    rootfs,
    session::{self, Command},
    stage::Stage,
};
use crate::{
    EngineError, Secret, StepId,
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
