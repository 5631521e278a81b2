//! Digests: the names of content.
//!
//! A [`Digest`] is always valid: an algorithm this crate can compute, a colon, and the right number of lowercase
//! hexadecimal digits. A [`DiffId`] is the digest of a layer's *uncompressed* tar; it has a type of its own because
//! mixing it up with the digest of the compressed blob is the classic mistake.
//!
//! Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md#digests>

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use oci_spec::image::Descriptor;
use otoshi_explain::{Explain, Kind};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// Says why a string is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The text is not of the form `algorithm:hex`.
    #[error("digest {0:?} is not of the form `algorithm:hex`")]
    Form(String),
    /// The algorithm is not one that this crate can verify.
    #[error("digest {0:?} uses an unsupported algorithm (sha256 and sha512 are known)")]
    Algorithm(String),
    /// The value is not the right number of lowercase hexadecimal digits.
    #[error("digest {digest:?} must have {expected} lowercase hexadecimal digits after the colon")]
    Hex {
        /// The whole text.
        digest: String,
        /// How many digits the algorithm has.
        expected: usize,
    },
}

/// Names the hash function of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the one everything written here uses.
    Sha256,
    /// SHA-512, accepted on reading.
    Sha512,
}

impl Algorithm {
    /// Returns the name used in a digest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Identifies content by its hash, as `sha256:<64 hexadecimal digits>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

impl Digest {
    /// Computes the SHA-256 digest of `bytes`.
    pub fn sha256_of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::sha256();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Takes the digest out of a descriptor, checking that it is one we can verify.
    ///
    /// Fails where the algorithm is not supported or the digits do not fit it.
    pub fn of(descriptor: &Descriptor) -> Result<Self, DigestError> {
        descriptor.digest().as_ref().parse()
    }

    /// Returns the hash function.
    pub fn algorithm(&self) -> Algorithm {
        if self.0.starts_with("sha512:") { Algorithm::Sha512 } else { Algorithm::Sha256 }
    }

    /// Returns the hexadecimal digits after the colon.
    pub fn hex(&self) -> &str {
        &self.0[7..]
    }

    /// Returns the first twelve hexadecimal digits, for people.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// Returns the whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the same digest as the type that descriptors hold.
    pub fn to_oci(&self) -> oci_spec::image::Digest {
        // Both types accept the same strings for sha256 and sha512: lowercase digits of the right count.
        oci_spec::image::Digest::from_str(&self.0).unwrap_or_else(|_| unreachable!("a Digest is valid"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(DigestError::Form(text.to_owned()));
        };
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm(text.to_owned())),
        };
        let expected = algorithm.hex_len();
        if hex.len() != expected || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Hex { digest: text.to_owned(), expected });
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.into()
    }
}

impl From<&Digest> for oci_spec::image::Digest {
    fn from(digest: &Digest) -> Self {
        digest.to_oci()
    }
}

/// Identifies a layer by the digest of its uncompressed tar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Computes a digest piece by piece.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Starts a SHA-256 digest.
    pub fn sha256() -> Self {
        Self(State::Sha256(Sha256::new()))
    }

    /// Starts a digest with the given hash function.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::sha256(),
            Algorithm::Sha512 => Self(State::Sha512(Sha512::new())),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Adds all that a reader gives, and returns the digest of everything added.
    ///
    /// Fails where the reader does.
    pub fn of_rest(mut self, mut reader: impl Read) -> io::Result<Digest> {
        let mut buffer = vec![0; 128 << 10];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(self.finish()),
                count => self.update(&buffer[..count]),
            }
        }
    }

    /// Adds a field with its length, so that no two lists of fields are the same bytes.
    pub fn field(&mut self, bytes: &[u8]) {
        self.update(&(bytes.len() as u64).to_le_bytes());
        self.update(bytes);
    }

    /// Returns the digest of everything added.
    pub fn finish(self) -> Digest {
        let text = match self.0 {
            State::Sha256(hasher) => format!("sha256:{}", hex::encode(hasher.finalize())),
            State::Sha512(hasher) => format!("sha512:{}", hex::encode(hasher.finalize())),
        };
        Digest(text.into())
    }
}

impl Explain for DigestError {
    fn kind(&self) -> Kind {
        Kind::Machine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_the_empty_content() {
        let digest = Digest::sha256_of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(digest.hex(), &EMPTY[7..]);
        assert_eq!(digest.short(), "e3b0c44298fc");
        assert_eq!(digest.to_oci().as_ref(), EMPTY);
    }

    #[test]
    fn refuses_what_is_no_digest() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:e3b0",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &upper,
            "sha256:../../x",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        let non_ascii = format!("sha256:{}", "é".repeat(32));
        assert!(non_ascii.parse::<Digest>().is_err());
    }

    #[test]
    fn is_a_string_in_json() {
        let digest: Digest = serde_json::from_str(&format!("{EMPTY:?}")).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("{EMPTY:?}"));
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
    }

    #[test]
    fn sha512_is_understood() {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"abc");
        let digest = hasher.finish();
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert_eq!(digest.algorithm(), Algorithm::Sha512);
        assert!(digest.hex().starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(digest.to_oci().as_ref(), digest.as_str());
    }
}
