//! Rust source as tokens, as far as names and paths need it: without comments, texts, and what only tests compile.

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name or keyword.
    Name(String),
    /// `::`.
    Path,
    /// Any other sign.
    Sign(char),
}

impl Token {
    /// The name that it is.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn is(&self, sign: char) -> bool {
        *self == Self::Sign(sign)
    }
}

/// The tokens of a file, without the items that `#[cfg(test)]` stands before; none where it stands for the whole file.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    without_tests(&lex(text))
}

fn lex(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut tokens, mut here) = (Vec::new(), 0);
    while here < chars.len() {
        let sign = chars[here];
        if sign == '/' && at(here + 1) == '/' {
            while here < chars.len() && chars[here] != '\n' {
                here += 1;
            }
        } else if sign == '/' && at(here + 1) == '*' {
            here = after_comment(&chars, here);
        } else if let Some(end) = after_raw(&chars, here) {
            here = end;
        } else if sign == '"' {
            here = after_text(&chars, here);
        } else if sign == '\'' {
            // A lifetime, or a character.
            let is_lifetime = is_of_name(at(here + 1)) && at(here + 2) != '\'';
            here = if is_lifetime { here + 1 } else { after_char(&chars, here) };
        } else if is_of_name(sign) {
            let begin = here;
            while is_of_name(at(here)) {
                here += 1;
            }
            let name: String = chars[begin..here].iter().collect();
            // Of `b"…"` and `c"…"` the letter is no name.
            if !(matches!(at(here), '"' | '\'') && matches!(name.as_str(), "b" | "c")) {
                tokens.push(Token::Name(name));
            }
        } else if sign == ':' && at(here + 1) == ':' {
            tokens.push(Token::Path);
            here += 2;
        } else {
            if !sign.is_whitespace() {
                tokens.push(Token::Sign(sign));
            }
            here += 1;
        }
    }
    tokens
}

fn is_of_name(sign: char) -> bool {
    sign == '_' || sign.is_alphanumeric()
}

fn after_comment(chars: &[char], begin: usize) -> usize {
    let (mut depth, mut here) = (0_usize, begin);
    while here < chars.len() {
        match (chars[here], chars.get(here + 1)) {
            ('/', Some('*')) => (depth, here) = (depth + 1, here + 2),
            ('*', Some('/')) => (depth, here) = (depth - 1, here + 2),
            _ => here += 1,
        }
        if depth == 0 {
            break;
        }
    }
    here
}

/// The end of a raw text that begins here.
fn after_raw(chars: &[char], begin: usize) -> Option<usize> {
    if begin > 0 && is_of_name(chars[begin - 1]) {
        return None;
    }
    let letters = chars[begin..].iter().take_while(|sign| matches!(sign, 'r' | 'b' | 'c')).count();
    if !chars[begin..begin + letters].contains(&'r') {
        return None;
    }
    let open = begin + letters;
    let hashes = chars[open..].iter().take_while(|sign| **sign == '#').count();
    if chars.get(open + hashes) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let text = open + hashes + 1;
    let length = chars[text..].windows(end.len()).position(|window| window == end)?;
    Some(text + length + end.len())
}

fn after_text(chars: &[char], begin: usize) -> usize {
    let mut here = begin + 1;
    while here < chars.len() && chars[here] != '"' {
        here += if chars[here] == '\\' { 2 } else { 1 };
    }
    here + 1
}

fn after_char(chars: &[char], begin: usize) -> usize {
    let mut here = begin + 1;
    while here < chars.len() && chars[here] != '\'' {
        here += if chars[here] == '\\' { 2 } else { 1 };
    }
    here + 1
}

fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut here) = (Vec::new(), 0);
    while here < tokens.len() {
        if tokens[here].is('#') && is_test(&tokens[here..]) {
            if tokens.get(here + 1).is_some_and(|token| token.is('!')) {
                return Vec::new();
            }
            here = after_item(tokens, here);
        } else {
            kept.push(tokens[here].clone());
            here += 1;
        }
    }
    kept
}

/// Whether an attribute is `#[cfg(test)]`.
fn is_test(tokens: &[Token]) -> bool {
    let inside = tokens.iter().skip(1).filter(|token| !token.is('!')).take(5);
    let expected = [Token::Sign('['), name("cfg"), Token::Sign('('), name("test"), Token::Sign(')')];
    inside.eq(expected.iter())
}

fn name(text: &str) -> Token {
    Token::Name(text.to_owned())
}

/// The end of the item whose attributes begin here.
fn after_item(tokens: &[Token], begin: usize) -> usize {
    let mut here = begin;
    while tokens.get(here).is_some_and(|token| token.is('#')) {
        here = after_group(tokens, here + 1);
    }
    while here < tokens.len() {
        match &tokens[here] {
            Token::Sign(';' | ',') => return here + 1,
            Token::Sign('{') => return after_group(tokens, here),
            Token::Sign('(' | '[') => here = after_group(tokens, here),
            _ => here += 1,
        }
    }
    here
}

/// The end of the group of brackets that opens here.
pub(crate) fn after_group(tokens: &[Token], begin: usize) -> usize {
    let (mut depth, mut here) = (0_usize, begin);
    while here < tokens.len() {
        match tokens[here] {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        here += 1;
        if depth == 0 {
            break;
        }
    }
    here
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> String {
        let tokens = tokens(text);
        tokens.iter().filter_map(Token::name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn texts_comments_and_tests_are_left_out() {
        assert_eq!(names("a /* b /* c */ d */ \"e \\\" f\" g // h\n i"), "a g i");
        assert_eq!(names("a r#\"b \" c\"# d br\"e\" b\"f\" 'g' '\\'' &'h i"), "a d h i");
        assert_eq!(names("a #[cfg(test)] #[b(c)] mod d { e } f #[cfg(test)] mod g; h"), "a f h");
        assert_eq!(names("#![cfg(test)] a"), "");
    }
}
