//! Keys that repositories are signed with, binary or armoured, and whether a signature by one of them counts.
//!
//! A signature counts when the key that made it, or the subkey, was certified for signing by its own primary key, is neither
//! revoked nor past its end, and when the hash is none that can be forged (MD5, SHA-1 and RIPEMD-160 can).

use pgp::composed::{Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, Timestamp as KeyTime};

use jiff::Timestamp;

const ARMOUR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
/// The most keys that are read of one file.
const MOST: usize = 1000;

/// Keys to check signatures with.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
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

impl Keyring {
    /// Reads keys from a file's bytes and adds them; keys of a form that is not known are left out.
    ///
    /// Fails where the file has no key that can be used, and says why.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        let before = self.keys.len();
        let mut reason = "there is no key in it".to_owned();
        let mut add = |keys: pgp::errors::Result<Vec<pgp::errors::Result<SignedPublicKey>>>| match keys {
            Ok(keys) => {
                for key in keys {
                    match key {
                        Ok(key) => self.keys.push(key),
                        Err(error) => reason = error.to_string(),
                    }
                }
            }
            Err(error) => reason = error.to_string(),
        };
        if bytes.get(8..12) == Some(b"KBXf") {
            return Err("it is a keybox, which apt does not read either".to_owned());
        }
        if let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| text.contains(ARMOUR)) {
            for block in text.split(ARMOUR).skip(1).take(MOST) {
                let block = format!("{ARMOUR}{block}");
                add(SignedPublicKey::from_armor_many(block.as_bytes())
                    .map(|(keys, _)| keys.take(MOST).collect()));
            }
        } else {
            add(SignedPublicKey::from_bytes_many(bytes).map(|keys| keys.take(MOST).collect()));
        }
        if self.keys.len() == before { Err(reason) } else { Ok(()) }
    }

    /// Says whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the fingerprints of the primary keys, in upper case.
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(fingerprint).collect()
    }

    /// Judges a signature of some data at a time.
    pub(crate) fn judge(&self, signature: &Signature, data: &[u8], now: Timestamp) -> Judged {
        let mut bad = None;
        for key in &self.keys {
            let signers = std::iter::once(None).chain(key.public_subkeys.iter().map(Some));
            for subkey in signers.filter(|subkey| is_issuer(signature, key, *subkey)) {
                let signer = subkey.map_or_else(|| fingerprint(key), |subkey| fingerprint(&subkey.key));
                let matches = match subkey {
                    None => signature.verify(&key.primary_key, data),
                    Some(subkey) => signature.verify(&subkey.key, data),
                };
                if matches.is_err() {
                    bad = Some(Judged::Bad { signer });
                    continue;
                }
                return match worth(signature, key, subkey, now) {
                    Ok(()) => Judged::Good { primary: fingerprint(key), signer },
                    Err(reason) => Judged::Useless { signer, reason },
                };
            }
        }
        bad.unwrap_or_else(|| Judged::Unknown { signer: issuer(signature) })
    }
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

/// Says why a signature that matches counts for nothing, if it does.
fn worth(
    signature: &Signature,
    key: &SignedPublicKey,
    subkey: Option<&SignedPublicSubKey>,
    now: Timestamp,
) -> Result<(), String> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err("signed something else than a document".to_owned());
    }
    if is_weak(signature) {
        return Err("made the signature with a hash that can be forged".to_owned());
    }
    if let (Some(created), Some(lasts)) = (signature.created(), signature.signature_expiration_time())
        && let Some(end) = end(created, lasts)
        && end < now
    {
        return Err(format!("limited the signature until {end}"));
    }
    let primary = &key.primary_key;
    if key.details.revocation_signatures.iter().any(|revocation| revocation.verify_key(primary).is_ok()) {
        return Err("is revoked".to_owned());
    }
    let own = own_signature(key).ok_or("does not vouch for itself")?;
    expired(key.created_at(), own, now)?;
    let Some(subkey) = subkey else {
        let flags = own.key_flags();
        return if flags == pgp::packet::KeyFlags::default() || flags.sign() {
            Ok(())
        } else {
            Err("is not for signing".to_owned())
        };
    };
    let binding = |signature: &&Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
    let of =
        |typ| subkey.signatures.iter().filter(move |signature| signature.typ() == Some(typ)).filter(binding);
    if of(SignatureType::SubkeyRevocation).next().is_some() {
        return Err("is revoked".to_owned());
    }
    let bound = of(SignatureType::SubkeyBinding).max_by_key(|signature| signature.created());
    let bound = bound.ok_or("is not vouched for by its primary key")?;
    if !bound.key_flags().sign() {
        return Err("is not for signing".to_owned());
    }
    // A subkey that signs must agree to belong to the primary key.
    let agrees = bound
        .embedded_signature()
        .is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok());
    if !agrees {
        return Err("does not vouch for its primary key".to_owned());
    }
    expired(subkey.key.created_at(), bound, now)
}

/// The newest signature by which a primary key vouches for itself.
fn own_signature(key: &SignedPublicKey) -> Option<&Signature> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter().filter(|direct| direct.verify_key(primary).is_ok());
    let users = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.is_certification()
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        })
    });
    direct.chain(users).max_by_key(|signature| signature.created())
}

fn expired(created: KeyTime, signature: &Signature, now: Timestamp) -> Result<(), String> {
    match signature.key_expiration_time().and_then(|lasts| end(created, lasts)) {
        Some(end) if end < now => Err(format!("expired at {end}")),
        _ => Ok(()),
    }
}

/// The end of something that lasts; `None` where it lasts for ever.
fn end(created: KeyTime, lasts: pgp::types::Duration) -> Option<Timestamp> {
    let lasts = std::time::Duration::from(lasts);
    let end = std::time::SystemTime::from(created).checked_add(lasts)?;
    if lasts.is_zero() { None } else { Timestamp::try_from(end).ok() }
}

fn is_weak(signature: &Signature) -> bool {
    !matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha224
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    )
}
