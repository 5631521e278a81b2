//! The certificate authorities that commands are offered: a file with certificates in PEM form, as the programs of an image read them.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{Project, ProjectError, faults::Faults};

/// Where this machine's own are. Source: Debian's ca-certificates; the other places are those of Fedora and SUSE.
const OF_THIS_MACHINE: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];
/// As much of a file as is read; bundles of all authorities have some 250 kB.
const MOST: u64 = 16 << 20;
const BEGIN: &str = "-----BEGIN ";
/// What a certificate is called there. Source: PEM_read_bio_X509_AUX(3).
const NAMES: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];

impl Project {
    /// The file of `[build] ca-certificates`, which has certificates in it; fails in the line that names it where it has none.
    pub fn ca_certificates(&self) -> Result<Option<PathBuf>, ProjectError> {
        let Some(setting) = self.manifest.build.ca_certificates.as_deref() else { return Ok(None) };
        let found = if setting == "host" {
            let known = OF_THIS_MACHINE.map(PathBuf::from);
            let there = known.iter().find(|path| path.is_file()).cloned();
            there.ok_or_else(|| format!("this machine has no {}", OF_THIS_MACHINE[0]))
        } else {
            let path = self.root.join(setting);
            problem(&path).map_or(Ok(path), |problem| Err(format!("{setting} {problem}")))
        };
        match found {
            Ok(path) => Ok(Some(path)),
            Err(problem) => {
                let content = self.text_of_manifest();
                let mut faults = Faults::new("otoshi.toml", &content);
                let message = format!("[build] ca-certificates: {problem}");
                let hint = "name a file of certificates in PEM form, or leave the setting out";
                faults.at(&["build", "ca-certificates"], message, hint);
                faults.end().map(|()| None)
            }
        }
    }
}

/// Why a file is none of certificates, if so.
fn problem(path: &Path) -> Option<String> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("does not exist".to_owned()),
        Err(error) => Some(format!("cannot be read: {error}")),
        Ok(bytes) if has_certificate(&bytes) => None,
        Ok(bytes) if is_sequence(&bytes) => {
            Some("is in DER form; openssl x509 -inform DER -in FILE writes it in PEM form".to_owned())
        }
        Ok(_) => Some("has no certificate in PEM form".to_owned()),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a text has a certificate between lines that say so (RFC 7468), whatever stands around it.
fn has_certificate(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.split(BEGIN).skip(1).any(|block| {
        let Some((name, rest)) = block.split_once("-----") else { return false };
        let Some((body, _)) = rest.split_once(&format!("-----END {name}-----")) else { return false };
        let body: String = body.split_whitespace().collect();
        NAMES.contains(&name) && STANDARD.decode(body).is_ok_and(|der| is_sequence(&der))
    })
}

/// Whether bytes are a sequence in DER form that is as long as it says.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = der else { return false };
    let (length, rest) = match usize::from(*length) {
        short @ 0..0x80 => (short, rest),
        long => {
            let count = long - 0x80;
            let Some((bytes, rest)) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))
            else {
                return false;
            };
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    // A trusted certificate has what it is trusted for behind it.
    length > 0 && rest.len() >= length
}

#[cfg(test)]
mod tests {
    use std::fs;

    use otoshi_explain::Explain;

    use super::*;

    /// A certificate as far as its form goes.
    fn der() -> Vec<u8> {
        let content = [0x02, 0x01, 0x2a].repeat(60);
        [&[0x30, 0x81, 180][..], &content].concat()
    }

    fn pem(name: &str, der: &[u8]) -> String {
        let body = STANDARD.encode(der);
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("# who\n-----BEGIN {name}-----\r\n{}\r\n-----END {name}-----\n", lines.join("\r\n"))
    }

    #[test]
    fn a_file_without_a_certificate_is_told_in_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[project]\nname = \"shop\"\n[build]\nca-certificates = \"own.pem\"\n[runner]\ndockerfile = \"r\"\n";
        fs::write(dir.path().join("otoshi.toml"), text).unwrap();
        let told = || match Project::find(dir.path()).unwrap().ca_certificates() {
            Ok(path) => path.unwrap().display().to_string(),
            Err(error) => {
                assert!(error.excerpt().unwrap().ends_with("^^^^^^^^^") && error.hint().is_some(), "{error}");
                error
                    .to_string()
                    .strip_prefix("otoshi.toml:4: [build] ca-certificates: own.pem ")
                    .unwrap()
                    .into()
            }
        };
        assert_eq!(told(), "does not exist");
        let key = pem("PRIVATE KEY", &der());
        let cut = pem("CERTIFICATE", &der()[..100]);
        for (content, problem) in [
            (Vec::new(), "has no certificate in PEM form"),
            (b"not one".to_vec(), "has no certificate in PEM form"),
            (key.clone().into_bytes(), "has no certificate in PEM form"),
            (cut.clone().into_bytes(), "has no certificate in PEM form"),
            (
                b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----".to_vec(),
                "has no certificate in PEM form",
            ),
            (der(), "is in DER form; openssl x509 -inform DER -in FILE writes it in PEM form"),
        ] {
            fs::write(dir.path().join("own.pem"), content).unwrap();
            assert_eq!(told(), problem);
        }
        for name in NAMES {
            fs::write(dir.path().join("own.pem"), key.clone() + &cut + &pem(name, &der())).unwrap();
            assert!(told().ends_with("/own.pem"), "{name}");
        }
        fs::remove_file(dir.path().join("own.pem")).unwrap();
        fs::create_dir(dir.path().join("own.pem")).unwrap();
        assert!(told().starts_with("cannot be read: "));
    }
}
