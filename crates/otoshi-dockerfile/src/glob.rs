//! Patterns with the rules of Go's `filepath.Match`, which Dockerfiles follow.
//!
//! `*` matches any run of characters but `/`, `?` one such character, `[a-z]` and `[^a-z]` a class, `\` takes the
//! next character as it is. The whole name must match.

use crate::DockerfileError;

/// Tells whether a text holds any character that is special in a pattern.
pub fn has_meta(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

/// Tells whether a name matches a pattern; fails on a malformed pattern.
pub fn matches(pattern: &str, name: &str) -> Result<bool, DockerfileError> {
    let characters: Vec<char> = pattern.chars().collect();
    check(&characters).ok_or_else(|| DockerfileError::new(format!("syntax error in pattern {pattern:?}")))?;
    Ok(run(&characters, &name.chars().collect::<Vec<_>>(), false))
}

/// As [`matches`], but `*` and `?` match `/` too, and a malformed pattern matches itself only: as a shell does with text.
pub(crate) fn matches_text(pattern: &str, text: &str) -> bool {
    let characters: Vec<char> = pattern.chars().collect();
    if check(&characters).is_none() {
        return pattern == text;
    }
    run(&characters, &text.chars().collect::<Vec<_>>(), true)
}

fn check(pattern: &[char]) -> Option<()> {
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            '\\' => after.get(1..).or_else(|| (after.len() == 1).then_some(&[]))?,
            '[' => class(after, ' ')?.1,
            _ => after,
        };
    }
    Some(())
}

/// Reads a class after its `[`: whether the character is in it, and what follows.
fn class(mut rest: &[char], character: char) -> Option<(bool, &[char])> {
    let negated = rest.first() == Some(&'^');
    rest = &rest[usize::from(negated)..];
    let mut found = false;
    let mut count = 0;
    loop {
        if rest.first() == Some(&']') && count > 0 {
            return Some((found != negated, &rest[1..]));
        }
        let (low, after) = class_character(rest)?;
        let (high, after) =
            if after.first() == Some(&'-') { class_character(&after[1..])? } else { (low, after) };
        found |= (low..=high).contains(&character);
        count += 1;
        rest = after;
    }
}

fn class_character(rest: &[char]) -> Option<(char, &[char])> {
    match rest {
        [] | ['-' | ']', ..] => None,
        ['\\', character, after @ ..] => Some((*character, after)),
        ['\\'] => None,
        [character, after @ ..] => Some((*character, after)),
    }
}

fn run(mut pattern: &[char], mut name: &[char], slash: bool) -> bool {
    // Where to go on when a `*` must take one character more.
    let mut retry: Option<(&[char], &[char])> = None;
    loop {
        let step = match pattern {
            [] if name.is_empty() => return true,
            [] => None,
            ['*', rest @ ..] => {
                retry = Some((pattern, name));
                Some((rest, name))
            }
            ['?', rest @ ..] => {
                name.split_first().filter(|(c, _)| slash || **c != '/').map(|(_, after)| (rest, after))
            }
            ['[', rest @ ..] => {
                name.split_first().filter(|(c, _)| slash || **c != '/').and_then(|(c, after)| {
                    class(rest, *c).filter(|(found, _)| *found).map(|(_, rest)| (rest, after))
                })
            }
            ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
                name.split_first().filter(|(c, _)| *c == literal).map(|(_, after)| (rest, after))
            }
        };
        if let Some((next_pattern, next_name)) = step {
            (pattern, name) = (next_pattern, next_name);
            continue;
        }
        match retry.take() {
            Some((star, [taken, after @ ..])) if slash || *taken != '/' => {
                retry = Some((star, after));
                (pattern, name) = (&star[1..], after);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_rules() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[^b-d]", "abe", true),
            ("ab[^b-d]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a/b", false),
            ("[a-ζ]*", "α", true),
            ("*x", "xxx", true),
        ] {
            assert_eq!(matches(pattern, name).unwrap(), expected, "{pattern} {name}");
        }
        for pattern in ["[", "[]a]", "[-]", "[a", "[a-"] {
            assert!(matches(pattern, "a").is_err(), "{pattern}");
        }
    }
}
