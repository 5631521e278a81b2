//! Cycles: when releases of distributions and runtimes came out, and when they reach their end of life.
//!
//! A dated table is part of the program. Its age is told with every answer that it gives, since what it does not know it
//! cannot tell.

use std::collections::BTreeMap;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const BUILT_IN: &str = include_str!("cycles.toml");

/// A table of products and their releases, as of a date.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Cycles {
    /// When it was true.
    pub date: Date,
    /// The products by name.
    #[serde(default)]
    pub products: BTreeMap<String, Product>,
}

/// Whether a product is something to install packages on, or something that runs programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProductKind {
    /// A distribution.
    Distribution,
    /// A language runtime or a server.
    Runtime,
}

/// A distribution or runtime.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Product {
    /// What it is.
    pub kind: ProductKind,
    /// The last parts of the repositories' names that hold it.
    #[serde(default)]
    pub images: Vec<String>,
    /// The environment variable by which images say its version.
    pub env: Option<String>,
    /// When this was true, where that is another day than the table's.
    pub date: Option<Date>,
    /// Where it is from, for people.
    pub source: Option<String>,
    /// Its releases, in no particular order.
    pub releases: Vec<Release>,
}

/// A series of a product that ends as one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// The numbers that all its versions begin with, such as `3.1`.
    pub version: String,
    /// Its code name, in lower case.
    pub name: Option<String>,
    /// When it came out.
    pub released: Date,
    /// When its own project stops to support it in full; `None` while that is not known.
    pub end: Option<Date>,
    /// When free long-term support, or maintenance, in the same package repositories stops.
    pub extended: Option<Date>,
    /// When support stops that has to be subscribed to, from other package repositories.
    pub paid: Option<Date>,
    /// Whether it is one of those with long-term support.
    #[serde(default)]
    pub lts: bool,
}

impl Release {
    /// When nobody mends it any more in the repositories that it has.
    pub(crate) fn last_day(&self) -> Option<Date> {
        self.extended.or(self.end)
    }

    /// What support it has on a day, and until when.
    pub fn support(&self, today: Date) -> (Support, Option<Date>) {
        let lasts = |day: Option<Date>| day.filter(|day| *day >= today);
        match (self.end, lasts(self.end), lasts(self.extended), lasts(self.paid)) {
            (None, ..) => (Support::Full, None),
            (_, Some(end), ..) => (Support::Full, Some(end)),
            (_, None, Some(extended), _) => (Support::LongTerm, Some(extended)),
            (_, None, None, Some(paid)) => (Support::Paid, Some(paid)),
            (_, None, None, None) => (Support::Ended, None),
        }
    }

    /// The version's numbers.
    pub fn numbers(&self) -> Vec<u64> {
        numbers(&self.version).unwrap_or_default()
    }
}

/// Says why a text is no table.
#[derive(Debug, thiserror::Error)]
pub enum CyclesError {
    /// It is no TOML, or has other fields.
    #[error("{}", .0.message())]
    Form(#[from] toml::de::Error),
    /// There is nothing in it.
    #[error("it lists no products")]
    Empty,
}

impl Cycles {
    /// The table in the program.
    pub(crate) fn built_in() -> Self {
        // A test reads it.
        Self::parse(BUILT_IN)
            .unwrap_or_else(|_| Self { date: Date::constant(1970, 1, 1), products: BTreeMap::new() })
    }

    /// Reads a table.
    ///
    /// Fails where it is not of its form, and where it lists no products.
    pub fn parse(text: &str) -> Result<Self, CyclesError> {
        let table: Self = toml::from_str(text)?;
        if table.products.is_empty() {
            return Err(CyclesError::Empty);
        }
        Ok(table)
    }

    /// How many days ago it was true; 0 for one from the future.
    pub fn age(&self, today: Date) -> i64 {
        days(self.date, today).max(0)
    }

    /// The product that a repository holds, by the last part of the repository's name.
    pub fn product_of_repository(&self, repository: &str) -> Option<(&str, &Product)> {
        let last = repository.rsplit('/').next()?;
        let found = self.products.iter().find(|(_, product)| product.images.iter().any(|name| name == last));
        found.map(|(name, product)| (name.as_str(), product))
    }

    /// The release of a product that a version belongs to.
    pub fn release(&self, product: &str, version: &[u64]) -> Option<&Release> {
        let releases = &self.products.get(product)?.releases;
        let fits = |release: &&Release| {
            let numbers = release.numbers();
            !numbers.is_empty() && version.starts_with(&numbers)
        };
        releases.iter().filter(fits).max_by_key(|release| release.numbers().len())
    }

    /// The distribution with a code name.
    pub fn by_code_name(&self, name: &str) -> Option<(&str, &Release)> {
        self.distributions().find_map(|(product, releases)| {
            let release = releases.iter().find(|release| release.name.as_deref() == Some(name))?;
            Some((product, release))
        })
    }

    /// The distributions with their releases.
    pub fn distributions(&self) -> impl Iterator<Item = (&str, &[Release])> {
        self.products
            .iter()
            .filter(|(_, product)| product.kind == ProductKind::Distribution)
            .map(|(name, product)| (name.as_str(), product.releases.as_slice()))
    }

    /// The newest release of a product that was out on a day and is not at its end by then; of those with long-term support, where
    /// the one in use is such.
    pub fn successor(&self, product: &str, current: &Release, today: Date) -> Option<&Release> {
        let releases = &self.products.get(product)?.releases;
        let fits = |release: &&Release| {
            release.released <= today
                && release.last_day().is_none_or(|last| last > today)
                && (release.lts || !current.lts)
                && release.numbers() > current.numbers()
        };
        releases.iter().filter(fits).max_by_key(|release| release.numbers())
    }
}

/// Who mends a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// Its own project, in full.
    Full,
    /// Somebody for free, in the same repositories, as far as it is about security.
    LongTerm,
    /// Somebody for those who subscribe to it, in other repositories.
    Paid,
    /// Nobody.
    Ended,
}

/// How near an end of life is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing is known, or it is farther away than anybody wants to hear.
    Far,
    /// It comes in so many days, today being 0.
    Soon(i64),
    /// It was so many days ago.
    Past(i64),
}

/// Says how near the end of a release is, with so many days of notice.
pub fn end_of(release: &Release, today: Date, notice: i64) -> End {
    let Some(last) = release.last_day() else { return End::Far };
    match days(today, last) {
        left if left < 0 => End::Past(-left),
        left if left <= notice => End::Soon(left),
        _ => End::Far,
    }
}

/// Days from one date to another.
fn days(from: Date, to: Date) -> i64 {
    i64::from((to - from).get_days())
}

/// Numbers with dots between them.
pub(crate) fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_in_the_program_is_whole() {
        let table = Cycles::parse(BUILT_IN).unwrap();
        assert_eq!(table, Cycles::built_in());
        for (name, product) in &table.products {
            assert!(!product.images.is_empty() && product.releases.len() > 5, "{name}");
            for release in &product.releases {
                assert!(!release.numbers().is_empty(), "{name} {}", release.version);
                let date = product.date.unwrap_or(table.date);
                assert!(release.released <= date, "{name} {} is not out yet", release.version);
                assert!(release.last_day().is_none_or(|last| last > release.released), "{name} {release:?}");
                // One kind of support follows the other.
                let days = [release.end, release.extended, release.paid].into_iter().flatten();
                assert!(days.is_sorted_by(|one, next| one <= next), "{name} {release:?}");
            }
            assert_eq!(product.date.is_some(), product.source.is_some(), "{name}");
            let distinct: std::collections::BTreeSet<_> =
                product.releases.iter().map(Release::numbers).collect();
            assert_eq!(distinct.len(), product.releases.len(), "{name}");
        }
        let families = table.distributions().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(families, ["alpine", "debian", "ubuntu"]);
    }

    #[test]
    fn a_version_belongs_to_the_release_whose_numbers_it_begins_with() {
        let table = Cycles::built_in();
        let of = |product: &str, version: &[u64]| {
            table.release(product, version).map(|release| release.version.clone())
        };
        assert_eq!(of("ruby", &[3, 1, 2]).as_deref(), Some("3.1"));
        assert_eq!(of("node", &[20, 11, 0]).as_deref(), Some("20"));
        assert_eq!(of("debian", &[12, 4]).as_deref(), Some("12"));
        assert_eq!(of("ruby", &[3]), None, "which one is not said");
        assert_eq!(of("cobol", &[3]), None);
        assert_eq!(table.by_code_name("jammy").unwrap().1.version, "22.04");
        assert_eq!(table.product_of_repository("bitnami/postgresql").unwrap().0, "postgresql");
    }

    #[test]
    fn an_end_of_life_is_told_before_and_after() {
        let table = Cycles::built_in();
        let ruby = table.release("ruby", &[3, 1]).unwrap();
        assert_eq!(end_of(ruby, day("2025-03-26"), 90), End::Soon(0));
        assert_eq!(end_of(ruby, day("2025-03-27"), 90), End::Past(1));
        assert_eq!(end_of(ruby, day("2025-03-01"), 90), End::Soon(25));
        assert_eq!(end_of(ruby, day("2024-03-01"), 90), End::Far);
        // Debian's long-term support counts: its updates come from the same repositories.
        let bookworm = table.release("debian", &[12]).unwrap();
        assert_eq!(end_of(bookworm, day("2027-01-01"), 90), End::Far);
    }

    #[test]
    fn each_kind_of_support_is_a_state_of_its_own() {
        let table = Cycles::built_in();
        let on = |product: &str, version: &[u64], today: &str| {
            let (support, until) = table.release(product, version).unwrap().support(day(today));
            (support, until.map(|until| until.to_string()).unwrap_or_default())
        };
        for (product, version, today, support, until) in [
            ("debian", &[12][..], "2026-07-11", Support::Full, "2026-07-11"),
            ("debian", &[12], "2026-07-12", Support::LongTerm, "2028-06-30"),
            ("debian", &[12], "2028-07-01", Support::Paid, "2033-06-30"),
            ("debian", &[8], "2026-11-01", Support::Ended, ""),
            ("ubuntu", &[20, 4], "2026-11-01", Support::Paid, "2030-04-23"),
            ("ubuntu", &[26, 10], "2026-11-01", Support::Full, "2027-07-15"),
            ("node", &[24], "2026-11-01", Support::LongTerm, "2028-04-30"),
            ("node", &[26], "2026-11-01", Support::Full, "2027-10-20"),
        ] {
            assert_eq!(
                on(product, version, today),
                (support, until.to_owned()),
                "{product} {version:?} {today}"
            );
        }
    }

    #[test]
    fn releases_have_the_names_by_which_their_packages_are_found() {
        let table = Cycles::built_in();
        for id in ["debian", "ubuntu"] {
            let found = otoshi_packages::apt::Distribution::of(id).unwrap();
            for release in &table.products[id].releases {
                if release.numbers() >= vec![7] {
                    assert_eq!(
                        found.codename(&release.version),
                        release.name.as_deref(),
                        "{id} {}",
                        release.version
                    );
                }
            }
        }
    }

    #[test]
    fn a_successor_is_out_and_as_long_supported() {
        let table = Cycles::built_in();
        let next = |product: &str, version: &[u64], today: &str| {
            let current = table.release(product, version).unwrap();
            table.successor(product, current, day(today)).map(|release| release.version.clone())
        };
        assert_eq!(next("ubuntu", &[22, 4], "2025-01-01").as_deref(), Some("24.04"));
        assert_eq!(next("ubuntu", &[22, 4], "2026-08-01").as_deref(), Some("26.04"));
        assert_eq!(next("ubuntu", &[23, 10], "2025-01-01").as_deref(), Some("24.10"));
        assert_eq!(next("debian", &[12], "2025-01-01"), None, "trixie was not out");
        assert_eq!(next("debian", &[12], "2026-01-01").as_deref(), Some("13"));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        assert!(Cycles::parse("<html>").is_err());
        assert!(Cycles::parse("date = \"2026-01-01\"\n").is_err());
        assert_eq!(Cycles::built_in().age(day("2026-08-23")), 1);
    }
}
