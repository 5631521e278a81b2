//! Walking through a file of XML, element by element, with little memory.

use std::io::BufRead;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// The most bytes of an element's text that are kept.
const TEXT: usize = 16 << 10;
/// The longest path of elements.
const PATH: usize = 4096;

/// Takes elements as they come. A path begins with a slash and has no name spaces: `/metadata/package/name`.
pub(super) trait Elements {
    /// Takes the beginning of an element, with its attributes.
    fn start(&mut self, path: &str, element: &Element<'_>) -> Result<(), String>;

    /// Takes the end of an element, with the text since the last beginning or end.
    fn end(&mut self, path: &str, text: &str) -> Result<(), String>;
}

/// The beginning of an element.
pub(super) struct Element<'a>(&'a BytesStart<'a>);

impl Element<'_> {
    /// Returns the value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let attribute = self.0.try_get_attribute(name).ok().flatten()?;
        Some(attribute.unescape_value().ok()?.into_owned())
    }
}

/// Walks through a file; fails with what is wrong with it, and where.
pub(super) fn walk(source: impl BufRead, elements: &mut impl Elements) -> Result<(), String> {
    let mut reader = Reader::from_reader(source);
    let (mut path, mut text, mut buffer) = (String::new(), String::new(), Vec::new());
    loop {
        let event = reader.read_event_into(&mut buffer);
        let event = event.map_err(|error| format!("at byte {}: {error}", reader.error_position()))?;
        match event {
            Event::Start(element) => {
                open(&mut path, &element)?;
                elements.start(&path, &Element(&element))?;
                text.clear();
            }
            Event::Empty(element) => {
                let before = path.len();
                open(&mut path, &element)?;
                elements.start(&path, &Element(&element))?;
                elements.end(&path, "")?;
                path.truncate(before);
                text.clear();
            }
            Event::End(_) => {
                elements.end(&path, text.trim())?;
                path.truncate(path.rfind('/').unwrap_or(0));
                text.clear();
            }
            Event::Text(part) => add(&mut text, &part.decode().map_err(|error| error.to_string())?),
            Event::CData(part) => add(&mut text, &part.decode().map_err(|error| error.to_string())?),
            Event::GeneralRef(entity) => {
                let character = entity.resolve_char_ref().map_err(|error| error.to_string())?;
                if let Some(character) = character {
                    add(&mut text, character.encode_utf8(&mut [0; 4]));
                } else {
                    let name = entity.decode().map_err(|error| error.to_string())?;
                    let known = quick_xml::escape::resolve_predefined_entity(&name);
                    add(&mut text, known.ok_or_else(|| format!("the entity {name} is not known"))?);
                }
            }
            Event::Eof => {
                return if path.is_empty() { Ok(()) } else { Err(format!("it ends within {path}")) };
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        buffer.clear();
    }
}

fn open(path: &mut String, element: &BytesStart<'_>) -> Result<(), String> {
    if path.len() > PATH {
        return Err("its elements are too deep".to_owned());
    }
    path.push('/');
    path.push_str(&String::from_utf8_lossy(element.local_name().as_ref()).replace('/', "_"));
    Ok(())
}

fn add(text: &mut String, part: &str) {
    if text.len() + part.len() <= TEXT {
        text.push_str(part);
    }
}
