//! Records of package managers that nobody here reads: what is installed by them is not known, and must not look like nothing.

use crate::files::Files;

/// A record of packages that is not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Whose it is, as in `pacman`.
    pub manager: &'static str,
    /// A file of it, without leading slash; `None` where it can be read, and stands beside another one that counts.
    pub path: Option<&'static str>,
}

/// A file of each record that is there whenever the record is.
pub(super) const MARKS: [(&str, &str); 18] = [
    ("pacman", "var/lib/pacman/local/ALPM_DB_VERSION"),
    ("Portage", "var/lib/portage/world"),
    ("Portage", "etc/portage/make.conf"),
    ("opkg", "usr/lib/opkg/status"),
    ("opkg", "var/lib/opkg/status"),
    ("opkg", "opt/lib/opkg/status"),
    ("xbps", "var/db/xbps/pkgdb-0.38.plist"),
    ("Nix", "nix/var/nix/db/db.sqlite"),
    ("Guix", "var/guix/db/db.sqlite"),
    ("Flatpak", "var/lib/flatpak/repo/config"),
    ("snap", "var/lib/snapd/state.json"),
    ("swupd", "usr/share/clear/versionstamp"),
    ("eopkg", "var/lib/eopkg/info/files.db"),
    ("urpmi", "var/lib/urpmi/MD5SUM"),
    ("moss", ".moss/db/install.db"),
    ("pkg", "var/db/pkg/local.sqlite"),
    ("Homebrew", "home/linuxbrew/.linuxbrew/Homebrew/.git/HEAD"),
    ("Bitnami", "opt/bitnami/.bitnami_components.json"),
];

/// Says whether a path is that of such a file: that it is there says enough, whatever it holds.
pub(super) fn is_mark(path: &[u8]) -> bool {
    MARKS.iter().any(|(_, mark)| mark.as_bytes() == path)
}

/// The records that an image has.
pub(super) fn found(files: &Files) -> Vec<Unread> {
    let mut found: Vec<Unread> = Vec::new();
    for (manager, path) in MARKS {
        if files.get(path).is_some() && found.iter().all(|known| known.manager != manager) {
            found.push(Unread { manager, path: Some(path) });
        }
    }
    found
}
