//! One file of logins.
//!
//! ```text
//! {"auths": {"HOST[/PATH]": {"auth": "base64(user:password)", "identitytoken": "…", "registrytoken": "…"}},
//!  "credHelpers": {"HOST": "NAME"}, "credsStore": "NAME"}
//! ```
//!
//! The format is defined by how Go reads it: `null` is the same as nothing, names of keys match in any case, and what is not
//! asked for is not looked at. `auth` is stronger than `username` and `password`. A helper for one host is stronger than the
//! store for all, and an empty name of a helper means the file itself.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::helper::{self, Answer};
use super::json::{field, object, string};
use super::login::Login;
use crate::repository::Repository;

/// How Docker Hub is called in these files; Docker's own way is the first.
const HUB: [&str; 4] =
    ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Docker's: a key is an address, of which only the host counts.
    Docker,
    /// That of the containers tools: a key is a host or a namespace of it.
    Containers,
    /// Docker's old one, which has the entries alone.
    Legacy,
}

/// A file's content.
#[derive(Debug)]
pub(super) struct File {
    whole: Map<String, Value>,
    form: Form,
}

impl File {
    /// Reads a file; an empty one has nothing.
    pub(super) fn read(text: &str, form: Form) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self { whole: Map::new(), form });
        }
        // What follows the object is not looked at, as Docker does not.
        let value = Value::deserialize(&mut serde_json::Deserializer::from_str(text))
            .map_err(|error| format!("not valid JSON at line {}", error.line()))?;
        let whole = object(&value, "the whole file")?.cloned().unwrap_or_default();
        Ok(Self { whole, form })
    }

    /// Finds a login: that of a helper, else one that stands in the file.
    pub(super) fn find(
        &self,
        repository: &Repository,
        failed: &mut Vec<String>,
    ) -> Result<Option<Login>, String> {
        if let Some((name, key)) = self.helper(repository)? {
            match helper::ask(&name, &key) {
                Ok(Answer::Login(login)) => return Ok(Some(login)),
                Ok(Answer::Unknown) => {}
                Err(reason) => failed.push(reason),
            }
        }
        self.entry(repository)
    }

    /// The helper that is in charge of a registry, and how the registry is called there.
    fn helper(&self, repository: &Repository) -> Result<Option<(String, String)>, String> {
        if self.form == Form::Legacy {
            return Ok(None);
        }
        let names = names(&repository.registry);
        if let Some(helpers) = field(&self.whole, "credHelpers") {
            let helpers = object(helpers, "`credHelpers`")?;
            for name in &names {
                let Some(value) = helpers.and_then(|helpers| helpers.get(*name)) else { continue };
                let helper = string(value, &format!("`credHelpers.{name}`"))?;
                return Ok((!helper.is_empty()).then(|| (helper.to_owned(), (*name).to_owned())));
            }
        }
        let store = match field(&self.whole, "credsStore") {
            Some(value) => string(value, "`credsStore`")?,
            None => "",
        };
        if store.is_empty() {
            return Ok(None);
        }
        // Under the name that the file has noted beside it, if any.
        let noted = self.key_in_auths(repository)?.filter(|key| !is_namespace(key, &repository.registry));
        Ok(Some((store.to_owned(), noted.unwrap_or_else(|| names[0].to_owned()))))
    }

    fn auths(&self) -> Result<Option<&Map<String, Value>>, String> {
        match self.form {
            Form::Legacy => Ok(Some(&self.whole)),
            _ => field(&self.whole, "auths").map_or(Ok(None), |auths| object(auths, "`auths`")),
        }
    }

    /// The key under which a repository's login is noted: the most exact.
    fn key_in_auths(&self, repository: &Repository) -> Result<Option<String>, String> {
        let Some(auths) = self.auths()? else { return Ok(None) };
        let registry = &repository.registry;
        let parts: Vec<&str> = repository.name.split('/').collect();
        let spaces = (1..=parts.len()).rev().map(|count| format!("{registry}/{}", parts[..count].join("/")));
        let names = names(registry);
        let exact = spaces.chain(names.iter().map(|name| (*name).to_owned()));
        if let Some(key) = exact.into_iter().find(|key| auths.contains_key(key)) {
            return Ok(Some(key));
        }
        let hosts: Vec<&str> = names.iter().map(|name| host_of(name)).collect();
        let is_address = |key: &str| key.contains("://") || self.form != Form::Containers;
        let found = auths.keys().find(|key| is_address(key) && hosts.contains(&host_of(key)));
        Ok(found.cloned())
    }

    /// The login that stands in the file.
    pub(super) fn entry(&self, repository: &Repository) -> Result<Option<Login>, String> {
        let Some(key) = self.key_in_auths(repository)? else { return Ok(None) };
        let entry = self.auths()?.and_then(|auths| auths.get(&key));
        let place = format!("`auths.{key}`");
        let Some(entry) = entry.map_or(Ok(None), |entry| object(entry, &place))? else { return Ok(None) };
        let get = |name: &str| match field(entry, name) {
            Some(value) => string(value, &format!("`auths.{key}.{name}`")),
            None => Ok(""),
        };
        for (name, login) in
            [("registrytoken", Login::Bearer as fn(String) -> Login), ("identitytoken", Login::Refresh)]
        {
            let token = get(name)?;
            if !token.is_empty() {
                return Ok(Some(login(token.to_owned())));
            }
        }
        let auth = get("auth")?;
        if !auth.trim().is_empty() {
            let login = pair(auth).ok_or_else(|| format!("the login for {key} is not readable"))?;
            return Ok(Some(login));
        }
        let user = get("username")?;
        if user.is_empty() {
            return Ok(None);
        }
        Ok(Some(Login::Basic { user: user.to_owned(), password: get("password")?.to_owned() }))
    }
}

/// Reads `base64(user:password)`.
fn pair(auth: &str) -> Option<Login> {
    let clean: String = auth.chars().filter(|c| !c.is_whitespace()).collect();
    let text = String::from_utf8(BASE64.decode(clean).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    let password = password.trim_matches('\0');
    (!user.is_empty()).then(|| Login::Basic { user: user.to_owned(), password: password.to_owned() })
}

/// How a registry is called in these files.
fn names(registry: &str) -> Vec<&str> {
    if registry == "docker.io" { HUB.to_vec() } else { vec![registry] }
}

fn is_namespace(key: &str, registry: &str) -> bool {
    key.strip_prefix(registry).is_some_and(|rest| rest.starts_with('/'))
}

/// The host of an address, with or without a scheme.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(form: Form, text: &str, registry: &str, name: &str) -> Result<Option<Login>, String> {
        let repository = Repository { registry: registry.into(), name: name.into() };
        File::read(text, form)?.find(&repository, &mut Vec::new())
    }

    fn find(text: &str, registry: &str, name: &str) -> Result<Option<Login>, String> {
        find_in(Form::Docker, text, registry, name)
    }

    #[allow(clippy::unnecessary_wraps, reason = "what a file says is an option")]
    fn basic(user: &str, password: &str) -> Option<Login> {
        Some(Login::Basic { user: user.into(), password: password.into() })
    }

    #[test]
    fn the_most_exact_login_is_taken() {
        let text =
            r#"{"auths":{"r.test":{"auth":"YTpiOmM="},"r.test/team":{"username":"t","password":"u"}}}"#;
        for form in [Form::Docker, Form::Containers] {
            assert_eq!(find_in(form, text, "r.test", "other/x").unwrap(), basic("a", "b:c"));
            assert_eq!(find_in(form, text, "r.test", "team/x").unwrap(), basic("t", "u"));
            assert_eq!(find_in(form, text, "r.test", "teams/x").unwrap(), basic("a", "b:c"));
            assert_eq!(find_in(form, text, "s.test", "team/x").unwrap(), None);
        }
        let text = r#"{"auths":{"r.test:5000/team/x":{"auth":"YTpi"}}}"#;
        assert_eq!(find_in(Form::Containers, text, "r.test:5000", "team/x").unwrap(), basic("a", "b"));
        assert_eq!(find_in(Form::Containers, text, "r.test:5000", "team/y").unwrap(), None);
    }

    #[test]
    fn hub_has_names_of_its_own() {
        for key in HUB.into_iter().chain(["docker.io/library", "http://index.docker.io/v1/"]) {
            let text = format!(r#"{{"auths":{{"{key}":{{"identitytoken":"x"}}}}}}"#);
            assert_eq!(
                find(&text, "docker.io", "library/x").unwrap(),
                Some(Login::Refresh("x".into())),
                "{key}"
            );
            assert_eq!(find(&text, "index.docker.io.test", "x").unwrap(), None);
        }
    }

    #[test]
    fn keys_may_be_addresses() {
        for key in ["https://r.test", "http://r.test", "https://r.test/v1/", "https://r.test/v2/", "r.test/"]
        {
            let text = format!(r#"{{"auths":{{"{key}":{{"auth":"YTpi"}}}}}}"#);
            assert_eq!(find(&text, "r.test", "x").unwrap(), basic("a", "b"), "{key}");
            assert_eq!(find(&text, "r.test.example", "x").unwrap(), None, "{key}");
            assert_eq!(find(&text, "r.tes", "x").unwrap(), None, "{key}");
        }
    }

    #[test]
    fn nulls_are_nothing_and_names_match_in_any_case() {
        for text in [
            "",
            "null",
            "{}",
            r#"{"auths":null,"credHelpers":null,"credsStore":null}"#,
            r#"{"auths":{"r.test":null}}"#,
            "{} // nothing",
            r#"{"auths":{"r.test":{}},"credHelpers":{"r.test":null},"credsStore":"not-asked"}"#,
            r#"{"auths":{"r.test":{"auth":null,"username":null,"password":null,"registrytoken":null}}}"#,
        ] {
            assert_eq!(find(text, "r.test", "x").unwrap(), None, "{text}");
        }
        let text =
            r#"{"Auths":{"r.test":{"Auth":"YTpi","identitytoken":null,"email":null}},"credsStore":null}"#;
        assert_eq!(find(text, "r.test", "x").unwrap(), basic("a", "b"));
        let text = r#"{"auths":{"r.test":{"auth":"YTpi","username":"u","password":"v"}}}"#;
        assert_eq!(find(text, "r.test", "x").unwrap(), basic("a", "b"), "auth is the stronger one");
    }

    #[test]
    fn base64_is_read_with_and_without_padding_and_line_ends() {
        for auth in ["YTpiYw==", "YTpiYw", "YTpi\\nYw==", " YTpiYw== ", "YTpiYwAA"] {
            let text = format!(r#"{{"auths":{{"r.test":{{"auth":"{auth}"}}}}}}"#);
            assert_eq!(find(&text, "r.test", "x").unwrap(), basic("a", "bc"), "{auth}");
        }
    }

    #[test]
    fn the_old_file_has_entries_alone() {
        let text = r#"{"https://index.docker.io/v1/":{"auth":"YTpi","email":"x"},"r.test":{"auth":"Yzpk"}}"#;
        assert_eq!(find_in(Form::Legacy, text, "docker.io", "library/x").unwrap(), basic("a", "b"));
        assert_eq!(find_in(Form::Legacy, text, "r.test", "x").unwrap(), basic("c", "d"));
    }

    #[test]
    fn the_helper_for_one_host_is_stronger_than_the_store_for_all() {
        let helper = |text: &str, registry: &str| {
            let repository = Repository { registry: registry.into(), name: "a/b".into() };
            File::read(text, Form::Docker).unwrap().helper(&repository).unwrap()
        };
        let named = |helper: &str, key: &str| Some((helper.to_owned(), key.to_owned()));
        let text = r#"{"credsStore":"all","credHelpers":{"r.test":"one","s.test":"","docker.io":"hub"}}"#;
        assert_eq!(helper(text, "r.test"), named("one", "r.test"));
        assert_eq!(helper(text, "s.test"), None, "an empty name is the file itself");
        assert_eq!(helper(text, "docker.io"), named("hub", "docker.io"));
        assert_eq!(helper(text, "t.test"), named("all", "t.test"), "no entry in auths is needed");
        let text = r#"{"credsStore":"all","auths":{"https://t.test/v2/":{},"t.test/a":{}}}"#;
        assert_eq!(helper(text, "docker.io"), named("all", HUB[0]));
        assert_eq!(helper(text, "t.test"), named("all", "t.test"));
        let text = r#"{"credsStore":"all","auths":{"https://t.test/v2/":{}}}"#;
        assert_eq!(helper(text, "t.test"), named("all", "https://t.test/v2/"));
    }

    #[test]
    fn a_wrong_kind_is_named_with_its_key() {
        for (text, said) in [
            (r#"{"auths":[]}"#, "`auths` is a list, but must be an object"),
            (r#"{"auths":{"r.test":"x"}}"#, "`auths.r.test` is a string, but must be an object"),
            (r#"{"auths":{"r.test":{"auth":1}}}"#, "`auths.r.test.auth` is a number, but must be a string"),
            (r#"{"credHelpers":{"r.test":{}}}"#, "`credHelpers.r.test` is an object, but must be a string"),
            (r#"{"credsStore":true}"#, "`credsStore` is a boolean, but must be a string"),
            ("[]", "the whole file is a list, but must be an object"),
            ("{\n\"auths\": {,}}", "not valid JSON at line 2"),
        ] {
            assert_eq!(find(text, "r.test", "x").unwrap_err(), said);
        }
        let text = r#"{"auths":{"other.test":7,"r.test":{"auth":"YTpi","email":7}},"HttpHeaders":[]}"#;
        assert_eq!(find(text, "r.test", "x").unwrap(), basic("a", "b"), "only what is used is read");
    }

    #[test]
    fn what_cannot_be_read_is_told_without_saying_it() {
        let error = find(r#"{"auths":{"r.test":{"auth":"c2VjcmV0"}}}"#, "r.test", "x").unwrap_err();
        assert_eq!(error, "the login for r.test is not readable");
        assert!(!format!("{:?}", basic("user", "geheim")).contains("geheim"));
    }
}
