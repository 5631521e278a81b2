//! `primary.xml`: the packages of a repository, of which a few words each are kept, a line for each package.
//!
//! ```text
//! NAME <tab> ARCHITECTURE <tab> [EPOCH:]VERSION-RELEASE
//! ```
//!
//! Source: createrepo_c's schema `primary.rng`.

use std::fmt::Write as _;
use std::io::BufRead;

use super::xml::{Element, Elements, walk};

/// The most bytes of the short form: a million packages and more.
const LARGEST: usize = 256 << 20;

/// A version of a package in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The name.
    pub(super) name: &'a str,
    /// The architecture.
    pub(super) architecture: &'a str,
    /// Epoch (where it is not zero), version and release.
    pub(super) version: &'a str,
}

/// Brings the file into the short form; fails with what is wrong with it.
pub(super) fn reduce(source: impl BufRead) -> Result<String, String> {
    let mut reading = Reading::default();
    walk(source, &mut reading)?;
    if !reading.seen {
        return Err("it is not a list of packages".to_owned());
    }
    Ok(reading.lines)
}

/// Reads a line of the short form.
pub(super) fn record(line: &str) -> Option<Record<'_>> {
    let mut parts = line.split('\t');
    Some(Record { name: parts.next()?, architecture: parts.next()?, version: parts.next()? })
}

/// Epoch, version and release as rpm writes them.
pub(super) fn evr(epoch: Option<&str>, version: &str, release: &str) -> String {
    match epoch {
        None | Some("" | "0") => format!("{version}-{release}"),
        Some(epoch) => format!("{epoch}:{version}-{release}"),
    }
}

#[derive(Debug, Default)]
struct Reading {
    lines: String,
    seen: bool,
    name: String,
    architecture: String,
    version: String,
}

impl Elements for Reading {
    fn start(&mut self, path: &str, element: &Element<'_>) -> Result<(), String> {
        match path {
            "/metadata" => self.seen = true,
            "/metadata/package" => {
                for field in [&mut self.name, &mut self.architecture, &mut self.version] {
                    field.clear();
                }
            }
            "/metadata/package/version" => {
                let part = |name| element.attribute(name).unwrap_or_default();
                self.version = evr(element.attribute("epoch").as_deref(), &part("ver"), &part("rel"));
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, path: &str, text: &str) -> Result<(), String> {
        match path {
            "/metadata/package/name" => text.clone_into(&mut self.name),
            "/metadata/package/arch" => text.clone_into(&mut self.architecture),
            "/metadata/package" => {
                let fields = [&self.name, &self.architecture, &self.version];
                let odd = fields.iter().any(|field| field.contains(['\t', '\n']));
                if odd || fields.iter().any(|field| field.is_empty()) {
                    return Err(format!(
                        "the package {:?} lacks its name, architecture or version",
                        self.name
                    ));
                }
                let [name, architecture, version] = fields;
                // Writing to a string does not fail.
                let _ = writeln!(self.lines, "{name}\t{architecture}\t{version}");
                if self.lines.len() > LARGEST {
                    return Err("it has too many packages".to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{record, reduce};

    #[test]
    fn a_package_is_a_line() {
        let text = "<metadata xmlns:rpm=\"r\"><package type=\"rpm\"><name>a</name><arch>noarch</arch>\
                    <version epoch=\"1\" ver=\"2\" rel=\"3\"/><summary>&lt;name&gt;</summary>\
                    <format><rpm:sourcerpm>s-2-3.src.rpm</rpm:sourcerpm><rpm:provides><rpm:entry name=\"x\"/>\
                    </rpm:provides></format></package></metadata>";
        let lines = reduce(text.as_bytes()).unwrap();
        assert_eq!(lines, "a\tnoarch\t1:2-3\n");
        assert_eq!(record(lines.trim_end()).unwrap().version, "1:2-3");
        assert!(reduce(&text.as_bytes()[..60]).is_err());
        assert!(reduce(&b"<metadata><package><name>a</name></package></metadata>"[..]).is_err());
    }
}
