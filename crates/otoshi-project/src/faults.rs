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

    /// Adds one that is known to stand somewhere.
    pub(crate) fn spanned(&mut self, span: Option<Range<usize>>, error: ProjectError) {
        self.found.push(match span {
            Some(span) => error.placed(self.text, span),
            None => error,
        });
    }

    /// Adds one, at the value of a key; `path` is the table's name and the keys that lead there.
    pub(crate) fn at(&mut self, path: &[&str], message: impl Into<String>, hint: impl Into<Remedy>) {
        let error = ProjectError::new(self.file, message).with_hint(hint);
        self.add(path, error);
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

/// Where the value of a key stands; that of the last key on the way that is there.
fn span(table: &Table, path: &[&str]) -> Option<Range<usize>> {
    let mut here: &dyn TableLike = table;
    let mut found = None;
    for key in path {
        let Some(item) = here.get(key) else { break };
        found = match item {
            // A table's own span is its whole text; its name is what people look for.
            Item::Table(_) => here.get_key_value(key).and_then(|(key, _)| key.span()).or_else(|| item.span()),
            _ => item.span(),
        };
        here = match item {
            Item::Table(table) => table,
            Item::Value(Value::InlineTable(table)) => table,
            _ => break,
        };
    }
    found
}
