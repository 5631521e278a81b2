//! Logins: those that `docker login`, `podman login`, `skopeo login` and credential helpers keep, each file read as its owner
//! reads it.
//!
//! ```text
//! $DOCKER_AUTH_CONFIG                            a document of `auths`, as text
//! $REGISTRY_AUTH_FILE                            this one only, where it is set; else the first that has the registry of
//!   $XDG_RUNTIME_DIR/containers/auth.json        /run/containers/UID/auth.json where there is no such directory
//!   $XDG_CONFIG_HOME/containers/auth.json        ~/.config/containers/auth.json
//!   $DOCKER_CONFIG/config.json                   ~/.docker/config.json
//!   ~/.dockercfg                                 Docker's before 1.7: the entries alone
//! ```
//!
//! A place that could have a login and cannot be asked (a file of somebody else's, a helper that is not installed) stops
//! nothing: most of what is pulled needs no login. What went wrong is told where the registry then wants one.
//!
//! Format: <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>,
//! <https://docs.docker.com/reference/cli/docker/login/#credential-stores>

mod file;
mod helper;
mod json;
mod login;

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::error::RegistryError;
use crate::repository::Repository;
use file::{File, Form};
pub use login::Login;

/// Where logins are looked up.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// A document that a variable holds.
    given: Option<String>,
    files: Vec<(PathBuf, Form)>,
}

/// What a look-up found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The login, if one is known.
    pub(crate) login: Option<Login>,
    /// Which places could not be asked, and why; without secrets.
    pub(crate) failed: Vec<String>,
}

impl Known {
    /// Says why a registry that wants a login did not get a good one.
    pub(crate) fn lack(&self, host: &str) -> String {
        match (&self.login, self.failed.is_empty()) {
            (Some(_), _) => "the configured one was refused".to_owned(),
            (None, true) => format!("none is configured for {host}"),
            (None, false) => format!("none is configured for {host} ({})", self.failed.join("; ")),
        }
    }
}

/// The variables and facts of a process by which its files of logins are found.
struct Surroundings<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    user: u32,
}

impl Surroundings<'_> {
    fn set(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str, rest: &str) -> Option<PathBuf> {
        self.set(name).map(|directory| PathBuf::from(directory).join(rest))
    }

    fn credentials(&self) -> Credentials {
        let given = self.set("DOCKER_AUTH_CONFIG");
        if let Some(file) = self.set("REGISTRY_AUTH_FILE") {
            return Credentials { given, files: vec![(file.into(), Form::Containers)] };
        }
        let home = |rest: &str| self.path("HOME", rest);
        let (own, docker) = ("containers/auth.json", "config.json");
        let runtime = self.path("XDG_RUNTIME_DIR", own);
        let runtime = runtime.unwrap_or_else(|| format!("/run/containers/{}/auth.json", self.user).into());
        let files = [
            (Some(runtime), Form::Containers),
            (
                self.path("XDG_CONFIG_HOME", own).or_else(|| home(".config/containers/auth.json")),
                Form::Containers,
            ),
            (self.path("DOCKER_CONFIG", docker).or_else(|| home(".docker/config.json")), Form::Docker),
            (home(".dockercfg"), Form::Legacy),
        ];
        let files = files.into_iter().filter_map(|(path, form)| Some((path?, form))).collect();
        Credentials { given, files }
    }
}

impl Credentials {
    /// The files that this machine's tools write.
    pub fn of_this_user() -> Self {
        // A value that is not text is none that these tools could use.
        let variable = |name: &str| std::env::var(name).ok();
        Surroundings { variable: &variable, user: rustix::process::getuid().as_raw() }.credentials()
    }

    /// One file, in the form of Docker's and of the containers tools.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self { given: None, files: vec![(path.into(), Form::Docker)] }
    }

    /// Finds the login for a repository; absent files have none.
    pub(crate) fn find(&self, registry: &str, name: &str) -> Result<Known, RegistryError> {
        let repository = Repository { registry: registry.to_owned(), name: name.to_owned() };
        let mut known = Known::default();
        if let Some(text) = &self.given {
            let login = File::read(text, Form::Docker).and_then(|file| file.entry(&repository));
            match login {
                Ok(Some(login)) => return Ok(Known { login: Some(login), ..known }),
                Ok(None) => {}
                Err(reason) => known.failed.push(format!("$DOCKER_AUTH_CONFIG: {reason}")),
            }
        }
        for (path, form) in &self.files {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => {
                    known.failed.push(format!("{}: {error}", path.display()));
                    continue;
                }
            };
            // What is wrong with such a file is told without its content.
            let wrong = |reason: String| RegistryError::Settings { path: path.clone(), reason };
            let file = File::read(&text, *form).map_err(wrong)?;
            known.login = file.find(&repository, &mut known.failed).map_err(wrong)?;
            if known.login.is_some() {
                break;
            }
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)]) -> Vec<String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let found = Surroundings { variable: &variable, user: 42 }.credentials();
        found.files.iter().map(|(path, _)| path.display().to_string()).collect()
    }

    #[test]
    fn files_are_looked_for_where_their_tools_write_them() {
        assert_eq!(
            places(&[("HOME", "/h")]),
            [
                "/run/containers/42/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json",
                "/h/.dockercfg"
            ]
        );
        assert_eq!(
            places(&[
                ("HOME", "/h"),
                ("XDG_RUNTIME_DIR", "/x"),
                ("XDG_CONFIG_HOME", "/c"),
                ("DOCKER_CONFIG", "/d")
            ]),
            ["/x/containers/auth.json", "/c/containers/auth.json", "/d/config.json", "/h/.dockercfg"]
        );
        assert_eq!(places(&[("XDG_RUNTIME_DIR", "")]), ["/run/containers/42/auth.json"]);
        assert_eq!(places(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/f")]), ["/f"]);
    }

    #[test]
    fn a_document_in_a_variable_comes_before_the_files() {
        let text = r#"{"auths":{"r.test":{"auth":"YTpi"}}}"#.to_owned();
        let credentials = Credentials { given: Some(text), files: Vec::new() };
        let login = Login::Basic { user: "a".into(), password: "b".into() };
        assert_eq!(credentials.find("r.test", "x").unwrap().login, Some(login));
        let broken = Credentials { given: Some("{".into()), files: Vec::new() };
        let known = broken.find("r.test", "x").unwrap();
        assert_eq!(
            known.lack("r.test"),
            "none is configured for r.test ($DOCKER_AUTH_CONFIG: not valid JSON at line 1)"
        );
    }

    #[test]
    fn a_file_that_may_not_be_read_is_told_only_where_a_login_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("good.json");
        std::fs::write(&good, r#"{"auths":{"r.test":{"auth":"YTpi"}}}"#).unwrap();
        // A directory cannot be read by anybody, root included.
        let files = vec![(dir.path().to_owned(), Form::Docker), (good, Form::Docker)];
        let credentials = Credentials { given: None, files };
        assert!(credentials.find("r.test", "x").unwrap().login.is_some());
        let lack = credentials.find("other.test", "x").unwrap().lack("other.test");
        assert!(lack.contains(&format!("({}: ", dir.path().display())), "{lack}");
    }
}
