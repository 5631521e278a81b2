//! The plan of a refresh, chosen before anything runs: the candidates, the cheapest first, each with why it will do or will not.
//!
//! ```text
//! nothing < metadata < layer swap < phase 4 < phases 3 and 4 < phases 2 to 4 < all
//! ```
//!
//! What each phase would observe on the moved lock says most; the rest is which layers of a moved base are new, and whether a
//! command of a Dockerfile ran on its files.

use std::collections::BTreeSet;

use super::cost::{Candidate, Cost};
use crate::{
    Moved, PhasePlan, PipelineError, Reason, ReasonKind, Status, bases::Rules, files::RoleFile,
    locked::Locked, reason::Of, world::World,
};
use otoshi_dockerfile::{Base, Instruction};
use otoshi_oci::Digest;
use otoshi_project::{Phase, Role};

/// What the choice is made from.
#[derive(Debug, Default)]
struct Facts {
    phases: Vec<PhasePlan>,
    /// Whether the images that the phases stand for are others than those that have the names.
    names_move: bool,
    /// Why the builder's side moves, where it does.
    builder: Option<String>,
    /// A moved base of runner or app that has new layers, and how many of how many.
    new_layers: Option<String>,
    /// A command that ran on such a base's files.
    ran_on_base: Option<String>,
    /// A command that runs on the runner's files.
    runs_on_runner: Option<String>,
}

/// What a plan on a moved lock says.
pub(super) struct Thought<'p> {
    pub(super) phases: &'p [PhasePlan],
    pub(super) moved: &'p [Moved],
    /// Whether the images that the phases stand for are others than those that have the names.
    pub(super) names_move: bool,
    /// Why the builder's side moves, where it does.
    pub(super) builder: Option<String>,
}

/// Chooses on the lock as it is now, by a plan on it.
pub(super) fn choose_plan(on: &Locked<'_>, thought: Thought<'_>) -> Result<Vec<Candidate>, PipelineError> {
    let Thought { phases, moved, names_move, builder } = thought;
    let files = on.files(None, Rules::default())?;
    let ours = moved.iter().filter(|moved| matches!(moved.role, Role::Runner | Role::App));
    let with_new: Vec<_> =
        ours.filter_map(|moved| Some((moved.reference.clone(), new_layers(&on.world, moved)?))).collect();
    let references: BTreeSet<&str> = with_new.iter().map(|(reference, _)| reference.as_str()).collect();
    let runner = on.world.role_reference(Role::Runner);
    let facts = Facts {
        phases: phases.to_vec(),
        names_move,
        builder,
        new_layers: with_new.first().map(|(reference, text)| format!("{text} of {reference} changed")),
        ran_on_base: command_on(&files.runner, &|image| references.contains(image)).or_else(|| {
            files.app.as_ref().and_then(|app| command_on(app, &|image| references.contains(image)))
        }),
        runs_on_runner: files.app.as_ref().and_then(|app| command_on(app, &|image| *image == runner)),
    };
    Ok(judge(&facts))
}

/// How many layers of how many are new in a base that moved; `None` where its files are the same.
fn new_layers(world: &World<'_>, moved: &Moved) -> Option<String> {
    let ids = |digest: &Digest| Some(world.load_image(digest).ok()?.diff_ids().to_vec());
    let Some(new) = ids(&moved.new) else { return Some("the layers".to_owned()) };
    let old = moved.old.as_ref().and_then(ids).unwrap_or_default();
    let kept = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    (kept < new.len() || old.len() != new.len())
        .then(|| format!("{} of {} layers", new.len() - kept, new.len()))
}

/// The first RUN in a stage that stands on an image, with the Dockerfile's name.
fn command_on(file: &RoleFile, is_meant: &dyn Fn(&str) -> bool) -> Option<String> {
    let commands = file.targets.iter().flat_map(|target| {
        let graph = &target.graph;
        let bottom = |mut index: usize| loop {
            match &graph.stages.get(&index)?.base {
                Base::Stage(parent) => index = *parent,
                Base::Image(name) => return Some(name.as_str()),
                Base::Scratch | Base::Named(_) => return None,
            }
        };
        let on_it = graph.order.iter().filter(move |index| bottom(**index).is_some_and(is_meant));
        on_it.flat_map(|index| {
            let instructions = graph.stages[index].instructions(&file.dockerfile);
            instructions.filter(|located| matches!(located.value, Instruction::Run(_)))
        })
    });
    let source = commands.map(|located| located.source.lines().next().unwrap_or_default()).next()?;
    let shown = if source.chars().count() > 60 {
        format!("{}…", source.chars().take(59).collect::<String>())
    } else {
        source.to_owned()
    };
    Some(format!("`{shown}` of {}", file.path))
}

/// Judges the candidates in their order, up to the one that will do.
fn judge(facts: &Facts) -> Vec<Candidate> {
    let of = |phase: Phase| facts.phases.iter().find(move |entry| entry.phase == phase);
    let stale = |phase: Phase| of(phase).filter(|entry| entry.status != Status::Fresh);
    let must = |phase: Phase, what: &str, counts: &dyn Fn(&Reason) -> bool| {
        let reason = stale(phase)?.reasons.iter().find(|reason| counts(reason))?;
        Some(format!("{what}: {}", reason.text))
    };
    let any = |_: &Reason| true;
    let builder = || must(Phase::Builder, "the builder must be built", &any);
    let work = || builder().or_else(|| must(Phase::Compile, "the application must be compiled", &any));
    let runner = || {
        let is_other = |reason: &Reason| !matches!(reason.kind, ReasonKind::Base | ReasonKind::Upgrade);
        must(Phase::Runner, "the runner must be built", &is_other)
    };
    let newer = || {
        let reasons = &stale(Phase::Runner)?.reasons;
        let changed = reasons.iter().filter(|reason| reason.kind == ReasonKind::Upgrade).count();
        (changed > 0).then(|| format!("newer packages need a new layer ({changed} changed)"))
    };
    let app = || {
        let is_small = |reason: &Reason| {
            let small = [ReasonKind::Process, ReasonKind::Setting, ReasonKind::Base, ReasonKind::Depends];
            let is_runner = reason.of == Some(Of { phase: Phase::Runner, whole: true });
            small.contains(&reason.kind) || (reason.kind == ReasonKind::Role && is_runner)
        };
        must(Phase::App, "phase 4 must run", &|reason| !is_small(reason))
    };
    let changed = facts.phases.iter().find(|phase| phase.status == Status::Stale);
    let first = |phase: &PhasePlan| {
        let why = phase.reasons.first().map(|reason| reason.text.clone()).unwrap_or_default();
        format!("{}: {why}", phase.phase)
    };
    let on_base = || facts.ran_on_base.as_ref().map(|command| format!("{command} ran on the base's files"));
    let on_runner = || {
        stale(Phase::Runner)?;
        facts.runs_on_runner.as_ref().map(|command| format!("{command} runs on the runner's files"))
    };
    let runner_or_newer = || must(Phase::Runner, "phase 3 must run", &any);
    // Nothing runs, and yet the names are to move: everything was made before.
    let there = changed.is_none() && facts.names_move;
    let named = || there.then(|| "the images exist already, and only their names have to move".to_owned());
    let layers = || facts.new_layers.clone().filter(|_| !there);
    let candidates: [(Cost, Option<String>, String); 7] = [
        (
            Cost::Nothing,
            changed.map(first).or_else(named),
            "nothing that a phase observes changed".to_owned(),
        ),
        (
            Cost::Metadata,
            work().or_else(runner).or_else(newer).or_else(layers).or_else(app),
            "no layer changed".to_owned(),
        ),
        (
            Cost::LayerSwap,
            work().or_else(runner).or_else(newer).or_else(on_base).or_else(on_runner).or_else(app),
            "no command ran on the base's files, so the layers above them stay".to_owned(),
        ),
        (Cost::App, work().or_else(runner_or_newer), "the runner stays".to_owned()),
        (Cost::Runner, work(), "builder and compiled application stay".to_owned()),
        (Cost::Compile, builder().or_else(|| facts.builder.clone()), "the builder stays".to_owned()),
        (Cost::All, None, facts.builder.clone().or_else(builder).unwrap_or_default()),
    ];
    let mut found = Vec::new();
    for (plan, against, for_it) in candidates {
        let taken = against.is_none();
        found.push(Candidate { plan, taken, because: against.unwrap_or(for_it) });
        if taken {
            break;
        }
    }
    found
}

/// The choice when what was chosen turned out not to do.
pub(super) fn fallen_back(mut choice: Vec<Candidate>, why: &str) -> Vec<Candidate> {
    if let Some(last) = choice.last_mut() {
        (last.taken, last.because) = (false, why.to_owned());
    }
    if choice.last().is_some_and(|last| last.plan < Cost::Compile) {
        let because = "the existing builder gives the same application".to_owned();
        choice.push(Candidate { plan: Cost::Compile, taken: false, because });
    }
    let because = "compiled on the bases as they are now, it needs what they have".to_owned();
    choice.push(Candidate { plan: Cost::All, taken: true, because });
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(phase: Phase, status: Status, reasons: &[(ReasonKind, &str)]) -> PhasePlan {
        let reasons =
            reasons.iter().map(|(kind, name)| Reason::plain(*kind, name, format!("{name} changed")));
        PhasePlan {
            phase,
            number: phase.number(),
            status,
            reasons: reasons.collect(),
            key: None,
            output: None,
            layers_written: 0,
            took_ms: None,
            found_in: None,
        }
    }

    fn fresh(of: Phase) -> PhasePlan {
        phase(of, Status::Fresh, &[])
    }

    fn stale(of: Phase, kind: ReasonKind, about: &str) -> PhasePlan {
        phase(of, Status::Stale, &[(kind, about)])
    }

    fn waiting() -> PhasePlan {
        phase(Phase::App, Status::Pending, &[(ReasonKind::Depends, "runner")])
    }

    /// The chosen plan, and why the one before it would not do.
    fn chosen(facts: &Facts) -> (Cost, String) {
        let judged = judge(facts);
        let last = judged.last().unwrap();
        assert!(last.taken && judged.iter().filter(|candidate| candidate.taken).count() == 1, "{judged:?}");
        let before = judged.len().checked_sub(2).map(|index| judged[index].because.clone());
        (last.plan, before.unwrap_or_default())
    }

    fn of(phases: Vec<PhasePlan>) -> Facts {
        Facts { phases, ..Facts::default() }
    }

    #[test]
    fn each_plan_is_taken_where_no_cheaper_one_will_do() {
        let moved = || {
            vec![
                fresh(Phase::Builder),
                fresh(Phase::Compile),
                stale(Phase::Runner, ReasonKind::Base, "BASE"),
                waiting(),
            ]
        };
        let new = Some("1 of 2 layers of debian:12 changed".to_owned());
        let run = Some("`RUN a` of runner.Dockerfile".to_owned());
        let nothing =
            of(vec![fresh(Phase::Builder), fresh(Phase::Compile), fresh(Phase::Runner), fresh(Phase::App)]);
        assert_eq!(chosen(&nothing), (Cost::Nothing, String::new()));
        assert_eq!(chosen(&of(moved())), (Cost::Metadata, "runner: BASE changed".into()));
        let made = Facts {
            names_move: true,
            new_layers: Some("1 of 2 layers of debian:12 changed".into()),
            ..of(vec![fresh(Phase::Runner), fresh(Phase::App)])
        };
        let there = "the images exist already, and only their names have to move";
        assert_eq!(chosen(&made), (Cost::Metadata, there.into()));
        let command = of(vec![fresh(Phase::Runner), stale(Phase::App, ReasonKind::Process, "web")]);
        assert_eq!(chosen(&command), (Cost::Metadata, "app: web changed".into()));
        let swap = Facts { new_layers: new.clone(), ..of(moved()) };
        assert_eq!(chosen(&swap), (Cost::LayerSwap, "1 of 2 layers of debian:12 changed".into()));
        let own = of(vec![fresh(Phase::Runner), stale(Phase::App, ReasonKind::Source, "tree")]);
        assert_eq!(chosen(&own), (Cost::App, "phase 4 must run: tree changed".into()));
        let runner = Facts { ran_on_base: run.clone(), new_layers: new.clone(), ..of(moved()) };
        assert_eq!(chosen(&runner), (Cost::Runner, "phase 3 must run: BASE changed".into()));
        assert_eq!(judge(&runner)[2].because, "`RUN a` of runner.Dockerfile ran on the base's files");
        let source = of(vec![
            fresh(Phase::Builder),
            stale(Phase::Compile, ReasonKind::Source, "tree"),
            fresh(Phase::Runner),
            waiting(),
        ]);
        assert_eq!(chosen(&source), (Cost::Compile, "the application must be compiled: tree changed".into()));
        let all = of(vec![stale(Phase::Builder, ReasonKind::Base, "BASE"), fresh(Phase::Runner), waiting()]);
        assert_eq!(chosen(&all), (Cost::All, "the builder must be built: BASE changed".into()));
    }

    #[test]
    fn newer_packages_and_commands_over_the_runner_are_no_swap() {
        let newer = of(vec![stale(Phase::Runner, ReasonKind::Upgrade, "libssl3:amd64"), waiting()]);
        assert_eq!(chosen(&newer).0, Cost::Runner);
        assert_eq!(judge(&newer)[2].because, "newer packages need a new layer (1 changed)");
        let over = Facts {
            runs_on_runner: Some("`RUN b` of app.Dockerfile".into()),
            new_layers: Some("1 of 1 layers of debian:12 changed".into()),
            ..of(vec![stale(Phase::Runner, ReasonKind::Base, "BASE"), waiting()])
        };
        assert_eq!(chosen(&over).0, Cost::Runner);
        assert_eq!(judge(&over)[2].because, "`RUN b` of app.Dockerfile runs on the runner's files");
    }
}
