//! dpkg's record of this machine, as dpkg-query and apt-mark read it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use otoshi_packages::{Files, Installed, Manager, OsRelease};

fn lines(command: &mut Command) -> BTreeSet<String> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_real_record_is_read_as_dpkg_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for directory in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "var/lib/apt"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let record = root.join("var/lib/dpkg");
    fs::copy("/var/lib/dpkg/status", record.join("status")).unwrap();
    if Path::new("/var/lib/apt/extended_states").exists() {
        fs::copy("/var/lib/apt/extended_states", root.join("var/lib/apt/extended_states")).unwrap();
    }
    let admin = format!("--admindir={}", record.display());
    let hold = "printf 'dpkg hold\\nlibc6 hold\\nbase-files deinstall\\n' | dpkg $0 --set-selections";
    assert!(Command::new("sh").args(["-c", hold, &admin]).status().unwrap().success());

    let installed = Installed::of_root(root).unwrap();
    assert_eq!(installed.manager, Some(Manager::Dpkg));
    let ours: BTreeSet<String> = installed
        .packages
        .iter()
        .map(|package| {
            let held = if package.held { "hold" } else { "" };
            let otoshi_packages::Package { name, version, architecture, source, source_version, .. } =
                package;
            format!("{name} {version} {architecture} {source} {source_version} {held}")
        })
        .collect();
    let format = "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package} ${source:Version} ${db:Status-Want}\\n";
    let theirs = lines(Command::new("dpkg-query").args([&admin, "--show", "--showformat", format]));
    let theirs: BTreeSet<String> = theirs
        .iter()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(|line| line.replace(" install", " ").replace(" deinstall", " "))
        .collect();
    assert!(theirs.len() > 100, "{}", theirs.len());
    assert_eq!(ours, theirs);

    let marked = |marked: &str| {
        let status = format!("Dir::State::status={}", record.join("status").display());
        let state = format!("Dir::State={}", root.join("var/lib/apt").display());
        let cache = format!("Dir::Cache={}", root.join("cache").display());
        lines(Command::new("apt-mark").args(["-o", &status, "-o", &state, "-o", &cache, marked]))
    };
    let named = |auto: bool| -> BTreeSet<String> {
        let native = installed.architecture.as_deref().unwrap();
        let chosen = installed.packages.iter().filter(|package| package.auto == auto);
        chosen
            .map(|package| match &package.architecture {
                architecture if architecture == native || architecture == "all" => package.name.clone(),
                other => format!("{}:{other}", package.name),
            })
            .collect()
    };
    assert_eq!(named(true), marked("showauto"));
    assert_eq!(named(false), marked("showmanual"));
}

#[test]
fn this_machine_says_which_release_it_is() {
    let mut files = Files::new();
    files.insert("etc/os-release", fs::read("/etc/os-release").unwrap());
    let release = OsRelease::of(&files).unwrap();
    let script = ". /etc/os-release; echo \"$ID|$VERSION_ID|$VERSION_CODENAME|$PRETTY_NAME\"";
    let theirs = lines(Command::new("sh").args(["-c", script])).into_iter().next().unwrap();
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let ours =
        [release.id.clone(), text(&release.version_id), text(&release.codename), text(&release.pretty_name)];
    assert_eq!(ours.join("|"), theirs);
}

/// What dpkg refuses is refused, and what it reads is read.
#[test]
fn records_that_dpkg_would_not_read_are_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("var/lib/dpkg");
    for directory in ["updates", "info"] {
        fs::create_dir_all(record.join(directory)).unwrap();
    }
    let admin = format!("--admindir={}", record.display());
    let head = "Package: aa\nArchitecture: amd64\nMaintainer: x\nDescription: x\n";
    for rest in [
        "Status: install ok installed\nVersion: 1.0\n",
        "Status: INSTALL Ok Installed\nVersion: 1.0\n",
        "Status: install ok installed\nVersion: foo bar\n",
        "Status: install ok installed\nVersion: a1.0_x\n",
        "Status: install ok installed\nVersion: x:1.0\n",
        "Status: install ok installed\nVersion: :1.0\n",
        "Status: install ok installed\nVersion: 1:\n",
        "Status: install ok installed\nVersion: 1:2:3-r_1\n",
        "Status: install ok installed\nVersion: 1.0-\n",
        "Status: install ok installed\n",
        "Status: install ok half-installed\n",
        "Status: deinstall ok not-installed\n",
        "Status: install ok\nVersion: 1.0\n",
        "Status: install ok installed more\nVersion: 1.0\n",
        "Status: install hold installed\nVersion: 1.0\n",
        "Status: bogus ok installed\nVersion: 1.0\n",
        "Status: install ok bogus\nVersion: 1.0\n",
        "Status: \nVersion: 1.0\n",
        "Version: 1.0\n",
    ] {
        fs::write(record.join("status"), format!("{head}{rest}")).unwrap();
        let format = "${Package} ${Version}\\n";
        let theirs = Command::new("dpkg-query").args([&admin, "--show", "--showformat", format]).output();
        let theirs = theirs.unwrap();
        let ours = Installed::of_root(dir.path());
        assert_eq!(ours.is_ok(), theirs.status.success(), "{rest}: {ours:?}");
        if let Ok(installed) = ours {
            let ours: String =
                installed.packages.iter().map(|one| format!("{} {}\n", one.name, one.version)).collect();
            // One that was never unpacked has no version.
            let theirs = String::from_utf8(theirs.stdout).unwrap().replace("aa \n", "");
            assert_eq!(ours, theirs, "{rest}");
        }
    }
}
