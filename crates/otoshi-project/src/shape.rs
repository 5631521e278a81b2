//! What of `otoshi.toml` does not have the form that its JSON schema gives: unknown keys, values of another kind, what is
//! missing. All of it is found, each in its place.
//!
//! Whoever reads the file into types is told of the first mistake alone, as a text for people. So where that failed, the file
//! is held against the schema that editors have, too.

use std::{ops::Range, sync::LazyLock};

use serde_json::{Map, Value as Json};
use toml_edit::{ArrayOfTables, Document, DocumentMut, Item, TableLike, Value};

use crate::{ProjectError, error::near, faults::Faults, manifest};

/// What leads to the items of an array.
const ITEM: &str = "";

static SCHEMA: LazyLock<Json> = LazyLock::new(manifest::schema);

/// Adds what does not have the form to `faults`; gives the file as it was likely meant, where that can be told.
pub(crate) fn look(faults: &mut Faults<'_>) -> Option<DocumentMut> {
    let document = faults.document()?;
    let mut search = Search { faults, mends: Some(Vec::new()) };
    search.members(Node::Table(document.as_table()), None, SCHEMA.as_object()?, &mut Vec::new());
    let mends = search.mends?;
    let mut meant = Document::clone(&document).into_mut();
    for mend in mends {
        mend.apply(meant.as_table_mut());
    }
    Some(meant)
}

struct Search<'f, 't> {
    faults: &'f mut Faults<'t>,
    /// `None` where something is wrong of which nobody can tell how it was meant.
    mends: Option<Vec<Mend>>,
}

/// What makes a mistake harmless to what stands beside it.
struct Mend {
    path: Vec<String>,
    /// The text in its place; `None` takes the key out.
    text: Option<String>,
}

/// A value of the file, of any form.
#[derive(Clone, Copy)]
enum Node<'d> {
    Value(&'d Value),
    Table(&'d dyn TableLike),
    Tables(&'d ArrayOfTables),
}

/// What a value is, in TOML's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    String,
    Integer,
    Float,
    Boolean,
    Date,
    Array,
    Table,
}

impl Search<'_, '_> {
    /// Compares a value with the schemas that it may have; `path` leads to it.
    fn value(&mut self, node: Node<'_>, span: Option<Range<usize>>, schema: &Json, path: &mut Vec<String>) {
        let all = alternatives(schema);
        let fitting: Vec<&Map<String, Json>> =
            all.iter().copied().filter(|one| forms(one).contains(&node.form())).collect();
        let Some(first) = fitting.first() else {
            return self.wrong_form(node, span, &all, path);
        };
        match node {
            Node::Value(Value::String(text)) => self.word(text.value(), span, &fitting, path),
            Node::Value(Value::Array(_)) | Node::Tables(_) => {
                let Some(items) = first.get("items") else { return };
                path.push(ITEM.to_owned());
                for element in node.elements() {
                    self.value(element, element.span(), items, path);
                }
                path.pop();
            }
            Node::Value(Value::InlineTable(_)) | Node::Table(_) if fitting.len() > 1 => {
                self.one_of(node, span, &fitting, path);
            }
            Node::Value(Value::InlineTable(_)) | Node::Table(_) => self.members(node, span, first, path),
            Node::Value(_) => {}
        }
    }

    /// A table that has the keys of one of several forms, and no others.
    fn one_of(
        &mut self,
        node: Node<'_>,
        span: Option<Range<usize>>,
        forms: &[&Map<String, Json>],
        path: &mut Vec<String>,
    ) {
        let Some(table) = node.table() else { return };
        let all = forms.iter().filter_map(|form| form.get("properties")?.as_object()).flatten();
        let known: Map<String, Json> = all.map(|(key, schema)| (key.clone(), schema.clone())).collect();
        let (mut there, mut is_told) = (0, false);
        for (key, item) in table.iter() {
            let at = table.get_key_value(key).and_then(|(key, _)| key.span());
            path.push(key.to_owned());
            match (known.get(key), Node::of(item)) {
                (Some(schema), Some(node)) => {
                    there += 1;
                    self.value(node, item.span(), schema, path);
                }
                _ => is_told |= self.unknown(item, at, Some(&known), path).is_some(),
            }
            path.pop();
        }
        if there == 1 || is_told {
            return;
        }
        self.mends = None;
        let words: Vec<String> = known.keys().map(|key| format!("`{key}`")).collect();
        let both = if there > 1 { ", not several" } else { "" };
        let message = format!("{} must have either {}{both}", named(path), words.join(" or "));
        let error = ProjectError::new(self.faults.file(), message).with_hint(example(&known));
        self.faults.spanned(span, error);
    }

    fn members(
        &mut self,
        node: Node<'_>,
        span: Option<Range<usize>>,
        schema: &Map<String, Json>,
        path: &mut Vec<String>,
    ) {
        let Some(table) = node.table() else { return };
        let known = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let mut meant = Vec::new();
        for (key, item) in table.iter() {
            let at = table.get_key_value(key).and_then(|(key, _)| key.span());
            path.push(key.to_owned());
            match known.and_then(|known| known.get(key)).or(others) {
                Some(schema) => {
                    if let Some(node) = Node::of(item) {
                        // A table's own span is its whole text; its name is what people look for.
                        let span = if item.is_table() { at } else { item.span() };
                        self.value(node, span, schema, path);
                    }
                }
                None => meant.extend(self.unknown(item, at, known, path)),
            }
            path.pop();
        }
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        for key in required.filter_map(Json::as_str).filter(|key| table.get(key).is_none()) {
            self.mends = None;
            // It is there by another name, and that is told.
            if !meant.contains(&key) {
                let place = path.last().map(|table| format!(" in [{table}]")).unwrap_or_default();
                let message = format!("missing key `{key}`{place}");
                self.faults.spanned(span.clone(), ProjectError::new(self.faults.file(), message));
            }
        }
    }

    /// Tells of a key that is not known, and gives the one that it is most like.
    fn unknown<'k>(
        &mut self,
        item: &Item,
        span: Option<Range<usize>>,
        known: Option<&'k Map<String, Json>>,
        path: &[String],
    ) -> Option<&'k str> {
        let key = path.last().map(String::as_str).unwrap_or_default();
        let known: Vec<&str> = known.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let near = near(key, known.iter().copied());
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys: {}", known.join(", ")),
        };
        let error = ProjectError::new(self.faults.file(), format!("unknown key `{key}`")).with_hint(hint);
        self.faults.spanned(span, error);
        // Other parts of the file may lean on a table that has another name.
        if item.is_table_like() {
            self.mends = None;
        } else if let Some(mends) = &mut self.mends {
            mends.push(Mend { path: path.to_vec(), text: None });
        }
        near
    }

    /// A text where only some have a meaning.
    fn word(
        &mut self,
        text: &str,
        span: Option<Range<usize>>,
        schemas: &[&Map<String, Json>],
        path: &[String],
    ) {
        let Some(words) = schemas.iter().map(|schema| words(schema)).collect::<Option<Vec<_>>>() else {
            return;
        };
        let words = words.concat();
        let has_start = |schema: &&Map<String, Json>| {
            start(schema).is_some_and(|start| text.len() > start.len() && text.starts_with(start))
        };
        if words.contains(&text) || schemas.iter().any(has_start) {
            return;
        }
        let starts = schemas.iter().filter_map(|schema| start(schema)).map(|start| format!("{start}…"));
        let all: Vec<String> = words.iter().map(|word| (*word).to_owned()).chain(starts).collect();
        let hint = match near(text, words.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("one of: {}", all.join(", ")),
        };
        self.mends = None;
        let message = format!("{} cannot be \"{}\"", named(path), text.escape_debug());
        self.faults.spanned(span, ProjectError::new(self.faults.file(), message).with_hint(hint));
    }

    fn wrong_form(
        &mut self,
        node: Node<'_>,
        span: Option<Range<usize>>,
        all: &[&Map<String, Json>],
        path: &[String],
    ) {
        let mut wanted: Vec<Form> = Vec::new();
        for form in all.iter().flat_map(|one| forms(one)) {
            if !wanted.contains(&form) {
                wanted.push(form);
            }
        }
        let words = wanted.iter().map(|form| form.words()).collect::<Vec<_>>().join(" or ");
        let message = format!("{} must be {words}, not {}", named(path), node.form().words());
        let mut error = ProjectError::new(self.faults.file(), message);
        let bare = matches!(node.form(), Form::Integer | Form::Float | Form::Boolean | Form::Date);
        let text = span.clone().and_then(|span| self.faults.text().get(span));
        if let Some(text) = text.filter(|_| bare && wanted.contains(&Form::String)) {
            error = error.with_hint(format!("quote it: \"{text}\""));
            if path.last().is_some_and(|key| key == ITEM) {
                self.mends = None;
            } else if let Some(mends) = &mut self.mends {
                mends.push(Mend { path: path.to_vec(), text: Some(text.to_owned()) });
            }
        } else {
            self.mends = None;
            // A form that only tables have is shown.
            if all.len() > 1 && wanted == [Form::Table] {
                let properties = all.iter().filter_map(|one| one.get("properties")?.as_object()).flatten();
                let known = properties.map(|(key, schema)| (key.clone(), schema.clone())).collect();
                error = error.with_hint(example(&known));
            }
        }
        self.faults.spanned(span, error);
    }
}

/// How tables of one key look, of which there may be several.
fn example(known: &Map<String, Json>) -> String {
    let all: Vec<String> = known.keys().map(|key| format!("{{ {key} = \"…\" }}")).collect();
    format!("as in {}", all.join(", or "))
}

/// How a message names what a path leads to.
fn named(path: &[String]) -> String {
    match path {
        [.., list, item] if item == ITEM => format!("an item of `{list}`"),
        [.., key] => format!("`{key}`"),
        [] => "the file".to_owned(),
    }
}

impl Mend {
    fn apply(&self, table: &mut dyn TableLike) {
        let Some((last, above)) = self.path.split_last() else { return };
        let mut here = table;
        for key in above {
            let Some(next) = here.get_mut(key).and_then(Item::as_table_like_mut) else { return };
            here = next;
        }
        match &self.text {
            Some(text) => drop(here.insert(last, Item::Value(text.as_str().into()))),
            None => drop(here.remove(last)),
        }
    }
}

impl<'d> Node<'d> {
    fn of(item: &'d Item) -> Option<Self> {
        match item {
            Item::None => None,
            Item::Value(value) => Some(Self::Value(value)),
            Item::Table(table) => Some(Self::Table(table)),
            Item::ArrayOfTables(tables) => Some(Self::Tables(tables)),
        }
    }

    fn table(self) -> Option<&'d dyn TableLike> {
        match self {
            Self::Table(table) => Some(table),
            Self::Value(Value::InlineTable(table)) => Some(table),
            Self::Value(_) | Self::Tables(_) => None,
        }
    }

    fn elements(self) -> Vec<Self> {
        match self {
            Self::Value(Value::Array(array)) => array.iter().map(Self::Value).collect(),
            Self::Tables(tables) => tables.iter().map(|table| Self::Table(table)).collect(),
            Self::Value(_) | Self::Table(_) => Vec::new(),
        }
    }

    /// Where a value stands; where a table does, its keys say.
    fn span(self) -> Option<Range<usize>> {
        match self {
            Self::Value(value) => value.span(),
            Self::Table(_) | Self::Tables(_) => None,
        }
    }

    fn form(self) -> Form {
        match self {
            Self::Table(_) | Self::Value(Value::InlineTable(_)) => Form::Table,
            Self::Tables(_) | Self::Value(Value::Array(_)) => Form::Array,
            Self::Value(Value::String(_)) => Form::String,
            Self::Value(Value::Integer(_)) => Form::Integer,
            Self::Value(Value::Float(_)) => Form::Float,
            Self::Value(Value::Boolean(_)) => Form::Boolean,
            Self::Value(Value::Datetime(_)) => Form::Date,
        }
    }
}

impl Form {
    fn words(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Float => "a float",
            Self::Boolean => "a boolean",
            Self::Date => "a date",
            Self::Array => "an array",
            Self::Table => "a table",
        }
    }
}

/// The schemas of which a value may have any, without references and choices.
fn alternatives(schema: &Json) -> Vec<&Map<String, Json>> {
    let Some(object) = schema.as_object() else { return Vec::new() };
    if let Some(name) = object.get("$ref").and_then(Json::as_str) {
        let target = name.strip_prefix('#').and_then(|pointer| SCHEMA.pointer(pointer));
        return target.map(alternatives).unwrap_or_default();
    }
    let choices = ["anyOf", "oneOf"].iter().find_map(|key| object.get(*key)).and_then(Json::as_array);
    match choices {
        Some(choices) => choices.iter().flat_map(alternatives).collect(),
        None => vec![object],
    }
}

/// What a schema without choices lets a value be.
fn forms(schema: &Map<String, Json>) -> Vec<Form> {
    let of_name = |name: &str| match name {
        "string" => Some(Form::String),
        "integer" => Some(Form::Integer),
        "number" => Some(Form::Float),
        "boolean" => Some(Form::Boolean),
        "array" => Some(Form::Array),
        "object" => Some(Form::Table),
        _ => None,
    };
    match schema.get("type") {
        Some(Json::String(name)) => of_name(name).into_iter().collect(),
        Some(Json::Array(names)) => names.iter().filter_map(|name| of_name(name.as_str()?)).collect(),
        _ => Vec::new(),
    }
}

/// The texts that a schema names; `None` where it takes any.
fn words(schema: &Map<String, Json>) -> Option<Vec<&str>> {
    if let Some(word) = schema.get("const") {
        return Some(word.as_str().into_iter().collect());
    }
    if start(schema).is_some() {
        return Some(Vec::new());
    }
    Some(schema.get("enum")?.as_array()?.iter().filter_map(Json::as_str).collect())
}

/// What the texts of a schema begin with, in the one form of pattern that there is: `^START.+`.
fn start(schema: &Map<String, Json>) -> Option<&str> {
    schema.get("pattern")?.as_str()?.strip_prefix('^')?.strip_suffix(".+")
}
