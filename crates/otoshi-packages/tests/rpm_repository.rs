//! rpm's repositories: made by rpmbuild and createrepo_c, signed by gpg, served on a loopback port. dnf says what is newer.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use otoshi_packages::apt::{Configuration, HttpFetcher};
use otoshi_packages::rpm::Available;
use otoshi_packages::{Documents, Failure, Installed, Withheld};
use otoshi_test::{Missing, Need, Server, given, require, run};

/// Builds packages without files, as name, version and release.
fn build(top: &Path, packages: &[(&str, &str)]) -> Vec<PathBuf> {
    let mut spec =
        "Name: main\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nd\n"
            .to_owned();
    for (name, version) in packages {
        let (version, release) = version.split_once('-').unwrap();
        let (epoch, version) = version.split_once(':').unwrap_or(("", version));
        let epoch = if epoch.is_empty() { String::new() } else { format!("Epoch: {epoch}\n") };
        write!(spec, "%package -n {name}\nSummary: s\n{epoch}Version: {version}\nRelease: {release}\n")
            .unwrap();
        writeln!(spec, "%description -n {name}\nd\n%files -n {name}").unwrap();
    }
    fs::create_dir_all(top).unwrap();
    fs::write(top.join("main.spec"), spec).unwrap();
    let define = format!("_topdir {}", top.display());
    run(Command::new("rpmbuild").args(["-bb", "--quiet", "--define", &define]).arg(top.join("main.spec")));
    let built = top.join("RPMS/noarch");
    packages
        .iter()
        .map(|(name, version)| {
            let short = version.split_once(':').map_or(*version, |(_, short)| short);
            built.join(format!("{name}-{short}.noarch.rpm"))
        })
        .collect()
}

/// Makes a repository of some packages.
fn repository(directory: &Path, packages: &[PathBuf], options: &[&str]) {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).unwrap();
    for package in packages {
        fs::copy(package, directory.join(package.file_name().unwrap())).unwrap();
    }
    run(Command::new("createrepo_c").arg("--quiet").args(options).arg(directory));
}

/// Adds a file of metadata to a repository.
fn add(directory: &Path, kind: &str, text: &str) {
    let file = directory.with_file_name(kind);
    fs::write(&file, text).unwrap();
    run(Command::new("modifyrepo_c")
        .arg(format!("--mdtype={kind}"))
        .arg(file)
        .arg(directory.join("repodata")));
}

/// A root with packages installed, and a server for its repositories.
struct Fixture {
    directory: tempfile::TempDir,
    served: Server,
    fetch: HttpFetcher,
}

impl Fixture {
    fn new(installed: &[(&str, &str)]) -> Result<Self, Missing> {
        require(&[Need::Tool("rpm"), Need::Tool("gpg"), Need::Tool("createrepo_c"), Need::Tool("dnf")])?;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let packages = build(&directory.path().join("installed"), installed);
        fs::create_dir_all(root.join("etc/yum.repos.d")).unwrap();
        fs::create_dir_all(root.join("etc/dnf/modules.d")).unwrap();
        fs::write(root.join("etc/dnf/dnf.conf"), "[main]\ngpgcheck=0\n").unwrap();
        fs::write(
            root.join("etc/os-release"),
            "ID=rocky\nID_LIKE=\"rhel\"\nVERSION_ID=9.4\nPLATFORM_ID=\"platform:el9\"\n",
        )
        .unwrap();
        run(Command::new("rpm")
            .arg("--dbpath")
            .arg(root.join("var/lib/rpm"))
            .args(["--define", "_db_backend sqlite", "-i", "--justdb", "--nodeps"])
            .args(packages));
        // Debian's rpm has its database in the home directory.
        fs::create_dir_all(root.join("root")).unwrap();
        std::os::unix::fs::symlink("../var/lib/rpm", root.join("root/.rpmdb")).unwrap();
        let fetch = HttpFetcher::new(&Configuration::default()).unwrap();
        Ok(Self { directory, served: Server::start(), fetch })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path("root").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("HOST", &self.served.url())).unwrap();
    }

    /// As another run of the program would.
    fn refresh(&self) -> (Installed, Available) {
        let mut installed = Installed::of_root(&self.path("root")).unwrap();
        installed.architecture = Some("x86_64".to_owned());
        let documents = Documents::new(self.path("kept"));
        let available = Available::refresh(&installed, &documents, &self.fetch, Timestamp::now());
        (installed, available)
    }

    /// What is newer, as we say it: name, architecture, version and repository.
    fn ours(&self) -> Vec<String> {
        let (installed, available) = self.refresh();
        assert!(available.failures.is_empty(), "{:?}", available.failures);
        let mut lines = Vec::new();
        for package in &installed.packages {
            let found = available.candidate(&package.name, &package.architecture, Some(&package.version));
            if let Some(found) = found.filter(|found| found.version != package.version) {
                lines.push(format!(
                    "{}.{} {} {}",
                    package.name, package.architecture, found.version, found.repository
                ));
            }
        }
        lines
    }

    /// What is newer, as dnf says it.
    fn theirs(&self) -> Vec<String> {
        let mut command = Command::new("dnf");
        command.arg("--installroot").arg(self.path("root"));
        command.args(["--quiet", "--releasever=9", "--forcearch=x86_64", "check-update"]);
        command.args(["--setopt=cachedir=/cache", "--setopt=plugins=0", "--setopt=metadata_expire=0"]);
        let output = command.env("HOME", "/root").env("no_proxy", "127.0.0.1").output().unwrap();
        let code = output.status.code();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(code == Some(100) || code == Some(0), "{errors}");
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort();
        lines
    }
}

const MODULES: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: modx\n  stream: s1\n  version: 1\n  context: c1\n  \
    arch: x86_64\n  summary: s\n  description: d\n  license: {module: [MIT]}\n  dependencies:\n  - requires: {platform: [el9]}\n  \
    artifacts:\n    rpms: [modpkg-0:1.0-1.noarch, modpkg-0:1.5-1.noarch]\n...\n---\ndocument: modulemd\nversion: 2\ndata:\n  \
    name: modx\n  stream: s2\n  version: 1\n  context: c2\n  arch: x86_64\n  summary: s\n  description: d\n  license: \
    {module: [MIT]}\n  dependencies:\n  - requires: {platform: [el9]}\n  artifacts:\n    rpms: [modpkg-0:2.0-1.noarch]\n...\n";

const NOTICES: &str = "<?xml version=\"1.0\"?><updates><update from=\"x\" status=\"final\" type=\"security\" version=\"1\"><id>X-1</id>\
    <title>t</title><issued date=\"2026-01-01 00:00:00\"/><pkglist><collection><name>c</name><package name=\"plain\" epoch=\"0\" \
    version=\"1.1\" release=\"1\" arch=\"noarch\" src=\"main-1-1.src.rpm\"><filename>plain-1.1-1.noarch.rpm</filename></package>\
    </collection></pkglist></update></updates>";

#[test]
fn dnf_agrees_on_what_is_newer() {
    let fixture = given!(Fixture::new(&[
        ("plain", "1.0-1"),
        ("excluded", "1.0-1"),
        ("prior", "1.0-1"),
        ("modpkg", "1.0-1"),
        ("foreign", "1.0-1"),
        ("newest", "5-1"),
        ("epochs", "1:1-1"),
        ("tilde", "1.0~rc1-1"),
    ]));
    let main = [
        build(
            &fixture.path("one"),
            &[
                ("plain", "1.1-1"),
                ("excluded", "2.0-1"),
                ("prior", "3.0-1"),
                ("modpkg", "1.5-1"),
                ("newest", "4-1"),
                ("epochs", "2-1"),
                ("tilde", "1.0-1"),
            ],
        ),
        build(&fixture.path("two"), &[("plain", "1.2-1"), ("modpkg", "2.0-1"), ("epochs", "2:0.1-1")]),
        build(&fixture.path("three"), &[("modpkg", "9.0-1")]),
    ]
    .concat();
    let repo = fixture.path("main");
    repository(&repo, &main, &["--compress-type=bz2"]);
    add(&repo, "modules", MODULES);
    add(&repo, "updateinfo", NOTICES);
    fixture.served.put_tree("/9/main", &repo);
    let prior = fixture.path("prior");
    repository(&prior, &build(&fixture.path("four"), &[("prior", "2.0-1")]), &["--compress-type=xz"]);
    fixture.served.put_tree("/prior", &prior);
    fixture.write(
        "etc/yum.repos.d/x.repo",
        "[main]\n[base]\nname=b\nbaseurl=HOST/$releasever/main\nexclude=exclu*\n[first]\nname=f\nbaseurl=HOST/prior/\npriority=10\n\
         [off]\nname=o\nbaseurl=HOST/off\nenabled=0\n",
    );
    let expected = |module: Option<&'static str>| {
        let mut lines = vec![
            "epochs.noarch 2:0.1-1 base",
            "plain.noarch 1.2-1 base",
            "prior.noarch 2.0-1 first",
            "tilde.noarch 1.0-1 base",
        ];
        lines.extend(module);
        lines.sort_unstable();
        lines
    };
    for (state, module) in [
        ("[modx]\nname=modx\nstream=s1\nprofiles=\nstate=enabled\n", Some("modpkg.noarch 1.5-1 base")),
        ("[modx]\nname=modx\nstream=s2\nprofiles=\nstate=enabled\n", Some("modpkg.noarch 2.0-1 base")),
        ("[modx]\nname=modx\nstream=\nprofiles=\nstate=disabled\n", Some("modpkg.noarch 9.0-1 base")),
        ("", Some("modpkg.noarch 9.0-1 base")),
    ] {
        fixture.write("etc/dnf/modules.d/modx.module", state);
        assert_eq!(fixture.theirs(), expected(module), "{state}");
        assert_eq!(fixture.ours(), expected(module), "{state}");
    }

    let (_, available) = fixture.refresh();
    let plain = available.candidate("plain", "noarch", Some("1.0-1")).unwrap();
    assert!(plain.security, "what 1.1 fixed, 1.2 fixes as well");
    assert!(!available.candidate("plain", "noarch", Some("1.1-1")).unwrap().security);
    let excluded = available.candidate("excluded", "noarch", Some("1.0-1")).unwrap();
    let newer = excluded.newer.unwrap();
    assert_eq!(&excluded.version, "1.0-1");
    assert_eq!((&newer.version[..], newer.kept_away), ("2.0-1", Some(Withheld::Excluded)));
    let prior = available.candidate("prior", "noarch", Some("1.0-1")).unwrap();
    let newer = prior.newer.unwrap();
    assert_eq!((&newer.version[..], newer.kept_away), ("3.0-1", Some(Withheld::Priority)));
    assert_eq!(available.candidate("foreign", "noarch", Some("1.0-1")), None);

    // Another run asks for the two lists alone.
    fixture.served.requests();
    fixture.refresh();
    let mut requests = fixture.served.requests();
    requests.sort();
    assert_eq!(requests, ["304 /9/main/repodata/repomd.xml", "304 /prior/repodata/repomd.xml"]);
}

#[test]
fn what_is_not_as_signed_is_refused_with_the_reason() {
    let fixture = given!(Fixture::new(&[("plain", "1.0-1")]));
    let repo = fixture.path("main");
    repository(&repo, &build(&fixture.path("one"), &[("plain", "1.1-1")]), &[]);
    let home = fixture.path("gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = || {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(&home).args(["--batch", "--quiet", "--yes", "--passphrase", ""]);
        gpg
    };
    for user in ["own@x.test", "other@x.test"] {
        run(gpg().args(["--quick-generate-key", user, "rsa2048", "sign", "never"]));
    }
    fixture.write("etc/pki/rpm-gpg/KEY-9", &run(gpg().args(["--armor", "--export", "own@x.test"])));
    let repomd = repo.join("repodata/repomd.xml");
    let sign = |user: &str| {
        run(gpg().args(["--armor", "--detach-sign", "--local-user", user]).arg(&repomd));
        fixture.served.put_tree("/main", &repo);
    };
    let settings = "[main]\n[base]\nbaseurl=HOST/main\nrepo_gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/KEY-$releasever\n";
    fixture.write("etc/yum.repos.d/x.repo", settings);
    let ours = || fixture.refresh().1;
    let refused = |kind: &str, text: &str| {
        let available = ours();
        let [Failure { place, error, kept: false }] = &available.failures[..] else {
            panic!("{kind}: {:?}", available.failures)
        };
        assert_eq!((&place[..], error.code()), ("base", kind), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(available.candidate("plain", "noarch", Some("1.0-1")), None);
    };

    fixture.served.put_tree("/main", &repo);
    refused("unsigned", "repomd.xml is unsigned");
    sign("other@x.test");
    refused("unknown-key", "has no such key");
    sign("own@x.test");
    let list = fixture.served.get("/main/repodata/repomd.xml");
    fixture.served.put("/main/repodata/repomd.xml", [&list[..], b"\n"].concat());
    refused("tampered", "does not match it");

    fixture.served.put_tree("/main", &repo);
    let primary = fs::read_dir(repo.join("repodata")).unwrap().map(|entry| entry.unwrap().file_name());
    let primary =
        primary.map(|name| name.into_string().unwrap()).find(|name| name.contains("-primary.xml")).unwrap();
    let primary = format!("/main/repodata/{primary}");
    let whole = fixture.served.get(&primary);
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fixture.served.put(&primary, changed);
    refused("tampered", "its hash is not");
    fixture.served.put(&primary, &whole[..whole.len() / 2]);
    refused("truncated", "is truncated");
    fixture.served.put(&primary, [&whole[..], b"more"].concat());
    refused("truncated", "instead of");
    fixture.served.remove(&primary);
    refused("missing", "does not exist");
    fixture.write("etc/yum.repos.d/x.repo", &settings.replace("KEY-$", "NO-$"));
    refused("keyring", "/NO-9 does not exist");
    fixture.write("etc/yum.repos.d/x.repo", &settings.replace("file:///etc", "https://x.test"));
    refused("keyring", "keys are not fetched");
    fixture.write("etc/yum.repos.d/x.repo", &settings.replace("HOST/main", "file:///srv/main"));
    refused("method", "only http and https");

    fixture.write("etc/yum.repos.d/x.repo", settings);
    fixture.served.put(&primary, whole);
    let available = ours();
    assert!(available.failures.is_empty(), "{:?}", available.failures);
    assert_eq!(available.candidate("plain", "noarch", Some("1.0-1")).unwrap().version, "1.1-1");

    // A metalink says what the list must be.
    let metalink = |hash: &str| {
        let text = format!(
            "<metalink><files><file name=\"repomd.xml\"><verification><hash type=\"sha256\">{hash}</hash></verification>\
             <resources><url>{0}/gone/repodata/repomd.xml</url><url>{0}/main/repodata/repomd.xml</url></resources></file>\
             </files></metalink>",
            fixture.served.url()
        );
        fixture.served.put("/metalink", text);
    };
    fixture.write("etc/yum.repos.d/x.repo", "[base]\nmetalink=HOST/metalink?repo=x\n");
    metalink(otoshi_oci::Digest::sha256_of(b"another").hex());
    let available = ours();
    assert_eq!(available.candidate("plain", "noarch", Some("1.0-1")), None);
    metalink(otoshi_oci::Digest::sha256_of(&list).hex());
    assert_eq!(ours().candidate("plain", "noarch", Some("1.0-1")).unwrap().version, "1.1-1");
    // The server is down: that is told, and what was known is still known.
    fixture.served.set_down(true);
    let available = ours();
    assert!(
        available.failures.iter().all(|failure| failure.kept && failure.error.code() == "fetch"),
        "{:?}",
        available.failures
    );
    assert_eq!(available.candidate("plain", "noarch", Some("1.0-1")).unwrap().version, "1.1-1");
}
