//! Patterns of names, as apt's, rpm's and dnf's settings have them: `*`, `?`, sets in brackets, and `\\` before what stands for itself,
//! as `fnmatch(3)` reads them without flags.

/// Says whether a whole text is of a pattern's form. Takes time in proportion to both lengths multiplied.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, place));
            at += 1;
        } else if let Some(next) = one(&pattern, at, text[place]) {
            (at, place) = (next, place + 1);
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (at, place) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

/// Where a pattern goes on after one character of the text, if that fits.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' if at + 1 < pattern.len() => (pattern[at + 1] == character).then_some(at + 2),
        '[' => {
            let inside = &pattern[at + 1..];
            let negated = matches!(inside.first(), Some('!' | '^'));
            let set = &inside[usize::from(negated)..];
            // A bracket right at the start stands for itself.
            let Some(end) = set.iter().skip(1).position(|c| *c == ']').map(|end| end + 1) else {
                return (character == '[').then_some(at + 1);
            };
            let mut found = false;
            let mut rest = &set[..end];
            while let Some((first, more)) = rest.split_first() {
                if let ['-', last, after @ ..] = more {
                    found |= (first..=last).contains(&&character);
                    rest = after;
                } else {
                    found |= *first == character;
                    rest = more;
                }
            }
            (found != negated).then_some(at + 1 + usize::from(negated) + end + 1)
        }
        own => (*own == character).then_some(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, text) in [
            ("kernel*", "kernel-core"),
            ("*", ""),
            ("*-devel", "a-devel-devel"),
            ("php7[4-6]*", "php75-cli"),
            ("a[!0-9]c", "abc"),
            ("lib?", "libc"),
            ("[]]", "]"),
            ("a[b", "a[b"),
            (r"a\*", "a*"),
            ("ü*", "über"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("kernel", "kernel-core"), ("?", ""), ("a[!b]c", "abc"), ("*a", "b"), ("", "a"), (r"a\*", "ab")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
