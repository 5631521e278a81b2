//! Why a file could not be fetched, in words that hold no password.

use std::error::Error;
use std::{fmt, io};

use otoshi_explain::{Explain, Kind, Remedy};
use reqwest::StatusCode;

use crate::url::SafeUrl;

/// An error of HTTP.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server answered, and not with the file.
    #[error("cannot fetch {url}: the server answered {status}")]
    Status {
        /// The address.
        url: SafeUrl,
        /// What it answered.
        status: StatusCode,
    },
    /// There was no answer, or only a part of one.
    #[error("cannot fetch {url}: {source}")]
    Transport {
        /// The address.
        url: SafeUrl,
        /// Why.
        source: RequestError,
    },
    /// The server answered that nothing changed, to a request that said nothing of what is known.
    #[error("cannot fetch {url}: it answered 304 to an unconditional request")]
    Unasked {
        /// The address.
        url: SafeUrl,
    },
    /// What is to let the request in holds what no header can.
    #[error("cannot fetch {url}: the secret for it cannot be sent in a header")]
    Secret {
        /// The address.
        url: SafeUrl,
    },
    /// What came could not be kept.
    #[error("cannot save what {url} sends: {source}")]
    Sink {
        /// The address.
        url: SafeUrl,
        /// Why.
        source: io::Error,
    },
    /// A client cannot be made.
    #[error("cannot set up HTTP {what}: {source}")]
    Setup {
        /// With what, as in "with the certificate authorities of registry.test".
        what: String,
        /// Why.
        source: RequestError,
    },
    /// The threads that HTTP needs cannot be started.
    #[error("cannot set up HTTP: {source}")]
    Runtime {
        /// Why.
        source: io::Error,
    },
}

impl HttpError {
    pub(crate) fn transport(url: &SafeUrl, source: reqwest::Error) -> Self {
        Self::Transport { url: url.clone(), source: source.into() }
    }

    pub(crate) fn setup(what: impl Into<String>) -> impl FnOnce(reqwest::Error) -> Self {
        move |source| Self::Setup { what: what.into(), source: source.into() }
    }

    /// Says why, in one line and without the address.
    pub fn reason(&self) -> String {
        match self {
            Self::Status { status, .. } => format!("it answered {status}"),
            Self::Transport { source, .. } => source.to_string(),
            Self::Unasked { .. } => "it answered 304 to an unconditional request".to_owned(),
            Self::Secret { .. } => "the secret for it cannot be sent in a header".to_owned(),
            Self::Sink { source, .. } => source.to_string(),
            Self::Setup { .. } | Self::Runtime { .. } => self.to_string(),
        }
    }
}

impl Explain for HttpError {
    fn kind(&self) -> Kind {
        match self {
            Self::Secret { .. } => Kind::User,
            Self::Sink { .. } | Self::Setup { .. } | Self::Runtime { .. } => Kind::Machine,
            _ => Kind::Registry,
        }
    }

    fn remedy(&self) -> Option<Remedy> {
        let hint = match self {
            Self::Status { status, .. } => match status.as_u16() {
                401 | 403 | 407 => {
                    "it requires authentication: give a secret, or ask whoever runs the server"
                }
                404 | 410 => "check the address",
                408 | 425 | 429 | 500..=599 => "try again later",
                _ => return None,
            },
            Self::Transport { source, .. } if is_certificate_error(source.get()) => {
                "trust its certificate authority: add it to this machine's, or name a file in SSL_CERT_FILE"
            }
            Self::Transport { source, .. } if source.get().is_connect() => {
                "check the host name, the network, and the proxy if there is one"
            }
            Self::Transport { source, .. } if source.get().is_redirect() || source.get().is_builder() => {
                "check the address"
            }
            Self::Transport { .. } => "try again later",
            Self::Secret { .. } => "a header takes one line of visible ASCII characters",
            _ => return None,
        };
        Some(hint.into())
    }
}

/// A request that failed. It says so together with all its causes, and without its address, which may hold a password.
#[derive(Debug)]
pub struct RequestError(reqwest::Error);

impl RequestError {
    /// Returns the error as it was, but for the address.
    pub fn get(&self) -> &reqwest::Error {
        &self.0
    }
}

impl From<reqwest::Error> for RequestError {
    fn from(error: reqwest::Error) -> Self {
        Self(error.without_url())
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&reason(&self.0))
    }
}

// Its causes are in its own words.
impl Error for RequestError {}

/// Says why a request failed, in one line and without its address, which may hold a password.
///
/// The first words say what failed, the last ones why: what lies between are the names of layers.
pub fn reason(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<reqwest::Error>() {
            Some(error) if error.is_timeout() => "no answer in time".to_owned(),
            Some(error) if error.is_connect() => "cannot connect".to_owned(),
            Some(error) if error.is_redirect() => "a redirect that is not followed".to_owned(),
            Some(error) if error.is_builder() => "the request cannot be made".to_owned(),
            Some(error) if error.is_body() || error.is_decode() => "the transfer was interrupted".to_owned(),
            Some(_) => "the request failed".to_owned(),
            None => error.to_string(),
        };
        if !text.starts_with("client error (") && !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    if texts.len() > 3 {
        texts.drain(1..texts.len() - 2);
    }
    texts.join(": ")
}

/// Whether a request failed because the server's certificate is not to be trusted: it will not be the next time, either.
pub fn is_certificate_error(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let tls = error.downcast_ref();
        if let Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) = tls {
            return true;
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // What an `io::Error` was made of is not its source.
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}
