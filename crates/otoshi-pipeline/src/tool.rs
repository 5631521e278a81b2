//! The programs that install packages in images, and how each is told to take exact versions.

use otoshi_packages::Manager;
use otoshi_project::{PackageName, PackageVersion};

/// A program that installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Apt,
    Apk,
    /// With the path of dnf, microdnf or yum, which take the same arguments.
    Dnf(&'static str),
    Zypper,
}

impl Tool {
    /// The programs of a package manager, by their paths.
    pub(crate) fn all(manager: Manager) -> &'static [(&'static str, Self)] {
        match manager {
            Manager::Dpkg => &[("/usr/bin/apt-get", Self::Apt)],
            Manager::Apk => &[("/sbin/apk", Self::Apk), ("/usr/sbin/apk", Self::Apk)],
            Manager::Rpm => &[
                ("/usr/bin/dnf", Self::Dnf("/usr/bin/dnf")),
                ("/usr/bin/microdnf", Self::Dnf("/usr/bin/microdnf")),
                ("/usr/bin/yum", Self::Dnf("/usr/bin/yum")),
                ("/usr/bin/zypper", Self::Zypper),
            ],
        }
    }

    /// The shell's text that brings the packages in its arguments to their versions.
    pub(crate) fn script(self) -> String {
        match self {
            // Who asked for a package stays as it was; backups of records are none of the packages'.
            Self::Apt => "export DEBIAN_FRONTEND=noninteractive\n\
                 auto=$(apt-mark showauto)\n\
                 apt-get -qq update\n\
                 apt-get -qq -y --only-upgrade --no-remove --no-install-recommends \
                 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install \"$@\"\n\
                 [ -z \"$auto\" ] || apt-mark auto $auto >/dev/null\n\
                 rm -f /var/lib/dpkg/*-old /var/cache/debconf/*-old"
                .to_owned(),
            // A version in apk's list of wishes would hold the package for ever.
            Self::Apk => "world=$(cat /etc/apk/world)\n\
                 apk add --no-cache --no-progress --upgrade \"$@\"\n\
                 printf '%s\\n' \"$world\" > /etc/apk/world"
                .to_owned(),
            Self::Dnf(program) => format!("{program} -y upgrade \"$@\""),
            Self::Zypper => "zypper --non-interactive install --no-recommends \"$@\"".to_owned(),
        }
    }

    /// Where it keeps what it fetches.
    pub(crate) fn caches(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["/var/lib/apt/lists", "/var/cache/apt"],
            Self::Apk => &["/var/cache/apk"],
            Self::Dnf(_) => &["/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum"],
            Self::Zypper => &["/var/cache/zypp"],
        }
    }

    /// A package of a version, as the program's arguments have it.
    pub(crate) fn argument(self, package: &PackageName, version: &PackageVersion) -> String {
        let (name, architecture) = (package.name(), package.architecture());
        match self {
            Self::Apt if architecture == "all" => format!("{name}={version}"),
            Self::Apt => format!("{name}:{architecture}={version}"),
            Self::Apk => format!("{name}={version}"),
            Self::Dnf(_) => match version.as_str().split_once(':') {
                Some((epoch, rest)) => format!("{name}-{epoch}:{rest}.{architecture}"),
                None => format!("{name}-{version}.{architecture}"),
            },
            Self::Zypper => format!("{name}.{architecture}={version}"),
        }
    }
}
