//! Lists of mirrors: one address a line, or a metalink, which says as well what `repomd.xml` must be.

use super::repomd::Checksum;
use super::xml::{Element, Elements, walk};

/// How many mirrors are tried.
const MOST: usize = 3;

/// Holds a metalink's word about a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Metalink {
    /// Addresses of the repository, the best first.
    pub(super) addresses: Vec<String>,
    /// The hashes that `repomd.xml` may have: the newest, and those of states that mirrors may still have.
    pub(super) checksums: Vec<Checksum>,
}

/// Reads a list of mirrors; lines that are no address are passed over.
pub(super) fn list(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| is_address(line));
    lines.map(|line| line.trim_end_matches('/').to_owned()).take(MOST).collect()
}

/// Reads a metalink; fails with what is wrong with it.
pub(super) fn metalink(bytes: &[u8]) -> Result<Metalink, String> {
    let mut reading = Reading::default();
    walk(bytes, &mut reading)?;
    reading.found.sort_by_key(|(preference, _)| std::cmp::Reverse(*preference));
    // Sent in the clear, anybody on the way could hold it back.
    let secure = reading.found.iter().any(|(_, address)| address.starts_with("https://"));
    let addresses = reading.found.into_iter().map(|(_, address)| address);
    let addresses =
        addresses.filter(|address| !secure || address.starts_with("https://")).take(MOST).collect();
    Ok(Metalink { addresses, checksums: reading.checksums })
}

fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

#[derive(Debug, Default)]
struct Reading {
    found: Vec<(u32, String)>,
    checksums: Vec<Checksum>,
    is_repomd: bool,
    kind: String,
    preference: u32,
}

impl Elements for Reading {
    fn start(&mut self, path: &str, element: &Element<'_>) -> Result<(), String> {
        match path {
            "/metalink/files/file" => {
                self.is_repomd = element.attribute("name").as_deref() == Some("repomd.xml");
            }
            "/metalink/files/file/resources/url" => {
                self.preference =
                    element.attribute("preference").and_then(|text| text.parse().ok()).unwrap_or_default();
            }
            path if path.ends_with("/verification/hash") => {
                self.kind = element.attribute("type").unwrap_or_default();
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, path: &str, text: &str) -> Result<(), String> {
        if !self.is_repomd {
            return Ok(());
        }
        if path == "/metalink/files/file/resources/url" {
            if let Some(address) = text.strip_suffix("/repodata/repomd.xml").filter(|text| is_address(text))
                && self.found.len() < 1000
            {
                self.found.push((self.preference, address.to_owned()));
            }
        } else if path.ends_with("/verification/hash") && self.checksums.len() < 1000 {
            self.checksums.extend(Checksum::new(&self.kind, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{list, metalink};

    #[test]
    fn mirrors_come_in_order() {
        assert_eq!(
            list("# a\nhttps://a.test/x/\nftp://b.test\nhttp://c.test\n"),
            ["https://a.test/x", "http://c.test"]
        );
        let text = "<metalink><files><file name=\"repomd.xml\"><mm0:alternates><mm0:alternate><verification>\
            <hash type=\"sha256\">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</hash></verification>\
            </mm0:alternate></mm0:alternates><verification><hash type=\"md5\">0</hash></verification><resources>\
            <url preference=\"10\">https://b.test/r/repodata/repomd.xml</url>\
            <url preference=\"100\">https://a.test/r/repodata/repomd.xml</url>\
            <url preference=\"100\">http://c.test/r/repodata/repomd.xml</url>\
            <url preference=\"100\">rsync://d.test/r/repodata/repomd.xml</url></resources></file></files></metalink>";
        let found = metalink(text.as_bytes()).unwrap();
        assert_eq!(found.addresses, ["https://a.test/r", "https://b.test/r"]);
        assert_eq!(found.checksums.len(), 1);
    }
}
