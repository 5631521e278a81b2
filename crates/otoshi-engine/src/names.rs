//! File names that are not UTF-8, as text: so that patterns and keys are made of text, and no name is lost.
//!
//! A byte that is no part of UTF-8 becomes the character U+10FF00 and its value, in a private area that nobody's names use; a
//! character from there that does stand in a name is taken apart into its bytes. So each name has one text, and each text one name.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// The character that stands for the byte 0.
const ESCAPES: u32 = 0x10_FF00;

/// A name as text; or many, as in an ignore file, whose patterns then match names that are not UTF-8.
pub(crate) fn to_text(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for sign in chunk.valid().chars() {
            if (ESCAPES..ESCAPES + 256).contains(&u32::from(sign)) {
                let mut bytes = [0; 4];
                text.extend(sign.encode_utf8(&mut bytes).bytes().map(escape));
            } else {
                text.push(sign);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(escape));
    }
    text
}

/// The path that a text of names with slashes stands for.
pub(crate) fn to_path(text: &str) -> PathBuf {
    if text.is_ascii() {
        return PathBuf::from(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    for sign in text.chars() {
        match u32::from(sign).checked_sub(ESCAPES) {
            Some(byte @ 0..256) => bytes.push(byte as u8),
            _ => bytes.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// A path as text, with slashes.
pub(crate) fn of_path(path: &Path) -> String {
    to_text(path.as_os_str().as_bytes())
}

fn escape(byte: u8) -> char {
    char::from_u32(ESCAPES + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_text_and_comes_back() {
        let odd = "\u{10FFE9}".as_bytes();
        for name in
            [&b"plain"[..], "caf\u{e9}".as_bytes(), b"caf\xe9", b"\xff\xfe/a", odd, b"\xf4\x8f\xbf", b""]
        {
            assert_eq!(to_path(&to_text(name)).as_os_str().as_bytes(), name);
        }
        assert_eq!(to_text("caf\u{e9}/x".as_bytes()), "caf\u{e9}/x");
        assert_ne!(to_text(b"\xe9"), to_text(odd));
    }
}
