//! How much work something is, whatever else the machine does meanwhile.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of this thread that some work takes, at its best of three.
///
/// Other threads' work, and waiting for them, for a disk or for a turn on a busy machine, do not count.
pub fn processor_time(mut work: impl FnMut()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
    };
    let once = |()| {
        let begun = now();
        work();
        now().saturating_sub(begun)
    };
    [(); 3].map(once).into_iter().min().unwrap()
}
