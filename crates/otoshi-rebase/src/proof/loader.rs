//! Where the dynamic loader finds libraries in a tree, for glibc and musl.
//!
//! glibc: RPATH of the file and of those that load it, unless the file has RUNPATH, LD_LIBRARY_PATH, RUNPATH, what its cache lists,
//! and the directories that it is built with; never `ld.so.conf`. musl: LD_LIBRARY_PATH, RUNPATH or else RPATH of the file and of those
//! that load it, and what `/etc/ld-musl-ARCH.path` of the program's own architecture names.
//!
//! Source: ld.so(8), "Description", and musl's `ldso/dynlink.c`.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};

use super::cache::Cache;
use super::elf::Elf;
use super::facts::Content;
use super::tree::{Found, Tree};

/// The most libraries of one program.
const MOST: usize = 4096;
/// The architectures of musl: their names, the machines' numbers in ELF files, and whether they have 64 bits.
const ARCHITECTURES: [(&str, u16, bool); 9] = [
    ("x86_64", 62, true),
    ("x32", 62, false),
    ("aarch64", 183, true),
    ("armhf", 40, false),
    ("arm", 40, false),
    ("i386", 3, false),
    ("powerpc64le", 21, true),
    ("riscv64", 243, true),
    ("s390x", 22, true),
];
/// Where musl's loader looks that nobody told otherwise.
const MUSL_USUAL: [&str; 3] = ["lib", "usr/local/lib", "usr/lib"];
/// Libraries that musl's loader is itself.
const MUSL: [&str; 7] = ["libc", "libpthread", "librt", "libm", "libdl", "libutil", "libxnet"];

/// Finds libraries in a tree.
pub(super) struct Loader<'a> {
    tree: Tree<'a>,
    /// What glibc's cache lists.
    cache: Option<&'a Cache>,
    /// Of glibc.
    glibc: Vec<String>,
    environment: Vec<String>,
    known: RefCell<HashMap<(bool, u16, bool, String), Option<Opened<'a>>>>,
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
    /// The path by which it is opened, which `$ORIGIN` is about: links to a library are not followed.
    opened: Vec<u8>,
}

/// What a name was found for: the path by which it is opened, and the file.
type Opened<'a> = (Vec<u8>, Found<'a>, &'a Elf);

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
        for architecture in ["x86_64", "aarch64", "i386", "arm", "powerpc64le", "riscv64", "s390x"] {
            let suffix = if architecture == "arm" { "linux-gnueabihf" } else { "linux-gnu" };
            glibc.extend(["lib", "usr/lib"].map(|directory| format!("{directory}/{architecture}-{suffix}")));
        }
        glibc.extend(["lib64", "usr/lib64", "lib", "usr/lib", "lib32", "usr/lib32"].map(str::to_owned));
        let cache = tree.find(b"etc/ld.so.cache").and_then(|found| match &found.node?.facts.content {
            Content::Cache(cache) => Some(&**cache),
            _ => None,
        });
        let environment = library_path.unwrap_or_default().split([':', ';']);
        let environment = environment.filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { tree, cache, glibc, environment, known: RefCell::default() }
    }

    /// Loads all that a file needs.
    pub(super) fn scope<'b>(&self, path: &[u8], elf: &'b Elf, is_own: bool) -> Scope<'b>
    where
        'a: 'b,
    {
        let musl = is_musl(elf);
        let mut scope = Scope {
            files: vec![Loaded {
                name: elf.soname.clone(),
                path: path.to_vec(),
                elf,
                is_own,
                opened: path.to_vec(),
            }],
            missing: Vec::new(),
        };
        let mut seen: BTreeSet<String> = elf.soname.clone().into_iter().collect();
        let lib = || self.lib(elf);
        let environment: Vec<_> = self.environment.iter().map(|part| expand(part, path, lib)).collect();
        // Index of the file, and the directories that it has from those that load it.
        let mut waiting: VecDeque<(usize, Vec<String>)> = VecDeque::from([(0, Vec::new())]);
        while let Some((index, inherited)) = waiting.pop_front() {
            let Loaded { path, opened, elf: loading, .. } = &scope.files[index];
            let (path, loading) = (path.clone(), *loading);
            let all = |list: &[String]| list.iter().map(|part| expand(part, opened, lib)).collect::<Vec<_>>();
            let (rpath, runpath) = (all(&loading.rpath), all(&loading.runpath));
            // RUNPATH hides RPATH of the file itself; those below it have all RPATHs on the way to them, and with musl both.
            let own = match (runpath.is_empty(), musl) {
                (true, _) => rpath,
                (false, true) => runpath.clone(),
                (false, false) => Vec::new(),
            };
            let handed = [own, inherited].concat();
            let first = match (musl, runpath.is_empty()) {
                (true, _) => [&environment[..], &handed].concat(),
                (false, true) => [&handed[..], &environment].concat(),
                (false, false) => [&environment[..], &runpath].concat(),
            };
            for name in &loading.needed {
                if scope.files.len() >= MOST || !seen.insert(name.clone()) {
                    continue;
                }
                match self.library(name, elf, musl, &first) {
                    Some((opened, found, library)) => {
                        scope.files.push(Loaded {
                            name: Some(name.clone()),
                            path: found.path,
                            elf: library,
                            is_own: found.is_own,
                            opened,
                        });
                        waiting.push_back((scope.files.len() - 1, handed.clone()));
                    }
                    None => scope.missing.push((name.clone(), path.clone())),
                }
            }
        }
        scope
    }

    /// What `$LIB` stands for: it is built into glibc, which lies there itself.
    fn lib(&self, of: &Elf) -> &str {
        let has = |directory: &&String| self.fitting(&format!("{directory}/libc.so.6"), of).is_some();
        let found = self.glibc.iter().find(has).map_or("lib", String::as_str);
        found.strip_prefix("usr/").unwrap_or(found)
    }

    /// The file at a path, where it can be loaded with another.
    fn fitting(&self, path: &str, of: &Elf) -> Option<Opened<'a>> {
        let found = self.tree.find(path.as_bytes())?;
        let elf = found.elf().filter(|elf| elf.fits(of))?;
        Some((path.trim_start_matches('/').as_bytes().to_vec(), found, elf))
    }

    fn library(&self, name: &str, of: &Elf, musl: bool, first: &[String]) -> Option<Opened<'a>> {
        let fits = |path: &str| self.fitting(path, of);
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
            return known.clone();
        }
        let found = if musl {
            self.musl(of).iter().find_map(|directory| fits(&format!("{directory}/{name}")))
        } else {
            let cached = self.cache.and_then(|cache| cache.paths(name).find_map(fits));
            cached.or_else(|| self.glibc.iter().find_map(|directory| fits(&format!("{directory}/{name}"))))
        };
        self.known.borrow_mut().insert(key, found.clone());
        found
    }

    /// Where a library of this name is that something asks for while it runs, as the C library does for its plug-ins.
    pub(super) fn by_name(&self, name: &str) -> Option<Vec<u8>> {
        let file =
            |path: &str| self.tree.find(path.as_bytes()).filter(Found::is_file).map(|found| found.path);
        let cached = self.cache.and_then(|cache| cache.paths(name).find_map(file));
        cached.or_else(|| self.glibc.iter().find_map(|directory| file(&format!("{directory}/{name}"))))
    }

    /// The directories of musl's loader for a file's architecture.
    fn musl(&self, of: &Elf) -> Vec<String> {
        let paths = architectures(of).map(|name| format!("etc/ld-musl-{name}.path"));
        match paths.into_iter().find_map(|path| self.tree.text(path.as_bytes())) {
            Some(text) => {
                text.split([':', '\n']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            }
            None => MUSL_USUAL.map(str::to_owned).to_vec(),
        }
    }

    fn musl_loader(&self, of: &Elf) -> Option<Opened<'a>> {
        architectures(of)
            .find_map(|architecture| self.fitting(&format!("lib/ld-musl-{architecture}.so.1"), of))
    }
}

/// How musl may call the architecture of a file.
fn architectures(of: &Elf) -> impl Iterator<Item = &'static str> {
    let (machine, is_64) = (of.machine, of.is_64);
    let fits = move |(_, number, wide): &&(&str, u16, bool)| (*number, *wide) == (machine, is_64);
    ARCHITECTURES.iter().filter(fits).map(|(name, ..)| *name)
}

/// A directory with `$ORIGIN` and `$LIB` as what they stand for, in a file that is opened by that path.
fn expand<'l>(part: &str, path: &[u8], lib: impl FnOnce() -> &'l str) -> String {
    if !part.contains('$') {
        return part.to_owned();
    }
    let directory = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
    let directory = format!("/{}", String::from_utf8_lossy(directory));
    let part = part.replace("${ORIGIN}", &directory).replace("$ORIGIN", &directory);
    if !part.contains("$LIB") && !part.contains("${LIB}") {
        return part;
    }
    let lib = lib();
    part.replace("${LIB}", lib).replace("$LIB", lib)
}
