//! What Chisel cut out of Ubuntu's packages: small images have slices of packages, and a manifest that names them.
//!
//! ```text
//! var/lib/chisel/manifest.wall    lines of JSON, sorted, compressed with zstd
//!   {"jsonwall":"1.0","schema":"1.0","count":3}
//!   {"kind":"package","name":"libc6","version":"2.39-0ubuntu8.1","sha256":"…","arch":"amd64"}
//!   {"kind":"slice","name":"libc6_libs"}
//! ```
//!
//! Source: Chisel's documentation, "Chisel manifest".

use std::io::Read;

use serde::Deserialize;

use super::error::InstalledError;
use super::package::Package;
use crate::files::Files;

const PATH: &str = "var/lib/chisel/manifest.wall";
/// The longest manifest, in bytes.
const LIMIT: u64 = 64 << 20;
/// The most packages that are read.
const MOST: usize = 200_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    jsonwall: String,
    schema: String,
    count: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    kind: String,
    name: String,
    version: String,
    arch: String,
}

/// Reads the packages that slices were cut from; `None` where there is no manifest.
pub(super) fn packages(files: &Files) -> Result<Option<Vec<Package>>, InstalledError> {
    let Some(content) = files.get(PATH) else { return Ok(None) };
    let damaged = |reason: String| InstalledError::Database { path: PATH.to_owned(), reason };
    read(content).map(Some).map_err(damaged)
}

fn read(content: &[u8]) -> Result<Vec<Package>, String> {
    let mut text = String::new();
    let decoder = zstd::stream::read::Decoder::new(content).map_err(|error| error.to_string())?;
    decoder.take(LIMIT + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LIMIT {
        return Err(format!("it has more than {} MiB", LIMIT >> 20));
    }
    let mut lines = text.lines();
    let head = lines.next().and_then(|line| serde_json::from_str::<Head>(line).ok()).unwrap_or_default();
    if !head.jsonwall.starts_with("1.") || !head.schema.starts_with("1.") {
        let (form, schema) = (head.jsonwall, head.schema);
        return Err(format!("its format {form:?} with the schema {schema:?} is not known"));
    }
    if text.lines().count() != head.count {
        return Err(format!("it says that it has {} lines, but has {}", head.count, text.lines().count()));
    }
    let mut packages = Vec::new();
    for line in lines {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if line.kind != "package" {
            continue;
        }
        if line.name.is_empty() || line.version.is_empty() || packages.len() == MOST {
            return Err("a package has no name or version, or there are too many".to_owned());
        }
        packages.push(Package {
            source: line.name.clone(),
            source_version: line.version.clone(),
            name: line.name,
            version: line.version,
            architecture: line.arch,
            ..Package::default()
        });
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use crate::{Files, Installed, Manager};

    fn files(text: &str) -> Files {
        let mut files = Files::new();
        files.insert(super::PATH, zstd::bulk::compress(text.as_bytes(), 1).unwrap());
        files
    }

    #[test]
    fn packages_that_slices_are_cut_from_are_installed() {
        let text = "{\"jsonwall\":\"1.0\",\"schema\":\"1.0\",\"count\":4}\n\
            {\"kind\":\"package\",\"name\":\"libc6\",\"version\":\"2.39-0ubuntu8.1\",\"sha256\":\"x\",\"arch\":\"amd64\"}\n\
            {\"kind\":\"path\",\"path\":\"/lib/\",\"mode\":\"0755\",\"slices\":[\"libc6_libs\"]}\n\
            {\"kind\":\"slice\",\"name\":\"libc6_libs\"}\n";
        let installed = Installed::of(files(text)).unwrap();
        assert_eq!(
            (installed.manager, installed.architecture.as_deref()),
            (Some(Manager::Dpkg), Some("amd64"))
        );
        let package = &installed.packages[0];
        assert_eq!(
            (&*package.name, &*package.version, installed.packages.len()),
            ("libc6", "2.39-0ubuntu8.1", 1)
        );
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_named() {
        for text in [
            "",
            "{\"jsonwall\":\"2.0\",\"schema\":\"1.0\",\"count\":1}\n",
            "{\"jsonwall\":\"1.0\",\"schema\":\"1.0\",\"count\":3}\n{\"kind\":\"slice\",\"name\":\"a_b\"}\n",
            "{\"jsonwall\":\"1.0\",\"schema\":\"1.0\",\"count\":2}\n{\"kind\":\"package\",\"name\":\"a\"}\n",
        ] {
            let error = Installed::of(files(text)).unwrap_err().to_string();
            assert!(error.contains("/var/lib/chisel/manifest.wall"), "{error}");
        }
        let mut files = Files::new();
        files.insert(super::PATH, &b"no zstd"[..]);
        assert!(Installed::of(files).is_err());
    }
}
