//! The repositories that an image is configured to use.

use crate::files::{Files, has_extension};

/// The most repositories that are read.
const MOST: usize = 100;

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its address, without the architecture and without a slash at its end.
    pub url: String,
    /// The tag that a package must be asked for with to come from here.
    pub tag: Option<String>,
}

/// Reads `etc/apk/repositories` and `etc/apk/repositories.d/*.list`: an address a line, `@TAG` before it where it has one.
pub fn sources(files: &Files) -> Vec<Source> {
    let mut texts: Vec<&[u8]> = files.get("etc/apk/repositories").into_iter().collect();
    let listed = files.list("etc/apk/repositories.d");
    texts.extend(listed.iter().filter(|(path, _)| has_extension(path, "list")).map(|(_, text)| *text));
    let mut found: Vec<Source> = Vec::new();
    for text in texts {
        for line in String::from_utf8_lossy(text).lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(first) = words.next() else { continue };
            let (tag, url) = match first.strip_prefix('@') {
                Some(tag) => (Some(tag.to_owned()), words.next()),
                None => (None, Some(first)),
            };
            let Some(url) = url else { continue };
            let source = Source { url: url.trim_end_matches('/').to_owned(), tag };
            if !found.contains(&source) && found.len() < MOST {
                found.push(source);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::sources;
    use crate::Files;

    #[test]
    fn a_repository_can_have_a_tag() {
        let mut files = Files::new();
        let text = "https://x.test/v3.20/main/\n# https://no.test\n\n@edge https://x.test/edge/main # why\n@alone\n/media/cdrom\n";
        files.insert("etc/apk/repositories", text.as_bytes());
        files.insert("etc/apk/repositories.d/more.list", &b"https://x.test/v3.20/main\nhttps://y.test/z"[..]);
        files.insert("etc/apk/repositories.d/no.bak", &b"https://no.test"[..]);
        let found: Vec<_> =
            sources(&files).into_iter().map(|source| format!("{:?} {}", source.tag, source.url)).collect();
        assert_eq!(
            found,
            [
                "None https://x.test/v3.20/main",
                "Some(\"edge\") https://x.test/edge/main",
                "None /media/cdrom",
                "None https://y.test/z"
            ]
        );
    }
}
