//! Two versions, one a line: the other way round the order is the other one, and a version is equal to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_packages::Manager;
use otoshi_packages::version::compare;

fuzz_target!(|text: &str| {
    let (left, right) = text.split_once('\n').unwrap_or((text, ""));
    for manager in [Manager::Dpkg, Manager::Apk, Manager::Rpm] {
        assert_eq!(compare(manager, left, right), compare(manager, right, left).reverse(), "{manager:?}");
        assert!(compare(manager, left, left).is_eq(), "{manager:?}");
    }
});
