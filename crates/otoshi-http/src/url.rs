//! Addresses that can be shown.
//!
//! ```text
//! https://me:secret@host/path?query#fragment
//!         └userinfo┘ never shown
//! ```
//!
//! A password belongs into an address percent-encoded, and people write it down as it is: with `@`, `/`, `#` or `?` in it, which
//! end the part that a parser takes for the place. So the text is not parsed. All up to the last `@` is hidden wherever it may be a
//! password; what then might not be one is hidden, too, and a mark says so.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1>

use std::fmt::{self, Write};

/// What stands for what is hidden, where an address could be read in two ways.
const HIDDEN: &str = "***";

/// The schemes that addresses here have.
const SCHEMES: [&str; 12] =
    ["http", "https", "ftp", "ftps", "ssh", "git", "file", "oci", "socks4", "socks4a", "socks5", "socks5h"];

/// An address that can be shown: neither `Display` nor `Debug` says who logs in there or with which password.
///
/// It need not be a valid one. What is not shown is kept, for whoever sends a request there: see [`SafeUrl::expose`].
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafeUrl(String);

impl SafeUrl {
    /// Takes any text, be it an address or not.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the whole address, with what lets a request in: for requests, and for nothing that is shown or logged.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Shows the address without its query and fragment, which may hold a signature.
    pub fn place(&self) -> String {
        let shown = self.to_string();
        shown.split(['?', '#']).next().unwrap_or_default().to_owned()
    }

    /// Returns the address as a parser reads it, without who logs in there: for files that others read and go by.
    pub fn without_login(&self) -> String {
        let (scheme, rest) = self.0.split_at(self.0.find("://").map_or(0, |end| end + 3));
        let login = rest[..end_of_authority(rest)].rfind('@').map_or(0, |at| at + 1);
        format!("{scheme}{}", &rest[login..])
    }

    /// Hides the address, and what lets a request in there, wherever they stand in a text: in what another program says of it.
    pub fn hide_in(&self, text: &str) -> String {
        let parts = Parts::of(&self.0);
        let mut text = text.replace(self.0.as_str(), &self.to_string());
        let login = self.0[parts.login.clone()].trim_end_matches('@');
        let password = login.split_once(':').map_or(login, |(_, password)| password);
        for secret in [login, password] {
            // A word of one or two letters is everywhere, and hiding it would show where it was.
            if secret.len() > 2 {
                text = text.replace(secret, HIDDEN);
            }
        }
        text
    }
}

/// Where in a text stands what.
struct Parts {
    /// What is hidden, with the `@` after it.
    login: std::ops::Range<usize>,
    /// Whether what is hidden might be something else.
    is_unclear: bool,
}

impl Parts {
    fn of(text: &str) -> Self {
        let start = after_scheme(text);
        let none = Self { login: start..start, is_unclear: false };
        let Some(last) = text[start..].rfind('@').map(|at| start + at) else { return none };
        let rest = &text[start..];
        let authority = &rest[..end_of_authority(rest)];
        let hidden = |is_unclear| Self { login: start..last + 1, is_unclear };
        if start == 0 {
            // `git@host:path`, as ssh has it: a name with no password.
            let is_name = |text: &str| {
                !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            };
            let (user, place) = text.split_at(last);
            let place = place[1..].split_once(':').map_or("", |(host, _)| host);
            return if is_name(user) && is_name(place) { none } else { hidden(true) };
        }
        match authority.rfind('@') {
            Some(at) => hidden(start + at != last),
            // The start of a password, or a port; the `@` may be one of the path.
            None if has_port(authority) => hidden(true),
            None => none,
        }
    }
}

/// The host and port of an address, as a parser reads them, without who logs in there; the scheme may be left away.
pub fn authority_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = &rest[..end_of_authority(rest)];
    authority.rsplit('@').next().unwrap_or_default()
}

/// The host of what may have a port, without the brackets of an IPv6 address.
pub fn host_in(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Where a path, query or fragment begins after a host and port.
fn end_of_authority(rest: &str) -> usize {
    rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())
}

/// Where the scheme and `://` end; 0 where there is none that is known: it could be a name whose password begins with two slashes.
fn after_scheme(text: &str) -> usize {
    let Some(end) = text.find("://") else { return 0 };
    if SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(&text[..end])) { end + 3 } else { 0 }
}

/// Whether there is a colon that is none of an IPv6 address.
fn has_port(authority: &str) -> bool {
    let after = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(authority, |(_, rest)| rest),
        None => authority,
    };
    after.contains(':')
}

impl fmt::Display for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = Parts::of(&self.0);
        let mark = if parts.is_unclear { "***@" } else { "" };
        for part in [&self.0[..parts.login.start], mark, &self.0[parts.login.end..]] {
            // A terminal is not told anything by an address.
            for c in part.chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl From<&str> for SafeUrl {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for SafeUrl {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&String> for SafeUrl {
    fn from(text: &String) -> Self {
        Self::new(text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        SafeUrl::new(text).to_string()
    }

    #[test]
    fn an_address_is_shown_without_who_logs_in() {
        for (text, expected) in [
            ("https://me:secret@host.test/debian/", "https://host.test/debian/"),
            ("https://me@host.test/debian/", "https://host.test/debian/"),
            ("https://:secret@host.test", "https://host.test"),
            ("https://a@b:p@host.test", "https://host.test"),
            ("https://me:secret@[::1]:80/a?b=c#d", "https://[::1]:80/a?b=c#d"),
            ("socks5h://me:secret@proxy:1080", "socks5h://proxy:1080"),
            ("ssh://git@host/a.git", "ssh://host/a.git"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
            assert_eq!(format!("{:?}", SafeUrl::new(text)), format!("\"{expected}\""), "{text}");
        }
    }

    #[test]
    fn what_has_no_login_is_shown_as_it_is() {
        for text in [
            "",
            "https://host.test/a@b",
            "https://host.test/?to=a@b.test",
            "https://[fe80::1]/a@b",
            "http://host:8080/a?b#c",
            "git@host.test:team/shop.git",
            "file:///srv/key",
            "host:8080",
            "not an address",
            "://",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn what_may_be_a_password_is_hidden_and_a_mark_says_so() {
        for (text, expected) in [
            ("https://me:sec@ret/x@host/a", "https://***@host/a"),
            ("https://me:sec/ret@host/a", "https://***@host/a"),
            ("https://me:12/34@host/a", "https://***@host/a"),
            ("https://me:a#b@host", "https://***@host"),
            ("https://me:a?b@host", "https://***@host"),
            ("https://me:a\\b@host", "https://***@host"),
            ("https://me:a b@host", "https://host"),
            ("https://me:a%40b%2F@host", "https://host"),
            ("https://me:a://b@host", "https://***@host"),
            ("https://me:secret@host/a@b", "https://***@b"),
            ("http://host:8080/a@b", "http://***@b"),
            // What a parser of addresses takes for one all the same.
            ("https:me:secret@host/", "***@host/"),
            ("https:/me:secret@host/", "***@host/"),
            ("https:\\\\me:secret@host/", "***@host/"),
            ("ht\ntps://me:secret@host/", "***@host/"),
            (" https://me:secret@host/", "***@host/"),
            ("me:secret@proxy:3128", "***@proxy:3128"),
            ("1://me:secret@host", "***@host"),
            ("me://secret@host", "***@host"),
            ("me://x/secret@host", "***@host"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_reaches_a_terminal_but_text() {
        assert_eq!(shown("https://host/\u{1b}[2J\n"), "https://host/\\u{1b}[2J\\n");
    }

    #[test]
    fn a_place_has_no_query() {
        assert_eq!(SafeUrl::new("https://me:x@host/a?sig=b#c").place(), "https://host/a");
    }

    #[test]
    fn a_file_gets_the_address_alone() {
        for (text, expected) in [
            ("https://me:secret@host/a@b", "https://host/a@b"),
            ("https://a@b:p@host", "https://host"),
            ("http://host:8080/a@b", "http://host:8080/a@b"),
        ] {
            assert_eq!(SafeUrl::new(text).without_login(), expected);
        }
    }

    #[test]
    fn a_host_is_found_however_an_address_is_written() {
        for (address, authority, host) in [
            ("http://me:secret@Mirror.test:3142/a@b", "Mirror.test:3142", "Mirror.test"),
            ("mirror+http://a@b@mirror.test?x", "mirror.test", "mirror.test"),
            ("mirror.test:80", "mirror.test:80", "mirror.test"),
            ("http://[::1]:80/", "[::1]:80", "::1"),
            ("http://", "", ""),
            ("", "", ""),
        ] {
            assert_eq!((authority_of(address), host_in(authority)), (authority, host), "{address}");
        }
    }

    #[test]
    fn what_another_program_says_hides_it_too() {
        let url = SafeUrl::new("https://me:s3cret@host/a.git");
        let said = "fatal: unable to access 'https://me:s3cret@host/a.git/': s3cret was refused";
        assert_eq!(url.hide_in(said), "fatal: unable to access 'https://host/a.git/': *** was refused");
        assert_eq!(SafeUrl::new("https://host/a.git").hide_in("a: b"), "a: b");
        assert_eq!(SafeUrl::new("").hide_in("a"), "a");
    }

    /// A text as it is within an address: all but what needs no encoding in hexadecimal.
    fn encoded(text: &str) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let mut encoded = String::new();
        for byte in text.bytes() {
            if plain(byte) { encoded.push(byte.into()) } else { write!(encoded, "%{byte:02X}").unwrap() }
        }
        encoded
    }

    proptest! {
        #[test]
        fn no_password_is_shown_whatever_it_holds(
            scheme in "(https?|socks5|ftp)",
            user in "|u[a-z]{0,8}",
            before in "\\PC{0,6}|[@/#?%:&=\\\\ \\[\\]\t\n]{0,6}|[0-9]{1,6}[/?#]",
            after in "\\PC{0,6}|[@/#?%:&=\\\\ \\[\\]\t\n]{0,6}",
            rest in "|/|/[a-z]{1,5}|/[a-z]{1,5}@[a-z]{1,5}|\\?[a-z]=[a-z]|#[a-z]{0,5}",
            port in "|:[0-9]{1,5}",
        ) {
            let password = format!("{before}S3CRET{after}");
            for password in [password.clone(), encoded(&password)] {
                for address in [
                    format!("{scheme}://{user}:{password}@host.test{port}{rest}"),
                    format!("{user}:{password}@host.test{port}{rest}"),
                    format!("{scheme}:{user}:{password}@host.test{port}{rest}"),
                ] {
                    let url = SafeUrl::new(address.as_str());
                    for shown in [url.to_string(), format!("{url:?}"), format!("{:?}", Some(&url)), url.place()] {
                        prop_assert!(!shown.contains("S3CRET"), "{address}: {shown}");
                        prop_assert!(!shown.contains(&password), "{address}: {shown}");
                    }
                    prop_assert_eq!(url.expose(), address);
                }
            }
        }

        #[test]
        fn no_text_makes_it_fail(text in "\\PC{0,40}", around in "\\PC{0,20}") {
            let url = SafeUrl::new(text);
            let _ = (url.to_string(), url.place(), url.hide_in(&around));
        }
    }
}
