//! Files whose text has an encoding that none of these formats has.

use crate::DockerfileError;

/// Says whether bytes are UTF-16: they begin with a byte order mark, or with one character of which a half is zero.
///
/// Some editors and shells of Windows write text so unless told otherwise.
pub fn is_utf16(bytes: &[u8]) -> bool {
    let marks = [[0xff, 0xfe], [0xfe, 0xff]];
    let Some(start) = bytes.first_chunk::<2>() else { return false };
    marks.contains(start) || start.contains(&0) && start != &[0, 0]
}

/// The text of a Dockerfile. What is no UTF-8, as in comments in an old encoding, is replaced.
///
/// Fails where it is UTF-16, of which nothing would be read.
pub fn text(name: &str, bytes: &[u8]) -> Result<String, DockerfileError> {
    if is_utf16(bytes) {
        let error = DockerfileError::new(format!("{name} is UTF-16"));
        return Err(error.with_hint(Some("save it as UTF-8".to_owned())));
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_is_told_from_other_bytes() {
        let wide = |mark: &[u16], text: &str| -> Vec<u16> {
            mark.iter().copied().chain(text.encode_utf16()).collect()
        };
        for units in [wide(&[0xfeff], "FROM x"), wide(&[], "FROM x"), wide(&[0xfeff], "")] {
            let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
            assert!(is_utf16(&little) && is_utf16(&big), "{units:?}");
            assert_eq!(text("Dockerfile", &little).unwrap_err().to_string(), "Dockerfile is UTF-16");
        }
        for bytes in [&b""[..], b"F", b"FROM x", "\u{feff}FROM x".as_bytes(), b"\xe4 = 1", b"\0\0"] {
            assert!(!is_utf16(bytes), "{bytes:?}");
        }
        assert_eq!(text("Dockerfile", b"# \xe4\nFROM x").unwrap(), "# \u{fffd}\nFROM x");
    }
}
