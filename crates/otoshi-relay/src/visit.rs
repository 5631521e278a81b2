//! What one step may do here, and what is noted of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use sha2::{Digest, Sha256};
use tempfile::TempPath;

use crate::authority::Authority;

/// What one step may do, and what it did.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) inspection: Option<Inspection>,
    hosts: Mutex<BTreeMap<String, Heard>>,
}

/// What of a step's HTTPS may be looked into, with what it trusts.
#[derive(Debug)]
pub(crate) struct Inspection {
    pub(crate) authority: Arc<Authority>,
    /// Whom the step trusts without it, as it does outside.
    pub(crate) anchors: Arc<RootCertStore>,
    /// The digest of whom it trusts: what one set vouches for is not given to those who trust another.
    pub(crate) trust: [u8; 32],
    /// The bundle with the authority in it, for the step.
    pub(crate) bundle: TempPath,
}

/// How a step took what this process said as a host.
#[derive(Debug, Default, Clone, Copy)]
struct Heard {
    /// It said that it does not trust it.
    refused: bool,
    /// It went away without a word.
    left: bool,
    /// It asked for something.
    asked: bool,
}

impl Visit {
    pub(crate) fn new(inspection: Option<Inspection>) -> Self {
        Self { inspection, hosts: Mutex::default() }
    }

    /// Notes that the step does not trust what was said as a host.
    pub(crate) fn refused(&self, host: &str) {
        self.note(host, |heard| heard.refused = true);
    }

    /// Notes how a conversation with a host ended: with something asked for, or without.
    pub(crate) fn ended(&self, host: &str, asked: bool) {
        self.note(host, |heard| if asked { heard.asked = true } else { heard.left = true });
    }

    fn note(&self, host: &str, change: impl FnOnce(&mut Heard)) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        change(hosts.entry(host.to_owned()).or_default());
    }

    /// The hosts for which the step did not trust this process.
    pub(crate) fn distrusted(&self) -> Vec<String> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // Some programs look at certificates only when the handshake is over.
        let distrusted = hosts.iter().filter(|(_, heard)| heard.refused || heard.left && !heard.asked);
        distrusted.map(|(host, _)| host.clone()).collect()
    }
}

impl Inspection {
    /// Reads a bundle of certificates, in PEM form, and writes it anew with an authority, as a file in `directory` that goes with the
    /// visit.
    ///
    /// Fails where the bundle has no certificate, or a file cannot be read or written.
    pub(crate) fn new(authority: &Arc<Authority>, bundle: &Path, directory: &Path) -> io::Result<Self> {
        let pem = fs::read(bundle)?;
        let mut anchors = RootCertStore::empty();
        // As in other bundles, what is too odd to be understood vouches for nothing.
        anchors.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        if anchors.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate"));
        }
        let mut written = tempfile::Builder::new()
            .prefix(".bundle-")
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(directory)?;
        written.write_all(&pem)?;
        written.write_all(b"\n")?;
        written.write_all(authority.pem().as_bytes())?;
        // Whoever the step runs as reads it, whatever this process's umask is.
        written.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        Ok(Self {
            authority: Arc::clone(authority),
            anchors: Arc::new(anchors),
            trust: Sha256::digest(&pem).into(),
            bundle: written.into_temp_path(),
        })
    }
}
