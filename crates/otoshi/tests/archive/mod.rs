//! A project on a real Debian of the release alone, for which fixes are waiting; and an archive of one package made here.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
};

use otoshi_test::{Missing, Need, Server, require, run};
use serde_json::Value;

use crate::support::Shop;

pub(crate) struct Debian {
    shop: Shop,
}

impl Deref for Debian {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl Debian {
    pub(crate) fn new() -> Result<Self, Missing> {
        require(&[Need::Base("bookworm-old"), Need::Apt("bookworm")])?;
        let debian = Self { shop: Shop::empty()? };
        debian.import("bookworm-old");
        Ok(debian)
    }

    /// Takes one of the bases that `cargo xtask bases` makes under the name that the project has for its base.
    pub(crate) fn import(&self, name: &'static str) {
        let tar = otoshi_test::base(name).unwrap();
        self.ok(&["import", tar.to_str().unwrap(), "--name", "otoshi.test/debian:1"]);
    }

    /// The project, with one setting of upgrades and more of its tables and processes.
    pub(crate) fn project(&self, upgrade: &str, tables: &str, processes: &str) {
        let manifest = format!(
            "[project]\nname = \"shop\"\n[bases]\nBASE = \"otoshi.test/debian:1\"\n[runner]\ndockerfile = \"runner.Dockerfile\"\n\
             [refresh]\nupgrade = \"{upgrade}\"\n{tables}[processes]\n{processes}greet = \"cat /usr/share/greeting\"\n\
             list = [\"dpkg-query\", \"-W\", \"-f\", \"${{Package}} ${{Version}}\\n\"]\n"
        );
        self.write("otoshi.toml", &manifest);
    }

    pub(crate) fn refresh(&self, arguments: &[&str]) -> Value {
        self.json(&[&["refresh", "--json"], arguments].concat())
    }

    /// The numbers of the phases that ran.
    pub(crate) fn ran(&self, report: &Value) -> Vec<u64> {
        let stale = report["phases"].as_array().unwrap().iter().filter(|phase| phase["status"] == "stale");
        stale.map(|phase| phase["number"].as_u64().unwrap()).collect()
    }

    /// Builds, and gives the phases that ran.
    pub(crate) fn built(&self) -> Vec<u64> {
        self.ran(&self.json(&["build", "--json"]))
    }

    /// What dpkg has on record in the app image, as the image itself says.
    pub(crate) fn versions(&self) -> BTreeMap<String, String> {
        let listed = self.ok(&["run", "list"]);
        let rows = listed.lines().filter_map(|line| line.split_once(' '));
        rows.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
    }

    pub(crate) fn lock(&self) -> String {
        fs::read_to_string(self.path("otoshi.lock")).unwrap()
    }

    /// The newer packages that the lock has for the runner, as it writes them.
    pub(crate) fn upgrades(&self) -> Vec<String> {
        let lock = self.lock();
        let lines = lock.lines().skip_while(|line| !line.starts_with("[upgrades.")).skip(1);
        lines.map(str::to_owned).collect()
    }

    /// The images by name and digest, and the lock.
    pub(crate) fn state(&self) -> (String, String) {
        (self.ok(&["images"]), self.lock())
    }

    /// Throws the store away.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.home()).unwrap();
    }

    /// Throws the store away; the base comes again.
    pub(crate) fn replace_machine(&self) {
        self.forget();
        self.import("bookworm-old");
    }

    fn inspect(&self, image: &str) -> Value {
        self.json(&["inspect", image])
    }

    pub(crate) fn layers(&self, image: &str) -> usize {
        self.inspect(image)["layers"].as_array().unwrap().len()
    }

    /// The names in an image's topmost layer.
    pub(crate) fn top_layer(&self, image: &str) -> Vec<String> {
        let layers = self.inspect(image)["layers"].clone();
        let digest = layers.as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
        let out = self.dir.path().join("exported");
        let _ = fs::remove_dir_all(&out);
        self.ok(&["export", image, out.to_str().unwrap(), "--format", "oci"]);
        let blob = out.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let listed = Command::new("tar").arg("-tzf").arg(blob).output().unwrap();
        assert!(listed.status.success());
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    }
}

/// The table of a project whose commands fetch from this machine's loopback.
pub(crate) const ON_HOST: &str = "[build]\nnetwork = \"host\"\n";

/// An archive that serves versions of one package, `greeting`, on loopback.
pub(crate) struct Archive {
    dir: tempfile::TempDir,
    server: Server,
    versions: Vec<(String, String)>,
}

impl Archive {
    /// Serves versions in suites.
    pub(crate) fn new(versions: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::of(dir.path());
        let versions: Vec<_> =
            versions.iter().map(|(suite, version)| (suite.to_string(), version.to_string())).collect();
        let archive = Self { dir, server, versions };
        for (_, version) in &archive.versions {
            archive.make(version);
        }
        archive.index("");
        archive
    }

    /// Has a version no more.
    pub(crate) fn forget(&self, version: &str) {
        fs::remove_file(self.deb(version)).unwrap();
        self.index(version);
    }

    /// Lines for apt's list of sources.
    pub(crate) fn sources(&self) -> String {
        let line = |suite: &str| format!("deb [trusted=yes] {} {suite} main\n", self.server.url());
        line("stable") + &line("stable-security")
    }

    pub(crate) fn deb(&self, version: &str) -> PathBuf {
        self.dir.path().join(format!("greeting_{version}_all.deb"))
    }

    fn control(version: &str) -> String {
        format!(
            "Package: greeting\nVersion: {version}\nArchitecture: all\nMaintainer: A Test <test@otoshi.test>\n\
             Description: says its version\n"
        )
    }

    fn make(&self, version: &str) {
        let tree = self.dir.path().join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("usr/share")).unwrap();
        fs::write(tree.join("DEBIAN/control"), Self::control(version)).unwrap();
        fs::write(tree.join("usr/share/greeting"), format!("greeting {version}\n")).unwrap();
        run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(self.deb(version)));
        fs::remove_dir_all(tree).unwrap();
    }

    fn sum(path: &Path) -> String {
        run(Command::new("sha256sum").arg(path)).split(' ').next().unwrap().to_owned()
    }

    fn index(&self, without: &str) {
        for suite in ["stable", "stable-security"] {
            let directory = self.dir.path().join("dists").join(suite);
            let packages = directory.join("main/binary-amd64/Packages");
            fs::create_dir_all(packages.parent().unwrap()).unwrap();
            let mut text = String::new();
            for (_, version) in self.versions.iter().filter(|(of, version)| of == suite && version != without)
            {
                let deb = self.deb(version);
                let (name, size) =
                    (deb.file_name().unwrap().to_string_lossy(), fs::metadata(&deb).unwrap().len());
                let (control, sum) = (Self::control(version), Self::sum(&deb));
                write!(text, "{control}Filename: {name}\nSize: {size}\nSHA256: {sum}\n\n").unwrap();
            }
            fs::write(&packages, &text).unwrap();
            let date =
                run(Command::new("date").args(["-u", "+%a, %d %b %Y %H:%M:%S UTC"]).env("LC_ALL", "C"));
            let release = format!(
                "Suite: {suite}\nCodename: {suite}\nDate: {date}Architectures: amd64 all\nComponents: main\nSHA256:\n \
                 {} {} main/binary-amd64/Packages\n",
                Self::sum(&packages),
                text.len()
            );
            fs::write(directory.join("Release"), release).unwrap();
        }
    }
}
