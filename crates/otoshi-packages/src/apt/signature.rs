//! Signed documents: `InRelease`, which is signed in clear, and a document with its signature beside it.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9580.html#section-7>

use jiff::Timestamp;
use otoshi_http::SafeUrl;
use pgp::composed::{Deserializable, DetachedSignature};
use pgp::packet::Signature;

use super::keyring::{Judged, Keyring};
use crate::error::{RepositoryError, Unreadable};

const MESSAGE: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";
/// The most signatures that a document may have.
const MOST: usize = 64;

/// A document whose signature is still to be checked.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The document's text.
    pub text: String,
    /// Exactly the bytes that were signed.
    signed: Vec<u8>,
    signatures: Vec<Signature>,
}

impl Signed {
    /// Takes apart a document that is signed in clear. Nothing may stand before it or behind it.
    ///
    /// [`None`] where it is no such document at all.
    pub fn in_clear(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        if lines.next().map(str::trim_end) != Some(MESSAGE) {
            return Ok(None);
        }
        // The headers say which hashes are used, which the signatures say, too.
        for line in lines.by_ref() {
            if line.trim().is_empty() {
                break;
            }
            if !line.starts_with("Hash:") {
                return Err("it has a header that is not Hash".into());
            }
        }
        let (mut document, mut signed) = (String::new(), Vec::new());
        let mut found = false;
        for line in lines.by_ref() {
            if line.trim_end() == SIGNATURE {
                found = true;
                break;
            }
            let line = match line.strip_prefix('-') {
                None => line,
                Some(escaped) => {
                    escaped.strip_prefix(' ').ok_or("it has a line that begins with a bare hyphen")?
                }
            };
            let line = line.trim_end_matches([' ', '\t', '\r']);
            if !document.is_empty() || !signed.is_empty() {
                signed.extend_from_slice(b"\r\n");
            }
            signed.extend_from_slice(line.as_bytes());
            document.push_str(line);
            document.push('\n');
        }
        if !found {
            return Err("it ends before its signature".into());
        }
        let mut armour = format!("{SIGNATURE}\n");
        let mut closed = false;
        for line in lines.by_ref() {
            armour.push_str(line);
            armour.push('\n');
            if line.trim_end() == END {
                closed = true;
                break;
            }
        }
        if !closed {
            return Err("it ends within its signature".into());
        }
        if lines.any(|line| !line.trim().is_empty()) {
            return Err("there is something after its signature".into());
        }
        Ok(Some(Self { text: document, signed, signatures: signatures(armour.as_bytes())? }))
    }

    /// Takes a document and the file with its signature, armoured or binary.
    ///
    /// Fails where the document is not UTF-8, and where the other file is no signature.
    pub fn detached(document: &[u8], signature: &[u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(document).map_err(|_| "it is not UTF-8")?;
        Ok(Self { text: text.to_owned(), signed: document.to_vec(), signatures: signatures(signature)? })
    }

    /// Checks the signatures, and returns the fingerprint of a primary key that signed.
    ///
    /// One good signature is enough; for GnuPG a bad one by a known key spoils all. Where `fingerprints` are given, a good one
    /// must be by one of these keys (for GnuPG subkeys count as well, and with `!` the very key; Sequoia names primary keys).
    ///
    /// Fails where no signature is good: unknown key, key not for signing, expired, revoked, too weak, or the
    /// signature does not match.
    pub fn verify(
        &self,
        url: &str,
        keyring: &Keyring,
        fingerprints: &[String],
        now: Timestamp,
    ) -> Result<String, RepositoryError> {
        let url = SafeUrl::new(url);
        let (mut good, mut unknown, mut useless, mut bad) = (None, Vec::new(), None, None);
        for signature in &self.signatures {
            match keyring.judge(signature, &self.signed, now) {
                Judged::Bad { signer } => bad = bad.or(Some(signer)),
                Judged::Good { primary, signer } => {
                    let wanted = |fingerprint: &String| match fingerprint.strip_suffix('!') {
                        Some(exact) => keyring.is_gnupgs() && exact == signer,
                        None => *fingerprint == primary || keyring.is_gnupgs() && *fingerprint == signer,
                    };
                    if fingerprints.is_empty() || fingerprints.iter().any(wanted) {
                        good = Some(primary);
                    } else {
                        unknown.push(signer);
                    }
                }
                Judged::Useless { signer, reason } => useless = Some((signer, reason)),
                Judged::Unknown { signer } => unknown.push(signer),
            }
        }
        if let Some(signer) = bad.filter(|_| keyring.is_gnupgs() || good.is_none()) {
            let reason = format!("the signature of {signer} does not match it");
            return Err(RepositoryError::Tampered { url, reason });
        }
        match (good, useless) {
            (Some(primary), _) => Ok(primary),
            (None, Some((key, reason))) => Err(RepositoryError::UselessKey { url, key, reason }),
            (None, None) if unknown.is_empty() => Err(RepositoryError::Unsigned { url }),
            (None, None) => Err(RepositoryError::UnknownKey { url, keys: unknown }),
        }
    }
}

fn signatures(bytes: &[u8]) -> Result<Vec<Signature>, String> {
    let unreadable = |error: pgp::errors::Error| format!("its signature cannot be read: {error}");
    let armoured = bytes.trim_ascii_start().starts_with(b"-----");
    let found: Vec<_> = if armoured {
        DetachedSignature::from_armor_many(bytes).map_err(unreadable)?.0.take(MOST).collect()
    } else {
        DetachedSignature::from_bytes_many(bytes).map_err(unreadable)?.take(MOST).collect()
    };
    let mut signatures = Vec::new();
    for signature in found {
        signatures.push(signature.map_err(unreadable)?.signature);
    }
    Ok(signatures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_signed_in_clear_is_told_apart_from_what_is_cut_off() {
        assert!(Signed::in_clear(b"Origin: x\n").unwrap().is_none());
        let start = format!("{MESSAGE}\nHash: SHA256\n\nOrigin: x\n");
        for text in [
            start.clone(),
            format!("{start}{SIGNATURE}\n\nabc\n"),
            format!("{start}-bare\n{SIGNATURE}\n{END}\n"),
            format!("{MESSAGE}\nSurprise: x\n\nOrigin: x\n{SIGNATURE}\n{END}\n"),
            format!("{start}{SIGNATURE}\n{END}\nOrigin: y\n"),
        ] {
            assert!(Signed::in_clear(text.as_bytes()).is_err(), "{text}");
        }
    }
}
