//! Conditional requests: a file that has not changed is not sent again.
//!
//! ```text
//! known: ETag "a", Last-Modified T ─▶ If-None-Match: "a", If-Modified-Since: T ─▶ 304, or the file and what to know of it
//! ```
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9110#name-conditional-requests>

use reqwest::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};

/// What a server tells one state of a file from another by.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Reads those of an answer; what is not text is left out.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }

    /// The headers of a request that is to be answered only where something else is there now; none where nothing is known.
    pub(crate) fn conditions(&self) -> HeaderMap {
        let all = [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.last_modified)];
        let value = |value: &Option<String>| HeaderValue::from_str(value.as_deref()?).ok();
        all.into_iter().filter_map(|(name, text)| Some((name, value(text)?))).collect()
    }

    /// When the file was changed, in seconds since 1970, as far as `Last-Modified` says it.
    pub fn modified(&self) -> Option<u64> {
        let time = jiff::fmt::rfc2822::parse(self.last_modified.as_deref()?).ok()?;
        u64::try_from(time.timestamp().as_second()).ok()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_is_asked_about_the_next_time() {
        let mut answer = HeaderMap::new();
        assert!(Validators::of(&answer).is_empty() && Validators::of(&answer).conditions().is_empty());
        answer.insert(ETAG, "W/\"a\"".parse().unwrap());
        answer.insert(LAST_MODIFIED, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        let conditions = Validators::of(&answer).conditions();
        assert_eq!(conditions.len(), 2);
        assert_eq!(conditions[IF_NONE_MATCH], "W/\"a\"");
        assert_eq!(conditions[IF_MODIFIED_SINCE], "Wed, 21 Oct 2015 07:28:00 GMT");
    }

    #[test]
    fn the_time_of_a_change_is_read() {
        let modified = |text: &str| Validators { etag: None, last_modified: Some(text.into()) }.modified();
        assert_eq!(modified("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480));
        assert_eq!(modified("Wed, 21 Oct 1915 07:28:00 GMT"), None);
        assert_eq!(modified("yesterday"), None);
    }

    #[test]
    fn what_is_no_header_is_left_out() {
        let known = Validators { etag: Some("\"a\"\r\nX: y".into()), last_modified: Some("\u{7f}".into()) };
        assert!(known.conditions().is_empty());
    }
}
