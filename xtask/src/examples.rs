//! The three examples: each goes through all four phases on a base made of Debian's packages, runs, and answers.
//!
//! `cargo xtask test` makes the bases and says where the program is.

use otoshi_test::{Missing, given};

use crate::{
    bases,
    http::Web,
    process,
    project::{Project, platform},
    root,
};

/// An example on the old base, built.
fn built(name: &str) -> Result<Project, Missing> {
    let (otoshi, base) = (otoshi_test::program()?, otoshi_test::base("debian-old")?);
    let project = Project::of_example(&otoshi, name).unwrap();
    project.import(&base, bases::BASE).unwrap();
    process::read(&mut project.otoshi(&["build"])).unwrap();
    Ok(project)
}

fn page(project: &Project, path: &str) -> String {
    let mut web = Web::start(project, "web").unwrap();
    let page = web.get(path).unwrap();
    web.stop().unwrap();
    page
}

/// The version that a line of the page's [`platform`] gives.
fn version<'a>(page: &'a str, name: &str) -> &'a str {
    let lines = platform(page).unwrap();
    let line = lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("the page names no version of {name}:\n{lines}")).trim()
}

/// The words that say what each phase of a build did.
fn build(project: &Project, arguments: &[&str]) -> Vec<String> {
    let report = process::read(&mut project.otoshi(&[&["build"], arguments].concat())).unwrap();
    let rows = report.lines().filter(|line| line.starts_with(['1', '2', '3', '4']));
    rows.filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
}

#[test]
fn ruby_with_a_vite_front_end() {
    let shop = given!(built("ruby-vite"));
    let before = page(&shop, "/");
    assert!(version(&before, "ruby").starts_with("ruby 3.3"));
    assert!(page(&shop, "/api/search?q=daruna").contains("daruma"));
    assert!(process::read(&mut shop.otoshi(&["run", "cli"])).unwrap().contains("daruma"));
    assert!(!shop.path().join("public").exists(), "the working tree is never written");

    assert_eq!(build(&shop, &[]), ["kept", "kept", "kept", "kept"]);
    shop.replace("app/catalog.rb", "daruma", "dharma doll").unwrap();
    assert_eq!(build(&shop, &[]), ["kept", "ran", "kept", "ran"]);

    shop.import(&root().join("target/bases/debian-patched.tar"), bases::BASE).unwrap();
    assert_eq!(build(&shop, &[]), ["kept", "kept", "kept", "kept"], "a build never moves the lock");
    assert_eq!(build(&shop, &["--refresh"]), ["kept", "kept", "ran", "ran"]);
    let after = page(&shop, "/");
    assert!(page(&shop, "/api/search?q=dharma").contains("dharma doll"));
    assert_eq!(version(&after, "ruby").split(' ').next(), Some("ruby"));
}

#[test]
fn python_with_a_native_extension() {
    let book = given!(built("python-native"));
    let text = page(&book, "/");
    assert!(platform(&text).unwrap().contains("libpq"), "{text}");
    process::read(&mut book.otoshi(&["run", "worker"])).unwrap();
    let compilers = "command -v gcc || command -v node || true";
    let found = process::read(&mut book.otoshi(&["run", "web", "--", "/bin/sh", "-c", compilers])).unwrap();
    assert_eq!(found, "", "the runner has no compiler and no Node");
    assert_eq!(build(&book, &[]), ["kept", "kept", "kept", "kept"]);
}

#[test]
fn rust_on_a_runner_without_a_shell() {
    let clock = given!(built("rust-static"));
    platform(&page(&clock, "/")).unwrap();
    process::read(&mut clock.otoshi(&["run", "cli"])).unwrap();
    let shell = clock.otoshi(&["run", "clock/runner", "--", "/bin/sh", "-c", "true"]).output().unwrap();
    assert_eq!(shell.status.code(), Some(127), "there is no shell");
    assert_eq!(build(&clock, &[]), ["kept", "kept", "kept", "kept"]);
}
