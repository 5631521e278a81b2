//! The `Link` header: where a list goes on.
//!
//! ```text
//! Link: </v2/team/shop/tags/list?last=1.0&n=100>; rel="next"
//! ```
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc8288#section-3>, <https://www.rfc-editor.org/rfc/rfc3986#section-5>

use otoshi_http::Url;
use otoshi_http::header::{HeaderMap, LINK};

/// One link: its address, and its parameters with their names in lower case.
type Link = (String, Vec<(String, String)>);

/// Finds the next page of an answer that came from `base`. The error says what is wrong with the header: a list whose rest is
/// not found is not the whole one.
///
/// The address is resolved as a reference. One that names another host is taken for the place below which the registry was
/// asked: a registry behind a proxy does not always know how it is called.
pub(crate) fn next_page(headers: &HeaderMap, base: &Url) -> Result<Option<Url>, String> {
    for value in headers.get_all(LINK) {
        let text = value.to_str().map_err(|_| "its Link header is not text".to_owned())?;
        let wrong = || format!("its Link header cannot be understood: {}", text.escape_default());
        for (address, parameters) in links(text).ok_or_else(wrong)? {
            let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value);
            let is_next = get("rel")
                .is_some_and(|rel| rel.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next")));
            // A link with an anchor is one of something else.
            if !is_next || get("anchor").is_some() {
                continue;
            }
            let mut next = base.join(&address).map_err(|_| wrong())?;
            next.set_fragment(None);
            if next.origin() != base.origin() {
                let (path, query) = (next.path().to_owned(), next.query().map(str::to_owned));
                next = base.clone();
                next.set_path(&path);
                next.set_query(query.as_deref());
            }
            return Ok(Some(next));
        }
    }
    Ok(None)
}

/// Reads all links of a header.
fn links(text: &str) -> Option<Vec<Link>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (address, after) = rest.strip_prefix('<')?.split_once('>')?;
        let (parameters, after) = parameters(after)?;
        found.push((address.trim().to_owned(), parameters));
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Some(found)
}

/// Reads `; name=value` as often as there is one; gives what follows, which begins with a comma where there is anything.
fn parameters(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut found = Vec::new();
    let mut rest = blank(text);
    while let Some(after) = rest.strip_prefix(';') {
        let after = blank(after);
        let end = after.find(|c: char| " \t=;,".contains(c)).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let mut value = String::new();
        rest = blank(after);
        if let Some(after) = rest.strip_prefix('=') {
            let after = blank(after);
            if let Some(quoted) = after.strip_prefix('"') {
                (value, rest) = quoted_string(quoted)?;
            } else {
                let end = after.find(|c: char| " \t;,".contains(c)).unwrap_or(after.len());
                after[..end].clone_into(&mut value);
                rest = &after[end..];
            }
            rest = blank(rest);
        }
        if !name.is_empty() {
            found.push((name.to_ascii_lowercase(), value));
        }
    }
    (rest.is_empty() || rest.starts_with(',')).then_some((found, rest))
}

/// Reads a string up to its closing quote; gives what follows.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (index, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Some((value, &text[index + 1..])),
            c => {
                value.push(c);
                escaped = false;
            }
        }
    }
    None
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_of(lines: &[&str]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, line.parse().unwrap());
        }
        let base = Url::parse("https://r.test:5000/v2/a/b/tags/list?n=2").unwrap();
        next_page(&headers, &base).map(|next| next.map(|url| url.to_string()))
    }

    #[test]
    fn a_link_is_a_reference_in_any_spelling() {
        let expected = "https://r.test:5000/v2/a/b/tags/list?last=x&n=2";
        for line in [
            "</v2/a/b/tags/list?last=x&n=2>; rel=\"next\"",
            "<?last=x&n=2>; rel=\"next\"",
            "<list?last=x&n=2>;rel=next",
            "<../tags/list?last=x&n=2>;rel=next",
            "<//r.test:5000/v2/a/b/tags/list?last=x&n=2>; rel=next",
            "<https://r.test:5000/v2/a/b/tags/list?last=x&n=2>; rel=next",
            "<http://inside:8080/v2/a/b/tags/list?last=x&n=2#top>; rel=next",
            "</v2/a/b/tags/list?last=x&n=2>; rel = \"next\"",
            "</v2/a/b/tags/list?last=x&n=2>\t;\tREL=\"NEXT\"",
            "</v2/a/b/tags/list?last=x&n=2>; title=\"a, \\\"b\\\"; c\"; rel=\"last Next\"",
            "</other>; rel=prev, </v2/a/b/tags/list?last=x&n=2>; rel=next",
            "</other>; rel=prev; rel=next, , </v2/a/b/tags/list?last=x&n=2>; x; rel=next",
            "</other>; rel=next; anchor=\"/x\", </v2/a/b/tags/list?last=x&n=2>; rel=next;",
        ] {
            assert_eq!(next_of(&[line]).unwrap().as_deref(), Some(expected), "{line}");
        }
        let two = ["</other>; rel=first", "<?last=x&n=2>; rel=next"];
        assert_eq!(next_of(&two).unwrap().as_deref(), Some(expected), "in whichever header");
    }

    #[test]
    fn no_link_to_a_next_page_is_the_end_and_nonsense_is_told() {
        for line in
            ["", "</x>; rel=prev", "</x>", "</x>; next", "</x>; title=\"rel=next\"", "</x>; rel=nextish"]
        {
            assert_eq!(next_of(&[line]).unwrap(), None, "{line}");
        }
        assert_eq!(next_of(&[]).unwrap(), None);
        for line in
            ["/x; rel=next", "</x; rel=next", "</x>; rel=\"next", "</x> rel=next", "<http://[>; rel=next"]
        {
            let said = next_of(&[line]).unwrap_err();
            assert!(said.starts_with("its Link header cannot be understood: "), "{line}: {said}");
        }
    }
}
