//! `modules.yaml`: streams of packages, of which an image has switched on one or none for each module.
//!
//! Format: <https://github.com/fedora-modularity/libmodulemd/tree/main/yaml_specs>

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, Read};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use yaml_rust2::parser::{Event, Parser};

use super::settings::ini;
use crate::files::{Files, has_extension};

/// How deep the file may nest.
const DEPTH: usize = 64;
/// The most values that are read.
const MOST: usize = 5_000_000;
/// The largest document, in bytes: one stream of a module.
const DOCUMENT: u64 = 4 << 20;
/// The most bytes of text that are kept of all.
const KEPT: usize = 64 << 20;

/// Holds the streams that repositories have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Modules {
    /// The streams, one for each context in which it was built.
    pub(super) streams: Vec<Module>,
    /// The stream of a module that is on where nobody chose.
    pub(super) defaults: BTreeMap<String, String>,
}

/// A stream of a module, built in one context.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Module {
    /// The module's name.
    pub(super) name: String,
    /// The stream.
    pub(super) stream: String,
    /// The context.
    pub(super) context: String,
    /// Its packages, as `NAME-EPOCH:VERSION-RELEASE.ARCHITECTURE`.
    pub(super) artifacts: Vec<String>,
    /// Sets of modules, one of which must be on: streams by name; no stream stands for any.
    pub(super) requires: Vec<BTreeMap<String, Vec<String>>>,
}

impl Modules {
    /// Reads the file, one document of it after the other; fails with what is wrong with it.
    pub(super) fn read(source: impl BufRead) -> Result<Self, String> {
        let mut reading = Reading::default();
        let mut values = 0;
        let mut documents = Documents { source, line: Vec::new() };
        while let Some(text) = documents.next()? {
            reading.document(&text, &mut values)?;
        }
        Ok(reading.modules)
    }
}

/// The documents of a file, of which one is in memory at a time.
struct Documents<R> {
    source: R,
    /// The line that the next one begins with.
    line: Vec<u8>,
}

impl<R: BufRead> Documents<R> {
    fn next(&mut self) -> Result<Option<String>, String> {
        let mut text = std::mem::take(&mut self.line);
        loop {
            let before = text.len();
            let room = DOCUMENT.saturating_sub(before as u64);
            let read = (&mut self.source).take(room + 1).read_until(b'\n', &mut text);
            if read.map_err(|error| error.to_string())? == 0 {
                break;
            }
            if text.len() as u64 > DOCUMENT {
                return Err(format!("a document in it is larger than {} MiB", DOCUMENT >> 20));
            }
            // Such a line begins a document wherever it stands.
            if before > 0 && text[before..].starts_with(b"---") {
                self.line = text.split_off(before);
                break;
            }
        }
        if text.is_empty() {
            return Ok(None);
        }
        String::from_utf8(text).map(Some).map_err(|_| "it is not UTF-8".to_owned())
    }
}

impl Reading {
    fn document(&mut self, text: &str, values: &mut usize) -> Result<(), String> {
        let mut parser = Parser::new_from_str(text);
        loop {
            let (event, mark) = parser.next_token().map_err(|error| error.to_string())?;
            *values += 1;
            if *values > MOST || self.bytes > KEPT {
                return Err("it has too many values".to_owned());
            }
            let place = || format!("line {} of a document", mark.line());
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart => self.document = Document::default(),
                Event::DocumentEnd => self.finish(),
                Event::MappingStart(..) => self.open(Frame::Map(None)).ok_or_else(place)?,
                Event::SequenceStart(..) => self.open(Frame::List).ok_or_else(place)?,
                Event::MappingEnd | Event::SequenceEnd => self.close(),
                Event::Scalar(value, ..) => self.scalar(value),
                // A name for something that came before; nothing that matters is written so.
                Event::Alias(_) => self.scalar(String::new()),
                Event::Nothing | Event::StreamStart => {}
            }
        }
    }
}

/// Says which packages count, given the streams that are on.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// Packages of streams that are on, as the list has them.
    on: HashSet<String>,
    /// Packages of other streams.
    off: HashSet<String>,
    /// Names and architectures that only streams that are on have.
    taken: HashSet<(String, String)>,
}

impl Filter {
    /// Decides by what `etc/dnf/modules.d` says, and by the defaults of the repositories.
    pub(super) fn new(modules: &[Arc<Modules>], files: &Files) -> Self {
        let defaults = modules.iter().flat_map(|modules| &modules.defaults);
        let mut active: HashMap<&str, String> =
            defaults.map(|(name, stream)| (&name[..], stream.clone())).collect();
        let settings: Vec<_> = files
            .list("etc/dnf/modules.d")
            .into_iter()
            .filter(|(path, _)| has_extension(path, "module"))
            .flat_map(|(_, text)| ini(&String::from_utf8_lossy(text)))
            .collect();
        for (name, keys) in &settings {
            match keys.get("state").map(String::as_str) {
                Some("enabled" | "installed") => {
                    active.insert(name, keys.get("stream").cloned().unwrap_or_default());
                }
                Some("disabled") => {
                    active.remove(&name[..]);
                }
                _ => {}
            }
        }
        let is_on = |module: &Module| {
            active.get(&module.name[..]).is_some_and(|stream| *stream == module.stream)
                && (module.requires.is_empty() || module.requires.iter().any(|set| is_met(set, &active)))
        };
        let mut filter = Self::default();
        for module in modules.iter().flat_map(|modules| &modules.streams) {
            for artifact in
                module.artifacts.iter().filter(|artifact| artifact.rsplit('.').next() != Some("src"))
            {
                if !is_on(module) {
                    filter.off.insert(artifact.clone());
                    continue;
                }
                filter.on.insert(artifact.clone());
                if let Some((name, architecture)) = name_and_architecture(artifact) {
                    filter.taken.insert((name.to_owned(), architecture.to_owned()));
                }
            }
        }
        filter
    }

    /// Says whether a package counts, which is `NAME`, `[EPOCH:]VERSION-RELEASE` and architecture.
    pub(super) fn allows(&self, name: &str, version: &str, architecture: &str) -> bool {
        if self.on.is_empty() && self.off.is_empty() {
            return true;
        }
        let epoch = if version.contains(':') { "" } else { "0:" };
        let artifact = format!("{name}-{epoch}{version}.{architecture}");
        if self.on.contains(&artifact) {
            return true;
        }
        !self.off.contains(&artifact) && !self.taken.contains(&(name.to_owned(), architecture.to_owned()))
    }
}

fn is_met(set: &BTreeMap<String, Vec<String>>, active: &HashMap<&str, String>) -> bool {
    set.iter().filter(|(name, _)| *name != "platform").all(|(name, streams)| {
        let Some(on) = active.get(&name[..]) else { return false };
        let (without, with): (Vec<&String>, Vec<&String>) =
            streams.iter().partition(|stream| stream.starts_with('-'));
        !without.iter().any(|stream| stream[1..] == **on) && (with.is_empty() || with.contains(&on))
    })
}

/// Name and architecture of `NAME-EPOCH:VERSION-RELEASE.ARCHITECTURE`.
fn name_and_architecture(artifact: &str) -> Option<(&str, &str)> {
    let (rest, architecture) = artifact.rsplit_once('.')?;
    let (rest, _release) = rest.rsplit_once('-')?;
    let (name, _version) = rest.rsplit_once('-')?;
    Some((name, architecture))
}

#[derive(Debug)]
enum Frame {
    /// A map, and the key whose value comes next.
    Map(Option<String>),
    List,
}

#[derive(Debug, Default)]
struct Document {
    kind: String,
    module: Module,
    default_of: String,
    default: String,
}

#[derive(Debug, Default)]
struct Reading {
    modules: Modules,
    frames: Vec<Frame>,
    document: Document,
    /// How much text is kept.
    bytes: usize,
}

impl Reading {
    /// The keys that lead to what comes next; `[]` stands for a place in a list.
    fn path(&self) -> Vec<&str> {
        self.frames
            .iter()
            .map(|frame| match frame {
                Frame::Map(key) => key.as_deref().unwrap_or_default(),
                Frame::List => "[]",
            })
            .collect()
    }

    fn open(&mut self, frame: Frame) -> Option<()> {
        if self.frames.len() == DEPTH {
            return None;
        }
        match &self.path()[..] {
            ["data", "dependencies", "[]"] => self.document.module.requires.push(BTreeMap::new()),
            ["data", "dependencies", "[]", "requires", name] => {
                let name = (*name).to_owned();
                self.requirement().entry(name).or_default();
            }
            _ => {}
        }
        self.frames.push(frame);
        Some(())
    }

    fn requirement(&mut self) -> &mut BTreeMap<String, Vec<String>> {
        let requires = &mut self.document.module.requires;
        if requires.is_empty() {
            requires.push(BTreeMap::new());
        }
        let last = requires.len() - 1;
        &mut requires[last]
    }

    fn close(&mut self) {
        self.frames.pop();
        self.done();
    }

    /// A value is complete: the next scalar of a map is a key.
    fn done(&mut self) {
        if let Some(Frame::Map(key)) = self.frames.last_mut() {
            *key = None;
        }
    }

    fn scalar(&mut self, value: String) {
        if let Some(Frame::Map(key @ None)) = self.frames.last_mut() {
            *key = Some(value);
            return;
        }
        let path = self.path().join("/");
        if path.starts_with("data/") {
            // What a value itself takes beside its text.
            self.bytes += value.len() + 64;
        }
        let document = &mut self.document;
        match &path[..] {
            "document" => document.kind = value,
            "data/name" => document.module.name = value,
            // Of defaults this is the stream that is on.
            "data/stream" => {
                document.default.clone_from(&value);
                document.module.stream = value;
            }
            "data/context" => document.module.context = value,
            "data/module" => document.default_of = value,
            "data/artifacts/rpms/[]" => document.module.artifacts.push(value),
            path => {
                let of = |prefix: &str| {
                    path.strip_prefix(prefix).map(|name| name.trim_end_matches("/[]").to_owned())
                };
                // The second form is that of version 1 of the format.
                if let Some(name) =
                    of("data/dependencies/[]/requires/").or_else(|| of("data/dependencies/requires/"))
                    && !name.contains('/')
                {
                    self.requirement().entry(name).or_default().push(value);
                }
            }
        }
        self.done();
    }

    fn finish(&mut self) {
        self.frames.clear();
        let document = std::mem::take(&mut self.document);
        match &document.kind[..] {
            "modulemd" if !document.module.name.is_empty() => self.modules.streams.push(document.module),
            "modulemd-defaults" if !document.default_of.is_empty() && !document.default.is_empty() => {
                self.modules.defaults.insert(document.default_of, document.default);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Filter, Modules};
    use crate::Files;

    const TEXT: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: nodejs\n  stream: \"18\"\n  context: c1\n  \
        dependencies:\n  - buildrequires:\n      platform: [el9]\n    requires:\n      platform: [el9]\n  artifacts:\n    rpms:\n    \
        - nodejs-1:18.2-1.module.x86_64\n    - nodejs-1:18.2-1.module.src\n...\n---\ndocument: modulemd\nversion: 2\ndata:\n  \
        name: nodejs\n  stream: 20\n  artifacts: {rpms: [\"nodejs-1:20.1-1.module.x86_64\"]}\n...\n---\n\
        document: modulemd\ndata:\n  name: perl-x\n  stream: s\n  dependencies:\n  - requires:\n      perl: [-5.30]\n      nodejs: []\n  \
        artifacts:\n    rpms: [perl-x-0:1-1.noarch]\n...\n---\ndocument: modulemd-defaults\ndata:\n  module: nodejs\n  \
        stream: \"18\"\n  profiles:\n    18: [common]\n---\ndocument: modulemd-defaults\ndata: {module: perl-x, stream: s}\n";

    #[test]
    fn streams_that_are_on_hide_what_else_has_their_packages() {
        let modules = [Arc::new(Modules::read(TEXT.as_bytes()).unwrap())];
        assert_eq!(modules[0].streams.len(), 3);
        assert_eq!(modules[0].defaults["nodejs"], "18");
        let check = |files: &Files, expected: [bool; 5]| {
            let filter = Filter::new(&modules, files);
            let found = [
                filter.allows("nodejs", "1:18.2-1.module", "x86_64"),
                filter.allows("nodejs", "1:20.1-1.module", "x86_64"),
                filter.allows("nodejs", "1:21-1", "x86_64"),
                filter.allows("nodejs", "1:21-1", "i686"),
                filter.allows("other", "1-1", "x86_64"),
            ];
            assert_eq!(found, expected);
        };
        let mut files = Files::new();
        check(&files, [true, false, false, true, true]);
        files.insert(
            "etc/dnf/modules.d/nodejs.module",
            &b"[nodejs]\nname=nodejs\nstream=20\nstate=enabled\n"[..],
        );
        check(&files, [false, true, false, true, true]);
        files.insert("etc/dnf/modules.d/nodejs.module", &b"[nodejs]\nstream=\nstate=disabled\n"[..]);
        check(&files, [false, false, true, true, true]);
    }

    #[test]
    fn a_stream_is_on_where_what_it_requires_is() {
        let modules = [Arc::new(Modules::read(TEXT.as_bytes()).unwrap())];
        let mut files = Files::new();
        let allows = |files: &Files| Filter::new(&modules, files).on.contains("perl-x-0:1-1.noarch");
        assert!(!allows(&files));
        files.insert("etc/dnf/modules.d/perl.module", &b"[perl]\nstream=5.32\nstate=enabled\n"[..]);
        assert!(allows(&files));
        files.insert("etc/dnf/modules.d/perl.module", &b"[perl]\nstream=5.30\nstate=enabled\n"[..]);
        assert!(!allows(&files));
    }

    #[test]
    fn deep_and_broken_files_are_errors() {
        let read = |text: &str| Modules::read(text.as_bytes());
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&"- ".repeat(100)).is_err());
        assert!(read("a: b: c").is_err());
        assert_eq!(read("").unwrap(), Modules::default());
        let many = "--- {a: b}\n".repeat(100_000);
        assert_eq!(read(&many).unwrap(), Modules::default());
    }

    #[test]
    fn a_file_without_end_takes_no_more_than_a_document() {
        for start in ["a: ", "- ", "a:\n", "", "---\ndata:\n  x: '"] {
            let endless = std::io::Read::chain(start.as_bytes(), std::io::repeat(b'x'));
            let error = Modules::read(std::io::BufReader::new(endless)).unwrap_err();
            assert!(error.contains("larger than 4 MiB"), "{start}: {error}");
        }
        // Documents without number, each with something that is kept.
        let one = format!(
            "---\ndocument: modulemd\ndata:\n  name: a\n  artifacts:\n    rpms: [{}]\n",
            "x, ".repeat(1_000)
        );
        let all = one.repeat(2_000);
        assert!(Modules::read(all.as_bytes()).unwrap_err().contains("too many values"));
    }
}
