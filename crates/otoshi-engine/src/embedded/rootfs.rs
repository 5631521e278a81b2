//! Looking into an image's tree: paths resolved inside it, accounts read from it.
//!
//! The tree comes from elsewhere and may hold symbolic links to anywhere; none of them is followed out of its root.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::EngineError;

/// Follows symbolic links in `path` as a process would that has `root` as its root directory.
///
/// The result is relative to `root` and may name something that is not there.
pub(crate) fn resolve(root: &Path, path: &Path) -> Result<PathBuf, EngineError> {
    let mut todo: Vec<PathBuf> = components(path);
    let mut done = PathBuf::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == Path::new("..") {
            done.pop();
            continue;
        }
        done.push(&part);
        let here = root.join(&done);
        let Ok(meta) = fs::symlink_metadata(&here) else { continue };
        if meta.file_type().is_symlink() {
            links += 1;
            if links > 40 {
                return Err(EngineError::invalid(format!("too many symbolic links in {}", path.display())));
            }
            let target = fs::read_link(&here).map_err(EngineError::io("reading the link", &here))?;
            done.pop();
            if target.is_absolute() {
                done = PathBuf::new();
            }
            todo.extend(components(&target));
        }
    }
    Ok(done)
}

/// The components of a path, the last first; `..` stands for itself, the root and `.` are left out.
fn components(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut parts: Vec<PathBuf> = parts.collect();
    parts.reverse();
    parts
}

/// Joins an absolute or relative path to a working directory, without looking at any disk.
pub(crate) fn absolute(cwd: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// An account as a process has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Looks up `USER` syntax: `name`, `uid`, `name:group`, `uid:gid`; empty is root.
pub(crate) fn account(root: &Path, spec: &str) -> Result<Account, EngineError> {
    let (user, group) = spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let passwd = read(root, "etc/passwd");
    let groups = read(root, "etc/group");
    let number = user.parse::<u32>().ok();
    // A number is one, even where an account has it as its name.
    let line = fields(&passwd).find(|line| match number {
        Some(_) => line.get(2).and_then(|id| id.parse().ok()) == number,
        None => line[0] == user,
    });
    let mut account = match (&line, number) {
        (Some(line), _) => Account {
            uid: parse_id(line.get(2).copied(), user)?,
            gid: parse_id(line.get(3).copied(), user)?,
            groups: Vec::new(),
            home: line.get(5).copied().unwrap_or("/").to_owned(),
        },
        (None, Some(uid)) => {
            Account { uid, home: if uid == 0 { "/root" } else { "/" }.into(), ..Account::default() }
        }
        (None, None) => {
            return Err(EngineError::Invalid {
                message: format!("no user {user:?} in the image's /etc/passwd"),
                hint: Some("create the user in an earlier step, or give a number".into()),
            });
        }
    };
    if let Some(group) = group {
        account.gid = group_id(&groups, group)?;
    } else if let Some(line) = line {
        let is_member = |group: &Vec<&str>| {
            group.get(3).is_some_and(|names| names.split(',').any(|name| name == line[0]))
        };
        account.groups =
            fields(&groups).filter(is_member).filter_map(|group| group.get(2)?.parse().ok()).collect();
    }
    Ok(account)
}

/// Looks up `--chown` syntax: as [`account`], but a lone user number is also the group's number.
pub(crate) fn owner(root: &Path, spec: &str) -> Result<(u32, u32), EngineError> {
    let account = account(root, spec)?;
    if let (Ok(id), false) = (spec.parse::<u32>(), spec.contains(':')) {
        return Ok((id, id));
    }
    Ok((account.uid, account.gid))
}

fn group_id(groups: &str, group: &str) -> Result<u32, EngineError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    match fields(groups).find(|line| line[0] == group) {
        Some(line) => parse_id(line.get(2).copied(), group),
        None => Err(EngineError::Invalid {
            message: format!("no group {group:?} in the image's /etc/group"),
            hint: Some("create the group in an earlier step, or give a number".into()),
        }),
    }
}

fn parse_id(text: Option<&str>, name: &str) -> Result<u32, EngineError> {
    text.and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| EngineError::invalid(format!("the image's account {name:?} has no number")))
}

fn fields(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| line.split(':').collect())
}

/// Reads a small file of the image; an absent one is empty.
pub(crate) fn read(root: &Path, path: &str) -> String {
    let Ok(found) = resolve(root, Path::new(path)) else { return String::new() };
    let path = root.join(found);
    match fs::metadata(&path) {
        Ok(meta) if meta.is_file() && meta.len() <= 16 << 20 => {
            fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_never_lead_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("etc")).unwrap();
        symlink("/etc", root.join("abs")).unwrap();
        symlink("../../../../etc", root.join("etc/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(resolve(root, Path::new("/abs/passwd")).unwrap(), Path::new("etc/passwd"));
        assert_eq!(resolve(root, Path::new("etc/up/passwd")).unwrap(), Path::new("etc/passwd"));
        assert_eq!(resolve(root, Path::new("../../x")).unwrap(), Path::new("x"));
        assert!(resolve(root, Path::new("loop")).is_err());
    }

    #[test]
    fn accounts_by_name_number_and_group() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
        )
        .unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\napp:x:1001:\nextra:x:50:app,other\n").unwrap();
        let app = Account { uid: 1000, gid: 1001, groups: vec![50], home: "/home/app".into() };
        assert_eq!(account(root, "app").unwrap(), app);
        assert_eq!(account(root, "1000").unwrap(), app);
        assert_eq!(account(root, "app:extra").unwrap(), Account { gid: 50, groups: vec![], ..app });
        assert_eq!(account(root, "77:88").unwrap().gid, 88);
        assert_eq!(account(root, "").unwrap().home, "/root");
        assert!(account(root, "nobody").is_err());
        assert_eq!(owner(root, "55").unwrap(), (55, 55));
        assert_eq!(owner(root, "app").unwrap(), (1000, 1001));
    }

    #[test]
    fn working_directories_join() {
        assert_eq!(absolute("/a", "b/../c/."), "/a/c");
        assert_eq!(absolute("/a", "/b//c/"), "/b/c");
        assert_eq!(absolute("/", "../.."), "/");
    }
}
