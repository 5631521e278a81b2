use proptest::prelude::*;

use super::*;

fn excludes(text: &str, path: &str) -> bool {
    Ignore::parse(text).unwrap().excludes(path, false)
}

#[test]
fn single_patterns() {
    for (pattern, path, expected) in [
        ("**", "file", true),
        ("**", "file/", true),
        ("**/", "dir/file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("dir/**", "dir", false),
        ("**/dir", "dir", true),
        ("**/dir", "dir/file", true),
        ("**/dir", "a/dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir3/file", true),
        ("**file", "file", true),
        ("**file", "dir/dir/file", true),
        ("**file", "dir/afile", true),
        ("**/file", "dir/afile", false),
        ("**/file*", "dir/dir/file.txt", true),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/file*.txt*", "dir/dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("**/**/*.txt", "file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("**/*.txt", "file.txt", true),
        ("a**/*.txt", "a/file.txt", true),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a**b", "ab", true),
        ("a**b", "a/x/b", true),
        ("a**b", "axb", false),
        ("a**", "ab/c", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a/*.txt", "a/file.txt", true),
        ("a/*.txt**", "a/file.txt", true),
        ("a/**/z", "a/z", true),
        ("a/**/z", "a/b/c/z", true),
        ("a/**/z", "a/b/zz", false),
        ("a[b-d]e", "ae", false),
        ("a[b-d]e", "ace", true),
        ("a[^b-d]e", "aze", true),
        ("a[^b-d]e", "a/e", true),
        ("**/*.py[co]", "x/y.pyc", true),
        ("**/*.py[co]", "x/y.py", false),
        (".*", ".foo", true),
        (".*", "foo", false),
        (".*", "dir/.foo", false),
        ("abc.def", "abcZdef", false),
        ("abc?def", "abcZdef", true),
        ("abc?def", "abc/def", false),
        ("a?b", "a☺b", true),
        ("a\\\\", "a\\", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("**/foo/bar", "foo/bar", true),
        ("**/foo/bar", "dir/dir2/foo/bar", true),
        ("abc/**", "abc", false),
        ("**/.foo", "bar.foo", false),
        ("a(b)c/def", "a(b)c/def", true),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true),
        ("^a*", "abc", true),
        ("^a", "^a", true),
        ("*^a", "b^a", false),
        ("node_modules", "node_modules/a/b.js", true),
        ("node_modules", "web/node_modules", false),
        (".git", ".github/x", false),
        ("/build/", "build/x", true),
        ("./tmp//x/../", "tmp", true),
        ("  a  ", "a", true),
        ("../a", "a", false),
        ("/../a", "a", true),
        ("\u{feff}a", "a", true),
        ("a\r", "a", true),
        ("", "a", false),
        (".", "a", false),
        ("/", "a", false),
        ("*", ".", false),
        (" #a", "#a", true),
        ("#a", "#a", false),
        ("\\#a", "#a", true),
        ("\\!a", "!a", true),
    ] {
        assert_eq!(excludes(pattern, path), expected, "{pattern:?} {path}");
    }
}

#[test]
fn the_last_match_decides() {
    for (text, path, expected) in [
        ("*\n!README.md", "README.md", false),
        ("*\n!README.md", "src/main.rs", true),
        ("*\n!src", "src/main.rs", false),
        ("*\n!src\nsrc/secret", "src/secret/x", true),
        ("!a\na", "a", true),
        ("docs\n!docs/README.md", "docs/README.md", false),
        ("docs/\n! /docs/README.md", "docs/README.md", false),
        ("docs/*\n!docs/README.md", "docs/README.md", false),
        ("**\n!util/docker/web", "util/docker/web/foo", false),
        ("**\n!util/docker/web\nutil/docker/web/foo", "util/docker/web/foo", true),
        ("**\n!dist/*.whl", "dist/a.whl", false),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
        ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
        ("a\n!a/b\na/b/c", "a/b/d", false),
        ("a\n!a/b\na/b/c", "a/b/c/e", true),
        // Above `foo/x` nothing is excluded, so `!foo` is not asked there, and `foo/x` itself is not `foo`.
        ("foo/x\n!foo", "foo/x", true),
        ("foo\n!foo", "foo/x", false),
    ] {
        assert_eq!(excludes(text, path), expected, "{text:?} {path}");
    }
}

#[test]
fn malformed_patterns_are_shown() {
    for (text, line, message) in [
        ("a\n[", 2, "malformed pattern \"[\""),
        ("a\\", 1, "malformed pattern \"a\\\\\""),
        ("\n\n  !", 3, "a pattern is missing after \"!\""),
        ("! ", 1, "a pattern is missing after \"!\""),
        ("!/", 1, "a pattern is missing after \"!\""),
        ("[Local-Only]/", 1, "malformed class in pattern \"[Local-Only]\""),
    ] {
        let error = Ignore::parse(text).unwrap_err();
        assert_eq!((error.line(), error.to_string().as_str()), (Some(line), message), "{text:?}");
        assert_eq!(error.file(), Some(".dockerignore"));
    }
    assert!(Ignore::parse(&"*a".repeat(100_000)).is_err());
}

#[test]
fn canonical_texts_are_equal_for_equal_rules() {
    let canonical = |text| Ignore::parse(text).unwrap().canonical();
    assert_eq!(canonical("# x\n/a/\n\n ! ./b "), "a\n!b\n");
    assert_eq!(canonical("a\n!b"), canonical("a/\n!/b\n#\n."));
    assert!(Ignore::parse("# only\n\n.\n").unwrap().is_empty());
}

#[test]
fn a_directory_is_pruned_when_nothing_beneath_it_comes_back() {
    for (text, directory, expected) in [
        ("*", "docs", true),
        ("*\n!src/app", "docs", true),
        ("*\n!src/app", "src", false),
        ("*\n!src/app", "src/other", true),
        ("*\n!src/app", "src/app", true),
        ("*\n!src/*.rs", "src", false),
        ("*\n!src/*.rs", "src/x", true),
        ("*\n!*/keep", "x", false),
        ("*\n!*/keep", "x/y", true),
        ("*\n!*.md", "x", true),
        ("a\n!**/keep", "a", false),
        ("a\n!**/*.md", "a/b/c", false),
        ("a\n!a/**/z", "a/b/c", false),
        ("a\n!b/**", "a", true),
        ("a\n!ab", "a", true),
        ("a\n!src/**", "src/x", false),
    ] {
        assert_eq!(Ignore::parse(text).unwrap().can_prune(directory), expected, "{text:?} {directory}");
    }
}

#[test]
fn many_paths_and_many_stars_end() {
    let rules = "*.log\n**/node_modules\n**/*.pyc\n.git\ntmp/**\n**/.DS_Store\ncoverage\n!tmp/keep/**\n\
        **/a/**/b.txt\nbuild/*/out\n.env*\ndoc[s]/**\n**/*~\n!README.md\ndist\n*.tmp\n**/__pycache__\nlog\n";
    let ignore = Ignore::parse(rules).unwrap();
    let paths: Vec<String> =
        (0..10_000).map(|n| format!("app/models/concerns/group{}/file_number_{n}.rb", n % 100)).collect();
    assert!(paths.iter().all(|path| !ignore.excludes(path, false)));
    // With a matcher that goes back and forth these would not end.
    let stars = Ignore::parse("*a*a*a*a*a*a*a*a*a*a*a*a*b\n**/a/**/a/**/a/**/a/**/b").unwrap();
    assert!(!stars.excludes(&"a".repeat(1_000), false));
    assert!(!stars.excludes(&"a/".repeat(100), false));
}

/// The rules as a walk from the root follows them, with a matcher that tries everything.
mod reference {
    fn fits(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => path.is_empty(),
            [b'*', b'*'] | [b'*', b'*', b'/'] => true,
            [b'*', b'*', b'/', rest @ ..] | [b'*', b'*', rest @ ..] => {
                fits(rest, path) || (1..=path.len()).any(|n| path[n - 1] == b'/' && fits(rest, &path[n..]))
            }
            [b'*', rest @ ..] => {
                let most = path.iter().position(|c| *c == b'/').unwrap_or(path.len());
                (0..=most).any(|n| fits(rest, &path[n..]))
            }
            [b'?', rest @ ..] => path.split_first().is_some_and(|(c, path)| *c != b'/' && fits(rest, path)),
            [literal, rest @ ..] => {
                path.split_first().is_some_and(|(c, path)| c == literal && fits(rest, path))
            }
        }
    }

    fn matches(pattern: &str, path: &str) -> bool {
        // `**` beside nothing but plain text compares ends and starts of texts.
        let is_plain = |text: &str| !text.contains(['*', '?']);
        if let Some(text) = pattern.strip_prefix("**").filter(|text| is_plain(text)) {
            return path.ends_with(text) || text.strip_prefix('/') == Some(path);
        }
        if let Some(text) = pattern.strip_suffix("**").filter(|text| is_plain(text)) {
            return path.starts_with(text);
        }
        fits(pattern.as_bytes(), path.as_bytes())
    }

    pub(super) fn excludes(rules: &[(bool, String)], path: &str) -> bool {
        let mut above = vec![false; rules.len()];
        let mut excluded = false;
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            excluded = false;
            for ((negated, pattern), above) in rules.iter().zip(&mut above) {
                *above |= *negated == excluded && matches(pattern, &path[..end]);
                if *above {
                    excluded = !negated;
                }
            }
        }
        excluded
    }
}

fn rules() -> impl Strategy<Value = Vec<(bool, String)>> {
    let part = prop::sample::select(vec!["a", "b", "ab", "*", "?", "a*", "*b", "**", "a**", "**b", "a?b"]);
    let pattern = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    prop::collection::vec((any::<bool>(), pattern), 1..5)
}

fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "ab", "ba", "axb", "c"]);
    prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
}

fn text_of(rules: &[(bool, String)]) -> String {
    rules.iter().map(|(negated, p)| format!("{}{p}\n", if *negated { "!" } else { "" })).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_the_reference(rules in rules(), path in path()) {
        let text = text_of(&rules);
        prop_assert_eq!(excludes(&text, &path), reference::excludes(&rules, &path), "{:?} {}", text, path);
    }

    #[test]
    fn a_walk_finds_the_same(rules in rules(), path in path()) {
        let ignore = Ignore::parse(&text_of(&rules)).unwrap();
        let mut level = Level::default();
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            level = ignore.below(&level, &path[..end]);
            prop_assert_eq!(level.is_excluded(), ignore.excludes(&path[..end], false), "{:?}", rules);
        }
    }

    #[test]
    fn nothing_beneath_a_pruned_directory_comes_back(rules in rules(), above in path(), beneath in path()) {
        let ignore = Ignore::parse(&text_of(&rules)).unwrap();
        if ignore.excludes(&above, true) && ignore.can_prune(&above) {
            prop_assert!(ignore.excludes(&format!("{above}/{beneath}"), false), "{:?}", rules);
        }
    }

    #[test]
    fn nothing_panics(text in "[a-c*?!/.\\[\\]^\\\\ \n#é-]{0,30}", path in "[a-c/é\n]{0,12}") {
        if let Ok(ignore) = Ignore::parse(&text) {
            let _ = (ignore.excludes(&path, true), ignore.can_prune(&path), ignore.canonical());
        }
    }
}
