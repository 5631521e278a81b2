//! Newer packages on the runner: a layer of its own, made by the image's own package manager, for exact versions.
//!
//! ```text
//! below      the layers of the runner as its Dockerfile says, under a plain config: no user, no triggers, no shell of its own
//!   RUN      its package manager, with the network; what it keeps, fetches and logs beside the packages is thrown away
//! upgraded   the runner's own config over all layers; dev.otoshi.upgraded has the chain id of the layers below
//! ```
//!
//! What the lock says is held to: a package that is at the version or newer stays as it is, and where nothing is left to do there
//! is no layer. Afterwards the image's own records must say the versions, or it is an error.

use std::{collections::BTreeMap, sync::Arc};

use otoshi_dockerfile::Dockerfile;
use otoshi_engine::{BuildRequest, Context, Events};
use otoshi_explain::{Explain, Kind};
use otoshi_oci::{Digest, Image, config::History, config::ImageConfig, write_image};
use otoshi_packages::{Installed, Manager, version::compare};
use otoshi_project::Phase;
use otoshi_rebase::seam::{chain_id, layers_of};

use crate::{Pipeline, PipelineError};

const PHASE: Phase = Phase::Runner;
/// The annotation that has the chain id of the layers below the newer packages.
const UPGRADED: &str = "dev.otoshi.upgraded";
/// The name that the generated Dockerfile has for the image below.
const BELOW: &str = "otoshi.invalid/upgrade/below";
/// What is written there is no part of a package.
const LOGS: &str = "/var/log";

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
    fn all(manager: Manager) -> &'static [(&'static str, Self)] {
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
    fn script(self) -> String {
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
    fn caches(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["/var/lib/apt/lists", "/var/cache/apt"],
            Self::Apk => &["/var/cache/apk"],
            Self::Dnf(_) => &["/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum"],
            Self::Zypper => &["/var/cache/zypp"],
        }
    }

    /// A package of a version, as the program's arguments have it.
    fn argument(self, name: &str, architecture: &str, version: &str) -> String {
        match self {
            Self::Apt if architecture == "all" => format!("{name}={version}"),
            Self::Apt => format!("{name}:{architecture}={version}"),
            Self::Apk => format!("{name}={version}"),
            Self::Dnf(_) => match version.split_once(':') {
                Some((epoch, rest)) => format!("{name}-{epoch}:{rest}.{architecture}"),
                None => format!("{name}-{version}.{architecture}"),
            },
            Self::Zypper => format!("{name}.{architecture}={version}"),
        }
    }
}

/// Whether a name or version can be an argument as it is; others are no package's.
pub(crate) fn is_plain(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || ".+:~^_-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(inside)
}

impl Pipeline<'_> {
    /// Brings packages of an image to the versions that the lock says; gives the image and how many layers were written.
    pub(super) fn upgraded(
        &self,
        digest: Digest,
        wanted: &BTreeMap<String, String>,
        events: &dyn Events,
    ) -> Result<(Digest, usize), PipelineError> {
        if wanted.is_empty() {
            return Ok((digest, 0));
        }
        let image = self.load_image(&digest)?;
        let installed = self.installed_in(&image)?;
        let older = older(&installed, wanted);
        let (Some(manager), Some((first, version))) = (installed.manager, older.iter().next()) else {
            return Ok((digest, 0));
        };
        let tool = self.tool(&digest, manager)?.ok_or_else(|| {
            PipelineError::invalid(
                format!(
                    "otoshi.lock says {first} {version} for the runner, which has no package manager now"
                ),
                "otoshi refresh checks its packages again",
            )
        })?;
        let below = self.below(&image)?;
        let dockerfile = self.generated(&below, tool, &older)?;
        // A context without files.
        let empty = self.home.snapshots().draft()?;
        let context =
            Context::scan(self.home, &empty.tree(), None).map_err(PipelineError::engine_in(PHASE))?;
        let request = BuildRequest {
            images: BTreeMap::from([(BELOW.to_owned(), below.clone())]),
            platform: self.platform.clone(),
            network: self.network(),
            ca_certificates: self.ca_certificates()?,
            no_cache: self.no_cache,
            output: self.output_of(PHASE),
            ..BuildRequest::new(Arc::new(dockerfile), Arc::new(context))
        };
        let built = match self.engine.build(&request, events).map_err(PipelineError::engine_in(PHASE)) {
            Ok(built) => built,
            Err(error) if error.kind() == Kind::Build => {
                return Err(self.why_not(&installed, &older, error));
            }
            Err(error) => return Err(error),
        };
        let upgraded = self.put_over(&image, &self.load_image(&built.digest)?, &older)?;
        let now = self.installed_in(&self.load_image(&upgraded)?)?;
        if let Some((package, version)) = older_still(&now, &older) {
            return Err(PipelineError::invalid(
                format!(
                    "the runner's package manager was asked for {package} {version}, and it is not there"
                ),
                "otoshi refresh looks at what the repositories have now",
            ));
        }
        Ok((upgraded, built.layers_written))
    }

    /// An image as it was below its newer packages; the same where it has none.
    pub(crate) fn below_upgrades(&self, image: Image) -> Result<Image, PipelineError> {
        let chain = image.annotations().get(UPGRADED).and_then(|text| text.parse::<Digest>().ok());
        let ids = image.diff_ids();
        let found = chain.and_then(|chain| layers_of(ids, &chain)).filter(|count| *count < ids.len());
        let Some(count) = found else { return Ok(image) };
        let mut config = ImageConfig::new(&self.platform);
        config.rootfs.diff_ids = ids[..count].to_vec();
        let layers: Vec<_> = image.layers()[..count].iter().map(|layer| layer.descriptor.clone()).collect();
        let written = write_image(self.home.layout(), &config, &layers, &BTreeMap::new());
        let written = written?;
        self.load_image(&Digest::of(&written)?)
    }

    /// The program with which an image's packages can be made newer, where it has one.
    pub(crate) fn tool(&self, image: &Digest, manager: Manager) -> Result<Option<Tool>, PipelineError> {
        let has = |path| -> Result<bool, PipelineError> {
            let content = self.engine.content(image, path).map_err(PipelineError::engine_in(PHASE))?;
            Ok(content.is_some())
        };
        if has("/bin/sh")? {
            for (path, tool) in Tool::all(manager) {
                if has(path)? {
                    return Ok(Some(*tool));
                }
            }
        }
        Ok(None)
    }

    /// What is installed in an image.
    pub(crate) fn installed_in(&self, image: &Image) -> Result<Installed, PipelineError> {
        let fetch = |layer: &otoshi_oci::ImageLayer| match self.remote {
            Some(remote) => remote.fetch_layer(layer).map_err(Into::into),
            None => Ok(()),
        };
        Installed::of_image(self.home, image, &fetch)
            .map_err(|error| PipelineError::Invalid { hint: error.hint(), message: error.to_string() })
    }

    pub(crate) fn load_image(&self, digest: &Digest) -> Result<Image, PipelineError> {
        Image::load(self.home.layout(), digest, &self.platform).map_err(PipelineError::from)
    }

    /// The image's layers under a config that changes nothing about a command but its environment.
    fn below(&self, image: &Image) -> Result<Digest, PipelineError> {
        let mut config = ImageConfig::new(&self.platform);
        config.config.env.clone_from(&image.config.config.env);
        config.rootfs.diff_ids = image.diff_ids().to_vec();
        let layers: Vec<_> = image.layers().iter().map(|layer| layer.descriptor.clone()).collect();
        let written = write_image(self.home.layout(), &config, &layers, &BTreeMap::new());
        Digest::of(&written?).map_err(PipelineError::from)
    }

    /// The Dockerfile of one command.
    fn generated(
        &self,
        below: &Digest,
        tool: Tool,
        packages: &BTreeMap<String, String>,
    ) -> Result<Dockerfile, PipelineError> {
        let mut mounts = "--mount=type=tmpfs,target=/tmp".to_owned();
        for path in tool.caches().iter().chain([&LOGS]) {
            let there = self.engine.content(below, path).map_err(PipelineError::engine_in(PHASE))?;
            // Writes to it are thrown away; where there is nothing yet, an empty directory is put, the context.
            let shown = match there {
                Some(_) => format!(" --mount=type=bind,from=below,source={path},target={path},rw"),
                None if *path == LOGS => continue,
                None => format!(" --mount=type=bind,source=/,target={path},rw"),
            };
            mounts.push_str(&shown);
        }
        let mut argv = vec!["/bin/sh".to_owned(), "-ec".to_owned(), tool.script(), "upgrade".to_owned()];
        for (package, version) in packages {
            let (name, architecture) = split(package);
            if ![name, architecture, version].into_iter().all(is_plain) {
                return Err(PipelineError::invalid(
                    format!("otoshi.lock has {package:?} {version:?} for the runner, which is no package"),
                    "restore the file, or remove that entry",
                ));
            }
            argv.push(tool.argument(name, architecture, version));
        }
        let argv = serde_json::to_string(&argv)?;
        let text = format!("FROM {BELOW} AS below\nFROM below\nRUN {mounts} {argv}\n");
        Dockerfile::parse("newer packages", &text).map_err(PipelineError::dockerfile(PHASE))
    }

    /// The image with the layers that another one has more.
    fn put_over(
        &self,
        image: &Image,
        built: &Image,
        packages: &BTreeMap<String, String>,
    ) -> Result<Digest, PipelineError> {
        let count = image.layers().len();
        let mut layers: Vec<_> = image.layers().iter().map(|layer| layer.descriptor.clone()).collect();
        let mut config = image.config.clone();
        for layer in &built.layers()[count..] {
            layers.push(layer.descriptor.clone());
            config.rootfs.diff_ids.push(layer.diff_id.clone());
            let names: Vec<_> = packages.keys().map(|package| split(package).0).collect();
            config.history.push(History {
                created: config.created.clone(),
                created_by: Some(format!("otoshi: newer {}", names.join(", "))),
                ..History::default()
            });
        }
        let mut annotations = image.annotations();
        if let Some(chain) = chain_id(image.diff_ids()) {
            annotations.insert(UPGRADED.to_owned(), chain.to_string());
        }
        let written = write_image(self.home.layout(), &config, &layers, &annotations);
        Digest::of(&written?).map_err(PipelineError::from)
    }

    /// Says of a package manager's failure what it comes from, where that can be found out.
    fn why_not(
        &self,
        installed: &Installed,
        packages: &BTreeMap<String, String>,
        error: PipelineError,
    ) -> PipelineError {
        let Ok(available) = self.repositories(installed) else { return error };
        let gone = packages.iter().find(|(package, version)| {
            find(installed, package).is_some_and(|found| available.has(found, version) == Ok(false))
        });
        let Some((package, version)) = gone else { return error };
        PipelineError::invalid(
            format!(
                "otoshi.lock says {package} {version} for the runner, and its repositories no longer have it"
            ),
            "otoshi refresh takes what they have now",
        )
    }
}

/// Name and architecture of a package, as the lock has them.
pub(crate) fn split(package: &str) -> (&str, &str) {
    package.rsplit_once(':').unwrap_or((package, ""))
}

fn find<'i>(installed: &'i Installed, package: &str) -> Option<&'i otoshi_packages::Package> {
    let (name, architecture) = split(package);
    installed.named(name).iter().find(|found| found.architecture == architecture)
}

/// Those that are installed in an older version.
fn older(installed: &Installed, wanted: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let Some(manager) = installed.manager else { return BTreeMap::new() };
    let is_older = |(package, version): &(&String, &String)| {
        find(installed, package).is_some_and(|found| compare(manager, version, &found.version).is_gt())
    };
    wanted.iter().filter(is_older).map(|(package, version)| (package.clone(), version.clone())).collect()
}

/// One that is not there as it was asked for.
fn older_still<'w>(
    installed: &Installed,
    wanted: &'w BTreeMap<String, String>,
) -> Option<(&'w String, &'w String)> {
    wanted
        .iter()
        .find(|(package, version)| find(installed, package).is_none_or(|found| found.version != **version))
}
