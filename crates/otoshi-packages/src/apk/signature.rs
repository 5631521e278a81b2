//! A signed index: `APKINDEX.tar.gz`.
//!
//! ```text
//! gzip member   a tar with one file: .SIGN.RSA.NAME or .SIGN.RSA256.NAME, the signature by the key etc/apk/keys/NAME
//! gzip member   a tar with DESCRIPTION and APKINDEX; what is signed are this member's bytes, up to the end of the file
//! ```
//!
//! `RSA` is PKCS #1 with SHA-1, which Alpine's repositories still use; `RSA256` and `RSA512` have SHA-256 and SHA-512.
//! Source: apk-package(5) and abuild-sign(1).

use std::io::Read;

use flate2::bufread::GzDecoder;
use otoshi_http::SafeUrl;
use otoshi_oci::contents::Layer;
use otoshi_oci::tar::{Reader, TarError};
use ring::signature::{self, RsaParameters};

use super::keys::Keys;
use crate::error::RepositoryError;

/// The most bytes of an index; Alpine's have some ten million.
pub(super) const LARGEST: u64 = 128 << 20;
/// The most bytes of the part with the signature.
const LARGEST_SIGNATURE: u64 = 1 << 20;

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
            let Some(public) = keys.named(key) else {
                unknown.push(key.to_owned());
                continue;
            };
            if !public.has_signed_as(parameters, signed, signature) {
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
    ///
    /// Fails where the archive is damaged, or has no index in it.
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
