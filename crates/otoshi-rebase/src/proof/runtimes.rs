//! Language runtimes: what the application's files are made for, and which the bases have.
//!
//! Ruby keeps extensions in a directory named after its API (`ruby/3.1.0`), Python in one named after its series
//! (`python3.11`); Node numbers the interface of its modules; a JVM runs classes of its own and earlier majors.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_oci::contents::Contents;

use super::facts::{Content, Facts};
use super::finding::Kind;
use super::{Report, Side, absolute};

/// The runtimes of a base: name and version → a file that shows it.
#[derive(Debug, Default)]
pub(super) struct Markers(BTreeMap<(&'static str, String), Vec<u8>>);

impl Markers {
    pub(super) fn of(contents: &Contents<Facts>) -> Self {
        let mut found = Self::default();
        for (path, node) in contents.files() {
            let Ok(text) = std::str::from_utf8(path) else { continue };
            let mut add = |runtime, version: String| {
                found.0.entry((runtime, version)).or_insert_with(|| path.clone());
            };
            if let Some(version) = after(text, "ruby").filter(|_| text.contains("lib/ruby/")) {
                add("ruby", version);
            }
            if let Some(version) =
                python(text).filter(|_| text.ends_with("/os.py") || text.ends_with("/os.pyc"))
            {
                add("python", version);
            }
            if let Some(version) = text.rsplit('/').next().and_then(|name| name.strip_prefix("libnode.so.")) {
                add("node", version.to_owned());
            }
            if let Content::Text(content) = &node.facts.content {
                if text.ends_with("/node_version.h") {
                    let line =
                        content.lines().find_map(|line| line.strip_prefix("#define NODE_MODULE_VERSION "));
                    if let Some(version) = line {
                        add("node", version.trim().to_owned());
                    }
                } else if text.ends_with("/release")
                    && let Some(version) = java(content)
                {
                    add("java", version.to_string());
                }
            }
        }
        found
    }

    fn versions(&self, runtime: &str) -> Vec<&str> {
        self.0.keys().filter(|(name, _)| *name == runtime).map(|(_, version)| version.as_str()).collect()
    }
}

pub(super) fn check(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    let (was, is) = (old.base.markers(), new.base.markers());
    let mut told = BTreeSet::new();
    for (path, node) in app.files() {
        let Ok(text) = std::str::from_utf8(path) else { continue };
        let made_for = after(text, "ruby")
            .or_else(|| {
                text.split_once("/extensions/").and_then(|(_, rest)| version(rest.split('/').nth(1)?))
            })
            .map(|version| ("ruby", version))
            .or_else(|| python(text).or_else(|| python_module(text)).map(|version| ("python", version)));
        for (runtime, version) in made_for.into_iter().chain(node_module(text, &node.facts, was)) {
            let key = (runtime, version);
            if let Some(place) = was.0.get(&key)
                && !is.0.contains_key(&key)
            {
                let (runtime, version) = &key;
                let now = is.versions(runtime).join(", ");
                let now = if now.is_empty() { "none".to_owned() } else { now };
                let text =
                    format!("{} is made for {runtime} {version}, and the new base has {now}", absolute(path));
                report.add(Kind::RuntimeChanged, format!("{runtime}-{version}"), path, Some(place), text);
            }
        }
        let newest = |markers: &Markers| {
            markers.versions("java").iter().filter_map(|version| version.parse::<u32>().ok()).max()
        };
        if extension(text) == Some("jar")
            && told.insert("java")
            && let Some(before) = newest(was)
            && newest(is).is_none_or(|now| now < before)
        {
            let now = newest(is).map_or_else(|| "none".to_owned(), |now| now.to_string());
            let text = format!("{} ran on Java {before}, and the new base has {now}", absolute(path));
            report.add(Kind::RuntimeChanged, format!("java-{before}"), path, None, text);
        }
    }
}

fn extension(path: &str) -> Option<&str> {
    path.rsplit_once('.').map(|(_, extension)| extension)
}

/// The version of three numbers after a directory of this name.
fn after(path: &str, directory: &str) -> Option<String> {
    let mut parts = path.split('/').skip_while(|part| *part != directory).skip(1);
    version(parts.next()?)
}

/// `3.1.0`, also with something after a hyphen, as `3.1.0-static`.
fn version(part: &str) -> Option<String> {
    let number = part.split(['-', '+']).next()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number.split('.').count() == 3 && number.split('.').all(is_number)).then(|| number.to_owned())
}

/// The series after `lib/python`.
fn python(path: &str) -> Option<String> {
    let series = path.split('/').find_map(|part| part.strip_prefix("python"))?;
    let (major, minor) = series.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(major) && is_number(minor)).then(|| series.to_owned())
}

/// The series in the name of an extension module, as in `x.cpython-311-x86_64-linux-gnu.so`.
fn python_module(path: &str) -> Option<String> {
    let (_, rest) = path.strip_suffix(".so")?.rsplit_once(".cpython-")?;
    let number = rest.split('-').next()?;
    let (major, minor) = number.split_at_checked(1)?;
    (minor.bytes().all(|byte| byte.is_ascii_digit()) && !minor.is_empty()).then(|| format!("{major}.{minor}"))
}

/// The interface of a Node module, unless it is the stable one. The module does not say which; it ran on the old base's.
fn node_module(path: &str, facts: &Facts, was: &Markers) -> Option<(&'static str, String)> {
    let Content::Elf(elf) = &facts.content else { return None };
    let stable = elf.defines(b"napi_register_module_v1")
        || elf.imports().any(|symbol| symbol.starts_with(b"napi_"))
            && !elf.imports().any(|symbol| symbol.starts_with(b"_ZN2v8"));
    if extension(path) != Some("node") || stable {
        return None;
    }
    was.versions("node").first().map(|version| ("node", (*version).to_owned()))
}

/// The major version in a JVM's `release` file: `JAVA_VERSION="17.0.9"`, and 8 of `1.8.0_402`.
fn java(release: &str) -> Option<u32> {
    let value = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?.trim_matches('"');
    let mut numbers = value.split(['.', '_', '+', '-']);
    match numbers.next()?.parse().ok()? {
        1 => numbers.next()?.parse().ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_out_of_paths_and_release_files() {
        assert_eq!(after("app/vendor/bundle/ruby/3.1.0/gems/x", "ruby").as_deref(), Some("3.1.0"));
        assert_eq!(after("usr/lib/ruby/vendor_ruby/x", "ruby"), None);
        assert_eq!(python("opt/venv/lib/python3.11/site-packages/x.py").as_deref(), Some("3.11"));
        assert_eq!(python("opt/venv/bin/python3.11").as_deref(), Some("3.11"));
        assert_eq!(python("usr/lib/python3/dist-packages"), None);
        assert_eq!(python_module("a/x.cpython-311-x86_64-linux-gnu.so").as_deref(), Some("3.11"));
        assert_eq!(java("A=1\nJAVA_VERSION=\"17.0.9\"\n"), Some(17));
        assert_eq!(java("JAVA_VERSION=\"1.8.0_402\""), Some(8));
        assert_eq!(java(""), None);
    }
}
