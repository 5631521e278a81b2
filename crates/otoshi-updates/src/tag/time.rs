//! Times in tags: days, days with an hour, and seconds since 1970.

/// Whether a number is a year.
pub(super) fn is_year(number: u64) -> bool {
    (1990..=2100).contains(&number)
}

/// Whether a number is a date such as 20240131.
pub(super) fn is_date(number: u64) -> bool {
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    is_year(year) && (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// Whether a number is one of seconds since 1970, of 2001 to 2099.
pub(super) fn is_seconds(number: u64) -> bool {
    (1_000_000_000..4_070_908_800).contains(&number)
}

/// Writes a day with an hour as two numbers: `2024-01-31T20-20-33Z` as `20240131_202033`.
pub(super) fn joined(text: &str) -> String {
    for (start, _) in text.match_indices(|c: char| c.is_ascii_digit()) {
        // It begins where digits do.
        if text[..start].ends_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        if let Some((day, time, length)) = at(&text[start..]) {
            return format!("{}{day}_{time}{}", &text[..start], &text[start + length..]);
        }
    }
    text.to_owned()
}

/// A day with an hour at the start of a text: both as digits, and how long it is.
fn at(text: &str) -> Option<(String, String, usize)> {
    let mut left = text;
    let mut day = digits(&mut left, 4)?;
    for _ in 0..2 {
        skip(&mut left, &['-', '.', '_']);
        day += &digits(&mut left, 2)?;
    }
    is_date(day.parse().ok()?).then_some(())?;
    left = left.strip_prefix(['T', 't'])?;
    let mut time = digits(&mut left, 2)?;
    skip(&mut left, &['-', ':', '.', '_']);
    time += &digits(&mut left, 2)?;
    let mut ahead = left;
    skip(&mut ahead, &['-', ':', '.', '_']);
    match digits(&mut ahead, 2) {
        Some(seconds) if !ahead.starts_with(|c: char| c.is_ascii_digit()) => {
            time += &seconds;
            left = ahead;
        }
        _ => time += "00",
    }
    left = left.strip_prefix(['Z', 'z']).unwrap_or(left);
    let ends = left.is_empty() || left.starts_with(|c: char| !c.is_ascii_alphanumeric());
    ends.then(|| (day, time, text.len() - left.len()))
}

/// Takes so many digits from the start of a text.
fn digits(text: &mut &str, count: usize) -> Option<String> {
    let (first, rest) = text.split_at_checked(count)?;
    first.bytes().all(|byte| byte.is_ascii_digit()).then(|| {
        *text = rest;
        first.to_owned()
    })
}

fn skip(text: &mut &str, characters: &[char]) {
    *text = text.strip_prefix(characters).unwrap_or(text);
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn days_with_an_hour_are_two_numbers() {
        for (text, expected) in [
            ("RELEASE.2024-01-31T20-20-33Z", "RELEASE.20240131_202033"),
            ("RELEASE.2024-01-31T20-20-33Z.fips", "RELEASE.20240131_202033.fips"),
            ("v20240131T202033Z-slim", "v20240131_202033-slim"),
            ("2024.01.31T2020", "20240131_202000"),
            ("nightly-2024-01-31", "nightly-2024-01-31"),
            ("2024-13-31T20-20-33Z", "2024-13-31T20-20-33Z"),
            ("20240131Tx", "20240131Tx"),
            ("1.2.3", "1.2.3"),
        ] {
            assert_eq!(joined(text), expected, "{text}");
        }
    }
}
