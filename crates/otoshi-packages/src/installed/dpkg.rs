//! dpkg's record of what is installed.
//!
//! ```text
//! var/lib/dpkg/status          a paragraph for each package: deb-control(5) and dpkg(1)
//! var/lib/dpkg/updates/NNNN    paragraphs that a dpkg that was interrupted had no time to put into status
//! var/lib/dpkg/status.d/NAME   a paragraph of one package, in images without dpkg itself
//! var/lib/apt/extended_states  which packages were installed only because others need them
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::error::InstalledError;
use super::package::Package;
use crate::files::Files;

const STATUS: &str = "var/lib/dpkg/status";
const UPDATES: &str = "var/lib/dpkg/updates";
const STATUS_DIRECTORY: &str = "var/lib/dpkg/status.d";
const EXTENDED_STATES: &str = "var/lib/apt/extended_states";

/// The most packages that are read.
const MOST: usize = 200_000;

/// Reads the installed packages; `None` where dpkg has no record.
///
/// What the third word of its Status says is on disk: apt makes all of that newer which is `installed`, or which dpkg left
/// unpacked, half-configured, or with triggers to run; and what is half-installed, where dpkg says that it must be installed again.
/// What is in `updates` takes the place of what `status` says of the same package, as with dpkg. Both are damaged where dpkg
/// would not read them. In `status.d`, whatever has a version is installed.
///
/// Fails where `status` or a file in `updates` is damaged, and where there are too many packages.
pub fn packages(files: &Files) -> Result<Option<Vec<Package>>, InstalledError> {
    let status = files.get(STATUS);
    let parts: Vec<(String, &[u8])> =
        files.list(STATUS_DIRECTORY).into_iter().filter(|(path, _)| !path.ends_with(".md5sums")).collect();
    if status.is_none() && parts.is_empty() {
        return Ok(None);
    }
    let auto = files.get(EXTENDED_STATES).map(Automatic::of).unwrap_or_default();
    let mut packages = Vec::new();
    let updates = updates(files);
    let mut newest = BTreeMap::new();
    for (path, content) in &updates {
        newest.extend(paragraphs(content).map(|fields| (fields.key(), (path, fields))));
    }
    let sources = status.map(|content| (STATUS, content)).into_iter();
    let sources = sources.map(|source| (source, Form::Status));
    let parts = parts.iter().map(|(path, content)| ((&path[..], *content), Form::Part));
    for ((path, content), form) in sources.chain(parts) {
        for fields in
            paragraphs(content).filter(|fields| form == Form::Part || !newest.contains_key(&fields.key()))
        {
            read(&fields, path, form, &auto, &mut packages)?;
        }
    }
    for (path, fields) in newest.into_values() {
        read(&fields, path, Form::Status, &auto, &mut packages)?;
    }
    Ok(Some(packages))
}

/// The files with what is not in `status` yet, the oldest first; their names are numbers.
fn updates(files: &Files) -> Vec<(String, &[u8])> {
    let is_number = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut found = files.list(UPDATES);
    found.retain(|(path, _)| is_number(path));
    found
}

/// Which form a paragraph has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// That of dpkg's own record.
    Status,
    /// That of a single package's, without dpkg.
    Part,
}

/// Reads a paragraph to the packages.
fn read(
    fields: &Fields<'_>,
    path: &str,
    form: Form,
    auto: &Automatic<'_>,
    packages: &mut Vec<Package>,
) -> Result<(), InstalledError> {
    let damaged = |reason| InstalledError::Database { path: path.to_owned(), reason };
    if form == Form::Status {
        fields.check().map_err(damaged)?;
    }
    packages.extend(package(fields, form == Form::Status, auto));
    if packages.len() > MOST {
        return Err(damaged(format!("it names more than {MOST} packages")));
    }
    Ok(())
}

/// Says which architecture is dpkg's own: the first that `var/lib/dpkg/arch` lists, else that of the package dpkg, else the
/// most frequent one that is not `all`.
pub fn architecture(files: &Files, packages: &[Package]) -> Option<String> {
    let listed =
        files.text("var/lib/dpkg/arch").and_then(|text| Some(text.lines().next()?.trim().to_owned()));
    listed
        .filter(|name| !name.is_empty())
        .or_else(|| Some(packages.iter().find(|package| package.name == "dpkg")?.architecture.clone()))
        .or_else(|| super::package::most_frequent_architecture(packages, "all"))
}

/// The fields of a paragraph that matter.
#[derive(Debug, Default)]
struct Fields<'a> {
    package: &'a [u8],
    version: &'a [u8],
    architecture: &'a [u8],
    source: &'a [u8],
    status: Option<&'a [u8]>,
    auto: &'a [u8],
    /// Whether the paragraph has any line at all.
    is_some: bool,
}

/// The words of a Status, as dpkg knows them.
const WANTS: [&[u8]; 5] = [b"unknown", b"install", b"hold", b"deinstall", b"purge"];
const ERRORS: [&[u8]; 2] = [b"ok", b"reinstreq"];
const STATES: [&[u8]; 8] = [
    b"not-installed",
    b"config-files",
    b"half-installed",
    b"unpacked",
    b"half-configured",
    b"triggers-awaited",
    b"triggers-pending",
    b"installed",
];

impl<'a> Fields<'a> {
    /// What tells a package from others.
    fn key(&self) -> (&'a [u8], &'a [u8]) {
        (self.package, self.architecture)
    }

    /// The words of its Status in lower case, as dpkg compares them.
    fn words(&self) -> Vec<Vec<u8>> {
        let words = self.status.unwrap_or_default().split(u8::is_ascii_whitespace);
        words.filter(|word| !word.is_empty()).map(<[u8]>::to_ascii_lowercase).collect()
    }

    /// Says why dpkg would not read a paragraph of its own record.
    fn check(&self) -> Result<(), String> {
        if !self.is_some {
            return Ok(());
        }
        if self.package.is_empty() {
            return Err("a paragraph in it names no package".to_owned());
        }
        let name = text(self.package);
        // One without a Status is not installed.
        let Some(status) = self.status else { return Ok(()) };
        let words = self.words();
        let has =
            |place: usize, known: &[&[u8]]| words.get(place).is_some_and(|word| known.contains(&&word[..]));
        if words.len() != 3 || !has(0, &WANTS) || !has(1, &ERRORS) || !has(2, &STATES) {
            return Err(format!("{name} has a status that dpkg does not know: {:?}", text(status)));
        }
        if self.version.is_empty() && (has(2, &[b"not-installed"]) || has(2, &[b"half-installed"])) {
            return Ok(());
        }
        match crate::version::dpkg::refusal(&text(self.version)) {
            None => Ok(()),
            Some(reason) => {
                Err(format!("the version of {name}, {:?}, is not valid: {reason}", text(self.version)))
            }
        }
    }
}

fn package(fields: &Fields<'_>, with_status: bool, auto: &Automatic<'_>) -> Option<Package> {
    if fields.package.is_empty() || fields.version.is_empty() {
        return None;
    }
    let words = fields.words();
    let word = |place: usize| words.get(place).map(|word| &word[..]);
    let (want, error, state) = (word(0), word(1), word(2));
    // A paragraph that is removed can stay as long as its configuration does; what is half-installed otherwise, apt removes.
    match state {
        Some(b"installed" | b"unpacked" | b"half-configured" | b"triggers-awaited" | b"triggers-pending") => {
        }
        Some(b"half-installed") if error == Some(b"reinstreq") => {}
        None if !with_status => {}
        _ => return None,
    }
    let (name, version) = (text(fields.package), text(fields.version));
    let source = text(fields.source);
    // `Source: NAME (VERSION)`, the version only where it is another one.
    let (source, source_version) = match source.split_once('(') {
        Some((source, rest)) => {
            (source.trim().to_owned(), rest.trim().trim_end_matches(')').trim().to_owned())
        }
        None if source.is_empty() => (name.to_string(), version.to_string()),
        None => (source.into_owned(), version.to_string()),
    };
    Some(Package {
        name: name.into_owned(),
        version: version.into_owned(),
        architecture: text(fields.architecture).into_owned(),
        source,
        source_version,
        held: want == Some(b"hold"),
        auto: auto.has(fields),
        module: None,
    })
}

/// The packages that extended_states marks as installed only for others.
#[derive(Debug, Default)]
struct Automatic<'a> {
    marked: HashSet<(&'a [u8], &'a [u8])>,
    names: HashSet<&'a [u8]>,
}

impl<'a> Automatic<'a> {
    fn of(content: &'a [u8]) -> Self {
        let mut automatic = Self::default();
        for fields in paragraphs(content).filter(|fields| fields.auto == b"1") {
            automatic.marked.insert((fields.package, fields.architecture));
            automatic.names.insert(fields.package);
        }
        automatic
    }

    /// apt has no architecture `all` here: it writes the machine's own.
    fn has(&self, fields: &Fields<'_>) -> bool {
        match fields.architecture {
            b"all" => self.names.contains(fields.package),
            architecture => self.marked.contains(&(fields.package, architecture)),
        }
    }
}

/// Reads paragraphs, which blank lines part, without taking copies. A field's further lines are passed over.
fn paragraphs(mut content: &[u8]) -> impl Iterator<Item = Fields<'_>> {
    std::iter::from_fn(move || {
        if content.is_empty() {
            return None;
        }
        let mut fields = Fields::default();
        while !content.is_empty() {
            let end = memchr::memchr(b'\n', content);
            let (line, rest) = match end {
                Some(end) => (&content[..end], &content[end + 1..]),
                None => (content, &content[content.len()..]),
            };
            content = rest;
            let Some(first) = line.first() else { break };
            fields.is_some |= !line.iter().all(u8::is_ascii_whitespace);
            // Only these begin a field that matters.
            if !matches!(first.to_ascii_lowercase(), b'p' | b'v' | b'a' | b's') {
                if line.iter().all(u8::is_ascii_whitespace) {
                    break;
                }
                continue;
            }
            let Some(colon) = line.iter().take(32).position(|byte| *byte == b':') else { continue };
            let value = line[colon + 1..].trim_ascii();
            let name = &line[..colon];
            if name.eq_ignore_ascii_case(b"Status") {
                fields.status = Some(value);
                continue;
            }
            let known: [(&[u8], &mut &[u8]); 5] = [
                (b"Package", &mut fields.package),
                (b"Version", &mut fields.version),
                (b"Architecture", &mut fields.architecture),
                (b"Source", &mut fields.source),
                (b"Auto-Installed", &mut fields.auto),
            ];
            if let Some((_, field)) = known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)) {
                *field = value;
            }
        }
        Some(fields)
    })
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use crate::{Files, Installed, Manager};

    const STATUS: &str = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\n\
        Source: glibc (2.36-8)\nVersion: 2.36-9\nDescription: the C library\n Version: 9\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n\
        package: kept\nstatus: hold ok installed\narchitecture: all\nversion: 1:2-3\nsource: other\n\n\n\
        Package: half\nStatus: install ok half-installed\nArchitecture: amd64\nVersion: 1\n\n\
        Package: again\nStatus: install reinstreq half-installed\nArchitecture: amd64\nVersion: 1\n\n\
        Package: left\nStatus: install ok unpacked\nArchitecture: amd64\nVersion: 1\n\n\
        Package: left2\nStatus: deinstall ok half-configured\nArchitecture: amd64\nVersion: 1\n\n\
        Package: left3\nStatus: hold ok triggers-awaited\nArchitecture: amd64\nVersion: 1\n\n\
        Package: left4\nStatus: install ok triggers-pending\nArchitecture: amd64\nVersion: 1\n\n\
        Package: bare\nStatus: install ok installed\nVersion: 4";

    #[test]
    fn the_third_word_says_what_is_installed() {
        let mut files = Files::new();
        files.insert(super::STATUS, STATUS.as_bytes());
        let marks = "Package: libc6\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: bare\nArchitecture: amd64\n\
            Auto-Installed: 0\n\nPackage: kept\nArchitecture: amd64\nAuto-Installed: 1\n";
        files.insert(super::EXTENDED_STATES, marks.as_bytes());
        let installed = Installed::of(files).unwrap();
        assert_eq!(installed.manager, Some(Manager::Dpkg));
        assert_eq!(installed.architecture.as_deref(), Some("amd64"));
        let short: Vec<_> = installed
            .packages
            .iter()
            .map(|package| {
                let marks = [(package.held, "held"), (package.auto, "auto")];
                let marks: Vec<_> = marks.into_iter().filter_map(|(set, name)| set.then_some(name)).collect();
                format!(
                    "{}:{} {} from {} {} {marks:?}",
                    package.name,
                    package.architecture,
                    package.version,
                    package.source,
                    package.source_version
                )
            })
            .collect();
        assert_eq!(
            short,
            [
                "again:amd64 1 from again 1 []",
                "bare: 4 from bare 4 []",
                "kept:all 1:2-3 from other 1:2-3 [\"held\", \"auto\"]",
                "left:amd64 1 from left 1 []",
                "left2:amd64 1 from left2 1 []",
                "left3:amd64 1 from left3 1 [\"held\"]",
                "left4:amd64 1 from left4 1 []",
                "libc6:amd64 2.36-9 from glibc 2.36-8 [\"auto\"]",
            ]
        );
        assert_eq!(installed.named("kept").len(), 1);
        assert!(installed.named("gone").is_empty());
    }

    fn record(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mut all = Files::new();
        for (path, text) in files {
            all.insert(path, text.as_bytes());
        }
        let installed = Installed::of(all).map_err(|error| error.to_string())?;
        Ok(installed.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect())
    }

    #[test]
    fn what_dpkg_had_no_time_to_put_into_its_record_counts() {
        let paragraph = |name, state, version| {
            format!(
                "Package: {name}\nStatus: install ok {state}\nArchitecture: amd64\nVersion: {version}\n\n"
            )
        };
        let status = paragraph("a", "installed", "1") + &paragraph("b", "installed", "1");
        let files = [
            (super::STATUS, status),
            ("var/lib/dpkg/updates/0000", paragraph("a", "unpacked", "2") + &paragraph("c", "unpacked", "1")),
            ("var/lib/dpkg/updates/0001", paragraph("a", "installed", "3")),
            ("var/lib/dpkg/updates/0002", paragraph("b", "not-installed", "1")),
            ("var/lib/dpkg/updates/tmp.i", paragraph("a", "installed", "4")),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, &text[..])).collect();
        assert_eq!(record(&files).unwrap(), ["a 3", "c 1"]);
        let damaged = [files[0], ("var/lib/dpkg/updates/0000", "Package: a\nStatus: x\n")];
        assert!(record(&damaged).unwrap_err().contains("/var/lib/dpkg/updates/0000: a has a status"));
    }

    #[test]
    fn an_image_without_dpkg_has_a_file_for_each_package() {
        let mut files = Files::new();
        files.insert(
            "var/lib/dpkg/status.d/base",
            &b"Package: base-files\nVersion: 12.4\nArchitecture: amd64\n"[..],
        );
        files.insert(
            "var/lib/dpkg/status.d/tzdata",
            &b"Package: tzdata\nVersion: 2024a\nArchitecture: all\n"[..],
        );
        files.insert("var/lib/dpkg/status.d/tzdata.md5sums", &b"Package: no\nVersion: 1\n"[..]);
        let installed = Installed::of(files).unwrap();
        let names: Vec<_> = installed.packages.iter().map(|package| &package.name[..]).collect();
        assert_eq!(names, ["base-files", "tzdata"]);
        assert_eq!(installed.architecture.as_deref(), Some("amd64"));
    }
}
