//! What has to be cheap: for each thing that may change, which phases run, and the reason that is told.

mod support;

use std::sync::Barrier;

use otoshi_engine::Silent;
use otoshi_explain::Explain;
use otoshi_oci::Digest;
use otoshi_pipeline::{ReasonKind, Status};
use otoshi_project::{Phase, Role};
use otoshi_store::SnapshotId;
use support::{MANIFEST, Shop, ran, reasons};

const NOTHING: [u8; 0] = [];

#[test]
fn nothing_changed_nothing_runs_and_nothing_is_written() {
    let shop = Shop::new();
    let engine = shop.recorder();
    let report = shop.build(&engine);
    assert_eq!(ran(&report), [1, 2, 3, 4]);
    assert_eq!(reasons(&report, 1), ["it was never built here"]);
    let calls = engine.calls.lock().unwrap().len();
    let index = shop.home.layout().root().join("index.json");
    let before = (std::fs::read(&index).unwrap(), std::fs::metadata(&index).unwrap().modified().unwrap());
    let lock = shop.read("otoshi.lock");

    let again = shop.build(&engine);
    assert_eq!(ran(&again), NOTHING);
    assert_eq!(engine.calls.lock().unwrap().len(), calls);
    let after = (std::fs::read(&index).unwrap(), std::fs::metadata(&index).unwrap().modified().unwrap());
    assert_eq!(after, before);
    assert_eq!(shop.read("otoshi.lock"), lock);
    assert_eq!(again.images, report.images);
    assert_eq!(
        again.images.keys().collect::<Vec<_>>(),
        ["shop/builder", "shop/cli", "shop/runner", "shop/web"]
    );
    for (phase, first) in again.phases.iter().zip(&report.phases) {
        assert_eq!((&phase.key, &phase.output), (&first.key, &first.output));
    }
}

#[test]
fn a_moved_base_of_the_runner_runs_3_and_4_and_only_on_refresh() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    let new = shop.import("test.local/slim:12", "2", &[]);
    assert_eq!(ran(&shop.build(&engine)), NOTHING, "build never moves the lock");

    let report = shop.with(&engine, |pipeline| pipeline.build_refreshed(false, &Silent).unwrap());
    assert_eq!(ran(&report), [3, 4]);
    assert_eq!(report.moved.len(), 1);
    let moved = &report.moved[0];
    assert_eq!((moved.role, moved.reference.as_str()), (Role::Runner, "test.local/slim:12"));
    assert_eq!(moved.new, new);
    assert!(moved.old.is_some() && moved.old != Some(moved.new.clone()));
    let reason = reasons(&report, 3)[0];
    assert!(reason.starts_with("base RUNNER_BASE moved sha256:"), "{reason}");

    let report = shop.with(&engine, |pipeline| pipeline.build_refreshed(false, &Silent).unwrap());
    assert_eq!((ran(&report), report.moved), (NOTHING.to_vec(), Vec::new()));
}

#[test]
fn the_same_base_moves_on_the_runners_side_and_on_the_builders_only_when_asked() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.edit("runner.Dockerfile", "RUNNER_BASE", "RUBY_BASE");
    shop.build(&engine);
    shop.import("test.local/ruby:3.1.2", "2", &[]);
    let report = shop.with(&engine, |pipeline| pipeline.build_refreshed(false, &Silent).unwrap());
    assert_eq!(ran(&report), [3, 4]);
    let report = shop.with(&engine, |pipeline| pipeline.build_refreshed(true, &Silent).unwrap());
    assert_eq!(report.moved.iter().map(|moved| moved.role).collect::<Vec<_>>(), [Role::Builder]);
    assert_eq!(ran(&report), [1, 2, 3, 4]);
}

#[test]
fn the_source_runs_2_and_4() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    shop.write("app.rb", "app 2\n");
    shop.write("views/index.erb", "new\n");
    let plan = shop.plan(&engine);
    assert_eq!(plan.phases[3].status, Status::Pending);
    assert_eq!(reasons(&plan, 4), ["depends on what the compile produces"]);
    let report = shop.build(&engine);
    assert_eq!(ran(&report), [2, 4]);
    assert_eq!(reasons(&report, 2), ["source changed: app.rb, views/index.erb"]);

    // Back to what it was: every phase has a record of that.
    shop.write("app.rb", "app 1\n");
    std::fs::remove_dir_all(shop.root().join("views")).unwrap();
    assert_eq!(ran(&shop.build(&engine)), NOTHING);
    shop.write("app.rb", "app 3\n");
    assert_eq!(reasons(&shop.build(&engine), 2), ["source changed: app.rb"], "compared with the last build");
}

#[test]
fn what_the_ignore_file_leaves_out_runs_nothing() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.write(".dockerignore", "README\n.dockerignore\n");
    shop.build(&engine);
    shop.write("README", "changed\n");
    assert_eq!(ran(&shop.build(&engine)), NOTHING);
    // A Dockerfile's own ignore file comes before the project's, for that Dockerfile.
    shop.write("builder.Dockerfile.dockerignore", "Gemfile.lock\n");
    let report = shop.build(&engine);
    assert_eq!(reasons(&report, 1), ["context file Gemfile.lock changed"]);
}

#[test]
fn a_lock_file_runs_all_and_is_named() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    shop.write("Gemfile.lock", "gems 2\n");
    let report = shop.build(&engine);
    assert_eq!(ran(&report), [1, 2, 3, 4]);
    assert_eq!(reasons(&report, 1), ["context file Gemfile.lock changed"]);
    assert!(reasons(&report, 3)[0].starts_with("content of builder /opt/deps changed: sha256:"));
}

#[test]
fn a_start_command_runs_4_and_writes_no_layer() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    shop.edit("otoshi.toml", "web = \"serve\"", "web = \"serve --fast\"");
    let report = shop.build(&engine);
    // otoshi.toml is no source.
    assert_eq!(ran(&report), [4]);
    assert_eq!(report.phases[3].layers_written, 0);
    assert_eq!(reasons(&report, 4), ["process web changed: serve → serve --fast"]);
}

#[test]
fn settings_of_one_process_run_4_and_write_no_layer() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    shop.edit(
        "otoshi.toml",
        "web = \"serve\"",
        "web = { command = \"serve\", env = { A = \"1\" }, expose = [\"80\"] }",
    );
    let report = shop.build(&engine);
    assert_eq!((ran(&report), report.phases[3].layers_written), (vec![4], 0));
    assert_eq!(reasons(&report, 4), ["setting web.env.A is new: 1", "setting web.expose is new: 80"]);
    shop.edit("otoshi.toml", "A = \"1\"", "A = \"2\"");
    assert_eq!(reasons(&shop.build(&engine), 4), ["setting web.env.A changed: 1 → 2"]);
}

#[test]
fn a_runtime_version_runs_what_it_reaches_and_the_plan_says_which() {
    let shop = Shop::new();
    let mut engine = shop.recorder();
    // What the runner copies out of the builder is the same in both.
    engine.same_content = true;
    shop.build(&engine);
    shop.edit("otoshi.toml", "RUBY = \"3.1.2\"", "RUBY = \"3.1.4\"");
    let report = shop.build(&engine);
    assert_eq!(ran(&report), [1, 2, 4], "3 reads no Ruby");
    assert_eq!(
        reasons(&report, 1),
        [
            "argument RUBY changed: 3.1.2 → 3.1.4",
            "base RUBY_BASE changed: test.local/ruby:3.1.2 → test.local/ruby:3.1.4"
        ]
    );

    // A version that no reached stage declares reaches nothing.
    shop.edit("otoshi.toml", "[versions]", "[versions]\nPYTHON = \"3.13\"");
    assert_eq!(ran(&shop.build(&engine)), NOTHING);
    shop.edit("builder.Dockerfile", "ARG RUBY_BASE\n", "ARG RUBY_BASE\nARG PYTHON\n");
    assert_eq!(ran(&shop.build(&engine)), NOTHING, "declared before FROM and used by no FROM");
}

#[test]
fn a_lost_compiled_application_runs_2_and_the_builder_stays() {
    let shop = Shop::new();
    let engine = shop.recorder();
    let report = shop.build(&engine);
    let content: Digest = report.phases[1].output.as_ref().unwrap().parse().unwrap();
    let lost = shop.home.snapshots().path(&SnapshotId::of_key(&content));
    std::fs::remove_dir_all(lost.parent().unwrap()).unwrap();
    let report = shop.build(&engine);
    // The app's images are still there and are made of equal content: 4 need not run.
    assert_eq!(ran(&report), [2]);
    assert_eq!(report.phases[1].reasons[0].kind, ReasonKind::Lost);
    assert!(reasons(&report, 2)[0].starts_with("its result was lost: snapshot step-"));
}

#[test]
fn a_lost_image_is_made_again() {
    let shop = Shop::new();
    let engine = shop.recorder();
    let report = shop.build(&engine);
    let runner: Digest = report.images["shop/runner"].parse().unwrap();
    std::fs::remove_file(shop.home.layout().blob_path(&runner)).unwrap();
    let report = shop.build(&engine);
    assert_eq!(ran(&report), [3], "an identical result stops there");
    assert!(reasons(&report, 3)[0].starts_with("its result was lost: image runner sha256:"));
}

#[test]
fn an_identical_result_stops_the_rest() {
    let shop = Shop::new();
    let mut engine = shop.recorder();
    (engine.same_output, engine.same_content) = (true, true);
    shop.build(&engine);
    // The builder is another image, and what the runner copies out of it is the same.
    shop.write("Gemfile.lock", "gems 2\n");
    let report = shop.build(&engine);
    assert_eq!(ran(&report), [1, 2, 4], "3 sees the same paths; 4 has the lock file in its source");
    // The source differs only in what the app's Dockerfile does not copy.
    shop.edit("otoshi.toml", "dependencies = [\"/opt/deps\"]", "dockerfile = \"app.Dockerfile\"");
    shop.write("app.Dockerfile", "ARG RUNNER\nFROM ${RUNNER} AS web\nCOPY app.rb /\nFROM web AS cli\n");
    shop.build(&engine);
    shop.write("README", "changed\n");
    assert_eq!(ran(&shop.build(&engine)), [2]);
    shop.write("app.rb", "app 2\n");
    let plan = shop.plan(&engine);
    assert_eq!(plan.phases[3].status, Status::Pending);
}

#[test]
fn comments_are_no_change_and_an_instruction_is_named() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    shop.edit("builder.Dockerfile", "RUN npm ci", "# why\nRUN npm ci");
    assert_eq!(ran(&shop.build(&engine)), NOTHING);
    // What is taken back in is source.
    shop.write(".dockerignore", "!builder.Dockerfile\n");
    assert_eq!(ran(&shop.build(&engine)), [2, 4]);
    shop.write(".dockerignore", "");
    assert_eq!(ran(&shop.build(&engine)), NOTHING, "as it was compiled at first");
    shop.edit("builder.Dockerfile", "RUN npm ci", "RUN npm ci\nRUN npm test");
    assert_eq!(reasons(&shop.build(&engine), 1), ["instruction `RUN npm test` added"]);
}

#[test]
fn compile_and_runner_run_at_the_same_time() {
    let shop = Shop::new();
    let mut engine = shop.recorder();
    shop.build(&engine);
    shop.write("app.rb", "app 2\n");
    shop.edit("runner.Dockerfile", "COPY --from", "RUN true\nCOPY --from");
    // Each waits at the barrier until the other has started: one after the other would wait for ever.
    engine.meet = Some(Barrier::new(2));
    let report = shop.try_build(&engine).unwrap();
    assert_eq!(ran(&report), [2, 3, 4]);
    assert_eq!(report.phases.iter().map(|phase| phase.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_phase_that_failed_leaves_no_record() {
    let shop = Shop::new();
    let mut engine = shop.recorder();
    engine.exit_code = 3;
    let error = shop.try_build(&engine).unwrap_err();
    assert_eq!(error.to_string(), "compile: \"make\" ended with exit code 3");
    assert_eq!(error.kind(), otoshi_explain::Kind::Build);
    engine.exit_code = 0;
    // Runner ran beside it, and its result stays.
    assert_eq!(ran(&shop.build(&engine)), [2, 4]);
}

#[test]
fn without_a_builder_the_runner_compiles() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.write(
        "otoshi.toml",
        "[project]\nname = \"shop\"\n[bases]\nRUNNER_BASE = \"test.local/slim:12\"\n[compile]\nrun = \"make\"\n[runner]\ndockerfile = \"runner.Dockerfile\"\n[processes]\nweb = \"serve\"\n",
    );
    shop.write("runner.Dockerfile", "ARG RUNNER_BASE\nFROM ${RUNNER_BASE}\nRUN true\n");
    let report = shop.build(&engine);
    assert_eq!(
        report.phases.iter().map(|phase| phase.phase).collect::<Vec<_>>(),
        [Phase::Compile, Phase::Runner, Phase::App]
    );
    let calls: Vec<String> =
        engine.calls.lock().unwrap().iter().map(|call| call.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(calls, ["build", "run", "assemble"]);
    shop.edit("runner.Dockerfile", "RUN true", "RUN false");
    assert_eq!(reasons(&shop.plan(&engine), 2), ["depends on what the runner produces"]);
}

#[test]
fn without_cache_everything_runs() {
    let shop = Shop::new();
    let engine = shop.recorder();
    shop.build(&engine);
    let project = otoshi_project::Project::find(&shop.root()).unwrap();
    let pipeline = otoshi_pipeline::Pipeline::new(&shop.home, &engine, &project).with_no_cache(true);
    let report = pipeline.build(false, &Silent).unwrap();
    assert_eq!(ran(&report), [1, 2, 3, 4]);
    assert_eq!(report.phases[0].reasons[0].kind, ReasonKind::Requested);
    assert_eq!(ran(&shop.build(&engine)), NOTHING);
}

#[test]
fn two_projects_with_equal_phases_share_them() {
    let shop = Shop::new();
    let engine = shop.recorder();
    let first = shop.build(&engine);
    shop.write("otoshi.toml", &MANIFEST.replace("name = \"shop\"", "name = \"store\""));
    let report = shop.build(&engine);
    assert_eq!(ran(&report), NOTHING, "a name is a tag");
    assert_eq!(report.images["store/web"], first.images["shop/web"]);
}
