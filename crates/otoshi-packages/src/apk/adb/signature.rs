//! A signature of a block of objects.
//!
//! ```text
//! u8 version (0)   u8 hash (3 SHA-256, 4 SHA-512)   16 bytes of the key's identity   signature
//! ```
//!
//! What is signed, by way of SHA-512: the file's schema, the 18 bytes above, and the hash of the block. A key's identity are the first
//! bytes of the SHA-512 of its public key; its file's name counts for nothing.

use otoshi_http::SafeUrl;
use ring::digest::{self, Algorithm};

use super::file::Adb;
use crate::apk::keys::{Identity, Keys};
use crate::error::RepositoryError;

/// A signature, as it stands in a file.
#[derive(Debug, Clone, Copy)]
struct Signature<'a> {
    head: &'a [u8; 18],
    bytes: &'a [u8],
}

impl<'a> Signature<'a> {
    /// Reads a signature; `None` where it is of a later version, which counts for nothing.
    fn parse(content: &'a [u8]) -> Option<Self> {
        let (head, bytes) = content.split_first_chunk()?;
        (head[0] == 0).then_some(Self { head, bytes })
    }

    /// Returns the identity of the key that signed.
    fn identity(self) -> Identity {
        let [_, _, identity @ ..] = *self.head;
        identity
    }

    fn hash(self) -> Option<&'static Algorithm> {
        match self.head[1] {
            3 => Some(&digest::SHA256),
            4 => Some(&digest::SHA512),
            _ => None,
        }
    }
}

impl Adb<'_> {
    /// Checks that the file is signed by one of the keys; fails with the reason.
    pub(crate) fn check(&self, url: &SafeUrl, keys: &Keys) -> Result<(), RepositoryError> {
        let malformed = |reason| RepositoryError::Malformed { url: url.clone(), reason };
        let (content, signatures) =
            (self.content().map_err(malformed)?, self.signatures().map_err(malformed)?);
        let (mut unknown, mut known) = (Vec::new(), false);
        for signature in signatures.into_iter().filter_map(Signature::parse) {
            let (Some(key), Some(hash)) = (keys.of_identity(&signature.identity()), signature.hash()) else {
                unknown.push(hex::encode(signature.identity()));
                continue;
            };
            let content = digest::digest(hash, content);
            let message = [&self.schema()[..], &signature.head[..], content.as_ref()].concat();
            if key.has_signed(&message, signature.bytes) {
                return Ok(());
            }
            known = true;
        }
        let url = url.clone();
        Err(if known {
            RepositoryError::Tampered { url, reason: "its signature does not match it".to_owned() }
        } else if unknown.is_empty() {
            RepositoryError::Unsigned { url }
        } else {
            RepositoryError::UnknownKey { url, keys: unknown }
        })
    }
}
