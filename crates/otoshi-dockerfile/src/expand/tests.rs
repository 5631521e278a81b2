use proptest::prelude::*;

use super::*;

fn look(name: &str) -> Option<String> {
    let value = match name {
        "HOME" => "/root",
        "EMPTY" => "",
        "VALUE" => "value",
        "PATHS" => "a/b/c.tar.gz",
        "STARS" => "a***yy*",
        "LIST" => " 80  81 ",
        "PART" => "b/",
        "ANY" => "*",
        "한국어" => "korean",
        _ => return None,
    };
    Some(value.to_owned())
}

fn expanded(text: &str) -> Result<String, String> {
    word(text, '\\', &look).map_err(|error| error.to_string())
}

fn assert_expanded(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(expanded(text).as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn words_lose_their_quotes() {
    assert_expanded(&[
        ("hello", "hello"),
        ("", ""),
        ("a b", "a b"),
        ("he'll'o", "hello"),
        ("he\\'llo", "he'llo"),
        ("abc\\tdef", "abctdef"),
        ("\"abc\\tdef\"", "abc\\tdef"),
        ("\"abc\\\\tdef\"", "abc\\tdef"),
        ("'abc\\tdef'", "abc\\tdef"),
        ("hello\\", "hello"),
        ("hello\\\\", "hello\\"),
        ("\"hel'lo\"", "hel'lo"),
        ("'hello\\'", "hello\\"),
        ("\"''\"", "''"),
        ("'\"a\"'", "\"a\""),
        ("안'녕'하", "안녕하"),
        ("a<b", "a<b"),
        ("<< a", "<< a"),
    ]);
    for text in ["he'llo", "he\\\\'llo", "\"hello", "\"hello\\\"", "'hello", "안'녕"] {
        assert!(expanded(text).is_err(), "{text}");
    }
}

#[test]
fn variables_are_replaced() {
    assert_expanded(&[
        ("$.", "$."),
        ("$", "$"),
        ("he$1x", "hex"),
        ("$999aaa", "aaa"),
        ("${999}aaa", "aaa"),
        ("${1:-b}", "b"),
        ("$@@@", "@@"),
        ("$$HOME", "HOME"),
        ("${#}", ""),
        ("${-:-x}", "x"),
        ("${-}", ""),
        ("he$HOME", "he/root"),
        ("he${HOME}xx", "he/rootxx"),
        ("he\\$HOME", "he$HOME"),
        ("he\\\\$HOME", "he\\/root"),
        ("\"he\\$HOME\"", "he$HOME"),
        ("\"he\\\\$HOME\"", "he\\/root"),
        ("'$HOME'", "$HOME"),
        ("\"he'$HOME'\"", "he'/root'"),
        ("\\${}aaa", "${}aaa"),
        ("$NONE.", "."),
        ("$HOMEx", ""),
        ("$한국어", "korean"),
        ("${aaa}}", "}"),
        ("${aaa:-bbb {x}", "bbb {x"),
    ]);
}

#[test]
fn alternatives() {
    assert_expanded(&[
        ("${NONE:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NONE-d}", "d"),
        ("${VALUE:-d}", "value"),
        ("${VALUE:-}", "value"),
        ("${NONE:-}", ""),
        ("${VALUE:+s}", "s"),
        ("${EMPTY:+s}", ""),
        ("${EMPTY+s}", "s"),
        ("${NONE+s}", ""),
        ("${VALUE?m}", "value"),
        ("${EMPTY?m}", ""),
        ("${NONE:-$HOME}", "/root"),
        ("${NONE:-${HOME:-y}}", "/root"),
        ("${NONE:-${NADA:-y}}", "y"),
        ("${HOME:+${HOME}:}xx", "/root:xx"),
        ("${NONE:-\\$HOME:}xx", "$HOME:xx"),
        ("${NONE:-\\${HOME}z}xx", "${HOMEz}xx"),
        ("${NONE:-'a}b'}", "a}b"),
        ("${NONE:-\"$HOME b\"}", "/root b"),
        ("${+x}", ""),
    ]);
}

#[test]
fn patterns_cut_and_replace() {
    assert_expanded(&[
        ("${PATHS#*/}", "b/c.tar.gz"),
        ("${PATHS##*/}", "c.tar.gz"),
        ("${PATHS%.*}", "a/b/c.tar"),
        ("${PATHS%%.*}", "a/b/c"),
        ("${PATHS#}", "a/b/c.tar.gz"),
        ("${PATHS##}", "a/b/c.tar.gz"),
        ("${PATHS#a/$PART}", "c.tar.gz"),
        ("${PATHS%%$ANY}", ""),
        ("${STARS%%\\**\\*}", "a"),
        ("${STARS#a\\*}", "**yy*"),
        ("${NONE#x}", ""),
        ("${PATHS/b/X}", "a/X/c.tar.gz"),
        ("${PATHS//a/X}", "X/b/c.tXr.gz"),
        ("${PATHS/\\//-}", "a-b/c.tar.gz"),
        ("${PATHS//\\//-}", "a-b-c.tar.gz"),
        ("${PATHS//\\//\\/}", "a\\/b\\/c.tar.gz"),
        ("${PATHS/$PART/}", "a/c.tar.gz"),
        ("${PATHS///}", "a/b/c.tar.gz"),
        ("${PATHS/NADA/$HOME}", "a/b/c.tar.gz"),
        ("${PATHS/a*c/$HOME}", "/root.tar.gz"),
        ("${NONE/a/b}", ""),
    ]);
}

#[test]
fn mistakes_say_what_is_wrong() {
    for (text, message) in [
        ("${", "a } is missing"),
        ("${}", "bad substitution: ${ needs a name"),
        ("${:-b}", "bad substitution: ${ needs a name"),
        ("${{a}", "bad substitution: ${ needs a name"),
        ("${V", "a } is missing after ${V"),
        ("${V:-a", "a } is missing"),
        ("${V:-b ${c}", "a } is missing"),
        ("${V/a}", "a / is missing"),
        ("${V//a}", "a / is missing"),
        ("${V/a/b", "a } is missing"),
        ("${.}", "bad substitution: ${. is not a form that Dockerfiles support"),
        ("${V=a}", "bad substitution: ${V= is not a form that Dockerfiles support"),
        ("${V:=a}", "bad substitution: ${V:= is not a form that Dockerfiles support"),
        ("${V:#a}", "bad substitution: ${V:# is not a form that Dockerfiles support"),
        ("${V!a}", "bad substitution: ${V! is not a form that Dockerfiles support"),
        ("${NONE?}", "NONE must not be unset"),
        ("${EMPTY:?}", "EMPTY must not be empty"),
        ("${NONE:?give $HOME}", "NONE: give /root"),
        ("${VALUE:-${NONE?}}", "NONE must not be unset"),
        ("${VALUE#\\a}", "the pattern \"\\\\a\" escapes 'a'"),
        ("'a", "a single quote is not closed"),
        ("\"a", "a double quote is not closed"),
    ] {
        assert_eq!(expanded(text), Err(format!("{message} in {text:?}")), "{text}");
    }
}

#[test]
fn the_escape_character_is_the_files() {
    assert_eq!(word("a`$HOME \\$HOME `\" C:\\a", '`', &look).unwrap(), "a$HOME \\/root \" C:\\a");
}

#[test]
fn splitting_happens_after_expansion() {
    for (text, expected) in [
        ("$LIST", vec!["80", "81"]),
        ("x${LIST}y", vec!["x", "80", "81", "y"]),
        ("x\"$LIST\"y", vec!["x 80  81 y"]),
        ("a b", vec!["a", "b"]),
        (" a  ", vec!["a"]),
        ("a\\ b", vec!["a b"]),
        ("\"a b\" c", vec!["a b", "c"]),
        ("$EMPTY", vec![]),
        ("\"\"", vec![]),
        ("80${NONE:-81}", vec!["8081"]),
        ("", vec![]),
    ] {
        assert_eq!(split(text, '\\', &look).unwrap(), expected, "{text}");
    }
}

#[test]
fn heredocs_keep_their_quotes_and_lose_their_escapes() {
    for (text, expected) in [
        ("\"$VALUE\" '$VALUE'\n", "\"value\" 'value'\n"),
        ("it's ${NONE:-x}\n", "it's x\n"),
        ("\\\n", "\n"),
        ("\\\\\n", "\\\n"),
        ("\\$VALUE\n", "$VALUE\n"),
        ("a\\nb", "anb"),
    ] {
        assert_eq!(heredoc(text, &look).unwrap(), expected, "{text}");
    }
    assert!(heredoc("${", &look).is_err());
}

#[test]
fn what_is_not_set_can_stay() {
    let mode = Mode { raw_quotes: true, keep_unset: true, ..Mode::default() };
    for text in ["$A", "${A}", "${A:-b}", "${A#b}", "${A/b/c}", "'$A' \"$A\"", "${A:?}"] {
        assert_eq!(Lexer::new(text, '\\', &look, mode).word().unwrap(), text);
    }
    assert_eq!(Lexer::new("\"$VALUE\"", '\\', &look, mode).word().unwrap(), "\"value\"");
}

#[test]
fn bombs_are_refused() {
    let deep = format!("{}x{}", "${A:-".repeat(100_000), "}".repeat(100_000));
    assert!(expanded(&deep).unwrap_err().starts_with("words are nested too deeply"));
    let long = "x".repeat(1 << 20);
    let lookup = |_: &str| Some(long.clone());
    assert!(word(&"$A".repeat(100), '\\', &lookup).is_err());
    assert!(word(&format!("\"{}\"", "$A".repeat(100)), '\\', &lookup).is_err());
}

/// Whether all of a value matches, by trying everything.
fn fits(pattern: &[u8], value: &[u8]) -> bool {
    match pattern.split_first() {
        None => value.is_empty(),
        Some((b'*', rest)) => (0..=value.len()).any(|skip| fits(rest, &value[skip..])),
        Some((b'?', rest)) => value.split_first().is_some_and(|(_, value)| fits(rest, value)),
        Some((c, rest)) => value.split_first().is_some_and(|(v, value)| v == c && fits(rest, value)),
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in "[$ {}:\\-+?#%/\"'\\\\a-cV<*\n]{0,40}", value in "[ab/*\\\\\n]{0,8}") {
        let lookup = |name: &str| (name != "c").then(|| value.clone());
        let _ = word(&text, '\\', &lookup);
        let _ = split(&text, '`', &lookup);
        let _ = heredoc(&text, &lookup);
    }

    #[test]
    fn any_text_in_single_quotes_is_itself(text in "[^']{0,40}") {
        prop_assert_eq!(expanded(&format!("'{text}'")), Ok(text));
    }

    #[test]
    fn cuts_are_the_shortest_and_the_longest(pattern in "[ab*?]{0,6}", value in "[abc]{0,8}") {
        let parsed = Pattern::parse(&pattern).unwrap();
        let cuts = || 0..=value.len();
        let starts: Vec<usize> =
            cuts().filter(|&cut| fits(pattern.as_bytes(), &value.as_bytes()[..cut])).collect();
        let kept = |cut: Option<&usize>| value[cut.copied().unwrap_or(0)..].to_owned();
        prop_assert_eq!(parsed.trim_start(&value, false), kept(starts.first()));
        prop_assert_eq!(parsed.trim_start(&value, true), kept(starts.last()));
        let ends: Vec<usize> =
            cuts().filter(|&cut| fits(pattern.as_bytes(), &value.as_bytes()[cut..])).collect();
        let kept = |cut: Option<&usize>| value[..cut.copied().unwrap_or(value.len())].to_owned();
        prop_assert_eq!(parsed.trim_end(&value, false), kept(ends.last()));
        prop_assert_eq!(parsed.trim_end(&value, true), kept(ends.first()));
    }
}
