//! Something newer outside, in its parts: what it is about, what the step is, what is to be done about it, and what takes it in. A
//! report's finding is made of them at the end.

use otoshi_explain::{Remedy, Wording};
use otoshi_pipeline::PhasePlan;
use otoshi_project::Setting;

use crate::{
    kind::{FindingKind, State, Verdict},
    report::{Finding, Location, PackageUpdate},
    subject::Subject,
    tag::Level,
};

/// Something newer outside.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) subject: Subject,
    pub(crate) step: Step,
    pub(crate) judged: Judged,
    /// The packages that are newer, those with security updates first.
    pub(crate) packages: Vec<PackageUpdate>,
    /// What takes it in.
    pub(crate) remedy: Option<Remedy>,
}

/// From what to what.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) kind: FindingKind,
    pub(crate) from: String,
    pub(crate) to: Option<String>,
    pub(crate) level: Option<Level>,
    /// What `otoshi.toml` has to say for it.
    pub(crate) set: Vec<Setting>,
    /// A sentence about it.
    pub(crate) text: String,
}

/// What is to be done about it, and since when it is known.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// In RFC 3339 form.
    pub(crate) first_seen: Option<String>,
}

/// What would come of taking it in, and where the project says what it is about.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    pub(crate) phases: Vec<PhasePlan>,
    /// Why it is not known which phases would run.
    pub(crate) not_known: Option<String>,
    pub(crate) location: Option<Location>,
}

impl Step {
    /// A step that `otoshi.toml` needs no other values for, and that has no size.
    pub(crate) fn new(kind: FindingKind, from: impl Into<String>, text: impl Into<String>) -> Self {
        Self { kind, from: from.into(), to: None, level: None, set: Vec::new(), text: text.into() }
    }

    pub(crate) fn to(self, to: impl Into<String>) -> Self {
        Self { to: Some(to.into()), ..self }
    }
}

impl Found {
    pub(crate) fn new(subject: Subject, step: Step, judged: Judged, remedy: Option<Remedy>) -> Self {
        Self { subject, step, judged, packages: Vec::new(), remedy }
    }

    pub(crate) fn kind(&self) -> FindingKind {
        self.step.kind
    }

    pub(crate) fn state(&self) -> State {
        self.judged.verdict.state
    }

    /// The finding of a report.
    pub(crate) fn told(self, effect: Effect, words: Wording<'_>) -> Finding {
        let Self { subject, step, judged, packages, remedy } = self;
        let Verdict { state, held, because, until } = judged.verdict;
        let not_known = effect.not_known.map(|why| format!("; {why}")).unwrap_or_default();
        Finding {
            kind: step.kind,
            state,
            name: subject.name,
            reference: subject.reference,
            roles: subject.roles,
            from: step.from,
            to: step.to,
            level: step.level,
            first_seen: judged.first_seen,
            because,
            held,
            until,
            packages,
            set: step.set,
            phases: effect.phases,
            command: remedy.as_ref().map(words),
            location: effect.location,
            text: step.text + &not_known,
        }
    }
}
