//! The order of Alpine's versions: `NUMBER{.NUMBER}[LETTER]{_SUFFIX[NUMBER]}[~HASH][-rREVISION]`.
//!
//! A number after a point that has a leading zero is compared as a fraction is, digit by digit. The suffixes `alpha`, `beta`,
//! `pre` and `rc` come before the version without them; `cvs`, `svn`, `git`, `hg` and `p` after it.
//!
//! Source: apk-package(5), and the order that apk-tools 3 has.

use std::cmp::Ordering;

use super::dpkg::compare_digits;

/// The suffixes, in their order; those before [`RELEASE`] come before the version without a suffix.
const SUFFIXES: [&[u8]; 9] = [b"alpha", b"beta", b"pre", b"rc", b"cvs", b"svn", b"git", b"hg", b"p"];
/// How many suffixes mean that a release is still to come.
const RELEASE: usize = 4;

/// Compares two versions as apk does.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (Tokens::new(left), Tokens::new(right));
    let (mut a, mut b) = (left.first(), right.first());
    loop {
        if a.kind != b.kind {
            break;
        }
        if matches!(a.kind, Kind::End | Kind::Invalid) {
            return Ordering::Equal;
        }
        match a.compare(&b) {
            Ordering::Equal => {}
            other => return other,
        }
        (a, b) = (left.next(a.kind), right.next(b.kind));
    }
    if a.is_before_release() {
        return Ordering::Less;
    }
    if b.is_before_release() {
        return Ordering::Greater;
    }
    // What goes on with a part that comes earlier in a version is newer than what ends or goes on with a later one.
    b.kind.cmp(&a.kind)
}

/// The parts of a version, in the order in which they may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    First,
    Number,
    Letter,
    Suffix,
    SuffixNumber,
    Hash,
    Revision,
    End,
    Invalid,
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    text: &'a [u8],
    suffix: usize,
}

impl Token<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        match self.kind {
            Kind::Number if self.text.starts_with(b"0") || other.text.starts_with(b"0") => {
                self.text.cmp(other.text)
            }
            Kind::First | Kind::Number | Kind::SuffixNumber | Kind::Revision => {
                compare_digits(self.text, other.text)
            }
            Kind::Suffix => self.suffix.cmp(&other.suffix),
            _ => self.text.cmp(other.text),
        }
    }

    fn is_before_release(&self) -> bool {
        self.kind == Kind::Suffix && self.suffix < RELEASE
    }
}

#[derive(Debug)]
struct Tokens<'a> {
    left: &'a [u8],
}

impl<'a> Tokens<'a> {
    fn new(version: &'a str) -> Self {
        Self { left: version.as_bytes() }
    }

    fn first(&mut self) -> Token<'a> {
        self.digits(Kind::First)
    }

    fn next(&mut self, last: Kind) -> Token<'a> {
        let Some((first, rest)) = self.left.split_first() else {
            return Token { kind: Kind::End, text: &[], suffix: 0 };
        };
        match first {
            b'a'..=b'z' if last <= Kind::Number => self.take(Kind::Letter, 1),
            b'.' if last <= Kind::Number => {
                self.left = rest;
                self.digits(Kind::Number)
            }
            b'0'..=b'9' if last == Kind::Suffix => self.digits(Kind::SuffixNumber),
            b'_' if last <= Kind::SuffixNumber => {
                let length = rest.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
                match SUFFIXES.iter().position(|suffix| *suffix == &rest[..length]) {
                    Some(suffix) => {
                        self.left = rest;
                        Token { suffix, ..self.take(Kind::Suffix, length) }
                    }
                    None => self.invalid(),
                }
            }
            b'~' if last < Kind::Hash => {
                let is_hex = |byte: &&u8| byte.is_ascii_hexdigit();
                match rest.iter().take_while(is_hex).count() {
                    0 => self.invalid(),
                    length => {
                        self.left = rest;
                        self.take(Kind::Hash, length)
                    }
                }
            }
            b'-' if last < Kind::Revision && rest.first() == Some(&b'r') => {
                self.left = &rest[1..];
                self.digits(Kind::Revision)
            }
            _ => self.invalid(),
        }
    }

    fn digits(&mut self, kind: Kind) -> Token<'a> {
        match self.left.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 => self.invalid(),
            length => self.take(kind, length),
        }
    }

    fn take(&mut self, kind: Kind, length: usize) -> Token<'a> {
        let (text, rest) = self.left.split_at(length);
        self.left = rest;
        Token { kind, text, suffix: 0 }
    }

    fn invalid(&mut self) -> Token<'a> {
        Token { kind: Kind::Invalid, text: std::mem::take(&mut self.left), suffix: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{Kind, Tokens, compare};

    /// Whether a text is a version that apk accepts.
    fn is_valid(version: &str) -> bool {
        let mut tokens = Tokens::new(version);
        let mut token = tokens.first();
        while !matches!(token.kind, Kind::End | Kind::Invalid) {
            token = tokens.next(token.kind);
        }
        token.kind == Kind::End
    }

    /// Oldest first.
    const SORTED: [&str; 26] = [
        "0.9.8z",
        "1.0_alpha",
        "1.0_alpha2",
        "1.0_beta_pre3",
        "1.0_beta",
        "1.0_pre20191002222144-r0",
        "1.0_pre20210530193627-r0",
        "1.0_rc1",
        "1.0",
        "1.0-r1",
        "1.0-r10",
        "1.0~deadbeef-r0",
        "1.0_cvs3",
        "1.0_git20240101-r2",
        "1.0_p9-r0",
        "1.0_p10-r0",
        "1.0a",
        "1.0b_rc1",
        "1.0b",
        "1.0.1",
        "1.01",
        "1.03",
        "1.1",
        "1.2",
        "1.10",
        "010",
    ];

    #[test]
    fn versions_come_in_apks_order() {
        for (place, left) in SORTED.iter().enumerate() {
            assert!(is_valid(left), "{left}");
            for (other, right) in SORTED.iter().enumerate() {
                assert_eq!(compare(left, right), place.cmp(&other), "{left} {right}");
            }
        }
        for (left, right) in [("1.0", "1.0"), ("01", "1"), ("1.0-r0", "1.0-r00"), ("1_p1", "1_p01")] {
            assert_eq!(compare(left, right), Ordering::Equal, "{left} {right}");
        }
    }

    #[test]
    fn what_is_no_version_has_a_place_all_the_same() {
        for text in ["", "a", "1.", "1_foo", "1-1", "1.0bc", "1~", "1-r", "1.0 "] {
            assert!(!is_valid(text), "{text}");
            assert_eq!(compare(text, text), Ordering::Equal);
        }
        assert_eq!(compare("1.0", "1.0bc"), Ordering::Less);
        assert_eq!(compare("23_foo", "4_beta"), Ordering::Greater);
    }
}
