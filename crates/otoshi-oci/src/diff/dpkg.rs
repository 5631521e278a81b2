//! The packages that dpkg's status file names, read while the file streams by.
//!
//! Format: deb-control(5); a distroless image has a file of the same form for each package in `status.d`.

use std::collections::BTreeMap;

/// Bytes of a line that are kept: names and versions are shorter.
const LINE: usize = 4096;
/// The most packages that are kept of one file.
const MOST: usize = 100_000;

/// Says whether a path is a file of this form.
pub(super) fn is_status(path: &[u8]) -> bool {
    path == b"var/lib/dpkg/status"
        || path
            .strip_prefix(b"var/lib/dpkg/status.d/")
            .is_some_and(|name| !name.ends_with(b".md5sums") && !name.contains(&b'/'))
}

/// Takes the file's bytes.
#[derive(Debug, Default)]
pub(super) struct Status {
    line: Vec<u8>,
    name: Option<String>,
    architecture: Option<String>,
    version: Option<String>,
    absent: bool,
    packages: BTreeMap<String, String>,
}

impl Status {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = LINE.saturating_sub(self.line.len()).min(text.len());
            self.line.extend_from_slice(&text[..room]);
            if ends {
                self.end_line();
            }
        }
    }

    pub(super) fn finish(mut self) -> BTreeMap<String, String> {
        self.end_line();
        self.end_paragraph();
        self.packages
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            self.end_paragraph();
        } else if let Some((field, value)) = line.split_once(':') {
            let value = value.trim().to_owned();
            match field {
                "Package" => self.name = Some(value),
                "Architecture" => self.architecture = Some(value),
                "Version" => self.version = Some(value),
                "Status" => self.absent = !value.ends_with(" installed"),
                _ => {}
            }
        }
    }

    fn end_paragraph(&mut self) {
        let (name, architecture, version) = (self.name.take(), self.architecture.take(), self.version.take());
        let absent = std::mem::take(&mut self.absent);
        if let (Some(name), Some(version), false) = (name, version, absent)
            && self.packages.len() < MOST
        {
            let name = architecture.map_or(name.clone(), |architecture| format!("{name}:{architecture}"));
            self.packages.insert(name, version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn installed_packages_have_a_version() {
        let text = "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1:2-3\n Version: no\n\n\
                    Package: b\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: c\nVersion: 4";
        let mut status = Status::default();
        // However the bytes come.
        text.as_bytes().chunks(7).for_each(|chunk| status.update(chunk));
        let found: Vec<_> = status.finish().into_iter().collect();
        assert_eq!(found, [("a:all".to_owned(), "1:2-3".to_owned()), ("c".to_owned(), "4".to_owned())]);
    }
}
