//! Platforms: operating system, architecture and variant, in the names that the Go toolchain gave them.
//!
//! Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md#platform-variants>

use std::fmt;
use std::str::FromStr;

use oci_spec::image::{Arch, Descriptor, Os};
use otoshi_explain::{Explain, Kind};
use serde::{Deserialize, Serialize};

/// Says why a string is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: expected os/architecture[/variant], such as \"linux/amd64\"")]
pub struct PlatformError(String);

/// Names what an image runs on, in normal form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The architecture, such as `amd64`.
    pub architecture: String,
    /// The variant of the architecture, such as `v7`; absent where it is the default one.
    pub variant: Option<String>,
}

impl Platform {
    /// Builds a platform from its parts, in normal form: `aarch64` becomes `arm64`, `armhf` becomes `arm/v7`.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.map(str::to_ascii_lowercase).filter(|v| !v.is_empty());
        let (architecture, variant) = normalise(&architecture, variant.as_deref());
        Self { os, architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// Returns the platform of the machine this runs on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new("linux", architecture, None)
    }

    /// Says whether an image for `image` runs on this platform.
    ///
    /// Variants of 32-bit arm and of amd64 go downwards: a `v7` machine runs `v6` images.
    pub fn matches(&self, image: &Self) -> bool {
        self.rank(image).is_some()
    }

    /// Returns how far `image` is from this platform (0 is exact), or nothing if it does not run here.
    pub fn rank(&self, image: &Self) -> Option<u32> {
        if self.os != image.os || self.architecture != image.architecture {
            return None;
        }
        let own = level(&self.architecture, self.variant.as_deref())?;
        let other = level(&image.architecture, image.variant.as_deref())?;
        own.checked_sub(other)
    }

    /// Returns the platform written in a descriptor, if it has one.
    pub fn of(descriptor: &Descriptor) -> Option<Self> {
        descriptor.platform().as_ref().map(|platform| {
            Self::new(
                &platform.os().to_string(),
                &platform.architecture().to_string(),
                platform.variant().as_deref(),
            )
        })
    }

    /// Returns the form that descriptors hold.
    pub fn to_oci(&self) -> oci_spec::image::Platform {
        let mut platform = oci_spec::image::Platform::default();
        platform
            .set_os(Os::from(self.os.as_str()))
            .set_architecture(Arch::from(self.architecture.as_str()))
            .set_variant(self.variant.clone());
        platform
    }
}

fn normalise<'a>(architecture: &'a str, variant: Option<&'a str>) -> (&'a str, Option<&'a str>) {
    match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", Some("v1") | None) => ("amd64", None),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", None),
        ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64", None),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", Some("7" | "v7") | None) => ("arm", Some("v7")),
        ("armel", _) | ("arm", Some("6" | "v6")) => ("arm", Some("v6")),
        ("arm", Some("5" | "v5")) => ("arm", Some("v5")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        other => other,
    }
}

/// Whether a word alone is an architecture, by Go's name or by a usual one.
///
/// Source: Go's `go tool dist list`, and what containerd's `platforms` takes for these.
fn is_architecture(word: &str) -> bool {
    const KNOWN: [&str; 27] = [
        "386", "aarch64", "amd64", "arm", "arm64", "armel", "armhf", "i386", "i486", "i586", "i686",
        "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc", "ppc64", "ppc64le", "riscv", "riscv64",
        "s390", "s390x", "wasm", "x86", "x86-64", "x86_64",
    ];
    KNOWN.contains(&word.to_ascii_lowercase().as_str())
}

/// The place of a variant in its architecture's line; an unknown one matches nothing.
fn level(architecture: &str, variant: Option<&str>) -> Option<u32> {
    let Some(variant) = variant else {
        return Some(match architecture {
            "arm" => 7,
            "arm64" => 8,
            "amd64" => 1,
            _ => 0,
        });
    };
    let digits = variant.strip_prefix('v').unwrap_or(variant);
    // "v8.2" and "v9": whole versions only, a point release needs at least that.
    let whole = digits.split('.').next().unwrap_or(digits);
    whole.parse().ok()
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Parses `os/architecture[/variant]`, an architecture alone, which means Linux, a system alone, which means this machine's
    /// architecture, or `local`, which means this machine's platform.
    ///
    /// Fails where a part is not a word, and where a word alone is neither a system nor an architecture.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(word) {
            return Err(PlatformError(text.to_owned()));
        }
        match parts[..] {
            ["linux" | "windows" | "darwin" | "freebsd"] => {
                Ok(Self::new(parts[0], &Self::host().architecture, None))
            }
            ["local"] => Ok(Self::host()),
            [architecture] if is_architecture(architecture) => Ok(Self::new("linux", architecture, None)),
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl Explain for PlatformError {
    fn kind(&self) -> Kind {
        Kind::User
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_normal() {
        for (typed, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("arm64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
            ("LINUX/AMD64", "linux/amd64"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(platform(typed).to_string(), normal, "{typed}");
        }
        for wrong in ["", "/", "linux/", "linux//v7", "a/b/c/d", "linux/amd 64"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_machine_runs_its_own_and_lower_variants() {
        assert!(platform("linux/amd64").matches(&platform("linux/amd64")));
        assert!(!platform("linux/amd64").matches(&platform("linux/arm64")));
        assert!(!platform("linux/amd64").matches(&platform("linux/amd64/v3")));
        assert!(platform("linux/amd64/v3").matches(&platform("linux/amd64")));
        assert!(platform("linux/arm/v7").matches(&platform("linux/arm/v6")));
        assert!(!platform("linux/arm/v6").matches(&platform("linux/arm/v7")));
        assert_eq!(platform("linux/arm/v7").rank(&platform("linux/arm/v5")), Some(2));
        assert!(!platform("linux/amd64").matches(&platform("windows/amd64")));
        assert!(Platform::host().matches(&Platform::host()));
    }

    #[test]
    fn goes_through_a_descriptor() {
        for text in ["linux/arm/v6", "linux/amd64", "linux/riscv64"] {
            let mut descriptor = Descriptor::new(
                oci_spec::image::MediaType::ImageManifest,
                2,
                crate::Digest::sha256_of(b"{}").to_oci(),
            );
            descriptor.set_platform(Some(platform(text).to_oci()));
            assert_eq!(Platform::of(&descriptor), Some(platform(text)));
        }
    }
}
