//! The proof: a base that changed in a way that matters is caught by the finding of that name, and one that changed in a
//! compatible way is not.

mod support;

use otoshi_oci::{Image, RunConfig};
use otoshi_rebase::Finding;
use otoshi_rebase::proof::{Base, Swap, prove};
use otoshi_test::{Missing, Need, given, require};
use support::{File, Store, cc, library, program, script, text};

const V1: &str = "FOO_1 { global: foo; local: *; };";
const V12: &str = "FOO_1 { global: foo; }; FOO_2 { global: bar; } FOO_1;";

/// What is found when an application moves from one base to another.
fn findings(app: &[File], old: &[File], new: &[File]) -> Vec<Finding> {
    findings_with(app, old, new, &RunConfig::default())
}

fn findings_with(app: &[File], old: &[File], new: &[File], config: &RunConfig) -> Vec<Finding> {
    let store = Store::new();
    let image = |files: &[File]| store.image(&[files], |_| {});
    let facts = |image: &Image| store.facts(image.layers());
    let (app, old, new) = (facts(&image(app)), facts(&image(old)), facts(&image(new)));
    let app: Vec<_> = app.iter().collect();
    let swap = Swap {
        app: &app,
        old: &Base::new(old.iter()),
        new: &Base::new(new.iter()),
        old_config: config,
        new_config: config,
    };
    prove(swap).findings
}

fn waivers(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| finding.waiver().to_string()).collect()
}

/// A program that needs `foo` and `bar` of libfoo.so.1, and the library with both.
fn foo() -> Result<(Vec<u8>, Vec<u8>), Missing> {
    let both = library("libfoo.so.1", "int foo(void) { return 1; } int bar(void) { return 2; }", V12)?;
    let source = "int foo(void); int bar(void); void _start(void) { foo(); bar(); for (;;); }";
    let web =
        cc(source, &["-nostdlib", "-Wl,--dynamic-linker=/lib64/ld-test.so"], &[("libfoo.so.1", &both)])?;
    Ok((web, both))
}

#[test]
fn a_renamed_library_is_found_with_who_needs_it_and_what_is_there_instead() {
    let (web, lib) = given!(foo());
    let app = [program("app/bin/web", &web), program("app/bin/worker", &web)];
    let renamed = library("libfoo.so.2", "int foo(void) { return 1; }", "").unwrap();
    let found =
        findings(&app, &[program("usr/lib/libfoo.so.1", &lib)], &[program("usr/lib/libfoo.so.2", &renamed)]);
    assert_eq!(waivers(&found), ["soname-missing=libfoo.so.1"]);
    assert_eq!((found[0].file.as_str(), found[0].more), ("/app/bin/web", 1));
    assert_eq!(found[0].was.as_deref(), Some("/usr/lib/libfoo.so.1"));
    assert!(found[0].text.ends_with("which has libfoo.so.2"), "{}", found[0]);
    // Another place that is looked at is as good, also behind a link.
    let moved = [
        program("usr/lib/x86_64-linux-gnu/libfoo.so.1.9", &lib),
        File::Link("lib", "usr/lib"),
        File::Link("usr/lib/x86_64-linux-gnu/libfoo.so.1", "libfoo.so.1.9"),
    ];
    assert_eq!(waivers(&findings(&app, &[program("usr/lib/libfoo.so.1", &lib)], &moved)), [""; 0]);
}

#[test]
fn a_lost_version_and_a_lost_symbol_are_found() {
    let (web, lib) = given!(foo());
    let (app, old) = ([program("app/web", &web)], [program("lib/libfoo.so.1", &lib)]);
    let lost = library("libfoo.so.1", "int foo(void) { return 1; }", V1).unwrap();
    let found = findings(&app, &old, &[program("lib/libfoo.so.1", &lost)]);
    assert_eq!(waivers(&found), ["version-missing=FOO_2"]);
    // The version is there, and the symbol is not under it.
    let other = library(
        "libfoo.so.1",
        "int foo(void) { return 1; } int baz(void) { return 1; }",
        "FOO_1 { global: foo; }; FOO_2 { global: baz; local: *; } FOO_1;",
    );
    let found = findings(&app, &old, &[program("lib/libfoo.so.1", &other.unwrap())]);
    assert_eq!(waivers(&found), ["symbol-missing=bar@FOO_2"]);
    let more = library(
        "libfoo.so.1",
        "int foo(void) { return 1; } int bar(void) { return 2; } int baz(void) { return 3; }",
        "FOO_1 { global: foo; }; FOO_2 { global: bar; } FOO_1; FOO_3 { global: baz; } FOO_2;",
    );
    assert_eq!(waivers(&findings(&app, &old, &[program("lib/libfoo.so.1", &more.unwrap())])), [""; 0]);
}

#[test]
fn what_was_missing_before_is_no_finding() {
    let (web, _) = given!(foo());
    assert_eq!(
        waivers(&findings(&[program("app/web", &web)], &[text("etc/a", "1")], &[text("etc/a", "2")])),
        [""; 0]
    );
}

#[test]
fn a_library_of_the_applications_own_is_found_beside_it() {
    let (_, lib) = given!(foo());
    let source = "int foo(void); void _start(void) { foo(); for (;;); }";
    let web = cc(source, &["-nostdlib", "-Wl,-rpath,$ORIGIN/../lib"], &[("libfoo.so.1", &lib)]).unwrap();
    let app = [program("app/bin/web", &web), program("app/lib/libfoo.so.1", &lib)];
    assert_eq!(
        waivers(&findings(&app, &[program("usr/lib/libfoo.so.1", &lib)], &[text("etc/a", "2")])),
        [""; 0]
    );
}

/// What is lost with a file that only glibc's rules find: nothing, where it was not known that it is found.
fn lost_with(app: &[File], base: &dyn Fn() -> Vec<File>, file: File) -> Vec<String> {
    let with = |more: File| base().into_iter().chain([more]).collect::<Vec<_>>();
    waivers(&findings(app, &with(file), &with(text("etc/a", "2"))))
}

#[test]
fn libraries_are_found_by_those_that_load_them_as_glibc_does() {
    let (_, d) = given!(foo());
    let above = |name: &str, needs: (&str, &[u8]), flags: &[&str]| {
        let soname = format!("-Wl,-soname,{name}");
        let all = [&["-shared", "-nostdlib", "-Wl,--no-as-needed", &soname][..], flags].concat();
        cc("int own(void) { return 1; }", &all, &[needs]).unwrap()
    };
    let start = |needs: (&str, &[u8]), rpath: &str| {
        let rpath = format!("-Wl,--disable-new-dtags,-rpath,{rpath}");
        cc("void _start(void) { for (;;); }", &["-nostdlib", "-Wl,--no-as-needed", &rpath], &[needs]).unwrap()
    };
    // The program's RPATH is not for what libb needs, which has RUNPATH, but it is for what that needs.
    let c = above("libc1.so", ("libfoo.so.1", &d), &[]);
    let b = above("libb.so", ("libc1.so", &c), &["-Wl,--enable-new-dtags,-rpath,/opt/b"]);
    let app = [program("app/web", &start(("libb.so", &b), "/opt/exe"))];
    let base = || vec![program("opt/exe/libb.so", &b), program("opt/b/libc1.so", &c)];
    let found = lost_with(&app, &base, program("opt/exe/libfoo.so.1", &d));
    assert_eq!(found, ["soname-missing=libfoo.so.1"]);
    // $ORIGIN is where a library's name is, and not where a link leads.
    let linked = above("libb.so", ("libfoo.so.1", &d), &["-Wl,--enable-new-dtags,-rpath,$ORIGIN"]);
    let app = [program("app/web", &start(("libb.so", &linked), "/opt/link"))];
    let base =
        || vec![program("opt/real/libb.so", &linked), File::Link("opt/link/libb.so", "../real/libb.so")];
    let found = lost_with(&app, &base, program("opt/link/libfoo.so.1", &d));
    assert_eq!(found, ["soname-missing=libfoo.so.1"]);
    // $LIB is where glibc itself is.
    let app = [program("app/web", &start(("libfoo.so.1", &d), "/opt/$LIB"))];
    let base = || vec![program("usr/lib64/libc.so.6", &d), File::Link("lib64", "usr/lib64")];
    let found = lost_with(&app, &base, program("opt/lib64/libfoo.so.1", &d));
    assert_eq!(found, ["soname-missing=libfoo.so.1"]);
}

/// The cache that `ldconfig` writes where this library is in a directory that `ld.so.conf` names.
fn ldconfig(library: &[u8]) -> Result<Vec<u8>, Missing> {
    require(&[Need::Tool("ldconfig")])?;
    let root = tempfile::tempdir().unwrap();
    for directory in ["etc", "opt/foo"] {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    std::fs::write(root.path().join("etc/ld.so.conf"), "/opt/foo\n").unwrap();
    std::fs::write(root.path().join("opt/foo/libfoo.so.1"), library).unwrap();
    let made = std::process::Command::new("/sbin/ldconfig").arg("-r").arg(root.path()).status();
    assert!(made.unwrap().success());
    Ok(std::fs::read(root.path().join("etc/ld.so.cache")).unwrap())
}

#[test]
fn glibcs_cache_and_the_environment_are_looked_at_and_not_ld_so_conf() {
    let (web, lib) = given!(foo());
    let cache = given!(ldconfig(&lib));
    let app = [program("app/web", &web)];
    let old = [program("usr/lib/libfoo.so.1", &lib)];
    let elsewhere = || vec![text("etc/ld.so.conf", "/opt/foo\n"), program("opt/foo/libfoo.so.1", &lib)];
    let cached = || {
        let mut files = elsewhere();
        files.push(File::Bytes("etc/ld.so.cache", cache.clone(), 0o644));
        files
    };
    assert_eq!(waivers(&findings(&app, &old, &cached())), [""; 0]);
    assert_eq!(waivers(&findings(&app, &old, &elsewhere())), ["soname-missing=libfoo.so.1"]);
    // A base that lost the cache lost what it listed, whatever ld.so.conf says.
    assert_eq!(waivers(&findings(&app, &cached(), &elsewhere())), ["soname-missing=libfoo.so.1"]);
    let stale = [File::Bytes("etc/ld.so.cache", cache, 0o644), program("usr/lib/libfoo.so.1", &lib)];
    assert_eq!(
        waivers(&findings(&app, &old, &stale)),
        [""; 0],
        "what it lists and is not there is passed over"
    );
    let config = RunConfig { env: vec!["LD_LIBRARY_PATH=/opt/foo".into()], ..RunConfig::default() };
    assert_eq!(waivers(&findings_with(&app, &old, &elsewhere(), &config)), [""; 0]);
}

#[test]
fn musls_directories_are_those_of_the_programs_own_architecture() {
    let lib = given!(library("libfoo.so.1", "int foo(void) { return 1; }", ""));
    let libc = library("libc.musl-x86_64.so.1", "int puts(void) { return 1; }", "").unwrap();
    let source = "int foo(void); int puts(void); void _start(void) { foo(); puts(); for (;;); }";
    let web = cc(
        source,
        &["-nostdlib", "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"],
        &[("libfoo.so.1", &lib), ("libc.musl-x86_64.so.1", &libc)],
    );
    let web = web.unwrap();
    let base = |more: Vec<File>| {
        let mut files = vec![program("lib/ld-musl-x86_64.so.1", &libc), program("opt/foo/libfoo.so.1", &lib)];
        files.extend(more);
        files
    };
    let old = base(vec![text("etc/ld-musl-x86_64.path", "/lib:/opt/foo\n")]);
    let found = |new: Vec<File>| waivers(&findings(&[program("app/web", &web)], &old, &base(new)));
    assert_eq!(found(vec![text("etc/ld-musl-x86_64.path", "/opt/foo")]), [""; 0]);
    assert_eq!(found(vec![]), ["soname-missing=libfoo.so.1"]);
    let other = vec![text("etc/ld-musl-i386.path", "/opt/foo")];
    assert_eq!(found(other), ["soname-missing=libfoo.so.1"], "another architecture's");
}

#[test]
fn modules_of_servers_say_themselves_which_server_they_are_for() {
    // As nginx's and Apache's own headers lay them out.
    let nginx = |name: &str, version: u32| {
        let source = format!("unsigned long {name}[25] = {{ -1UL, -1UL, 0, 0, 0, {version} }};");
        library("m.so", &source, "")
    };
    let module = given!(nginx("ngx_http_geoip_module", 1_022_001));
    let app = [program("usr/lib/nginx/modules/ngx_http_geoip_module.so", &module)];
    let base = |version| [program("usr/sbin/nginx", &nginx("ngx_core_module", version).unwrap())];
    let found = findings(&app, &base(1_022_001), &base(1_026_003));
    assert_eq!(waivers(&found), ["runtime-changed=nginx-1.22.1"]);
    assert!(found[0].text.ends_with("is made for nginx 1.22.1, and the new base has 1.26.3"), "{}", found[0]);
    assert_eq!(waivers(&findings(&app, &base(1_022_001), &base(1_022_001))), [""; 0]);

    let apache = |name: &str, number: u32| {
        library("m.so", &format!("int {name}[28] = {{ {number}, 142 }};"), "").unwrap()
    };
    let app = [program("usr/lib/apache2/modules/mod_x.so", &apache("x_module", 20_120_211))];
    let base = |number| [program("usr/sbin/apache2", &apache("core_module", number))];
    assert_eq!(
        waivers(&findings(&app, &base(20_120_211), &base(20_300_101))),
        ["runtime-changed=apache-20120211"]
    );
    assert_eq!(waivers(&findings(&app, &base(20_120_211), &base(20_120_211))), [""; 0]);
}

#[test]
fn plug_ins_that_settings_name_are_there() {
    let old = [
        text("usr/lib/x86_64-linux-gnu/security/pam_unix.so", "x"),
        text("usr/lib/x86_64-linux-gnu/security/pam_tally.so", "x"),
        text("usr/lib/x86_64-linux-gnu/libnss_wins.so.2", "x"),
        text("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", "x"),
    ];
    let app = [
        text(
            "etc/pam.d/web",
            "# pam_gone.so\nauth required pam_unix.so\nauth [success=1] pam_tally.so deny=3\n",
        ),
        text("etc/nsswitch.conf", "passwd: files\nhosts: files wins [NOTFOUND=return] dns # mdns\n"),
        text("usr/lib/x86_64-linux-gnu/gconv/OWN.so", "x"),
    ];
    assert_eq!(waivers(&findings(&app, &old, &old)), [""; 0]);
    let new = [text("usr/lib64/security/pam_unix.so", "x"), text("usr/lib64/gconv/UTF-16.so", "x")];
    let found = findings(&app, &old, &new);
    assert_eq!(
        waivers(&found),
        [
            "plugin-missing=/usr/lib/x86_64-linux-gnu/gconv/OWN.so",
            "plugin-missing=libnss_wins.so.2",
            "plugin-missing=pam_tally.so"
        ]
    );
    assert!(found[0].text.ends_with("the new base has them in /usr/lib64/gconv"), "{}", found[0]);
}

#[test]
fn a_proof_says_what_it_looked_at_and_what_it_could_not_judge() {
    let (web, lib) = given!(foo());
    let loads = library("m.so", "void *dlopen(void); void *start(void) { return dlopen(); }", "").unwrap();
    let app = [
        program("app/web", &web),
        program("app/m.so", &loads),
        script("app/a", "#!/usr/bin/tclsh\n"),
        script("app/b", "#!/bin/sh\n"),
        script("app/c", "#!/usr/bin/env -S perl -w\n"),
        script("app/d", "#!/usr/bin/ocamlrun\n"),
        text("usr/local/share/perl/5.36.0/My.pm", ""),
    ];
    let old = [
        program("usr/lib/libfoo.so.1", &lib),
        File::Link("usr/bin/tclsh", "tclsh8.6"),
        script("usr/bin/tclsh8.6", "x"),
        script("bin/sh", "x"),
        script("usr/bin/env", "x"),
        script("usr/bin/ocamlrun", "x"),
        script("usr/bin/perl", "x"),
        script("usr/bin/perl5.36.0", "x"),
    ];
    let store = Store::new();
    let facts = |files: &[File]| store.facts(store.image(&[files], |_| {}).layers());
    let (app, old) = (facts(&app), facts(&old));
    let (app, base): (Vec<_>, _) = (app.iter().collect(), Base::new(old.iter()));
    let config = RunConfig::default();
    let examined =
        prove(Swap { app: &app, old: &base, new: &base, old_config: &config, new_config: &config }).examined;
    assert_eq!(
        examined.to_string(),
        "2 programs and libraries, 4 scripts, start command, links, accounts, plug-ins, what its layers hide or delete; \
         files made for perl 5.36, 5.36.0"
    );
    assert_eq!(
        examined.unjudged,
        [
            "/app/m.so: it can load libraries by name while it runs (dlopen)",
            "/usr/bin/ocamlrun: whether its version suits what it runs was not looked at",
            "/usr/bin/tclsh8.6: whether its version suits what it runs was not looked at",
        ]
    );
}

#[test]
fn another_c_library_is_called_by_its_name() {
    let libc = given!(library("libc.so.6", "int puts(void) { return 1; }", ""));
    let source = "int puts(void); void _start(void) { puts(); for (;;); }";
    let web = cc(source, &["-nostdlib"], &[("libc.so.6", &libc)]).unwrap();
    let musl = library("libc.musl-x86_64.so.1", "int puts(void) { return 1; }", "").unwrap();
    let found = findings(
        &[program("app/web", &web)],
        &[program("lib/libc.so.6", &libc), program("lib64/ld-linux-x86-64.so.2", &libc)],
        &[
            program("lib/ld-musl-x86_64.so.1", &musl),
            File::Link("lib/libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1"),
        ],
    );
    let names = waivers(&found);
    assert!(names.contains(&"libc-changed=glibc".to_owned()), "{names:?}");
    assert!(names.contains(&"loader-missing=/lib64/ld-linux-x86-64.so.2".to_owned()), "{names:?}");
}

#[test]
fn a_symbol_that_the_program_gives_to_its_modules_is_looked_for_in_the_base() {
    let module = given!(library("m.so", "int py_init(void); int start(void) { return py_init(); }", ""));
    let python = library("libpython.so", "int py_init(void) { return 1; }", "").unwrap();
    let older = library("libpython.so", "int py_old(void) { return 1; }", "").unwrap();
    let app = [program("app/m.so", &module)];
    let (old, new) = ([program("usr/bin/python3", &python)], [program("usr/bin/python3", &older)]);
    assert_eq!(waivers(&findings(&app, &old, &new)), ["symbol-missing=py_init"]);
    assert_eq!(waivers(&findings(&app, &old, &old)), [""; 0]);
}

#[test]
fn scripts_keep_their_interpreters() {
    let app = [
        script("app/a", "#!/bin/bash -e\n"),
        script("app/b", "#!/usr/bin/env -S A=1 ruby -w\n"),
        text("app/c", "#!/gone\n"),
    ];
    let old = [script("bin/bash", "x"), script("usr/bin/env", "x"), script("usr/local/bin/ruby", "x")];
    let found = findings(&app, &old, &[script("usr/bin/env", "x")]);
    assert_eq!(waivers(&found), ["interpreter-missing=/bin/bash", "interpreter-missing=ruby"]);
    let usrmerge = [
        File::Link("bin", "usr/bin"),
        script("usr/bin/bash", "x"),
        script("usr/bin/env", "x"),
        script("usr/bin/ruby", "x"),
    ];
    assert_eq!(waivers(&findings(&app, &old, &usrmerge)), [""; 0]);
    let config = RunConfig { env: vec!["PATH=/bin".into()], ..RunConfig::default() };
    // What PATH no longer reaches is not found either.
    let config_old = RunConfig { env: vec!["PATH=/usr/local/bin".into()], ..RunConfig::default() };
    let store = Store::new();
    let facts = |files: &[File]| store.facts(store.image(&[files], |_| {}).layers());
    let (app, old) = (facts(&app), facts(&old));
    let (app, base): (Vec<_>, _) = (app.iter().collect(), Base::new(old.iter()));
    let found =
        prove(Swap { app: &app, old: &base, new: &base, old_config: &config_old, new_config: &config });
    let found = found.findings;
    assert_eq!(waivers(&found), ["interpreter-missing=ruby"]);
}

#[test]
fn the_start_command_and_the_health_check_are_there() {
    let config = RunConfig {
        cmd: Some(vec!["web".into()]),
        healthcheck: Some(otoshi_oci::config::Healthcheck {
            test: vec!["CMD-SHELL".into(), "true".into()],
            ..Default::default()
        }),
        ..RunConfig::default()
    };
    let old = [script("usr/bin/web", "x"), script("bin/sh", "x")];
    let found = findings_with(&[text("app/x", "")], &old, &[text("etc/a", "")], &config);
    assert_eq!(waivers(&found), ["command-missing=/bin/sh", "command-missing=web"]);
    assert_eq!(waivers(&findings_with(&[text("app/x", "")], &old, &old, &config)), [""; 0]);
}

#[test]
fn links_into_the_base_lead_somewhere() {
    let app = [File::Link("opt/venv/bin/python", "/usr/bin/python3"), File::Link("app/dangling", "/nowhere")];
    let old = [File::Link("usr/bin/python3", "python3.11"), script("usr/bin/python3.11", "x")];
    let found = findings(&app, &old, &[script("usr/bin/python3.12", "x")]);
    assert_eq!(waivers(&found), ["link-broken=/opt/venv/bin/python"]);
    assert_eq!(found[0].was.as_deref(), Some("/usr/bin/python3.11"));
    let other = [File::Link("usr/bin/python3", "python3.12"), script("usr/bin/python3.12", "x")];
    assert_eq!(waivers(&findings(&app, &old, &other)), [""; 0]);
}

#[test]
fn runtimes_are_those_that_the_files_were_made_for() {
    let ruby = |api: &'static str| [text(api, ""), script("usr/bin/ruby", "x")];
    let app = [text("app/vendor/bundle/ruby/3.1.0/gems/x.rb", "")];
    let found = findings(&app, &ruby("usr/lib/ruby/3.1.0/set.rb"), &ruby("usr/lib/ruby/3.3.0/set.rb"));
    assert_eq!(waivers(&found), ["runtime-changed=ruby-3.1.0"]);
    assert!(found[0].text.ends_with("the new base has 3.3.0"), "{}", found[0]);
    assert_eq!(
        waivers(&findings(
            &app,
            &ruby("usr/lib/ruby/3.1.0/set.rb"),
            &ruby("usr/local/lib/ruby/3.1.0/set.rb")
        )),
        [""; 0]
    );

    let app = [text("opt/venv/lib/python3.11/site-packages/x.py", "")];
    let python = |os: &'static str| [text(os, "")];
    let found = findings(&app, &python("usr/lib/python3.11/os.py"), &python("usr/lib/python3.12/os.py"));
    assert_eq!(waivers(&found), ["runtime-changed=python-3.11"]);

    // Gems without native code, in the place where Debian's gem puts them; Perl's and PHP's modules.
    let gem = [text("var/lib/gems/3.1.0/gems/rack-2.2/lib/rack.rb", "")];
    let found = findings(&gem, &ruby("usr/lib/ruby/3.1.0/set.rb"), &ruby("usr/lib/ruby/3.3.0/set.rb"));
    assert_eq!(waivers(&found), ["runtime-changed=ruby-3.1.0"]);
    let app = [text("usr/local/share/perl/5.36.0/My.pm", ""), text("usr/lib/php/20220829/redis.so", "")];
    let base = |perl: &'static str, php: &'static str| [script(perl, "x"), text(php, "")];
    let bookworm = base("usr/bin/perl5.36.0", "usr/lib/php/20220829/ctype.so");
    let trixie = base("usr/bin/perl5.40.1", "usr/lib/php/20240924/ctype.so");
    let found = findings(&app, &bookworm, &trixie);
    assert_eq!(waivers(&found), ["runtime-changed=perl-5.36.0", "runtime-changed=php-20220829"]);
    assert_eq!(waivers(&findings(&app, &bookworm, &bookworm)), [""; 0]);

    let java =
        |version: &str| [text("usr/lib/jvm/default/release", &format!("JAVA_VERSION=\"{version}\"\n"))];
    let app = [text("app/app.jar", "")];
    assert_eq!(waivers(&findings(&app, &java("17.0.9"), &java("11.0.2"))), ["runtime-changed=java-17"]);
    assert_eq!(waivers(&findings(&app, &java("17.0.9"), &java("21.0.1"))), [""; 0]);

    let module = given!(library("m.node", "int x(void) { return 1; }", ""));
    // As Node 20 and later have it: the first definition is the same in every version.
    let node = |version: u32| {
        let defines = ["NODE_EMBEDDER_MODULE_VERSION".to_owned(), version.to_string()];
        let lines = defines.map(|value| format!("#define NODE_MODULE_VERSION {value}\n")).concat();
        [text("usr/include/node/node_version.h", &lines)]
    };
    let app = [program("app/m.node", &module)];
    assert_eq!(waivers(&findings(&app, &node(108), &node(115))), ["runtime-changed=node-108"]);
    let stable = library("m.node", "int napi_register_module_v1(void) { return 1; }", "").unwrap();
    assert_eq!(waivers(&findings(&[program("app/m.node", &stable)], &node(108), &node(115))), [""; 0]);
}

#[test]
fn accounts_keep_their_names_and_numbers() {
    let base = |passwd: &str| [text("etc/passwd", passwd), text("etc/group", "app:x:1000:\n")];
    let config = RunConfig { user: "app:app".into(), ..RunConfig::default() };
    let app = [File::Owned("app/data", 1000)];
    let old = base("root:x:0:0::/:\napp:x:1000:1000::/:\n");
    let with = |passwd: &str| waivers(&findings_with(&app, &old, &base(passwd), &config));
    assert_eq!(with("root:x:0:0::/:\n"), ["user-missing=app"]);
    assert_eq!(
        with("app:x:2000:1000::/:\nmail:x:1000:8::/:\n"),
        ["user-changed=app", "owner-changed=user:1000"]
    );
    assert_eq!(with("mail:x:8:8::/:\napp:x:1000:1000::/home/app:/bin/sh\n"), [""; 0]);
    let no_group = [text("etc/passwd", "app:x:1000:1000::/:\n"), text("etc/group", "")];
    assert_eq!(waivers(&findings_with(&app, &old, &no_group, &config)), ["group-changed=app"]);
}

#[test]
fn what_the_application_hides_of_the_system_is_told_when_it_changed() {
    let base = |version: &str| [text("var/lib/dpkg/status", version), text("etc/ld.so.cache", version)];
    let app = [text("var/lib/dpkg/status", "own"), text("etc/ld.so.cache", "own")];
    let found = findings(&app, &base("1"), &base("2"));
    assert_eq!(waivers(&found), ["file-shadowed=/etc/ld.so.cache", "file-shadowed=/var/lib/dpkg/status"]);
    assert_eq!(waivers(&findings(&app, &base("1"), &base("1"))), [""; 0]);
}

#[test]
fn deletions_hit_only_what_was_there() {
    let app = [File::Gone("usr/share/doc"), File::Gone("etc/motd")];
    let old = [text("usr/share/doc/a", ""), text("etc/motd", "1")];
    let found = findings(
        &app,
        &old,
        &[text("usr/share/doc/a", ""), text("usr/share/doc/new", ""), text("etc/motd", "2")],
    );
    assert_eq!(waivers(&found), ["whiteout-hides=/usr/share/doc"]);
    assert_eq!(waivers(&findings(&app, &old, &[text("usr/share/doc/a", "2")])), [""; 0]);
}

#[test]
fn a_directory_that_became_a_link_is_told() {
    let app = [File::Directory("lib"), text("lib/own", "")];
    let merged = [File::Directory("usr"), File::Directory("usr/lib"), File::Link("lib", "usr/lib")];
    let found = findings(&app, &[File::Directory("lib"), text("lib/a", "")], &merged);
    assert_eq!(waivers(&found), ["path-changed=/lib"]);
    assert_eq!(
        waivers(&findings(&app, &[File::Directory("lib")], &[File::Directory("lib"), text("lib/b", "")])),
        [""; 0]
    );
}

#[test]
fn a_damaged_program_is_told_and_never_a_panic() {
    let (web, lib) = given!(foo());
    let cut = &web[..web.len() / 2];
    let found = findings(&[program("app/web", cut)], &[program("lib/libfoo.so.1", &lib)], &[text("a", "")]);
    assert!(found.iter().any(|finding| finding.waiver().to_string() == "unreadable=/app/web"), "{found:?}");
    for place in (0..web.len()).step_by(7) {
        let mut damaged = web.clone();
        damaged[place] ^= 0xff;
        let _ = otoshi_rebase::proof::Elf::parse(&damaged);
        let _ = otoshi_rebase::proof::Elf::parse(&web[..place]);
    }
}

/// The same as the fuzz target `facts`, on what it begins with.
#[test]
fn an_application_finds_all_on_the_base_that_it_stands_on() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/facts");
    let mut layers = 0;
    for file in std::fs::read_dir(corpus).unwrap().flatten() {
        let bytes = std::fs::read(file.path()).unwrap();
        let _ = otoshi_rebase::proof::Elf::parse(&bytes);
        let Ok(layer) = otoshi_rebase::proof::of_tar(&bytes[..]) else { continue };
        layers += 1;
        let (base, empty) = (Base::new([&layer].into_iter()), Base::new([].into_iter()));
        let (config, app) = (RunConfig::default(), [&layer]);
        let swap = |old, new| Swap { app: &app, old, new, old_config: &config, new_config: &config };
        let unknown = |kind| kind == otoshi_rebase::Kind::Unreadable;
        assert!(prove(swap(&base, &base)).findings.iter().all(|finding| unknown(finding.kind)));
        let _ = prove(swap(&base, &empty));
        let _ = prove(swap(&empty, &base));
    }
    assert!(layers > 0);
}
