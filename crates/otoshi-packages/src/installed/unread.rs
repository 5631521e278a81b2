//! Records of package managers that nobody here reads: what is installed by them is not known, and must not look like nothing.

use otoshi_oci::contents::above;

use crate::files::Files;

/// A record of packages that is not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Whose it is, as in `pacman`.
    pub manager: &'static str,
    /// A file or directory of it, without leading slash; `None` where it can be read, and stands beside another one that counts.
    pub path: Option<String>,
}

/// A file of each record that is there whenever the record is.
pub(super) const MARKS: [(&str, &str); 21] = [
    ("pacman", "var/lib/pacman/local/ALPM_DB_VERSION"),
    ("Portage", "var/lib/portage/world"),
    ("Portage", "etc/portage/make.conf"),
    ("opkg", "usr/lib/opkg/status"),
    ("opkg", "var/lib/opkg/status"),
    ("opkg", "opt/lib/opkg/status"),
    ("ipkg", "usr/lib/ipkg/status"),
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
    ("CRUX", "var/lib/pkg/db"),
    ("Spack", "opt/spack/opt/spack/.spack-db/index.json"),
    ("Bitnami", "opt/bitnami/.bitnami_components.json"),
];

/// Directories in which packages lie by name: whose they are, and which names are those of packages.
pub(super) const STORES: [(&str, &str, IsPackage); 21] = [
    ("Nix", "nix/store", has_hash),
    ("Guix", "gnu/store", has_hash),
    ("Homebrew", "home/linuxbrew/.linuxbrew/Cellar", is_keg),
    ("pacman", "var/lib/pacman/local", is_versioned),
    ("Portage", "var/db/pkg", is_versioned),
    ("Slackware", "var/log/packages", is_versioned),
    ("Slackware", "var/lib/pkgtools/packages", is_versioned),
    ("pkgsrc", "usr/pkg/pkgdb", is_versioned),
    ("pisi", "var/lib/pisi/package", is_versioned),
    ("KISS", "var/db/kiss/installed", is_keg),
    ("conda", "opt/conda/conda-meta", is_record),
    ("conda", "opt/miniconda/conda-meta", is_record),
    ("conda", "opt/miniconda3/conda-meta", is_record),
    ("conda", "opt/miniforge3/conda-meta", is_record),
    ("conda", "opt/mambaforge/conda-meta", is_record),
    ("conda", "opt/micromamba/conda-meta", is_record),
    ("conda", "opt/anaconda3/conda-meta", is_record),
    ("conda", "opt/env/conda-meta", is_record),
    ("conda", "root/miniconda3/conda-meta", is_record),
    ("conda", "root/miniforge3/conda-meta", is_record),
    ("conda", "usr/local/conda-meta", is_record),
];

/// The directory with the records of a prefix into which conda, mamba or pixi installed.
pub(super) const CONDA: &str = "conda-meta";

/// Where the loader of programs lies, by architecture and C library, below `/` and below `/usr`.
///
/// Source: the psABI supplement of each architecture, and musl's `LDSO_PATHNAME`.
const LOADERS: [&str; 24] = [
    "lib64/ld-linux-x86-64.so.2",
    "lib/ld-linux.so.2",
    "lib/ld-linux-aarch64.so.1",
    "lib/ld-linux-armhf.so.3",
    "lib/ld-linux.so.3",
    "lib/ld-linux-riscv64-lp64d.so.1",
    "lib64/ld64.so.2",
    "lib64/ld64.so.1",
    "lib/ld64.so.1",
    "lib64/ld-linux-loongarch-lp64d.so.1",
    "lib/ld-linux-mipsn8.so.1",
    "lib64/ld.so.1",
    "lib/ld.so.1",
    "lib/ld-musl-x86_64.so.1",
    "lib/ld-musl-i386.so.1",
    "lib/ld-musl-aarch64.so.1",
    "lib/ld-musl-armhf.so.1",
    "lib/ld-musl-arm.so.1",
    "lib/ld-musl-riscv64.so.1",
    "lib/ld-musl-powerpc64le.so.1",
    "lib/ld-musl-s390x.so.1",
    "lib/ld-musl-loongarch64.so.1",
    "lib/ld-uClibc.so.0",
    "lib/ld64-uClibc.so.0",
];

/// Every path of a loader.
pub(super) fn loaders() -> impl Iterator<Item = String> {
    LOADERS.into_iter().flat_map(|path| [path.to_owned(), format!("usr/{path}")])
}

/// Says whether a path is that of a loader.
pub(super) fn is_loader(path: &[u8]) -> bool {
    let below = path.strip_prefix(b"usr/").unwrap_or(path);
    LOADERS.iter().any(|loader| loader.as_bytes() == below)
}

/// The loader that an image has: programs in it use a C library, which some package was the source of.
pub(super) fn loader(files: &Files) -> Option<String> {
    loaders().find(|path| files.get(path).is_some())
}

/// Says whether a name in a directory is that of a package.
type IsPackage = fn(&[u8]) -> bool;

/// `HASH-NAME`, as in the stores of Nix and Guix: 32 digits, of which some letters are none.
fn has_hash(name: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z');
    name.len() > 33 && name[32] == b'-' && name[..32].iter().all(is_digit)
}

fn is_keg(name: &[u8]) -> bool {
    !name.starts_with(b".")
}

/// `NAME-VERSION`, or a category of packages as `dev-libs`.
fn is_versioned(name: &[u8]) -> bool {
    is_keg(name) && name.contains(&b'-')
}

fn is_record(name: &[u8]) -> bool {
    name.ends_with(b".json")
}

/// Says whether a path is that of a file that marks a record, or of a package in a store: that it is there says enough, whatever
/// it holds.
pub(super) fn is_mark(path: &[u8]) -> bool {
    MARKS.iter().any(|(_, mark)| mark.as_bytes() == path) || is_there(path)
}

/// Says whether all that is asked of a path is whether anything lies there, be it a directory, a file or a link.
pub(super) fn is_there(path: &[u8]) -> bool {
    is_stored(path) || is_loader(path)
}

/// Says whether a path is that of a package in a store.
pub(super) fn is_stored(path: &[u8]) -> bool {
    let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { return false };
    let (directory, name) = (&path[..slash], &path[slash + 1..]);
    let is_conda = directory.strip_suffix(CONDA.as_bytes()).is_some_and(|above| above.ends_with(b"/"));
    is_conda && is_record(name)
        || STORES.iter().any(|(_, store, is_package)| store.as_bytes() == directory && is_package(name))
}

/// The package in a store that a path lies below, if any: a layer need not list the directories that lead to its files.
pub(super) fn stored_above(path: &[u8]) -> Option<&[u8]> {
    above(path).find(|directory| is_stored(directory))
}

/// The records that an image has.
pub(super) fn found(files: &Files) -> Vec<Unread> {
    let mut found: Vec<Unread> = Vec::new();
    let marks = MARKS.into_iter().filter(|(_, path)| files.get(path).is_some());
    let stores = STORES.into_iter().filter(|(_, path, is_package)| {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        files.list(path).iter().any(|(path, _)| is_package(name(path).as_bytes()))
    });
    let known = marks.chain(stores.map(|(manager, path, _)| (manager, path)));
    let elsewhere = files.iter().filter_map(|(path, _)| {
        let (directory, _) = path.rsplit_once('/').filter(|_| is_stored(path.as_bytes()))?;
        directory.ends_with(CONDA).then(|| ("conda", directory.to_owned()))
    });
    for (manager, path) in known.map(|(manager, path)| (manager, path.to_owned())).chain(elsewhere) {
        if found.iter().all(|known| known.manager != manager) {
            found.push(Unread { manager, path: Some(path) });
        }
    }
    found
}
