//! A signed repository on loopback, made with the tools that make real ones.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use otoshi_test::{Missing, Need, Server, output, require, run};

/// Keys of GnuPG, in a home of their own.
pub(crate) struct Keys {
    home: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn new() -> Result<Self, Missing> {
        require(&[Need::Tool("gpg"), Need::Tool("gpg-agent"), Need::Tool("apt-ftparchive")])?;
        Ok(Self { home: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        output(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.home.path());
        gpg.args(["--batch", "--quiet", "--yes", "--pinentry-mode=loopback", "--passphrase", ""])
            .args(arguments);
        gpg
    }

    /// Makes a key and returns its fingerprint; `expires` as in `1d` or `seconds=1`, or `never`.
    pub(crate) fn make(&self, name: &str, algorithm: &str, expires: &str) -> String {
        self.make_for(name, algorithm, "sign", expires)
    }

    /// Makes a key for a use.
    pub(crate) fn make_for(&self, name: &str, algorithm: &str, usage: &str, expires: &str) -> String {
        self.generate(&[], name, [algorithm, usage, expires])
    }

    /// Makes a key with more of GnuPG's options.
    pub(crate) fn make_with(&self, options: &[&str], name: &str, algorithm: &str, expires: &str) -> String {
        self.generate(options, name, [algorithm, "sign", expires])
    }

    /// Makes a key of an algorithm, for a use, until a time.
    fn generate(&self, options: &[&str], name: &str, [algorithm, usage, expires]: [&str; 3]) -> String {
        let user = format!("{name} <{name}@otoshi.test>");
        self.gpg(&[options, &["--quick-generate-key", &user, algorithm, usage, expires]].concat());
        self.fingerprints(&format!("<{name}@otoshi.test>")).swap_remove(0)
    }

    /// The fingerprints of a key and its subkeys.
    pub(crate) fn fingerprints(&self, key: &str) -> Vec<String> {
        let listed = self.gpg(&["--with-colons", "--with-subkey-fingerprint", "--list-keys", key]);
        let listed = String::from_utf8(listed).unwrap();
        let lines = listed.lines().filter(|line| line.starts_with("fpr:"));
        lines.map(|line| line.split(':').nth(9).unwrap().to_owned()).collect()
    }

    /// Asks GnuPG as a person would, with answers that are at hand.
    fn answer(&self, answers: &str, arguments: &[&str]) {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.home.path());
        gpg.args([
            "--no-tty",
            "--yes",
            "--quiet",
            "--command-fd",
            "0",
            "--pinentry-mode=loopback",
            "--passphrase",
            "",
        ]);
        let mut gpg = gpg.args(arguments).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        gpg.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
        assert!(gpg.wait().unwrap().success(), "{arguments:?}");
    }

    /// Revokes a key for a reason, by GnuPG's number in its menu.
    pub(crate) fn revoke_for(&self, key: &str, reason: &str) {
        let certificate = self.home.path().join("revocation");
        let path = certificate.to_str().unwrap();
        self.answer(&format!("y\n{reason}\n\ny\n"), &["--output", path, "--gen-revoke", key]);
        self.gpg(&["--import", path]);
    }

    /// Revokes a subkey by its number.
    pub(crate) fn revoke_subkey(&self, key: &str, number: usize) {
        self.answer(&format!("key {number}\nrevkey\ny\n0\n\ny\nsave\n"), &["--edit-key", key]);
    }

    /// Revokes a key with the certificate that was made with it.
    pub(crate) fn revoke(&self, key: &str) {
        let path = self.home.path().join(format!("openpgp-revocs.d/{key}.rev"));
        // A colon keeps it from being used by accident.
        let certificate = fs::read_to_string(&path).unwrap().replace(":-----BEGIN", "-----BEGIN");
        fs::write(&path, certificate).unwrap();
        self.gpg(&["--import", path.to_str().unwrap()]);
    }

    pub(crate) fn public(&self, key: &str, armoured: bool) -> Vec<u8> {
        if armoured { self.gpg(&["--armor", "--export", key]) } else { self.gpg(&["--export", key]) }
    }

    /// Signs a suite's release file in clear.
    pub(crate) fn sign(&self, directory: &Path, key: &str) {
        self.sign_with(directory, &["--local-user", key]);
    }

    pub(crate) fn sign_with(&self, directory: &Path, options: &[&str]) {
        assert!(self.try_sign_with(directory, options), "{options:?}");
    }

    /// Signs, if GnuPG does that with these options.
    pub(crate) fn try_sign_with(&self, directory: &Path, options: &[&str]) -> bool {
        let (release, signed) = (directory.join("Release"), directory.join("InRelease"));
        let paths = ["--clearsign", "--output", signed.to_str().unwrap(), release.to_str().unwrap()];
        self.command(&[options, &paths].concat()).output().unwrap().status.success()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ =
            Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).output();
    }
}

/// Makes a package's file with nothing in it but a document.
pub(crate) fn deb(pool: &Path, name: &str, version: &str, more: &str) {
    let tree = tempfile::tempdir().unwrap();
    let documents = tree.path().join("usr/share/doc").join(name);
    fs::create_dir_all(&documents).unwrap();
    fs::write(documents.join("version"), version).unwrap();
    fs::create_dir(tree.path().join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@otoshi.test>\nDescription: a test\n{more}"
    );
    fs::write(tree.path().join("DEBIAN/control"), control).unwrap();
    fs::create_dir_all(pool).unwrap();
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Zgzip", "-z1", "--build"])
        .arg(tree.path())
        .arg(pool));
}

/// Writes a suite's index from text, in the forms named, and its release file.
pub(crate) fn suite(
    root: &Path,
    suite: &str,
    packages: &str,
    forms: &[&str],
    fields: &[(&str, &str)],
) -> PathBuf {
    let directory = root.join("dists").join(suite);
    let index = directory.join("main/binary-amd64");
    fs::create_dir_all(&index).unwrap();
    fs::write(index.join("Packages"), packages).unwrap();
    for form in forms {
        let tool = match *form {
            "xz" => "xz",
            "zst" => "zstd",
            "gz" => "gzip",
            _ => panic!("{form}"),
        };
        run(Command::new(tool).args(["-kfq"]).arg(index.join("Packages")));
    }
    release(&directory, fields);
    // As on real mirrors: the release lists the plain index, which is not there.
    if !forms.is_empty() {
        fs::remove_file(index.join("Packages")).unwrap();
    }
    directory
}

/// Writes a release file over what is in a directory.
pub(crate) fn release(directory: &Path, fields: &[(&str, &str)]) {
    let mut apt = Command::new("apt-ftparchive");
    // The one field that this tool does not write.
    let (end, fields): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| *name == "Valid-Until");
    for (name, value) in fields {
        apt.args(["-o", &format!("APT::FTPArchive::Release::{name}={value}")]);
    }
    let text = output(apt.arg("release").arg(".").current_dir(directory));
    let end: String = end.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    fs::write(directory.join("Release"), [end.as_bytes(), &text].concat()).unwrap();
}

/// Puts the files of a directory where they are found by hash, and takes their names away.
pub(crate) fn by_hash(index: &Path) {
    let place = index.join("by-hash/SHA256");
    fs::create_dir_all(&place).unwrap();
    for entry in fs::read_dir(index).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let sum = otoshi_oci::Digest::sha256_of(&fs::read(entry.path()).unwrap());
        fs::rename(entry.path(), place.join(sum.hex())).unwrap();
    }
}

/// What a server was asked for since the last time, in order.
pub(crate) fn asked_of(server: &Server) -> Vec<String> {
    let mut asked = server.requests();
    asked.sort();
    asked
}
