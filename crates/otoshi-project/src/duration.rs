//! Time spans as people write them.

use std::time::Duration;

use crate::ProjectError;

/// A time span as people write it, such as `30s` or `30 days`.
pub(crate) fn duration(place: &str, text: &str) -> Result<Duration, ProjectError> {
    let wrong = || {
        ProjectError::new("otoshi.toml", format!("{place}: {text:?} is not a time span"))
            .with_hint("a number and a unit, as in \"90s\", \"12h\" or \"30 days\"")
    };
    let start = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (text[..start].parse::<u64>().map_err(|_| wrong())?, text[start..].trim());
    let seconds = match unit {
        "s" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}
