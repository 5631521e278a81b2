//! Numbers, sizes and digests as people read them.

/// A number of things: `1 record`, `2 records`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// A size in bytes: `1.5 kB`, `20.0 MB`.
pub(crate) fn megabytes(bytes: u64) -> String {
    if bytes < 100_000 {
        format!("{:.1} kB", bytes as f64 / 1e3)
    } else {
        format!("{:.1} MB", bytes as f64 / 1e6)
    }
}

/// The beginning of a digest.
pub(crate) fn short(digest: &str) -> &str {
    &digest[..19.min(digest.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_others_are_many() {
        let said = [0, 1, 2, 11].map(|count| counted(count, "record"));
        assert_eq!(said, ["0 records", "1 record", "2 records", "11 records"]);
    }
}
