//! A signed index: `APKINDEX.tar.gz`.
//!
//! ```text
//! gzip member   a tar with one file: .SIGN.RSA.NAME or .SIGN.RSA256.NAME, the signature by the key etc/apk/keys/NAME
//! gzip member   a tar with DESCRIPTION and APKINDEX; what is signed are this member's bytes, up to the end of the file
//! ```
//!
//! `RSA` is PKCS #1 with SHA-1, which Alpine's repositories still use; `RSA256` and `RSA512` have SHA-256 and SHA-512.
//! Source: apk-package(5) and abuild-sign(1).

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine as _;
use flate2::bufread::GzDecoder;
use otoshi_http::SafeUrl;
use otoshi_oci::contents::Layer;
use otoshi_oci::tar::{Reader, TarError};
use ring::signature::{self, RsaParameters, UnparsedPublicKey};

use crate::error::RepositoryError;
use crate::files::Files;

/// Where keys lie.
const DIRECTORIES: [&str; 2] = ["etc/apk/keys", "usr/share/apk/keys"];
/// The most bytes of an index; Alpine's have some ten million.
pub(super) const LARGEST: u64 = 128 << 20;
/// The most bytes of the part with the signature.
const LARGEST_SIGNATURE: u64 = 1 << 20;

/// Keys that sign repositories, by their files' names.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    keys: BTreeMap<String, Vec<u8>>,
}

impl Keys {
    /// Reads the keys of an image; files that hold no RSA key are left out.
    pub fn of(files: &Files) -> Self {
        let mut keys = BTreeMap::new();
        for directory in DIRECTORIES {
            for (path, content) in files.list(directory) {
                let name = path.rsplit('/').next().unwrap_or_default();
                if let Some(key) = public_key(content) {
                    keys.entry(name.to_owned()).or_insert(key);
                }
            }
        }
        Self { keys }
    }
}

/// An index whose signature counts.
#[derive(Debug)]
pub struct Signed<'a> {
    url: SafeUrl,
    bytes: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Checks that an index is signed by one of the keys; fails with the reason.
    pub fn check(url: &SafeUrl, bytes: &'a [u8], keys: &Keys) -> Result<Self, RepositoryError> {
        let url = url.clone();
        let malformed =
            |reason: &str| RepositoryError::Malformed { url: url.clone(), reason: reason.to_owned() };
        let mut first = GzDecoder::new(bytes);
        let mut head = Vec::new();
        let read = (&mut first).take(LARGEST_SIGNATURE).read_to_end(&mut head);
        read.map_err(|error| malformed(&error.to_string()))?;
        let signatures = signatures(&head).map_err(|error| malformed(&error.to_string()))?;
        // The signature ends where the first member does; an index without one may be of any length.
        if head.len() as u64 == LARGEST_SIGNATURE && !signatures.is_empty() {
            return Err(malformed("its signature is too large"));
        }
        let signed = first.into_inner();
        let (mut unknown, mut good) = (Vec::new(), false);
        for (name, signature) in &signatures {
            let Some((parameters, key)) = form(name) else { continue };
            let Some(public) = keys.keys.get(key) else {
                unknown.push(key.to_owned());
                continue;
            };
            if UnparsedPublicKey::new(parameters, public).verify(signed, signature).is_err() {
                let reason = format!("the signature of {key} does not match it");
                return Err(RepositoryError::Tampered { url, reason });
            }
            good = true;
        }
        if !good {
            return Err(if unknown.is_empty() {
                RepositoryError::Unsigned { url }
            } else {
                RepositoryError::UnknownKey { url, keys: unknown }
            });
        }
        Ok(Self { url, bytes: signed })
    }

    /// Returns what is signed, as it came.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the text of the index.
    pub fn index(&self) -> Result<Vec<u8>, RepositoryError> {
        let malformed = |reason: String| RepositoryError::Malformed { url: self.url.clone(), reason };
        let mut tar = Vec::new();
        let read = GzDecoder::new(self.bytes).take(LARGEST).read_to_end(&mut tar);
        read.map_err(|error| malformed(error.to_string()))?;
        let wants = |path: &[u8]| path == b"APKINDEX";
        let index = Layer::of_tar(&tar[..], wants, |_, _, data| Ok(data.read_at_most(LARGEST)?));
        let index = index.map_err(|error| malformed(error.to_string()))?;
        let index = index.files().get(&b"APKINDEX"[..]).and_then(|node| node.facts.clone());
        index.ok_or_else(|| malformed("there is no APKINDEX in it".to_owned()))
    }
}

/// The signatures that stand before anything else, by name.
fn signatures(tar: &[u8]) -> Result<Vec<(String, Vec<u8>)>, TarError> {
    let (mut found, mut reader) = (Vec::new(), Reader::new(tar));
    while let Some(entry) = reader.next_entry()? {
        let name = String::from_utf8_lossy(&entry.name).into_owned();
        if !name.starts_with(".SIGN.") || entry.sparse.is_some() {
            break;
        }
        let mut signature = Vec::new();
        while reader.remaining() > 0 {
            let data = reader.data()?;
            signature.extend_from_slice(data);
            let length = data.len();
            reader.consume(length);
        }
        found.push((name, signature));
    }
    Ok(found)
}

/// How a signature of that name was made, and the name of its key.
fn form(name: &str) -> Option<(&'static RsaParameters, &str)> {
    let (kind, key) = name.strip_prefix(".SIGN.")?.split_once('.')?;
    let parameters = match kind {
        "RSA" => &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        "RSA256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RSA512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        _ => return None,
    };
    Some((parameters, key))
}

/// The RSA key in a PEM file, as PKCS #1 has it.
fn public_key(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let body = text.split("-----BEGIN PUBLIC KEY-----").nth(1)?.split("-----END PUBLIC KEY-----").next()?;
    let body: String = body.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
    // SubjectPublicKeyInfo: a sequence of the algorithm and the key as a string of bits.
    let (content, _) = element(&der, 0x30)?;
    let (_, rest) = element(content, 0x30)?;
    let (bits, _) = element(rest, 0x03)?;
    Some(bits.strip_prefix(&[0])?.to_vec())
}

/// An element of DER with that tag, and what comes after it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match bytes.strip_prefix(&[tag])? {
        [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}
