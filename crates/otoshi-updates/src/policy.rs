//! What is to be done about a finding: when it was first seen, and what `[check]` says.

use crate::{
    kind::{Hold, State, Verdict},
    outside::Outside,
    report::Finding,
    stop::Stop,
};

/// Why something waits for the minimum age.
const TOO_YOUNG: &str = "it was first seen less than the minimum age ago";

impl Outside<'_> {
    /// Notes that something newer was seen, and says what is to be done about it.
    pub(crate) fn judge(
        &self,
        finding: &mut Finding,
        subject: &str,
        what: &str,
        names: Option<&[&str]>,
    ) -> Result<(), Stop> {
        let (first, age) = self.ledger().see(subject, what)?;
        finding.first_seen = Self::time(first);
        let (name, reference) = (finding.name.clone(), finding.reference.clone());
        self.policy(finding, names.unwrap_or(&[name.as_str(), reference.as_str()]));
        if finding.state == State::Found
            && let Some(verdict) = self.too_young(first, age)
        {
            finding.take(verdict);
        }
        Ok(())
    }

    /// Applies what `[check]` says about a thing of these names.
    pub(crate) fn policy(&self, finding: &mut Finding, names: &[&str]) {
        finding.take(self.verdict(names));
    }

    /// What `[check]` says about a thing of these names.
    pub(crate) fn verdict(&self, names: &[&str]) -> Verdict {
        if let Some(pattern) = self.settings.ignored(names) {
            let because = Some(format!("[check] ignore has {pattern:?}"));
            return Verdict { state: State::Ignored, held: None, because, until: None };
        }
        match self.settings.held(names, self.today) {
            Some((until, because)) => Verdict {
                state: State::Held,
                held: Some(Hold::User),
                because: Some(because.unwrap_or("[check] holds it").to_owned()),
                until: Some(until.to_string()),
            },
            None => Verdict::FOUND,
        }
    }

    /// Whether something has to be known for longer than it is.
    pub(crate) fn too_young(&self, first: u64, age: u64) -> Option<Verdict> {
        let least = self.settings.minimum_age();
        (age < least).then(|| Verdict {
            until: Self::time(first.saturating_add(least)),
            ..Verdict::held(Hold::Age, TOO_YOUNG)
        })
    }
}

impl Finding {
    fn take(&mut self, verdict: Verdict) {
        let Verdict { state, held, because, until } = verdict;
        (self.state, self.held, self.because, self.until) = (state, held, because, until);
    }
}
