//! The repositories that dnf, yum or zypper would use: `*.repo` files, `dnf.conf`, and variables.

use std::collections::BTreeMap;

use crate::files::{Files, has_extension};
use crate::installed::OsRelease;

const DIRECTORIES: [&str; 4] =
    ["etc/yum.repos.d", "etc/distro.repos.d", "etc/zypp/repos.d", "usr/share/dnf5/repos.d"];
const VARIABLES: [&str; 3] = ["etc/yum/vars", "etc/dnf/vars", "etc/zypp/vars.d"];
const MAIN: [&str; 2] = ["etc/yum.conf", "etc/dnf/dnf.conf"];
/// The most repositories that are read.
const MOST: usize = 200;
/// How deep a variable's default may name variables.
const DEPTH: usize = 4;
/// The priority of a repository that names none.
const PRIORITY: i64 = 99;

/// A repository that is switched on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// Its id, as `baseos`.
    pub id: String,
    /// Its addresses, of which the first that answers is used, without a slash at their ends.
    pub addresses: Vec<String>,
    /// The address of a list of mirrors.
    pub mirrors: Option<String>,
    /// The address of a metalink.
    pub metalink: Option<String>,
    /// Says whether `repomd.xml` must be signed.
    pub signed: bool,
    /// Addresses of the keys that may sign.
    pub keys: Vec<String>,
    /// Patterns of packages that never come from here.
    pub excluded: Vec<String>,
    /// Patterns of the only packages that come from here; empty where all do.
    pub included: Vec<String>,
    /// Its priority: of the repositories that have a package, those with the least number count.
    pub priority: i64,
    /// Says whether its packages count whatever streams of modules are switched on.
    pub module_hotfixes: bool,
}

/// Holds what an image is configured to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The repositories, sorted by id.
    pub repositories: Vec<Repository>,
}

impl Settings {
    /// Reads an image's settings for an architecture in rpm's words.
    pub fn of(files: &Files, os: Option<&OsRelease>, architecture: &str) -> Self {
        let variables = variables(files, os, architecture);
        let mut main = BTreeMap::new();
        for path in MAIN {
            let text = files.text(path).unwrap_or_default();
            main.extend(ini(&text).into_iter().filter(|(name, _)| name == "main").flat_map(|(_, keys)| keys));
        }
        let mut found = BTreeMap::new();
        for directory in DIRECTORIES {
            for (path, text) in files.list(directory) {
                if !has_extension(&path, "repo") {
                    continue;
                }
                for (id, keys) in ini(&String::from_utf8_lossy(text)) {
                    if id != "main" && !found.contains_key(&id) && found.len() < MOST {
                        found.insert(id, keys);
                    }
                }
            }
        }
        let repositories = found
            .into_iter()
            .filter(|(_, keys)| keys.get("enabled").is_none_or(|value| is_true(value)))
            .map(|(id, keys)| repository(&id, &keys, &main, &variables))
            .collect();
        Self { repositories }
    }
}

type Keys = BTreeMap<String, String>;

fn repository(id: &str, keys: &Keys, main: &Keys, variables: &Keys) -> Repository {
    let text = |name: &str| {
        let value = keys.get(name).map(|value| expand(value, variables, DEPTH));
        value.filter(|value| !value.is_empty())
    };
    let list = |names: &[&str], of: &Keys| {
        let values = names.iter().filter_map(|name| of.get(*name));
        let words = values.flat_map(|value| value.split(|c: char| c.is_whitespace() || c == ','));
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let addresses = |name: &str| {
        let words = list(&[name], keys);
        words.iter().map(|word| expand(word, variables, DEPTH).trim_end_matches('/').to_owned()).collect()
    };
    let either = |name: &str| keys.get(name).or_else(|| main.get(name));
    let excludes = ["exclude", "excludepkgs"];
    Repository {
        id: id.to_owned(),
        addresses: addresses("baseurl"),
        mirrors: text("mirrorlist"),
        metalink: text("metalink"),
        signed: either("repo_gpgcheck").is_some_and(|value| is_true(value)),
        keys: addresses("gpgkey"),
        excluded: [list(&excludes, main), list(&excludes, keys)].concat(),
        included: list(&["includepkgs"], keys),
        priority: keys.get("priority").and_then(|text| text.trim().parse().ok()).unwrap_or(PRIORITY),
        module_hotfixes: keys.get("module_hotfixes").is_some_and(|value| is_true(value)),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "yes", "true", "on", "enabled"].contains(&value.trim().to_ascii_lowercase().as_str())
}

/// Reads sections of `key=value` lines; a line that begins with a blank goes on with the value before it.
pub(crate) fn ini(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut sections: Vec<(String, Keys)> = Vec::new();
    let mut last = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) =
            trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name)
        {
            sections.push((name.trim().to_owned(), Keys::new()));
            last.clear();
        } else if let Some((_, keys)) = sections.last_mut() {
            if line.starts_with([' ', '\t']) && !last.is_empty() {
                let value = keys.entry(last.clone()).or_default();
                value.push('\n');
                value.push_str(trimmed);
            } else if let Some((key, value)) = trimmed.split_once('=') {
                last = key.trim().to_ascii_lowercase();
                keys.insert(last.clone(), value.trim().to_owned());
            }
        }
    }
    sections
}

/// The variables that addresses may have.
fn variables(files: &Files, os: Option<&OsRelease>, architecture: &str) -> Keys {
    let base = match architecture {
        "i386" | "i486" | "i586" | "i686" | "athlon" => "i386",
        "armv7hl" | "armv7hnl" | "armv7l" => "armhfp",
        other => other,
    };
    let mut variables =
        Keys::from([("arch".to_owned(), architecture.to_owned()), ("basearch".to_owned(), base.to_owned())]);
    if let Some(os) = os
        && let Some(version) = &os.version_id
    {
        let (major, minor) = version.split_once('.').unwrap_or((version, ""));
        // The kin of RHEL name their repositories by the first number alone.
        let is_kin = |id: &str| ["rhel", "centos"].contains(&id);
        let short = is_kin(&os.id) || os.id_like.iter().any(|id| is_kin(id));
        let release = if short && os.id != "fedora" && os.id != "amzn" { major } else { version };
        variables.insert("releasever".to_owned(), release.to_owned());
        variables.insert("releasever_major".to_owned(), major.to_owned());
        variables.insert("releasever_minor".to_owned(), minor.to_owned());
    }
    for directory in VARIABLES {
        for (path, content) in files.list(directory) {
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            let value = String::from_utf8_lossy(content);
            variables.insert(name, value.lines().next().unwrap_or_default().trim().to_owned());
        }
    }
    variables
}

/// Puts variables' values in: `$name`, `${name}`, `${name:-else}` and `${name:+then}`. One that is not known stays.
fn expand(text: &str, variables: &Keys, depth: usize) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let braced = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let (inside, end) = braced.map_or_else(
            || {
                let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
                (&after[..end], end)
            },
            |(inside, _)| (inside, inside.len() + 2),
        );
        let name_end = inside.find(|c| !is_name(c)).unwrap_or(inside.len());
        let (name, form) = inside.split_at(name_end);
        let value = variables.get(&name.to_ascii_lowercase()).or_else(|| variables.get(name));
        let value = value.filter(|value| !value.is_empty() || form.is_empty());
        let with = |text: &str| if depth == 0 { String::new() } else { expand(text, variables, depth - 1) };
        match (value, form.get(..2), form.get(2..)) {
            (Some(_), Some(":+"), Some(then)) => out.push_str(&with(then)),
            (None, Some(":+"), _) => {}
            (Some(value), ..) => out.push_str(value),
            (None, Some(":-"), Some(other)) => out.push_str(&with(other)),
            (None, ..) => {
                out.push('$');
                out.push_str(&after[..end]);
            }
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::{Files, OsRelease};

    #[test]
    fn repositories_are_read_as_dnf_reads_them() {
        let mut files = Files::new();
        let repo = "[baseos]\nname=Base\nbaseurl=https://x.test/$releasever/BaseOS/$basearch/os/\n        https://y.test/${stream:-8}/\n\
            gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/KEY-$releasever\nexclude = kernel* \n[off]\nenabled=0\nbaseurl=http://no\n\
            ; a comment\n[more]\nmetalink=https://m.test/?repo=x-$releasever&arch=$basearch&c=$unknown\nrepo_gpgcheck=0\npriority=10\n\
            module_hotfixes=True\nincludepkgs=a,b c\n";
        files.insert("etc/yum.repos.d/x.repo", repo.as_bytes());
        files.insert("etc/yum.repos.d/x.repo.bak", &b"[no]\nbaseurl=http://no\n"[..]);
        files.insert("etc/dnf/dnf.conf", &b"[main]\nrepo_gpgcheck=1\nexcludepkgs=php*\n"[..]);
        files.insert("etc/dnf/vars/stream", &b"9-stream\n"[..]);
        let os = OsRelease::parse("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n");
        let settings = Settings::of(&files, Some(&os), "x86_64");
        let [base, more] = &settings.repositories[..] else { panic!("{settings:?}") };
        assert_eq!(base.addresses, ["https://x.test/9/BaseOS/x86_64/os", "https://y.test/9-stream"]);
        assert_eq!(base.keys, ["file:///etc/pki/rpm-gpg/KEY-9"]);
        assert_eq!(
            (&base.excluded[..], base.signed, base.priority),
            (&["php*".to_owned(), "kernel*".to_owned()][..], true, 99)
        );
        assert_eq!(more.metalink.as_deref(), Some("https://m.test/?repo=x-9&arch=x86_64&c=$unknown"));
        assert_eq!((more.signed, more.priority, more.module_hotfixes), (false, 10, true));
        assert_eq!(more.included, ["a", "b", "c"]);
    }

    #[test]
    fn variables_have_defaults() {
        let variables =
            super::Keys::from([("a".to_owned(), "1".to_owned()), ("e".to_owned(), String::new())]);
        for (text, expected) in [
            ("$a-${a}${a:-2}${b:-2}${b:-$a}${a:+y}${b:+n}", "1-112 1y".replace(' ', "").as_str()),
            ("$b ${b} $ ${", "$b ${b} $ ${"),
            ("${e:-d}$e", "d"),
        ] {
            assert_eq!(super::expand(text, &variables, 4), expected, "{text}");
        }
    }
}
