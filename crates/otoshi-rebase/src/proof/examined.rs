//! What a proof looked at, and what it could not judge: it claims no more than that.

use std::collections::BTreeSet;
use std::fmt;

use otoshi_oci::contents::Contents;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{Content, Facts};
use super::report::absolute;
use super::side::Side;

/// Programs whose own version matters to nothing that they are given: shells, and what looks programs up.
const PLAIN: [&str; 12] =
    ["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "env", "tini", "dumb-init", "su-exec", "gosu"];
/// How programs of the runtimes that are looked at are called.
const RUNTIMES: [(&str, &str); 20] = [
    ("ruby", "ruby"),
    ("python", "python"),
    ("perl", "perl"),
    ("php", "php"),
    ("lua", "lua"),
    ("guile", "guile"),
    ("tclsh", "tcl"),
    ("postgres", "postgresql"),
    ("java", "java"),
    ("erl", "erlang"),
    ("escript", "erlang"),
    ("beam", "erlang"),
    ("elixir", "elixir"),
    ("dotnet", "dotnet"),
    ("node", "node"),
    ("Rscript", "r"),
    ("R", "r"),
    ("nginx", "nginx"),
    ("apache2", "apache"),
    ("httpd", "apache"),
];

/// Says what was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Examined {
    /// How many programs and libraries of the application's: their loaders, libraries, versions and symbols.
    pub programs: usize,
    /// How many scripts: their interpreters.
    pub scripts: usize,
    /// The runtimes that the application has files for, with the versions that the old base has.
    pub runtimes: Vec<String>,
    /// Executables of which something that matters could not be judged, and what.
    pub unjudged: Vec<String>,
}

impl Examined {
    /// Counts an application's files, and names what could not be judged.
    pub(super) fn of(app: &Contents<Facts>, old: &Side<'_>, runtimes: Vec<String>) -> Self {
        let mut found = Self { runtimes, ..Self::default() };
        let (mut loads, mut bare, mut strangers) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (path, node) in app.files() {
            match &node.facts.content {
                Content::Elf(elf) => {
                    found.programs += 1;
                    if elf.imports().any(|symbol| symbol.starts_with(b"dlopen")) {
                        loads.push(absolute(path));
                    }
                    if !elf.needed.is_empty() && elf.imports.0.is_empty() {
                        bare.push(absolute(path));
                    }
                }
                Content::Script(line) => {
                    found.scripts += 1;
                    let words =
                        line.split_whitespace().filter(|word| !word.starts_with('-') && !word.contains('='));
                    strangers.extend(words.take(2).filter_map(|word| found.stranger(word, old)));
                }
                _ => {}
            }
        }
        let starts =
            old.config.entrypoint.iter().flatten().take(1).chain(old.config.cmd.iter().flatten().take(1));
        strangers.extend(starts.filter_map(|program| found.stranger(program, old)));
        let mut say = |files: &[String], what: &str| {
            if let Some(first) = files.first() {
                let more =
                    if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
                found.unjudged.push(format!("{first}{more}: {what}"));
            }
        };
        say(&bare, "it has no symbol table, so only its libraries were looked at");
        say(&loads, "it can load libraries by name while it runs (dlopen)");
        found.unjudged.extend(
            strangers.into_iter().map(|program| {
                format!("{program}: whether its version suits what it runs was not looked at")
            }),
        );
        found
    }

    /// The base's program behind a name, where its version may matter and was not looked at.
    fn stranger(&self, name: &str, old: &Side<'_>) -> Option<String> {
        let program =
            old.tree.program(name, old.path, &old.config.working_dir).filter(|program| !program.is_own)?;
        let called = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let real = absolute(&program.path);
        let names = [called(name), called(&real)];
        if names.iter().any(|name| PLAIN.contains(&name.as_str())) {
            return None;
        }
        let runtime = RUNTIMES.iter().find(|(start, _)| {
            names.iter().any(|name| {
                name.strip_prefix(start)
                    .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
            })
        });
        let versions = runtime.map(|(_, runtime)| old.base.markers().versions(runtime).len());
        (versions.unwrap_or_default() == 0).then_some(real)
    }
}

impl fmt::Display for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: usize, one: &str, many: &str| {
            format!("{number} {}", if number == 1 { one } else { many })
        };
        write!(
            f,
            "{}, {}, start command, links, accounts, plug-ins, what its layers hide or delete",
            count(self.programs, "program or library", "programs and libraries"),
            count(self.scripts, "script", "scripts"),
        )?;
        if self.runtimes.is_empty() {
            Ok(())
        } else {
            write!(f, "; files made for {}", self.runtimes.join(", "))
        }
    }
}
