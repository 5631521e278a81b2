//! rpm's databases, as rpm and Berkeley DB themselves write them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use otoshi_packages::{Files, Installed, Manager};
use otoshi_test::{Need, given, require, run};

/// How many packages the databases have: enough for trees of several levels.
const COUNT: usize = 150;

/// Databases with the same packages, and what rpm says of them.
struct Made {
    directory: tempfile::TempDir,
    listed: Vec<String>,
}

/// What makes databases in each form.
const NEEDS: [Need; 3] = [Need::Tool("rpm"), Need::Tool("sqlite3"), Need::Tool("db_load")];

static MADE: LazyLock<Made> = LazyLock::new(make);

fn rpm(database: &Path, form: &str) -> Command {
    let mut command = Command::new("rpm");
    command.arg("--dbpath").arg(database).args(["--define", &format!("_db_backend {form}")]);
    command
}

/// Builds packages with headers of a few hundred bytes to some hundred kilobytes, and installs them in a database.
fn make() -> Made {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let mut spec =
        "Name: main\nVersion: 1.2\nRelease: 3.el9\nEpoch: 2\nSummary: s\nLicense: MIT\nBuildArch: noarch\nModularityLabel: modx:s1:1:c1\n\
                    %description\nd\n%files\n"
            .to_owned();
    for number in 0..COUNT {
        let long = "lorem ipsum ".repeat(if number % 50 == 7 { 20_000 } else { number * 3 });
        write!(spec, "%package -n sub-{number:03}\nSummary: s\nVersion: 0.{number}~rc1\n").unwrap();
        writeln!(spec, "%description -n sub-{number:03}\n{long}\n%files -n sub-{number:03}").unwrap();
    }
    fs::write(top.join("main.spec"), spec).unwrap();
    let define = format!("_topdir {}", top.join("built").display());
    run(Command::new("rpmbuild").args(["-bb", "--quiet", "--define", &define]).arg(top.join("main.spec")));
    let built = top.join("built/RPMS/noarch");
    let packages: Vec<PathBuf> = fs::read_dir(&built).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(packages.len(), COUNT + 1);
    let database = top.join("sqlite");
    run(rpm(&database, "sqlite").args(["-i", "--justdb", "--nodeps"]).args(&packages));
    // A key that somebody trusts is a package to rpm, and none to us.
    let home = top.join("gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let gpg = || {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(&home).args(["--batch", "--quiet", "--passphrase", ""]);
        gpg
    };
    run(gpg().args(["--quick-generate-key", "k@x.test", "rsa2048", "sign", "never"]));
    fs::write(top.join("key.asc"), run(gpg().args(["--armor", "--export"]))).unwrap();
    run(rpm(&database, "sqlite").arg("--import").arg(top.join("key.asc")));
    let listed = listed(&database, "sqlite");
    write_bdb(&database, &top.join("bdb"), 4096, 1234);
    write_bdb(&database, &top.join("bdb-large-pages"), 65536, 1234);
    write_bdb(&database, &top.join("bdb-other-order"), 4096, 4321);
    write_ndb(&database, &top.join("ndb"));
    Made { directory, listed }
}

/// What rpm itself lists, sorted.
fn listed(database: &Path, form: &str) -> Vec<String> {
    let format = "%{NAME} %{EVR} %{ARCH} %{SOURCERPM}\\n";
    let text = run(rpm(database, form).args(["-qa", "--queryformat", format]));
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with("gpg-pubkey ")).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The headers of a database in hexadecimal digits, with their numbers, as SQLite's own shell reads them.
fn headers(database: &Path) -> Vec<(u32, String)> {
    let query = "select hnum, hex(blob) from Packages";
    let text = run(Command::new("sqlite3").arg("-readonly").arg(database.join("rpmdb.sqlite")).arg(query));
    text.lines()
        .map(|line| line.split_once('|').unwrap())
        .map(|(n, hex)| (n.parse().unwrap(), hex.into()))
        .collect()
}

/// Loads the same headers into a hash of Berkeley DB, as rpm had them until 4.16.
fn write_bdb(database: &Path, directory: &Path, page: usize, order: u32) {
    fs::create_dir(directory).unwrap();
    let mut dump = format!(
        "VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize={page}\ndb_lorder={order}\nHEADER=END\n"
    );
    write!(dump, " 00000000\n ff000000\n").unwrap();
    for (number, hex) in headers(database) {
        writeln!(dump, " {:08x}\n {}", number.swap_bytes(), hex.to_lowercase()).unwrap();
    }
    dump += "DATA=END\n";
    let file = directory.join("dump");
    fs::write(&file, dump).unwrap();
    run(Command::new("db_load").arg("-f").arg(&file).arg(directory.join("Packages")));
    fs::remove_file(file).unwrap();
}

/// Writes the same headers as SUSE's rpm has them; Debian's rpm is built without that form.
fn write_ndb(database: &Path, directory: &Path) {
    fs::create_dir(directory).unwrap();
    let headers = headers(database);
    let pages = (headers.len() + 2).div_ceil(256);
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = [&b"RpmP"[..], &words(&[0, 1, pages as u32, 999, 0, 0, 0])].concat();
    let mut blobs: Vec<u8> = Vec::new();
    for (number, hex) in &headers {
        let header: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let start = (pages * 4096 + blobs.len()) / 16;
        let before = blobs.len();
        let length = header.len() as u32;
        blobs.extend([&b"BlbS"[..], &words(&[*number, 1, length]), &header].concat());
        blobs.resize((blobs.len() + 12).next_multiple_of(16) - 12, 0);
        blobs.extend([&words(&[0, length])[..], b"BlbE"].concat());
        let blocks = ((blobs.len() - before) / 16) as u32;
        file.extend([&b"Slot"[..], &words(&[*number, start as u32, blocks])].concat());
    }
    while file.len() < pages * 4096 {
        file.extend([&b"Slot"[..], &words(&[0, 0, 0])].concat());
    }
    file.extend(blobs);
    fs::write(directory.join("Packages.db"), file).unwrap();
}

fn read(name: &str) -> Vec<u8> {
    fs::read(MADE.directory.path().join(name)).unwrap()
}

/// Our own reading, in the form of rpm's list.
fn ours(path: &str, database: Vec<u8>) -> Result<Vec<String>, String> {
    let mut files = Files::new();
    files.insert(path, database);
    let installed = Installed::of(files).map_err(|error| error.to_string())?;
    assert_eq!(installed.manager, Some(Manager::Rpm));
    let line = |package: &otoshi_packages::Package| {
        let source = format!("{}-{}.src.rpm", package.source, package.source_version);
        format!("{} {} {} {source}", package.name, package.version, package.architecture)
    };
    let mut lines: Vec<String> = installed.packages.iter().map(line).collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn sqlite_is_read_as_rpm_reads_it() {
    given!(require(&NEEDS));
    assert_eq!(MADE.listed.len(), COUNT + 1);
    assert!(MADE.listed.contains(&"main 2:1.2-3.el9 noarch main-1.2-3.el9.src.rpm".to_owned()));
    assert_eq!(ours("var/lib/rpm/rpmdb.sqlite", read("sqlite/rpmdb.sqlite")).unwrap(), MADE.listed);
    assert_eq!(ours("usr/lib/sysimage/rpm/rpmdb.sqlite", read("sqlite/rpmdb.sqlite")).unwrap(), MADE.listed);
}

#[test]
fn locks_and_modules_are_known() {
    given!(require(&NEEDS));
    let mut files = Files::new();
    files.insert("var/lib/rpm/rpmdb.sqlite", read("sqlite/rpmdb.sqlite"));
    let locks = "# comment\nmain-2:1.2-3.*\n!sub-001-0:*\nsub-002-0:9-*.*\nsub-1[0-4]*\n";
    files.insert("etc/dnf/plugins/versionlock.list", locks.as_bytes());
    let installed = Installed::of(files).unwrap();
    let held: Vec<_> = installed.packages.iter().filter(|package| package.held).collect();
    assert_eq!(held.len(), 51);
    assert_eq!((&held[0].name[..], held[0].module.as_deref()), ("main", Some("modx:s1")));
    assert!(held[1..].iter().all(|package| package.name.starts_with("sub-1")));
}

#[test]
fn berkeley_db_is_read_as_rpm_reads_it() {
    given!(require(&NEEDS));
    for name in ["bdb", "bdb-large-pages", "bdb-other-order"] {
        assert_eq!(listed(&MADE.directory.path().join(name), "bdb_ro"), MADE.listed);
        assert_eq!(ours("var/lib/rpm/Packages", read(&format!("{name}/Packages"))).unwrap(), MADE.listed);
    }
}

#[test]
fn ndb_is_read() {
    given!(require(&NEEDS));
    assert_eq!(ours("usr/lib/sysimage/rpm/Packages.db", read("ndb/Packages.db")).unwrap(), MADE.listed);
}

#[test]
fn a_log_that_was_not_written_back_counts() {
    given!(require(&NEEDS));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rpmdb.sqlite");
    fs::copy(MADE.directory.path().join("sqlite/rpmdb.sqlite"), &path).unwrap();
    // The shell that is killed leaves its log where it is.
    let script = "pragma journal_mode=wal; pragma wal_autocheckpoint=0; delete from Packages where hnum % 2; \
                  update Packages set hnum = hnum + 1000 where hnum % 3 = 0;\n.shell kill -9 $PPID\n";
    fs::write(dir.path().join("script"), script).unwrap();
    let script = fs::File::open(dir.path().join("script")).unwrap();
    Command::new("sqlite3").arg(&path).stdin(script).output().unwrap();
    let log = fs::read(dir.path().join("rpmdb.sqlite-wal")).unwrap();
    assert!(!log.is_empty());
    let mut files = Files::new();
    files.insert("var/lib/rpm/rpmdb.sqlite", fs::read(&path).unwrap());
    files.insert("var/lib/rpm/rpmdb.sqlite-wal", log);
    let ours: Vec<String> =
        Installed::of(files).unwrap().packages.into_iter().map(|package| package.name).collect();
    let text = run(rpm(dir.path(), "sqlite").args(["-qa", "--queryformat", "%{NAME}\\n"]));
    let mut theirs: Vec<&str> = text.lines().filter(|name| *name != "gpg-pubkey").collect();
    theirs.sort_unstable();
    assert!(theirs.len() < COUNT * 2 / 3);
    assert_eq!(ours, theirs);
}

#[test]
fn damage_is_an_error_that_names_the_file() {
    given!(require(&NEEDS));
    for (path, name) in [
        ("var/lib/rpm/rpmdb.sqlite", "sqlite/rpmdb.sqlite"),
        ("var/lib/rpm/Packages", "bdb/Packages"),
        ("var/lib/rpm/Packages.db", "ndb/Packages.db"),
    ] {
        let whole = read(name);
        assert_eq!(ours(path, Vec::new()).unwrap(), Vec::<String>::new());
        for database in
            [b"nothing of the kind".to_vec(), whole[..whole.len() / 2].to_vec(), whole[..600].to_vec()]
        {
            let error = ours(path, database).unwrap_err();
            assert!(error.starts_with(&format!("cannot read the packages in /{path}: ")), "{error}");
        }
        // Whatever byte is wrong, reading ends, and nothing panics.
        for at in (0..whole.len()).step_by(whole.len() / 300) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                drop(ours(path, damaged));
            }
        }
    }
}
