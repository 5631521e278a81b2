//! Walking through a file of XML, element by element, with little memory.

use std::io::{self, BufRead, Read};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// The most bytes of an element's text that are kept.
const TEXT: usize = 16 << 10;
/// The longest path of elements.
const PATH: usize = 4096;
/// The most bytes from one element to the next.
const APART: u64 = 4 << 20;

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
        Some(attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned())
    }
}

/// Walks through a file; fails with what is wrong with it, and where.
pub(super) fn walk(source: impl BufRead, elements: &mut impl Elements) -> Result<(), String> {
    let mut reader = Reader::from_reader(Bounded { source, left: APART });
    let (mut path, mut text, mut buffer) = (String::new(), String::new(), Vec::new());
    loop {
        reader.get_mut().left = APART;
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
            Event::Text(part) => add(&mut text, &part),
            Event::CData(part) => add(&mut text, &part),
            Event::GeneralRef(entity) => {
                let character = entity.resolve_char_ref().map_err(|error| error.to_string())?;
                if let Some(character) = character {
                    add(&mut text, character.encode_utf8(&mut [0; 4]));
                } else {
                    let known = quick_xml::escape::resolve_predefined_entity(&entity);
                    let unknown = || format!("the entity {} is not known", &*entity);
                    add(&mut text, known.ok_or_else(unknown)?);
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
        return Err("its elements are nested too deeply".to_owned());
    }
    path.push('/');
    path.push_str(&element.local_name().as_ref().replace('/', "_"));
    Ok(())
}

fn add(text: &mut String, part: &str) {
    if text.len() + part.len() <= TEXT {
        text.push_str(part);
    }
}

/// A source that gives no more than so many bytes at a stretch, since the reader keeps all of an element until it ends.
struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(bytes.len());
        bytes[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other(format!("an element is longer than {} MiB", APART >> 20)));
        }
        self.source.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        self.source.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::{Element, Elements, walk};

    struct Nothing;

    impl Elements for Nothing {
        fn start(&mut self, _: &str, _: &Element<'_>) -> Result<(), String> {
            Ok(())
        }

        fn end(&mut self, _: &str, _: &str) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn no_element_is_kept_that_never_ends() {
        for start in ["<a>", "<a ", "<!--", "<a b='", "<![CDATA["] {
            let endless = start.as_bytes().chain(std::io::repeat(b'x'));
            let error = walk(BufReader::new(endless), &mut Nothing).unwrap_err();
            assert!(error.contains("longer than 4 MiB"), "{start}: {error}");
        }
        let many = "<a>"
            .as_bytes()
            .chain("<b c='d'>e</b>".repeat(500_000).leak().as_bytes())
            .chain("</a>".as_bytes());
        walk(BufReader::new(many), &mut Nothing).unwrap();
    }
}
