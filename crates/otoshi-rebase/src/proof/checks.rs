//! Scripts, start commands, links, accounts, and what the application's layers hide.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_oci::contents::{Contents, Layer};
use otoshi_oci::tar::Kind as Entry;

use super::facts::{Content, Facts, is_watched};
use super::finding::Kind;
use super::report::{Report, Seen, absolute};
use super::side::Side;
use super::tree::{Found, Tree};

/// Interpreters of scripts, also those that `env` looks up.
pub(super) fn scripts(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    for (path, node) in app.files() {
        let Content::Script(line) = &node.facts.content else { continue };
        for wanted in interpreters(line) {
            let find = |side: &Side<'_>| {
                let found = side.tree.program(wanted, side.path, "/");
                found.map(|found| (found.path, found.is_own))
            };
            if let Some((was, false)) = find(old)
                && find(new).is_none()
            {
                let text = format!(
                    "the script {} is run by {wanted}, which the new base does not have",
                    absolute(path)
                );
                report.add(Kind::InterpreterMissing, wanted, Seen { file: path, was: Some(&was) }, text);
            }
        }
    }
}

/// The programs of a script's first line: the interpreter, and what `env` starts.
fn interpreters(line: &str) -> Vec<&str> {
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return Vec::new() };
    let mut found = vec![first];
    if first.rsplit('/').next() == Some("env") {
        found.extend(words.find(|word| !word.starts_with('-') && !word.contains('=')));
    }
    found
}

/// The program that a container starts, and the one that looks whether it is well.
pub(super) fn commands(old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    let mut programs: BTreeSet<String> = BTreeSet::new();
    let config = new.config;
    let entrypoint = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten());
    programs.extend(entrypoint.take(1).cloned());
    if let Some(check) = &config.healthcheck {
        match check.test.first().map(String::as_str) {
            Some("CMD") => programs.extend(check.test.get(1).cloned()),
            Some("CMD-SHELL") => {
                let shell = config.shell.as_ref().and_then(|shell| shell.first().cloned());
                programs.insert(shell.unwrap_or_else(|| "/bin/sh".to_owned()));
            }
            _ => {}
        }
    }
    for program in programs {
        let find = |side: &Side<'_>| {
            let found = side.tree.program(&program, side.path, &side.config.working_dir)?;
            Some(found.path)
        };
        if let Some(was) = find(old)
            && find(new).is_none()
        {
            let text = format!("the image starts {program}, which is not found on the new base");
            report.add(Kind::CommandMissing, program.clone(), Seen { file: b"", was: Some(&was) }, text);
        }
    }
}

/// Links of the application into the base.
pub(super) fn links(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    for (path, node) in app.files().iter().filter(|(_, node)| node.kind == Entry::Symlink) {
        let of_base = |found: &Found<'_>| !found.is_own;
        if let Some(was) = old.tree.find(path).filter(of_base)
            && new.tree.find(path).is_none()
        {
            let target = String::from_utf8_lossy(&node.link);
            let text = format!(
                "the symbolic link {} points to {target}, which the new base does not have",
                absolute(path)
            );
            report.add(Kind::LinkBroken, absolute(path), Seen { file: path, was: Some(&was.path) }, text);
        }
    }
}

/// The user and group that the image runs as, and the owners of the application's files.
pub(super) fn accounts(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    let (users, groups) = (Accounts::of(old.tree, b"etc/passwd"), Accounts::of(old.tree, b"etc/group"));
    let (new_users, new_groups) =
        (Accounts::of(new.tree, b"etc/passwd"), Accounts::of(new.tree, b"etc/group"));
    let (user, group) = new.config.user.split_once(':').unwrap_or((&new.config.user, ""));
    match (users.numbers.get(user), new_users.numbers.get(user)) {
        (Some(_), None) => {
            let text = format!("the image runs as {user}, and the new base has no such user");
            report.add(Kind::UserMissing, user, Seen { file: b"", was: Some(b"etc/passwd") }, text);
        }
        (Some(was), Some(is)) if was != is => {
            let text =
                format!("the image runs as {user}, whose number was {was} and is {is} in the new base");
            report.add(Kind::UserChanged, user, Seen { file: b"", was: None }, text);
        }
        _ => {}
    }
    let (was, is) = (groups.numbers.get(group), new_groups.numbers.get(group));
    if was.is_some() && was != is {
        let now = is.map_or_else(|| "is gone".to_owned(), |is| format!("is {is}"));
        let text = format!("the image runs as the group {group}, which {now} in the new base");
        report.add(Kind::GroupChanged, group, Seen { file: b"", was: Some(b"etc/group") }, text);
    }
    for (path, node) in app.files() {
        for (id, what, before, after) in
            [(node.facts.uid, "user", &users, &new_users), (node.facts.gid, "group", &groups, &new_groups)]
        {
            let (Some(was), Some(is)) = (before.names.get(&id), after.names.get(&id)) else { continue };
            // The same number under another name is another account, unless the old name is there as well.
            if id != 0 && was.is_disjoint(is) {
                let list = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
                let text = format!(
                    "{} belongs to the {what} {id}, which was {} and is {} in the new base",
                    absolute(path),
                    list(was),
                    list(is)
                );
                report.add(Kind::OwnerChanged, format!("{what}:{id}"), Seen { file: path, was: None }, text);
            }
        }
    }
}

/// The names and numbers of an account file.
struct Accounts<'a> {
    numbers: BTreeMap<&'a str, u32>,
    names: BTreeMap<u32, BTreeSet<&'a str>>,
}

impl<'a> Accounts<'a> {
    fn of(tree: Tree<'a>, path: &[u8]) -> Self {
        let mut found = Self { numbers: BTreeMap::new(), names: BTreeMap::new() };
        for line in tree.text(path).unwrap_or_default().lines() {
            let mut fields = line.split(':');
            if let (Some(name), _, Some(Ok(number))) =
                (fields.next(), fields.next(), fields.next().map(str::parse))
            {
                found.numbers.entry(name).or_insert(number);
                found.names.entry(number).or_default().insert(name);
            }
        }
        found
    }
}

/// Files of the system that the application's layers have, and that the base changed beneath.
pub(super) fn shadows(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    for (path, _) in app.files().iter().filter(|(path, _)| is_watched(path)) {
        let content =
            |side: &Side<'_>| side.base.contents.files().get(path).map(|node| node.facts.content.clone());
        let (was, is) = (content(old), content(new));
        if is.is_some() && was != is {
            let file = absolute(path);
            let text = format!("the application's layers hide {file}, which is different in the new base");
            report.add(Kind::FileShadowed, file, Seen { file: path, was: None }, text);
        }
    }
}

/// Deletions that hit what only the new base has.
pub(super) fn whiteouts(layers: &[&Layer<Facts>], old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    let deleted = layers.iter().flat_map(|layer| layer.deleted().iter().chain(layer.opaque()));
    for path in deleted.collect::<BTreeSet<_>>() {
        let below = if path.is_empty() { Vec::new() } else { [path, &b"/"[..]].concat() };
        let (was, is) = (old.base.contents.files(), new.base.contents.files());
        let newer = is
            .range(below.clone()..)
            .map(|(inner, _)| inner)
            .take_while(|inner| inner.starts_with(&below))
            .chain(is.get_key_value(path).map(|(path, _)| path))
            .find(|inner| !was.contains_key(*inner));
        if let Some(inner) = newer {
            let text = format!(
                "the application's layers delete {}, and with it {}, which the old base did not have",
                absolute(path),
                absolute(inner)
            );
            report.add(Kind::WhiteoutHides, absolute(path), Seen { file: path, was: None }, text);
        }
    }
}

/// Directories that are none any more, as when `/lib` becomes a link.
pub(super) fn kinds(app: &Contents<Facts>, old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    for (path, node) in app.files() {
        let Some(is) = new.base.contents.files().get(path) else { continue };
        let was = old.base.contents.files().get(path);
        if node.is_directory() != is.is_directory()
            && (node.is_directory() || is.is_directory())
            && was.is_none_or(|was| was.is_directory() == node.is_directory())
        {
            let word = |is_directory: bool| if is_directory { "a directory" } else { "something else" };
            let text = format!(
                "the application's layers have {} as {}, and the new base as {}",
                absolute(path),
                word(node.is_directory()),
                word(is.is_directory())
            );
            report.add(Kind::PathChanged, absolute(path), Seen { file: path, was: None }, text);
        }
    }
}
