//! Keys in armour: text with the keys in base64, of which a file may have several, and other text around them.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9580.html#section-6>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How a block begins.
const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Says whether a text has keys in armour.
pub(super) fn is_in(bytes: &[u8]) -> bool {
    let begins = |line: &[u8]| line.trim_ascii().starts_with(BEGIN.as_bytes());
    bytes.split(|byte| *byte == b'\n').any(begins)
}

/// Says whether the first line is nothing but the beginning of a block.
pub(super) fn is_at_start(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').next() == Some(BEGIN.as_bytes())
}

/// Takes the keys of all blocks out of their armour; none where there is no block.
///
/// Without `takes_returns`, lines that end with a carriage return are no lines of a block, as in apt before 2.7.12.
pub(super) fn open(bytes: &[u8], takes_returns: bool) -> Result<Vec<u8>, String> {
    let mut keys = Vec::new();
    let mut text = String::new();
    let mut place = Place::Outside;
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = if takes_returns { line.trim_ascii() } else { line };
        match place {
            _ if line.starts_with(b"-----BEGIN") => place = Place::Headers,
            _ if line.starts_with(b"-----END") => {
                let decoded = STANDARD
                    .decode(text.trim_end())
                    .map_err(|error| format!("an armoured block cannot be read: {error}"))?;
                keys.extend(decoded);
                text.clear();
                place = Place::Outside;
            }
            Place::Headers if line.is_empty() => place = Place::Keys,
            // The last line of a block begins with `=` and is a sum.
            Place::Keys if !line.starts_with(b"=") && !line.starts_with(b"-") => {
                text.push_str(&String::from_utf8_lossy(line));
            }
            _ => {}
        }
    }
    Ok(keys)
}

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    Outside,
    Headers,
    Keys,
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, is_at_start, is_in, open};

    #[test]
    fn blocks_are_found_among_other_text() {
        let text = format!(
            "a key: hello\n{BEGIN}\nVersion: 1\n\nYWJj\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n\nmore\n{BEGIN}\n\nZGVm\nZ2hp\n\
             -----END PGP PUBLIC KEY BLOCK-----\nbye\n"
        );
        assert_eq!(open(text.as_bytes(), false).unwrap(), b"abcdefghi");
        let returns = text.replace('\n', "\r\n");
        assert_eq!(open(returns.as_bytes(), true).unwrap(), b"abcdefghi");
        assert_eq!(open(returns.as_bytes(), false).unwrap(), b"");
        assert!(is_in(text.as_bytes()) && !is_at_start(text.as_bytes()) && !is_in(b"\x99\x01"));
        assert!(open(text.replace("YWJj", "Y?Jj").as_bytes(), true).is_err());
    }
}
