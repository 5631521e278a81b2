//! The part of a file that an error is about.

use std::ops::Range;

/// The lines of a file that a place is on, the place underlined.
pub(crate) fn excerpt(text: &str, span: &Range<usize>) -> String {
    let start = text[..span.start.min(text.len())].rfind('\n').map_or(0, |end| end + 1);
    let end = text[span.start.min(text.len())..].find('\n').map_or(text.len(), |length| span.start + length);
    let line = text[start..end].trim_end();
    let number = text[..start].matches('\n').count() + 1;
    // What a terminal would take for something else is shown as a space.
    let shown: String = line.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
    let before = text[start..span.start.min(end)].chars().count();
    let length = text[span.start.min(end)..span.end.clamp(span.start.min(end), end)].chars().count();
    let margin = " ".repeat(number.to_string().len());
    format!("{margin} |\n{number} | {shown}\n{margin} | {}{}", " ".repeat(before), "^".repeat(length.max(1)))
}
