//! What is said of a source besides its address, and addresses as text.

use std::collections::BTreeMap;

use crate::{Secret, Ssh};

/// What ADD says besides the source.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) checksum: Option<&'a str>,
    pub(crate) keep_git_dir: bool,
    /// The agent that SSH may use.
    pub(crate) ssh: Option<&'a Ssh>,
    /// The secrets of the build, some of which may let a request in.
    pub(crate) secrets: Option<&'a BTreeMap<String, Secret>>,
}

/// A text with `%41` and the like read; where that is no UTF-8, as it is.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let value = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%');
        bytes.push(value.unwrap_or(byte));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
