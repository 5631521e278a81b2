//! A file in YAML or JSON as a tree of texts: whoever reads a value knows whether it is to be a number.
//!
//! So `autoallow: true` is a text where one is wanted, as with BuildKit. Nulls count as left out.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use yaml_rust2::{
    parser::{Event, Parser},
    scanner::TScalarStyle,
};

/// How deep a file may nest.
const DEPTH: usize = 32;
/// The most values that are read, those that a name stands for included.
const MOST: usize = 200_000;

/// Reads JSON; fails with what is wrong with it.
pub(super) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map(texts).map_err(|error| error.to_string())
}

fn texts(value: Value) -> Value {
    match value {
        Value::Bool(value) => Value::String(value.to_string()),
        Value::Number(number) => Value::String(number.to_string()),
        Value::Array(items) => Value::Array(items.into_iter().map(texts).collect()),
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(members.map(|(key, value)| (key, texts(value))).collect())
        }
        Value::Null | Value::String(_) => value,
    }
}

/// Reads the first document of a file in YAML; fails with what is wrong with it.
pub(super) fn yaml(text: &str) -> Result<Value, String> {
    let mut parser = Parser::new_from_str(text);
    let mut reading = Reading::default();
    loop {
        let (event, mark) = parser.next_token().map_err(|error| error.to_string())?;
        let at = |reason: String| format!("line {}: {reason}", mark.line());
        match event {
            Event::DocumentEnd | Event::StreamEnd => return Ok(reading.whole.unwrap_or(Value::Null)),
            Event::MappingStart(anchor, _) => {
                reading.open(anchor, Frame::Map(Map::new(), None)).map_err(at)?;
            }
            Event::SequenceStart(anchor, _) => reading.open(anchor, Frame::List(Vec::new())).map_err(at)?,
            Event::MappingEnd | Event::SequenceEnd => reading.close().map_err(at)?,
            Event::Scalar(text, style, anchor, _) => {
                let is_null = style == TScalarStyle::Plain
                    && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null { Value::Null } else { Value::String(text) };
                reading.value(anchor, value).map_err(at)?;
            }
            Event::Alias(anchor) => {
                let value = reading.anchors.get(&anchor).cloned();
                let value = value.ok_or_else(|| at("an alias that refers to nothing".to_owned()))?;
                reading.count += size(&value);
                reading.value(0, value).map_err(at)?;
            }
            Event::Nothing | Event::StreamStart | Event::DocumentStart => {}
        }
    }
}

/// What is open: a mapping with the key whose value comes next, or a list.
enum Frame {
    Map(Map<String, Value>, Option<String>),
    List(Vec<Value>),
}

#[derive(Default)]
struct Reading {
    open: Vec<(usize, Frame)>,
    anchors: HashMap<usize, Value>,
    count: usize,
    whole: Option<Value>,
}

impl Reading {
    fn open(&mut self, anchor: usize, frame: Frame) -> Result<(), String> {
        if self.open.len() >= DEPTH {
            return Err("it is nested too deeply".to_owned());
        }
        self.open.push((anchor, frame));
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        match self.open.pop() {
            Some((anchor, Frame::Map(members, _))) => self.value(anchor, Value::Object(members)),
            Some((anchor, Frame::List(items))) => self.value(anchor, Value::Array(items)),
            None => Ok(()),
        }
    }

    fn value(&mut self, anchor: usize, value: Value) -> Result<(), String> {
        self.count += 1;
        if self.count > MOST {
            return Err("it has too many values".to_owned());
        }
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.whole = Some(value),
            Some((_, Frame::List(items))) => items.push(value),
            Some((_, Frame::Map(members, key))) => match (key.take(), value) {
                (None, Value::String(text)) if !members.contains_key(&text) => *key = Some(text),
                (None, Value::String(text)) => return Err(format!("{text:?} is given twice")),
                (None, _) => return Err("a key that is no text".to_owned()),
                (Some(_), Value::Null) => {}
                (Some(key), value) => _ = members.insert(key, value),
            },
        }
        Ok(())
    }
}

/// How many values there are in one.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    }
}

/// Reads a number as YAML has it: `0o17` and `017` are octal, `0xf` is hexadecimal.
pub(super) fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (digits, radix) = match digits.get(..2) {
        Some("0x" | "0X") => (&digits[2..], 16),
        Some("0o" | "0O") => (&digits[2..], 8),
        Some(_) if digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

/// Texts by name.
pub(super) type Texts = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_values_are_texts_and_nulls_are_left_out() {
        let text = "a: true\nb: [1, 0x2, \"null\", x: ~]\nc:\nd: &d {e: 1.0}\nf: *d\n---\nsecond: 1\n";
        let wanted =
            json!({"a": "true", "b": ["1", "0x2", "null", {}], "d": {"e": "1.0"}, "f": {"e": "1.0"}});
        assert_eq!(yaml(text).unwrap(), wanted);
        let text = r#"{"a": true, "b": [1, {"x": null}], "c": null}"#;
        assert_eq!(super::json(text).unwrap(), json!({"a": "true", "b": ["1", {}]}));
        assert_eq!(yaml("").unwrap(), Value::Null);
    }

    #[test]
    fn hostile_files_are_refused() {
        let deep = "[".repeat(100_000);
        // Each line doubles what the one before stands for.
        let mut doubled = "a: &a0 [x, x]\n".to_owned();
        for n in 1..40 {
            doubled += &format!("b{n}: &a{n} [*a{0}, *a{0}]\n", n - 1);
        }
        for text in [&deep, &doubled, "a: 1\na: 2\n", "[a]: 1\n", "a: *b\n", "a: \"x", "\t- a\n b"] {
            assert!(yaml(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
        assert!(super::json(&deep).is_err());
        assert!(super::json("{").is_err());
    }

    #[test]
    fn numbers_are_read_as_yaml_has_them() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("195", Some(195)),
            ("0666", Some(0o666)),
            ("0o17", Some(15)),
            ("0xfF", Some(255)),
            ("-1", Some(-1)),
            ("", None),
            ("-", None),
            ("+1", None),
            ("0x", None),
            ("0x-1", None),
            ("1e3", None),
            ("1.0", None),
            ("089", None),
            ("ä1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(number(text), wanted, "{text}");
        }
    }
}
