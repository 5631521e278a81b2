//! All devices that this machine describes, and which of them a name stands for.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use otoshi_dockerfile::truth;

use super::{
    description::{Description, Device, Edits},
    document::Texts,
};
use crate::EngineError;

/// Where devices are described. What a later directory says of a device counts. Source: BuildKit's `docs/cdi.md`.
pub const DEVICE_DIRECTORIES: [&str; 3] = ["/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi"];

/// Annotations of a device, or of all devices in its file.
const AUTO_ALLOW: &str = "org.mobyproject.buildkit.device.autoallow";
const CLASS: &str = "org.mobyproject.buildkit.device.class";

/// A description that is larger is not one.
const LARGEST: u64 = 4 << 20;

/// One file, and what it says of all its devices.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    annotations: Texts,
    edits: Edits,
}

/// One device of this machine.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// As in `vendor.com/class=name`.
    pub(super) name: String,
    source: Arc<Source>,
    device: Device,
}

impl Found {
    /// The file that describes it.
    pub(super) fn path(&self) -> &Path {
        &self.source.path
    }

    /// What all devices of its file change of a container, and what it changes itself.
    pub(super) fn edits(&self) -> (&Edits, &Edits) {
        (&self.source.edits, &self.device.container_edits)
    }

    /// Whether two devices are described in one file.
    pub(super) fn is_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        let own = self.device.annotations.get(name);
        own.or_else(|| self.source.annotations.get(name)).map(String::as_str)
    }

    /// Whether it may be used without being asked for.
    pub(super) fn is_auto_allowed(&self) -> bool {
        self.annotation(AUTO_ALLOW).and_then(truth) == Some(true)
    }
}

/// The devices of this machine, and what is wrong with their descriptions.
#[derive(Debug, Default)]
pub(super) struct HostDevices {
    /// By name, with the place of its directory; no device where two files of one directory describe it.
    devices: BTreeMap<String, (usize, Option<Found>)>,
    /// Files, each with what is wrong with it.
    broken: Vec<String>,
}

impl HostDevices {
    /// Reads all descriptions; what a later directory says of a device counts.
    pub(super) fn read<P: AsRef<Path>>(directories: &[P]) -> Self {
        let mut host = Self::default();
        for (place, directory) in directories.iter().enumerate() {
            let directory = directory.as_ref();
            match files(directory) {
                Ok(files) => files.into_iter().for_each(|file| host.add(file, place)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => host.broken.push(format!("{}: {error}", directory.display())),
            }
        }
        host
    }

    fn add(&mut self, path: PathBuf, place: usize) {
        let description = match description(&path) {
            Ok(description) => description,
            Err(reason) => return self.broken.push(format!("{}: {reason}", path.display())),
        };
        let Description { kind, annotations, devices, container_edits: edits, .. } = description;
        let source = Arc::new(Source { path, annotations, edits });
        for device in devices {
            let name = format!("{kind}={}", device.name);
            let found = Found { name: name.clone(), source: Arc::clone(&source), device };
            let doubled = self.devices.get(&name).filter(|(other, _)| *other == place);
            let found = match doubled {
                None => Some(found),
                Some((_, other)) => {
                    let one = source.path.display();
                    let with = other
                        .as_ref()
                        .map_or("another file".into(), |other| other.path().display().to_string());
                    self.broken.push(format!("{one}: {with} describes the device {name}, too"));
                    None
                }
            };
            self.devices.insert(name, (place, found));
        }
    }

    /// What is wrong with descriptions; each names its file.
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }

    /// The devices that a name stands for: `vendor.com/class=name` for one, `vendor.com/class=*` for all of the class,
    /// `vendor.com/class` for the first of them, and otherwise those that an annotation gives that class.
    pub(super) fn find(&self, wanted: &str) -> Vec<&Found> {
        let all = || self.devices.values().filter_map(|(_, found)| found.as_ref());
        let (kind, name) = wanted.split_once('=').unwrap_or((wanted, ""));
        let is_of_kind = |found: &&Found| found.name.split_once('=').is_some_and(|(of, _)| of == kind);
        let is_kind =
            kind.split_once('/').is_some_and(|(vendor, class)| !vendor.is_empty() && !class.is_empty());
        let mut found: Vec<&Found> = match name {
            _ if !is_kind => Vec::new(),
            "" => all().find(is_of_kind).into_iter().collect(),
            "*" => all().filter(is_of_kind).collect(),
            _ => all().filter(|found| found.name == wanted).collect(),
        };
        if found.is_empty() {
            found.extend(all().filter(|found| found.annotation(CLASS) == Some(wanted)));
        }
        found
    }

    /// The devices that a step asks for, each once.
    ///
    /// Fails where one must be there and is not, and where it may be in a file that cannot be read.
    pub(super) fn asked<'a>(
        &self,
        asked: impl Iterator<Item = (&'a str, bool)>,
    ) -> Result<Vec<&Found>, EngineError> {
        let mut all: Vec<&Found> = Vec::new();
        for (name, is_required) in asked {
            let found = self.find(name);
            if found.is_empty() && (is_required || !self.broken.is_empty()) {
                return Err(self.missing(name));
            }
            for found in found {
                if all.iter().all(|other| other.name != found.name) {
                    all.push(found);
                }
            }
        }
        Ok(all)
    }

    fn missing(&self, name: &str) -> EngineError {
        let known: Vec<&str> = self.devices.keys().map(String::as_str).collect();
        let hint = if !self.broken.is_empty() {
            self.broken.join("; ")
        } else if known.is_empty() {
            format!("no devices are described in {}", DEVICE_DIRECTORIES.join(", "))
        } else {
            format!("there are {}", known.join(", "))
        };
        let message = match self.broken.len() {
            0 => format!("no device {name:?} on this machine"),
            1 => format!("no device {name:?} on this machine, where a description of devices is broken"),
            n => {
                format!("no device {name:?} on this machine, where {n} descriptions of devices are broken")
            }
        };
        EngineError::Invalid { message, hint: Some(hint.into()) }
    }
}

/// The files of a directory that can be descriptions, by name.
fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json" || extension == "yaml")
            && !path.is_dir()
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn description(path: &Path) -> Result<Description, String> {
    let mut text = String::new();
    // Not to wait for somebody to write where it is a pipe.
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|error| error.to_string())?;
    let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read as u64 > LARGEST {
        return Err(format!("it is larger than {} MiB", LARGEST >> 20));
    }
    Description::read(&text, path.extension().is_some_and(|extension| extension == "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str, kind: &str, devices: &[(&str, &str)]) {
        let devices: Vec<String> = devices
            .iter()
            .map(|(name, class)| {
                let class = if class.is_empty() { String::new() } else { format!("{CLASS}: {class}") };
                format!("{{name: {name}, annotations: {{{class}}}, containerEdits: {{env: [A=b]}}}}")
            })
            .collect();
        fs::create_dir_all(directory).unwrap();
        let text = format!("cdiVersion: 0.6.0\nkind: {kind}\ndevices: [{}]\n", devices.join(", "));
        fs::write(directory.join(name), text).unwrap();
    }

    fn names(found: &[&Found]) -> Vec<String> {
        found.iter().map(|found| found.name.clone()).collect()
    }

    #[test]
    fn a_name_stands_for_one_device_or_several() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        write(at, "a.yaml", "vendor.test/device", &[("foo", ""), ("bar", "class1"), ("baz", "class1")]);
        write(at, "b.yaml", "vendor.test/other", &[("qux", "vendor.test/none")]);
        write(at, "ignored.yml", "vendor.test/third", &[("a", "")]);
        let host = HostDevices::read(&[at, Path::new("/nonexistent")]);
        assert_eq!(host.broken(), [""; 0]);
        for (wanted, found) in [
            ("vendor.test/device=foo", &["vendor.test/device=foo"][..]),
            ("vendor.test/device", &["vendor.test/device=bar"]),
            ("vendor.test/device=", &["vendor.test/device=bar"]),
            (
                "vendor.test/device=*",
                &["vendor.test/device=bar", "vendor.test/device=baz", "vendor.test/device=foo"],
            ),
            ("class1", &["vendor.test/device=bar", "vendor.test/device=baz"]),
            ("vendor.test/none", &["vendor.test/other=qux"]),
            ("vendor.test/devic", &[]),
            ("vendor.test/device=f", &[]),
            ("vendor.test/third=a", &[]),
            ("device", &[]),
            ("", &[]),
        ] {
            assert_eq!(names(&host.find(wanted)), found, "{wanted}");
        }
        let asked = [("class1", true), ("vendor.test/device=*", false), ("vendor.test/x=y", false)];
        let all = ["vendor.test/device=bar", "vendor.test/device=baz", "vendor.test/device=foo"];
        assert_eq!(names(&host.asked(asked.into_iter()).unwrap()), all);
        let error = host.asked([("vendor.test/x=y", true)].into_iter()).unwrap_err();
        assert_eq!(error.to_string(), "no device \"vendor.test/x=y\" on this machine");
    }

    #[test]
    fn a_later_directory_counts_and_two_files_of_one_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("first"), directory.path().join("second"));
        write(&first, "a.yaml", "vendor.test/device", &[("foo", "first"), ("bar", "")]);
        write(&first, "b.yaml", "vendor.test/device", &[("bar", ""), ("twice", "")]);
        write(&first, "c.yaml", "vendor.test/device", &[("bar", "")]);
        write(&second, "a.yaml", "vendor.test/device", &[("foo", "second")]);
        let host = HostDevices::read(&[&first, &second]);
        assert_eq!(names(&host.find("first")), [""; 0]);
        assert_eq!(names(&host.find("second")), ["vendor.test/device=foo"]);
        assert_eq!(names(&host.find("vendor.test/device=bar")), [""; 0]);
        let error = host.asked([("vendor.test/device=bar", false)].into_iter()).unwrap_err();
        let EngineError::Invalid { hint: Some(otoshi_explain::Remedy::Words(hint)), .. } = error else {
            panic!("{error:?}")
        };
        let file = first.join("b.yaml");
        assert!(hint.starts_with(&format!("{}: ", file.display())), "{hint}");
        assert_eq!(host.broken().len(), 2);
        // Where the later directory has it, it is there.
        write(&second, "b.yaml", "vendor.test/device", &[("bar", "")]);
        let host = HostDevices::read(&[&first, &second]);
        assert_eq!(names(&host.find("vendor.test/device=bar")), ["vendor.test/device=bar"]);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        write(at, "good.yaml", "vendor.test/device", &[("foo", "")]);
        fs::write(at.join("bytes.yaml"), b"\xff\xfe").unwrap();
        fs::write(at.join("broken.json"), "{\"cdiVersion\": ").unwrap();
        fs::write(at.join("large.yaml"), "#".repeat(5 << 20)).unwrap();
        std::os::unix::fs::symlink("nowhere", at.join("link.yaml")).unwrap();
        fs::create_dir(at.join("directory.yaml")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at.join("pipe.yaml"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let host = HostDevices::read(&[at, &at.join("good.yaml")]);
        let broken: Vec<&str> = host
            .broken()
            .iter()
            .map(|text| text.strip_prefix(&format!("{}/", at.display())).unwrap())
            .collect();
        let starts = [
            "broken.json: EOF while parsing",
            "bytes.yaml: stream did not contain valid UTF-8",
            "large.yaml: it is larger than 4 MiB",
            "link.yaml: No such file",
            "pipe.yaml: it is empty",
            "good.yaml: Not a directory",
        ];
        assert_eq!(broken.len(), starts.len(), "{broken:?}");
        for (text, start) in broken.iter().zip(starts) {
            assert!(text.starts_with(start), "{text}");
        }
        // What is there can be used all the same.
        assert_eq!(host.asked([("vendor.test/device=foo", true)].into_iter()).unwrap().len(), 1);
        assert!(host.asked([("vendor.test/device=bar", false)].into_iter()).is_err());
    }
}
