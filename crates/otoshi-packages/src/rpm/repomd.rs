//! `repodata/repomd.xml`: which files a repository's metadata are, with their hashes.
//!
//! Source: createrepo_c's schema `repomd.rng`.

use std::collections::BTreeMap;

use otoshi_oci::{Algorithm, Digest, Hasher};

use super::xml::{Element, Elements, walk};

/// The most files that are listed.
const MOST: usize = 200;

/// Holds what a repository lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Repomd {
    /// The files by type, as `primary` or `modules`.
    pub(super) files: BTreeMap<String, Listed>,
}

/// A file that a repository lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its place, relative to the repository's address.
    pub(super) href: String,
    /// Its hash as it is sent.
    pub(super) checksum: Checksum,
    /// Its size as it is sent, in bytes; `None` where it is not said.
    pub(super) size: Option<u64>,
}

/// A hash that can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) Digest);

impl Checksum {
    /// Reads a hash; fails for one that can be forged, or is not known.
    pub(super) fn new(kind: &str, hex: &str) -> Result<Self, String> {
        match kind {
            "sha256" | "sha512" => format!("{kind}:{hex}")
                .parse()
                .map(Self)
                .map_err(|error: otoshi_oci::DigestError| error.to_string()),
            "sha" | "sha1" | "md5" => Err(format!("it lists files by {kind}, which can be forged")),
            other => Err(format!("it lists files by {other:?}, which is not known")),
        }
    }

    /// Says whether some bytes have it.
    pub(super) fn is_of(&self, bytes: &[u8]) -> bool {
        let mut hasher = match self.0.algorithm() {
            Algorithm::Sha256 => Hasher::sha256(),
            Algorithm::Sha512 => Hasher::new(Algorithm::Sha512),
        };
        hasher.update(bytes);
        hasher.finish() == self.0
    }
}

impl Repomd {
    /// Reads the file; fails with what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reading = Reading::default();
        walk(bytes, &mut reading)?;
        if !reading.seen {
            return Err("it is not a list of a repository's files".to_owned());
        }
        Ok(reading.repomd)
    }
}

#[derive(Debug, Default)]
struct Reading {
    repomd: Repomd,
    seen: bool,
    kind: String,
    href: String,
    checksum_kind: String,
    checksum: String,
    size: Option<u64>,
}

impl Elements for Reading {
    fn start(&mut self, path: &str, element: &Element<'_>) -> Result<(), String> {
        match path {
            "/repomd" => self.seen = true,
            "/repomd/data" => {
                self.kind = element.attribute("type").unwrap_or_default();
                (self.href, self.checksum, self.size) = (String::new(), String::new(), None);
            }
            "/repomd/data/location" => self.href = element.attribute("href").unwrap_or_default(),
            "/repomd/data/checksum" => self.checksum_kind = element.attribute("type").unwrap_or_default(),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, path: &str, text: &str) -> Result<(), String> {
        match path {
            "/repomd/data/checksum" => text.clone_into(&mut self.checksum),
            "/repomd/data/size" => self.size = text.parse().ok(),
            // Of other files neither place nor hash matters.
            "/repomd/data" if ["primary", "updateinfo", "modules"].contains(&&self.kind[..]) => {
                let href = std::mem::take(&mut self.href);
                let leads_out = href.starts_with('/') || href.contains("://");
                if href.is_empty() || leads_out || href.split('/').any(|part| part == "..") {
                    return Err(format!("it places {} outside the repository, at {href:?}", self.kind));
                }
                let checksum = Checksum::new(&self.checksum_kind, &self.checksum)?;
                let listed = Listed { href, checksum, size: self.size };
                if self.repomd.files.len() < MOST {
                    self.repomd.files.insert(std::mem::take(&mut self.kind), listed);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Repomd;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn repomd(kind: &str, href: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><repomd xmlns=\"http://x.test\"><revision>7</revision><data type=\"primary\">\
             <checksum type=\"{kind}\">{HASH}</checksum><open-checksum type=\"md5\">no</open-checksum>\
             <location href=\"{href}\"/><size>0</size></data><data type=\"other\"/></repomd>"
        )
    }

    #[test]
    fn files_are_listed_with_their_hashes() {
        let found = Repomd::parse(repomd("sha256", "repodata/a&amp;b.xml").as_bytes()).unwrap();
        assert_eq!(found.files.len(), 1);
        let primary = &found.files["primary"];
        assert_eq!((&primary.href[..], primary.size), ("repodata/a&b.xml", Some(0)));
        assert!(primary.checksum.is_of(b"") && !primary.checksum.is_of(b"x"));
    }

    #[test]
    fn what_could_be_forged_or_leads_out_is_refused() {
        for (kind, href, reason) in [
            ("sha", "a", "can be forged"),
            ("crc", "a", "not known"),
            ("sha256", "../a", "places primary"),
            ("sha256", "http://x.test/a", "places primary"),
            ("sha512", "a", "hexadecimal"),
        ] {
            let error = Repomd::parse(repomd(kind, href).as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(Repomd::parse(b"<html></html>").is_err());
        assert!(Repomd::parse(b"<repomd><data>").is_err());
        assert!(Repomd::parse(b"<repomd>&lol;</repomd>").is_err());
    }
}
