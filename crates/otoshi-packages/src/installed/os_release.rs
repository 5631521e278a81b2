//! The release of a distribution, from os-release(5).
//!
//! Source: os-release(5), "Options".

use serde::{Deserialize, Serialize};

use crate::files::Files;

/// Where the file lies; the first that is there counts.
const PATHS: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// The distribution of a file that names none.
const NO_ID: &str = "linux";

/// Says which release of which distribution an image is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsRelease {
    /// The distribution (`debian`, `alpine`, `rhel`); `linux` where the file does not say.
    pub id: String,
    /// Distributions that it is made like.
    pub id_like: Vec<String>,
    /// The release (`12`, `3.20.1`); `None` for those without one, as Debian's testing.
    pub version_id: Option<String>,
    /// The release's name (`bookworm`, `noble`).
    pub codename: Option<String>,
    /// The name for people (`Debian GNU/Linux 12 (bookworm)`).
    pub pretty_name: Option<String>,
}

impl OsRelease {
    /// Reads it from an image's files; `None` where there is no such file.
    pub fn of(files: &Files) -> Option<Self> {
        PATHS.iter().find_map(|path| files.text(path)).map(|text| Self::parse(&text))
    }

    /// Reads the text of an os-release file; lines of another form are passed over, as the specification asks.
    pub fn parse(text: &str) -> Self {
        let mut release = Self { id: NO_ID.to_owned(), ..Self::default() };
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once('=') else { continue };
            let value = unquote(value);
            // As in a shell, the last line of a key counts, an empty one too.
            let some = |value: String| (!value.is_empty()).then_some(value);
            match key {
                "ID" => release.id = some(value).unwrap_or_else(|| NO_ID.to_owned()),
                "ID_LIKE" => release.id_like = value.split_whitespace().map(str::to_owned).collect(),
                "VERSION_ID" => release.version_id = some(value),
                "VERSION_CODENAME" => release.codename = some(value),
                "PRETTY_NAME" => release.pretty_name = some(value),
                _ => {}
            }
        }
        release
    }
}

/// A value as the shell reads it: without its quotes and backslashes.
fn unquote(value: &str) -> String {
    let value = value.trim_end();
    let quoted = |quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    if let Some(value) = quoted('\'') {
        return value.to_owned();
    }
    let inner = quoted('"');
    // In double quotes a backslash stands for itself before what needs none.
    let is_escaped = |character: &char| inner.is_none() || matches!(character, '$' | '"' | '\\' | '`');
    let mut text = String::with_capacity(value.len());
    let mut characters = inner.unwrap_or(value).chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' { characters.next_if(is_escaped) } else { None };
        text.push(escaped.unwrap_or(character));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::OsRelease;

    #[test]
    fn a_release_has_a_number_and_a_name() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n# a comment\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n\
                    ID=debian\nID_LIKE='a b'\nBUILD_ID=\n=\nnothing";
        let release = OsRelease::parse(text);
        assert_eq!(release.id, "debian");
        assert_eq!(release.version_id.as_deref(), Some("12"));
        assert_eq!(release.codename.as_deref(), Some("bookworm"));
        assert_eq!(release.pretty_name.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(release.id_like, ["a", "b"]);
    }

    #[test]
    fn quotes_are_taken_as_the_shell_takes_them() {
        for (value, read) in [
            (r#""a \"b\" \$c \`d\` \\ e""#, r#"a "b" $c `d` \ e"#),
            (r#""1.0 \ 2 \e""#, r"1.0 \ 2 \e"),
            (r"'1.0 \ 2'", r"1.0 \ 2"),
            (r"a\ b\$c", "a b$c"),
        ] {
            let release = OsRelease::parse(&format!("PRETTY_NAME={value}\nVERSION_ID=\"\n"));
            assert_eq!(release.pretty_name.as_deref(), Some(read), "{value}");
            assert_eq!(release.id, "linux");
        }
    }

    #[test]
    fn the_last_line_of_a_key_counts() {
        let release = OsRelease::parse("ID=a\nID=b\nVERSION_ID=1\nVERSION_ID=\nID_LIKE=c\nID_LIKE=\"\"\n");
        assert_eq!((release.id.as_str(), release.version_id, release.id_like), ("b", None, Vec::new()));
        assert_eq!(OsRelease::parse("ID=a\nID=\n").id, "linux");
    }
}
