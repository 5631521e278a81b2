//! Programs and libraries: loaders, libraries, versions and symbols.

use otoshi_oci::contents::Contents;

use super::elf::{Elf, hash};
use super::facts::{Content, Facts};
use super::finding::Kind;
use super::loader::Scope;
use super::report::{Report, Seen, absolute};
use super::side::Side;

pub(super) fn check(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    for (path, node) in app.files() {
        match &node.facts.content {
            Content::Elf(elf) => file(path, elf, old, new, report),
            Content::Unread(reason) => {
                let text = format!("{} cannot be read: {reason}", absolute(path));
                report.add(Kind::Unreadable, absolute(path), Seen { file: path, was: None }, text);
            }
            _ => {}
        }
    }
}

fn file(path: &[u8], elf: &Elf, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    if elf.interp.is_none() && elf.needed.is_empty() && elf.imports.0.is_empty() {
        return;
    }
    let needs = absolute(path);
    let (before, after) = (old.loader.scope(path, elf, true), new.loader.scope(path, elf, true));
    libc(path, &before, &after, report);
    if let Some(interp) = &elf.interp
        && let Some(was) = old.tree.find(interp.as_bytes())
        && new.tree.find(interp.as_bytes()).is_none()
    {
        let text = format!("{needs} is started by {interp}, which the new base does not have");
        report.add(Kind::LoaderMissing, interp.clone(), Seen { file: path, was: Some(&was.path) }, text);
    }
    for (name, by) in &after.missing {
        if let Some(was) = before.named(name) {
            let by = if by == path { String::new() } else { format!(" through {}", absolute(by)) };
            let near = near(name, new).map(|near| format!(", which has {near}")).unwrap_or_default();
            let text = format!("{needs} needs {name}{by}, and it is not in the new base{near}");
            report.add(Kind::SonameMissing, name.clone(), Seen { file: path, was: Some(&was.path) }, text);
        }
    }
    for (library, version) in &elf.versions_needed {
        let (Some(was), Some(is)) = (before.named(library), after.named(library)) else { continue };
        let defined = |elf: &Elf| elf.versions.is_empty() || elf.versions.contains(version);
        if defined(was.elf) && !defined(is.elf) {
            let text =
                format!("{needs} needs {version} of {library}, which {} does not define", absolute(&is.path));
            report.add(
                Kind::VersionMissing,
                version.clone(),
                Seen { file: path, was: Some(&was.path) },
                text,
            );
        }
    }
    symbols(path, elf, (&before, &after), (old, new), report);
}

/// Tells of a change of the C library once, by what it is.
fn libc(path: &[u8], before: &Scope<'_>, after: &Scope<'_>, report: &mut Report) {
    let own = |name: &str| name == "libc.so.6" || name == "libc.so" || name.starts_with("libc.musl-");
    let kind = |name: &str| if name == "libc.so.6" { "glibc" } else { "musl" };
    let Some((name, _)) = after.missing.iter().find(|(name, _)| own(name)) else { return };
    let Some(was) = before.named(name).filter(|was| !was.is_own) else { return };
    let text = format!("{} is linked with {}, which the new base does not have", absolute(path), kind(name));
    report.add(Kind::LibcChanged, kind(name), Seen { file: path, was: Some(&was.path) }, text);
}

fn symbols(
    path: &[u8],
    elf: &Elf,
    (before, after): (&Scope<'_>, &Scope<'_>),
    (old, new): (&Side<'_>, &Side<'_>),
    report: &mut Report,
) {
    // Where a library is gone, so are its symbols.
    let is_whole = after.missing.iter().all(|(name, _)| before.named(name).is_none());
    for symbol in elf.imports() {
        let plain = symbol.split(|byte| *byte == b'@').next().unwrap_or(symbol);
        // A library without versions answers to every version.
        let defines = |elf: &Elf| {
            elf.defines(symbol) || elf.versions.is_empty() && plain.len() < symbol.len() && elf.defines(plain)
        };
        let was = before.files.iter().find(|file| defines(file.elf));
        let (was, is_gone) = match was {
            Some(was) if was.is_own || !is_whole => continue,
            Some(was) => (Some(&was.path[..]), !after.files.iter().any(|file| defines(file.elf))),
            // What the program that loads a library defines.
            None if elf.interp.is_none() => {
                let wanted = hash(symbol);
                (None, old.base.exports().contains(&wanted) && !new.base.exports().contains(&wanted))
            }
            None => continue,
        };
        let name = String::from_utf8_lossy(symbol);
        let version = name.split_once('@').map(|(_, version)| version);
        if is_gone && !version.is_some_and(|version| report.has(Kind::VersionMissing, version)) {
            let text =
                format!("{} needs the symbol {name}, which no library defines any more", absolute(path));
            report.add(Kind::SymbolMissing, name.clone(), Seen { file: path, was }, text);
        }
    }
}

/// A library of another version, in the new base.
fn near(name: &str, new: &Side<'_>) -> Option<String> {
    let (stem, _) = name.split_once(".so")?;
    let stem = format!("{stem}.so");
    let names = new.base.contents.files().keys().filter_map(|path| {
        let last = path.rsplit(|byte| *byte == b'/').next()?;
        last.starts_with(stem.as_bytes()).then(|| String::from_utf8_lossy(last).into_owned())
    });
    names.min_by_key(String::len)
}
