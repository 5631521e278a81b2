//! A Dockerfile: parsed, its stages found, every check run. Nothing that a person can write makes this panic.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use otoshi_dockerfile::{Dockerfile, GlobalScope, Graph, check::Surrounding};

const PLATFORM: &str = "linux/amd64";

fuzz_target!(|text: &str| {
    let args = BTreeMap::from([("VERSION".to_owned(), "1".to_owned())]);
    let Ok(dockerfile) = Dockerfile::parse("Dockerfile", text) else { return };
    let around = Surrounding {
        args: &args,
        target_platform: PLATFORM,
        build_platform: PLATFORM,
        ignore: None,
        base: &|_, _| None,
        is_reference: &|name| otoshi_oci::Reference::parse(name).is_ok(),
    };
    let _ = dockerfile.check(&around);
    let Ok(globals) = GlobalScope::evaluate(&dockerfile, &args, PLATFORM, PLATFORM) else { return };
    let Ok(graph) = Graph::reach(&dockerfile, &globals, None) else { return };
    graph.images(&dockerfile);
});
