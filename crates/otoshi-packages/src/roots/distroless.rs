//! Packages as one layer: their files and what dpkg would have on record, and nothing that could run them but themselves.
//!
//! - `bin`, `sbin` and `lib` are links into `usr`, as in every root that Debian or Ubuntu make now.
//! - `var/lib/dpkg/status.d/NAME` has what each package says of itself, `NAME.md5sums` the sums of its files, as scanners of
//!   images expect it where there is no `status`.
//! - Accounts are those of `base-passwd`, or root and nobody where that is not among the packages. The certificates of
//!   `ca-certificates` are put into one file. No other script's work is done.
//! - Entries are sorted and have one time and no names of users: the same packages give the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use otoshi_oci::tar::{END, Entry, Kind, Reader, Time, write_header, write_padding};
use rayon::prelude::*;

use super::deb::read_data;
use super::deb::{Deb, DebError};
use super::depends::{Chosen, replaces};
use super::error::{RootError, conflict, named};

/// 1980-01-01T00:00:01Z, the time of all entries of layers.
const TIME: i64 = 315_532_801;

/// Packages that serve the scripts of others alone, and are left out of what has no scripts.
pub const FOR_SCRIPTS: [&str; 12] = [
    "awk",
    "cdebconf",
    "debconf",
    "debconf-2.0",
    "debianutils",
    "dpkg",
    "init-system-helpers",
    "install-info",
    "perl-base",
    "sensible-utils",
    "ucf",
    "usr-is-merged",
];

/// Directories of the root that are links to those of the same name in `usr`.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

type Tree = BTreeMap<Vec<u8>, (Entry, Vec<u8>, usize)>;

/// Makes a layer's archive of packages and their files, in the same order.
///
/// Fails where a package's file cannot be read or is damaged, and where two packages have a file of one name and
/// neither replaces the other.
pub fn layer(chosen: &[Chosen], files: &[PathBuf]) -> Result<Vec<u8>, RootError> {
    let read: Vec<_> = chosen
        .par_iter()
        .zip(files)
        .map(|(one, path)| {
            let bytes = fs::read(path).map_err(|source| RootError::Kept { path: path.clone(), source })?;
            read_package(one, &bytes)
                .map_err(|reason| RootError::Package { package: named(&one.record), reason })
        })
        .collect::<Result<_, RootError>>()?;
    let mut tree = Tree::new();
    for (number, entries) in read.into_iter().enumerate() {
        for (entry, content) in entries {
            add(&mut tree, entry, content, number, chosen)?;
        }
    }
    let all = usize::MAX;
    for directory in ["etc", "var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/status.d"] {
        let entry = Entry::new(directory, Kind::Directory, 0o755);
        tree.entry(entry.name.clone()).or_insert((entry, Vec::new(), all));
    }
    for name in MERGED {
        let inside = format!("usr/{name}/");
        if tree.keys().any(|path| path.starts_with(inside.as_bytes())) {
            let mut link = Entry::new(name, Kind::Symlink, 0o777);
            link.link = format!("usr/{name}").into_bytes();
            tree.insert(name.into(), (link, Vec::new(), all));
        }
    }
    for (path, content) in made(&tree) {
        let mut entry = Entry::new(path, Kind::File, 0o644);
        entry.size = content.len() as u64;
        parents(&mut tree, path);
        tree.entry(path.into()).or_insert((entry, content, all));
    }
    Ok(archive(tree))
}

/// What scripts would have made of the packages' files.
fn made(tree: &Tree) -> Vec<(&'static str, Vec<u8>)> {
    let content = |path: &str| tree.get(path.as_bytes()).map(|(_, content, _)| content.clone());
    let passwd = content("usr/share/base-passwd/passwd.master").unwrap_or_else(|| {
        b"root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n".to_vec()
    });
    let group = content("usr/share/base-passwd/group.master")
        .unwrap_or_else(|| b"root:x:0:\ntty:x:5:\nstaff:x:50:\nnogroup:x:65534:\n".to_vec());
    let mut made = vec![("etc/passwd", passwd), ("etc/group", group)];
    let mut certificates = Vec::new();
    for (path, (_, content, _)) in tree {
        if path.starts_with(b"usr/share/ca-certificates/") && path.ends_with(b".crt") {
            certificates.extend_from_slice(content);
        }
    }
    if !certificates.is_empty() {
        made.push(("etc/ssl/certs/ca-certificates.crt", certificates));
    }
    made
}

fn parents(tree: &mut Tree, path: &str) {
    for (at, _) in path.match_indices('/') {
        let entry = Entry::new(&path.as_bytes()[..at], Kind::Directory, 0o755);
        tree.entry(entry.name.clone()).or_insert((entry, Vec::new(), usize::MAX));
    }
}

/// Reads the entries of a package, with its paths in a merged root, and what is on record of it.
fn read_package(chosen: &Chosen, bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, DebError> {
    let deb = Deb::parse(bytes)?;
    let mut entries = Vec::new();
    let data = deb.data()?;
    let mut reader = Reader::new(&data[..]);
    while let Some(mut entry) = reader.next_entry()? {
        let content = read_data(&mut reader)?;
        if entry.sparse.is_some() {
            return Err(DebError::Form(format!("{} is stored as a sparse file", entry.display_name())));
        }
        if matches!(entry.kind, Kind::Char { .. } | Kind::Block { .. }) {
            continue;
        }
        entry.name = merged(&entry.name)?;
        if entry.kind == Kind::HardLink {
            entry.link = merged(&entry.link)?;
        }
        if entry.name.is_empty() {
            continue;
        }
        entries.push((entry, content));
    }
    let name = &chosen.record.name;
    let sane = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !sane || name.starts_with('.') {
        return Err(DebError::Form("its name is not valid".to_owned()));
    }
    let record =
        deb.control("control")?.ok_or_else(|| DebError::Form("it has no control file".to_owned()))?;
    let sums = deb.control("md5sums")?.unwrap_or_default();
    for (ending, content) in [("", record), (".md5sums", sums)] {
        let mut entry = Entry::new(format!("var/lib/dpkg/status.d/{name}{ending}"), Kind::File, 0o644);
        entry.size = content.len() as u64;
        entries.push((entry, content));
    }
    Ok(entries)
}

/// A path without `./`, and with `lib` and the like where they are.
pub(super) fn merged(path: &[u8]) -> Result<Vec<u8>, DebError> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(DebError::Form(format!("the path {} contains `..`", path.escape_ascii()))),
            part => parts.push(part),
        }
    }
    if parts.first().is_some_and(|first| MERGED.iter().any(|name| name.as_bytes() == *first)) {
        parts.insert(0, b"usr");
    }
    Ok(parts.join(&b'/'))
}

fn add(
    tree: &mut Tree,
    entry: Entry,
    content: Vec<u8>,
    number: usize,
    chosen: &[Chosen],
) -> Result<(), RootError> {
    use std::collections::btree_map::Entry as Place;
    match tree.entry(entry.name.clone()) {
        Place::Vacant(place) => drop(place.insert((entry, content, number))),
        Place::Occupied(mut place) => {
            let (known, _, other) = place.get();
            let both = |kind: Kind| known.kind == kind && entry.kind == kind;
            if both(Kind::Directory) || (both(Kind::Symlink) && known.link == entry.link) {
                return Ok(());
            }
            let (one, other) = (&chosen[number].record, &chosen[*other].record);
            if replaces(one, other) {
                place.insert((entry, content, number));
            } else if !replaces(other, one) {
                return Err(conflict(one, other, &entry.name));
            }
        }
    }
    Ok(())
}

/// Writes a tree as an archive: sorted, hard links behind what they lead to.
fn archive(tree: Tree) -> Vec<u8> {
    let mut out = Vec::with_capacity(tree.values().map(|(_, content, _)| content.len() + 1024).sum());
    let (links, plain): (Vec<_>, Vec<_>) =
        tree.into_values().partition(|(entry, _, _)| entry.kind == Kind::HardLink);
    for (mut entry, content, _) in plain.into_iter().chain(links) {
        entry.mtime = Time { seconds: TIME, nanos: 0 };
        if entry.kind == Kind::Directory {
            entry.name.push(b'/');
        }
        write_header(&mut out, &entry);
        if entry.kind == Kind::File {
            out.extend_from_slice(&content);
            write_padding(&mut out, content.len() as u64);
        }
    }
    out.extend_from_slice(&END);
    out
}
