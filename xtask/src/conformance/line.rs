//! Lines of what builders print.

/// A line without its middle, where it is very long: what a builder printed ends with the reason.
pub(super) fn shortened(line: &str) -> String {
    let count = line.chars().count();
    if count <= 800 {
        return line.to_owned();
    }
    let start: String = line.chars().take(200).collect();
    let end: String = line.chars().skip(count - 500).collect();
    format!("{start} … {end}")
}
