//! What is to be done about a finding: when it was first seen, and what `[check]` says.

use crate::{
    found::Judged,
    kind::{Hold, State, Verdict},
    outside::Outside,
    stop::Stop,
};

/// Why something waits for the minimum age.
const TOO_YOUNG: &str = "it was first seen less than the minimum age ago";

impl Outside<'_> {
    /// Notes that something newer was seen, and says what is to be done about it: by what `[check]` says of these names, and by how
    /// long it is known.
    pub(crate) fn judge(&self, about: &str, what: &str, names: &[&str]) -> Result<Judged, Stop> {
        let (first, age) = self.ledger().see(about, what)?;
        let verdict = self.verdict(names);
        let young = if verdict.state == State::Found { self.too_young(first, age) } else { None };
        Ok(Judged { verdict: young.unwrap_or(verdict), first_seen: Self::time(first) })
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
