//! Keys: digests of lists of fields, in a form that does not depend on how a value is shown to people or to programmers.

use crate::{Digest, Hasher};

/// Collects the fields of a key. Each is counted with its length or number, so that two different lists never give one key.
///
/// The first field is the form: what is counted, and which version of counting it. A field that is added, or another order, is
/// another form.
#[derive(Debug, Clone)]
pub struct Fields(Hasher);

impl Fields {
    /// Begins with the form, such as `run 3`.
    pub fn new(form: &str) -> Self {
        let mut fields = Self(Hasher::sha256());
        fields.put(form);
        fields
    }

    /// Adds a text, or bytes.
    #[must_use]
    pub fn text(mut self, text: impl AsRef<[u8]>) -> Self {
        self.put(text);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, number: impl Into<i128>) -> Self {
        self.text(number.into().to_le_bytes())
    }

    /// Adds a number that may not be there.
    #[must_use]
    pub fn option_number(self, number: Option<impl Into<i128>>) -> Self {
        match number {
            Some(number) => self.flag(true).number(number),
            None => self.flag(false),
        }
    }

    /// Adds a yes or no.
    #[must_use]
    pub fn flag(self, flag: bool) -> Self {
        self.text([u8::from(flag)])
    }

    /// Adds a text that may not be there, which is not the same as an empty one.
    #[must_use]
    pub fn option(self, text: Option<impl AsRef<[u8]>>) -> Self {
        match text {
            Some(text) => self.flag(true).text(text),
            None => self.flag(false),
        }
    }

    /// Adds a list with its length.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(self, texts: impl IntoIterator<Item = T>) -> Self {
        let texts: Vec<T> = texts.into_iter().collect();
        let counted = self.number(texts.len() as u64);
        texts.into_iter().fold(counted, Self::text)
    }

    /// The key.
    pub fn digest(self) -> Digest {
        self.0.finish()
    }

    fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.field(bytes.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lists_that_differ_have_different_keys() {
        let none: Option<&str> = None;
        let new = || Fields::new("test 1");
        let keys = [
            new(),
            Fields::new("test 2"),
            new().text(""),
            new().text("ab"),
            new().text("a").text("b"),
            new().text("b").text("a"),
            new().list(["a", "b"]),
            new().list(["a"]).text("b"),
            new().option(none),
            new().option(Some("")),
            new().flag(true),
            new().number(1),
            new().number(-1),
            new().list([[0u8; 0]; 0]),
        ];
        let distinct: BTreeSet<Digest> = keys.iter().map(|fields| fields.clone().digest()).collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn a_key_is_the_same_for_every_build_of_this_program() {
        let key =
            Fields::new("test 1").text("a").option(Some("b")).flag(false).number(7).list(["c"]).digest();
        assert_eq!(
            key.to_string(),
            "sha256:6143e0e0d811e737ec1fea3e1849729afd3b720fa1459d2d1b52b36e52e0b819"
        );
    }
}
