//! What images without rpm itself have in a database's place: the output of a query, as Azure Linux's and CBL-Mariner's
//! distroless images have it.
//!
//! ```text
//! var/lib/rpmmanifest/container-manifest-2    a line for each package, fields parted by tabs
//!   name  version-release  installed  built  vendor  epoch  size  architecture  epoch  source
//! var/lib/rpmmanifest/container-manifest-1    the same, as `rpm -qa` prints it
//! ```
//!
//! Source: the images, and `azurelinux`'s own tool that makes them (`rpm -qa --qf`).

use super::error::InstalledError;
use super::package::Package;
use crate::files::Files;

const FULL: &str = "var/lib/rpmmanifest/container-manifest-2";
const SHORT: &str = "var/lib/rpmmanifest/container-manifest-1";
/// The most packages that are read.
const MOST: usize = 200_000;

/// Reads the packages; `None` where there is no manifest.
pub(super) fn packages(files: &Files) -> Result<Option<Vec<Package>>, InstalledError> {
    let (path, text) = match (files.text(FULL), files.text(SHORT)) {
        (Some(text), _) => (FULL, text),
        // Names and versions alone do not say where one ends and the other begins in all cases; the full one always lies beside.
        (None, Some(text)) => (SHORT, text),
        (None, None) => return Ok(None),
    };
    let damaged = |number: usize| InstalledError::Database {
        path: path.to_owned(),
        reason: format!("line {number} is not a package as rpm prints it"),
    };
    let mut packages = Vec::new();
    // Keys that somebody trusts stand among the packages.
    let is_package = |line: &str| !line.trim().is_empty() && !line.starts_with("gpg-pubkey");
    for (number, line) in text.lines().enumerate().filter(|(_, line)| is_package(line)) {
        let read = if path == FULL { full(line) } else { short(line) };
        packages.push(read.ok_or_else(|| damaged(number + 1))?);
        if packages.len() > MOST {
            let reason = format!("it names more than {MOST} packages");
            return Err(InstalledError::Database { path: path.to_owned(), reason });
        }
    }
    Ok(Some(packages))
}

/// Reads a line of fields.
fn full(line: &str) -> Option<Package> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, version, _, _, _, epoch, _, architecture, rest @ ..] = fields.as_slice() else { return None };
    if name.is_empty() || !version.contains('-') {
        return None;
    }
    let epoch = epoch.parse::<u32>().ok().filter(|epoch| *epoch > 0);
    let archive = rest.last().copied().unwrap_or_default();
    let (source, source_version) = super::rpm::source(archive).unwrap_or((name, version));
    Some(Package {
        name: (*name).to_owned(),
        version: epoch.map_or_else(|| (*version).to_owned(), |epoch| format!("{epoch}:{version}")),
        architecture: (*architecture).to_owned(),
        source: source.to_owned(),
        source_version: source_version.to_owned(),
        ..Package::default()
    })
}

/// Reads `name-version-release.architecture`.
fn short(line: &str) -> Option<Package> {
    let (rest, architecture) = line.trim().rsplit_once('.')?;
    let mut parts = rest.rsplitn(3, '-');
    let (release, version, name) = (parts.next()?, parts.next()?, parts.next()?);
    let version = format!("{version}-{release}");
    Some(Package {
        name: name.to_owned(),
        source: name.to_owned(),
        source_version: version.clone(),
        version,
        architecture: architecture.to_owned(),
        ..Package::default()
    })
}

#[cfg(test)]
mod tests {
    use crate::{Files, Installed, Manager};

    #[test]
    fn a_manifest_stands_in_for_rpms_database() {
        let full = "openssl-libs\t3.3.0-1.azl3\t1715\t1714\tMicrosoft Corporation\t(none)\t3000\tx86_64\t0\topenssl-3.3.0-1.azl3.src.rpm\n\
            tzdata\t2024a-1.azl3\t1715\t1714\tMicrosoft Corporation\t1\t3000\tnoarch\t1\ttzdata-2024a-1.azl3.src.rpm\n\
            gpg-pubkey\t3135ce90-5e6fda74\t1715\t1714\t(none)\t(none)\t0\t(none)\t0\t(none)\n";
        let short = "openssl-libs-3.3.0-1.azl3.x86_64\ngpg-pubkey-3135ce90-5e6fda74.(none)\n";
        let mut files = Files::new();
        files.insert(super::SHORT, short.as_bytes());
        let installed = Installed::of(files.clone()).unwrap();
        assert_eq!(installed.packages.len(), 1);
        assert_eq!(
            (&*installed.packages[0].name, &*installed.packages[0].version),
            ("openssl-libs", "3.3.0-1.azl3")
        );
        files.insert(super::FULL, full.as_bytes());
        let installed = Installed::of(files.clone()).unwrap();
        assert_eq!(
            (installed.manager, installed.architecture.as_deref()),
            (Some(Manager::Rpm), Some("x86_64"))
        );
        let short: Vec<_> =
            installed.packages.iter().map(|p| format!("{} {} {}", p.name, p.version, p.source)).collect();
        assert_eq!(short, ["openssl-libs 3.3.0-1.azl3 openssl", "tzdata 1:2024a-1.azl3 tzdata"]);
        files.insert(super::FULL, &b"something else\n"[..]);
        assert!(Installed::of(files).unwrap_err().to_string().contains("container-manifest-2"));
    }
}
