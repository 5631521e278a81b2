//! Files of packages → a root.
//!
//! Packages are read and decompressed on all cores and unpacked in their order, one after the other, so that what two of them
//! say differently comes out the same each time. As with dpkg:
//!
//! - A directory that is there stays as it is, and so does a link that leads to one: `lib/x` goes to `usr/lib/x`.
//! - A file that is in two packages is an error, unless one of them says that it replaces the other; that one has it then.
//! - A file that is diverted goes where the diversion says, for all packages but the one that diverts it.
//! - A configuration file that is there already is left to dpkg, beside the package's own with `.dpkg-new` behind its name.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::thread;

use otoshi_oci::layer::{OverlayXattrs, UnpackOptions, unpack_layer};
use otoshi_oci::tar::{END, Kind, Reader, write_header, write_padding};
use otoshi_sandbox::{Privilege, privilege};

use super::database::{self, Conffile, Unpacked, control, md5, paragraph, qualified};
use super::deb::read_data;
use super::deb::{ControlFile, Deb, DebError};
use super::depends::{Chosen, replaces};
use super::distroless::merged;
use super::error::{RootError, conflict, named};
use super::inside::Inside;

/// Where a file goes instead, and the package whose own is not meant.
pub(super) type Diversions = HashMap<Vec<u8>, (Vec<u8>, String)>;

/// A package's file, read: what it says of itself, and the archive of its files.
struct Opened {
    control: Vec<ControlFile>,
    data: Vec<u8>,
}

/// Puts files into a root.
#[derive(Debug)]
pub(super) struct Unpacking<'a> {
    root: &'a Path,
    /// Whether documentation and translations are left out.
    slim: bool,
    /// Which package has a file.
    owners: BTreeMap<Vec<u8>, Rc<Chosen>>,
    /// Files that another package has taken over: that of the name, and the path.
    pub(super) taken: Vec<(String, Vec<u8>)>,
}

/// What is in a root already.
#[derive(Clone, Copy)]
pub(super) struct There<'a> {
    pub(super) inside: &'a Inside,
    pub(super) diversions: &'a Diversions,
    /// Whether nothing is: these are the first packages.
    pub(super) first: bool,
}

impl<'a> Unpacking<'a> {
    pub(super) fn new(root: &'a Path, slim: bool) -> Self {
        Self { root, slim, owners: BTreeMap::new(), taken: Vec::new() }
    }

    /// Unpacks packages in their order, and returns for each what dpkg is to have on record, and its paragraph.
    pub(super) fn packages(
        &mut self,
        packages: &[(Chosen, PathBuf)],
        there: There<'_>,
    ) -> Result<Vec<(String, Unpacked)>, RootError> {
        let mut done = Vec::with_capacity(packages.len());
        in_order(packages, open, |chosen, opened| {
            done.push(self.package(chosen, opened?, there)?);
            Ok(())
        })?;
        Ok(done)
    }

    /// Puts an archive of our own into the root.
    pub(super) fn files(&self, what: &str, archive: &[u8]) -> Result<(), RootError> {
        let in_userns = matches!(privilege(), Privilege::UserNamespace { .. });
        let options = UnpackOptions {
            xattr_namespace: if in_userns { OverlayXattrs::User } else { OverlayXattrs::Trusted },
            layer_name: what.to_owned(),
            in_userns,
            whiteouts: false,
            keep_directories: true,
            ..UnpackOptions::default()
        };
        match unpack_layer(archive, self.root, &options) {
            Ok(_) => Ok(()),
            Err(reason) => Err(RootError::Unpack { package: what.to_owned(), reason }),
        }
    }

    fn package(
        &mut self,
        chosen: &Chosen,
        opened: Opened,
        there: There<'_>,
    ) -> Result<(String, Unpacked), RootError> {
        let There { inside, diversions, first } = there;
        let (package, owner) = (named(&chosen.record), Rc::new(chosen.clone()));
        let wrong = |reason: DebError| RootError::Package { package: package.clone(), reason };
        let paragraph = paragraph(chosen, &opened.control).map_err(wrong)?;
        let listed = database::conffiles(&opened.control);
        let mut unpacked = Unpacked {
            name: qualified(chosen),
            paths: Vec::new(),
            conffiles: Vec::new(),
            control: opened.control,
        };
        let mut sums: HashMap<String, Option<String>> = HashMap::new();
        let mut out = Vec::with_capacity(opened.data.len());
        let mut reader = Reader::new(&opened.data[..]);
        while let Some(mut entry) = reader.next_entry().map_err(|error| wrong(error.into()))? {
            let content = read_data(&mut reader).map_err(wrong)?;
            let path = plain(&entry.name).map_err(wrong)?;
            unpacked.paths.push(path.clone());
            if path.is_empty() {
                continue;
            }
            if entry.sparse.is_some() || matches!(entry.kind, Kind::Char { .. } | Kind::Block { .. }) {
                let reason = format!("{} is a device, or stored as a sparse file", entry.display_name());
                return Err(wrong(DebError::Form(reason)));
            }
            if self.slim && is_left_out(&path, entry.kind) {
                continue;
            }
            entry.name.clone_from(&path);
            if entry.kind == Kind::HardLink {
                entry.link = plain(&entry.link).map_err(wrong)?;
                divert(&mut entry.link, chosen, diversions);
            }
            if entry.kind == Kind::Directory {
                entry.name.push(b'/');
            } else {
                divert(&mut entry.name, chosen, diversions);
                if !self.takes(&entry.name, &owner)? {
                    continue;
                }
            }
            let shown = format!("/{}", String::from_utf8_lossy(&path));
            if entry.kind == Kind::File && listed.contains(&shown) {
                let is_there = !first && inside.has(&entry.name);
                if is_there {
                    entry.name.extend_from_slice(b".dpkg-new");
                }
                sums.insert(shown, (!is_there).then(|| md5(&content)));
            }
            write_header(&mut out, &entry);
            if entry.kind == Kind::File {
                out.extend_from_slice(&content);
                write_padding(&mut out, entry.size);
            }
        }
        out.extend_from_slice(&END);
        drop(opened.data);
        self.files(&package, &out)?;
        let known = listed.into_iter().filter_map(|path| Some((sums.remove(&path)?, path)));
        unpacked.conffiles = known.map(|(sum, path)| Conffile { path, sum }).collect();
        if control(&unpacked.control, "md5sums").is_none() {
            tracing::debug!(package, "it has no sums of its files");
        }
        Ok((paragraph, unpacked))
    }

    /// Says whether a file is this package's to have.
    fn takes(&mut self, path: &[u8], chosen: &Rc<Chosen>) -> Result<bool, RootError> {
        let place =
            merged(path).map_err(|reason| RootError::Package { package: named(&chosen.record), reason })?;
        if let Some(other) = self.owners.get(&place).filter(|other| other.record.name != chosen.record.name) {
            if replaces(&chosen.record, &other.record) {
                self.taken.push((qualified(other), path.to_vec()));
            } else if replaces(&other.record, &chosen.record) {
                self.taken.push((qualified(chosen), path.to_vec()));
                return Ok(false);
            } else {
                return Err(conflict(&chosen.record, &other.record, path));
            }
        }
        self.owners.insert(place, Rc::clone(chosen));
        Ok(true)
    }
}

fn divert(path: &mut Vec<u8>, chosen: &Chosen, diversions: &Diversions) {
    if let Some((instead, who)) = diversions.get(path)
        && *who != chosen.record.name
    {
        path.clone_from(instead);
    }
}

/// Reads `diversions`: in three lines each, a path, where it goes, and the package that diverts it.
pub(super) fn diversions(text: &str) -> Diversions {
    let lines: Vec<&str> = text.lines().collect();
    let below = |path: &str| path.trim_start_matches('/').as_bytes().to_vec();
    lines
        .as_chunks::<3>()
        .0
        .iter()
        .map(|[from, to, who]| (below(from), (below(to), (*who).to_owned())))
        .collect()
}

/// A path without `./` and without a slash at its end.
fn plain(path: &[u8]) -> Result<Vec<u8>, DebError> {
    let parts: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) || path.contains(&b'\n') {
        return Err(DebError::Form(format!("the path {} is not valid", path.escape_ascii())));
    }
    Ok(parts.join(&b'/'))
}

/// What dpkg is told to leave out, as in Debian's own slim images: everything below these directories.
pub(super) const LEFT_OUT: [&str; 3] = ["usr/share/info/", "usr/share/locale/", "usr/share/man/"];
/// Below this directory, everything but licences.
pub(super) const DOCUMENTATION: &str = "usr/share/doc/";

/// Says whether dpkg would leave a path out. It keeps directories that may hold what it does not leave out.
fn is_left_out(path: &[u8], kind: Kind) -> bool {
    if LEFT_OUT.iter().any(|directory| path.starts_with(directory.as_bytes())) {
        return true;
    }
    path.starts_with(DOCUMENTATION.as_bytes())
        && !path.ends_with(b"/copyright")
        && !matches!(kind, Kind::Directory | Kind::Symlink)
}

fn open(chosen: &Chosen, path: &Path) -> Result<Opened, RootError> {
    let bytes = fs::read(path).map_err(|source| RootError::Kept { path: path.to_owned(), source })?;
    let read = || {
        let deb = Deb::parse(&bytes)?;
        Ok(Opened { control: deb.control_files()?, data: deb.data()? })
    };
    read().map_err(|reason| RootError::Package { package: named(&chosen.record), reason })
}

/// Makes something of each package on all cores, and takes the results in the packages' order; few are held at a time.
fn in_order<T: Send>(
    packages: &[(Chosen, PathBuf)],
    make: impl Fn(&Chosen, &Path) -> T + Sync,
    mut take: impl FnMut(&Chosen, T) -> Result<(), RootError>,
) -> Result<(), RootError> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(packages.len());
    thread::scope(|scope| {
        let make = &make;
        let mut results = Vec::with_capacity(threads);
        for first in 0..threads {
            let (sender, receiver) = sync_channel(1);
            results.push(receiver);
            scope.spawn(move || {
                for (chosen, path) in packages.iter().skip(first).step_by(threads) {
                    // Nobody wants more after an error.
                    if sender.send(make(chosen, path)).is_err() {
                        break;
                    }
                }
            });
        }
        for (at, (chosen, _)) in packages.iter().enumerate() {
            // A thread that panicked is joined, and its panic goes on, at the end of the scope.
            let Ok(made) = results[at % threads].recv() else { break };
            take(chosen, made)?;
        }
        drop(results);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diversions_are_read_in_threes() {
        let read = diversions("/bin/sh\n/bin/sh.distrib\ndash\n/a\n");
        assert_eq!(read[&b"bin/sh"[..].to_vec()], (b"bin/sh.distrib".to_vec(), "dash".to_owned()));
        assert_eq!(read.len(), 1);
    }

    #[test]
    fn a_slim_root_has_licences_and_no_manuals() {
        for (path, kind, left_out) in [
            ("usr/share/doc/a/copyright", Kind::File, false),
            ("usr/share/doc/a/changelog.gz", Kind::File, true),
            ("usr/share/doc/a", Kind::Directory, false),
            ("usr/share/man", Kind::Directory, false),
            ("usr/share/man/man1", Kind::Directory, true),
            ("usr/share/manual", Kind::File, false),
        ] {
            assert_eq!(is_left_out(path.as_bytes(), kind), left_out, "{path}");
        }
    }

    #[test]
    fn paths_that_lead_up_are_refused() {
        assert_eq!(plain(b"./usr//bin/").unwrap(), b"usr/bin");
        assert!(plain(b"./../etc/passwd").is_err());
        assert!(plain(b"a\nb").is_err());
    }
}
