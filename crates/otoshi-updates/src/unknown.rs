//! What was looked at and not understood: packages that nobody here reads, packages that nothing is there to compare with, tags of
//! a form that says nothing, a base that cannot be named. It is told with the reason, and never counts as fresh.

use otoshi_packages::{Available, Installed, Manager};

use crate::{
    kind::Verdict,
    outside::Outside,
    report::{Looked, Unknown, UnknownKind},
    subject::Subject,
    tag::{Form, Unclear},
};

/// A package of each package manager that every distribution with it has: one in none of an image's repositories says that these
/// are not the distribution's.
const FOUNDATIONS: [(Manager, &[&str]); 3] = [
    (Manager::Dpkg, &["base-files", "dpkg", "libc6"]),
    (Manager::Apk, &["alpine-baselayout", "apk-tools", "musl", "glibc", "wolfi-baselayout"]),
    (Manager::Rpm, &["filesystem", "glibc", "rpm", "setup"]),
];

/// Why something is not known, before anybody says of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    kind: UnknownKind,
    text: String,
    hint: Option<String>,
}

impl Reason {
    fn new(kind: UnknownKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), hint: None }
    }

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Of the base that an image names, which is no reference.
    pub(crate) fn base(name: &str) -> Self {
        Self::new(UnknownKind::Base, format!("the base that it names, {name:?}, is not an image reference"))
    }
}

/// Says whether an image has nothing that something could be newer than: no packages, and no distribution or C library that would be
/// of some.
pub(crate) fn is_bare(installed: &Installed) -> bool {
    installed.manager.is_none()
        && installed.packages.is_empty()
        && installed.unread.is_empty()
        && installed.os.is_none()
        && !names_one(installed)
        && installed.loader().is_none()
}

/// Says whether a file names a distribution, beside os-release.
fn names_one(installed: &Installed) -> bool {
    let paths = ["etc/debian_version", "etc/alpine-release", "etc/redhat-release"];
    paths.iter().any(|path| installed.files.get(path).is_some())
}

/// Why what is installed in an image is not known, or not all of it.
pub(crate) fn of_packages(installed: &Installed) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for unread in &installed.unread {
        let name = unread.manager;
        let text = match &unread.path {
            Some(path) => format!("it has {name} packages, whose record (/{path}) Otoshi does not read"),
            None => {
                format!("it has {name} packages besides others, and only one package manager's are compared")
            }
        };
        reasons.push(Reason::new(UnknownKind::Packages, text));
    }
    if reasons.is_empty() && installed.packages.is_empty() && !is_bare(installed) {
        let os = installed.os.as_ref();
        let os = os.map(|os| os.pretty_name.clone().unwrap_or_else(|| os.id.clone()));
        let is_named = os.is_some() || names_one(installed);
        let whose =
            os.map_or_else(|| "it is of a distribution".to_owned(), |os| format!("it says it is {os}"));
        let text = match (installed.manager, installed.loader()) {
            (Some(_), _) if !is_named => "its package database is empty".to_owned(),
            (Some(_), _) => format!("{whose}, but its package database is empty"),
            (None, Some(loader)) if !is_named => {
                format!("it has a C library (/{loader}), and no record of the package that it is from")
            }
            (None, _) => format!("{whose}, but it has no package database"),
        };
        let hint = "keep the package manager's database in the image";
        reasons.push(Reason::new(UnknownKind::Packages, text).with_hint(hint));
    }
    reasons
}

/// Why packages cannot be compared with what repositories have, though these were asked.
pub(crate) fn of_repositories(manager: Manager, looked: &Looked, is_configured: bool) -> Option<Reason> {
    let (foreign, all) = (looked.foreign.len(), looked.packages);
    if all == 0 || foreign == 0 {
        return None;
    }
    if !is_configured {
        let text = format!(
            "it has no package repository configured, so there was nothing to compare its packages ({all}) with"
        );
        let hint = "keep the distribution's sources in the image, or name a base that has them";
        return Some(Reason::new(UnknownKind::Repositories, text).with_hint(hint));
    }
    let of_manager = FOUNDATIONS.iter().find(|(of, _)| *of == manager).map_or(&[][..], |(_, names)| names);
    let foundation = looked.foreign.iter().find(|name| of_manager.contains(&name.as_str()));
    let text = match foundation {
        Some(name) => {
            format!("{foreign} of its {all} packages are in none of its repositories, {name} among them")
        }
        None if foreign * 2 > all => {
            format!("{foreign} of its {all} packages are in none of its repositories")
        }
        None => return None,
    };
    let hint = "the sources of its distribution may be missing or commented out";
    Some(Reason::new(UnknownKind::Repositories, text).with_hint(hint))
}

/// Says whether an image is configured to use any repository, as far as that could be read.
pub(crate) fn is_configured(available: &Available) -> bool {
    available.has_any() || !available.failures().is_empty()
}

/// Why nothing is known of what is newer than a tag.
pub(crate) fn of_tag(tag: &str, form: Form) -> Option<Reason> {
    let text = match form {
        Form::Series | Form::Floating => return None,
        Form::Commit => {
            format!("the tag {tag} names a commit or a build, and it is unknown which tag comes after it")
        }
        Form::Unclear => {
            format!("the form of the tag {tag} is not understood, so nothing is known of its series")
        }
    };
    Some(Reason::new(UnknownKind::Tags, text).with_hint(IGNORE))
}

/// Why it is not known whether anything is newer than a tag, though there is something that may be.
pub(crate) fn of_newer(tag: &str, unclear: &Unclear) -> Reason {
    let text = match unclear {
        Unclear::Form(other) => format!(
            "nothing newer has the form of the tag {tag}, and it is unknown whether {other}, which has another form, comes after it"
        ),
        Unclear::Variant(other) => format!(
            "nothing newer has the variant of the tag {tag}, and the repository goes on without it, up to {other}"
        ),
    };
    Reason::new(UnknownKind::Tags, text).with_hint(IGNORE)
}

/// Why nothing is known of what is newer than an image that is named by its digest alone.
pub(crate) fn of_digest() -> Reason {
    let text = "it is pinned by digest without a tag, so it is unknown what is newer";
    Reason::new(UnknownKind::Tags, text).with_hint("name its tag as well, as in NAME:TAG@DIGEST")
}

const IGNORE: &str = "list it in [check] ignore if it is meant to be so";

impl Outside<'_> {
    /// Says of what something is not known, and what `[check]` says to that.
    pub(crate) fn unknown(&self, subject: &Subject, reason: Reason) -> Unknown {
        let Verdict { state, because, until, .. } = self.verdict(&[&subject.name, &subject.reference]);
        let Reason { kind, text, hint } = reason;
        let Subject { name, reference, roles } = subject.clone();
        Unknown { kind, state, name, reference, roles, because, until, text, hint }
    }
}

#[cfg(test)]
mod tests {
    use otoshi_packages::Files;

    use super::*;

    fn image(files: &[(&str, &str)]) -> Installed {
        let mut all = Files::new();
        for (path, text) in files {
            all.insert(path, text.as_bytes().to_vec());
        }
        Installed::of(all).unwrap()
    }

    fn texts(installed: &Installed) -> Vec<String> {
        of_packages(installed).into_iter().map(|reason| reason.text).collect()
    }

    #[test]
    fn nothing_at_all_is_bare_and_anything_else_without_packages_is_not_known() {
        let nothing = image(&[("etc/passwd", "root:x:0:0::/:/bin/sh\n")]);
        assert!(is_bare(&nothing) && of_packages(&nothing).is_empty());
        let os = ("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
        for (files, expected) in [
            (vec![os], "it says it is Debian GNU/Linux 12 (bookworm), but it has no package database"),
            (
                vec![os, ("var/lib/dpkg/status", "")],
                "it says it is Debian GNU/Linux 12 (bookworm), but its package database is empty",
            ),
            (
                vec![("etc/alpine-release", "3.20.0\n")],
                "it is of a distribution, but it has no package database",
            ),
            (
                vec![("var/lib/pacman/local/ALPM_DB_VERSION", "9\n")],
                "it has pacman packages, whose record (/var/lib/pacman/local/ALPM_DB_VERSION) Otoshi does not read",
            ),
            (
                vec![("usr/lib/opkg/status", "Package: x\n")],
                "it has opkg packages, whose record (/usr/lib/opkg/status) Otoshi does not read",
            ),
            (
                vec![("nix/store/0c5c8ynhkhmgksvnz5cvsm80dvy2pcz8-openssl-3.0.13", "")],
                "it has Nix packages, whose record (/nix/store) Otoshi does not read",
            ),
            (
                vec![("opt/conda/conda-meta/numpy-2.1.1-py312h58c1407_0.json", "{}")],
                "it has conda packages, whose record (/opt/conda/conda-meta) Otoshi does not read",
            ),
            (
                vec![("srv/env/conda-meta/openssl-3.3.2-hb9d3cd8_0.json", "{}")],
                "it has conda packages, whose record (/srv/env/conda-meta) Otoshi does not read",
            ),
            (
                vec![("lib64/ld-linux-x86-64.so.2", "")],
                "it has a C library (/lib64/ld-linux-x86-64.so.2), and no record of the package that it is from",
            ),
            (vec![("lib/apk/db/installed", "")], "its package database is empty"),
            (vec![("var/lib/rpm/rpmdb.sqlite", "")], "its package database is empty"),
        ] {
            let installed = image(&files);
            assert!(!is_bare(&installed), "{files:?}");
            assert_eq!(texts(&installed), [expected]);
        }
        let package = "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n";
        assert_eq!(texts(&image(&[os, ("var/lib/dpkg/status", package)])), [""; 0]);
        let two = image(&[("var/lib/dpkg/status", package), ("lib/apk/db/installed", "P:b\nV:1\nA:x\n")]);
        assert_eq!(
            texts(&two),
            ["it has apk packages besides others, and only one package manager's are compared"]
        );
    }

    #[test]
    fn packages_that_were_compared_with_nothing_are_not_known() {
        let looked = |foreign: &[&str], packages| Looked {
            name: String::new(),
            reference: String::new(),
            digest: String::new(),
            roles: Vec::new(),
            base: None,
            distribution: None,
            packages,
            foreign: foreign.iter().map(ToString::to_string).collect(),
            unknown: Vec::new(),
        };
        let is_known = |foreign: &[&str], packages, configured| {
            of_repositories(Manager::Dpkg, &looked(foreign, packages), configured).is_none()
        };
        assert!(is_known(&[], 3, true) && is_known(&["mine"], 3, true) && is_known(&[], 0, false));
        assert!(!is_known(&["a", "b", "c"], 3, false));
        assert!(!is_known(&["a", "b"], 3, true), "most of them");
        assert!(!is_known(&["libc6"], 100, true), "what every image of Debian has");
        assert!(is_known(&["glibc"], 100, true), "that is rpm's");
    }
}
