//! The flags of an instruction, checked against those it has.

use std::ops::Range;

use crate::{Word, error::Fault, tokens::Piece};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or `=true` or `=false`.
    Switch,
    /// A value, once.
    Value,
    /// A value, any number of times.
    Values,
}

/// A flag that an instruction has.
pub(crate) type Known = (&'static str, Takes);

struct Given {
    name: &'static str,
    value: String,
    at: Range<usize>,
}

/// The flags that were given.
pub(crate) struct Flags(Vec<Given>);

impl Flags {
    /// Checks what was written against what there is.
    pub(crate) fn read(keyword: &str, written: &[Piece], known: &[Known]) -> Result<Self, Fault> {
        let mut given: Vec<Given> = Vec::new();
        for piece in written {
            let (flag, value) =
                piece.text.split_once('=').map_or((piece.text.as_str(), None), |(f, v)| (f, Some(v)));
            let fault = |message: String| Fault::new(message).at(piece.at.clone());
            let plain = flag.strip_prefix("--").unwrap_or(flag);
            let Some(&(name, takes)) = known.iter().find(|(name, _)| *name == plain) else {
                let names = known.iter().map(|(name, _)| *name);
                let fault = fault(format!("{keyword} has no flag {flag}"));
                return Err(fault.did_you_mean(plain, names, |near| format!("--{near}")));
            };
            if takes != Takes::Values && given.iter().any(|other| other.name == name) {
                return Err(fault(format!("{flag} is given twice")));
            }
            let value = match (takes, value) {
                (Takes::Switch, None) => "true".to_owned(),
                (Takes::Switch, Some(value)) => match value.to_lowercase().as_str() {
                    value @ ("true" | "false") => value.to_owned(),
                    _ => {
                        return Err(fault(format!("{flag} must be true or false, not {value:?}"))
                            .hint(format!("{flag} alone means true")));
                    }
                },
                (_, Some(value)) => value.to_owned(),
                (_, None) => {
                    return Err(fault(format!("{flag} needs a value")).hint(format!("{flag}=value")));
                }
            };
            given.push(Given { name, value, at: piece.at.clone() });
        }
        Ok(Self(given))
    }

    /// The values of a flag, each with where it stands.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.0
            .iter()
            .filter(move |given| given.name == name)
            .map(|given| (given.value.as_str(), given.at.clone()))
    }

    /// The value of a flag that is given and not empty.
    pub(crate) fn value(&self, name: &str) -> Option<(&str, Range<usize>)> {
        self.all(name).next().filter(|(value, _)| !value.is_empty())
    }

    /// The same as a word.
    pub(crate) fn word(&self, name: &str) -> Option<Word> {
        self.value(name).map(|(value, _)| Word(value.to_owned()))
    }

    /// Whether a switch is on; `None` when it is not given.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.all(name).next().map(|(value, _)| value == "true")
    }
}
