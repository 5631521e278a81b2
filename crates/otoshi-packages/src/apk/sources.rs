//! The repositories that an image is configured to use.
//!
//! ```text
//! # comment
//! set [-default] NAME=VALUE                      a variable, for what follows; APK_ARCH is there
//! [v2|v3] [@TAG] ADDRESS [COMPONENT …]           ADDRESS[/COMPONENT]/ARCHITECTURE/APKINDEX.tar.gz, or …/Packages.adb for v3
//! ndx [@TAG] ADDRESS                             the index itself; so is any address that ends in .adb or .tar.gz
//! ```
//!
//! Source: apk-repositories(5) of apk-tools 3. Up to version 2.14 there are addresses with and without a tag only.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::{Malformed, RepositoryError},
    files::{Files, has_extension},
};

/// The most repositories that are read.
const MOST: usize = 100;
/// The longest line, with its variables put in.
const LONGEST: usize = 4096;
const MAIN: &str = "etc/apk/repositories";
/// A list in one hides those of the same name in the next ones.
const DIRECTORIES: [&str; 3] =
    ["etc/apk/repositories.d", "lib/apk/repositories.d", "usr/lib/apk/repositories.d"];

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its address, without the architecture and without a slash at its end.
    pub url: String,
    /// The address of its index.
    pub index: String,
    /// The tag that a package must be asked for with to come from here.
    pub tag: Option<String>,
}

impl Source {
    /// Says whether its index has the form of apk 3.
    pub(crate) fn is_adb(&self) -> bool {
        has_extension(&self.index, "adb")
    }
}

/// Reads the repositories for an architecture; a line that means nothing is an error in its place.
pub fn sources(files: &Files, architecture: &str) -> Vec<Result<Source, RepositoryError>> {
    let mut reader = Reader::new(architecture);
    if let Some(text) = files.get(MAIN) {
        reader.file(MAIN, text);
    }
    let mut seen = BTreeSet::new();
    for directory in DIRECTORIES {
        for (path, text) in files.list(directory) {
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            if has_extension(&path, "list") && seen.insert(name) {
                reader.file(&path, text);
            }
        }
    }
    reader.found
}

struct Reader<'a> {
    architecture: &'a str,
    variables: BTreeMap<String, String>,
    found: Vec<Result<Source, RepositoryError>>,
}

impl<'a> Reader<'a> {
    fn new(architecture: &'a str) -> Self {
        let variables = BTreeMap::from([("APK_ARCH".to_owned(), architecture.to_owned())]);
        Self { architecture, variables, found: Vec::new() }
    }

    fn file(&mut self, file: &str, text: &[u8]) {
        for (number, line) in (1..).zip(String::from_utf8_lossy(text).lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() || self.found.len() >= MOST {
                continue;
            }
            if let Err(reason) = self.line(line, &words) {
                let reason = Malformed::new(number, reason);
                self.found.push(Err(RepositoryError::Configuration { file: file.to_owned(), reason }));
            }
        }
    }

    fn line(&mut self, line: &str, words: &[&str]) -> Result<(), String> {
        let is_address = |word: &str| word.starts_with('/') || word.contains("://");
        let (keyword, words) = match words {
            ["set", ..] => return self.set(line.trim().trim_start_matches("set").trim_start()),
            [word @ ("ndx" | "v2" | "v3"), rest @ ..] => (Some(*word), rest),
            [word, ..] if !word.starts_with(['@', '$']) && !is_address(word) => {
                return Err(format!("unknown keyword {word:?}"));
            }
            words => (None, words),
        };
        let (tag, words) = match words {
            [word, rest @ ..] if word.starts_with('@') => (Some(word[1..].to_owned()), rest),
            words => (None, words),
        };
        let [address, components @ ..] = words else { return Err("there is no address".to_owned()) };
        let address = self.expand(address)?;
        let address = address.trim_end_matches('/');
        if !is_address(address) {
            return Err(format!("{address:?} is not an address"));
        }
        let names_index = has_extension(address, "adb") || address.ends_with(".tar.gz");
        if keyword == Some("ndx") || keyword.is_none() && names_index {
            let url = address.rsplit_once('/').map_or(address, |(directory, _)| directory).to_owned();
            self.add(Source { url, index: address.to_owned(), tag });
            return Ok(());
        }
        let index = if keyword == Some("v3") { "Packages.adb" } else { "APKINDEX.tar.gz" };
        let mut urls = Vec::new();
        for component in components {
            urls.extend(self.expand(component)?.split_whitespace().map(|name| format!("{address}/{name}")));
        }
        if components.is_empty() {
            urls.push(address.to_owned());
        }
        for url in urls {
            let index = format!("{url}/{}/{index}", self.architecture);
            self.add(Source { url, index, tag: tag.clone() });
        }
        Ok(())
    }

    fn set(&mut self, text: &str) -> Result<(), String> {
        let (is_default, text) = match text.strip_prefix("-default") {
            Some(rest) if rest.starts_with(char::is_whitespace) => (true, rest.trim_start()),
            _ => (false, text),
        };
        let (name, value) = text.split_once('=').ok_or("a variable has no value")?;
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with("APK_");
        if !is_name {
            return Err(format!("{name:?} cannot be the name of a variable"));
        }
        let value = self.expand(value)?;
        if !is_default || !self.variables.contains_key(name) {
            self.variables.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// Puts the values of variables in their places: `${NAME}`.
    fn expand(&self, text: &str) -> Result<String, String> {
        let (mut expanded, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("a variable's name is not closed")?;
            let value = self.variables.get(name).ok_or_else(|| format!("there is no variable {name:?}"))?;
            expanded += before;
            expanded += value;
            if expanded.len() > LONGEST {
                return Err("it is longer than a path can be".to_owned());
            }
            rest = after;
        }
        Ok(expanded + rest)
    }

    fn add(&mut self, source: Source) {
        let is_new = !self.found.iter().flatten().any(|found| *found == source);
        if is_new && self.found.len() < MOST {
            self.found.push(Ok(source));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sources;
    use crate::Files;

    fn read(files: &Files) -> Vec<String> {
        let shown = |source: Result<super::Source, crate::error::RepositoryError>| match source {
            Ok(source) => format!("{} {}", source.tag.as_deref().unwrap_or("-"), source.index),
            Err(error) => error.to_string(),
        };
        sources(files, "x86_64").into_iter().map(shown).collect()
    }

    #[test]
    fn a_repository_can_have_a_tag() {
        let mut files = Files::new();
        let text = "https://x.test/v3.20/main/\n# https://no.test\n\n@edge https://x.test/edge/main # why\n@alone\n/media/cdrom\n";
        files.insert("etc/apk/repositories", text.as_bytes());
        files.insert("etc/apk/repositories.d/more.list", &b"https://x.test/v3.20/main\nhttps://y.test/z"[..]);
        files.insert("etc/apk/repositories.d/no.bak", &b"https://no.test"[..]);
        assert_eq!(
            read(&files),
            [
                "- https://x.test/v3.20/main/x86_64/APKINDEX.tar.gz",
                "edge https://x.test/edge/main/x86_64/APKINDEX.tar.gz",
                "etc/apk/repositories: line 5: there is no address",
                "- /media/cdrom/x86_64/APKINDEX.tar.gz",
                "- https://y.test/z/x86_64/APKINDEX.tar.gz",
            ]
        );
    }

    #[test]
    fn lines_of_apk_3() {
        let mut files = Files::new();
        files.insert("etc/apk/repositories.d/00-vars.list", &b"set mirror=https://m.test/alpine\n"[..]);
        let list = "set -default mirror=https://x.test\nset -default own=/srv\nv2 ${mirror}/v3.23 main community\n\
            v3 @new ${mirror}/edge testing\nndx https://y.test/${APK_ARCH}/own/APKINDEX.tar.gz\n\
            https://z.test/Packages.adb\nv3 ${own}/packages\nset APK_ARCH=arm\nset 1=2\nv2 ${nothing}/x\nv4 https://no.test\n";
        files.insert("lib/apk/repositories.d/distribution.list", list.as_bytes());
        files.insert("lib/apk/repositories.d/00-vars.list", &b"https://hidden.test\n"[..]);
        assert_eq!(
            read(&files),
            [
                "- https://m.test/alpine/v3.23/main/x86_64/APKINDEX.tar.gz",
                "- https://m.test/alpine/v3.23/community/x86_64/APKINDEX.tar.gz",
                "new https://m.test/alpine/edge/testing/x86_64/Packages.adb",
                "- https://y.test/x86_64/own/APKINDEX.tar.gz",
                "- https://z.test/Packages.adb",
                "- /srv/packages/x86_64/Packages.adb",
                "lib/apk/repositories.d/distribution.list: line 8: \"APK_ARCH\" cannot be the name of a variable",
                "lib/apk/repositories.d/distribution.list: line 9: \"1\" cannot be the name of a variable",
                "lib/apk/repositories.d/distribution.list: line 10: there is no variable \"nothing\"",
                "lib/apk/repositories.d/distribution.list: line 11: unknown keyword \"v4\"",
            ]
        );
    }
}
