//! The public keys that an image trusts: PEM files, of RSA or of a curve.

use std::collections::BTreeMap;

use base64::Engine as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use ring::digest::{SHA512, digest};
use ring::signature::{RSA_PKCS1_2048_8192_SHA512, RsaParameters, UnparsedPublicKey};

use crate::files::Files;

/// Where keys lie.
const DIRECTORIES: [&str; 2] = ["etc/apk/keys", "usr/share/apk/keys"];
/// `rsaEncryption`, as DER has it (RFC 8017).
const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey` (RFC 5480).
const CURVE: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `secp256r1` (RFC 5480).
const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// What apk 3 knows a key by, whatever its file is called: the first bytes of the SHA-512 of its public key.
pub(crate) type Identity = [u8; 16];

/// Keys that sign repositories.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// By their files' names.
    keys: BTreeMap<String, Key>,
}

/// A public key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    algorithm: Algorithm,
    /// The key itself: PKCS #1 of RSA, a point of a curve.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rsa,
    P256,
}

impl Keys {
    /// Reads the keys of an image; files that hold no key that is understood are left out.
    pub fn of(files: &Files) -> Self {
        let mut keys = BTreeMap::new();
        for directory in DIRECTORIES {
            for (path, content) in files.list(directory) {
                let name = path.rsplit('/').next().unwrap_or_default();
                if let Some(key) = Key::of_pem(content) {
                    keys.entry(name.to_owned()).or_insert(key);
                }
            }
        }
        Self { keys }
    }

    /// Returns the key in the file of a name.
    pub(super) fn named(&self, name: &str) -> Option<&Key> {
        self.keys.get(name)
    }

    /// Returns the key of an identity.
    pub(super) fn of_identity(&self, identity: &Identity) -> Option<&Key> {
        self.keys.values().find(|key| key.identity() == *identity)
    }
}

impl Key {
    fn of_pem(pem: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(pem).ok()?;
        let body =
            text.split("-----BEGIN PUBLIC KEY-----").nth(1)?.split("-----END PUBLIC KEY-----").next()?;
        let body: String = body.split_whitespace().collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
        // SubjectPublicKeyInfo (RFC 5280, 4.1.2.7): a sequence of the algorithm and the key as a string of bits.
        let (content, _) = element(&der, 0x30)?;
        let (algorithm, rest) = element(content, 0x30)?;
        let (bits, _) = element(rest, 0x03)?;
        Some(Self { algorithm: Algorithm::of(algorithm)?, bytes: bits.strip_prefix(&[0])?.to_vec() })
    }

    fn identity(&self) -> Identity {
        let mut identity = Identity::default();
        identity.copy_from_slice(&digest(&SHA512, &self.bytes).as_ref()[..16]);
        identity
    }

    /// Says whether the key, which must be one of RSA, made a signature of PKCS #1.
    pub(super) fn has_signed_as(
        &self,
        parameters: &'static RsaParameters,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.algorithm == Algorithm::Rsa
            && UnparsedPublicKey::new(parameters, &self.bytes).verify(message, signature).is_ok()
    }

    /// Says whether the key made a signature by way of SHA-512.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Rsa => self.has_signed_as(&RSA_PKCS1_2048_8192_SHA512, message, signature),
            Algorithm::P256 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&self.bytes);
                let signature = p256::ecdsa::Signature::from_der(signature);
                let hash = digest(&SHA512, message);
                key.is_ok_and(|key| {
                    signature.is_ok_and(|one| key.verify_prehash(hash.as_ref(), &one).is_ok())
                })
            }
        }
    }
}

impl Algorithm {
    /// Reads an `AlgorithmIdentifier`: its name, and what belongs to it.
    fn of(identifier: &[u8]) -> Option<Self> {
        let (name, rest) = element(identifier, 0x06)?;
        if name == RSA {
            return Some(Self::Rsa);
        }
        let (curve, _) = element(rest, 0x06)?;
        (name == CURVE && curve == P256).then_some(Self::P256)
    }
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
