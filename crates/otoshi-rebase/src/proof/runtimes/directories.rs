//! Runtimes whose files lie in directories named after a version.

use super::runtime::{File, Need, Runtime, after, is_version};

/// Ruby: `ruby/3.1.0`, named after its API; gems without native code too, in `gems/3.1.0`.
pub(super) struct Ruby;
/// Python: `python3.11`, and `x.cpython-311-x86_64-linux-gnu.so`.
pub(super) struct Python;
/// Perl: `perl/5.36.0` and `perl5/5.36`; a module in machine code without a version belongs to the series that it ran on.
pub(super) struct Perl;
/// PHP: `php/20220829`, `no-debug-non-zts-20220829`, `php82/modules`.
pub(super) struct Php;
/// Lua: `lua/5.4`.
pub(super) struct Lua;
/// Guile: `guile/3.0`, `guile/site/3.0`.
pub(super) struct Guile;
/// Tcl: `tcl8.6`; a package in machine code without a version belongs to the one that it ran on.
pub(super) struct Tcl;
/// PostgreSQL: `postgresql/15`.
pub(super) struct Postgres;

fn exactly(version: Option<String>) -> Option<Need> {
    version.map(Need::Exactly)
}

impl Ruby {
    /// `3.1.0`, also with something behind it, as in `3.1.0-static`.
    fn version(part: &str) -> Option<String> {
        let number = part.split(['-', '+']).next()?;
        is_version(number, &[3]).then(|| number.to_owned())
    }
}

impl Runtime for Ruby {
    fn name(&self) -> &'static str {
        "ruby"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let in_library = file.path.contains("lib/ruby/") || file.path.contains("lib64/ruby/");
        let version = after(file.path, &["ruby"]).next().filter(|_| in_library).and_then(Self::version);
        version.into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, _: &[&str]) -> Option<Need> {
        let extensions = || {
            let (_, rest) = file.path.split_once("/extensions/")?;
            Self::version(rest.split('/').nth(1)?)
        };
        exactly(after(file.path, &["ruby", "gems"]).find_map(Self::version).or_else(extensions))
    }
}

impl Python {
    fn series(path: &str) -> Option<String> {
        let series = path.split('/').find_map(|part| part.strip_prefix("python"))?;
        is_version(series, &[2]).then(|| series.to_owned())
    }

    fn module(path: &str) -> Option<String> {
        let (_, rest) = path.strip_suffix(".so")?.rsplit_once(".cpython-")?;
        let (major, minor) = rest.split('-').next()?.split_at_checked(1)?;
        is_version(minor, &[1]).then(|| format!("{major}.{minor}"))
    }
}

impl Runtime for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let is_library = file.path.ends_with("/os.py") || file.path.ends_with("/os.pyc");
        Self::series(file.path).filter(|_| is_library).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, _: &[&str]) -> Option<Need> {
        exactly(Self::series(file.path).or_else(|| Self::module(file.path)))
    }
}

impl Perl {
    fn version(path: &str) -> Option<String> {
        let mut parts = after(path, &["perl", "perl5", "site_perl", "vendor_perl"]);
        parts.find(|part| part.starts_with("5.") && is_version(part, &[2, 3])).map(str::to_owned)
    }
}

impl Runtime for Perl {
    fn name(&self) -> &'static str {
        "perl"
    }

    /// `bin/perl5.36.0`, which every package of it has.
    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let number = file.name().strip_prefix("perl").filter(|_| file.path.contains("bin/"));
        let Some(full) = number.filter(|number| is_version(number, &[3])) else { return Vec::new() };
        let series = full.rsplit_once('.').map(|(series, _)| series.to_owned());
        series.into_iter().chain([full.to_owned()]).collect()
    }

    fn needed_by(&self, file: File<'_>, old: &[&str]) -> Option<Need> {
        let native = || {
            file.path.contains("/auto/")
                && file
                    .elf()
                    .is_some_and(|elf| elf.imports().any(|symbol| symbol.starts_with(b"Perl_xs_handshake")))
        };
        let series =
            || old.iter().find(|version| is_version(version, &[2])).map(|version| (*version).to_owned());
        exactly(Self::version(file.path).or_else(|| series().filter(|_| native())))
    }
}

impl Php {
    fn version(file: File<'_>) -> Option<String> {
        if file.extension() != Some("so") {
            return None;
        }
        let date = |part: &str| part.len() == 8 && is_version(part, &[1]);
        if let Some(part) = after(file.path, &["php"]).find(|part| date(part)) {
            return Some(part.to_owned());
        }
        if let Some(part) = after(file.path, &["extensions"]).next()
            && let Some((kind, number)) = part.rsplit_once('-').filter(|(_, number)| date(number))
        {
            let threads = if kind.ends_with("non-zts") { "" } else { "-zts" };
            return Some(format!("{number}{threads}"));
        }
        let parts: Vec<&str> = file.path.split('/').collect();
        let number =
            |part: &str| part.strip_prefix("php").filter(|rest| is_version(rest, &[1])).map(str::to_owned);
        parts.windows(2).find(|pair| pair[1] == "modules").and_then(|pair| number(pair[0]))
    }
}

impl Runtime for Php {
    fn name(&self) -> &'static str {
        "php"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        Self::version(file).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, _: &[&str]) -> Option<Need> {
        exactly(Self::version(file))
    }
}

impl Runtime for Lua {
    fn name(&self) -> &'static str {
        "lua"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let name = file.name();
        let jit = name.starts_with("libluajit-5.1.so") || name.starts_with("luajit");
        let rest = name.strip_prefix("liblua").or_else(|| name.strip_prefix("lua")).unwrap_or_default();
        let rest = rest.trim_start_matches('-');
        let version = rest.get(..3).filter(|version| is_version(version, &[2]));
        // A library of some Lua package is called after its Lua too: liblua5.4-socket.so.
        let is_itself = rest.len() == 3 || rest[3.min(rest.len())..].starts_with(".so");
        let version = version.filter(|_| is_itself).or(jit.then_some("5.1"));
        version.map(str::to_owned).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, _: &[&str]) -> Option<Need> {
        exactly(after(file.path, &["lua"]).find(|part| is_version(part, &[2])).map(str::to_owned))
    }
}

impl Runtime for Guile {
    fn name(&self) -> &'static str {
        "guile"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let is_library = file.path.contains("/ice-9/");
        let version = after(file.path, &["guile"]).find(|part| is_version(part, &[2]));
        version.filter(|_| is_library).map(str::to_owned).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, _: &[&str]) -> Option<Need> {
        if !file.path.contains("/guile/") {
            return None;
        }
        exactly(after(file.path, &["guile", "site"]).find(|part| is_version(part, &[2])).map(str::to_owned))
    }
}

impl Tcl {
    fn version(path: &str) -> Option<String> {
        let mut parts = path.split('/').filter_map(|part| part.strip_prefix("tcl"));
        parts.find(|version| is_version(version, &[2])).map(str::to_owned)
    }
}

impl Runtime for Tcl {
    fn name(&self) -> &'static str {
        "tcl"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let library = || {
            let version = file.name().strip_prefix("libtcl")?.split(".so").next()?;
            is_version(version, &[2]).then(|| version.to_owned())
        };
        let version = Self::version(file.path).filter(|_| file.name() == "init.tcl");
        version.or_else(library).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, old: &[&str]) -> Option<Need> {
        // Debian has packages beside each other, whatever Tcl they are for.
        let is_native = || after(file.path, &["tcltk"]).next().is_some() && file.elf().is_some();
        let ran_on = || old.last().map(|version| (*version).to_owned());
        exactly(Self::version(file.path).or_else(|| ran_on().filter(|_| is_native())))
    }
}

impl Postgres {
    fn version(path: &str) -> Option<String> {
        after(path, &["postgresql"]).find(|part| is_version(part, &[1, 2])).map(str::to_owned)
    }
}

impl Runtime for Postgres {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        Self::version(file.path).filter(|_| file.path.ends_with("/bin/postgres")).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, _: &[&str]) -> Option<Need> {
        // Modules, and the files that create extensions; a cluster's data has a way of its own.
        let is_extension = |version: &String| {
            file.path.contains(&format!("/{version}/lib/")) || file.path.contains("/extension/")
        };
        exactly(Self::version(file.path).filter(is_extension))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{needed, shown};
    use super::*;

    /// Each with paths out of Debian's packages of bookworm and trixie, official images, and Alpine's and Fedora's packages.
    const TABLE: [(&dyn Runtime, &[(&str, &str)], &[(&str, &str)]); 8] = [
        (
            &Ruby,
            &[
                ("usr/lib/ruby/3.1.0/set.rb", "3.1.0"),
                ("usr/local/lib/ruby/3.3.0/set.rb", "3.3.0"),
                ("usr/lib/ruby/vendor_ruby/x.rb", ""),
            ],
            &[
                ("var/lib/gems/3.1.0/gems/rack-2.2/lib/rack.rb", "3.1.0"),
                ("app/vendor/bundle/ruby/3.1.0/gems/x/x.rb", "3.1.0"),
                ("usr/local/bundle/extensions/x86_64-linux/3.1.0/x/x.so", "3.1.0"),
                ("usr/local/bundle/gems/rack-2.2.4/lib/rack.rb", ""),
            ],
        ),
        (
            &Python,
            &[("usr/lib/python3.11/os.py", "3.11"), ("usr/lib/python3/dist-packages/x.py", "")],
            &[
                ("opt/venv/lib/python3.11/site-packages/x.py", "3.11"),
                ("app/x.cpython-313-x86_64-linux-gnu.so", "3.13"),
                ("app/x.abi3.so", ""),
            ],
        ),
        (
            &Perl,
            &[
                ("usr/bin/perl5.36.0", "5.36 5.36.0"),
                ("usr/bin/perl5.40.1", "5.40 5.40.1"),
                ("usr/bin/perl5.36-x86_64-linux-gnu", ""),
            ],
            &[
                ("usr/local/share/perl/5.36.0/My.pm", "5.36.0"),
                ("usr/local/lib/x86_64-linux-gnu/perl/5.40.1/auto/X/X.so", "5.40.1"),
                ("usr/lib/x86_64-linux-gnu/perl5/5.36/auto/JSON/XS/XS.so", "5.36"),
                ("usr/local/lib/perl5/site_perl/5.36.3/X.pm", "5.36.3"),
                ("usr/share/perl5/X.pm", ""),
            ],
        ),
        (
            &Php,
            &[
                ("usr/lib/php/20220829/calendar.so", "20220829"),
                ("usr/lib/php/20240924/calendar.so", "20240924"),
                ("usr/local/lib/php/extensions/no-debug-non-zts-20220829/sodium.so", "20220829"),
                ("usr/local/lib/php/extensions/no-debug-zts-20220829/sodium.so", "20220829-zts"),
                ("usr/lib/php82/modules/ctype.so", "82"),
                ("usr/share/php/20220829/x.php", ""),
            ],
            &[("usr/lib/php/20220829/redis.so", "20220829"), ("usr/lib64/php/modules/x.so", "")],
        ),
        (
            &Lua,
            &[
                ("usr/lib/x86_64-linux-gnu/liblua5.4.so.0.0.0", "5.4"),
                ("usr/lib/liblua-5.4.so.0", "5.4"),
                ("usr/bin/lua5.1", "5.1"),
                ("usr/lib/x86_64-linux-gnu/libluajit-5.1.so.2.1.0", "5.1"),
                ("usr/lib/x86_64-linux-gnu/liblua5.2-socket.so.2.0.0", ""),
                ("usr/bin/luac", ""),
            ],
            &[
                ("usr/local/lib/lua/5.4/cjson.so", "5.4"),
                ("usr/local/share/lua/5.1/x.lua", "5.1"),
                ("app/lua/x.lua", ""),
            ],
        ),
        (
            &Guile,
            &[("usr/share/guile/3.0/ice-9/boot-9.scm", "3.0"), ("usr/share/guile/site/3.0/x.scm", "")],
            &[
                ("usr/local/share/guile/site/3.0/my.scm", "3.0"),
                ("usr/lib/x86_64-linux-gnu/guile/3.0/site-ccache/my.go", "3.0"),
                ("srv/site/3.0/index.html", ""),
            ],
        ),
        (
            &Tcl,
            &[("usr/share/tcltk/tcl8.6/init.tcl", "8.6"), ("usr/lib/x86_64-linux-gnu/libtcl8.6.so", "8.6")],
            &[("usr/lib/tcltk/tcl8.6/my/pkgIndex.tcl", "8.6"), ("app/tcl/x.tcl", "")],
        ),
        (
            &Postgres,
            &[("usr/lib/postgresql/15/bin/postgres", "15"), ("usr/lib/postgresql/15/lib/plpgsql.so", "")],
            &[
                ("usr/lib/postgresql/15/lib/pg_cron.so", "15"),
                ("usr/share/postgresql/17/extension/pg_cron.control", "17"),
                ("var/lib/postgresql/15/main/PG_VERSION", ""),
            ],
        ),
    ];

    #[test]
    fn versions_are_read_out_of_paths() {
        for (runtime, base, app) in TABLE {
            for (path, versions) in base {
                assert_eq!(shown(runtime, path, "").join(" "), *versions, "{} {path}", runtime.name());
            }
            for (path, version) in app {
                let expected = (!version.is_empty()).then(|| Need::Exactly((*version).to_owned()));
                assert_eq!(needed(runtime, path, "", &[]), expected, "{} {path}", runtime.name());
            }
        }
    }
}
