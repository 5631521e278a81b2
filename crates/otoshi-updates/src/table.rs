//! The table of ends of life that is used: the one in the program, or a newer one from an address.
//!
//! ```text
//! https://example.org/cycles.toml ─▶ bounded, read, checked ─▶ kept in the store with its ETag ─▶ used where it is the newest
//!                                     └ no good: why not ─▶ the newest of the one that was kept and the one in the program
//! ```
//!
//! The form is that of `cycles.toml` beside this file. A table from outside is not trusted: it cannot be large, has plain names
//! only, is never from the future, and never takes the place of a newer one. A check goes on without it.

use jiff::{ToSpan, civil::Date};
use otoshi_http::{SafeUrl, Validators};
use otoshi_oci::Digest;
use otoshi_packages::{Answer, Fetch, Request};
use otoshi_store::{Home, Kind, Record};
use serde::{Deserialize, Serialize};

use crate::{Cycles, cycle::numbers};

/// The most bytes of a table.
const LIMIT: u64 = 1 << 20;
/// The most products and releases of a table.
const MOST: usize = 20_000;

/// The table that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) cycles: Cycles,
    /// Where it is from; none for the one in the program.
    pub(crate) source: Option<String>,
    /// Why there is no newer one, where one was asked for.
    pub(crate) failed: Option<String>,
}

/// A table as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    validators: Validators,
    text: String,
}

impl Record for Kept {
    const KIND: Kind = Kind::Cycles;
}

impl Table {
    /// The one in the program.
    pub(crate) fn built_in() -> Self {
        Self { cycles: Cycles::built_in(), source: None, failed: None }
    }

    /// Asks an address, once and with what was kept of it; what fails is told in the table.
    pub(crate) fn of(address: &str, home: &Home, fetcher: Result<&dyn Fetch, String>, today: Date) -> Self {
        let mut best = Self::built_in();
        let (records, key) = (home.records(), Digest::sha256_of(address.as_bytes()));
        let kept: Option<Kept> = records.get(key.hex());
        let readable = kept.and_then(|kept| Some((read(&kept.text, today).ok()?, kept.validators)));
        let mut known = Validators::default();
        if let Some((cycles, validators)) = readable {
            known = validators;
            best.take(cycles, address);
        }
        let request = Request { url: address.into(), known, limit: LIMIT };
        match fetcher.and_then(|fetcher| ask(&request, fetcher)) {
            Ok(None) => records.touch::<Kept>(key.hex()),
            Ok(Some((validators, text))) => match read(&text, today) {
                Ok(cycles) if cycles.date < best.cycles.date => {
                    best.failed = Some(format!(
                        "it is dated {}, and one dated {} is known",
                        cycles.date, best.cycles.date
                    ));
                }
                Ok(cycles) => {
                    best.take(cycles, address);
                    if let Err(error) = records.put(key.hex(), &Kept { validators, text }) {
                        tracing::debug!(%error, "the table of ends of life was not kept");
                    }
                }
                Err(reason) => best.failed = Some(reason),
            },
            Err(reason) => best.failed = Some(reason),
        }
        // It may hold something of what came.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        best.failed = best.failed.map(|reason| reason.chars().map(plain).take(200).collect());
        best
    }

    fn take(&mut self, cycles: Cycles, address: &str) {
        if cycles.date >= self.cycles.date {
            (self.cycles, self.source) = (cycles, Some(SafeUrl::new(address).to_string()));
        }
    }
}

/// What an address has; `None` where that is what is known.
fn ask(request: &Request, fetcher: &dyn Fetch) -> Result<Option<(Validators, String)>, String> {
    let mut bytes = Vec::new();
    match fetcher.get(request, &mut bytes).map_err(|error| error.to_string())? {
        Answer::NotModified => Ok(None),
        Answer::Missing => Err("there is no such file".to_owned()),
        Answer::Sent(_) if bytes.len() as u64 > LIMIT => {
            Err(format!("it is larger than {} MiB", LIMIT >> 20))
        }
        Answer::Sent(validators) => {
            let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
            Ok(Some((validators, text)))
        }
    }
}

/// Reads a table from outside; the error is a sentence.
fn read(text: &str, today: Date) -> Result<Cycles, String> {
    let cycles = Cycles::parse(text).map_err(|error| error.to_string())?;
    // Clocks and time zones differ by a day.
    if cycles.date > today.saturating_add(1.day()) {
        return Err(format!("it is dated {}, which is in the future", cycles.date));
    }
    let word = |text: &str, more: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        (1..=100).contains(&text.len()) && text.chars().all(plain)
    };
    let mut count = 0;
    for (name, product) in &cycles.products {
        count += 1 + product.releases.len() + product.images.len();
        if !word(name, "-_.") {
            return Err(format!("{name:?} is not the name of a product"));
        }
        let images = product.images.iter().find(|image| !word(image, "-_./"));
        let env = product.env.as_ref().filter(|env| !word(env, "_"));
        if let Some(wrong) = images.or(env) {
            return Err(format!("{name} has {wrong:?}, which is not a name"));
        }
        for release in &product.releases {
            let named = release.name.as_ref().is_none_or(|name| word(name, "-_."));
            if !named || release.version.len() > 100 || numbers(&release.version).is_none() {
                return Err(format!("{name} has {:?}, which is not a release", release.version));
            }
        }
    }
    if count > MOST {
        return Err(format!("it has more than {MOST} entries"));
    }
    Ok(cycles)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use otoshi_packages::FetchError;
    use proptest::prelude::*;

    use super::*;

    const URL: &str = "https://example.org/cycles.toml";

    fn table(date: &str, end: &str) -> String {
        format!(
            "date = \"{date}\"\n[products.ruby]\nkind = \"runtime\"\nimages = [\"ruby\"]\n\
             releases = [{{ version = \"3.1\", released = \"2021-12-25\", end = \"{end}\" }}]\n"
        )
    }

    /// A server that has one text, and its number as the ETag.
    struct Server(Mutex<(u32, String)>);

    impl Fetch for Server {
        fn get(&self, request: &Request, sink: &mut dyn Write) -> Result<Answer, FetchError> {
            let (number, text) = &*self.0.lock().unwrap();
            let etag = Some(number.to_string());
            if request.known.etag == etag {
                return Ok(Answer::NotModified);
            }
            let bytes = &text.as_bytes()[..text.len().min(request.limit as usize + 1)];
            sink.write_all(bytes).unwrap();
            Ok(Answer::Sent(Validators { etag, last_modified: None }))
        }
    }

    fn today() -> Date {
        "2027-05-01".parse().unwrap()
    }

    #[test]
    fn the_newest_good_one_is_used_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let server = Server(Mutex::new((1, table("2027-04-01", "2027-06-01"))));
        let get = || Table::of(URL, &home, Ok(&server), today());
        let first = get();
        assert_eq!((first.source.as_deref(), first.failed.as_deref()), (Some(URL), None));
        assert_eq!(first.cycles.date.to_string(), "2027-04-01");
        assert_eq!(get(), first, "what is known is not sent again");

        // Nothing that follows takes its place.
        let long = format!("{}# {}\n", table("2027-04-20", "2027-06-01"), "x".repeat(1 << 20));
        for (text, why) in [
            ("<html>".to_owned(), "key with no value"),
            (table("2027-03-31", "2027-06-01"), "it is dated 2027-03-31, and one dated 2027-04-01 is known"),
            (table("2027-05-03", "2027-06-01"), "it is dated 2027-05-03, which is in the future"),
            (
                table("2027-04-20", "2027-06-01").replace("s.ruby", "s.\"r\\u001b[2J\""),
                "\"r\\u{1b}[2J\" is not the name of a product",
            ),
            (
                table("2027-04-20", "2027-06-01").replace("\"runtime\"", "\"\\u001b[2J\""),
                "unknown variant ` [2J`",
            ),
            (
                table("2027-04-20", "2027-06-01").replace("3.1", "3.x"),
                "ruby has \"3.x\", which is not a release",
            ),
            (long, "it is larger than 1 MiB"),
        ] {
            *server.0.lock().unwrap() = (2, text);
            let table = get();
            assert!(table.failed.as_deref().unwrap().contains(why), "{:?}", table.failed);
            assert_eq!((&table.cycles, &table.source), (&first.cycles, &first.source), "{why}");
        }
        // Without a network as well.
        let offline = Table::of(URL, &home, Err("no network".into()), today());
        assert_eq!((offline.cycles, offline.failed.as_deref()), (first.cycles, Some("no network")));

        *server.0.lock().unwrap() = (3, table("2027-04-20", "2027-07-01"));
        assert_eq!(get().cycles.date.to_string(), "2027-04-20");
        let elsewhere = Table::of("https://example.org/2", &home, Err("no network".into()), today());
        assert_eq!(elsewhere.cycles, Cycles::built_in());
        assert_eq!(elsewhere.source, None);
    }

    #[test]
    fn the_one_in_the_program_could_come_from_outside() {
        assert_eq!(read(include_str!("cycles.toml"), today()).unwrap(), Cycles::built_in());
    }

    proptest! {
        #[test]
        fn no_text_is_more_than_an_error(text in "(?s).{0,200}") {
            let _ = read(&text, today());
            let _ = read(&format!("{}{text}", table("2027-04-01", "2027-06-01")), today());
        }
    }
}
