//! `SOURCE_DATE_EPOCH`: the time that everything written gets, in seconds since 1970.
//!
//! Spec: <https://reproducible-builds.org/specs/source-date-epoch/>. Configs say times as RFC 3339 does, whose years have four digits.

use otoshi_explain::{Explain, Kind, Remedy};

/// The name of the variable and of the build argument.
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// The last second that can be written: 9999-12-30T22:00:00Z, with which every time zone still has four digits.
const LAST: i64 = 253_402_207_200;

/// Says why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{SOURCE_DATE_EPOCH} is {text:?}, which is not a number of seconds from 0 to {LAST}")]
pub struct SourceDateError {
    text: String,
}

/// Reads the time; as with BuildKit an empty text says none.
///
/// Fails where it is not a number of seconds between 1970 and the end of the year 9999.
pub fn source_date(text: &str) -> Result<Option<i64>, SourceDateError> {
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = text.parse().ok().filter(|seconds| (0..=LAST).contains(seconds));
    seconds.map(Some).ok_or_else(|| SourceDateError { text: text.chars().take(80).collect() })
}

impl Explain for SourceDateError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn remedy(&self) -> Option<Remedy> {
        Some("seconds since 1970, as in $(git log -1 --format=%ct)".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_of_seconds_that_can_be_written() {
        assert_eq!(source_date(""), Ok(None));
        for seconds in [0, 1, 1_700_000_000, LAST] {
            assert_eq!(source_date(&seconds.to_string()), Ok(Some(seconds)));
        }
        for wrong in ["-1", "253402207201", "99999999999999999999", "now", "1.5", " 1", "1e9", "2024-01-01"] {
            let error = source_date(wrong).unwrap_err().to_string();
            let expected = "which is not a number of seconds from 0 to 253402207200";
            assert_eq!(error, format!("SOURCE_DATE_EPOCH is {wrong:?}, {expected}"));
        }
    }
}
