//! An image's accounts: what USER, WORKDIR, `--chown` and a process mean by names and numbers.
//!
//! ```text
//! USER, a process    a name must be there; groups are the own one and those that list the name, or the one that is said
//! HOME               that of the first account with the number; `/` where there is none
//! --chown            a name must be there; a number alone is the group's number as well
//! WORKDIR            the same, and a name that is not there is root: only a RUN needs it
//! ```
//!
//! So it is with BuildKit and runc.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::rootfs;
use crate::EngineError;

/// The largest file of accounts that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// An account as a process has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, the own one first.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// The texts of `/etc/passwd` and `/etc/group`; an absent one is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

/// The name in a file of accounts that is most like another one.
fn near<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    otoshi_dockerfile::suggest(name, fields(text).map(|line| line[0]))
}

/// The error of a name that has no line in a file of accounts.
fn absent(what: &str, name: &str, file: &str, text: &str) -> EngineError {
    let create = || format!("create the {what} in an earlier step, or give a number");
    let hint = near(text, name).map_or_else(create, |near| format!("did you mean {near:?}?"));
    EngineError::Invalid {
        message: format!("no {what} {name:?} in the image's /etc/{file}"),
        hint: Some(hint.into()),
    }
}

impl Accounts {
    /// Reads them in a tree.
    pub(crate) fn in_tree(root: &Path) -> Self {
        Self { passwd: rootfs::read(root, "etc/passwd"), group: rootfs::read(root, "etc/group") }
    }

    /// Reads them in layers, the topmost first, without merging these; `None` where a link or something unusual is in the way.
    pub(crate) fn in_layers(layers: &[PathBuf]) -> Option<Self> {
        Some(Self { passwd: in_layers(layers, "passwd")?, group: in_layers(layers, "group")? })
    }

    /// Looks up `USER` syntax: `name`, `uid`, `name:group`, `uid:gid`; empty is root.
    pub(crate) fn process(&self, spec: &str) -> Result<Account, EngineError> {
        let (user, group) = parts(spec);
        let user = if user.is_empty() { "0" } else { user };
        let line = self.user(user);
        let (uid, own) = match (&line, user.parse::<u32>()) {
            (Some(line), _) => (id(line.get(2), user)?, id(line.get(3), user)?),
            (None, Ok(uid)) => (uid, 0),
            (None, Err(_)) => {
                return Err(absent("user", user, "passwd", &self.passwd));
            }
        };
        let gid = group.map_or(Ok(own), |group| self.group_id(group))?;
        let mut groups = vec![gid];
        if let (None, Some(line)) = (group, &line) {
            let lists = |group: &Vec<&str>| {
                group.get(3).is_some_and(|names| names.split(',').any(|name| name == line[0]))
            };
            let further =
                fields(&self.group).filter(lists).filter_map(|group| group.get(2)?.parse::<u32>().ok());
            groups.extend(further.filter(|further| *further != gid));
        }
        let home = fields(&self.passwd).find(|line| line.get(2).and_then(|id| id.parse().ok()) == Some(uid));
        let home = home.and_then(|line| line.get(5).copied()).filter(|home| !home.is_empty());
        Ok(Account { uid, gid, groups, home: home.unwrap_or("/").to_owned() })
    }

    /// Looks up `--chown` syntax.
    pub(crate) fn owner(&self, spec: &str) -> Result<(u32, u32), EngineError> {
        if let Ok(number) = spec.parse::<u32>() {
            return Ok((number, number));
        }
        let account = self.process(spec)?;
        // Unlike with USER, no group after the colon is root's.
        let gid = if spec.ends_with(':') { 0 } else { account.gid };
        Ok((account.uid, gid))
    }

    /// The owner of a directory that WORKDIR makes for a user; a name that is not there is root.
    pub(crate) fn workdir_owner(&self, spec: &str) -> (u32, u32) {
        let (user, group) = parts(spec);
        let (uid, own) = match (user.parse::<u32>(), self.user(user)) {
            (Ok(number), _) => (number, number),
            (Err(_), Some(line)) => {
                (id(line.get(2), user).unwrap_or_default(), id(line.get(3), user).unwrap_or_default())
            }
            (Err(_), None) => (0, 0),
        };
        (uid, group.and_then(|group| self.group_id(group).ok()).unwrap_or(own))
    }

    /// The user whose name is most like this one, when one's is like it at all.
    pub(crate) fn near_user(&self, name: &str) -> Option<&str> {
        near(&self.passwd, name)
    }

    /// The line of a user. A number is one, even where an account has it as its name.
    fn user(&self, user: &str) -> Option<Vec<&str>> {
        let number = user.parse::<u32>().ok();
        fields(&self.passwd).find(|line| match number {
            Some(_) => line.get(2).and_then(|id| id.parse().ok()) == number,
            None => line[0] == user,
        })
    }

    fn group_id(&self, group: &str) -> Result<u32, EngineError> {
        if let Ok(number) = group.parse() {
            return Ok(number);
        }
        match fields(&self.group).find(|line| line[0] == group) {
            Some(line) => id(line.get(2), group),
            None => Err(absent("group", group, "group", &self.group)),
        }
    }
}

/// The user, and the group where one is said: nothing after the colon is none.
fn parts(spec: &str) -> (&str, Option<&str>) {
    let (user, group) = spec.split_once(':').unwrap_or((spec, ""));
    (user, Some(group).filter(|group| !group.is_empty()))
}

fn id(text: Option<&&str>, name: &str) -> Result<u32, EngineError> {
    text.and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| EngineError::invalid(format!("the image's account {name:?} has no numeric id")))
}

fn fields(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| line.split(':').collect())
}

/// A file of `/etc` as the topmost layer that has a word about it has it.
fn in_layers(layers: &[PathBuf], name: &str) -> Option<String> {
    for layer in layers {
        let etc = layer.join("etc");
        let meta = match fs::symlink_metadata(&etc) {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(_) => return None,
        };
        if is_whiteout(&meta) {
            return Some(String::new());
        }
        if !meta.is_dir() {
            return None;
        }
        let path = etc.join(name);
        match fs::symlink_metadata(&path) {
            Ok(meta) if is_whiteout(&meta) => return Some(String::new()),
            // An empty file may be a mark as well.
            Ok(meta) if meta.is_file() && meta.len() > 0 => return read(&path),
            Ok(_) => return None,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => return None,
        }
        if is_opaque(&etc) {
            return Some(String::new());
        }
    }
    Some(String::new())
}

fn read(path: &Path) -> Option<String> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let mut bytes = Vec::new();
    File::from(file.ok()?).take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_whiteout(meta: &fs::Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].into_iter().any(|name| {
        let mut value = [0; 1];
        rustix::fs::lgetxattr(path, name, &mut value[..]).is_ok_and(|size| size == 1 && value == *b"y")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn accounts() -> Accounts {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nsame:x:1000:7::/other:\n";
        let group = "root:x:0:\napp:x:1001:\nextra:x:50:app,other\nwheel:x:10:root,app\n";
        Accounts { passwd: passwd.into(), group: group.into() }
    }

    #[test]
    fn processes_by_name_number_and_group() {
        let known = accounts();
        let app = Account { uid: 1000, gid: 1001, groups: vec![1001, 50, 10], home: "/home/app".into() };
        assert_eq!(known.process("app").unwrap(), app);
        assert_eq!(known.process("1000").unwrap(), app);
        assert_eq!(known.process("app:").unwrap(), app, "no group is said");
        let said = Account { gid: 50, groups: vec![50], ..app };
        assert_eq!(known.process("app:extra").unwrap(), said);
        let root = Account { uid: 0, gid: 0, groups: vec![0, 10], home: "/root".into() };
        for spec in ["", "0", "root"] {
            assert_eq!(known.process(spec).unwrap(), root, "{spec:?}");
        }
        let number = Account { uid: 77, gid: 88, groups: vec![88], home: "/".into() };
        assert_eq!(known.process("77:88").unwrap(), number);
        assert_eq!(known.process("same").unwrap().home, "/home/app", "the home is looked up by the number");
        assert!(known.process("nobody").is_err() && known.process("app:nobody").is_err());
        // Without root's line the number still is root, and the name is nobody.
        let bare = Accounts::default();
        let root = Account { uid: 0, gid: 0, groups: vec![0], home: "/".into() };
        assert_eq!(bare.process("").unwrap(), root);
        assert!(bare.process("root").is_err());
    }

    #[test]
    fn owners_of_what_is_copied_and_of_working_directories() {
        let known = accounts();
        assert_eq!(known.owner("55").unwrap(), (55, 55));
        assert_eq!(known.owner("app").unwrap(), (1000, 1001));
        assert_eq!(known.owner("app:").unwrap(), (1000, 0));
        assert!(known.owner("nobody").is_err());
        for (spec, owner) in [
            ("", (0, 0)),
            ("1000", (1000, 1000)),
            ("app", (1000, 1001)),
            ("app:extra", (1000, 50)),
            ("app:", (1000, 1001)),
            ("4242", (4242, 4242)),
            ("nobody", (0, 0)),
            ("nobody:extra", (0, 50)),
            ("app:nobody", (1000, 1001)),
            (":extra", (0, 50)),
        ] {
            assert_eq!(known.workdir_owner(spec), owner, "{spec:?}");
        }
    }

    #[test]
    fn files_are_read_in_layers_without_merging_them() {
        let dir = tempfile::tempdir().unwrap();
        let layer = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join("etc")).unwrap();
            path
        };
        let (top, below, other) = (layer("top"), layer("below"), layer("other"));
        fs::write(below.join("etc/passwd"), "below").unwrap();
        fs::write(other.join("etc/passwd"), "other").unwrap();
        fs::write(other.join("etc/group"), "groups").unwrap();
        let all = [top.clone(), below.clone(), other.clone()];
        assert_eq!(
            Accounts::in_layers(&all),
            Some(Accounts { passwd: "below".into(), group: "groups".into() })
        );
        assert_eq!(Accounts::in_layers(&[]), Some(Accounts::default()));
        symlink("../somewhere", top.join("etc/passwd")).unwrap();
        assert_eq!(Accounts::in_layers(&all), None, "a link needs the whole tree");
    }
}
