//! The time of a layer's files: one for each layer, and another one when what COPY, ADD or compiling brings is another content.
//!
//! Web servers, browsers and caches tell two versions of a file apart by its time and size, so a changed file must have a later time,
//! and the same source the same time on every machine (`docs/decisions/0003-times.md`):
//! - Of what comes from a clean git checkout: that of the last commit that changed it.
//! - Else a time in 1980 or 1981 that the content gives; later where an earlier content of the same place had that time or a later one,
//!   as far as this store remembers.
//! - Of what RUN leaves: always [`Output::DEFAULT_EPOCH`]. Which of its files is newer than which may matter, and no time is reproducible.
//!
//! `SOURCE_DATE_EPOCH` takes the place of all.

use std::path::Path;

use otoshi_oci::{Digest, Fields};
use otoshi_store::SnapshotId;

use super::{
    EmbeddedEngine,
    chain::{Chain, Layer},
};
use crate::{
    EngineError, Output, checkout,
    records::{PlaceTime, SnapshotTime},
};

/// How many seconds after [`Output::DEFAULT_EPOCH`] a content's time may be: some 388 days.
const RANGE: u64 = 1 << 25;
/// How many seconds after its source's time what was made of it may be.
const MADE_RANGE: u64 = 60;

/// Where something comes from that becomes a layer.
pub(crate) struct Origin<'a> {
    /// Stands for the place it has: the project or image, the instruction.
    pub(crate) place: Digest,
    pub(crate) content: &'a Digest,
    /// The directory it was read in, and the paths there; none is all of it.
    pub(crate) checkout: Option<(&'a Path, &'a [&'a str])>,
    /// Whether it was made of the source, and is not the source itself.
    pub(crate) is_made: bool,
    /// It is no earlier than this.
    pub(crate) after: i64,
}

impl EmbeddedEngine {
    /// The time that the files of a snapshot have in layers; `None` where it is not one of those that have one of their own.
    pub(crate) fn time_of(&self, snapshot: &SnapshotId) -> Option<i64> {
        let key = of_snapshot(snapshot);
        let SnapshotTime(time) = self.home().records().get(key.hex())?;
        self.home().records().touch::<SnapshotTime>(key.hex());
        Some(time)
    }

    /// Settles the time of a snapshot, unless it has one.
    pub(crate) fn give_time(&self, snapshot: &SnapshotId, origin: &Origin<'_>) -> Result<(), EngineError> {
        if self.time_of(snapshot).is_some() {
            return Ok(());
        }
        let records = self.home().records();
        let committed = origin.checkout.and_then(|(root, paths)| committed(root, paths));
        let base = committed.unwrap_or(Output::DEFAULT_EPOCH).max(origin.after);
        let spread = match (base > Output::DEFAULT_EPOCH, origin.is_made) {
            (true, false) if committed.is_some() => 0,
            (true, _) => number_of(origin.content) % MADE_RANGE,
            (false, _) => number_of(origin.content) % RANGE,
        };
        let mut time = base + spread as i64;
        let before: Option<PlaceTime> = records.get(origin.place.hex());
        match before {
            Some(PlaceTime(content, earlier)) if content == *origin.content => time = earlier,
            Some(PlaceTime(_, earlier)) if time <= earlier => time = earlier + 1,
            _ => {}
        }
        // The formats of archives and of Python's bytecode have 32 bits for it.
        let time = time.clamp(0, i64::from(u32::MAX));
        records.put(origin.place.hex(), &PlaceTime(origin.content.clone(), time))?;
        records.put(of_snapshot(snapshot).hex(), &SnapshotTime(time))?;
        Ok(())
    }

    /// The latest time of what was copied into a chain.
    pub(crate) fn latest(&self, chain: &Chain) -> i64 {
        let times = chain.layers.iter().filter_map(|layer| match layer {
            Layer::Step(snapshot) => self.time_of(snapshot),
            Layer::Image(_) | Layer::Written(_) => None,
        });
        times.max().unwrap_or(Output::DEFAULT_EPOCH)
    }
}

fn of_snapshot(snapshot: &SnapshotId) -> Digest {
    Fields::new("time 1").text(snapshot.as_str()).digest()
}

/// A number that a content gives.
fn number_of(content: &Digest) -> u64 {
    u64::from_str_radix(&content.hex()[..16], 16).unwrap_or_default()
}

/// When the last commit was made that changed these paths of a git checkout, in seconds since 1970; `None` where it is none, where
/// something there is not as it was committed, or git does not say.
fn committed(root: &Path, paths: &[&str]) -> Option<i64> {
    let git = |arguments: &[&str]| {
        let paths = if paths.is_empty() { &["."][..] } else { paths };
        let output = checkout::git(root)?.args(arguments).arg("--").args(paths).output().ok()?;
        output.status.success().then_some(output.stdout)
    };
    let text = git(&["log", "-1", "--format=%ct"])?;
    let time = std::str::from_utf8(&text).ok()?.trim().parse().ok()?;
    git(&["status", "--porcelain", "-z"])?.is_empty().then_some(time)
}
