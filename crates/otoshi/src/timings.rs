//! The page that `--timings` writes: one HTML file that needs nothing else, with a lane for each step.
//!
//! Lanes stand in the order in which the steps began, on one axis of time, so that what ran side by side is seen, and what
//! waited. The page holds instructions as the Dockerfile has them and no output of any command.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use otoshi_engine::{Event, Events, StepId};

use crate::{failure::Failure, words};

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --ran: #2f6fb3; --cached: #8a8f98; --failed: #c0392b; --work: #b7791f }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 } h2 { font-size: 1rem; margin: 2rem 0 .5rem }
p { margin: .3rem 0 1rem }
.key span { margin-right: 1.2rem } .key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em }
.chart { position: relative; border-top: 1px solid var(--line) }
.lane { display: grid; grid-template-columns: 24rem 1fr; border-bottom: 1px solid var(--line) }
.name { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; padding: 2px .6rem 2px 0; font-family: ui-monospace, monospace; font-size: 12px }
.name b { font-weight: 600 }
.track { position: relative; min-height: 22px }
.tick { position: absolute; top: 0; bottom: 0; border-left: 1px solid var(--line) }
.axis .tick { font-size: 11px; padding-left: 3px; white-space: nowrap }
.bar { position: absolute; top: 3px; bottom: 3px; min-width: 2px; border-radius: 2px }
.took { position: absolute; top: 2px; font-size: 11px; padding: 1px 5px; white-space: nowrap }
.ran { background: var(--ran) } .cached { background: var(--cached) } .failed { background: var(--failed) } .work { background: var(--work) }
table { border-collapse: collapse } td, th { text-align: left; padding: 2px 1rem 2px 0; border-bottom: 1px solid var(--line) } .number { text-align: right }
";

/// What came of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ran,
    Cached,
    Failed,
    /// No instruction: a layer written, a download.
    Work,
}

impl Outcome {
    /// The class in the page.
    fn class(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::Work => "work",
        }
    }
}

/// One step, or one piece of other work.
#[derive(Debug, Clone)]
struct Lane {
    stage: String,
    what: String,
    begin: Duration,
    end: Duration,
    outcome: Outcome,
}

impl Lane {
    fn took(&self) -> Duration {
        self.end.saturating_sub(self.begin)
    }
}

#[derive(Debug, Default)]
struct Seen {
    running: BTreeMap<StepId, Lane>,
    ended: Vec<Lane>,
}

/// Notes when steps begin and end, and hands every event on.
pub(crate) struct Timings {
    next: Arc<dyn Events>,
    began: Instant,
    seen: Mutex<Seen>,
}

impl Timings {
    /// Notes what `next` is told from now on.
    pub(crate) fn new(next: Arc<dyn Events>) -> Self {
        Self { next, began: Instant::now(), seen: Mutex::default() }
    }

    /// Writes the page of all that was noted.
    pub(crate) fn write(&self, title: &str, path: &Path) -> Result<(), Failure> {
        let whole = self.began.elapsed();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What runs still was ended by another step's failure.
        let cut =
            seen.running.values().map(|lane| Lane { end: whole, outcome: Outcome::Failed, ..lane.clone() });
        let mut lanes: Vec<Lane> = seen.ended.iter().cloned().chain(cut).collect();
        lanes.sort_by_key(|lane| (lane.begin, lane.end));
        let text = page(title, &lanes, whole).into_string();
        fs::write(path, text).map_err(Failure::io("writing", path.display().to_string()))
    }
}

impl Events for Timings {
    fn event(&self, event: Event) {
        let now = self.began.elapsed();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut end = |step: &StepId, outcome| {
            if let Some(lane) = seen.running.remove(step) {
                seen.ended.push(Lane { end: now, outcome, ..lane });
            }
        };
        match &event {
            Event::Started { step, stage, place, instruction } => {
                let stage = format!("{stage} {}/{}", place.0, place.1);
                let what = instruction.clone();
                let lane = Lane { stage, what, begin: now, end: now, outcome: Outcome::Ran };
                seen.running.insert(*step, lane);
            }
            Event::Done { step, cached, .. } => {
                end(step, if *cached { Outcome::Cached } else { Outcome::Ran });
            }
            Event::Failed { step } => end(step, Outcome::Failed),
            Event::Work { what, bytes, took } => {
                let what = format!("{what}, {}", words::megabytes(*bytes));
                let begin = now.saturating_sub(*took);
                let stage = String::new();
                seen.ended.push(Lane { stage, what, begin, end: now, outcome: Outcome::Work });
            }
            Event::Log { .. } | Event::Warning(_) | Event::UnreachedProxy(_) => {}
        }
        drop(seen);
        self.next.event(event);
    }
}

/// A duration as people read it.
fn span(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds => format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor()),
    }
}

/// Round moments on an axis of this length, some eight of them.
fn ticks(whole: Duration) -> Vec<Duration> {
    let millis = whole.as_millis().max(1);
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10u128.pow(power)));
    let step = steps.into_iter().find(|step| millis / step <= 8).unwrap_or(millis);
    (0..=millis / step).map(|number| Duration::from_millis((number * step) as u64)).collect()
}

/// How far along the axis a moment is, for CSS.
fn place(moment: Duration, whole: Duration) -> String {
    format!("{:.3}%", 100.0 * moment.as_secs_f64() / whole.as_secs_f64().max(1e-9))
}

fn page(title: &str, lanes: &[Lane], whole: Duration) -> Markup {
    let count = |outcome| lanes.iter().filter(|lane| lane.outcome == outcome).count();
    let busy: Duration = lanes.iter().filter(|lane| lane.outcome != Outcome::Work).map(Lane::took).sum();
    let at_once = busy.as_secs_f64() / whole.as_secs_f64().max(1e-9);
    let mut longest: Vec<&Lane> = lanes.iter().collect();
    longest.sort_by_key(|lane| std::cmp::Reverse(lane.took()));
    let ticks = ticks(whole);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) ": timings" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p {
                    (span(whole)) ": steps: " (count(Outcome::Ran)) " ran, " (count(Outcome::Cached)) " cached, "
                    (count(Outcome::Failed)) " failed; " (format!("{at_once:.1}")) " steps at a time on average"
                }
                p.key {
                    @for (outcome, meaning) in [
                        (Outcome::Ran, "ran"),
                        (Outcome::Cached, "cached"),
                        (Outcome::Failed, "failed or stopped"),
                        (Outcome::Work, "layers and downloads"),
                    ] {
                        span { i class=(outcome.class()) {} (meaning) }
                    }
                }
                div.chart {
                    div.lane.axis {
                        div.name {}
                        div.track {
                            @for tick in &ticks { div.tick style={ "left:" (place(*tick, whole)) } { (span(*tick)) } }
                        }
                    }
                    @for lane in lanes { (row(lane, &ticks, whole)) }
                }
                h2 { "Longest" }
                table {
                    tr { th.number { "time" } th { "step" } th { "what" } }
                    @for lane in longest.iter().take(10) {
                        tr { td.number { (span(lane.took())) } td { (lane.stage) } td { (first_line(&lane.what)) } }
                    }
                }
            }
        }
    }
}

fn row(lane: &Lane, ticks: &[Duration], whole: Duration) -> Markup {
    let took = span(lane.took());
    let (left, width) = (place(lane.begin, whole), place(lane.took(), whole));
    // The time stands right of the bar, and left of it where there is no room.
    let beside = if lane.end.as_secs_f64() < 0.9 * whole.as_secs_f64() {
        format!("left:{}", place(lane.end, whole))
    } else {
        format!("right:{}", place(whole.saturating_sub(lane.begin), whole))
    };
    html! {
        div.lane title={ (lane.what) "\n" (took) } {
            div.name { @if !lane.stage.is_empty() { b { (lane.stage) } " " } (first_line(&lane.what)) }
            div.track {
                @for tick in ticks { div.tick style={ "left:" (place(*tick, whole)) } {} }
                div class={ "bar " (lane.outcome.class()) } style={ "left:" (left) ";width:" (width) } {}
                div.took style=(beside) { (took) }
            }
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Lane, Outcome, page, ticks};

    #[test]
    fn the_axis_has_round_moments() {
        let at =
            |millis| ticks(Duration::from_millis(millis)).iter().map(Duration::as_millis).collect::<Vec<_>>();
        assert_eq!(at(7), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(at(0), [0, 1]);
        assert_eq!(at(41_000), [0, 5000, 10_000, 15_000, 20_000, 25_000, 30_000, 35_000, 40_000]);
    }

    #[test]
    fn an_instruction_is_text_and_no_markup() {
        let lane = Lane {
            stage: "<b>".into(),
            what: "RUN echo '</div><script>alert(1)</script>'".into(),
            begin: Duration::ZERO,
            end: Duration::from_secs(1),
            outcome: Outcome::Ran,
        };
        let text = page("a & b", &[lane], Duration::from_secs(2)).into_string();
        assert!(!text.contains("<script>") && text.contains("&lt;script&gt;"), "{text}");
        assert!(text.contains("a &amp; b"), "{text}");
    }
}
