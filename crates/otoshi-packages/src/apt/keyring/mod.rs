//! Keys that repositories are signed with, and whether a signature by one of them counts.
//!
//! ```text
//! packets   a file of keys, packet by packet
//! armour    keys in text        keybox   GnuPG's own form
//! ```
//!
//! Which forms are read depends on who reads them: see [`super::verifier`].

mod armour;
mod keybox;
mod packets;

use std::borrow::Cow;

use jiff::Timestamp;
use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::Signature;
use pgp::types::KeyDetails;

use super::verifier::{Judge, Reader, Verifier};
use super::worth::worth;
use crate::error::Unreadable;

/// Keys to check signatures with.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
    judge: Judge,
}

/// A file of keys that a root's apt would look at.
#[derive(Debug, Clone)]
pub(crate) struct KeyFile<'a> {
    /// The file as people are told of it.
    pub(crate) name: String,
    /// Its bytes; `None` where it is not there.
    pub(crate) content: Option<&'a [u8]>,
    /// Why it is looked at.
    pub(crate) kind: KeyKind,
}

/// Says why a file of keys is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// A source, or the configuration, names it.
    Named,
    /// It lies in `trusted.gpg.d`.
    Part,
    /// It is none: the keys stand in the source.
    Embedded,
}

/// What one signature is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It counts.
    Good {
        /// The fingerprint of the primary key, in upper case.
        primary: String,
        /// The fingerprint of the key that made it: the primary key, or a subkey.
        signer: String,
    },
    /// It does not match what is said to be signed.
    Bad {
        /// The key that it is said to be made with.
        signer: String,
    },
    /// It would match, but its key or hash counts for nothing.
    Useless {
        /// The key.
        signer: String,
        /// Why, as in "is revoked".
        reason: String,
    },
    /// The key is not in the keyring.
    Unknown {
        /// Its fingerprint, or its key id.
        signer: String,
    },
}

/// What comes of one file of keys.
enum Taken<'a> {
    /// Keys, one behind the other.
    Keys(Cow<'a, [u8]>),
    /// It is passed over, and why.
    Passed(String),
    /// Nothing is checked at all then, and why.
    Fatal(String),
}

impl Keyring {
    /// Reads keys from a file's bytes, whatever form they have, and adds them.
    ///
    /// Fails where the file has no key that can be used.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        let before = self.keys.len();
        let read = packets::read(&any_form(bytes)?, false);
        self.keys.extend(read.keys);
        if self.keys.len() == before {
            return Err(read.reason.unwrap_or_else(|| "there is no key in it".to_owned()).into());
        }
        Ok(())
    }

    /// Reads keyrings as a root's own apt reads them.
    ///
    /// Fails with what was tried where there is no key, or where one file keeps all others from being used.
    pub(crate) fn of(files: &[KeyFile<'_>], verifier: &Verifier) -> Result<Self, Vec<String>> {
        let mut keyring = Self { keys: Vec::new(), judge: verifier.judge.clone() };
        let mut reasons = Vec::new();
        // What is put together for gpgv is read in a row: where that cannot go on, it ends.
        let in_a_row = matches!(verifier.reader, Reader::Script { .. } | Reader::Apt);
        let mut is_cut = false;
        for file in files {
            let said = |reason: String| match file.content {
                Some(_) => format!("{}: {reason}", file.name),
                None => format!("{} {reason}", file.name),
            };
            match verifier.reader.take(file) {
                Taken::Fatal(reason) => return Err(vec![said(reason)]),
                Taken::Passed(reason) => reasons.push(said(reason)),
                Taken::Keys(_) if is_cut => {
                    reasons.push(said("it comes after a keyring that cannot be read to its end".to_owned()));
                }
                Taken::Keys(bytes) => {
                    let read = packets::read(&bytes, verifier.reader == Reader::Sequoia);
                    if read.is_cut && verifier.reader == Reader::Sequoia {
                        return Err(vec![said(read.reason.unwrap_or_default())]);
                    }
                    is_cut = read.is_cut && in_a_row;
                    if read.keys.is_empty() {
                        let reason = read.reason.unwrap_or_else(|| "there is no key in it".to_owned());
                        reasons.push(said(reason));
                    }
                    keyring.keys.extend(read.keys);
                }
            }
        }
        if keyring.is_empty() { Err(reasons) } else { Ok(keyring) }
    }

    /// Says whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the fingerprints of the primary keys, in upper case.
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(fingerprint).collect()
    }

    /// Says whether a signature that does not match spoils the others, and a fingerprint may be that of a subkey.
    pub(crate) fn is_gnupgs(&self) -> bool {
        matches!(self.judge, Judge::Gnupg(_))
    }

    /// Judges a signature of some data at a time.
    pub(crate) fn judge(&self, signature: &Signature, data: &[u8], now: Timestamp) -> Judged {
        let mut found = None;
        for key in &self.keys {
            let signers = std::iter::once(None).chain(key.public_subkeys.iter().map(Some));
            for subkey in signers.filter(|subkey| is_issuer(signature, key, *subkey)) {
                let signer = subkey.map_or_else(|| fingerprint(key), |subkey| fingerprint(&subkey.key));
                // What counts for nothing in any case need not match, and may be of a kind that nobody here can check.
                if let Err(reason) = worth(signature, key, subkey, &self.judge, now) {
                    found = Some(Judged::Useless { signer, reason });
                    continue;
                }
                let matches = match subkey {
                    None => signature.verify(&key.primary_key, data),
                    Some(subkey) => signature.verify(&subkey.key, data),
                };
                if matches.is_ok() {
                    return Judged::Good { primary: fingerprint(key), signer };
                }
                found = found.or(Some(Judged::Bad { signer }));
            }
        }
        found.unwrap_or_else(|| Judged::Unknown { signer: issuer(signature) })
    }
}

impl Reader {
    /// Takes a file as this reader does.
    fn take<'a>(self, file: &KeyFile<'a>) -> Taken<'a> {
        let Some(content) = file.content else {
            let reason = "does not exist".to_owned();
            return match self {
                Self::Any | Self::Apt => Taken::Passed(reason),
                Self::Script { .. } | Self::Sequoia => Taken::Fatal(reason),
            };
        };
        let is_part = file.kind == KeyKind::Part;
        let ending = match file.kind {
            // apt writes them into a file that ends so.
            KeyKind::Embedded => "asc",
            _ => file.name.rsplit_once('.').map_or("", |(_, ending)| ending),
        };
        let opened = |returns: bool| match armour::open(content, returns) {
            Ok(keys) => Taken::Keys(Cow::Owned(keys)),
            Err(reason) => Taken::Passed(reason),
        };
        let unsupported =
            || Taken::Passed("apt does not read keys of this format under this name".to_owned());
        match self {
            Self::Any => match any_form(content) {
                Ok(keys) => Taken::Keys(keys),
                Err(reason) => Taken::Passed(reason),
            },
            Self::Script { takes_returns } => match ending {
                "asc" => opened(takes_returns),
                "gpg" if !is_part && keybox::is(content) => Taken::Keys(Cow::Owned(keybox::open(content))),
                "gpg" if is_part && !begins_with_a_key(content) => unsupported(),
                "gpg" => Taken::Keys(Cow::Borrowed(content)),
                _ if armour::is_at_start(content) => opened(takes_returns),
                _ => Taken::Keys(Cow::Borrowed(content)),
            },
            Self::Apt => match ending {
                "asc" if armour::is_in(content) => opened(true),
                "asc" => unsupported(),
                _ if begins_with_a_key(content) => Taken::Keys(Cow::Borrowed(content)),
                _ => unsupported(),
            },
            Self::Sequoia => {
                let fits = if ending == "asc" { armour::is_in(content) } else { begins_with_a_key(content) };
                if is_part && !fits {
                    return unsupported();
                }
                if armour::is_in(content) { opened(true) } else { Taken::Keys(Cow::Borrowed(content)) }
            }
        }
    }
}

/// Keys in any form.
fn any_form(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    Ok(if keybox::is(bytes) {
        Cow::Owned(keybox::open(bytes))
    } else if armour::is_in(bytes) {
        Cow::Owned(armour::open(bytes, true)?)
    } else {
        Cow::Borrowed(bytes)
    })
}

/// Whether the first byte is that of a public key, as apt looks at it.
fn begins_with_a_key(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x98 | 0x99 | 0xc6))
}

fn fingerprint(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

/// Who is said to have signed.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:X}"));
    let id = || signature.issuer_key_id().first().map(|id| id.to_string().to_ascii_uppercase());
    fingerprint.or_else(id).unwrap_or_else(|| "an unnamed key".to_owned())
}

fn is_issuer(signature: &Signature, key: &SignedPublicKey, subkey: Option<&SignedPublicSubKey>) -> bool {
    let (fingerprint, id) = match subkey {
        None => (key.fingerprint(), key.legacy_key_id()),
        Some(subkey) => (subkey.key.fingerprint(), subkey.key.legacy_key_id()),
    };
    let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
    if fingerprints.is_empty() { ids.contains(&&id) } else { fingerprints.contains(&&fingerprint) }
}
