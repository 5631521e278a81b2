//! How packages stand to their image's own repositories, whichever package manager there is.

use std::fmt::Write as _;

use jiff::Timestamp;
use otoshi_oci::Digest;
use otoshi_packages::apt::{Configuration, HttpFetcher};
use otoshi_packages::{Available, Cache, Files, Installed, Standing};
use otoshi_test::Server;

/// Serves a suite of apt's with one component.
fn suite(served: &Server, name: &str, packages: &[(&str, &str, &str)]) {
    let mut index = String::new();
    for (package, version, more) in packages {
        write!(
            index,
            "Package: {package}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{package}.deb\n"
        )
        .unwrap();
        writeln!(index, "Size: 1\nSHA256: {}\n{more}", Digest::sha256_of(b"x").hex()).unwrap();
    }
    let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S UTC");
    let release = format!(
        "Suite: {name}\nCodename: {name}\nDate: {date}\nArchitectures: amd64\nComponents: main\nSHA256:\n {} {} \
         main/binary-amd64/Packages\n",
        Digest::sha256_of(index.as_bytes()).hex(),
        index.len(),
    );
    served.put(&format!("/deb/dists/{name}/Release"), release);
    served.put(&format!("/deb/dists/{name}/main/binary-amd64/Packages"), index);
}

fn short(standing: &Standing) -> String {
    let Standing::Newer(newer) = standing else { return format!("{standing:?}") };
    let security = if newer.security { " security" } else { "" };
    let withheld = newer.withheld.map(|withheld| format!(" {withheld:?}")).unwrap_or_default();
    format!("{} from {}{security}{withheld}", newer.version, newer.repository)
}

fn standings(files: &Files, cache: &Cache) -> (Vec<String>, usize) {
    let installed = Installed::of(files.clone()).unwrap();
    let fetch = HttpFetcher::new(&Configuration::default()).unwrap();
    let available = Available::refresh(&installed, cache, &fetch, Timestamp::now());
    let lines = installed.packages.iter().map(|package| {
        let standing = available.standing(package).unwrap();
        format!("{}: {}", package.name, short(&standing))
    });
    (lines.collect(), available.failures().len())
}

#[test]
fn security_maintenance_held_phased_pinned_and_foreign_are_told_apart() {
    let (dir, served) = (tempfile::tempdir().unwrap(), Server::start());
    suite(
        &served,
        "stable",
        &[
            ("fixed", "1", ""),
            ("maintained", "2", ""),
            ("hold", "2", ""),
            ("phased", "2", "Phased-Update-Percentage: 30\n"),
            ("pinned", "2", ""),
            ("fresh", "1", ""),
            ("local", "1", ""),
            ("passed", "3", ""),
        ],
    );
    suite(&served, "stable-security", &[("fixed", "1.1", ""), ("passed", "2", "")]);
    let mut files = Files::new();
    let status = |name: &str, version: &str, want: &str| {
        format!("Package: {name}\nStatus: {want} ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    };
    let mut text = String::new();
    for name in ["fixed", "maintained", "phased", "pinned", "fresh", "foreign", "passed"] {
        text += &status(name, "1", "install");
    }
    text += &(status("hold", "1", "hold") + &status("local", "5", "install"));
    files.insert("var/lib/dpkg/status", text.as_bytes());
    let line = |suite: &str| format!("deb [trusted=yes] {}/deb {suite} main\n", served.url());
    files.insert("etc/apt/sources.list", (line("stable") + &line("stable-security")).as_bytes());
    // By its roll this machine waits for the package.
    files.insert("etc/machine-id", &b"0123456789abcdef0123456789abcdef\n"[..]);
    files.insert("etc/apt/preferences", &b"Package: pinned\nPin: version 1\nPin-Priority: 900\n"[..]);
    let expected = [
        "fixed: 1.1 from stable-security security",
        "foreign: Foreign",
        "fresh: Fresh",
        "hold: 2 from stable Held",
        "local: Fresh",
        "maintained: 2 from stable",
        "passed: 3 from stable security",
        "phased: 2 from stable Phased(30)",
        "pinned: 2 from stable Pinned",
    ];
    let (found, failures) = standings(&files, &Cache::new(dir.path()));
    assert_eq!((&found.iter().map(String::as_str).collect::<Vec<_>>()[..], failures), (&expected[..], 0));

    // A repository that does not answer and was never seen: what no other has may well be there.
    files.insert("etc/apt/sources.list.d/more.list", line("gone").as_bytes());
    let (found, failures) = standings(&files, &Cache::new(dir.path()));
    assert_eq!((&found[1][..], failures), ("foreign: Unknown", 1));
    assert_eq!(found[0], expected[0]);
}

#[test]
fn an_image_without_repositories_or_packages_has_nothing_newer() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    assert_eq!(standings(&Files::new(), &cache), (Vec::new(), 0));
    let mut files = Files::new();
    files.insert("lib/apk/db/installed", &b"P:a\nV:1\nA:x86_64\n\n"[..]);
    assert_eq!(standings(&files, &cache), (vec!["a: Foreign".to_owned()], 0));
    files.insert("etc/apk/repositories", &b"/media/cdrom\n"[..]);
    assert_eq!(standings(&files, &cache), (vec!["a: Unknown".to_owned()], 1));
}
