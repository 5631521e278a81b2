//! Values of `otoshi.toml` that may be written in several forms: text, a list, a table.
//!
//! A mistake inside a form is told for that form, with its line, and not as "matches no variant".

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// A value as it was written.
pub(crate) enum Form<Table> {
    /// `"text"`
    Text(String),
    /// `["several", "texts"]`
    List(Vec<String>),
    /// `{ key = "value" }`
    Table(Table),
}

/// For values that are never a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoTable {}

impl<'de, Table: Deserialize<'de>> Deserialize<'de> for Form<Table> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms(PhantomData))
    }
}

struct Forms<Table>(PhantomData<Table>);

impl<'de, Table: Deserialize<'de>> Visitor<'de> for Forms<Table> {
    type Value = Form<Table>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an array of strings, or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Form::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok(Form::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(table)).map(Form::Table)
    }
}
