//! What a registry wants to see: the `WWW-Authenticate` header.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9110#name-www-authenticate>,
//! <https://distribution.github.io/distribution/spec/auth/token/>

/// A way of authentication that a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from another server.
    Bearer {
        /// The address of that server.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
        /// What it asks for.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads all headers of an answer; gives the strongest challenge that is known.
    pub(crate) fn strongest<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let (tokens, others): (Vec<_>, Vec<_>) =
            headers.filter_map(Self::parse).partition(|challenge| matches!(challenge, Self::Bearer { .. }));
        tokens.into_iter().chain(others).next()
    }

    /// Reads a header; the strongest of several challenges that are known.
    fn parse(header: &str) -> Option<Self> {
        let mut found = None;
        let mut rest = header.trim();
        while !rest.is_empty() {
            let end = rest.find([' ', ',']).unwrap_or(rest.len());
            let scheme = &rest[..end];
            let (parameters, after) = parameters(&rest[end..]);
            rest = after;
            let get = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = get("realm")
            {
                return Some(Self::Bearer { realm, service: get("service"), scope: get("scope") });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Self::Basic);
            }
        }
        found
    }
}

/// Reads `name=value` pairs with commas between them; gives what follows them.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        let name_end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).unwrap_or(rest.len());
        let (name, after) = rest.split_at(name_end);
        // Blanks around the sign are bad, and are to be read (RFC 9110, section 11.2).
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=').filter(|_| !name.is_empty());
        let Some(value) = value.map(|value| value.trim_start_matches([' ', '\t'])) else {
            return (found, rest);
        };
        if let Some(quoted) = value.strip_prefix('"') {
            let (mut text, mut escaped, mut end) = (String::new(), false, quoted.len());
            for (index, c) in quoted.char_indices() {
                match c {
                    '\\' if !escaped => escaped = true,
                    '"' if !escaped => {
                        end = index + 1;
                        break;
                    }
                    c => {
                        text.push(c);
                        escaped = false;
                    }
                }
            }
            found.push((name.to_owned(), text));
            rest = &quoted[end..];
        } else {
            let end = value.find([',', ' ']).unwrap_or(value.len());
            found.push((name.to_owned(), value[..end].to_owned()));
            rest = &value[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let header =
            r#"Bearer realm="https://auth.test/token",service="r.test",scope="repository:a/b:pull,push""#;
        assert_eq!(
            Challenge::parse(header),
            Some(Challenge::Bearer {
                realm: "https://auth.test/token".into(),
                service: Some("r.test".into()),
                scope: Some("repository:a/b:pull,push".into())
            })
        );
        assert_eq!(Challenge::parse("basic Realm=\"x, \\\"y\\\"\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse(&header.replace('=', " =\t")), Challenge::parse(header));
        let both = "Basic realm=\"x\", Bearer realm=https://a.test";
        assert!(matches!(Challenge::parse(both), Some(Challenge::Bearer { .. })));
    }

    #[test]
    fn a_token_is_stronger_than_a_password_in_whatever_header() {
        let headers = ["Negotiate", "Basic realm=x", "Bearer realm=\"https://a.test\""];
        assert!(matches!(Challenge::strongest(headers.into_iter()), Some(Challenge::Bearer { .. })));
        assert_eq!(Challenge::strongest(headers.into_iter().take(2)), Some(Challenge::Basic));
        assert_eq!(Challenge::strongest(headers.into_iter().take(1)), None);
    }

    #[test]
    fn nonsense_is_none_and_ends() {
        for header in [
            "",
            ",",
            "Negotiate",
            "Bearer",
            "Bearer realm",
            "=",
            "Bearer =\"",
            "\"\"\"",
            "Bearer service=\"x",
            "é=ü",
        ] {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
    }
}
