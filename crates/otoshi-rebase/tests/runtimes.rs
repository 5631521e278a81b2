//! Runtimes as Debian packages them, and modules for them: what the proof says of a swap from one release to the next is what the
//! packages' own dependencies say.
//!
//! The packages' files are taken apart and never installed; they are kept below `target`.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use otoshi_oci::RunConfig;
use otoshi_oci::contents::Layer;
use otoshi_packages::apt::{self, Available, Distribution, HttpFetcher, Kept, Repositories};
use otoshi_packages::roots::{self, Chosen, Deb};
use otoshi_rebase::proof::{Base, Proof, Swap, of_tar, prove};
use otoshi_rebase::{Facts, Kind};
use rayon::prelude::*;

/// A runtime's packages in each release, and a module for it.
struct Row {
    /// As the proof calls it.
    runtime: &'static str,
    /// The packages of the old release, separated by spaces; the last one is the module.
    bookworm: &'static str,
    /// Those of the new one.
    trixie: &'static str,
}

const ROWS: [Row; 13] = [
    Row {
        runtime: "perl",
        bookworm: "perl-base perl libjson-xs-perl",
        trixie: "perl-base perl libjson-xs-perl",
    },
    Row {
        runtime: "php",
        bookworm: "php8.2-cli php8.2-common php8.2-redis",
        trixie: "php8.4-cli php8.4-common php8.4-redis",
    },
    Row {
        runtime: "ruby",
        bookworm: "libruby libruby3.1 ruby-msgpack",
        trixie: "libruby libruby3.3 ruby-msgpack",
    },
    Row {
        runtime: "python",
        bookworm: "python3 libpython3.11-minimal python3-msgpack",
        trixie: "python3 libpython3.13-minimal python3-msgpack",
    },
    Row {
        runtime: "node",
        bookworm: "libnode108 node-modern-syslog",
        trixie: "libnode115 node-modern-syslog",
    },
    Row {
        runtime: "postgresql",
        bookworm: "postgresql-15 postgresql-15-cron",
        trixie: "postgresql-17 postgresql-17-cron",
    },
    Row {
        runtime: "nginx",
        bookworm: "nginx libnginx-mod-http-echo",
        trixie: "nginx libnginx-mod-http-echo",
    },
    Row {
        runtime: "apache",
        bookworm: "apache2-bin libapache2-mod-qos",
        trixie: "apache2-bin libapache2-mod-qos",
    },
    Row { runtime: "erlang", bookworm: "erlang-base erlang-p1-xml", trixie: "erlang-base erlang-p1-xml" },
    Row { runtime: "r", bookworm: "r-base-core r-cran-digest", trixie: "r-base-core r-cran-digest" },
    Row { runtime: "lua", bookworm: "liblua5.4-0 lua-cjson", trixie: "liblua5.4-0 lua-cjson" },
    Row {
        runtime: "guile",
        bookworm: "guile-3.0-libs guile-3.0 guile-json",
        trixie: "guile-3.0-libs guile-3.0 guile-json",
    },
    Row { runtime: "tcl", bookworm: "libtcl8.6 tcl8.6 tcl-tls", trixie: "libtcl8.6 tcl8.6 tcl-tls" },
];

/// A release of Debian: what it has, and where its packages are kept.
struct Release {
    available: Available,
    fetcher: HttpFetcher,
    directory: PathBuf,
}

impl Release {
    fn ask(codename: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtimes");
        std::fs::create_dir_all(&directory).unwrap();
        let files = apt::read_root("/".as_ref()).unwrap();
        let debian = Distribution::of("debian").unwrap();
        let machine = Repositories::from_files(&files, "amd64").with_keys_of(debian).without_preferences();
        let fetcher = HttpFetcher::new(machine.configuration()).unwrap();
        let machine = machine.with_sources(vec![debian.source(codename, "amd64")]);
        let available = machine.refresh(&Kept::new(directory.join("apt")), &fetcher, Timestamp::now());
        assert!(available.failures().is_empty(), "{:?}", available.failures());
        Self { available, fetcher, directory }
    }

    /// Packages by name, without those that they depend on.
    fn packages(&self, names: &str) -> Vec<Package> {
        let names: Vec<String> = names.split(' ').map(str::to_owned).collect();
        let all = roots::choose(&self.available, &names, &[]).unwrap();
        let of_name = |name: &String| all.iter().find(|one| one.record.name == *name).unwrap().clone();
        let chosen: Vec<Chosen> = names.iter().map(of_name).collect();
        let paths = roots::fetch(&self.available, &chosen, &self.directory, &self.fetcher).unwrap();
        chosen.into_iter().zip(paths).map(|(chosen, path)| Package::read(chosen, &path)).collect()
    }
}

/// A package: what it says of itself, and its files.
struct Package {
    chosen: Chosen,
    files: Layer<Facts>,
}

impl Package {
    fn read(chosen: Chosen, path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let data = Deb::parse(&bytes).unwrap().data().unwrap();
        let files = of_tar(Cursor::new(data)).unwrap();
        Self { chosen, files }
    }

    /// Whether one of some packages is what a dependency asks for.
    fn is_met_by(dependency: &[roots::Dependency], runtime: &[Self]) -> bool {
        dependency.iter().any(|one| runtime.iter().any(|package| one.is_met_by(&package.chosen.record)))
    }

    /// Whether the packages of another release do all that those of its own do for this one, as Debian sees it.
    fn is_served(&self, own: &[Self], other: &[Self]) -> bool {
        let dependencies = roots::parse_dependencies(&self.chosen.record.depends);
        dependencies.iter().all(|one| !Self::is_met_by(one, own) || Self::is_met_by(one, other))
    }
}

fn base(packages: &[Package]) -> Base {
    Base::new(packages.iter().map(|package| &package.files))
}

/// What the proof says of putting a module's files on another base; of the runtimes alone.
fn swap(module: &Package, old: &Base, new: &Base) -> (Proof, Vec<String>) {
    let config = RunConfig::default();
    let app = [&module.files];
    let proof = prove(Swap { app: &app, old, new, old_config: &config, new_config: &config });
    let of_runtimes = proof.findings.iter().filter(|finding| finding.kind == Kind::RuntimeChanged);
    let subjects = of_runtimes.map(|finding| finding.subject.clone()).collect();
    (proof, subjects)
}

/// Whether a runtime's module no longer finds it in the next release; what must hold of it anyway is looked at on the way.
fn moves(row: &Row, bookworm: &Release, trixie: &Release) -> bool {
    let (mut old, mut new) = (bookworm.packages(row.bookworm), trixie.packages(row.trixie));
    let (old_module, new_module) = (old.pop().unwrap(), new.pop().unwrap());
    let (old_base, new_base, empty) = (base(&old), base(&new), base(&[]));
    for (module, own) in [(&old_module, &old_base), (&new_module, &new_base)] {
        let name = format!("{} {}", module.chosen.record.name, module.chosen.record.version);
        let (proof, found) = swap(module, own, own);
        assert_eq!(found, [""; 0], "{name} on its own base");
        let examined = &proof.examined.runtimes;
        let marker = examined.iter().any(|one| one.split(' ').next() == Some(row.runtime));
        assert!(marker, "{name} was not seen to be for {}: {examined:?}", row.runtime);
        let (_, found) = swap(module, own, &empty);
        assert!(found.iter().any(|one| one.starts_with(row.runtime)), "{name} without it: {found:?}");
    }
    let (_, found) = swap(&old_module, &old_base, &new_base);
    assert_eq!(found.is_empty(), old_module.is_served(&old, &new), "{}: {found:?}", row.runtime);
    !found.is_empty()
}

#[test]
fn the_proof_says_of_debians_modules_what_their_dependencies_say() {
    let (bookworm, trixie) = (Release::ask("bookworm"), Release::ask("trixie"));
    let moved = ROWS.par_iter().filter(|row| moves(row, &bookworm, &trixie)).map(|row| row.runtime);
    // The releases differ in these, and agree in the others.
    assert_eq!(moved.collect::<Vec<_>>(), ["perl", "php", "ruby", "python", "node", "postgresql", "nginx"]);
}
