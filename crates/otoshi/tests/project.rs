//! The whole way through the binary: a project on a busybox base goes through all four phases, and only what must run runs.
//!
//! Needs root and /bin/busybox; elsewhere the tests say so and pass over.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

struct Shop {
    dir: tempfile::TempDir,
}

const MANIFEST: &str = r#"
[project]
name = "shop"
[versions]
SERIES = "1"
[bases]
BASE = "otoshi.test/busybox:{SERIES}"
[builder]
dockerfile = "builder.Dockerfile"
[compile]
run = "cat src/main > compiled && cat /opt/deps/lib >> compiled"
[runner]
dockerfile = "runner.Dockerfile"
[app]
dependencies = ["/opt/deps"]
[processes]
web = "cat compiled /etc/runner /etc/base"
cli = ["/bin/echo", "cli"]
"#;

impl Shop {
    fn new() -> Option<Self> {
        let root =
            fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
        if !root || !Path::new("/bin/busybox").exists() {
            eprintln!("passed over: needs root and /bin/busybox");
            return None;
        }
        let shop = Self { dir: tempfile::tempdir().unwrap() };
        shop.write("otoshi.toml", MANIFEST);
        shop.write("builder.Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPY deps.lock /opt/deps/lib\n");
        shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\n");
        shop.write("deps.lock", "deps 1\n");
        shop.write("src/main", "source 1\n");
        shop.import("base 1\n");
        Some(shop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("shop").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Imports a base whose /etc/base says `text`.
    fn import(&self, text: &str) {
        let root = self.dir.path().join("root");
        let _ = fs::remove_dir_all(&root);
        for directory in ["bin", "etc"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for name in ["sh", "cat", "echo", "ls"] {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        fs::write(root.join("etc/base"), text).unwrap();
        let tar = self.dir.path().join("root.tar");
        let made = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status().unwrap();
        assert!(made.success());
        self.ok(&["import", tar.to_str().unwrap(), "--name", "otoshi.test/busybox:1"]);
    }

    fn otoshi(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_otoshi"))
            .args(arguments)
            .current_dir(self.path(""))
            .env("OTOSHI_HOME", self.dir.path().join("home"))
            .output()
            .unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.otoshi(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The numbers of the phases that a build runs, after checking that the plan said the same of what it could know.
    fn ran(&self, arguments: &[&str]) -> Vec<u8> {
        let plan: serde_json::Value = serde_json::from_str(&self.ok(&["plan", "--json"])).unwrap();
        let report: serde_json::Value =
            serde_json::from_str(&self.ok(&[&["build", "--json"], arguments].concat())).unwrap();
        let mut ran = Vec::new();
        for (planned, done) in
            plan["phases"].as_array().unwrap().iter().zip(report["phases"].as_array().unwrap())
        {
            if planned["status"] != "pending" && arguments.is_empty() {
                assert_eq!(planned["status"], done["status"], "{planned} {done}");
            }
            if done["status"] == "stale" {
                ran.push(u8::try_from(done["number"].as_u64().unwrap()).unwrap());
            }
        }
        ran
    }
}

#[test]
fn what_changed_decides_what_runs() {
    let Some(shop) = Shop::new() else { return };
    assert_eq!(shop.ran(&[]), [1, 2, 3, 4], "the first time");
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 1\n");
    assert_eq!(shop.ok(&["run", "cli"]), "cli\n");
    assert!(!shop.path("compiled").exists(), "the working tree is never written");

    assert_eq!(shop.ran(&[]), [0u8; 0], "nothing changed");

    shop.write("src/main", "source 2\n");
    assert_eq!(shop.ran(&[]), [2, 4], "the source");
    assert!(shop.ok(&["run", "web"]).starts_with("source 2\n"));

    let manifest = MANIFEST.replace("\"cli\"]", "\"other\"]");
    shop.write("otoshi.toml", &manifest);
    assert_eq!(shop.ran(&[]), [4], "a start command");
    shop.write("otoshi.toml", &manifest.replace("\"other\"]", "\"third\"]"));
    let report: serde_json::Value = serde_json::from_str(&shop.ok(&["build", "--json"])).unwrap();
    let stale: Vec<&serde_json::Value> =
        report["phases"].as_array().unwrap().iter().filter(|phase| phase["status"] == "stale").collect();
    assert_eq!(stale.len(), 1);
    assert_eq!((&stale[0]["number"], &stale[0]["layers_written"]), (&4.into(), &0.into()), "a start command");
    assert_eq!(shop.ok(&["run", "cli"]), "third\n");

    shop.write("deps.lock", "deps 2\n");
    assert_eq!(shop.ran(&[]), [1, 2, 4], "a lock file that the runner does not read");
    assert!(shop.ok(&["run", "web"]).contains("deps 2\n"));
}

#[test]
fn a_moved_base_runs_the_runner_and_the_app_only() {
    let Some(shop) = Shop::new() else { return };
    shop.ran(&[]);
    shop.import("base 2\n");
    assert_eq!(shop.ran(&[]), [0u8; 0], "build never moves the lock");
    assert_eq!(shop.ran(&["--refresh"]), [3, 4]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 2\n");
    assert_eq!(shop.ran(&["--refresh"]), [0u8; 0]);
    assert_eq!(shop.ran(&["--locked"]), [0u8; 0]);
    fs::remove_file(shop.path("otoshi.lock")).unwrap();
    let refused = shop.otoshi(&["build", "--locked"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("hint: run otoshi build without --locked"));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let Some(shop) = Shop::new() else { return };
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN cat /gone\n");
    let output = shop.otoshi(&["build"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for expected in ["can't open '/gone'", "ended with exit code 1", "runner.Dockerfile:3", "RUN cat /gone"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    shop.write("otoshi.toml", &MANIFEST.replace("[compile]", "[complie]"));
    let output = shop.otoshi(&["plan"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.contains("did you mean `compile`?")), (Some(2), true), "{text}");
}

#[test]
fn garbage_is_collected_and_what_is_needed_stays() {
    let Some(shop) = Shop::new() else { return };
    shop.ok(&["build"]);
    shop.ok(&["gc"]);
    assert_eq!(shop.ran(&[]), [0u8; 0]);
    shop.ok(&["gc", "--unused-for", "0"]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 1\n", "named images stay");
    assert!(shop.ok(&["images"]).contains("shop/web"));
    assert!(shop.ok(&["inspect", "shop/web"]).contains("diff_id"));
}

#[test]
fn signals_reach_the_command_and_its_code_comes_back() {
    let Some(shop) = Shop::new() else { return };
    shop.ok(&["build"]);
    let script = "trap 'exit 7' TERM; echo ready; while true; do /bin/busybox sleep 0.1; done";
    let mut run = Command::new(env!("CARGO_BIN_EXE_otoshi"))
        .args(["run", "web", "--", "/bin/sh", "-c", script])
        .current_dir(shop.path(""))
        .env("OTOSHI_HOME", shop.dir.path().join("home"))
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
fn an_image_goes_out_and_comes_back_in_every_form() {
    let Some(shop) = Shop::new() else { return };
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
            let layers = |name: &str| {
                let shown: serde_json::Value = serde_json::from_str(&shop.ok(&["inspect", name])).unwrap();
                shown["config"]["rootfs"]["diff_ids"].clone()
            };
            assert_eq!(layers(&name), layers("shop/web"), "{form}");
        }
    }
    let missing = shop.otoshi(&["export", "nobody/here", "-"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn arguments_are_computed_once_for_each_image() {
    let Some(shop) = Shop::new() else { return };
    let compute = "[args]\nANSWER = { in = \"BASE\", run = \"cat /etc/base; echo computed >&2\" }\nLONGER = \"<{ANSWER}>\"\n";
    shop.write("otoshi.toml", &MANIFEST.replace("[builder]", &format!("{compute}[builder]")));
    shop.write(
        "runner.Dockerfile",
        "ARG BASE\nFROM ${BASE}\nARG LONGER\nRUN echo \"$LONGER\" > /etc/runner\n",
    );
    let plan: serde_json::Value = serde_json::from_str(&shop.ok(&["plan", "--json"])).unwrap();
    assert_eq!(plan["phases"][0]["status"], "stale");
    assert_eq!(shop.ran(&[]), [1, 2, 3, 4]);
    assert!(shop.ok(&["run", "web"]).contains("<base 1>\n"));
    assert_eq!(shop.ran(&[]), [0u8; 0]);
    shop.import("base 2\n");
    assert_eq!(shop.ran(&["--refresh", "--builder"]), [1, 2, 3, 4]);
    assert!(shop.ok(&["run", "web"]).contains("<base 2>\n"));
}

#[test]
fn a_secret_reaches_the_compile_command_and_nothing_else() {
    let Some(shop) = Shop::new() else { return };
    let manifest = MANIFEST
        .replace("[compile]", "[secrets]\ntoken = { file = \"token\" }\n[compile]\nsecrets = [\"token\"]")
        .replace("cat src/main >", "cat src/main /run/secrets/token | /bin/busybox tr h H >");
    shop.write("otoshi.toml", &manifest);
    shop.write("token", "hush-hush\n");
    shop.write(".dockerignore", "token\n");
    shop.ran(&[]);
    assert!(shop.ok(&["run", "web"]).contains("HusH-HusH"));
    // Neither the value nor a digest of it is anywhere in the store.
    let found =
        Command::new("grep").args(["-rl", "hush-hush"]).arg(shop.dir.path().join("home")).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "");
    shop.write("token", "other\n");
    assert_eq!(shop.ran(&[]), [0u8; 0], "a secret's value does not count");
    fs::remove_file(shop.path("token")).unwrap();
    shop.write("src/main", "source 2\n");
    let output = shop.otoshi(&["build"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("reading the secret"));
}
