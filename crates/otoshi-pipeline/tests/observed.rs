//! What a Dockerfile phase observes at the corners: nothing that it can see may be left out of its key.

mod support;

use otoshi_pipeline::Plan;
use support::{Shop, ran, reasons};

/// Builds with this builder, applies the change, and builds again.
fn after(shop: &Shop, builder: &str, change: impl FnOnce(&Shop)) -> Plan {
    let mut engine = shop.recorder();
    (engine.same_content, engine.same_output) = (true, true);
    shop.write("builder.Dockerfile", builder);
    shop.build(&engine);
    change(shop);
    shop.build(&engine)
}

#[test]
fn a_source_named_by_the_environment_of_the_base() {
    let shop = Shop::new();
    shop.import("test.local/ruby:3.1.2", "env", &["DEPS=locks"]);
    shop.write("locks/Gemfile.lock", "1\n");
    let builder = "ARG RUBY_BASE\nFROM ${RUBY_BASE}\nCOPY ${DEPS}/Gemfile.lock /\n";
    let report = after(&shop, builder, |shop| shop.write("locks/Gemfile.lock", "2\n"));
    assert_eq!(reasons(&report, 1), ["context file locks/Gemfile.lock changed"]);
    // And nothing else is counted.
    let report = after(&shop, builder, |shop| shop.write("README", "changed\n"));
    assert!(!ran(&report).contains(&1));
}

#[test]
fn a_source_named_by_an_argument_of_the_stage_below() {
    let shop = Shop::new();
    shop.write("locks/a", "1\n");
    let builder = "ARG RUBY_BASE\nFROM ${RUBY_BASE} AS base\nARG DIR=locks\nENV FILE=a\nFROM base\nCOPY $DIR/${FILE} /\n";
    let report = after(&shop, builder, |shop| shop.write("locks/a", "2\n"));
    assert_eq!(reasons(&report, 1), ["context file locks/a changed"]);
}

#[test]
fn bind_mounts_of_the_context() {
    let shop = Shop::new();
    let builder =
        "ARG RUBY_BASE\nFROM ${RUBY_BASE}\nRUN --mount=type=bind,source=Gemfile.lock,target=/l cat /l\n";
    let report = after(&shop, builder, |shop| shop.write("Gemfile.lock", "2\n"));
    assert_eq!(reasons(&report, 1), ["context file Gemfile.lock changed"]);
    let builder = "ARG RUBY_BASE\nFROM ${RUBY_BASE}\nRUN --mount=type=bind,target=/l cat /l/README\n";
    let report = after(&shop, builder, |shop| shop.write("README", "2\n"));
    assert_eq!(reasons(&report, 1), ["context file README changed"]);
}

#[test]
fn heredocs_read_no_context() {
    let shop = Shop::new();
    let builder = "ARG RUBY_BASE\nFROM ${RUBY_BASE}\nCOPY <<EOF /greeting\nhello\nEOF\n";
    let report = after(&shop, builder, |shop| shop.write("README", "2\n"));
    assert!(!ran(&report).contains(&1), "{:?}", reasons(&report, 1));
    let report = after(&shop, builder, |shop| shop.edit("builder.Dockerfile", "hello", "goodbye"));
    assert!(ran(&report).contains(&1));
}

#[test]
fn triggers_of_the_stage_below() {
    let shop = Shop::new();
    let builder =
        "ARG RUBY_BASE\nFROM ${RUBY_BASE} AS base\nONBUILD COPY Gemfile.lock /\nFROM base\nRUN true\n";
    let report = after(&shop, builder, |shop| shop.write("Gemfile.lock", "2\n"));
    assert_eq!(reasons(&report, 1), ["context file Gemfile.lock changed"]);
}

#[test]
fn an_instruction_that_stands_there_twice_counts_twice() {
    let shop = Shop::new();
    let builder = "ARG RUBY_BASE\nFROM ${RUBY_BASE}\nRUN echo >> /f\nRUN echo >> /f\n";
    let report = after(&shop, builder, |shop| {
        shop.write("builder.Dockerfile", "ARG RUBY_BASE\nFROM ${RUBY_BASE}\nRUN echo >> /f\n");
    });
    assert_eq!(reasons(&report, 1), ["instruction `RUN echo >> /f` removed"]);
}

#[test]
fn the_default_of_an_argument_before_from() {
    let shop = Shop::new();
    let builder = "ARG RUBY_BASE\nARG LEVEL=1\nFROM ${RUBY_BASE}\nARG LEVEL\nRUN echo $LEVEL\n";
    let report = after(&shop, builder, |shop| shop.edit("builder.Dockerfile", "LEVEL=1", "LEVEL=2"));
    assert_eq!(reasons(&report, 1), ["argument LEVEL changed: 1 → 2"]);
}

#[test]
fn stages_that_are_not_reached_count_for_nothing() {
    let shop = Shop::new();
    let builder =
        "ARG RUBY_BASE\nFROM test.local/gone:1 AS unused\nCOPY README /\nFROM ${RUBY_BASE}\nRUN true\n";
    let report = after(&shop, builder, |shop| {
        shop.edit("builder.Dockerfile", "COPY README /", "RUN something");
        shop.write("README", "2\n");
    });
    assert!(!ran(&report).contains(&1), "{:?}", reasons(&report, 1));
}

/// Builds with this runner, changes the builder and nothing that is copied out of it, and builds again.
fn runner_after_another_builder(runner: &str) -> Plan {
    let shop = Shop::new();
    let mut engine = shop.recorder();
    (engine.same_content, engine.same_output) = (true, true);
    shop.write("runner.Dockerfile", runner);
    shop.build(&engine);
    shop.edit("builder.Dockerfile", "RUN npm ci", "RUN npm ci --fast");
    shop.build(&engine)
}

#[test]
fn of_another_role_the_copied_paths_count_unless_a_stage_works_on_it() {
    let head = "ARG RUNNER_BASE\nARG BUILDER\nFROM ${BUILDER} AS b\n";
    let tail = "FROM ${RUNNER_BASE}\nCOPY --from=b /opt /opt\n";
    let report = runner_after_another_builder(&format!("{head}{tail}"));
    assert!(!ran(&report).contains(&3), "{:?}", reasons(&report, 3));
    let report = runner_after_another_builder(&format!("{head}RUN strip /opt\n{tail}"));
    assert!(reasons(&report, 3)[0].starts_with("content of builder changed: sha256:"));
    let report = runner_after_another_builder("ARG BUILDER\nFROM ${BUILDER}\n");
    assert!(ran(&report).contains(&3), "the builder's own layers are the runner's");
    let report =
        runner_after_another_builder(&format!("{head}FROM ${{RUNNER_BASE}}\nCOPY --from=b /opt/* /opt\n"));
    assert!(ran(&report).contains(&3), "which paths match is not known");
    let report = runner_after_another_builder(
        "ARG RUNNER_BASE\nFROM ${RUNNER_BASE}\nRUN --mount=type=cache,target=/c,from=otoshi.invalid/roles/shop/builder,source=/opt/* true\n",
    );
    assert!(ran(&report).contains(&3), "a cache that starts from the builder");
}

#[test]
fn an_unreached_use_of_the_builder_does_not_make_the_runner_wait() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.write(
        "runner.Dockerfile",
        "ARG RUNNER_BASE\nARG BUILDER\nFROM ${BUILDER} AS unused\nFROM ${RUNNER_BASE}\nRUN true\n",
    );
    shop.build(&engine);
    shop.write("Gemfile.lock", "2\n");
    assert_eq!(shop.plan(&engine).phases[2].status, otoshi_pipeline::Status::Fresh);
}

#[test]
fn triggers_of_a_base_read_the_context_and_declare_arguments() {
    let shop = Shop::new();
    let triggers = ["ARG SERIES", "COPY Gemfile.lock /", "COPY --from=tools /tool /tool", "RUN make"];
    shop.import_with_triggers("test.local/ruby:3.1.2", "triggers", &[], &triggers);
    shop.write("tool", "1\n");
    let builder = "ARG RUBY_BASE\nFROM scratch AS tools\nCOPY tool /tool\nFROM ${RUBY_BASE}\n";
    let report = after(&shop, builder, |shop| shop.write("Gemfile.lock", "2\n"));
    assert_eq!(reasons(&report, 1), ["context file Gemfile.lock changed"]);
    // A stage that only a trigger reads from is reached.
    let report = after(&shop, builder, |shop| shop.write("tool", "2\n"));
    assert_eq!(reasons(&report, 1), ["context file tool changed"]);
    let report = after(&shop, builder, |shop| shop.write("README", "2\n"));
    assert!(!ran(&report).contains(&1), "{:?}", reasons(&report, 1));
}

#[test]
fn sources_that_lie_elsewhere_count_by_what_they_hold_now() {
    let shop = Shop::new();
    let builder = "ARG RUBY_BASE\nFROM ${RUBY_BASE}\nADD https://test.local/tool Gemfile.lock /\n";
    let change = |shop: &Shop| std::fs::write(shop.home.root().join("elsewhere"), "moved").unwrap();
    let report = after(&shop, builder, change);
    assert_eq!(reasons(&report, 1).len(), 1, "{:?}", reasons(&report, 1));
    assert!(reasons(&report, 1)[0].contains("https://test.local/tool"), "{:?}", reasons(&report, 1));
    let report = after(&shop, builder, |shop| shop.write("Gemfile.lock", "3\n"));
    assert_eq!(reasons(&report, 1), ["context file Gemfile.lock changed"]);
    let pinned = builder.replace("ADD ", "ADD --checksum=sha256:ab ").replace(" Gemfile.lock", "");
    let report =
        after(&shop, &pinned, |shop| std::fs::write(shop.home.root().join("elsewhere"), "again").unwrap());
    assert!(!ran(&report).contains(&1), "{:?}", reasons(&report, 1));
}

#[test]
fn files_that_flags_of_copy_may_reach() {
    let shop = Shop::new();
    shop.write("dir/sub/a.txt", "1\n");
    let builder = "ARG RUBY_BASE\nFROM ${RUBY_BASE}\nCOPY --parents --exclude=*.md ./dir/./**/*.txt /\n";
    let report = after(&shop, builder, |shop| shop.write("dir/sub/a.txt", "2\n"));
    assert!(ran(&report).contains(&1), "{:?}", reasons(&report, 1));
    let report = after(&shop, builder, |shop| shop.write("dir/new/deep/b.txt", "1\n"));
    assert!(ran(&report).contains(&1), "{:?}", reasons(&report, 1));
    let report = after(&shop, builder, |shop| shop.write("README", "2\n"));
    assert!(!ran(&report).contains(&1), "{:?}", reasons(&report, 1));
    let report = after(&shop, builder, |shop| shop.edit("builder.Dockerfile", "*.md", "*.rs"));
    assert!(ran(&report).contains(&1));
}

#[test]
fn the_time_of_a_build_counts_also_where_no_stage_declares_it() {
    let shop = Shop::new();
    let builder = "ARG SOURCE_DATE_EPOCH=1\nARG RUBY_BASE\nFROM ${RUBY_BASE}\nRUN make\n";
    let report = after(&shop, builder, |shop| shop.edit("builder.Dockerfile", "EPOCH=1", "EPOCH=2"));
    assert_eq!(reasons(&report, 1).len(), 1);
    assert!(reasons(&report, 1)[0].contains("SOURCE_DATE_EPOCH"), "{:?}", reasons(&report, 1));
}
