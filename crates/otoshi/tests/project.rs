//! The whole way through the binary: a project on a busybox base goes through all four phases, and only what must run runs.
//!
//! Needs root and /bin/busybox.

mod support;
mod whole;

use std::{collections::BTreeSet, fs, process::Command};

use otoshi_test::given;
use support::{MANIFEST, Shop};
use whole::assert_said;

#[test]
fn what_changed_decides_what_runs() {
    let shop = given!(Shop::new());
    assert_eq!(shop.ran(&[]), [1, 2, 3, 4], "the first time");
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 1\n");
    assert_eq!(shop.ok(&["run", "cli"]), "cli\n");
    assert!(!shop.path("compiled").exists(), "the working tree is never written");

    assert_eq!(shop.ran(&[]), [0u8; 0], "nothing changed");
    let again = shop.json(&["build", "--no-cache", "--json"]);
    assert!(again["phases"].as_array().unwrap().iter().all(|phase| phase["status"] == "stale"));

    shop.write("src/main", "source 2\n");
    assert_eq!(shop.ran(&[]), [2, 4], "the source");
    assert!(shop.ok(&["run", "web"]).starts_with("source 2\n"));

    let manifest = MANIFEST.replace("\"cli\"]", "\"other\"]");
    shop.write("otoshi.toml", &manifest);
    assert_eq!(shop.ran(&[]), [4], "a start command");
    shop.write("otoshi.toml", &manifest.replace("\"other\"]", "\"third\"]"));
    let report = shop.json(&["build", "--json"]);
    let stale: Vec<&serde_json::Value> =
        report["phases"].as_array().unwrap().iter().filter(|phase| phase["status"] == "stale").collect();
    assert_eq!(stale.len(), 1);
    assert_eq!((&stale[0]["number"], &stale[0]["layers_written"]), (&4.into(), &0.into()), "a start command");
    assert_eq!(shop.ok(&["run", "cli"]), "third\n");

    shop.write("deps.lock", "deps 2\n");
    assert_eq!(shop.ran(&[]), [1, 2, 4], "a lock file that the runner does not read");
    assert_eq!(shop.ok(&["run", "web"]), "source 2\ndeps 2\nrunner\nbase 1\n");
}

#[test]
fn a_moved_base_runs_the_runner_and_the_app_only() {
    let shop = given!(Shop::new());
    shop.ran(&[]);
    shop.import("base 2\n");
    assert_eq!(shop.ran(&[]), [0u8; 0], "build never moves the lock");
    assert_eq!(shop.ran(&["--refresh"]), [3, 4]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 2\n");
    assert_eq!(shop.ran(&["--refresh"]), [0u8; 0]);
    assert_eq!(shop.ran(&["--locked"]), [0u8; 0]);
    fs::remove_file(shop.path("otoshi.lock")).unwrap();
    assert_said("build-locked-without-a-lock", &shop.otoshi(&["build", "--locked"]));
}

/// The steps that have a lane in a page, each with what came of it, and how many there are of each kind, as the page says.
fn lanes(page: &str) -> (BTreeSet<(&str, &str)>, &str) {
    let lanes = page.split("<div class=\"lane\" title=\"").skip(1).map(|lane| {
        let (_, class) = lane.split_once("class=\"bar ").unwrap();
        (lane.lines().next().unwrap(), class.split('"').next().unwrap())
    });
    let (_, counts) = page.split_once("<p>").unwrap().1.split_once(": ").unwrap();
    (lanes.filter(|(_, class)| *class != "work").collect(), counts.split(';').next().unwrap())
}

#[test]
fn a_page_shows_a_lane_for_each_step() {
    let shop = given!(Shop::new());
    let page = shop.dir.path().join("timings.html");
    let build = ["build", "--timings", page.to_str().unwrap()];
    let text = |output: std::process::Output, code: i32| {
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read_to_string(&page).unwrap()
    };
    let first = text(shop.otoshi(&build), 0);
    let steps = [
        ("COPY deps.lock /opt/deps/lib", "ran"),
        ("RUN echo runner &gt; /etc/runner", "ran"),
        ("/bin/sh -c cat src/main &gt; compiled &amp;&amp; cat /opt/deps/lib &gt;&gt; compiled", "ran"),
    ];
    assert_eq!(lanes(&first), (steps.into(), "steps: 3 ran, 0 cached, 0 failed"));
    assert!(!first.contains("http:") && !first.contains("https:"), "it needs nothing else");

    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\nRUN false\n");
    let failed = text(shop.otoshi(&build), 1);
    let steps = [("RUN echo runner &gt; /etc/runner", "cached"), ("RUN false", "failed")];
    assert_eq!(lanes(&failed), (steps.into(), "steps: 0 ran, 1 cached, 1 failed"));
    let nowhere = shop.otoshi(&["build", "--timings", "/proc/no/page.html"]);
    assert_eq!(nowhere.status.code(), Some(1), "the build's own failure counts more");
}

#[test]
fn mistakes_are_told_with_their_place() {
    let shop = given!(Shop::new());
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN cat /gone\n");
    assert_said("build-with-a-command-that-fails", &shop.otoshi(&["build"]));
    shop.write("otoshi.toml", &MANIFEST.replace("[compile]", "[complie]"));
    assert_said("plan-with-a-misspelt-table", &shop.otoshi(&["plan"]));
}

#[test]
fn outputs_that_are_not_there_and_a_file_that_cannot_be_read_are_told() {
    let shop = given!(Shop::new());
    let with =
        |outputs: &str| MANIFEST.replace("[compile]\n", &format!("[compile]\noutputs = [{outputs}]\n"));
    shop.write("otoshi.toml", &with("\"compiled\", \"public/nope\""));
    assert_said("build-whose-outputs-were-not-written", &shop.otoshi(&["build"]));
    shop.write("otoshi.toml", &with("\"/etc/passwd\""));
    assert_said("build-with-an-output-outside-the-source", &shop.otoshi(&["build"]));
    // What is wrong with the project is why it has no such process.
    assert_said("run-of-a-project-that-cannot-be-read", &shop.otoshi(&["run", "wob"]));
}

#[test]
fn a_plan_says_what_would_run_and_why() {
    let shop = given!(Shop::new());
    assert_said("plan-first", &shop.otoshi(&["plan"]));
    assert_said("plan-first-json", &shop.otoshi(&["plan", "--json"]));
    shop.ok(&["build"]);
    assert_said("plan-nothing-changed", &shop.otoshi(&["plan"]));
    shop.write("src/main", "source 2\n");
    assert_said("plan-changed-source", &shop.otoshi(&["plan"]));
    shop.write("deps.lock", "deps 2\n");
    shop.write("otoshi.toml", &MANIFEST.replace("\"cli\"]", "\"other\"]"));
    assert_said("plan-changed-builder-and-command", &shop.otoshi(&["plan"]));
    fs::remove_file(shop.path("runner.Dockerfile")).unwrap();
    assert_said("plan-without-a-dockerfile", &shop.otoshi(&["plan"]));
    fs::remove_file(shop.path("otoshi.toml")).unwrap();
    assert_said("plan-without-a-project", &shop.otoshi(&["plan"]));
}

#[test]
fn garbage_is_collected_and_what_is_needed_stays() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    shop.ok(&["gc"]);
    assert_eq!(shop.ran(&[]), [0u8; 0]);
    let named = || (shop.ok(&["images"]), shop.ok(&["inspect", "shop/web"]));
    let before = named();
    shop.ok(&["gc", "--unused-for", "0"]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 1\n", "named images stay");
    assert_eq!(named(), before);
}

#[test]
fn processes_have_settings_of_their_own() {
    let shop = given!(Shop::new());
    let web = "web = { command = [\"/bin/sh\", \"-c\", \"echo $MODE $LEVEL\"], env = { MODE = \"web\" }, expose = [\"80\", \"53/udp\"] }";
    let manifest = MANIFEST.replace("web = \"cat compiled /etc/runner /etc/base\"", web);
    let all = "[app]\nenv = { MODE = \"all\", LEVEL = \"3\" }";
    shop.write("otoshi.toml", &manifest.replace("[app]", all));
    shop.ok(&["build"]);
    assert_eq!(shop.ok(&["run", "web"]), "web 3\n");
    assert_eq!(shop.ok(&["run", "cli", "--", "/bin/sh", "-c", "echo $MODE"]), "all\n");
    let shown = shop.json(&["inspect", "shop/web"]);
    let ports = shown["config"]["config"]["ExposedPorts"].as_object().unwrap();
    assert_eq!(ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
}

#[test]
fn signals_reach_the_command_and_its_code_comes_back() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    let script = "trap 'exit 7' TERM; echo ready; while true; do /bin/busybox sleep 0.1; done";
    let mut run = shop
        .command(&["run", "web", "--", "/bin/sh", "-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(run.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(7));
}

#[test]
fn a_port_is_offered_at_another_one() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    // The command has a network of its own; of this machine's loopback the test takes an address that is its own.
    let [.., high, low] = std::process::id().to_be_bytes();
    let offered = std::net::SocketAddr::from(([127, 7, high, low], 9000));
    let listen = "echo ready; exec /bin/busybox nc -l -p 8080 -e /bin/echo answered";
    let ports = format!("{offered}:8080");
    // No process is named: there are several, and one is called web.
    let mut run = shop.command(&["run", "--publish", &ports, "--", "/bin/sh", "-c", listen]);
    let mut run = run.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(run.stdout.take().unwrap()), &mut line).unwrap();
    let mut answer = String::new();
    for _ in 0..100 {
        let mut connection = std::net::TcpStream::connect(offered).unwrap();
        std::io::Read::read_to_string(&mut connection, &mut answer).unwrap();
        if !answer.is_empty() {
            break;
        }
        // It said ready a moment before it listens.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(answer, "answered\n");
    assert_eq!(run.wait().unwrap().code(), Some(0));
}

#[test]
fn an_image_goes_out_and_comes_back_in_every_form() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    let answer = shop.ok(&["run", "web"]);
    for (form, keeps_layers) in
        [("oci", true), ("oci-archive", true), ("docker-archive", true), ("rootfs", false)]
    {
        let dest = shop.dir.path().join(form);
        let dest = dest.to_str().unwrap();
        shop.ok(&["export", "shop/web", dest, "--format", form]);
        let name = format!("copy/{form}");
        shop.ok(&["import", dest, "--name", &name]);
        let command = "cat /app/compiled /etc/runner /etc/base";
        assert_eq!(shop.ok(&["run", &name, "--", "/bin/sh", "-c", command]), answer, "{form}");
        if keeps_layers {
            let layers = |name: &str| shop.json(&["inspect", name])["config"]["rootfs"]["diff_ids"].clone();
            assert_eq!(layers(&name), layers("shop/web"), "{form}");
        }
    }
    assert_said("export-of-an-unknown-image", &shop.otoshi(&["export", "nobody/here", "-"]));
}

#[test]
fn arguments_are_computed_once_for_each_image() {
    let shop = given!(Shop::new());
    let compute = "[args]\nANSWER = { in = \"BASE\", run = \"cat /etc/base; echo computed >&2\" }\nLONGER = \"<{ANSWER}>\"\n";
    shop.write("otoshi.toml", &MANIFEST.replace("[builder]", &format!("{compute}[builder]")));
    shop.write(
        "runner.Dockerfile",
        "ARG BASE\nFROM ${BASE}\nARG LONGER\nRUN echo \"$LONGER\" > /etc/runner\n",
    );
    let plan = shop.json(&["plan", "--json"]);
    assert_eq!(plan["phases"][0]["status"], "stale");
    assert_eq!(shop.ran(&[]), [1, 2, 3, 4]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\n<base 1>\nbase 1\n");
    assert_eq!(shop.ran(&[]), [0u8; 0]);
    shop.import("base 2\n");
    assert_eq!(shop.ran(&["--refresh", "--builder"]), [1, 2, 3, 4]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\n<base 2>\nbase 2\n");
}

#[test]
fn a_secret_reaches_the_compile_command_and_nothing_else() {
    let shop = given!(Shop::new());
    let manifest = MANIFEST
        .replace("[compile]", "[secrets]\ntoken = { file = \"token\" }\n[compile]\nsecrets = [\"token\"]")
        .replace("cat src/main >", "cat src/main /run/secrets/token | /bin/busybox tr h H >");
    shop.write("otoshi.toml", &manifest);
    shop.write("token", "hush-hush\n");
    // It is no source, even where somebody says that it is.
    shop.write(".dockerignore", "!token\n");
    shop.ran(&[]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\nHusH-HusH\ndeps 1\nrunner\nbase 1\n");
    // Neither the value nor a digest of it is anywhere in the store.
    let found = Command::new("grep").args(["-rl", "hush-hush"]).arg(shop.home()).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "");
    shop.write("token", "other\n");
    assert_eq!(shop.ran(&[]), [0u8; 0], "a secret's value does not count");
    fs::remove_file(shop.path("token")).unwrap();
    shop.write("src/main", "source 2\n");
    assert_said("build-whose-secret-is-gone", &shop.otoshi(&["build"]));
}

#[test]
fn a_cache_of_a_compile_command_is_its_projects_own() {
    let shop = given!(Shop::new());
    let run = "ls /cache > compiled && echo x > /cache/of-$NAME";
    let manifest = MANIFEST
        .replace(
            "run = \"cat src/main > compiled && cat /opt/deps/lib >> compiled\"",
            &format!("run = \"{run}\""),
        )
        .replace("[compile]", "[compile]\ncaches = [\"/cache\"]\nenv = { NAME = \"shop\" }");
    shop.write("otoshi.toml", &manifest);
    shop.ok(&["build"]);
    let found = |name: &str| shop.ok(&["run", &format!("{name}/web"), "--", "/bin/cat", "/app/compiled"]);
    assert_eq!(found("shop"), "");
    let other = shop.dir.path().join("other");
    let copied = Command::new("cp").arg("-r").arg(shop.path("")).arg(&other).status().unwrap();
    assert!(copied.success());
    let manifest = manifest.replace("\"shop\"", "\"other\"");
    fs::write(other.join("otoshi.toml"), manifest).unwrap();
    let output = shop.command(&["build"]).current_dir(&other).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(found("other"), "", "it has not seen the first one's file");
    shop.ok(&["build", "--no-cache"]);
    assert_eq!(found("shop"), "of-shop\n", "and its own is there");
}
