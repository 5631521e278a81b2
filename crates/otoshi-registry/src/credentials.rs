//! Logins: those that `docker login`, `skopeo login` and credential helpers keep.
//!
//! ```text
//! $REGISTRY_AUTH_FILE, else the first that has the registry of
//! $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json, $DOCKER_CONFIG/config.json or ~/.docker/config.json
//!
//! {"auths": {"HOST[/PATH]": {"auth": "base64(user:password)", "identitytoken": "…"}},
//!  "credHelpers": {"HOST": "NAME"}, "credsStore": "NAME"}            docker-credential-NAME get
//! ```
//!
//! Format: <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::RegistryError;
use crate::repository::Repository;

/// How Docker Hub is called in these files.
const HUB_KEYS: [&str; 3] = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];
/// The user name by which a helper says that the secret is a refresh token.
const TOKEN_USER: &str = "<token>";
const HELPER_TIMEOUT: Duration = Duration::from_secs(60);

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the registry's token server exchanges for another.
    Refresh(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Login::Basic",
            Self::Refresh(_) => "Login::Refresh",
        })
    }
}

/// Where logins are looked up.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    files: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

#[derive(Deserialize)]
struct Helped {
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl Credentials {
    /// The files that this machine's tools write.
    pub fn of_this_user() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(file) = set("REGISTRY_AUTH_FILE") {
            return Self { files: vec![file] };
        }
        let home = set("HOME");
        let under = |directory: &str| home.as_ref().map(|home| home.join(directory));
        let files = [
            set("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")),
            set("XDG_CONFIG_HOME")
                .or_else(|| under(".config"))
                .map(|directory| directory.join("containers/auth.json")),
            set("DOCKER_CONFIG").or_else(|| under(".docker")).map(|directory| directory.join("config.json")),
        ];
        Self { files: files.into_iter().flatten().collect() }
    }

    /// One file.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self { files: vec![path.into()] }
    }

    /// Finds the login for a repository; absent files have none.
    pub(crate) fn find(&self, registry: &str, name: &str) -> Result<Option<Login>, RegistryError> {
        let repository = Repository { registry: registry.to_owned(), name: name.to_owned() };
        for path in &self.files {
            let wrong = |reason: String| RegistryError::Settings { path: path.clone(), reason };
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(wrong(error.to_string())),
            };
            // What is wrong with such a file is told without its content.
            let file: File = serde_json::from_str(&text)
                .map_err(|error| wrong(format!("not valid JSON at line {}", error.line())))?;
            if let Some(login) = file.find(&repository).map_err(wrong)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

impl File {
    fn find(&self, repository: &Repository) -> Result<Option<Login>, String> {
        let keys = keys(repository);
        let helper = keys.iter().find_map(|key| Some((key, self.helpers.get(key)?)));
        if let Some((key, name)) = helper
            && let Some(login) = ask_helper(name, key)?
        {
            return Ok(Some(login));
        }
        if !self.store.is_empty() {
            for key in keys.iter().filter(|key| self.auths.contains_key(*key)) {
                if let Some(login) = ask_helper(&self.store, key)? {
                    return Ok(Some(login));
                }
            }
        }
        for key in &keys {
            let Some(entry) = self.auths.get(key) else { continue };
            if !entry.identity_token.is_empty() {
                return Ok(Some(Login::Refresh(entry.identity_token.clone())));
            }
            if !entry.username.is_empty() {
                let (user, password) = (entry.username.clone(), entry.password.clone());
                return Ok(Some(Login::Basic { user, password }));
            }
            if !entry.auth.is_empty() {
                let bytes = STANDARD.decode(entry.auth.trim()).ok();
                let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                let pair = text.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
                let (user, password) = pair.ok_or(format!("the login for {key} is not readable"))?;
                return Ok(Some(Login::Basic { user: user.to_owned(), password: password.to_owned() }));
            }
        }
        Ok(None)
    }
}

/// The keys under which a repository's login may be, the most exact first.
fn keys(repository: &Repository) -> Vec<String> {
    let host = &repository.registry;
    let parts: Vec<&str> = repository.name.split('/').collect();
    let mut keys: Vec<String> =
        (1..=parts.len()).rev().map(|count| format!("{host}/{}", parts[..count].join("/"))).collect();
    if host == "docker.io" {
        keys.extend(HUB_KEYS.map(str::to_owned));
    } else {
        keys.push(host.clone());
        // Old versions of Docker wrote addresses.
        keys.extend(["https://", "http://"].map(|scheme| format!("{scheme}{host}")));
        keys.extend(["/v1/", "/v2/"].map(|end| format!("https://{host}{end}")));
    }
    keys
}

/// Asks `docker-credential-NAME`; `None` when it has nothing for this registry.
fn ask_helper(name: &str, key: &str) -> Result<Option<Login>, String> {
    let program = format!("docker-credential-{name}");
    if name.is_empty() || Path::new(name).components().count() != 1 {
        return Err(format!("{name:?} is no name of a credential helper"));
    }
    let failed = |what: String| format!("{program}: {what}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read ends anyway.
        let _ = input.write_all(key.as_bytes());
    }
    let started = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) => break status,
            None if started.elapsed() > HELPER_TIMEOUT => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed("no answer within a minute".to_owned()));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        // It says so when it has none; there is no other way to tell that from a failure.
        tracing::debug!(%program, key, "the credential helper has no login");
        return Ok(None);
    }
    let helped: Helped = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("its answer is not the JSON that it should be".to_owned()))?;
    Ok(Some(if helped.user == TOKEN_USER {
        Login::Refresh(helped.secret)
    } else {
        Login::Basic { user: helped.user, password: helped.secret }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, registry: &str, name: &str) -> Result<Option<Login>, String> {
        let file: File = serde_json::from_str(text).unwrap();
        file.find(&Repository { registry: registry.into(), name: name.into() })
    }

    fn basic(user: &str, password: &str) -> Login {
        Login::Basic { user: user.into(), password: password.into() }
    }

    #[test]
    fn the_most_exact_login_is_taken() {
        let text = format!(
            r#"{{"auths":{{"r.test":{{"auth":"{}"}},"r.test/team":{{"username":"t","password":"u"}}}}}}"#,
            STANDARD.encode("a:b:c")
        );
        assert_eq!(find(&text, "r.test", "other/x").unwrap(), Some(basic("a", "b:c")));
        assert_eq!(find(&text, "r.test", "team/x").unwrap(), Some(basic("t", "u")));
        assert_eq!(find(&text, "s.test", "team/x").unwrap(), None);
    }

    #[test]
    fn hub_has_names_of_its_own() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"identitytoken":"x"}}}"#;
        assert_eq!(find(text, "docker.io", "library/x").unwrap(), Some(Login::Refresh("x".into())));
        assert_eq!(find(text, "index.docker.io.test", "x").unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_told_without_saying_it() {
        let error = find(r#"{"auths":{"r.test":{"auth":"c2VjcmV0"}}}"#, "r.test", "x").unwrap_err();
        assert_eq!(error, "the login for r.test is not readable");
        assert!(find(r#"{"credHelpers":{"r.test":"../x"}}"#, "r.test", "x").is_err());
        assert!(!format!("{:?}", basic("user", "geheim")).contains("geheim"));
    }
}
