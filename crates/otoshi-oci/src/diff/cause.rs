//! Why a file differs between two builds of the same thing, as far as its path tells.
//!
//! What is listed are files that are known to hold a time, a random number or the day's state of a network, whoever builds.

/// Where such files are, and what they hold: a start, an end or a part of the path, each with its `/`.
const KNOWN: &[(Place, &str)] = &[
    (Place::Below("/var/log/"), "a log, which holds times"),
    (Place::Below("/root/.npm/_logs/"), "a log, which holds times"),
    (Place::End(".log"), "a log, which holds times"),
    (
        Place::End("/gem_make.out"),
        "a log of a gem's build, which holds times and the names of temporary directories",
    ),
    (
        Place::Below("/var/cache/ldconfig/"),
        "notes of ldconfig, which hold the inode numbers and times of libraries",
    ),
    (Place::End(".pyc"), "Python's bytecode, which holds the time of its source"),
    (Place::Below("/var/lib/apt/lists/"), "the day's index of a package repository"),
    (Place::Below("/var/cache/apt/"), "the package manager's cache, which holds times"),
    (Place::Below("/var/cache/debconf/"), "debconf's database, which is written in no fixed order"),
    (Place::Below("/var/cache/man/"), "the index of manual pages, which holds times"),
    (Place::Below("/var/cache/fontconfig/"), "the index of fonts, which holds times"),
    (Place::Is("/etc/machine-id"), "a number made for each machine"),
    (Place::Is("/var/lib/dbus/machine-id"), "a number made for each machine"),
    (Place::Is("/etc/shadow"), "accounts, which hold the day on which a password was set"),
    (Place::Is("/etc/shadow-"), "accounts, which hold the day on which a password was set"),
    (Place::Below("/etc/ssh/ssh_host_"), "a key made for each machine"),
    (Place::Below("/etc/ssl/private/"), "a key made for each machine"),
    (Place::Within("/node-compile-cache/"), "Node's cache of compiled code, which holds the state of a run"),
    (Place::End("/.package-lock.json"), "npm's notes about what it installed"),
];

enum Place {
    Is(&'static str),
    Below(&'static str),
    End(&'static str),
    Within(&'static str),
}

/// Names what a file at `path` is known to hold that differs from build to build; `None` where nothing is known.
pub(super) fn cause(path: &str) -> Option<&'static str> {
    let holds = |place: &Place| match place {
        Place::Is(whole) => path == *whole,
        Place::Below(start) => path.starts_with(start),
        Place::End(end) => path.ends_with(end),
        Place::Within(part) => path.contains(part),
    };
    KNOWN.iter().find(|(place, _)| holds(place)).map(|(_, cause)| *cause)
}

#[cfg(test)]
mod tests {
    use super::cause;

    #[test]
    fn only_what_is_known_has_a_cause() {
        assert!(cause("/var/log/dpkg.log").unwrap().contains("times"));
        assert!(
            cause("/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc")
                .unwrap()
                .contains("bytecode")
        );
        for path in ["/var/logs", "/etc/machine-id.d/x", "/usr/bin/env", "/etc/passwd"] {
            assert_eq!(cause(path), None, "{path}");
        }
    }
}
