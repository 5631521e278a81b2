//! Ends of life of what an image holds, by its name, by its release file, and by what its environment says.

use otoshi_oci::{Reference, config::ImageConfig};
use otoshi_packages::Installed;

use crate::{
    Cycles, End, Support, end_of,
    found::{Found, Judged, Step},
    kind::FindingKind,
    outside::Outside,
    report::Supported,
    subject::Subject,
    tag::Tag,
};

/// Products and the versions of them that something holds; of each product the first that was said.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<(String, Vec<u64>)>);

impl Held {
    fn add(&mut self, product: &str, version: Vec<u64>) {
        if !version.is_empty() && self.0.iter().all(|(known, _)| known != product) {
            self.0.push((product.to_owned(), version));
        }
    }

    /// Adds what a reference says.
    pub(crate) fn name(&mut self, reference: &Reference, cycles: &Cycles) {
        let Some(tag) = reference.tag().and_then(|tag| Tag::parse(tag, cycles)) else { return };
        if let (Some((product, _)), Some(version)) =
            (cycles.product_of_repository(reference.repository()), &tag.version)
        {
            self.add(product, version.numbers.clone());
        }
        if let Some(distribution) = &tag.distribution
            && let Some(release) = &distribution.release
        {
            self.add(&distribution.family, release.clone());
        }
    }

    /// Adds what an image's release file says.
    pub(crate) fn installed(&mut self, installed: &Installed) {
        if let Some(os) = &installed.os
            && let Some(version) = &os.version_id
        {
            self.add(&os.id, numbers(version));
        }
    }

    /// Adds what an image's environment says.
    pub(crate) fn environment(&mut self, config: &ImageConfig, cycles: &Cycles) {
        for (product, variable) in
            cycles.products.iter().filter_map(|(name, product)| Some((name, product.env.as_ref()?)))
        {
            let value = |text: &String| Some(text.strip_prefix(variable)?.strip_prefix('=')?.to_owned());
            if let Some(value) = config.config.env.iter().find_map(value) {
                self.add(product, numbers(&value));
            }
        }
    }
}

/// The first numbers in a text that have dots between them.
fn numbers(text: &str) -> Vec<u64> {
    let start = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let rest = &text[start..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].split('.').map_while(|part| part.parse().ok()).collect()
}

impl Outside<'_> {
    /// Ends of life of what something holds.
    pub(crate) fn ends(&self, subject: &Subject, held: &Held) -> Vec<Found> {
        let notice = self.settings.end_of_life_notice();
        let mut findings = Vec::new();
        for (product, version) in &held.0 {
            let Some(release) = self.cycles.release(product, version) else { continue };
            let last = release.last_day().map(|day| day.to_string()).unwrap_or_default();
            let what = format!("{product} {}", release.version);
            let text = match end_of(release, self.today, notice) {
                End::Far => continue,
                End::Soon(days) => format!("{what} reaches its end of life on {last}, in {days} days"),
                End::Past(days) => format!("{what} reached its end of life on {last}, {days} days ago"),
            };
            let text = match release.support(self.today) {
                (Support::Paid, Some(until)) => {
                    format!("{text}; subscribers get fixes until {until}")
                }
                _ => text,
            };
            let verdict = self.verdict(&[product, &what, &subject.name, &subject.reference]);
            let judged = Judged { verdict, first_seen: None };
            findings.push(Found::new(
                subject.clone(),
                Step::new(FindingKind::EndOfLife, what, text),
                judged,
                None,
            ));
        }
        findings
    }
}

impl Outside<'_> {
    /// What support the products have that something holds.
    pub(crate) fn supported(&self, subject: &Subject, held: &Held) -> Vec<Supported> {
        let one = |(product, version): &(String, Vec<u64>)| {
            let release = self.cycles.release(product, version)?;
            let (support, until) = release.support(self.today);
            Some(Supported {
                name: subject.name.clone(),
                reference: subject.reference.clone(),
                product: product.clone(),
                release: release.version.clone(),
                support,
                until: until.map(|day| day.to_string()),
                full_until: release.end.map(|day| day.to_string()),
                free_until: release.last_day().map(|day| day.to_string()),
            })
        };
        held.0.iter().filter_map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use otoshi_oci::Platform;
    use otoshi_packages::{Files, OsRelease};

    use super::*;

    #[test]
    fn a_name_counts_before_the_release_file_and_the_environment() {
        let cycles = Cycles::built_in();
        let mut held = Held::default();
        held.name(&Reference::parse("ruby:3.1.2-bookworm").unwrap(), &cycles);
        let os = OsRelease { id: "debian".into(), version_id: Some("11".into()), ..OsRelease::default() };
        held.installed(&Installed { os: Some(os), files: Files::new(), ..Installed::default() });
        let mut config = ImageConfig::new(&Platform::host());
        config.config.env = vec![
            "RUBY_VERSION=3.0.0".into(),
            "NODE_VERSION=20.11.1".into(),
            "JAVA_VERSION=jdk-17.0.9+9".into(),
        ];
        held.environment(&config, &cycles);
        let found: Vec<_> = held.0.iter().map(|(name, version)| format!("{name} {version:?}")).collect();
        assert_eq!(found[..2], ["ruby [3, 1, 2]", "debian [12]"]);
        assert!(found.contains(&"node [20, 11, 1]".to_owned()) && found.len() == 4, "{found:?}");
        assert!(found.iter().any(|text| text.ends_with(" [17, 0, 9]")), "{found:?}");
        assert_eq!(numbers("8u392"), [8]);
        assert_eq!(numbers("rolling"), [0u64; 0]);
    }
}
