//! With what a root's apt checks signatures, which keyrings that reads, and which keys and hashes count for it.

use otoshi_oci::Fields;

use super::configuration::Configuration;
use super::edition::Edition;
use super::strength::{Asserted, Cutoffs, POLICIES};
use crate::files::Files;
use crate::version::dpkg;

/// What apt tells gpgv, where its configuration says nothing else.
const ASSERTED: &str = ">=rsa2048,ed25519,ed448,nistp256,nistp384,nistp512,brainpoolP256r1,brainpoolP320r1,\
    brainpoolP384r1,brainpoolP512r1,secp256k1";

/// What checks signatures for a root's apt.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Verifier {
    pub(super) reader: Reader,
    pub(super) judge: Judge,
}

/// Who reads keyrings: each reads other forms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Reader {
    /// Nobody is known: whatever can be read is.
    #[default]
    Any,
    /// The script `apt-key` puts them together for gpgv.
    Script {
        /// Whether lines of an armoured key may end with a carriage return.
        takes_returns: bool,
    },
    /// apt looks at them and puts them together for gpgv.
    Apt,
    /// sqv reads them itself.
    Sequoia,
}

/// Who says whether a signature counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Judge {
    /// gpgv, which takes these kinds of keys, or all.
    Gnupg(Option<Asserted>),
    /// sqv, with its dates; or why these cannot be read.
    Sequoia(Result<Cutoffs, String>),
}

impl Default for Judge {
    fn default() -> Self {
        Self::Gnupg(Asserted::new(ASSERTED))
    }
}

impl Verifier {
    /// Finds out what a root's apt uses.
    pub(crate) fn of(files: &Files, configuration: &Configuration, edition: &Edition) -> Self {
        if edition.is_unknown() {
            return Self::default();
        }
        let own_command =
            configuration.get("APT::Key::GPGVCommand").is_some_and(|command| !command.is_empty());
        if edition.sqv.is_some() && !edition.is_before("2.9.19") && !own_command {
            return Self { reader: Reader::Sequoia, judge: Judge::Sequoia(cutoffs(files)) };
        }
        let reader = if edition.is_before("2.9.15") {
            Reader::Script { takes_returns: !edition.is_before("2.7.12") }
        } else {
            Reader::Apt
        };
        let told = configuration.get("APT::Key::Assert-Pubkey-Algo");
        let asserted = match told {
            Some(list) if !edition.is_before("2.7.13") => Asserted::new(list),
            None if !edition.is_before("2.9.0") => Asserted::new(ASSERTED),
            _ => None,
        };
        // An older gpgv has no such option, and apt sees that.
        let heeds = edition.gpgv.as_deref().is_none_or(|gpgv| dpkg::compare(gpgv, "2.4.5").is_ge());
        Self { reader, judge: Judge::Gnupg(asserted.filter(|_| heeds)) }
    }
}

impl Verifier {
    /// Adds all that it is to a key.
    pub(super) fn fields(&self, key: Fields) -> Fields {
        let key = key.text(match self.reader {
            Reader::Any => "any",
            Reader::Script { takes_returns: false } => "script",
            Reader::Script { takes_returns: true } => "script that takes returns",
            Reader::Apt => "apt",
            Reader::Sequoia => "sequoia",
        });
        match &self.judge {
            Judge::Gnupg(asserted) => key.text("gnupg").option(asserted.as_ref().map(Asserted::as_str)),
            Judge::Sequoia(Ok(cutoffs)) => key.text("sequoia").text(cutoffs.to_text()),
            Judge::Sequoia(Err(reason)) => key.text("unreadable").text(reason),
        }
    }
}

fn cutoffs(files: &Files) -> Result<Cutoffs, String> {
    let Some((path, text)) = POLICIES.iter().find_map(|path| Some((path, files.text(path)?))) else {
        return Cutoffs::parse("");
    };
    Cutoffs::parse(&text).map_err(|reason| format!("/{path} cannot be read: {reason}"))
}
