//! An ignore file, asked about paths one level at a time and at once; both answers must be the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_dockerfile::{Ignore, Level};

const PATHS: [&str; 5] = ["a", "a/b", "a/b/c.txt", "src/target/deep/er", "ü/ b"];

fuzz_target!(|text: &str| {
    let Ok(ignore) = Ignore::parse(text) else { return };
    ignore.canonical();
    for path in PATHS {
        let mut level = Level::default();
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            level = ignore.below(&level, &path[..end]);
            ignore.can_prune(&path[..end]);
        }
        assert_eq!(level.is_excluded(), ignore.excludes(path, false), "{path:?} under {text:?}");
    }
});
