//! The embedded engine on a real root file system: busybox, built and run.

mod support;

use std::{collections::BTreeMap, fs};

use otoshi_dockerfile::CommandForm;
use otoshi_engine::{
    AppLayer, AssembleRequest, CacheMount, Context, Engine, EngineError, ImageChanges, Output, Silent, View,
};
use otoshi_oci::{Image, Platform, Reference, write_image};
use otoshi_test::given;
use support::world;

#[test]
fn a_dockerfile_is_built_and_its_image_runs() {
    let world = given!(world());
    world.write("app/hello.txt", "hello\n");
    let image = world.build(
        "FROM busybox\nARG NAME=world\nENV GREETING=hi\nWORKDIR /srv\nCOPY app/ ./\nRUN echo \"$GREETING $NAME\" > greeting && id -u > who\n",
    );
    assert_eq!(world.output(&image, "cat hello.txt greeting who; pwd"), "hello\nhi world\n0\n/srv\n");
}

#[test]
fn nothing_runs_twice_and_equal_content_is_equal_bytes() {
    let world = given!(world());
    world.write("a", "1");
    let dockerfile = "FROM busybox AS build\nRUN mkdir /out && echo made > /out/x\nFROM busybox\nCOPY --from=build /out /out\nCOPY a /a\n";
    let first = world.build(dockerfile);
    assert!(first.steps_run > 0);
    let second = world.build(dockerfile);
    assert_eq!((second.steps_run, second.layers_written), (0, 0));
    assert_eq!(second.digest, first.digest);
    let again = world.try_build(dockerfile, |request| request.no_cache = true).unwrap();
    assert!(again.steps_run > 0);
    assert_eq!(again.digest, first.digest, "the clock and the order of work leave no trace");
    world.write("a", "2");
    assert_ne!(world.build(dockerfile).digest, first.digest);
}

#[test]
fn only_reached_stages_run() {
    let world = given!(world());
    let dockerfile =
        "FROM busybox AS broken\nRUN false\nFROM busybox AS good\nRUN true\nFROM broken AS last\n";
    world.try_build(dockerfile, |request| request.target = Some("good".into())).unwrap();
    let error = world.try_build(dockerfile, |_| {}).unwrap_err();
    assert!(matches!(error, EngineError::Command { code: 1, at: Some(_), .. }), "{error:?}");
}

#[test]
fn a_step_leaves_only_what_it_wrote() {
    let world = given!(world());
    let image = world.build("FROM busybox\nRUN --mount=type=cache,target=/var/cache/x touch /var/cache/x/y && cat /etc/resolv.conf >/dev/null\n");
    let loaded = Image::load(world.home.layout(), &image.digest, &Platform::host()).unwrap();
    assert_eq!(loaded.layers().len(), 1, "an empty layer is none");
}

#[test]
fn a_secret_is_seen_and_not_kept() {
    let world = given!(world());
    world.write("../secret", "hush");
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=s,required=true test \"$(cat /run/secrets/s)\" = hush && touch /ok\n";
    let file = world.source.join("../secret");
    let dockerfile = dockerfile.replace("test ", "busybox test ");
    let image = world
        .try_build(&dockerfile, |request| {
            request.secrets.insert("s".into(), otoshi_engine::Secret::File(file));
        })
        .unwrap();
    assert_eq!(world.output(&image, "ls /run/secrets 2>/dev/null; ls /ok"), "/ok\n");
    let error = world.try_build(&dockerfile, |request| request.no_cache = true).unwrap_err();
    assert!(error.to_string().contains("required"), "{error}");
}

#[test]
fn a_moved_base_repeats_no_copy() {
    let world = given!(world());
    world.write("big", "content");
    let dockerfile = "ARG BASE=busybox\nFROM ${BASE}\nCOPY big /data/big\n";
    let first = world.build(dockerfile);
    let moved = world.build("FROM busybox\nRUN echo patched > /etc/patch\n");
    let second = world
        .try_build(dockerfile, |request| {
            request.args.insert("BASE".into(), "moved".into());
            request.images.insert("moved".into(), moved.digest.clone());
        })
        .unwrap();
    assert_eq!((second.steps_run, second.layers_written), (0, 0));
    assert_ne!(second.digest, first.digest);
    assert_eq!(world.output(&second, "cat /data/big /etc/patch"), "contentpatched\n");
}

#[test]
fn compiling_writes_to_a_view_and_the_app_is_assembled_from_it() {
    let world = given!(world());
    world.write("main.src", "source");
    let base = world.build("FROM busybox\nRUN mkdir -p /opt/deps && echo dep > /opt/deps/d\n");
    let context = Context::scan(&world.home, &world.source, None).unwrap();
    let source = context.snapshot(&world.home, (0, 0)).unwrap();
    let mut request = world.request(&base.digest, "cat main.src > out.bin && rm main.src && touch /cache/c");
    request.view = Some(View { tree: world.home.snapshots().path(&source), at: "/app".into() });
    request.cwd = Some("/app".into());
    request.keep = true;
    request.caches = vec![CacheMount { id: "c".into(), target: "/cache".into(), locked: true }];
    let compiled = world.engine.run(&request, &Silent).unwrap();
    assert_eq!(compiled.code, 0);
    let (output, _) = compiled.output.unwrap();
    assert_eq!(
        fs::read_to_string(world.source.join("main.src")).unwrap(),
        "source",
        "the working tree is never written"
    );

    let runner = world.build("FROM busybox\nRUN echo runner > /etc/runner\n");
    let assemble = |cmd: &str| AssembleRequest {
        base: runner.digest.clone(),
        layers: vec![
            AppLayer::CopyFrom { image: base.digest.clone(), path: "/opt/deps".into() },
            AppLayer::Tree {
                snapshot: source.clone(),
                at: "/app".into(),
                owner: Some((0, 0)),
                is_made: false,
            },
            AppLayer::Tree { snapshot: output.clone(), at: "/app".into(), owner: None, is_made: true },
        ],
        changes: ImageChanges {
            cmd: Some(vec![cmd.into()]),
            working_dir: Some("/app".into()),
            ..ImageChanges::default()
        },
        annotations: BTreeMap::new(),
        platform: Platform::host(),
        output: Output::default(),
        versions_of: String::new(),
        checkout: None,
    };
    let app = world.engine.assemble(&assemble("web"), &Silent).unwrap();
    assert_eq!(world.output(&app, "ls; cat out.bin /opt/deps/d /etc/runner"), "out.bin\nsourcedep\nrunner\n");
    let other = world.engine.assemble(&assemble("worker"), &Silent).unwrap();
    assert_eq!(other.layers_written, 0, "a start command is only a setting");
    assert_ne!(other.digest, app.digest);
}

#[test]
fn a_heredocs_name_never_leads_out() {
    let world = given!(world());
    let dockerfile = "FROM busybox\nCOPY <<\"../../../escaped\" /y\nx\n../../../escaped\n";
    world.try_build(dockerfile, |_| {}).unwrap_err();
    let image = world.build("FROM busybox\nCOPY <<plain /y\nx\nplain\n");
    assert_eq!(world.output(&image, "cat /y"), "x\n");
}

#[test]
fn scratch_takes_copies() {
    let world = given!(world());
    world.write("a", "1");
    let image = world.build(
        "FROM busybox AS tools\nFROM scratch\nCOPY a /data/\nCOPY --from=tools /bin/busybox /bin/busybox\n",
    );
    let loaded = Image::load(world.home.layout(), &image.digest, &Platform::host()).unwrap();
    assert_eq!(loaded.layers().len(), 2);
    let mut request = world.request(&image.digest, "");
    request.command = Some(CommandForm::Exec(["/bin/busybox", "cat", "/data/a"].map(String::from).to_vec()));
    let outcome = world.engine.run(&request, &Silent).unwrap();
    assert_eq!((outcome.code, outcome.stdout.as_slice()), (0, b"1".as_slice()));
}

#[test]
fn what_a_command_prints_is_taken_up_to_a_limit_and_what_it_says_is_told_where_it_fails() {
    let world = given!(world());
    let image = world.build("FROM busybox\n");
    let request = |command: &str| otoshi_engine::RunRequest {
        network: otoshi_engine::Network::None,
        ..world.request(&image.digest, command)
    };
    let outcome = world.engine.run(&request("head -c 65536 /dev/zero; echo said >&2"), &Silent).unwrap();
    assert_eq!((outcome.code, outcome.stdout.len()), (0, 65536));
    for endless in ["head -c 65537 /dev/zero", "yes"] {
        let error = world.engine.run(&request(endless), &Silent).unwrap_err().to_string();
        assert!(error.ends_with(": the command prints more than 64 KiB"), "{error}");
    }
    let told = Told::default();
    let command = "yes | head -c 100000 >&2; echo why >&2; exit 3";
    let outcome = world.engine.run(&request(command), &told).unwrap();
    let told = told.0.into_inner().unwrap();
    assert!(outcome.code == 3 && told.len() == 65536 && told.ends_with("y\nwhy\n"), "{}", told.len());
}

/// What commands say, as it is shown.
#[derive(Default)]
struct Told(std::sync::Mutex<String>);

impl otoshi_engine::Events for Told {
    fn event(&self, event: otoshi_engine::Event) {
        if let otoshi_engine::Event::Log { bytes, .. } = event {
            self.0.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn a_base_without_a_path_has_the_default_one() {
    let world = given!(world());
    let built = world.build("FROM busybox\n");
    let mut image = otoshi_oci::Image::load(world.home.layout(), &built.digest, &Platform::host()).unwrap();
    image.config.config.env.clear();
    let layers: Vec<_> = image.manifest.layers().clone();
    let bare = write_image(world.home.layout(), &image.config, &layers, &BTreeMap::new()).unwrap();
    world.home.layout().names().tag(&Reference::parse("bare").unwrap(), bare).unwrap();
    let image = world.build("FROM bare\nENV PATH=/opt/bin:${PATH}\nRUN echo $PATH > /path\n");
    let path = "/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n";
    assert_eq!(world.output(&image, "cat /path"), path);
}

#[test]
fn a_store_may_lie_deep() {
    let world = given!(world());
    let deep = world.source.join("d".repeat(200)).join("e".repeat(200)).join("home");
    let other = support::world_at(&deep).unwrap();
    other.write("a", "deep");
    assert_eq!(
        other.output(&other.build("FROM busybox\nCOPY a /a\nRUN cat /a > /b\nCOPY a /c\n"), "cat /b"),
        "deep\n".trim()
    );
}

#[test]
fn more_layers_than_linux_merges_are_merged_beforehand() {
    let world = given!(world());
    let mut dockerfile =
        "FROM busybox\nRUN mkdir /d && echo gone > /d/gone && echo old > /d/changed && ln /d/changed /d/link && chmod 750 /d\n\
         RUN chown 5:6 /d && rm /d/gone\n"
            .to_owned();
    for number in 0..505 {
        world.write(&format!("f/{number}"), "x");
        dockerfile += &format!("COPY f/{number} /f/{number}\n");
    }
    let look = "ls /f | wc -l; ls /d; stat -c '%a %u:%g' /d /d/link; cat /d/link";
    let image =
        world.build(&format!("{dockerfile}RUN echo new >> /d/changed\nRUN test -e /f/0 && rm /f/0\n"));
    assert_eq!(world.output(&image, look), "504\nchanged\nlink\n750 5:6\n644 0:0\nold\n");
    // What was merged to look at is no layer of the image.
    assert!(image.layers_written > 505, "{}", image.layers_written);
}
