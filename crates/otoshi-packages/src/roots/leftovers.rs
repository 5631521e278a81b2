//! What differs each time a root is made, or is of use only while it is made, and is taken out of it at the end.

use super::error::RootError;
use super::inside::Inside;

/// Files and directories: logs, caches that are made again when they are needed, and copies of what was before.
const REMOVED: [&str; 17] = [
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "usr/sbin/policy-rc.d",
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
];

/// Directories that are emptied.
const EMPTIED: [&str; 5] = ["run", "tmp", "var/lib/dpkg/updates", "var/log/apt", "var/tmp"];
/// What stays in them: a directory that every root has from the start.
const STAYING: &str = "run/lock";

/// Directories whose files that end in `-old` go.
const BEFORE: [&str; 1] = ["var/lib/dpkg"];

/// Has the day of each password's last change. Source: shadow(5).
pub(super) const SHADOW: &str = "etc/shadow";
/// 1980-01-01 in days since 1970.
const DAY: &str = "3652";

/// Gives all passwords of `shadow` one day of their last change.
pub(super) fn undated(shadow: &str) -> String {
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if let Some(day) = fields.get_mut(2).filter(|day| !day.is_empty()) {
            *day = DAY;
        }
        fields.join(":") + "\n"
    };
    shadow.lines().map(line).collect()
}

/// Names one machine; an empty file is a machine that has no name yet. Source: machine-id(5).
pub(super) const MACHINE_ID: &str = "etc/machine-id";

/// Takes out what is left over.
pub(super) fn remove(inside: &Inside) -> Result<(), RootError> {
    for path in REMOVED {
        inside.remove(path)?;
    }
    for directory in EMPTIED {
        for name in inside.names(directory)? {
            if [directory.as_bytes(), b"/", &name].concat() == STAYING.as_bytes() {
                continue;
            }
            inside.remove_in(directory, &name)?;
        }
    }
    for directory in BEFORE {
        for name in inside.names(directory)?.iter().filter(|name| name.ends_with(b"-old")) {
            inside.remove_in(directory, name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_have_one_day() {
        assert_eq!(
            undated("root:*:20782:0:99999:7:::\nx:!::::::\n"),
            "root:*:3652:0:99999:7:::\nx:!::::::\n"
        );
    }
}
