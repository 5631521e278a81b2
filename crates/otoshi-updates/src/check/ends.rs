//! Ends of life.

use super::{Check, Used};
use crate::{
    End, end_of,
    report::{Finding, FindingKind},
    tag::Tag,
};

impl Check<'_> {
    /// Ends of life of what a base's name says that it holds.
    pub(super) fn ends(&self, base: &Used) -> Vec<Finding> {
        let Some(tag) = base.reference.tag().and_then(|tag| Tag::parse(tag, &self.cycles)) else {
            return Vec::new();
        };
        let mut held: Vec<(&str, Vec<u64>)> = Vec::new();
        if let (Some((product, _)), Some(version)) =
            (self.cycles.product_of_repository(base.reference.repository()), &tag.version)
        {
            held.push((product, version.numbers.clone()));
        }
        if let Some(distribution) = &tag.distribution
            && let Some(release) = &distribution.release
        {
            held.push((distribution.family.as_str(), release.clone()));
        }
        let notice = self.project.manifest.check.end_of_life_notice();
        let mut findings = Vec::new();
        for (product, version) in held {
            let Some(release) = self.cycles.release(product, &version) else { continue };
            let last = release.last_day().map(|day| day.to_string()).unwrap_or_default();
            let what = format!("{product} {}", release.version);
            let text = match end_of(release, self.today, notice) {
                End::Far => continue,
                End::Soon(days) => format!("{what} reaches its end of life on {last}, in {days} days"),
                End::Past(days) => format!("{what} reached its end of life on {last}, {days} days ago"),
            };
            let mut finding = self.finding(FindingKind::EndOfLife, base, what.clone(), None);
            finding.text = text;
            let names = [product, what.as_str(), base.name.as_str(), base.text.as_str()];
            self.policy(&mut finding, &names);
            findings.push(finding);
        }
        findings
    }
}
