//! The modules of a crate, file by file: what each defines, what it imports, and the paths that it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::tokens::{Token, tokens};

/// What introduces an item that has a name.
const ITEMS: [&str; 9] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules"];

/// A module that is a file of its own.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// The file, relative to the crate's sources.
    pub(super) file: String,
    /// The names of the items that stand in it.
    pub(super) items: BTreeSet<String>,
    /// What `use` brings in: by the name that it has here.
    pub(super) imports: Vec<Import>,
    /// The paths of two and more names that its code has, and the number of modules inside the file that they stand in.
    pub(super) paths: Vec<(Vec<String>, usize)>,
    /// Every name in its code, other than in `use`.
    pub(super) names: BTreeSet<String>,
}

/// One name that `use` brings in.
#[derive(Debug, Clone)]
pub(super) struct Import {
    /// What it is called here; `*` for everything.
    pub(super) name: String,
    pub(super) path: Vec<String>,
    /// Whether it is for others, too.
    pub(super) is_public: bool,
    /// The number of modules inside the file that it stands in.
    pub(super) depth: usize,
}

/// The modules below a root file, by their path; the root's own is empty. `text` gives the text of a file, where there is one.
pub(super) fn read(root: &str, text: &dyn Fn(&Path) -> Option<String>) -> BTreeMap<Vec<String>, Module> {
    let mut found = BTreeMap::new();
    if let Some(whole) = text(Path::new(root)) {
        read_module(Path::new(root), &whole, Vec::new(), text, &mut found);
    }
    found
}

fn read_module(
    file: &Path,
    whole: &str,
    path: Vec<String>,
    text: &dyn Fn(&Path) -> Option<String>,
    found: &mut BTreeMap<Vec<String>, Module>,
) {
    let mut module = Module { file: file.display().to_string(), ..Module::default() };
    let children = scan(&tokens(whole), &mut module);
    let beside = file.parent().unwrap_or(Path::new(""));
    let directory = match path.last() {
        Some(name) if !file.ends_with("mod.rs") => beside.join(name),
        _ => beside.to_owned(),
    };
    for name in children {
        let places = [directory.join(format!("{name}.rs")), directory.join(&name).join("mod.rs")];
        if let Some((child, whole)) = places.iter().find_map(|place| Some((place, text(place)?))) {
            read_module(child, &whole, [&path[..], &[name]].concat(), text, found);
        }
    }
    found.insert(path, module);
}

/// Reads a file's tokens; gives the modules that have files of their own.
fn scan(tokens: &[Token], module: &mut Module) -> Vec<String> {
    let (mut children, mut here) = (Vec::new(), 0);
    // Of each open brace: whether it is a module's.
    let mut open: Vec<bool> = Vec::new();
    while here < tokens.len() {
        let depth = open.iter().filter(|is_module| **is_module).count();
        let is_top = open.iter().all(|is_module| *is_module);
        let next = tokens.get(here + 1);
        match &tokens[here] {
            Token::Sign('{') => open.push(false),
            Token::Sign('}') => drop(open.pop()),
            Token::Name(word) if word == "mod" && is_top => {
                let Some(name) = next.and_then(Token::name) else { break };
                if tokens.get(here + 2).is_some_and(|token| token.is('{')) {
                    module.items.insert(name.to_owned());
                    open.push(true);
                } else {
                    children.push(name.to_owned());
                }
                here += 3;
                continue;
            }
            Token::Name(word) if word == "use" && next.is_some_and(|token| !token.is('<')) => {
                let is_public =
                    here > 0 && (tokens[here - 1].name() == Some("pub") || tokens[here - 1].is(')'));
                let mut end = here + 1;
                let mut leaves = Vec::new();
                tree(tokens, &mut end, &[], &mut leaves);
                let import = |(name, path)| Import { name, path, is_public, depth };
                module.imports.extend(leaves.into_iter().map(import));
                here = end;
                continue;
            }
            Token::Name(word) => {
                if ITEMS.contains(&word.as_str()) && is_top {
                    let name = tokens[here + 1..].iter().find_map(Token::name);
                    module.items.extend(name.map(str::to_owned));
                }
                let path = path_at(tokens, &mut here);
                module.names.extend(path.iter().cloned());
                if path.len() > 1 {
                    module.paths.push((path, depth));
                }
                continue;
            }
            _ => {}
        }
        here += 1;
    }
    children
}

/// The path that begins here.
fn path_at(tokens: &[Token], here: &mut usize) -> Vec<String> {
    let mut path = Vec::new();
    while let Some(name) = tokens.get(*here).and_then(Token::name) {
        path.push(name.to_owned());
        *here += 1;
        let goes_on = tokens.get(*here) == Some(&Token::Path)
            && tokens.get(*here + 1).is_some_and(|token| token.name().is_some());
        if !goes_on {
            break;
        }
        *here += 1;
    }
    path
}

/// What a tree of `use` brings in: names and their paths.
fn tree(tokens: &[Token], here: &mut usize, before: &[String], leaves: &mut Vec<(String, Vec<String>)>) {
    if tokens.get(*here) == Some(&Token::Path) {
        // `::name` is another crate.
        *here += 1;
    }
    let path = [before, &path_at(tokens, here)[..]].concat();
    if tokens.get(*here) == Some(&Token::Path) {
        *here += 1;
    }
    match tokens.get(*here) {
        Some(Token::Sign('{')) => {
            *here += 1;
            while *here < tokens.len() && !tokens[*here].is('}') {
                if tokens[*here].is(',') {
                    *here += 1;
                } else {
                    tree(tokens, here, &path, leaves);
                }
            }
            *here += 1;
        }
        Some(Token::Sign('*')) => {
            *here += 1;
            leaves.push(("*".to_owned(), path));
        }
        Some(Token::Name(word)) if word == "as" => {
            let name = tokens.get(*here + 1).and_then(Token::name).unwrap_or("_").to_owned();
            *here += 2;
            leaf(path, Some(name), leaves);
        }
        _ => leaf(path, None, leaves),
    }
}

/// One name of a tree: `a::b`, or `a::self`.
fn leaf(mut path: Vec<String>, alias: Option<String>, leaves: &mut Vec<(String, Vec<String>)>) {
    if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
        path.pop();
    }
    if let Some(name) = alias.or_else(|| path.last().cloned()) {
        leaves.push((name, path));
    }
}
