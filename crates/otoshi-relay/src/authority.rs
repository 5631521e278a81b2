//! A certificate authority of this process alone: steps that are told of it trust what it vouches for. Its key is never written.

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};

use crate::wire::HTTP_1;

/// How long certificates count: longer than any step runs.
const DAYS: i64 = 30;
/// How many hosts are vouched for before the list begins anew: a server with a certificate for `*.example` has any number of names.
const MOST: usize = 1000;

/// The authority, and what it has vouched for.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: CertificateDer<'static>,
    pem: String,
    /// The key of all hosts.
    key: KeyPair,
    vouched: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authority")
    }
}

impl Authority {
    /// Makes one. Fails where this machine has no randomness.
    pub(crate) fn new() -> io::Result<Self> {
        let mut params = counting_from_yesterday(CertificateParams::default())?;
        params.distinguished_name.push(DnType::CommonName, "Network cache of this build");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let own_key = KeyPair::generate().map_err(io::Error::other)?;
        let own = params.self_signed(&own_key).map_err(io::Error::other)?;
        Ok(Self {
            pem: own.pem(),
            own: own.der().clone(),
            issuer: Issuer::new(params, own_key),
            key: KeyPair::generate().map_err(io::Error::other)?,
            vouched: Mutex::default(),
        })
    }

    /// What steps trust, in PEM form.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// How this process speaks as a host.
    ///
    /// Fails for a name that cannot stand in a certificate.
    pub(crate) fn speak_as(&self, host: &str) -> io::Result<Arc<ServerConfig>> {
        if let Some(known) = self.vouched.lock().unwrap_or_else(PoisonError::into_inner).get(host) {
            return Ok(Arc::clone(known));
        }
        let config = Arc::new(self.vouch(host)?);
        let mut vouched = self.vouched.lock().unwrap_or_else(PoisonError::into_inner);
        if vouched.len() >= MOST {
            vouched.clear();
        }
        Ok(Arc::clone(vouched.entry(host.to_owned()).or_insert(config)))
    }

    fn vouch(&self, host: &str) -> io::Result<ServerConfig> {
        let params = CertificateParams::new([host.to_owned()]).map_err(io::Error::other)?;
        let mut params = counting_from_yesterday(params)?;
        params.distinguished_name.push(DnType::CommonName, "Network cache of this build: a host");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Strict readers, such as Python's from 3.13 on, want it.
        params.use_authority_key_identifier_extension = true;
        let host = params.signed_by(&self.key, &self.issuer).map_err(io::Error::other)?;
        let chain = vec![host.der().clone(), self.own.clone()];
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key.into())
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![HTTP_1.to_vec()];
        Ok(config)
    }
}

fn counting_from_yesterday(mut params: CertificateParams) -> io::Result<CertificateParams> {
    let day = |from_now: i64| -> io::Result<_> {
        let hours = SignedDuration::from_hours(24 * from_now);
        let date = Timestamp::now()
            .checked_add(hours)
            .map_err(io::Error::other)?
            .in_tz("UTC")
            .map_err(io::Error::other)?;
        let part = |number: i8| u8::try_from(number).map_err(io::Error::other);
        Ok(date_time_ymd(date.year().into(), part(date.month())?, part(date.day())?))
    };
    params.not_before = day(-1)?;
    params.not_after = day(DAYS)?;
    Ok(params)
}
