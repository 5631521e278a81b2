//! Git repositories, through the `git` program.
//!
//! The program reads no configuration of this machine or user, runs no hooks, asks nobody, speaks http, https, ssh and git only
//! (also for submodules), and gets an SSH agent only where one was given to the build.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use otoshi_http::SafeUrl;
use otoshi_oci::{Digest, Fields};
use otoshi_store::SnapshotId;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::{
    auth,
    wanted::{Wanted, decoded},
};
use crate::{
    EngineError,
    content::{ItemKind, walk},
    embedded::{EmbeddedEngine, ssh::Forwarded},
    records::CommitTime,
};

/// A repository and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    url: SafeUrl,
    /// A branch, tag or commit; what `HEAD` is there when empty.
    reference: String,
    pub(super) subdirectory: String,
    /// The commit that it must be, or the start of its id.
    checksum: Option<String>,
    keep_git_dir: bool,
    submodules: bool,
    /// Whether files have the commit's time, and not that of the checkout.
    commit_time: bool,
}

impl Repository {
    /// Reads a source of ADD; `None` when it is none of a repository.
    pub(super) fn parse(source: &str, wanted: Wanted<'_>) -> Result<Option<Self>, EngineError> {
        let (before, fragment) = source.split_once('#').unwrap_or((source, ""));
        let (url, query) = before.split_once('?').unwrap_or((before, ""));
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let is_git = match scheme.as_deref() {
            Some("http" | "https") => url.strip_suffix(".git").is_some(),
            Some("ssh" | "git") => true,
            Some(_) => false,
            None => is_scp_like(url),
        };
        if !is_git {
            return Ok(None);
        }
        let (reference, subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut found = Self {
            url: SafeUrl::new(url),
            reference: reference.to_owned(),
            subdirectory: subdirectory.to_owned(),
            checksum: wanted.checksum.map(str::to_owned),
            keep_git_dir: wanted.keep_git_dir,
            submodules: true,
            commit_time: false,
        };
        for field in query.split('&').filter(|field| !field.is_empty()) {
            found.option(source, field)?;
        }
        found.check(source)?;
        Ok(Some(found))
    }

    /// A field of the URL's query.
    fn option(&mut self, source: &str, field: &str) -> Result<(), EngineError> {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let value = decoded(value);
        let wrong = |what: String| EngineError::invalid(format!("ADD {}: {what}", SafeUrl::new(source)));
        let flag = |value: &str| match value {
            "" | "1" | "t" | "true" => Ok(true),
            "0" | "f" | "false" => Ok(false),
            other => Err(wrong(format!("{name} must be true or false, not {other:?}"))),
        };
        let prefixed =
            |prefix: &str| if value.starts_with(prefix) { value.clone() } else { format!("{prefix}{value}") };
        let slot = match name {
            "keep-git-dir" => {
                self.keep_git_dir = flag(&value)?;
                return Ok(());
            }
            // A commit that is given by its id is fetched by that first, whatever is said.
            "fetch-by-commit" => {
                flag(&value)?;
                return Ok(());
            }
            "mtime" => {
                self.commit_time = match value.as_str() {
                    "commit" => true,
                    "checkout" => false,
                    other => return Err(wrong(format!("mtime must be checkout or commit, not {other:?}"))),
                };
                return Ok(());
            }
            "submodules" => {
                self.submodules = flag(&value)?;
                return Ok(());
            }
            "checksum" | "commit" => {
                if self.checksum.as_ref().is_some_and(|other| *other != value) {
                    return Err(wrong("it has two checksums".into()));
                }
                self.checksum = Some(value);
                return Ok(());
            }
            "ref" => (&mut self.reference, value),
            "tag" => (&mut self.reference, prefixed("refs/tags/")),
            "branch" => (&mut self.reference, prefixed("refs/heads/")),
            "subdir" => (&mut self.subdirectory, value),
            other => {
                let known = [
                    "ref",
                    "tag",
                    "branch",
                    "subdir",
                    "checksum",
                    "commit",
                    "keep-git-dir",
                    "submodules",
                    "mtime",
                    "fetch-by-commit",
                ];
                let near = otoshi_dockerfile::suggest(other, known);
                return Err(EngineError::Invalid {
                    message: format!("ADD {}: there is no option {other:?}", SafeUrl::new(source)),
                    hint: near.map(|near| format!("did you mean {near}?").into()),
                });
            }
        };
        if !slot.0.is_empty() && *slot.0 != slot.1 {
            return Err(wrong(format!("{name} is given twice")));
        }
        *slot.0 = slot.1;
        Ok(())
    }

    /// Refuses what the program could take for a flag or a second argument.
    fn check(&self, source: &str) -> Result<(), EngineError> {
        let wrong = |what: &str| Err(EngineError::invalid(format!("ADD {}: {what}", SafeUrl::new(source))));
        let url = self.url.expose();
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        if host.starts_with('-') || host.contains("@-") || url.chars().any(char::is_control) {
            return wrong("the repository's address is not valid");
        }
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
        if self.reference.starts_with('-') || self.reference.contains(is_bad) || self.reference.contains("..")
        {
            return wrong("the reference is not a valid git reference");
        }
        if self.subdirectory.split('/').any(|part| part == "..") {
            return wrong("the directory is outside the repository");
        }
        Ok(())
    }

    /// Everything that decides about the content, for a commit.
    pub(super) fn key(&self, commit: &str) -> String {
        let time = if self.commit_time { " commit-time" } else { "" };
        format!("git {commit} {} {} {}{time}", self.subdirectory, self.keep_git_dir, self.submodules)
    }

    /// The commit that is meant; asks the server unless the reference or the checksum says it whole.
    pub(super) fn resolve(&self, wanted: Wanted<'_>) -> Result<String, EngineError> {
        let whole = |text: &str| (text.len() == 40 || text.len() == 64) && is_hex(text);
        let commit = if whole(&self.reference) {
            self.reference.to_lowercase()
        } else if let Some(checksum) = self.checksum.as_deref().filter(|text| whole(text)) {
            // Whether the reference names it is looked at when it is fetched.
            checksum.to_lowercase()
        } else {
            self.ask(wanted)?
        };
        self.verify(&commit)?;
        Ok(commit)
    }

    /// Asks the server for the commit of the reference.
    fn ask(&self, with: Wanted<'_>) -> Result<String, EngineError> {
        let wanted = if self.reference.is_empty() { "HEAD" } else { &self.reference };
        let peeled = format!("{wanted}^{{}}");
        let arguments = ["ls-remote", "--", self.url.expose(), wanted, &peeled];
        let listed = Git::new(with, &self.url)?.run(None, &arguments, &self.url)?;
        commit_of(&listed, wanted).ok_or_else(|| EngineError::Invalid {
            message: format!("{} has no {wanted}", self.url),
            hint: Some("a branch, a tag, or the whole id of a commit".into()),
        })
    }

    /// Fails when the checksum says another commit.
    fn verify(&self, commit: &str) -> Result<(), EngineError> {
        match &self.checksum {
            Some(checksum) if !commit.starts_with(&checksum.to_lowercase()) || !is_hex(checksum) => {
                Err(EngineError::Invalid {
                    message: format!("{} is at {commit}, but the checksum says {checksum}", self.url),
                    hint: Some("find out why it moved before you change the checksum".into()),
                })
            }
            _ => Ok(()),
        }
    }

    /// The files of a commit, as a snapshot.
    pub(super) fn checkout(
        &self,
        engine: &EmbeddedEngine,
        commit: &str,
        wanted: Wanted<'_>,
    ) -> Result<SnapshotId, EngineError> {
        let key = Fields::new("git 2").text(self.url.expose()).text(commit).text(&self.reference);
        let key = key.flag(self.keep_git_dir).flag(self.submodules).flag(self.commit_time).digest();
        if let Some(snapshot) = engine.recall(&key) {
            return Ok(snapshot);
        }
        if self.checksum.is_some() && !self.reference.eq_ignore_ascii_case(commit) {
            self.verify(&self.ask(wanted)?)?;
        }
        let git = Git::new(wanted, &self.url)?;
        let draft = engine.home().snapshots().draft()?;
        let tree = draft.tree();
        let run = |arguments: &[&str]| git.run(Some(&tree), arguments, &self.url);
        run(&["init", "--quiet", "--initial-branch=main"])?;
        run(&["remote", "add", "origin", self.url.expose()])?;
        // A single commit, where the server gives one by its id; else by its name; else all of it.
        let by_name = if self.reference.is_empty() { "HEAD" } else { &self.reference };
        let has = || run(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_ok();
        let fetch = |more: &[&str]| run(&[&["fetch", "--quiet", "--no-tags", "--force"], more].concat());
        let shallow =
            fetch(&["--depth=1", "origin", commit]).or_else(|_| fetch(&["--depth=1", "origin", by_name]));
        if shallow.is_err() || !has() {
            let all = ["origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
            fetch(&all)?;
        }
        if !has() {
            return Err(EngineError::invalid(format!("{} has no commit {commit}", self.url)));
        }
        run(&["checkout", "--quiet", "--force", "--detach", commit])?;
        if self.submodules && tree.join(".gitmodules").exists() {
            run(&["submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"])?;
        }
        let time = run(&["log", "-1", "--format=%ct", commit])?;
        let time: i64 = time.trim().parse().unwrap_or_default();
        if !self.keep_git_dir {
            remove_git_dirs(&tree)?;
        }
        settle_modes(&tree)?;
        if self.commit_time {
            settle_times(&tree, time)?;
        }
        engine.home().records().put(time_key(commit).hex(), &CommitTime(time))?;
        engine.keep(draft, &key, &[&key])
    }
}

/// The key under which a commit's time is kept.
pub(super) fn time_key(commit: &str) -> Digest {
    Fields::new("git time 1").text(commit).digest()
}

/// `USER@HOST:PATH`, where the path does not look like a port or a URL.
fn is_scp_like(text: &str) -> bool {
    let Some((host, path)) = text.split_once(':') else { return false };
    let Some((user, host)) = host.split_once('@') else { return false };
    let is_word = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    is_word(user) && is_word(host) && !path.is_empty() && !path.starts_with("//")
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit of a name in the output of `git ls-remote`: an annotated tag is what it points to, and a branch comes before a tag.
fn commit_of(listed: &str, wanted: &str) -> Option<String> {
    let lines: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
    let named = |name: String| lines.iter().find(|(_, found)| *found == name).map(|(id, _)| (*id).to_owned());
    [
        format!("{wanted}^{{}}"),
        wanted.to_owned(),
        format!("refs/heads/{wanted}"),
        format!("refs/tags/{wanted}^{{}}"),
        format!("refs/tags/{wanted}"),
        format!("refs/{wanted}"),
    ]
    .into_iter()
    .find_map(named)
    .filter(|id| is_hex(id))
}

/// The program with everything that it is told each time.
struct Git {
    /// Its home, with nothing in it.
    home: tempfile::TempDir,
    agent: Option<Forwarded>,
    /// What lets requests in, and the addresses that it is for.
    auth: Option<(String, String)>,
}

impl Git {
    fn new(wanted: Wanted<'_>, url: &SafeUrl) -> Result<Self, EngineError> {
        let ssh = wanted.ssh;
        let auth =
            wanted.secrets.map(|secrets| auth::of_repository(secrets, url.expose())).transpose()?.flatten();
        let home = tempfile::Builder::new().prefix("otoshi-git-").tempdir();
        let home = home.map_err(EngineError::io("making a directory in", std::env::temp_dir()))?;
        let agent = ssh.map(|ssh| {
            let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            Forwarded::start(ssh, owner, 0o600)
        });
        Ok(Self { home, agent: agent.transpose()?, auth })
    }

    /// Runs it and returns its standard output.
    fn run(
        &self,
        directory: Option<&Path>,
        arguments: &[&str],
        url: &SafeUrl,
    ) -> Result<String, EngineError> {
        let mut command = Command::new("git");
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.autocrlf=false",
            "advice.detachedHead=false",
            "protocol.ext.allow=never",
            "protocol.file.allow=never",
            "http.followRedirects=initial",
            "http.lowSpeedLimit=100",
            "http.lowSpeedTime=60",
            "gc.auto=0",
            "safe.directory=*",
        ] {
            command.args(["-c", setting]);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .args(arguments)
            .current_dir(directory.unwrap_or(self.home.path()))
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home.path())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "false")
            .env("GIT_ALLOW_PROTOCOL", "http:https:ssh:git")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_SSH_COMMAND", self.ssh_command())
            .stdin(Stdio::null());
        // How to reach the outside is the machine's business.
        for name in [
            "http_proxy",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
            "no_proxy",
            "NO_PROXY",
            "SSL_CERT_FILE",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // In the environment, which nobody else reads, unlike arguments.
        if let Some((origin, header)) = &self.auth {
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", format!("http.{origin}/.extraHeader"))
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: {header}"));
        }
        if let Some(agent) = &self.agent {
            command.env("SSH_AUTH_SOCK", agent.socket());
        }
        let output = command.output().map_err(|source| EngineError::Invalid {
            message: format!("the program git, which ADD {url} needs, cannot be started: {source}"),
            hint: Some("install git".into()),
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        // The program does not always keep an address's password to itself.
        let why = url.hide_in(&lines[lines.len().saturating_sub(3)..].join("; "));
        Err(EngineError::invalid(format!("git {} {url} failed: {why}", arguments[0])))
    }

    /// SSH without this user's configuration and keys, and with the hosts that the user knows.
    fn ssh_command(&self) -> String {
        let known = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ssh/known_hosts"));
        let known = known.filter(|path| path.exists() && !path.to_string_lossy().contains(['\'', '"', '\\']));
        let known =
            known.map(|path| format!(" -o UserKnownHostsFile='{}'", path.display())).unwrap_or_default();
        format!("ssh -F none -o BatchMode=yes -o IdentityFile=none -o StrictHostKeyChecking=yes{known}")
    }
}

/// Removes `.git` of the repository and of its submodules.
fn remove_git_dirs(tree: &Path) -> Result<(), EngineError> {
    let all = walk(tree)?;
    for item in all.iter().filter(|item| item.path.file_name().is_some_and(|name| name == ".git")) {
        let removed = match fs::symlink_metadata(&item.source) {
            // It was in one that is gone already.
            Err(_) => continue,
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&item.source),
            Ok(_) => fs::remove_file(&item.source),
        };
        removed.map_err(EngineError::io("removing", &item.source))?;
    }
    Ok(())
}

/// Gives files and directories the modes that git knows, whatever the umask is.
fn settle_modes(tree: &Path) -> Result<(), EngineError> {
    for item in walk(tree)? {
        let mode = match item.kind {
            ItemKind::Directory => 0o755,
            ItemKind::File { .. } if item.mode & 0o100 != 0 => 0o755,
            ItemKind::File { .. } => 0o644,
            _ => continue,
        };
        fs::set_permissions(&item.source, fs::Permissions::from_mode(mode))
            .map_err(EngineError::io("setting the mode of", &item.source))?;
    }
    Ok(())
}

/// Gives everything one time, in seconds since 1970.
fn settle_times(tree: &Path, seconds: i64) -> Result<(), EngineError> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    for item in walk(tree)? {
        rustix::fs::utimensat(CWD, &item.source, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(EngineError::io("setting the time of", &item.source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Repository>, EngineError> {
        Repository::parse(text, Wanted::default())
    }

    #[test]
    fn no_error_says_a_password() {
        for text in
            ["https://me:s3cret@h/a.git?x=y", "https://me:s3c/s3cret@h/a.git#-x", "ssh://me:s3cret@-h/a"]
        {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
        assert!(!format!("{:?}", parse("https://me:s3cret@h/a.git").unwrap()).contains("s3cret"));
    }

    #[test]
    fn addresses_are_read_as_docker_build_reads_them() {
        let found = parse("https://h/a/b.git#v1:dir/x").unwrap().unwrap();
        assert_eq!(
            (found.url.expose(), found.reference.as_str(), found.subdirectory.as_str()),
            ("https://h/a/b.git", "v1", "dir/x")
        );
        let found = parse("git@h:a/b.git?branch=main&subdir=d&keep-git-dir&submodules=false&commit=ab")
            .unwrap()
            .unwrap();
        assert_eq!((found.reference.as_str(), found.subdirectory.as_str()), ("refs/heads/main", "d"));
        assert!(found.keep_git_dir && !found.submodules && found.checksum.as_deref() == Some("ab"));
        assert_eq!(parse("https://h/b.git?tag=v1").unwrap().unwrap().reference, "refs/tags/v1");
        let found = parse("https://h/b.git?mtime=commit&fetch-by-commit=true&commit=ab").unwrap().unwrap();
        assert!(found.commit_time && found.checksum.as_deref() == Some("ab"));
        assert_ne!(found.key("ab"), parse("https://h/b.git?commit=ab").unwrap().unwrap().key("ab"));
        for text in [
            "https://h/a.git?mtime=never",
            "https://h/a.git?fetch-by-commit=perhaps",
            "https://h/a.git#-x",
            "https://h/a.git#a b",
            "https://h/a.git#a..b",
            "https://h/a.git#a:../b",
            "https://h/a.git?x=y",
            "https://h/a.git?ref=a&ref=b",
            "ssh://-oProxyCommand=x/a",
            "git@-h:a",
        ] {
            assert!(parse(text).is_err() || parse(text).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn a_name_is_a_branch_before_a_tag_and_a_tag_is_its_commit() {
        let listed = "11\trefs/heads/v1\n22\trefs/tags/v1\n33\trefs/tags/v1^{}\n44\trefs/tags/v2\n55\trefs/tags/v2^{}\n66\tHEAD\n";
        assert_eq!(commit_of(listed, "v1").unwrap(), "11");
        assert_eq!(commit_of(listed, "v2").unwrap(), "55");
        assert_eq!(commit_of(listed, "refs/tags/v1").unwrap(), "33");
        assert_eq!(commit_of(listed, "HEAD").unwrap(), "66");
        assert_eq!(commit_of(listed, "v3"), None);
    }
}
