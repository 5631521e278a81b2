//! How many methods types have: their own, and not those of traits.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    failure::{Failure, Result},
    root,
    tokens::{Token, after_group, tokens},
};

/// Show which types have the most methods of their own.
#[derive(Debug, Args)]
pub(crate) struct Methods {
    /// How many types are shown
    #[arg(long, default_value_t = 20)]
    most: usize,
}

impl Methods {
    pub(crate) fn run(self) -> Result {
        for (count, krate, name) in all()?.into_iter().take(self.most) {
            println!("{count:4} {name} ({krate})");
        }
        Ok(())
    }
}

/// The types of all crates that have methods: how many, the crate and the name; the widest first.
fn all() -> Result<Vec<(usize, String, String)>> {
    let crates = root().join("crates");
    let mut found = Vec::new();
    for directory in entries(&crates)? {
        let mut counts = BTreeMap::new();
        let mut open = vec![directory.join("src")];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(entries(&path)?);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
                count(&tokens(&text), &mut counts);
            }
        }
        let krate = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.extend(counts.into_iter().map(|(name, count)| (count, krate.clone(), name)));
    }
    found.sort_by(|left, right| right.0.cmp(&left.0).then_with(|| left.cmp(right)));
    Ok(found)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).map_err(Failure::file("listing", directory))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Adds the methods that a file gives types.
fn count(tokens: &[Token], counts: &mut BTreeMap<String, usize>) {
    let mut here = 0;
    while here < tokens.len() {
        let begins = tokens[here].name() == Some("impl");
        // `impl` stands in types as well, where a bracket, a comma or an arrow comes before it.
        let is_item =
            here == 0 || tokens[here - 1].is('}') || tokens[here - 1].is(';') || tokens[here - 1].is(']');
        here += 1;
        if !(begins && is_item) {
            continue;
        }
        let Some(length) = tokens[here..].iter().position(|token| token.is('{')) else { break };
        let end = after_group(tokens, here + length);
        if let Some(name) = of_its_own(&tokens[here..here + length]) {
            let body = &tokens[here + length + 1..end];
            *counts.entry(name).or_default() += functions(body);
        }
        here = end;
    }
}

/// The type that an `impl` is of; none where it is that of a trait.
fn of_its_own(head: &[Token]) -> Option<String> {
    let (mut depth, mut name) = (0_usize, None);
    for token in head {
        match token {
            Token::Sign('<') => depth += 1,
            Token::Sign('>') => depth = depth.saturating_sub(1),
            Token::Name(word) if depth == 0 && word == "for" => return None,
            Token::Name(word) if depth == 0 && word == "where" => break,
            Token::Name(word) if depth == 0 => name = Some(word.clone()),
            _ => {}
        }
    }
    name
}

/// The functions that stand in a body, and not in one of those.
fn functions(body: &[Token]) -> usize {
    let (mut here, mut count) = (0, 0);
    while here < body.len() {
        match &body[here] {
            Token::Sign('{' | '(' | '[') => here = after_group(body, here),
            token => {
                count += usize::from(token.name() == Some("fn"));
                here += 1;
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More methods than this are several types.
    const MOST: usize = 40;

    #[test]
    fn no_type_is_wider_than_a_reader_can_keep_apart() {
        let found = all().unwrap();
        assert!(found.len() > 300, "{}", found.len());
        let wide: Vec<_> = found.into_iter().filter(|(count, ..)| *count > MOST).collect();
        assert!(wide.is_empty(), "{wide:?}");
    }

    #[test]
    fn methods_are_counted_by_type_and_not_those_of_traits() {
        let text = "impl<'a, T: Fn() -> U> A<'a, T> where T: B { pub fn a(&self, f: fn()) { fn inner() {} } const C: u8 = 1; }\n\
            impl Clone for A { fn clone(&self) {} } impl crate::A { async fn b() {} }\n\
            fn c(x: impl Into<D>) -> impl E { f::<impl G> } #[cfg(test)] impl A { fn d() {} }";
        let mut counts = BTreeMap::new();
        count(&tokens(text), &mut counts);
        assert_eq!(counts, BTreeMap::from([("A".to_owned(), 2)]));
    }
}
