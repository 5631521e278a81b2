//! otoshi.lock: what a build adds to it, what it never does, and what is told when a base is not there.

mod support;

use std::collections::BTreeMap;

use otoshi_engine::Silent;
use otoshi_explain::{Explain, Kind, Remedy};
use otoshi_oci::{Digest, ImageConfig, Platform, write_image};
use support::{Shop, ran};

#[test]
fn build_adds_what_is_missing_and_locked_refuses() {
    let shop = Shop::new();
    let engine = shop.recorder();
    let refused = shop.with(&engine, |pipeline| pipeline.build(true, &Silent).unwrap_err());
    assert_eq!(
        refused.to_string(),
        "otoshi.lock has no test.local/node:20 for the builder, and no test.local/ruby:3.1.2 for the builder, and no test.local/slim:12 for the runner"
    );
    assert_eq!(refused.kind(), Kind::User);
    shop.plan(&engine);
    assert!(!shop.root().join("otoshi.lock").exists(), "neither a plan nor a refused build writes it");
    assert!(engine.calls.lock().unwrap().is_empty());

    shop.build(&engine);
    let lock = shop.read("otoshi.lock");
    for base in ["node:20", "ruby:3.1.2", "slim:12"] {
        assert!(lock.contains(base), "{base}: {lock}");
    }
    let report = shop.with(&engine, |pipeline| pipeline.build(true, &Silent).unwrap());
    assert!(ran(&report).is_empty());
}

#[test]
fn unused_entries_go_when_the_lock_is_written_anyway() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    shop.edit("builder.Dockerfile", "COPY --from=node /n /n\n", "");
    shop.build(&engine);
    assert!(shop.read("otoshi.lock").contains("node:20"), "nothing was added, so it is not written");
    shop.edit("otoshi.toml", "RUBY = \"3.1.2\"", "RUBY = \"3.1.4\"");
    shop.build(&engine);
    let lock = shop.read("otoshi.lock");
    assert!(
        lock.contains("ruby:3.1.4") && !lock.contains("ruby:3.1.2") && !lock.contains("node:20"),
        "{lock}"
    );
}

#[test]
fn the_lock_is_written_before_anything_runs() {
    let shop = Shop::new();
    let mut engine = shop.recorder();
    engine.exit_code = 1;
    shop.try_build(&engine).unwrap_err();
    let locked = shop.read("otoshi.lock");
    shop.import("test.local/slim:12", "2", &[]);
    engine.exit_code = 0;
    shop.build(&engine);
    assert_eq!(shop.read("otoshi.lock"), locked);
}

#[test]
fn a_base_that_is_not_there_is_told_with_role_and_hint() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.edit("otoshi.toml", "slim:12", "slim:13");
    let error = shop.try_build(&engine).unwrap_err();
    assert_eq!(error.to_string(), "the runner starts from test.local/slim:13, and there is no such image");
    assert!(
        matches!(error.remedy().unwrap(), Remedy::OrImport { name, .. } | Remedy::Import { name } if name == "test.local/slim:13")
    );
    assert!(engine.calls.lock().unwrap().is_empty(), "found out before anything runs");
}

#[test]
fn a_locked_base_that_was_lost_matters_only_to_a_phase_that_runs() {
    let shop = Shop::new();
    let engine = shop.recorder();
    let locked = shop.import("test.local/slim:12", "1", &[]);
    shop.build(&engine);
    std::fs::remove_file(shop.home.layout().blob_path(&locked)).unwrap();
    assert!(ran(&shop.build(&engine)).is_empty());
    shop.import("test.local/slim:12", "2", &[]);
    shop.edit("runner.Dockerfile", "COPY --from", "RUN true\nCOPY --from");
    let error = shop.try_build(&engine).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the runner starts from test.local/slim:12 at sha256:"), "{text}");
    assert_eq!(error.remedy(), Some(Remedy::RefreshBase { builder: false }));
}

#[test]
fn another_platform_is_looked_up_in_the_locked_index_not_in_the_name() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    // As if the lock had been written on another platform.
    let host = Platform::host().to_string();
    let other = if host == "linux/arm64" { "linux/amd64" } else { "linux/arm64" };
    let text = shop.read("otoshi.lock");
    shop.write("otoshi.lock", &text.replace(&host, other));
    shop.import("test.local/slim:12", "2", &[]);
    let report = shop.build(&engine);
    assert!(ran(&report).is_empty(), "the same index has the same manifest: {:?}", report.phases);
    let lock = shop.read("otoshi.lock");
    assert!(lock.contains(&host) && lock.contains(other), "{lock}");

    // The index is gone: the name's new meaning must not take its place.
    shop.write("otoshi.lock", &text.replace(&host, other));
    let old: Digest = {
        let config = {
            let mut config = ImageConfig::new(&Platform::host());
            config.config.labels.insert("content".into(), "test.local/slim:12 1".into());
            config
        };
        Digest::of(&write_image(shop.home.layout(), &config, &[], &BTreeMap::new()).unwrap()).unwrap()
    };
    std::fs::remove_file(shop.home.layout().blob_path(&old)).unwrap();
    let error = shop.try_build(&engine).unwrap_err();
    assert!(error.to_string().contains("which is not in the store"), "{error}");
}

#[test]
fn a_damaged_entry_is_an_error_and_not_a_missing_one() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    let text = shop.read("otoshi.lock");
    shop.write("otoshi.lock", &text.replacen("sha256:", "sha256:zz", 20));
    let error = shop.try_build(&engine).unwrap_err();
    assert!(error.to_string().starts_with("otoshi.lock:"), "it has a line: {error}");
    assert!(error.to_string().contains("sha256:zz"), "{error}");
}
