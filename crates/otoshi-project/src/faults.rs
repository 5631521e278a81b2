//! All that is wrong with `otoshi.toml`, each with the place where it stands, told in one go.

use std::{ops::Range, rc::Rc};

use otoshi_explain::Remedy;
use toml_edit::{Document, Item, Table, TableLike, Value};

use crate::ProjectError;

/// Collects what is wrong with a file.
pub(crate) struct Faults<'t> {
    file: &'t str,
    text: &'t str,
    document: Option<Rc<Document<&'t str>>>,
    found: Vec<ProjectError>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, document: Document::parse(text).ok().map(Rc::new), found: Vec::new() }
    }

    /// What the file is called in errors.
    pub(crate) fn file(&self) -> &'t str {
        self.file
    }

    /// What the file holds, each value with its place; `None` where it is no TOML.
    pub(crate) fn document(&self) -> Option<Rc<Document<&'t str>>> {
        self.document.clone()
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// The text as it may be shown.
    fn shown(&self) -> String {
        let document = self.document.as_ref();
        document
            .map_or_else(|| self.text.to_owned(), |document| without_secrets(self.text, document.as_table()))
    }

    /// Adds one that is known to stand somewhere.
    pub(crate) fn spanned(&mut self, span: Option<Range<usize>>, error: ProjectError) {
        self.found.push(match span {
            Some(span) => error.placed(&self.shown(), span),
            None => error,
        });
    }

    /// Adds one, at the value of a key; `path` is the table's name and the keys that lead there.
    pub(crate) fn at(&mut self, path: &[&str], message: impl Into<String>, hint: impl Into<Remedy>) {
        let error = ProjectError::new(self.file, message).with_hint(hint);
        self.add(path, error);
    }

    /// The same at an item of the list that a key has.
    pub(crate) fn at_item(
        &mut self,
        path: &[&str],
        index: usize,
        message: impl Into<String>,
        hint: impl Into<Remedy>,
    ) {
        self.at(&[path, &[index.to_string().as_str()]].concat(), message, hint);
    }

    /// The same at a key itself.
    pub(crate) fn at_key(&mut self, path: &[&str], message: impl Into<String>, hint: impl Into<Remedy>) {
        let error = ProjectError::new(self.file, message).with_hint(hint);
        let span = self.document.as_ref().and_then(|document| key_span(document.as_table(), path));
        self.spanned(span, error);
    }

    /// The same with what is wrong already said.
    pub(crate) fn add(&mut self, path: &[&str], error: ProjectError) {
        let span = self.document.as_ref().and_then(|document| span(document.as_table(), path));
        self.spanned(span, error);
    }

    /// Fails where something was found; all of it is told, in the order of the file.
    pub(crate) fn end(mut self) -> Result<(), ProjectError> {
        // What stands nowhere, since it is missing, comes last.
        self.found.sort_by_key(|error| (error.line.is_none(), error.line));
        let mut found = self.found.into_iter();
        match found.next() {
            None => Ok(()),
            Some(first) => Err(ProjectError { more: found.collect(), ..first }),
        }
    }
}

/// The text with stars for what stands in `[secrets]` where the name of a file or of a variable is wanted.
fn without_secrets(text: &str, document: &Table) -> String {
    let mut shown = text.as_bytes().to_vec();
    let secrets = document.get("secrets").and_then(Item::as_table_like);
    for (_, item) in secrets.into_iter().flat_map(TableLike::iter) {
        let inner: Vec<&Item> = match item.as_table_like() {
            None => vec![item],
            Some(table) => {
                let others = table.iter().filter(|(key, _)| !matches!(*key, "file" | "env"));
                others.map(|(_, item)| item).collect()
            }
        };
        for span in inner.into_iter().filter_map(Item::span) {
            let bytes = shown.get_mut(span).unwrap_or_default();
            let hidden = bytes.iter_mut().filter(|byte| !matches!(**byte, b'"' | b'\'' | b'\n' | b'\r'));
            hidden.for_each(|byte| *byte = b'*');
        }
    }
    String::from_utf8(shown).unwrap_or_default()
}

/// Where a key stands.
fn key_span(table: &Table, path: &[&str]) -> Option<Range<usize>> {
    let (last, above) = path.split_last()?;
    let mut here: &dyn TableLike = table;
    for key in above {
        here = here.get(key)?.as_table_like()?;
    }
    here.get_key_value(last)?.0.span()
}

/// Where the value of a key stands; that of the last key on the way that is there. In a list a number leads to the item.
fn span(table: &Table, path: &[&str]) -> Option<Range<usize>> {
    let mut here: &dyn TableLike = table;
    let mut found = None;
    let mut keys = path.iter();
    while let Some(key) = keys.next() {
        let Some(item) = here.get(key) else { break };
        found = match item {
            // A table's own span is its whole text; its name is what people look for.
            Item::Table(_) => here.get_key_value(key).and_then(|(key, _)| key.span()).or_else(|| item.span()),
            _ => item.span(),
        };
        here = match item {
            Item::Table(table) => table,
            Item::Value(Value::InlineTable(table)) => table,
            Item::Value(Value::Array(array)) => {
                let value = keys.next().and_then(|index| array.get(index.parse().ok()?));
                return value.and_then(Value::span).or(found);
            }
            _ => break,
        };
    }
    found
}
