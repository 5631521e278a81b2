//! rpm's record of what is installed: a header for each package, in one of three databases.
//!
//! ```text
//! var/lib/rpm/rpmdb.sqlite    SQLite       rpm 4.16 and later: Fedora, RHEL 9 and its kin   sqlite.rs
//! var/lib/rpm/Packages.db     NDB          SUSE                                             ndb.rs
//! var/lib/rpm/Packages        Berkeley DB  RHEL 8 and earlier                               bdb.rs
//! ```
//!
//! They lie in `usr/lib/sysimage/rpm` or `usr/share/rpm` as well. A database can have hundreds of megabytes of file names and
//! change logs; what is kept of a layer's is the list of packages in it ([`Reduced`]).

mod bdb;
mod header;
mod ndb;
mod sqlite;

use serde::{Deserialize, Serialize};

use super::error::InstalledError;
use super::package::Package;
use crate::files::Files;

/// Where databases lie.
const DIRECTORIES: [&str; 3] = ["usr/lib/sysimage/rpm", "var/lib/rpm", "usr/share/rpm"];
/// Their names, and the readers of their forms.
const FORMS: [(&str, Reader); 3] =
    [("rpmdb.sqlite", sqlite::headers), ("Packages.db", ndb::headers), ("Packages", bdb::headers)];
/// The most packages that are read.
const MOST: usize = 200_000;

/// Calls a function with every header of a database; the error says what is wrong with the database.
type Reader = fn(&[u8], &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), String>;

/// The package of that name holds a key that somebody trusts, and no files.
const KEY: &str = "gpg-pubkey";

/// Holds the packages of a database, or says why it could not be read.
#[derive(Debug, Serialize, Deserialize)]
enum Reduced {
    /// The packages.
    Packages(Vec<Package>),
    /// What is wrong with the database.
    Damaged(String),
}

/// Marks the form that [`reduce`] makes.
const REDUCED: &[u8] = b"packages of an rpm database\n";

/// Says whether a path is that of a database.
pub(super) fn is_database(path: &str) -> bool {
    let Some((directory, name)) = path.rsplit_once('/') else { return false };
    DIRECTORIES.contains(&directory) && FORMS.iter().any(|(known, _)| *known == name)
}

/// The paths of all databases.
pub(super) fn paths() -> impl Iterator<Item = String> {
    let of = |directory| FORMS.iter().map(move |(name, _)| format!("{directory}/{name}"));
    DIRECTORIES.into_iter().flat_map(of)
}

/// Puts the list of packages in a database's place; `journal` is what lies beside it as `rpmdb.sqlite-wal`.
pub(super) fn reduce(path: &str, database: &[u8], journal: Option<&[u8]>) -> Vec<u8> {
    let reduced = match read(path, database, journal) {
        Ok(packages) => Reduced::Packages(packages),
        Err(reason) => Reduced::Damaged(reason),
    };
    let mut bytes = REDUCED.to_vec();
    bytes.extend(serde_json::to_vec(&reduced).unwrap_or_default());
    bytes
}

/// Reads the installed packages; `None` where rpm has no database.
///
/// Fails where the database is damaged.
pub fn packages(files: &Files) -> Result<Option<Vec<Package>>, InstalledError> {
    for path in paths() {
        let Some(content) = files.get(&path) else { continue };
        let damaged = |reason| InstalledError::Database { path: path.clone(), reason };
        let mut packages = match content.strip_prefix(REDUCED) {
            None => read(&path, content, files.get(&format!("{path}-wal"))).map_err(damaged)?,
            Some(reduced) => match serde_json::from_slice(reduced) {
                Ok(Reduced::Packages(packages)) => packages,
                Ok(Reduced::Damaged(reason)) => return Err(damaged(reason)),
                Err(error) => return Err(damaged(error.to_string())),
            },
        };
        let locked = locks(files);
        for package in &mut packages {
            package.held = locked.iter().any(|lock| lock.holds(package));
        }
        return Ok(Some(packages));
    }
    Ok(None)
}

/// Says which architecture is rpm's own: the most frequent one.
pub fn architecture(packages: &[Package]) -> Option<String> {
    super::package::most_frequent_architecture(packages, "noarch")
}

fn read(path: &str, database: &[u8], journal: Option<&[u8]>) -> Result<Vec<Package>, String> {
    let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some((_, headers)) = FORMS.iter().find(|(known, _)| *known == name) else {
        return Err("it is not a known kind of database".to_owned());
    };
    // A database that was never written to.
    if database.is_empty() {
        return Ok(Vec::new());
    }
    let applied = match journal {
        Some(journal) if !journal.is_empty() => sqlite::with_journal(database, journal)?,
        _ => None,
    };
    let mut packages = Vec::new();
    headers(applied.as_deref().unwrap_or(database), &mut |bytes| {
        if packages.len() == MOST {
            return Err(format!("it has more than {MOST} packages"));
        }
        packages.extend(package(&header::Header::parse(bytes)?)?);
        Ok(())
    })?;
    Ok(packages)
}

fn package(header: &header::Header<'_>) -> Result<Option<Package>, String> {
    use header::tag;
    let required = |tag, what| header.text(tag)?.ok_or_else(|| format!("a package has no {what}"));
    let name = required(tag::NAME, "name")?;
    if name == KEY {
        return Ok(None);
    }
    let short = format!("{}-{}", required(tag::VERSION, "version")?, required(tag::RELEASE, "release")?);
    let version = match header.number(tag::EPOCH)? {
        None | Some(0) => short.clone(),
        Some(epoch) => format!("{epoch}:{short}"),
    };
    let archive = header.text(tag::SOURCERPM)?.unwrap_or_default();
    let (source, source_version) = source(&archive).unwrap_or((&name, &short));
    let (source, source_version) = (source.to_owned(), source_version.to_owned());
    // `NAME:STREAM:VERSION:CONTEXT[:ARCHITECTURE]`
    let label = header.text(tag::MODULARITYLABEL)?;
    let module = label.as_deref().and_then(|label| {
        let mut parts = label.split(':');
        Some(format!("{}:{}", parts.next().filter(|part| !part.is_empty())?, parts.next()?))
    });
    let architecture = header.text(tag::ARCH)?.unwrap_or_default();
    Ok(Some(Package {
        name,
        version,
        architecture,
        source,
        source_version,
        held: false,
        auto: false,
        module,
    }))
}

/// The name and version of a source package by the name of its archive, `NAME-VERSION-RELEASE.src.rpm`; one from sources that are
/// not to be had ends in `.nosrc.rpm`.
pub(super) fn source(archive: &str) -> Option<(&str, &str)> {
    let (stem, _) = archive.strip_suffix(".rpm")?.rsplit_once('.')?;
    let release = stem.rfind('-')?;
    let version = stem[..release].rfind('-')?;
    Some((&stem[..version], &stem[version + 1..]))
}

/// A line of dnf's or yum's list of versions that must stay.
struct Lock {
    line: String,
    excludes: bool,
}

impl Lock {
    fn holds(&self, package: &Package) -> bool {
        let (epoch, rest) = package.version.split_once(':').unwrap_or(("0", &package.version));
        let Package { name, architecture, .. } = package;
        // dnf writes `NAME-EPOCH:VERSION-RELEASE.*`, yum `EPOCH:NAME-VERSION-RELEASE.*`.
        let forms = [
            format!("{name}-{epoch}:{rest}.{architecture}"),
            format!("{epoch}:{name}-{rest}.{architecture}"),
            format!("{name}-{rest}.{architecture}"),
            format!("{name}.{architecture}"),
            format!("{name}-{epoch}:{rest}"),
            format!("{name}-{rest}"),
            name.clone(),
        ];
        !self.excludes && forms.iter().any(|form| crate::pattern::matches(&self.line, form))
    }
}

fn locks(files: &Files) -> Vec<Lock> {
    let lists = ["etc/dnf/plugins/versionlock.list", "etc/yum/pluginconf.d/versionlock.list"];
    let texts: Vec<_> = lists.iter().filter_map(|path| files.text(path)).collect();
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).take(10_000);
    lines
        .map(|line| match line.strip_prefix('!') {
            Some(line) => Lock { line: line.trim().to_owned(), excludes: true },
            None => Lock { line: line.to_owned(), excludes: false },
        })
        .collect()
}
