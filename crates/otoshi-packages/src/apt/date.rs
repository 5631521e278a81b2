//! Dates as release files have them: those of RFC 9110, with numbers that blanks or nothing stand before, and a few more zones.
//!
//! ```text
//! Sun, 06 Nov 1994  8:49:37 UTC     also GMT, Z, +0000
//! Sunday, 06-Nov-94 08:49:37 GMT
//! Sun Nov  6 08:49:37 1994
//! ```
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.7>; apt takes the zones of RFC 822 besides, if they are UTC.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Reads a date; `None` where it is none, or of another zone than UTC.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (weekday, rest) = words.split_first()?;
    let day_of_week = weekday.get(..3)?.to_ascii_lowercase();
    if !WEEKDAYS.contains(&&day_of_week[..]) {
        return None;
    }
    let (day, month, year, time, zone) = match (weekday.len(), rest) {
        (4, [day, month, year, time, zone]) if weekday.ends_with(',') => (*day, *month, *year, *time, *zone),
        (3, [month, day, time, year]) => (*day, *month, *year, *time, "UTC"),
        (5.., [date, time, zone]) if weekday.ends_with(',') => {
            let mut parts = date.split('-');
            let date = (parts.next()?, parts.next()?, parts.next()?);
            if parts.next().is_some() {
                return None;
            }
            (date.0, date.1, date.2, *time, *zone)
        }
        _ => return None,
    };
    let is_utc = matches!(zone, "GMT" | "UTC" | "Z") || zone.parse::<i32>() == Ok(0);
    let month = month.get(..3)?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let year: i16 = year.parse().ok()?;
    let year = if year < 100 { 1900 + year } else { year };
    let date = Date::new(year, i8::try_from(month).ok()?, day.parse().ok()?).ok()?;
    let mut parts = time.split(':').map(|part| part.parse::<i8>().ok());
    let time = (parts.next()??, parts.next()??, parts.next()??);
    // Seconds that are put in are those before.
    let time =
        Time::new(time.0, time.1, time.2.min(59), 0).ok().filter(|_| parts.next().is_none() && is_utc)?;
    TimeZone::UTC.to_timestamp(date.to_datetime(time)).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn all_forms_that_apt_takes_are_read() {
        for text in [
            "Fri, 27 Nov 2026 03:16:34 UTC",
            "Fri, 27 Nov 2026  3:16:34 UTC",
            "Fri, 27 Nov 2026 3:16:34 GMT",
            "fri,  27  nov  2026\t03:16:34 Z",
            "Tue, 27 November 2026 03:16:34 +0000",
            "Fri, 27 Nov 2026 03:16:34 -0000",
            "Fri Nov 27 03:16:34 2026",
            "Fri Nov 27  3:16:34 2026",
        ] {
            let read = parse(text).map(|time| time.to_string());
            assert_eq!(read.as_deref(), Some("2026-11-27T03:16:34Z"), "{text}");
        }
        let old = parse("Sunday, 06-Nov-94 08:49:37 GMT").map(|time| time.to_string());
        assert_eq!(old.as_deref(), Some("1994-11-06T08:49:37Z"));
    }

    #[test]
    fn what_is_no_date_or_of_another_zone_is_none() {
        for text in [
            "",
            "yesterday",
            "27 Nov 2026 03:16:34 UTC",
            "Fri, 27 Nov 2026 03:16:34 CET",
            "Fri, 27 Nov 2026 03:16:34 +0100",
            "Fri, 27 Nov 2026 03:16:34 UTC and more",
            "Fri, 27 Nov 2026 03:16 UTC",
            "Fri, 31 Nov 2026 03:16:34 UTC",
            "Fri, 27 Nov 2026 25:16:34 UTC",
            "Fri, 27 Növ 2026 03:16:34 UTC",
            "Frö, 27 Nov 2026 03:16:34 UTC",
            "2026-11-27T03:16:34Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
