//! Package sources: `sources.list`, in one line or in paragraphs.
//!
//! Spec: <https://manpages.debian.org/bookworm/apt/sources.list.5.en.html>

use std::slice::from_ref;

use otoshi_http::{authority_of, host_in};

use super::deb822::{self, Paragraph};
use crate::error::Malformed;

/// One suite of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The repository's address, with a slash at its end.
    pub uri: String,
    /// The suite, as in `bookworm-security`; a path with a slash at its end where the repository is flat.
    pub suite: String,
    /// The components, as in `main`; none in a flat repository.
    pub components: Vec<String>,
    /// The architectures; `None` for those that the root has.
    pub architectures: Option<Vec<String>>,
    /// Architectures besides.
    pub architectures_added: Vec<String>,
    /// Architectures left out.
    pub architectures_removed: Vec<String>,
    /// Which of its packages count.
    pub selection: Selection,
    /// Whose signature counts.
    pub signed_by: SignedBy,
    /// Whether it counts without a signature, or `Some(false)` where it never counts as signed.
    pub trusted: Option<bool>,
    /// Whether `Valid-Until` is looked at; `None` for what the configuration says.
    pub check_valid_until: Option<bool>,
    /// How long it is valid at most, in seconds from its date.
    pub valid_until_max: Option<u64>,
    /// How long it is valid at least, in seconds from its date.
    pub valid_until_min: Option<u64>,
    /// Whether a date in the future is refused; `None` for what the configuration says.
    pub check_date: Option<bool>,
    /// How far in the future its date may be, in seconds.
    pub date_max_future: Option<u64>,
    /// Whether indexes are fetched by hash; `None` for what the repository says.
    pub by_hash: Option<bool>,
    /// Where it stands: a file below the root and a line.
    pub place: String,
}

/// Which packages of a source count, by their names; apt 3.1 and later look at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selection {
    /// If there are any, these and no others.
    pub include: Vec<String>,
    /// Not these.
    pub exclude: Vec<String>,
}

impl Selection {
    /// Says whether a package counts.
    pub fn has(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|known| known == name);
        (self.include.is_empty() || named(&self.include)) && !named(&self.exclude)
    }

    /// Says whether it names both what counts and what does not, which apt refuses.
    pub(crate) fn is_contradictory(&self) -> bool {
        !self.include.is_empty() && !self.exclude.is_empty()
    }
}

/// Whose signature counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignedBy {
    /// Files of keys, absolute paths in the root.
    pub paths: Vec<String>,
    /// Fingerprints of keys, in upper case. One with `!` behind it stands for this very key, not for its subkeys.
    pub fingerprints: Vec<String>,
    /// Keys that stand in the source itself, armoured.
    pub embedded: Option<String>,
}

impl SignedBy {
    /// Reads the value of `Signed-By`.
    ///
    /// Fails on a word that is neither an absolute path nor a fingerprint.
    fn parse(value: &str) -> Result<Self, String> {
        if value.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            let lines = value.lines().map(|line| if line.trim() == "." { "" } else { line.trim() });
            return Ok(Self {
                embedded: Some(lines.collect::<Vec<_>>().join("\n").trim().to_owned() + "\n"),
                ..Self::default()
            });
        }
        let mut signed_by = Self::default();
        for word in value.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty()) {
            let digits = word.strip_suffix('!').unwrap_or(word);
            if word.starts_with('/') {
                signed_by.paths.push(word.to_owned());
            } else if matches!(digits.len(), 32 | 40 | 64)
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            {
                signed_by.fingerprints.push(word.to_ascii_uppercase());
            } else {
                return Err(format!("Signed-By: {word:?} is neither an absolute path nor a fingerprint"));
            }
        }
        Ok(signed_by)
    }
}

impl Source {
    /// Says whether the repository is flat: its indexes lie beside its release file.
    pub(crate) fn is_flat(&self) -> bool {
        self.suite.ends_with('/')
    }

    /// Returns the address that the release file and all paths in it are relative to, with a slash at its end.
    pub fn directory(&self) -> String {
        if self.is_flat() {
            let path = self.suite.trim_start_matches("./").trim_start_matches('/');
            format!("{}{path}", self.uri)
        } else {
            format!("{}dists/{}/", self.uri, self.suite)
        }
    }

    /// Returns the host that apt calls the site, empty where the address has none.
    pub fn site(&self) -> &str {
        if self.uri.contains("://") { host_in(authority_of(&self.uri)) } else { "" }
    }

    /// Returns the architectures whose indexes count, of those that the root has.
    pub fn architectures_of(&self, root: &[String]) -> Vec<String> {
        let mut chosen = self.architectures.clone().unwrap_or_else(|| root.to_vec());
        chosen.extend(self.architectures_added.iter().cloned());
        chosen.retain(|architecture| !self.architectures_removed.contains(architecture));
        chosen.dedup();
        chosen
    }
}

/// Where a source has its packages: every suite at every address.
struct Addresses<'a> {
    uris: &'a [String],
    suites: &'a [String],
    components: &'a [String],
}

/// Options of a source, whichever form it has, under the names of the paragraph form.
struct Options<'a>(Box<dyn Fn(&str) -> Option<&'a str> + 'a>);

impl Options<'_> {
    fn flag(&self, name: &str) -> Option<bool> {
        (self.0)(name).and_then(deb822::flag)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let number =
            |value: &str| value.trim().parse().map_err(|_| format!("{name}: {value:?} is not a number"));
        (self.0)(name).map(number).transpose()
    }

    fn list(&self, name: &str) -> Option<Vec<String>> {
        let split = |value: &str| {
            value.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        (self.0)(name).map(split)
    }

    /// Reads names that blanks and commas part. apt knows no other separators here: the end of a line belongs to the name
    /// before it, which so names nothing.
    fn names(&self, name: &str) -> Vec<String> {
        let value = (self.0)(name).unwrap_or_default().replace('\n', "\n ");
        value.trim().split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// Makes a source for every address and suite.
    fn sources(
        &self,
        Addresses { uris, suites, components }: Addresses<'_>,
        architecture: &str,
        place: &str,
    ) -> Result<Vec<Source>, String> {
        if uris.is_empty() || suites.is_empty() {
            return Err("a source has an address and a suite".to_owned());
        }
        let signed_by = (self.0)("Signed-By").map(SignedBy::parse).transpose()?.unwrap_or_default();
        let mut sources = Vec::new();
        for uri in uris {
            if !uri.contains(':') {
                return Err(format!("{uri:?} is not an address"));
            }
            for suite in suites {
                let suite = suite.replace("$(ARCH)", architecture);
                if suite.ends_with('/') != components.is_empty() {
                    return Err(format!(
                        "the suite {suite} {} components",
                        if components.is_empty() { "needs" } else { "has a slash at its end, so it has no" }
                    ));
                }
                if suite.split('/').any(|part| part == "..") {
                    return Err(format!("the suite {suite} contains `..`"));
                }
                let slash = if uri.ends_with('/') { "" } else { "/" };
                sources.push(Source {
                    uri: format!("{}{slash}", uri.replace("$(ARCH)", architecture)),
                    suite,
                    components: components.to_vec(),
                    architectures: self.list("Architectures"),
                    architectures_added: self.list("Architectures-Add").unwrap_or_default(),
                    architectures_removed: self.list("Architectures-Remove").unwrap_or_default(),
                    selection: Selection { include: self.names("Include"), exclude: self.names("Exclude") },
                    signed_by: signed_by.clone(),
                    trusted: self.flag("Trusted").or(self.flag("Allow-Insecure").filter(|allowed| *allowed)),
                    check_valid_until: self.flag("Check-Valid-Until"),
                    valid_until_max: self.number("Valid-Until-Max")?,
                    valid_until_min: self.number("Valid-Until-Min")?,
                    check_date: self.flag("Check-Date"),
                    date_max_future: self.number("Date-Max-Future")?,
                    by_hash: self.flag("By-Hash").or(((self.0)("By-Hash") == Some("force")).then_some(true)),
                    place: place.to_owned(),
                });
            }
        }
        Ok(sources)
    }
}

/// Reads a `*.list` file: a source in each line. One that cannot be understood is an error in its place, and hides no other.
///
/// `architecture` stands in for `$(ARCH)`, and `file` is how the place of each source is told.
pub fn parse_list(text: &str, architecture: &str, file: &str) -> Vec<Result<Source, Malformed>> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        match parse_line(line, architecture, &format!("{file}:{number}")) {
            Ok(sources) => found.extend(sources.into_iter().map(Ok)),
            Err(reason) => found.push(Err(Malformed::new(number, reason))),
        }
    }
    found
}

fn parse_line(line: &str, architecture: &str, place: &str) -> Result<Vec<Source>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Vec::new());
    }
    let (kind, mut rest) =
        line.split_once([' ', '\t']).ok_or("a source has a type, an address and a suite")?;
    match kind {
        "deb" => {}
        "deb-src" => return Ok(Vec::new()),
        _ => return Err(format!("a source begins with deb or deb-src, not with {kind:?}")),
    }
    rest = rest.trim_start();
    let mut options = Vec::new();
    if let Some(inner) = rest.strip_prefix('[') {
        let (inside, after) = inner.split_once(']').ok_or("the options are not closed with ]")?;
        rest = after;
        for option in inside.split_whitespace() {
            let (name, value) =
                option.split_once('=').ok_or_else(|| format!("the option {option:?} has no ="))?;
            options.push((one_line_name(name), value));
        }
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let words = words(rest);
    let [uri, suite, components @ ..] = words.as_slice() else {
        return Err("a source has an address and a suite".to_owned());
    };
    let options = Options(Box::new(|name| {
        options.iter().rfind(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }));
    let addresses = Addresses { uris: from_ref(uri), suites: from_ref(suite), components };
    options.sources(addresses, architecture, place)
}

/// Returns the paragraph form's name of an option.
fn one_line_name(name: &str) -> String {
    match name {
        "arch" => "Architectures".to_owned(),
        "arch+" => "Architectures-Add".to_owned(),
        "arch-" => "Architectures-Remove".to_owned(),
        other => other.to_owned(),
    }
}

/// Splits at blanks, with `"…"` and `[…]` as one word, and undoes `%20`.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for character in text.chars() {
        match character {
            '"' => (quoted, begun) = (!quoted, true),
            character if character.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word).replace("%20", " "));
                    begun = false;
                }
            }
            character => {
                word.push(character);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word.replace("%20", " "));
    }
    words
}

/// Reads a `*.sources` file: a paragraph for each set of sources. One that cannot be understood is an error in its place, and hides
/// no other; where a line is not one of deb822, that is the only error.
pub fn parse_deb822(text: &str, architecture: &str, file: &str) -> Vec<Result<Source, Malformed>> {
    let paragraphs = match deb822::paragraphs(text) {
        Ok(paragraphs) => paragraphs,
        Err(error) => return vec![Err(error)],
    };
    let mut found = Vec::new();
    for paragraph in paragraphs {
        let place = format!("{file}:{}", paragraph.line);
        match parse_paragraph(&paragraph, architecture, &place) {
            Ok(sources) => found.extend(sources.into_iter().map(Ok)),
            Err(reason) => found.push(Err(Malformed::new(paragraph.line, reason))),
        }
    }
    found
}

fn parse_paragraph(paragraph: &Paragraph, architecture: &str, place: &str) -> Result<Vec<Source>, String> {
    if paragraph.flag("Enabled") == Some(false) {
        return Ok(Vec::new());
    }
    let types = paragraph.words("Types");
    if let Some(unknown) = types.iter().find(|kind| !matches!(kind.as_str(), "deb" | "deb-src")) {
        return Err(format!("Types: {unknown:?} is neither deb nor deb-src"));
    }
    if types.is_empty() {
        return Err("there is no field Types".to_owned());
    }
    if !types.iter().any(|kind| kind == "deb") {
        return Ok(Vec::new());
    }
    let [uris, suites, components] = ["URIs", "Suites", "Components"].map(|name| paragraph.words(name));
    let options = Options(Box::new(|name| paragraph.get(name)));
    let addresses = Addresses { uris: &uris, suites: &suites, components: &components };
    options.sources(addresses, architecture, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<Source> {
        parse_list(text, "amd64", "sources.list").into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn a_line_is_a_source_with_options() {
        let text = "# comment\n\
                    deb http://one.test/debian bookworm main contrib # the rest\n\
                    deb-src http://one.test/debian bookworm main\n\
                    deb [arch=amd64,i386 signed-by=/usr/share/keyrings/x.gpg trusted=yes] http://u:p@two.test:80/a/ ./\n\
                    deb [ arch+=riscv64 arch-=i386 check-valid-until=no ] http://three.test $(ARCH)/\n";
        let sources = list(text);
        assert_eq!(sources.len(), 3);
        assert_eq!(sources[0].directory(), "http://one.test/debian/dists/bookworm/");
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert_eq!(sources[0].place, "sources.list:2");
        assert_eq!(sources[1].directory(), "http://u:p@two.test:80/a/");
        assert_eq!(sources[1].site(), "two.test");
        assert_eq!(sources[1].signed_by.paths, ["/usr/share/keyrings/x.gpg"]);
        assert_eq!(sources[1].trusted, Some(true));
        assert_eq!(sources[2].directory(), "http://three.test/amd64/");
        assert_eq!(sources[2].check_valid_until, Some(false));
        assert_eq!(sources[2].architectures_of(&["amd64".into(), "i386".into()]), ["amd64", "riscv64"]);
    }

    #[test]
    fn a_bad_line_does_not_hide_the_others() {
        let text = "deb http://one.test bookworm\nrpm http://one.test x y\ndeb [arch=amd64 http://x y z\n\
                    deb http://one.test ./ main\ndeb nowhere sid main\ndeb http://good.test sid main\n";
        let found = parse_list(text, "amd64", "x");
        let lines: Vec<_> =
            found.iter().filter_map(|one| one.as_ref().err()).map(|error| error.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5]);
        assert_eq!(found.iter().flatten().count(), 1);
    }

    #[test]
    fn a_paragraph_is_a_source_for_every_address_and_suite() {
        let text = "Types: deb deb-src\nURIs: http://one.test/debian http://two.test/debian\nSuites: sid sid-updates\n\
                    Components: main\nSigned-By: 0123456789abcdef0123456789ABCDEF01234567!\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://off.test\nSuites: sid\nComponents: main\n\n\
                    Types: deb\nURIs: http://three.test\nSuites: ./\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ==\n -----END PGP PUBLIC KEY BLOCK-----\n";
        let sources: Vec<_> = parse_deb822(text, "amd64", "x").into_iter().map(Result::unwrap).collect();
        assert_eq!(sources.len(), 5);
        assert_eq!(sources[3].directory(), "http://two.test/debian/dists/sid-updates/");
        assert_eq!(sources[0].signed_by.fingerprints, ["0123456789ABCDEF0123456789ABCDEF01234567!"]);
        let embedded = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(sources[4].signed_by.embedded.as_deref(), Some(embedded));
    }
}
