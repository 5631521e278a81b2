//! apt's configuration, as far as it says what is taken from where: `apt.conf` and its directory of parts.
//!
//! Spec: <https://manpages.debian.org/bookworm/apt/apt.conf.5.en.html>

use std::collections::BTreeMap;

use super::deb822::flag;
use super::files::parts;
use crate::error::{Malformed, RepositoryError};
use crate::files::Files;

/// Values by name, such as `APT::Default-Release`; the last one of a name counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    values: BTreeMap<String, String>,
    lists: BTreeMap<String, Vec<String>>,
}

impl Configuration {
    /// Reads the parts and then the file itself, as apt does; files that cannot be understood are told apart.
    pub fn from_files(files: &Files) -> (Self, Vec<RepositoryError>) {
        let mut configuration = Self::default();
        let mut errors = Vec::new();
        let mut all = parts(files, "etc/apt/apt.conf.d", &["", "conf"]);
        all.extend(files.get("etc/apt/apt.conf").map(|content| ("etc/apt/apt.conf".to_owned(), content)));
        for (file, content) in all {
            if let Err(reason) = configuration.read(&String::from_utf8_lossy(content)) {
                errors.push(RepositoryError::Configuration { file, reason });
            }
        }
        (configuration, errors)
    }

    /// Returns a value, without regard to the name's case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// Returns the values of a list, such as `APT::Architectures`.
    pub fn list(&self, name: &str) -> &[String] {
        self.lists.get(&name.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// Says whether something is on.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(flag)
    }

    /// Forgets a value.
    pub(crate) fn forget(&mut self, name: &str) {
        self.values.remove(&name.to_ascii_lowercase());
    }

    /// Reads one file on top of what is known.
    ///
    /// Fails where a quote or a block is not closed, where a `}` closes none, and where blocks are nested too deeply.
    pub fn read(&mut self, text: &str) -> Result<(), Malformed> {
        let mut scopes: Vec<String> = Vec::new();
        let mut words: Vec<String> = Vec::new();
        for (line, token) in tokens(text)? {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    if scopes.len() > 32 {
                        return Err(Malformed::new(line, "the blocks are nested too deeply"));
                    }
                    let name = if words.is_empty() { String::new() } else { words.remove(0) };
                    let scope = joined(&scopes, &name);
                    // A value before the brace is the block's own.
                    if let Some(value) = words.pop() {
                        self.set(&scope, &value);
                    }
                    scopes.push(scope);
                    words.clear();
                }
                Token::Close => {
                    self.statement(&scopes, &mut words);
                    scopes.pop().ok_or_else(|| Malformed::new(line, "a } without its {"))?;
                }
                Token::End => self.statement(&scopes, &mut words),
            }
        }
        self.statement(&scopes, &mut words);
        if scopes.is_empty() {
            Ok(())
        } else {
            Err(Malformed::new(text.lines().count(), "a { is not closed"))
        }
    }

    fn statement(&mut self, scopes: &[String], words: &mut Vec<String>) {
        match words.as_slice() {
            [first, name, ..] if first == "#clear" => {
                let name = name.to_ascii_lowercase();
                let below = |known: &String| *known == name || known.starts_with(&format!("{name}::"));
                self.values.retain(|known, _| !below(known));
                self.lists.retain(|known, _| !below(known));
            }
            // What is included is not part of an image's configuration in practice; apt's own files have none.
            [first, ..] if first == "#include" => {}
            // In a block, a value alone is an entry of the list.
            [value] if !scopes.is_empty() => self.set(&format!("{}::", joined(scopes, "")), value),
            [name, value, ..] => self.set(&joined(scopes, name), value),
            _ => {}
        }
        words.clear();
    }

    fn set(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        match name.strip_suffix("::") {
            Some(list) => self.lists.entry(list.to_owned()).or_default().push(value.to_owned()),
            None => drop(self.values.insert(name, value.to_owned())),
        }
    }
}

fn joined(scopes: &[String], name: &str) -> String {
    match (scopes.last(), name.is_empty()) {
        (None, _) => name.to_owned(),
        (Some(scope), true) => scope.clone(),
        (Some(scope), false) => format!("{scope}::{name}"),
    }
}

#[derive(Debug)]
enum Token {
    Word(String),
    Open,
    Close,
    End,
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Malformed> {
    let mut tokens = Vec::new();
    let mut commented = None;
    for (number, mut line) in text.lines().enumerate() {
        let number = number + 1;
        loop {
            if commented.is_some() {
                let Some(end) = line.find("*/") else { break };
                line = &line[end + 2..];
                commented = None;
            }
            line = line.trim_start();
            let Some(first) = line.chars().next() else { break };
            match first {
                '/' if line.starts_with("//") => break,
                '/' if line.starts_with("/*") => {
                    commented = Some(number);
                    line = &line[2..];
                }
                '#' if !line.starts_with("#clear") && !line.starts_with("#include") => break,
                '{' | '}' | ';' => {
                    tokens.push((
                        number,
                        match first {
                            '{' => Token::Open,
                            '}' => Token::Close,
                            _ => Token::End,
                        },
                    ));
                    line = &line[1..];
                }
                '"' => {
                    let end =
                        line[1..].find('"').ok_or_else(|| Malformed::new(number, "a \" is not closed"))?;
                    tokens.push((number, Token::Word(line[1..=end].to_owned())));
                    line = &line[end + 2..];
                }
                _ => {
                    let ends = |character: char| character.is_whitespace() || "{};\"".contains(character);
                    let end = line.find(ends).unwrap_or(line.len());
                    tokens.push((number, Token::Word(line[..end].to_owned())));
                    line = &line[end..];
                }
            }
        }
    }
    match commented {
        Some(number) => Err(Malformed::new(number, "a comment is not closed")),
        None => Ok(tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_say_the_same() {
        let text = "# comment\n// comment\nAPT::Default-Release \"stable\"; /* more\nlines */\n\
                    APT { Architectures { \"amd64\"; \"i386\"; }; Get::Assume-Yes \"true\"; };\n\
                    Acquire::http::Proxy \"http://proxy.test:3128/\";\n\
                    Acquire\n{\n  Check-Valid-Until \"false\";\n};\nDPkg::Options:: \"--force-confold\";\n";
        let mut read = Configuration::default();
        read.read(text).unwrap();
        assert_eq!(read.get("apt::default-release"), Some("stable"));
        assert_eq!(read.list("APT::Architectures"), ["amd64", "i386"]);
        assert_eq!(read.get("Acquire::http::Proxy"), Some("http://proxy.test:3128/"));
        assert_eq!(read.flag("Acquire::Check-Valid-Until"), Some(false));
        assert_eq!(read.list("DPkg::Options"), ["--force-confold"]);
        read.read("#clear APT;").unwrap();
        assert_eq!(read.get("APT::Default-Release"), None);
        assert!(read.list("APT::Architectures").is_empty());
    }

    #[test]
    fn what_is_not_closed_is_named_by_its_line() {
        let mut read = Configuration::default();
        assert_eq!(read.read("A \"b;\n").unwrap_err().line, 1);
        assert_eq!(read.read("\n/* x\n").unwrap_err().line, 2);
        assert!(read.read("A { B \"c\";\n").is_err());
        assert!(read.read("};\n").is_err());
    }

    #[test]
    fn a_broken_file_does_not_hide_the_others() {
        let mut files = Files::new();
        files.insert("etc/apt/apt.conf.d/10bad", &b"A {"[..]);
        files.insert("etc/apt/apt.conf.d/20good", &b"APT::Default-Release \"a\";"[..]);
        files.insert("etc/apt/apt.conf.d/30other.dpkg-old", &b"APT::Default-Release \"b\";"[..]);
        let (read, errors) = Configuration::from_files(&files);
        assert_eq!(read.get("APT::Default-Release"), Some("a"));
        assert_eq!(errors.len(), 1);
    }
}
