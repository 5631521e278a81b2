//! Where the dynamic loader finds libraries in a tree, for glibc and musl.
//!
//! glibc: RPATH of the file and of those that load it (without RUNPATH), LD_LIBRARY_PATH, RUNPATH, what `ld.so.conf` names, and the
//! directories that it is built with. musl: LD_LIBRARY_PATH, RPATH or RUNPATH, and what `/etc/ld-musl-ARCH.path` names. The cache file
//! is made from these, and is not read.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};

use super::elf::Elf;
use super::tree::{Found, Tree};

/// The most libraries of one program.
const MOST: usize = 4096;
/// How deep `ld.so.conf` includes.
const DEPTH: usize = 8;
/// Libraries that musl's loader is itself.
const MUSL: [&str; 7] = ["libc", "libpthread", "librt", "libm", "libdl", "libutil", "libxnet"];

/// Finds libraries in a tree.
pub(super) struct Loader<'a> {
    tree: Tree<'a>,
    /// Of glibc.
    glibc: Vec<String>,
    musl: Vec<String>,
    environment: Vec<String>,
    known: RefCell<HashMap<(bool, u16, bool, String), Option<Found<'a>>>>,
}

/// The libraries of one program or library: itself first, then in the order in which they are loaded.
pub(super) struct Scope<'a> {
    pub(super) files: Vec<Loaded<'a>>,
    /// Names that nothing was found for, and what needs them.
    pub(super) missing: Vec<(String, Vec<u8>)>,
}

/// A file that is loaded under a name.
pub(super) struct Loaded<'a> {
    /// The name that it was asked for by, or calls itself; a program has none.
    pub(super) name: Option<String>,
    pub(super) path: Vec<u8>,
    pub(super) elf: &'a Elf,
    pub(super) is_own: bool,
}

impl Scope<'_> {
    pub(super) fn named(&self, name: &str) -> Option<&Loaded<'_>> {
        self.files.iter().find(|file| file.name.as_deref() == Some(name))
    }
}

/// Whether a file is loaded by musl's loader.
fn is_musl(elf: &Elf) -> bool {
    match &elf.interp {
        Some(interp) => interp.contains("ld-musl-"),
        None => elf.needed.iter().any(|name| name == "libc.so" || name.starts_with("libc.musl-")),
    }
}

impl<'a> Loader<'a> {
    pub(super) fn new(tree: Tree<'a>, library_path: Option<&str>) -> Self {
        let mut glibc = Vec::new();
        include(tree, "etc/ld.so.conf", 0, &mut glibc);
        for architecture in ["x86_64", "aarch64", "i386", "arm", "powerpc64le", "riscv64", "s390x"] {
            let suffix = if architecture == "arm" { "linux-gnueabihf" } else { "linux-gnu" };
            glibc.extend(["lib", "usr/lib"].map(|directory| format!("{directory}/{architecture}-{suffix}")));
        }
        glibc.extend(["lib64", "usr/lib64", "lib", "usr/lib", "lib32", "usr/lib32"].map(str::to_owned));
        let set_up = ["x86_64", "aarch64", "armhf", "i386", "powerpc64le", "riscv64", "s390x"]
            .iter()
            .find_map(|architecture| tree.text(format!("etc/ld-musl-{architecture}.path").as_bytes()));
        let musl = set_up.map_or_else(
            || ["lib", "usr/local/lib", "usr/lib"].map(str::to_owned).to_vec(),
            |text| text.split([':', '\n']).filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        );
        let environment = library_path.unwrap_or_default().split([':', ';']);
        let environment = environment.filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { tree, glibc, musl, environment, known: RefCell::default() }
    }

    /// Loads all that a file needs.
    pub(super) fn scope<'b>(&self, path: &[u8], elf: &'b Elf, is_own: bool) -> Scope<'b>
    where
        'a: 'b,
    {
        let musl = is_musl(elf);
        let mut scope = Scope {
            files: vec![Loaded { name: elf.soname.clone(), path: path.to_vec(), elf, is_own }],
            missing: Vec::new(),
        };
        let mut seen: BTreeSet<String> = elf.soname.clone().into_iter().collect();
        // Index of the file, and the RPATHs that it has from those that load it.
        let mut waiting: VecDeque<(usize, Vec<String>)> = VecDeque::from([(0, Vec::new())]);
        while let Some((index, inherited)) = waiting.pop_front() {
            let (path, loading) = (scope.files[index].path.clone(), scope.files[index].elf);
            let expand = |list: &[String]| list.iter().map(|part| origin(part, &path)).collect::<Vec<_>>();
            let runpath = expand(&loading.runpath);
            let rpath =
                if runpath.is_empty() { [expand(&loading.rpath), inherited].concat() } else { Vec::new() };
            for name in &loading.needed {
                if scope.files.len() >= MOST || !seen.insert(name.clone()) {
                    continue;
                }
                let first = if musl {
                    [&self.environment[..], &rpath].concat()
                } else {
                    [&rpath[..], &self.environment].concat()
                };
                let first = [first, runpath.clone()].concat();
                match self.library(name, elf, musl, &first) {
                    Some((found, library)) => {
                        scope.files.push(Loaded {
                            name: Some(name.clone()),
                            path: found.path,
                            elf: library,
                            is_own: found.is_own,
                        });
                        waiting.push_back((scope.files.len() - 1, rpath.clone()));
                    }
                    None => scope.missing.push((name.clone(), path.clone())),
                }
            }
        }
        scope
    }

    fn library(&self, name: &str, of: &Elf, musl: bool, first: &[String]) -> Option<(Found<'a>, &'a Elf)> {
        let fits = |path: &str| {
            let found = self.tree.find(path.as_bytes())?;
            let elf = found.elf().filter(|elf| elf.fits(of))?;
            Some((found, elf))
        };
        if name.contains('/') {
            return fits(name);
        }
        if musl
            && MUSL.iter().any(|own| {
                name.strip_prefix(own).is_some_and(|rest| rest == ".so" || rest.starts_with(".musl-"))
            })
        {
            let interp = of.interp.as_deref();
            let loader = interp.and_then(fits).or_else(|| self.musl_loader(of));
            if let Some(found) = loader {
                return Some(found);
            }
        }
        if let Some(found) = first.iter().find_map(|directory| fits(&format!("{directory}/{name}"))) {
            return Some(found);
        }
        let key = (musl, of.machine, of.is_64, name.to_owned());
        if let Some(known) = self.known.borrow().get(&key) {
            let found = known.clone()?;
            let elf = found.elf()?;
            return Some((found, elf));
        }
        let usual = if musl { &self.musl } else { &self.glibc };
        let found = usual.iter().find_map(|directory| fits(&format!("{directory}/{name}")));
        self.known.borrow_mut().insert(key, found.as_ref().map(|(found, _)| found.clone()));
        found
    }

    fn musl_loader(&self, of: &Elf) -> Option<(Found<'a>, &'a Elf)> {
        ["x86_64", "aarch64", "armhf", "i386", "powerpc64le", "riscv64", "s390x"].iter().find_map(
            |architecture| {
                let found = self.tree.find(format!("lib/ld-musl-{architecture}.so.1").as_bytes())?;
                let elf = found.elf().filter(|elf| elf.fits(of))?;
                Some((found, elf))
            },
        )
    }
}

/// The directories of a file of `ld.so.conf`'s form.
fn include(tree: Tree<'_>, path: &str, depth: usize, directories: &mut Vec<String>) {
    let Some(text) = tree.text(path.as_bytes()).filter(|_| depth < DEPTH) else { return };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) =
            line.strip_prefix("include").filter(|rest| rest.starts_with(char::is_whitespace))
        {
            for pattern in pattern.split_whitespace() {
                included(tree, pattern.trim_start_matches('/'), depth, directories);
            }
        } else {
            directories.extend(
                line.split([':', ',', ' ', '\t']).filter(|part| part.starts_with('/')).map(str::to_owned),
            );
        }
    }
}

/// The files of a pattern: a name, or a directory's `*.conf`.
fn included(tree: Tree<'_>, pattern: &str, depth: usize, directories: &mut Vec<String>) {
    let Some((before, after)) = pattern.split_once('*') else {
        return include(tree, pattern, depth + 1, directories);
    };
    let mut names = BTreeSet::new();
    for contents in [tree.base, tree.app] {
        for (path, _) in contents.files().range(before.as_bytes().to_vec()..) {
            let Some(rest) = path.strip_prefix(before.as_bytes()) else { break };
            if rest.ends_with(after.as_bytes()) && !rest.contains(&b'/') {
                names.insert(String::from_utf8_lossy(path).into_owned());
            }
        }
    }
    for name in names {
        include(tree, &name, depth + 1, directories);
    }
}

/// A directory with `$ORIGIN` as what it stands for.
fn origin(part: &str, path: &[u8]) -> String {
    if !part.contains('$') {
        return part.to_owned();
    }
    let directory = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
    let directory = format!("/{}", String::from_utf8_lossy(directory));
    part.replace("${ORIGIN}", &directory)
        .replace("$ORIGIN", &directory)
        .replace("${LIB}", "lib")
        .replace("$LIB", "lib")
}
