//! Where something stands in `otoshi.toml`.

use toml_edit::{Document, Item};

/// Returns the line, from 1, on which a key of a table stands; `None` where it is not there.
pub fn line_of(text: &str, table: &str, key: &str) -> Option<usize> {
    let document = Document::parse(text).ok()?;
    let span = match document.get(table)? {
        Item::Table(table) => table.key(key)?.span()?,
        Item::Value(value) => value.as_inline_table()?.key(key)?.span()?,
        _ => return None,
    };
    Some(text.get(..span.start)?.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn a_key_stands_on_a_line_of_its_table() {
        let text =
            "[project]\nname = \"RUN\"\n\n[bases]\n# RUN\nBUILD = \"ruby:3.1\"\nRUN = \"ruby:3.1-slim\"\n";
        assert_eq!(line_of(text, "bases", "RUN"), Some(7));
        assert_eq!(line_of(text, "project", "name"), Some(2));
        assert_eq!(line_of("bases = { RUN = \"a\" }\n", "bases", "RUN"), Some(1));
        assert_eq!(line_of("[bases.RUN]\ndebian = \"bookworm\"\n", "bases", "RUN"), Some(1));
        assert_eq!((line_of(text, "bases", "APP"), line_of("= nonsense", "bases", "RUN")), (None, None));
    }
}
