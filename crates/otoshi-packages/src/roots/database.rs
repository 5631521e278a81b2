//! What dpkg has on record of packages that are unpacked: `status`, `info`, `triggers`.
//!
//! Source of the form: dpkg(1), deb-conffiles(5), deb-triggers(5), and what dpkg itself writes, which the tests compare. dpkg
//! rewrites all of it when it configures packages.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use otoshi_oci::tar::{END, Entry, Kind, write_header, write_padding};

use super::deb::ControlFile;
use super::deb::DebError;
use super::depends::Chosen;
use crate::apt::index::MultiArch;

pub(super) const DIRECTORY: &str = "var/lib/dpkg";

/// A configuration file of a package that was unpacked.
#[derive(Debug, Clone)]
pub(super) struct Conffile {
    /// Its path, from `/` on.
    pub(super) path: String,
    /// The MD5 sum of what is in place, or `None` where dpkg has to decide what that is to be.
    pub(super) sum: Option<String>,
}

/// A package that is unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// What files of it are called by: its name, and its architecture where there may be several of it.
    pub(super) name: String,
    pub(super) control: Vec<ControlFile>,
    /// The paths that it has, in the archive's order, without a slash at the end.
    pub(super) paths: Vec<Vec<u8>>,
    pub(super) conffiles: Vec<Conffile>,
}

/// What files of a package are called by.
pub(super) fn qualified(chosen: &Chosen) -> String {
    let record = &chosen.record;
    if record.multi_arch == MultiArch::Same {
        format!("{}:{}", record.name, record.architecture)
    } else {
        record.name.clone()
    }
}

/// Returns the MD5 sum of something, as dpkg has it.
pub(super) fn md5(content: &[u8]) -> String {
    Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns one of the files of what a package says of itself.
pub(super) fn control<'a>(files: &'a [ControlFile], name: &str) -> Option<&'a ControlFile> {
    files.iter().find(|file| file.name == name)
}

/// Returns the paths that a package calls configuration files.
pub(super) fn conffiles(files: &[ControlFile]) -> Vec<String> {
    let text = control(files, "conffiles").map(|file| String::from_utf8_lossy(&file.content));
    // A line with a flag in front is about a file of earlier versions.
    text.unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

/// Checks that a package is the one that was chosen, and returns what it says of itself, as a paragraph.
pub(super) fn paragraph(chosen: &Chosen, files: &[ControlFile]) -> Result<String, DebError> {
    let text = control(files, "control")
        .and_then(|file| std::str::from_utf8(&file.content).ok())
        .ok_or_else(|| DebError::Form("it has no control file".to_owned()))?;
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let record = &chosen.record;
    let expected = (Some(record.name.as_str()), Some(record.version.as_str()));
    if (field("Package"), field("Version")) != expected {
        return Err(DebError::Form("it is not the package that the index names".to_owned()));
    }
    // What follows an empty line would be another package.
    let end = text.trim_start().find("\n\n").unwrap_or(text.trim_start().len());
    Ok(text.trim_start()[..end].trim_end().to_owned())
}

/// Returns what `status` has of a package that is unpacked.
pub(super) fn status(paragraph: &str, unpacked: &Unpacked) -> String {
    let mut text = format!("{paragraph}\nStatus: install ok unpacked\n");
    if !unpacked.conffiles.is_empty() {
        text += "Conffiles:\n";
        for file in &unpacked.conffiles {
            text += &format!(" {} {}\n", file.path, file.sum.as_deref().unwrap_or("newconffile"));
        }
    }
    text
}

/// Which packages want to know when something happens: by the name of a file in `triggers`, lines.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    named: BTreeMap<String, Vec<String>>,
    /// Paths, and the packages that are interested in them.
    pub(super) paths: Vec<(String, String)>,
}

impl Triggers {
    /// Notes what a package is interested in.
    pub(super) fn add(&mut self, name: &str, files: &[ControlFile]) {
        let Some(file) = control(files, "triggers") else { return };
        for line in String::from_utf8_lossy(&file.content).lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(kind), Some(trigger)) = (words.next(), words.next()) else { continue };
            let who = match kind {
                "interest" | "interest-await" => name.to_owned(),
                "interest-noawait" => format!("{name}/noawait"),
                _ => continue,
            };
            let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
            if trigger.starts_with('/') {
                self.paths.push((trigger.to_owned(), who));
            } else if trigger.bytes().all(plain) && !trigger.starts_with('.') && trigger != "File" {
                self.named.entry(trigger.to_owned()).or_default().push(who);
            }
        }
    }

    /// Returns the files of `triggers`.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let lines = |who: &Vec<String>| who.iter().map(|who| format!("{who}\n")).collect();
        let mut files: Vec<(String, String)> =
            self.named.iter().map(|(name, who)| (name.clone(), lines(who))).collect();
        if !self.paths.is_empty() {
            files.push((
                "File".into(),
                self.paths.iter().map(|(path, who)| format!("{path} {who}\n")).collect(),
            ));
        }
        files
    }
}

/// An archive of files to be put into a root.
#[derive(Debug, Default)]
pub(super) struct Files(Vec<u8>);

impl Files {
    pub(super) fn directory(&mut self, path: &str) {
        write_header(&mut self.0, &Entry::new(format!("{path}/"), Kind::Directory, 0o755));
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        let mut entry = Entry::new(path, Kind::Symlink, 0o777);
        entry.link = target.into();
        write_header(&mut self.0, &entry);
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.owned(path, (mode, 0, 0), content);
    }

    /// Puts a file of this mode, owner and group.
    pub(super) fn owned(&mut self, path: &str, (mode, uid, gid): (u32, u32, u32), content: &[u8]) {
        let mut entry = Entry::new(path, Kind::File, mode);
        (entry.uid, entry.gid) = (uid, gid);
        entry.size = content.len() as u64;
        write_header(&mut self.0, &entry);
        self.0.extend_from_slice(content);
        write_padding(&mut self.0, entry.size);
    }

    /// Puts what dpkg keeps of a package beside its record.
    pub(super) fn info(&mut self, unpacked: &Unpacked) {
        let name = &unpacked.name;
        for file in unpacked.control.iter().filter(|file| file.name != "control") {
            self.file(&format!("{DIRECTORY}/info/{name}.{}", file.name), file.mode, &file.content);
        }
        self.file(&format!("{DIRECTORY}/info/{name}.list"), 0o644, &list(&unpacked.paths));
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&END);
        self.0
    }
}

/// The list of a package's paths.
fn list(paths: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for path in paths {
        text.push(b'/');
        text.extend_from_slice(if path.is_empty() { b"." } else { path });
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apt::index::Record;

    fn file(name: &str, content: &str) -> ControlFile {
        ControlFile { name: name.into(), mode: 0o644, content: content.into() }
    }

    #[test]
    fn a_package_is_on_record_once_and_as_itself() {
        let record = Record { name: "a".into(), version: "1".into(), ..Record::default() };
        let chosen = Chosen { record, suite: 0 };
        let two = [file("control", "Package: a\nVersion: 1\n\nPackage: evil\nVersion: 1\n")];
        assert_eq!(paragraph(&chosen, &two).unwrap(), "Package: a\nVersion: 1");
        assert!(paragraph(&chosen, &[file("control", "Package: b\nVersion: 1\n")]).is_err());
        let unpacked = Unpacked {
            name: "a".into(),
            control: Vec::new(),
            paths: Vec::new(),
            conffiles: vec![
                Conffile { path: "/etc/a".into(), sum: Some(md5(b"")) },
                Conffile { path: "/etc/b".into(), sum: None },
            ],
        };
        assert_eq!(
            status("Package: a", &unpacked),
            "Package: a\nStatus: install ok unpacked\nConffiles:\n /etc/a d41d8cd98f00b204e9800998ecf8427e\n /etc/b newconffile\n"
        );
    }

    #[test]
    fn interests_become_files_of_their_own_and_no_others() {
        let mut triggers = Triggers::default();
        let text = "# none\ninterest-noawait /usr/share/x\ninterest ldconfig\ninterest ../../etc/passwd\nactivate y\n";
        triggers.add("a", &[file("triggers", text)]);
        triggers.add("b", &[file("triggers", "interest-noawait ldconfig")]);
        assert_eq!(
            triggers.files(),
            [
                ("ldconfig".into(), "a\nb/noawait\n".into()),
                ("File".into(), "/usr/share/x a/noawait\n".to_owned())
            ]
        );
    }
}
