//! Plug-ins of the C library and of PAM: found by a name in a file of settings, in a directory that only the base knows.
//!
//! ```text
//! etc/nsswitch.conf   hosts: files mymachines    libnss_mymachines.so.2, where the loader finds libraries
//! etc/pam.d/web       auth required pam_x.so     security/pam_x.so, beside pam_unix.so
//! gconv/X.so          the application's own converter, in the directory that the base's are in
//! ```
//!
//! The interfaces themselves hold from version to version; symbols and libraries of a plug-in are looked at as those of any file.

use std::collections::BTreeSet;

use otoshi_oci::contents::Contents;

use super::facts::{Content, Facts};
use super::finding::Kind;
use super::report::{Report, Seen, absolute};
use super::side::Side;
use super::tree::Found;

/// Plug-ins that lie in a directory of the base's, by the end of that directory and the beginning of their names.
const DIRECTORIES: [(&str, &str, &str); 2] =
    [("PAM", "/security", "pam_"), ("the C library's converters", "/gconv", "")];
/// Services of nsswitch.conf that the C library has itself.
const OWN: [&str; 2] = ["files", "dns"];

pub(super) fn check(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    services(app, old, new, report);
    modules(app, old, new, report);
    directories(app, old, new, report);
}

/// The services that the application's own nsswitch.conf names.
fn services(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    let path: &[u8] = b"etc/nsswitch.conf";
    let Some(Content::Text(text)) = app.files().get(path).map(|node| &node.facts.content) else { return };
    let lines = text.lines().filter_map(|line| line.split('#').next()?.split_once(':'));
    let words: BTreeSet<&str> = lines.flat_map(|(_, services)| services.split_whitespace()).collect();
    let is_name =
        |word: &&str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    for service in words.into_iter().filter(is_name).filter(|service| !OWN.contains(service)) {
        let library = format!("libnss_{service}.so.2");
        if let Some(was) = old.loader.by_name(&library)
            && new.loader.by_name(&library).is_none()
        {
            let text = format!(
                "{} looks accounts and hosts up with {service}, whose {library} is not in the new base",
                absolute(path)
            );
            report.add(Kind::PluginMissing, library, Seen { file: path, was: Some(&was) }, text);
        }
    }
}

/// The modules that the application's own settings of PAM name.
fn modules(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    for (path, node) in app.files() {
        let Content::Text(text) = &node.facts.content else { continue };
        if !path.starts_with(b"etc/pam.d/") && path != b"etc/pam.conf" {
            continue;
        }
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(str::split_whitespace);
        let named: BTreeSet<&str> = words.filter(|word| word.as_bytes().ends_with(b".so")).collect();
        for module in named {
            if let Some(was) = pam(old, module)
                && pam(new, module).is_none()
            {
                let text = format!("{} uses {module}, which is not in the new base", absolute(path));
                report.add(Kind::PluginMissing, module, Seen { file: path, was: Some(&was) }, text);
            }
        }
    }
}

/// The path of a module of PAM: itself, or in the directory of the base's.
fn pam(side: &Side<'_>, module: &str) -> Option<Vec<u8>> {
    let file = |path: &[u8]| side.tree.find(path).filter(Found::is_file).map(|found| found.path);
    if module.starts_with('/') {
        return file(module.as_bytes());
    }
    homes(side, "/security", "pam_")
        .iter()
        .find_map(|home| file(&[home, &b"/"[..], module.as_bytes()].concat()))
}

/// The directories in which the base has plug-ins of a kind.
fn homes(side: &Side<'_>, end: &str, start: &str) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    for path in side.base.contents.files().keys() {
        if let Some((directory, _)) = plugin(path, end, start) {
            found.insert(directory.to_vec());
        }
    }
    found
}

/// The directory and the name of a plug-in of a kind.
fn plugin<'a>(path: &'a [u8], end: &str, start: &str) -> Option<(&'a [u8], &'a [u8])> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    let (directory, name) = (&path[..slash], &path[slash + 1..]);
    let fits =
        directory.ends_with(end.as_bytes()) && name.starts_with(start.as_bytes()) && name.ends_with(b".so");
    fits.then_some((directory, name))
}

/// The application's own plug-ins: in a directory where the base looks for them.
fn directories(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    for (what, end, start) in DIRECTORIES {
        let own = || app.files().keys().filter_map(|path| Some((path, plugin(path, end, start)?.0)));
        if own().next().is_none() {
            continue;
        }
        let real = |side: &Side<'_>, path: &[u8]| side.tree.find(path).map(|found| found.path);
        let of = |side: &Side<'_>| -> BTreeSet<Vec<u8>> {
            homes(side, end, start).iter().filter_map(|home| real(side, home)).collect()
        };
        let (was, is) = (of(old), of(new));
        for (path, home) in own() {
            let looked_at = |side: &Side<'_>, homes: &BTreeSet<Vec<u8>>| {
                real(side, home).is_some_and(|home| homes.contains(&home))
            };
            if looked_at(old, &was) && !looked_at(new, &is) {
                let now: Vec<_> = is.iter().map(|home| absolute(home)).collect();
                let now = if now.is_empty() {
                    "has none".to_owned()
                } else {
                    format!("has them in {}", now.join(", "))
                };
                let text = format!("{} is one of {what}, and the new base {now}", absolute(path));
                report.add(Kind::PluginMissing, absolute(path), Seen { file: path, was: None }, text);
            }
        }
    }
}
