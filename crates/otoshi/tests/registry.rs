//! The registry as memory: machines that have nothing but the project's files, and a real registry behind a proxy that notes what
//! they ask.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use otoshi_registry_test::{Fault, Proxy, Registry, Request, Rule};
use serde_json::Value;
use support::Shop;

const MANIFEST: &str = r#"
[project]
name = "shop"
[bases]
BUILD_BASE = "HOST/base:1"
RUN_BASE = "HOST/slim:1"
[registry]
repository = "HOST/team/shop"
[builder]
dockerfile = "builder.Dockerfile"
[compile]
run = "cat src/main /opt/deps/lib > compiled"
[runner]
dockerfile = "runner.Dockerfile"
[processes]
web = "cat compiled /etc/runner /etc/base"
cli = ["/bin/echo", "cli"]
"#;

/// A project whose bases are in a registry, and a machine to work on it.
struct Stage {
    registry: Registry,
    proxy: Proxy,
    shop: Shop,
}

impl Stage {
    fn new() -> Option<Self> {
        let (registry, shop) = (Registry::start()?, Shop::new()?);
        let stage = Self { proxy: Proxy::start(registry.port()), registry, shop };
        stage.shop.write("otoshi.toml", &MANIFEST.replace("HOST", &stage.proxy.host()));
        stage.shop.write(
            "builder.Dockerfile",
            "ARG BUILD_BASE\nFROM ${BUILD_BASE}\nCOPY deps.lock /opt/deps/lib\n",
        );
        stage
            .shop
            .write("runner.Dockerfile", "ARG RUN_BASE\nFROM ${RUN_BASE}\nRUN echo runner > /etc/runner\n");
        stage.push_base("base", "base 1\n");
        stage.push_base("slim", "slim 1\n");
        stage.replace_machine();
        Some(stage)
    }

    /// Pushes a base whose /etc/base says `text`.
    fn push_base(&self, name: &str, text: &str) {
        self.shop.import(text);
        let to = format!("{}/{name}:1", self.proxy.host());
        self.shop.ok(&["image", "push", "otoshi.test/busybox:1", &to]);
    }

    /// Throws the store away, and what was noted.
    fn replace_machine(&self) {
        let _ = fs::remove_dir_all(self.shop.home());
        self.proxy.take_log();
    }

    /// What a build on a machine without a store asked, after checking which phases ran.
    fn build_on_new_machine(&self, arguments: &[&str], ran: &[u8]) -> Asked {
        self.replace_machine();
        assert_eq!(self.shop.ran(arguments), ran);
        Asked(self.proxy.take_log())
    }

    /// The layers of an image in the registry, by the name that `otoshi build` gives it.
    fn layers(&self, image: &str) -> Vec<String> {
        let shown: Value = serde_json::from_str(&self.shop.ok(&["inspect", image])).unwrap();
        let layers = shown["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.shop.path(file)).unwrap();
        assert!(text.contains(from));
        self.shop.write(file, &text.replace(from, to));
    }

    fn name(&self, tag: &str) -> String {
        format!("{}/team/shop:{tag}", self.proxy.host())
    }
}

/// Requests.
struct Asked(Vec<Request>);

impl Asked {
    /// The digests of the blobs that were fetched.
    fn blobs(&self) -> Vec<String> {
        let gets = self.0.iter().filter(|request| request.is("GET", "/blobs/sha256"));
        let mut found: Vec<_> =
            gets.map(|request| request.path.rsplit('/').next().unwrap().to_owned()).collect();
        found.sort();
        found
    }
}

#[test]
fn a_new_machine_does_nothing_when_nothing_changed() {
    let Some(stage) = Stage::new() else { return };
    assert_eq!(stage.shop.ran(&[]), [1, 2, 3, 4], "bases come from the registry");
    let images = stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);

    let asked = stage.build_on_new_machine(&[], &[]);
    assert_eq!(asked.blobs(), [""; 0], "not one blob");
    assert!(asked.0.len() <= 8, "{:?}", asked.0);
    assert_eq!(stage.shop.ok(&["build"]), images);
    assert_eq!(stage.proxy.take_log().len(), 0, "from then on it is known here");

    // What is run is fetched, and no more.
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nslim 1\n");
    let mut expected = stage.layers("shop/web");
    expected.sort();
    assert_eq!(Asked(stage.proxy.take_log()).blobs(), expected);

    // Pushing from there moves nothing.
    let pushed: Value = serde_json::from_str(&stage.shop.ok(&["push", "--json"])).unwrap();
    assert_eq!(pushed["moved"], 0);
    assert!(pushed["requests"].as_u64().unwrap() <= 12, "{pushed}");
}

#[test]
fn a_changed_source_fetches_the_builder_and_nothing_else() {
    let Some(stage) = Stage::new() else { return };
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.shop.write("src/main", "source 2\n");
    let asked = stage.build_on_new_machine(&[], &[2, 4]);
    let mut builder = stage.layers("shop/builder");
    builder.sort();
    assert_eq!(asked.blobs(), builder);

    // The app stands on a runner whose layers are not here: pushing needs none of them.
    stage.shop.ok(&["push"]);
    let asked = Asked(stage.proxy.take_log());
    assert_eq!(asked.blobs(), [""; 0]);
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 2\ndeps 1\nrunner\nslim 1\n");
}

#[test]
fn a_moved_base_of_the_runner_fetches_neither_builder_nor_old_base() {
    let Some(stage) = Stage::new() else { return };
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let builder = stage.layers("shop/builder");
    let old = stage.layers("shop/runner");
    stage.push_base("slim", "slim 2\n");
    assert_eq!(stage.build_on_new_machine(&[], &[]).blobs(), [""; 0], "a build never moves the lock");

    let asked = stage.build_on_new_machine(&["--refresh"], &[3, 4]);
    let fetched = asked.blobs();
    assert!(!fetched.iter().any(|digest| builder.contains(digest) || old.contains(digest)), "{fetched:?}");
    assert_eq!(fetched.len(), 3, "the new base's config and layer, and the compiled output: {fetched:?}");
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nslim 2\n");
}

#[test]
fn what_the_app_has_of_the_builder_is_not_copied_again() {
    let Some(stage) = Stage::new() else { return };
    stage.edit("otoshi.toml", "[processes]", "[app]\ndependencies = [\"/opt/deps\"]\n[processes]");
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let (builder, old) = (stage.layers("shop/builder"), stage.layers("shop/runner"));
    let copied = stage.layers("shop/web")[old.len()].clone();

    // Another source: the runner is not looked at.
    stage.shop.write("src/main", "source 2\n");
    let asked = stage.build_on_new_machine(&[], &[2, 4]);
    let mut expected = builder.clone();
    expected.sort();
    assert_eq!(asked.blobs(), expected);
    assert_eq!(stage.layers("shop/web")[old.len()], copied);

    // Another base below the runner: the builder is not looked at, and a swap of layers is all there is.
    stage.push_base("slim", "slim 2\n");
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let asked = stage.build_on_new_machine(&["--refresh"], &[3, 4]);
    let fetched = asked.blobs();
    assert!(!fetched.iter().any(|digest| builder.contains(digest) || old.contains(digest)), "{fetched:?}");
    assert!(!fetched.contains(&copied));
    let runner = stage.layers("shop/runner");
    assert_eq!(stage.layers("shop/web")[runner.len()], copied);
    stage.shop.ok(&["push"]);
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 2\ndeps 1\nrunner\nslim 2\n");
    assert_eq!(stage.shop.ok(&["run", "web", "--", "/bin/cat", "/opt/deps/lib"]), "deps 1\n");
}

#[test]
fn a_start_command_fetches_what_the_app_is_made_of_and_runs_4() {
    let Some(stage) = Stage::new() else { return };
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let builder = stage.layers("shop/builder");
    stage.edit("otoshi.toml", "\"cli\"]", "\"cli 2\"]");
    let asked = stage.build_on_new_machine(&[], &[4]);
    assert!(!asked.blobs().iter().any(|digest| builder.contains(digest)));
    assert_eq!(stage.shop.ok(&["run", "cli"]), "cli 2\n");
}

#[test]
fn a_lock_file_runs_all_and_fetches_bases_only() {
    let Some(stage) = Stage::new() else { return };
    stage.edit("otoshi.toml", "[processes]", "[app]\ndependencies = [\"/opt/deps\"]\n[processes]");
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.shop.write("deps.lock", "deps 2\n");
    let bases = [stage.layers("shop/builder")[0].clone(), stage.layers("shop/runner")[0].clone()];
    let asked = stage.build_on_new_machine(&[], &[1, 2, 4]);
    assert!(
        asked
            .blobs()
            .iter()
            .all(|digest| bases.contains(digest) || stage.layers("shop/runner").contains(digest))
    );
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 2\nrunner\nslim 1\n");
}

#[test]
fn a_runtime_version_runs_what_it_reaches_and_leaves_the_runner_where_it_is() {
    let Some(stage) = Stage::new() else { return };
    stage.edit("otoshi.toml", "[bases]", "[versions]\nRUBY = \"3.1.2\"\n[bases]");
    let more = "ARG RUBY\nRUN echo ${RUBY} >> /opt/deps/lib\n";
    stage.edit("builder.Dockerfile", "/opt/deps/lib\n", &format!("/opt/deps/lib\n{more}"));
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let (base, runner) = (stage.layers("shop/builder")[0].clone(), stage.layers("shop/runner"));
    stage.edit("otoshi.toml", "3.1.2", "3.1.4");
    let asked = stage.build_on_new_machine(&[], &[1, 2, 4]);
    assert_eq!(asked.blobs(), [base], "and none of {runner:?}");
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\n3.1.4\nrunner\nslim 1\n");
}

#[test]
fn a_lost_compiled_application_is_compiled_in_the_builder_that_was_kept() {
    let Some(stage) = Stage::new() else { return };
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let mut builder = stage.layers("shop/builder");
    builder.sort();
    let plan: Value = serde_json::from_str(&stage.shop.ok(&["plan", "--json"])).unwrap();
    let key = plan["phases"][1]["key"].as_str().unwrap().replace("sha256:", "phase-");
    stage.proxy.fault("GET", key, 9, Fault::Answer("404 Not Found", String::new()));
    // What compiling gives is the same again, so the app that the registry has is the right one.
    assert_eq!(stage.build_on_new_machine(&[], &[2]).blobs(), builder);
}

#[test]
fn what_the_registry_lost_is_made_again() {
    let Some(stage) = Stage::new() else { return };
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    // The builder's record is gone; what it made is the same again, so the rest is found.
    stage.proxy.fault("GET", "/manifests/phase-", 1, Fault::Answer("404 Not Found", String::new()));
    stage.replace_machine();
    let report: Value = serde_json::from_str(&stage.shop.ok(&["build", "--json"])).unwrap();
    let ran: Vec<_> =
        report["phases"].as_array().unwrap().iter().filter(|phase| phase["status"] == "stale").collect();
    assert_eq!(ran.len(), 1, "{ran:?}");
}

#[test]
fn a_registry_that_does_not_answer_is_a_warning_and_the_build_goes_on() {
    let Some(stage) = Stage::new() else { return };
    stage.shop.ok(&["build"]);
    stage.shop.write("src/main", "source 2\n");
    stage.proxy.take_log();
    stage.proxy.fault("GET", "/team/shop/manifests/", 99, Fault::Answer("403 Forbidden", String::new()));
    let output = stage.shop.otoshi(&["build"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("warning: ") && said.contains("/team/shop: asked for the tag phase-"), "{said}");
    assert_eq!(stage.proxy.take_log().iter().filter(|r| r.is("GET", "/phase-")).count(), 1, "asked once");
}

#[test]
fn a_repository_that_was_removed_is_told_once_and_then_made_again() {
    let Some(stage) = Stage::new() else { return };
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.build_on_new_machine(&[], &[]);
    stage.registry.forget_repository("team/shop");
    let output = stage.shop.otoshi(&["run", "web"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("/team/shop: asked for the blob sha256:") && said.contains("it answered 404"),
        "{said}"
    );
    assert!(said.contains("hint: the registry no longer has it: build again"), "{said}");
    let plan = stage.shop.ok(&["plan"]);
    assert!(plan.contains("its result was lost: image runner"), "{plan}");
    stage.shop.ok(&["build"]);
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nslim 1\n");
}

#[test]
fn a_record_that_lies_is_none() {
    let Some(stage) = Stage::new() else { return };
    let digest = format!("sha256:{}", "ab".repeat(32));
    let lies = [
        r#"{"images":{"builder":"DIGEST"},"documents":{}}"#,
        r#"{"images":{"builder":"DIGEST"},"documents":{"DIGEST":"{}"}}"#,
        r#"{"images":{"builder":"../../x"},"documents":{}}"#,
        "nonsense",
    ];
    for lie in lies {
        let record = lie.replace("DIGEST", &digest);
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [],
            "annotations": { "dev.otoshi.record": record },
        });
        let body = serde_json::to_vec(&index).unwrap();
        stage.proxy.fault("GET", "/manifests/phase-", 9, Fault::Document(String::new(), body));
        stage.replace_machine();
        assert_eq!(stage.shop.ran(&[]), [1, 2, 3, 4], "{lie}");
        stage.proxy.heal();
    }
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nslim 1\n");
}

#[test]
fn compiled_application_and_recipe_are_artifacts() {
    let Some(stage) = Stage::new() else { return };
    stage.shop.write("src/link", "x");
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.shop.ok(&["push", "--compiled"]);
    let web = digest_of(&stage, "web");
    let skopeo = |tag: &str| -> Value {
        let output = Command::new("skopeo")
            .args(["inspect", "--raw", "--tls-verify=false"])
            .arg(format!("docker://{}", stage.name(tag)))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    // Through the fallback tag, since this registry has no referrers API.
    let referrers = skopeo(&web.replace(':', "-"));
    let recipe = &referrers["manifests"][0];
    assert_eq!(recipe["artifactType"], "application/vnd.otoshi.recipe.v1");
    assert_eq!(recipe["annotations"]["dev.otoshi.process"], "web");
    let compiled = skopeo("compiled");
    assert_eq!(compiled["artifactType"], "application/vnd.otoshi.compiled.v1");
    assert_eq!(compiled["subject"]["digest"], digest_of(&stage, "builder"));
    assert_eq!(recipe["annotations"]["dev.otoshi.compiled"].as_str().unwrap(), digest_of(&stage, "compiled"));

    // It is an image: what mounts images can mount it. Here that is umoci.
    let layout = stage.shop.dir.path().join("layout");
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let copied = format!("oci:{}:compiled", layout.display());
    run(Command::new("skopeo")
        .args(["copy", "--src-tls-verify=false"])
        .args([format!("docker://{}", stage.name("compiled")), copied]));
    let bundle = stage.shop.dir.path().join("bundle");
    run(Command::new("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:compiled", layout.display()))
        .arg(&bundle));
    assert_eq!(fs::read_to_string(bundle.join("rootfs/compiled")).unwrap(), "source 1\ndeps 1\n");
    assert_eq!(fs::read_to_string(bundle.join("rootfs/src/main")).unwrap(), "source 1\n");

    // The recipe's layer has what the runner and the app are made from.
    let layer = recipe_layer(&stage, recipe["digest"].as_str().unwrap());
    let names =
        String::from_utf8(Command::new("tar").arg("-tzf").arg(layer).output().unwrap().stdout).unwrap();
    for name in ["otoshi.toml", "otoshi.lock", "runner.Dockerfile", "builder.Dockerfile"] {
        assert!(names.lines().any(|line| line == name), "{name}: {names}");
    }
    assert!(!names.contains("src/main"), "{names}");
}

fn digest_of(stage: &Stage, tag: &str) -> String {
    let output = Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{}", stage.name(tag)))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    otoshi_oci::Digest::sha256_of(&output.stdout).to_string()
}

fn recipe_layer(stage: &Stage, digest: &str) -> PathBuf {
    let hex = |digest: &str| digest.split(':').nth(1).unwrap().to_owned();
    let manifest = fs::read(stage.registry.blob_path(&hex(digest))).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    stage.registry.blob_path(&hex(manifest["layers"][0]["digest"].as_str().unwrap()))
}

#[test]
fn the_compiled_application_is_written_as_a_directory_and_as_a_tar() {
    let Some(stage) = Stage::new() else { return };
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.replace_machine();
    stage.shop.ok(&["build"]);
    let directory = stage.shop.dir.path().join("out");
    stage.shop.ok(&["export", "--compiled", directory.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(directory.join("compiled")).unwrap(), "source 1\ndeps 1\n");
    assert_eq!(fs::read_to_string(directory.join("src/main")).unwrap(), "source 1\n");
    let again = stage.shop.otoshi(&["export", "--compiled", directory.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    let tar = stage.shop.dir.path().join("out.tar");
    stage.shop.ok(&["export", "--compiled", tar.to_str().unwrap()]);
    let listed = Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().lines().any(|line| line == "compiled"));
}

#[test]
fn a_base_that_arrives_in_pieces_is_built_on_and_a_wrong_one_never() {
    let Some(stage) = Stage::new() else { return };
    stage
        .shop
        .write("one/Dockerfile", &format!("FROM {}/base:1\nRUN cat /etc/base > /out\n", stage.proxy.host()));
    let snapshots = || fs::read_dir(stage.shop.home().join("snapshots")).unwrap().count();
    // Config and layer are both wrong, whichever comes first.
    stage.proxy.fault("GET", "/base/blobs/", 9, Fault::Corrupt(100));
    let output = stage.shop.otoshi(&["image", "build", "one"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/base: asked for the blob sha256:") && said.contains("has the digest"), "{said}");

    // The config is right this time, the layer is not.
    stage.proxy.heal();
    stage.proxy.rule(Rule {
        method: "GET",
        path: "/base/blobs/".into(),
        after: 1,
        times: 9,
        fault: Fault::Corrupt(500_000),
    });
    let output = stage.shop.otoshi(&["image", "build", "one"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/base: asked for the blob sha256:") && said.contains("has the digest"), "{said}");
    assert_eq!(snapshots(), 0, "what was unpacked of it is gone");

    stage.proxy.heal();
    stage.proxy.fault("GET", "/base/blobs/", 3, Fault::Cut(300_000));
    stage.shop.ok(&["image", "build", "one", "-t", "one:1"]);
    assert_eq!(stage.shop.ok(&["run", "one:1", "--", "/bin/cat", "/out"]), "base 1\n");
}

#[test]
fn app_images_go_where_they_are_run() {
    let Some(stage) = Stage::new() else { return };
    let repository = format!("repository = \"{}/team/shop\"", stage.proxy.host());
    let images = format!("{repository}\nimages = \"{}/deploy/{{process}}\"", stage.proxy.host());
    stage.edit("otoshi.toml", &repository, &images);
    let early = stage.shop.otoshi(&["push"]);
    assert_eq!(early.status.code(), Some(2));
    let said = String::from_utf8(early.stderr).unwrap();
    assert!(said.contains("hint: ") && said.contains("otoshi build"), "{said}");
    stage.shop.ok(&["build"]);
    let pushed = stage.shop.ok(&["push", "--tag", "v1"]);
    assert!(pushed.contains(&format!("{}/deploy/web:v1@sha256:", stage.proxy.host())), "{pushed}");
    // Docker's way to the same image.
    let name = format!("{}/deploy/web:v1", stage.proxy.host());
    let other = stage.shop.dir.path().join("other");
    let pulled = Command::new(env!("CARGO_BIN_EXE_otoshi"))
        .args(["pull", &name])
        .env("OTOSHI_HOME", &other)
        .output()
        .unwrap();
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    let said = String::from_utf8(pulled.stderr).unwrap();
    assert!(said.contains("moved ") && said.contains("blobs downloaded"), "{said}");
    assert!(Path::new(&other).join("images/index.json").exists());
}

#[test]
fn logins_and_authorities_of_the_machine_are_used() {
    let (Some(registry), Some(shop)) = (Registry::start_private(), Shop::new()) else { return };
    let logins = registry.path("auth.json");
    fs::write(
        &logins,
        format!("{{\"auths\":{{\"{}\":{{\"auth\":\"YW5uYTpnZWhlaW0=\"}}}}}}", registry.host()),
    )
    .unwrap();
    let name = format!("{}/team/base:1", registry.host());
    let push = |known: bool| {
        let mut command = shop.command(&["image", "push", "otoshi.test/busybox:1", &name]);
        command.env("SSL_CERT_FILE", registry.path("ca.crt")).env_remove("SSL_CERT_DIR");
        command.env("REGISTRY_AUTH_FILE", if known { logins.clone() } else { "/nonexistent".into() });
        command.output().unwrap()
    };
    let refused = push(false);
    assert_eq!(refused.status.code(), Some(3));
    let said = String::from_utf8(refused.stderr).unwrap();
    let expected = format!(
        "error: {}/team/base: asked for the tag 1, it wants a login: none is known for {}\n",
        registry.host(),
        registry.host()
    );
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains(&format!("hint: docker login {}", registry.host())), "{said}");
    let pushed = push(true);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
}

#[test]
fn a_project_without_a_registry_says_what_to_add() {
    let Some(shop) = Shop::new() else { return };
    shop.ok(&["build"]);
    let output = shop.otoshi(&["push"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("add [registry] with repository"), "{said}");
    shop.write("otoshi.toml", &(support::MANIFEST.to_owned() + "[registry]\nrepository = \"shop:1\"\n"));
    let output = shop.otoshi(&["plan"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("\"shop:1\" is no repository"));
}

#[test]
fn an_image_that_nobody_has_is_told_with_its_registry() {
    let Some(stage) = Stage::new() else { return };
    stage.edit("otoshi.toml", "/slim:1", "/slim:2");
    let output = stage.shop.otoshi(&["build"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/slim:2, which is not in the store"), "{said}");
    let output = stage.shop.otoshi(&["pull", &format!("{}/slim:2", stage.proxy.host())]);
    assert_eq!(output.status.code(), Some(3));
    stage.edit("otoshi.toml", &format!("{}/slim:2", stage.proxy.host()), "localhost:1/slim:2");
    let output = stage.shop.otoshi(&["build"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("error: localhost:1/slim: asked for the tag 2, and got no answer: "), "{said}");
}
