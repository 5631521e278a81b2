//! What is to be done about a finding: when it was first seen, and what `[check]` says.

use jiff::Timestamp;
use otoshi_pipeline::PipelineError;

use super::{Check, Stop};
use crate::{
    ledger::Ledger,
    report::{Finding, State},
};

impl Check<'_> {
    /// Notes that something newer was seen, and says what is to be done about it.
    pub(super) fn judge(
        &self,
        finding: &mut Finding,
        subject: &str,
        what: &str,
        names: Option<&[&str]>,
    ) -> Result<(), Stop> {
        let now = u64::try_from(self.now.as_second()).unwrap_or(0);
        let (first, age) = Ledger::new(self.home, now).see(subject, what).map_err(PipelineError::from)?;
        let time = |second: u64| {
            Timestamp::from_second(i64::try_from(second).ok()?).ok().map(|time| time.to_string())
        };
        finding.first_seen = time(first);
        let (name, reference) = (finding.name.clone(), finding.reference.clone());
        self.policy(finding, names.unwrap_or(&[name.as_str(), reference.as_str()]));
        let least = self.project.manifest.check.minimum_age();
        if finding.state == State::Found && age < least {
            finding.state = State::Held;
            finding.because = Some("it was first seen less than the minimum age ago".to_owned());
            finding.until = time(first.saturating_add(least));
        }
        Ok(())
    }

    /// What `[check]` says about a thing of these names.
    pub(super) fn policy(&self, finding: &mut Finding, names: &[&str]) {
        let check = &self.project.manifest.check;
        if let Some(pattern) = check.ignored(names) {
            finding.state = State::Ignored;
            finding.because = Some(format!("[check] ignore has {pattern:?}"));
        } else if let Some((until, because)) = check.held(names, self.today) {
            finding.state = State::Held;
            finding.because = Some(because.unwrap_or("[check] holds it").to_owned());
            finding.until = Some(until.to_string());
        }
    }
}
