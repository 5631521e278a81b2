//! What this machine's apt knows.

use std::process::Command;

use crate::run;

/// Lines of this machine's sources of a Debian release, its updates and its security fixes, for a root's `sources.list`; a test that
/// wants them needs [`Need::Apt`](crate::Need::Apt) of the release.
///
/// # Panics
/// When apt has no source of Debian's main archive.
pub fn debian_sources(release: &str) -> String {
    let format = "$(LABEL)|$(REPO_URI)|$(COMPONENT)";
    let listed =
        run(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]));
    let address = |label: &str| {
        let mut rows = listed.lines().map(|line| line.split('|').collect::<Vec<_>>());
        let row = rows.find(|row| row[0] == label && row[2] == "main");
        row.expect("sources of Debian's main archive")[1].to_owned()
    };
    let (archive, security) = (address("Debian"), address("Debian-Security"));
    format!(
        "deb {archive} {release} main\ndeb {archive} {release}-updates main\ndeb {security} {release}-security main\n"
    )
}
