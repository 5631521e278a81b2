//! Whether a signature counts for anything, whatever it signs.
//!
//! For both, its key must be certified for signing by its own primary key, be neither revoked nor past its end, and the hash be
//! none that can be forged (MD5, SHA-1 and RIPEMD-160 can). Beyond that they differ:
//!
//! | | GnuPG | Sequoia |
//! | --- | --- | --- |
//! | is the key alive? | now | when it signed |
//! | what says so? | its newest signature of itself | the newest that was there when it signed |
//! | a key that was replaced or given up | never counts | counts for what it signed before |
//! | a hash in signatures of the key itself | any | one that counts |
//!
//! Source: both were tried on the same keys; the tests do so.
//!
//! Source: RFC 9580, sections 5.2.1 (types of signatures), 5.2.3.29 (key flags) and 10.1 (what a key consists of).

use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{KeyFlags, RevocationCode, Signature, SignatureType};
use pgp::types::{
    EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails, PublicParams, Tag, Timestamp as KeyTime,
};

use super::strength::name_of;
use super::verifier::Judge;

/// How far in the future Sequoia lets a signature be.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(30);

/// Says why a signature counts for nothing, if it does.
pub(super) fn worth(
    signature: &Signature,
    key: &SignedPublicKey,
    subkey: Option<&SignedPublicSubKey>,
    judge: &Judge,
    now: Timestamp,
) -> Result<(), String> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err("signed something other than a document".to_owned());
    }
    let signed = signature.created().and_then(time).ok_or("does not say when it signed")?;
    let eyes = Eyes { judge, now, signed };
    eyes.document(signature)?;
    let primary = &key.primary_key;
    match subkey {
        None => eyes.kind(primary, true)?,
        Some(subkey) => {
            eyes.kind(primary, false)?;
            eyes.kind(&subkey.key, true)?;
        }
    }
    let revocations = key.details.revocation_signatures.iter();
    if revocations.filter(|revocation| revocation.verify_key(primary).is_ok()).any(|one| eyes.revokes(one)) {
        return Err("is revoked".to_owned());
    }
    let own = eyes.newest(own_signatures(key)).ok_or("has no valid self-signature")?;
    eyes.alive(key.created_at(), own)?;
    let Some(subkey) = subkey else {
        let flags = own.key_flags();
        return if flags == KeyFlags::default() || flags.sign() {
            Ok(())
        } else {
            Err("is not for signing".to_owned())
        };
    };
    let binding = |signature: &&Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
    let of =
        |typ| subkey.signatures.iter().filter(move |signature| signature.typ() == Some(typ)).filter(binding);
    if of(SignatureType::SubkeyRevocation).any(|revocation| eyes.revokes(revocation)) {
        return Err("is revoked".to_owned());
    }
    let bound = eyes.newest(of(SignatureType::SubkeyBinding));
    let bound = bound.ok_or("has no valid binding signature of its primary key")?;
    if !bound.key_flags().sign() {
        return Err("is not for signing".to_owned());
    }
    // A subkey that signs must agree to belong to the primary key.
    let agrees = bound.embedded_signature().is_some_and(|back| {
        eyes.takes(back) && back.verify_primary_key_binding(&subkey.key, primary).is_ok()
    });
    if !agrees {
        return Err("has not signed its primary key in return".to_owned());
    }
    eyes.alive(subkey.key.created_at(), bound)
}

/// Who judges, and by when.
struct Eyes<'a> {
    judge: &'a Judge,
    now: Timestamp,
    /// When the document was signed.
    signed: Timestamp,
}

impl Eyes<'_> {
    /// Looks at the document's signature itself.
    fn document(&self, signature: &Signature) -> Result<(), String> {
        let hash = signature.hash_alg();
        let is_weak = match self.judge {
            Judge::Gnupg(_) => !matches!(
                hash,
                Some(
                    HashAlgorithm::Sha256
                        | HashAlgorithm::Sha384
                        | HashAlgorithm::Sha512
                        | HashAlgorithm::Sha224
                        | HashAlgorithm::Sha3_256
                        | HashAlgorithm::Sha3_512
                )
            ),
            Judge::Sequoia(cutoffs) => {
                let cutoffs = cutoffs.as_ref().map_err(|reason| format!("cannot be judged: {reason}"))?;
                if !cutoffs.takes_version(signature.version(), self.now) {
                    return Err("made the signature in a format that no longer counts".to_owned());
                }
                if self.signed > self.now.checked_add(CLOCKS_DIFFER).unwrap_or(Timestamp::MAX) {
                    return Err(format!("made the signature at {}, which is in the future", self.signed));
                }
                !cutoffs.takes_hash(hash, false, self.now)
            }
        };
        if is_weak {
            return Err("made the signature with a hash that can be forged".to_owned());
        }
        if let (Some(created), Some(lasts)) = (signature.created(), signature.signature_expiration_time())
            && let Some(end) = end(created, lasts)
            && end < self.now
        {
            return Err(format!("made a signature that expired at {end}"));
        }
        Ok(())
    }

    /// Looks at a key's kind and size; GnuPG looks at those of the key that signed alone.
    fn kind(&self, key: &impl KeyDetails, signed: bool) -> Result<(), String> {
        let name = name_of(key);
        let counts = match self.judge {
            Judge::Gnupg(asserted) => !signed || asserted.as_ref().is_none_or(|asserted| asserted.has(&name)),
            Judge::Sequoia(cutoffs) => {
                cutoffs.as_ref().is_ok_and(|cutoffs| cutoffs.takes_key(&name, self.now))
            }
        };
        if !counts {
            return Err(format!("is of a kind that the image's apt does not accept: {name}"));
        }
        if signed && !can_be_checked(key.public_params()) {
            return Err(format!("is of a kind that is not checked here: {name}"));
        }
        Ok(())
    }

    /// Whether a signature of a key by itself counts at all.
    fn takes(&self, signature: &Signature) -> bool {
        match self.judge {
            Judge::Gnupg(_) => true,
            Judge::Sequoia(Err(_)) => false,
            Judge::Sequoia(Ok(cutoffs)) => cutoffs.takes_hash(signature.hash_alg(), true, self.now),
        }
    }

    /// The signature that says what holds for a key.
    fn newest<'s>(&self, all: impl Iterator<Item = &'s Signature>) -> Option<&'s Signature> {
        let was_there = |signature: &&Signature| match self.judge {
            Judge::Gnupg(_) => true,
            Judge::Sequoia(_) => {
                signature.created().and_then(time).is_some_and(|created| created <= self.signed)
            }
        };
        all.filter(was_there).filter(|signature| self.takes(signature)).max_by_key(|one| one.created())
    }

    /// Whether a revocation takes a key its worth.
    fn revokes(&self, revocation: &Signature) -> bool {
        let is_soft = matches!(
            revocation.revocation_reason_code(),
            Some(
                RevocationCode::KeySuperseded
                    | RevocationCode::KeyRetired
                    | RevocationCode::CertUserIdInvalid
            )
        );
        match self.judge {
            Judge::Gnupg(_) => true,
            Judge::Sequoia(_) => {
                let since = revocation.created().and_then(time);
                !is_soft || since.is_none_or(|since| since <= self.signed)
            }
        }
    }

    /// Whether a key lives at the time that matters.
    fn alive(&self, created: KeyTime, own: &Signature) -> Result<(), String> {
        let when = match self.judge {
            Judge::Gnupg(_) => self.now,
            Judge::Sequoia(_) => self.signed,
        };
        match own.key_expiration_time().and_then(|lasts| end(created, lasts)) {
            Some(end) if end < when => Err(format!("expired at {end}")),
            _ => Ok(()),
        }
    }
}

/// The signatures by which a primary key vouches for itself.
fn own_signatures(key: &SignedPublicKey) -> impl Iterator<Item = &Signature> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter().filter(|direct| direct.verify_key(primary).is_ok());
    let users = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.is_certification()
                && signature.typ() != Some(SignatureType::CertRevocation)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        })
    });
    direct.chain(users)
}

/// Says whether signatures of a kind of key can be checked here: those on Brainpool's curves cannot, and of those on secp256k1
/// only some, which is no better.
fn can_be_checked(params: &PublicParams) -> bool {
    match params {
        PublicParams::RSA(_) | PublicParams::DSA(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            true
        }
        PublicParams::ECDSA(params) => {
            params.is_supported() && !matches!(params, EcdsaPublicParams::Secp256k1 { .. })
        }
        PublicParams::EdDSALegacy(params) => matches!(params, EddsaLegacyPublicParams::Ed25519 { .. }),
        _ => false,
    }
}

fn time(time: KeyTime) -> Option<Timestamp> {
    Timestamp::try_from(SystemTime::from(time)).ok()
}

/// The end of something that lasts; `None` where it lasts for ever.
fn end(created: KeyTime, lasts: pgp::types::Duration) -> Option<Timestamp> {
    let lasts = std::time::Duration::from(lasts);
    let end = SystemTime::from(created).checked_add(lasts)?;
    if lasts.is_zero() { None } else { Timestamp::try_from(end).ok() }
}
