//! `updateinfo.xml`: notices about updates, of which those for security are kept, a line for each package that they fix.
//!
//! ```text
//! NAME <tab> ARCHITECTURE <tab> [EPOCH:]VERSION-RELEASE
//! ```
//!
//! Source: what libcreaterepo_c reads and writes (`cr_xml_parse_updateinfo`).

use std::fmt::Write as _;
use std::io::BufRead;

use super::primary::evr;
use super::xml::{Element, Elements, walk};

/// The most bytes of the short form.
const LARGEST: usize = 32 << 20;

/// Brings the file into the short form; fails with what is wrong with it.
pub(super) fn reduce(source: impl BufRead) -> Result<String, String> {
    let mut reading = Reading::default();
    walk(source, &mut reading)?;
    Ok(reading.lines)
}

#[derive(Debug, Default)]
struct Reading {
    lines: String,
    is_security: bool,
}

impl Elements for Reading {
    fn start(&mut self, path: &str, element: &Element<'_>) -> Result<(), String> {
        match path {
            "/updates/update" => self.is_security = element.attribute("type").as_deref() == Some("security"),
            "/updates/update/pkglist/collection/package" if self.is_security => {
                let part = |name| element.attribute(name).unwrap_or_default();
                let version = evr(element.attribute("epoch").as_deref(), &part("version"), &part("release"));
                let (name, architecture) = (part("name"), part("arch"));
                if ![&name, &architecture, &version].iter().any(|field| field.contains(['\t', '\n'])) {
                    // Writing to a string does not fail.
                    let _ = writeln!(self.lines, "{name}\t{architecture}\t{version}");
                }
                if self.lines.len() > LARGEST {
                    return Err("it has too many notices".to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::reduce;

    #[test]
    fn notices_of_security_count() {
        let update = |kind, name| {
            format!(
                "<update type=\"{kind}\"><id>X</id><pkglist><collection><package name=\"{name}\" epoch=\"0\" \
                 version=\"1\" release=\"2\" arch=\"x86_64\"><filename>f</filename></package></collection></pkglist></update>"
            )
        };
        let text = format!("<updates>{}{}</updates>", update("security", "a"), update("bugfix", "b"));
        assert_eq!(reduce(text.as_bytes()).unwrap(), "a\tx86_64\t1-2\n");
    }
}
