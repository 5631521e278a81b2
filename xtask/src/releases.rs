//! Root file systems of several releases of Debian, each with an apt of its own: `target/bases/debian-RELEASE.tar`.
//!
//! Tests ask that apt what it makes of a repository. mmdebstrap makes them, of what is newest: what is asked is no part of what is
//! tested.

use std::{fs, path::Path, process::Command};

use crate::{
    deps,
    failure::{Failure, Result},
    process, root,
};

/// Where Debian is published.
const MIRROR: &str = "http://deb.debian.org/debian";
/// The releases, and the packages that their roots have besides apt: what checks signatures, and distributions' keys.
const RELEASES: [(&str, &str); 3] = [
    ("bookworm", "ca-certificates,gpgv"),
    ("trixie", "ca-certificates,gpgv,sqv,gpg,ubuntu-keyring,distribution-gpg-keys"),
    ("forky", "ca-certificates,gpgv,sqv"),
];

/// Makes what is not there yet, or was made in another way.
pub(crate) fn make() -> Result {
    deps::install(&[deps::BASES, deps::BOOTSTRAP])?;
    let directory = root().join("target/bases");
    fs::create_dir_all(&directory).map_err(Failure::file("making", &directory))?;
    for (release, packages) in RELEASES {
        one(&directory, release, packages)?;
    }
    Ok(())
}

fn one(directory: &Path, release: &str, packages: &str) -> Result {
    let archive = directory.join(format!("debian-{release}.tar"));
    let recipe = format!("{release} {packages}\n");
    let recipe_file = archive.with_extension("recipe");
    if archive.exists() && fs::read_to_string(&recipe_file).is_ok_and(|text| text == recipe) {
        return Ok(());
    }
    eprintln!("making {} (a minute)", archive.display());
    let partial = archive.with_extension("partial.tar");
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--variant=apt", "--quiet", &format!("--include={packages}")]);
    // A mirror that stands still is good enough: it is the release's apt that is wanted, and not what is in the release.
    bootstrap.args(["--aptopt=Acquire::Check-Valid-Until \"false\"", release]).arg(&partial).arg(MIRROR);
    process::read(&mut bootstrap)?;
    fs::rename(&partial, &archive).map_err(Failure::file("naming", &archive))?;
    fs::write(&recipe_file, recipe).map_err(Failure::file("writing", recipe_file))
}
