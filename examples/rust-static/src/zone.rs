//! The time in a zone, from the time zone database of the runner (TZif files, RFC 8536).

use std::{
    convert::TryInto,
    fs,
    path::{Component, Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

const DATABASE: &str = "/usr/share/zoneinfo";
const HEADER: usize = 44;

/// Says the time in a zone such as `Asia/Tokyo`, and which release of the database it comes from.
pub fn now(zone: &str) -> Result<String, String> {
    let plain = Path::new(zone).components().all(|part| matches!(part, Component::Normal(_)));
    if zone.is_empty() || !plain {
        return Err(format!("{zone:?} is not the name of a zone"));
    }
    let data = fs::read(PathBuf::from(DATABASE).join(zone)).map_err(|error| format!("zone {zone}: {error}"))?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs() as i64;
    let offset = offset_at(&data, seconds).ok_or_else(|| format!("zone {zone}: not a TZif file of version 2"))?;
    Ok(format!("{zone}: {} ({})", clock(seconds + offset), release()))
}

/// The offset from UTC in seconds that holds at a time.
fn offset_at(data: &[u8], seconds: i64) -> Option<i64> {
    // The first block has 32-bit times; the second repeats it with 64-bit times.
    let first = Counts::read(data)?;
    let second = data.get(HEADER + first.length(4)..)?;
    let counts = Counts::read(second)?;
    let body = second.get(HEADER..)?;
    let mut kind = 0;
    for index in 0..counts.times {
        let at = i64::from_be_bytes(body.get(index * 8..index * 8 + 8)?.try_into().ok()?);
        if at > seconds {
            break;
        }
        kind = usize::from(*body.get(counts.times * 8 + index)?);
    }
    let types = counts.times * 9;
    let offset = body.get(types + kind * 6..types + kind * 6 + 4)?;
    Some(i64::from(i32::from_be_bytes(offset.try_into().ok()?)))
}

/// The counts in a header, as far as they are needed.
struct Counts {
    universal: usize,
    standard: usize,
    leaps: usize,
    times: usize,
    types: usize,
    letters: usize,
}

impl Counts {
    fn read(data: &[u8]) -> Option<Self> {
        if data.get(..4)? != b"TZif" || *data.get(4)? < b'2' {
            return None;
        }
        let count = |index: usize| {
            let at = 20 + index * 4;
            let bytes: [u8; 4] = data.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_be_bytes(bytes) as usize)
        };
        Some(Self {
            universal: count(0)?,
            standard: count(1)?,
            leaps: count(2)?,
            times: count(3)?,
            types: count(4)?,
            letters: count(5)?,
        })
    }

    /// The length of a block whose times have `width` bytes.
    fn length(&self, width: usize) -> usize {
        self.times * (width + 1)
            + self.types * 6
            + self.letters
            + self.leaps * (width + 4)
            + self.standard
            + self.universal
    }
}

fn clock(seconds: i64) -> String {
    let of_day = seconds.rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

fn release() -> String {
    let text = fs::read_to_string(Path::new(DATABASE).join("tzdata.zi")).unwrap_or_default();
    let version = text.lines().next().and_then(|line| line.strip_prefix("# version "));
    format!("tzdata {}", version.unwrap_or("of unknown release"))
}

#[cfg(test)]
mod tests {
    use super::{clock, offset_at};

    /// A TZif file with one transition, at `at`, from `before` to `after`.
    fn file(at: i64, before: i32, after: i32) -> Vec<u8> {
        let header = |times: u32, types: u32| {
            let mut bytes = b"TZif2".to_vec();
            bytes.resize(20, 0);
            for count in [0, 0, 0, times, types, 4] {
                bytes.extend_from_slice(&u32::to_be_bytes(count));
            }
            bytes
        };
        let mut bytes = header(0, 1);
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend(header(1, 2));
        bytes.extend_from_slice(&at.to_be_bytes());
        bytes.push(1);
        for offset in [before, after] {
            bytes.extend_from_slice(&offset.to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
        }
        bytes
    }

    #[test]
    fn the_last_transition_counts() {
        let data = file(1_000, 3_600, 7_200);
        assert_eq!(offset_at(&data, 999), Some(3_600));
        assert_eq!(offset_at(&data, 1_000), Some(7_200));
    }

    #[test]
    fn a_damaged_file_is_no_zone() {
        assert_eq!(offset_at(&file(0, 0, 0)[..60], 0), None);
        assert_eq!(offset_at(b"TZif", 0), None);
    }

    #[test]
    fn times_before_midnight_wrap() {
        assert_eq!(clock(-1), "23:59:59");
    }
}
