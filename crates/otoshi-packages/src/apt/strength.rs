//! Which algorithms count, as GnuPG and Sequoia are told by apt.
//!
//! ```text
//! gpgv    APT::Key::Assert-Pubkey-Algo ">=rsa2048,ed25519,…", from apt 2.9.0 and GnuPG 2.4.5 on
//! sqv     a file of dates: /usr/share/apt/default-sequoia.config, or another one in its stead
//! ```
//!
//! Source: `apt-config dump`, apt's `sqv` method, and sequoia-policy-config's documentation.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::SignatureVersion;
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, PublicParams};
use toml::{Table, Value};

/// Where Sequoia's file is; the first that is there counts.
pub(crate) const POLICIES: [&str; 5] = [
    "etc/crypto-policies/back-ends/apt-sequoia.config",
    "var/lib/crypto-config/profiles/current/apt-sequoia.config",
    "etc/crypto-policies/back-ends/sequoia.config",
    "var/lib/crypto-config/profiles/current/sequoia.config",
    "usr/share/apt/default-sequoia.config",
];

/// Returns a kind of key in GnuPG's words, such as `rsa2048` and `nistp256`.
pub(super) fn name_of(key: &impl KeyDetails) -> String {
    let params = key.public_params();
    // The first number is the modulus, and the first two bytes of a number say how many bits it has.
    let bits = || {
        let bytes = params.to_bytes().unwrap_or_default();
        bytes.first_chunk().map_or(0, |bits| u16::from_be_bytes(*bits))
    };
    match params {
        PublicParams::RSA(_) => format!("rsa{}", bits()),
        PublicParams::DSA(_) => format!("dsa{}", bits()),
        PublicParams::ECDSA(params) => curve(&params.curve()),
        PublicParams::EdDSALegacy(params) => curve(&params.curve()),
        PublicParams::Ed25519(_) => "ed25519".to_owned(),
        PublicParams::Ed448(_) => "ed448".to_owned(),
        _ => format!("{:?}", key.algorithm()).to_ascii_lowercase(),
    }
}

fn curve(curve: &ECCCurve) -> String {
    match curve {
        ECCCurve::P256 => "nistp256",
        ECCCurve::P384 => "nistp384",
        ECCCurve::P521 => "nistp521",
        ECCCurve::BrainpoolP256r1 => "brainpoolP256r1",
        ECCCurve::BrainpoolP384r1 => "brainpoolP384r1",
        ECCCurve::BrainpoolP512r1 => "brainpoolP512r1",
        ECCCurve::Secp256k1 => "secp256k1",
        ECCCurve::Ed25519Legacy => "ed25519",
        _ => "another curve",
    }
    .to_owned()
}

/// The kinds of keys that gpgv is told to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asserted(String);

impl Asserted {
    /// Takes a list as apt's setting has it; an empty one takes all.
    pub(super) fn new(list: &str) -> Option<Self> {
        Some(list.trim()).filter(|list| !list.is_empty()).map(|list| Self(list.to_owned()))
    }

    /// The list.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether a kind of key is in it.
    pub(super) fn has(&self, name: &str) -> bool {
        let apart = |text: &str| {
            let digits = text.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |last| last + 1);
            (text[..digits].to_ascii_lowercase(), text[digits..].parse::<u32>().unwrap_or(0))
        };
        let (kind, size) = apart(name);
        self.0.split([',', ' ']).filter(|entry| !entry.is_empty()).any(|entry| {
            match entry.strip_prefix(">=") {
                Some(least) => {
                    let (same, least) = apart(least);
                    same == kind && size >= least
                }
                None => entry.eq_ignore_ascii_case(name),
            }
        })
    }
}

/// Until when algorithms count for Sequoia.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cutoffs {
    table: Table,
}

impl Cutoffs {
    /// Reads the file's text; with an empty one, Sequoia's own dates count.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        Ok(Self { table })
    }

    /// All that the file says.
    pub(super) fn to_text(&self) -> String {
        self.table.to_string()
    }

    /// Says whether a key of a kind (in GnuPG's words) counts.
    pub(super) fn takes_key(&self, name: &str, now: Timestamp) -> bool {
        let split = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
        let size = name[split..].parse().unwrap_or(0_u32);
        let step = match size {
            ..2048 => 1024,
            2048..3072 => 2048,
            3072..4096 => 3072,
            _ => 4096,
        };
        let (name, own) = match &name[..split] {
            kind @ ("rsa" | "dsa") => {
                let own = match step {
                    1024 => Some(civil::date(2014, 2, 1)),
                    2048 => Some(civil::date(2030, 2, 1)),
                    _ => None,
                };
                (format!("{kind}{step}"), own)
            }
            "brainpoolP" => (name.trim_end_matches("r1").to_ascii_lowercase(), None),
            // Keys of this curve have the name of the form in which they came first.
            _ if name == "ed25519" => ("cv25519".to_owned(), None),
            "nistp" | "ed" => (name.to_owned(), None),
            _ => return false,
        };
        self.takes("asymmetric_algorithms", &[&name], own, now)
    }

    /// Says whether a hash counts in a signature of a document, or with `own` in one by which a key vouches for itself.
    pub(super) fn takes_hash(&self, hash: Option<HashAlgorithm>, own: bool, now: Timestamp) -> bool {
        let (name, default) = match hash {
            Some(HashAlgorithm::Md5) => ("md5", Some(civil::date(1997, 2, 1))),
            Some(HashAlgorithm::Sha1) => ("sha1", Some(Self::old(own))),
            Some(HashAlgorithm::Ripemd160) => ("ripemd160", Some(Self::old(own))),
            Some(HashAlgorithm::Sha224) => ("sha224", None),
            Some(HashAlgorithm::Sha256) => ("sha256", None),
            Some(HashAlgorithm::Sha384) => ("sha384", None),
            Some(HashAlgorithm::Sha512) => ("sha512", None),
            Some(HashAlgorithm::Sha3_256) => ("sha3-256", None),
            Some(HashAlgorithm::Sha3_512) => ("sha3-512", None),
            _ => return false,
        };
        let property = if own { "second_preimage_resistance" } else { "collision_resistance" };
        self.takes("hash_algorithms", &[name, property], default, now)
    }

    /// Until when Sequoia itself takes SHA-1 and its like.
    fn old(own: bool) -> Date {
        if own { civil::date(2023, 2, 1) } else { civil::date(2013, 2, 1) }
    }

    /// Says whether a signature of a version counts.
    pub(super) fn takes_version(&self, version: SignatureVersion, now: Timestamp) -> bool {
        match version {
            SignatureVersion::V3 => {
                self.takes("packets", &["signature", "v3"], Some(civil::date(2021, 2, 1)), now)
            }
            SignatureVersion::V4 => self.takes("packets", &["signature", "v4"], None, now),
            SignatureVersion::V6 => self.takes("packets", &["signature", "v6"], None, now),
            _ => false,
        }
    }

    /// Says whether an entry of the file holds; without one, whether a date is still to come.
    fn takes(&self, table: &str, path: &[&str], own: Option<Date>, now: Timestamp) -> bool {
        let Some(table) = self.table.get(table).and_then(Value::as_table) else { return is_before(own, now) };
        let mut found = None;
        let mut at = Some(table);
        for name in path {
            let value = at.and_then(|table| table.get(*name));
            found = value.filter(|value| !value.is_table());
            at = value.and_then(Value::as_table);
            if found.is_some() {
                break;
            }
        }
        let listed = found.or_else(|| table.get("default_disposition"));
        match listed {
            Some(Value::String(word)) => word == "always",
            Some(Value::Datetime(date)) => {
                let date = date.date.and_then(|date| {
                    let (year, month) = (i16::try_from(date.year).ok()?, i8::try_from(date.month).ok()?);
                    Date::new(year, month, i8::try_from(date.day).ok()?).ok()
                });
                date.is_some_and(|date| is_before(Some(date), now))
            }
            Some(_) => false,
            None => is_before(own, now),
        }
    }
}

/// Whether a day is still to come; no day never comes.
fn is_before(day: Option<Date>, now: Timestamp) -> bool {
    day.is_none_or(|day| TimeZone::UTC.to_datetime(now).date() < day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpgv_is_told_kinds_and_least_sizes() {
        let asserted = Asserted::new(">=rsa2048,ed25519,nistp256, brainpoolP256r1").unwrap();
        for name in ["rsa2048", "rsa4096", "ed25519", "nistp256", "brainpoolP256r1"] {
            assert!(asserted.has(name), "{name}");
        }
        for name in ["rsa1024", "dsa3072", "nistp384", "ed448", "another curve"] {
            assert!(!asserted.has(name), "{name}");
        }
        assert_eq!(Asserted::new(" "), None);
    }

    #[test]
    fn sequoias_file_says_until_when_something_counts() {
        let apt = "[asymmetric_algorithms]\ndsa2048 = 2024-02-01\nbrainpoolp256 = 2028-02-01\nrsa2048  = 2030-02-01\n\
            [hash_algorithms]\nsha1.second_preimage_resistance = 2026-02-01    # later\nsha224 = 2026-02-01\n\
            [packets]\nsignature.v3 = 2026-02-01\n";
        let cutoffs = Cutoffs::parse(apt).unwrap();
        let (then, now): (Timestamp, Timestamp) =
            ("2026-01-31T23:59:59Z".parse().unwrap(), "2026-02-01T00:00:00Z".parse().unwrap());
        let key = |name: &str| cutoffs.takes_key(name, now);
        assert!(
            key("rsa2048") && key("rsa4096") && key("ed25519") && key("nistp521") && key("brainpoolP256r1")
        );
        assert!(!key("rsa1024") && !key("rsa1536") && !key("dsa2048") && !key("secp256k1"));
        assert!(!cutoffs.takes_key("rsa2048", "2030-02-02T00:00:00Z".parse().unwrap()));
        let sha1 = |own, now| cutoffs.takes_hash(Some(HashAlgorithm::Sha1), own, now);
        assert!(sha1(true, then) && !sha1(true, now) && !sha1(false, then));
        assert!(cutoffs.takes_hash(Some(HashAlgorithm::Sha224), false, then));
        assert!(!cutoffs.takes_hash(Some(HashAlgorithm::Sha224), true, now));
        assert!(!cutoffs.takes_version(SignatureVersion::V3, now));

        let strict = Cutoffs::parse(
            "[asymmetric_algorithms]\ndefault_disposition=\"never\"\nrsa3072=\"always\"\n[hash_algorithms]\nsha512=\"never\"\n",
        )
        .unwrap();
        assert!(
            strict.takes_key("rsa3072", now)
                && !strict.takes_key("rsa4096", now)
                && !strict.takes_key("ed25519", now)
        );
        assert!(!strict.takes_hash(Some(HashAlgorithm::Sha512), false, now));
        assert!(strict.takes_hash(Some(HashAlgorithm::Sha256), false, now));
        assert!(Cutoffs::parse("[asymmetric\n").is_err());
    }
}
