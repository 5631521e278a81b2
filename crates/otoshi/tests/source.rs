//! What is source: what changes it, what does not, and what of it comes into images.

mod support;
mod whole;

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, net::UnixListener},
    path::Path,
    process::{Command, Stdio},
};

use otoshi_test::given;
use support::Shop;
use whole::assert_said;

fn git(shop: &Shop, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]);
    let status = command.args(arguments).current_dir(shop.path("")).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}

/// The files of the app in an image, without its own deps.
fn app_files(shop: &Shop) -> String {
    shop.ok(&["run", "cli", "--", "/bin/sh", "-c", "cd /app && ls -A"])
}

#[test]
fn history_is_no_source_and_no_part_of_an_image() {
    let shop = given!(Shop::new());
    git(&shop, &["init", "-q"]);
    git(&shop, &["add", "."]);
    git(&shop, &["commit", "-qm", "first"]);
    shop.ok(&["build"]);
    let files = app_files(&shop);
    assert_eq!(files.lines().collect::<Vec<_>>(), ["compiled", "deps.lock", "src"], "{files}");
    git(&shop, &["commit", "-qm", "nothing", "--allow-empty"]);
    assert_eq!(shop.ran(&[]), [0_u8; 0]);
}

#[test]
fn a_comment_in_what_says_how_images_are_made_runs_nothing() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    for file in ["builder.Dockerfile", "runner.Dockerfile"] {
        let text = fs::read_to_string(shop.path(file)).unwrap();
        shop.write(file, &format!("{text}# nothing\n"));
    }
    shop.write("Procfile", "# not used\n");
    shop.write("runner.Dockerfile.dockerignore", "# nothing\n");
    assert_eq!(shop.ran(&[]), [0_u8; 0]);
}

#[test]
fn what_is_named_is_seen_and_what_is_taken_back_too() {
    let shop = given!(Shop::new());
    git(&shop, &["init", "-q", "-b", "main"]);
    shop.write("Procfile", "web: x\n");
    shop.write(
        "runner.Dockerfile",
        "ARG BASE\nFROM ${BASE}\nCOPY Procfile .git/HEAD /etc/\nRUN echo runner > /etc/runner\n",
    );
    let manifest = fs::read_to_string(shop.path("otoshi.toml")).unwrap();
    shop.write(
        "otoshi.toml",
        &manifest.replace("cat src/main > compiled", "cat src/main builder.Dockerfile > compiled"),
    );
    shop.write(".dockerignore", "!Procfile\n");
    shop.ok(&["build"]);
    let said = shop.ok(&[
        "run",
        "cli",
        "--",
        "/bin/sh",
        "-c",
        "cat /etc/Procfile /etc/HEAD; cat /app/compiled; ls -A /app",
    ]);
    // The command saw the Dockerfile that it names.
    let builder = fs::read_to_string(shop.path("builder.Dockerfile")).unwrap();
    let files = "Procfile\ncompiled\ndeps.lock\nsrc\n";
    assert_eq!(said, format!("web: x\nref: refs/heads/main\nsource 1\n{builder}deps 1\n{files}"));
}

#[test]
fn what_git_ignores_is_no_source_unless_an_ignore_file_says_what_is() {
    let shop = given!(Shop::new());
    shop.write(".gitignore", "/compiled\nlog/\n*.secret\n");
    for file in ["log/development.log", "src/key.secret", "compiled"] {
        shop.write(file, "of this laptop");
    }
    shop.ok(&["build"]);
    let files = shop.ok(&["run", "cli", "--", "/bin/sh", "-c", "cd /app && ls -A . src && cat compiled"]);
    assert_eq!(files, ".:\n.gitignore\ncompiled\ndeps.lock\nsrc\n\nsrc:\nmain\nsource 1\ndeps 1\n");
    shop.write("log/development.log", "more");
    assert_eq!(shop.ran(&[]), [0_u8; 0]);
    shop.write(".dockerignore", "log\n");
    shop.ok(&["build"]);
    let files = shop.ok(&["run", "cli", "--", "/bin/sh", "-c", "cd /app && ls -A . src"]);
    assert_eq!(files, ".:\n.gitignore\ncompiled\ndeps.lock\nsrc\n\nsrc:\nkey.secret\nmain\n");
}

#[test]
fn output_may_go_to_a_file_of_the_project() {
    let shop = given!(Shop::new());
    for (stdout, stderr) in [("build.log", "errors.log"), ("both.log", "both.log")] {
        let open = |name: &str| fs::File::options().append(true).create(true).open(shop.path(name)).unwrap();
        let mut build = shop.command(&["build"]);
        assert!(build.stdout(open(stdout)).stderr(open(stderr)).status().unwrap().success());
        for name in [stdout, stderr] {
            let _ = fs::remove_file(shop.path(name));
        }
    }
    assert_eq!(app_files(&shop), "compiled\ndeps.lock\nsrc\n");
}

#[test]
fn names_that_are_not_text_pipes_and_sockets_are_copied_as_they_are() {
    let shop = given!(Shop::new());
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::create_dir_all(shop.path("one/junk")).unwrap();
    fs::write(shop.path("one/junk").join(odd), "coffee").unwrap();
    std::os::unix::fs::symlink(odd, shop.path("one/junk/link")).unwrap();
    shop.write("one/a", "a");
    let _socket = UnixListener::bind(shop.path("one/socket")).unwrap();
    fs::set_permissions(shop.path("one/socket"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Command::new("mkfifo").arg(shop.path("one/pipe")).status().unwrap().success());
    let build = |dockerfile: &str| {
        shop.write("one/Dockerfile", &format!("FROM otoshi.test/busybox:1\n{dockerfile}"));
        shop.ok(&["image", "build", "one", "-t", "odd"]);
        let tar = shop.dir.path().join("odd.tar");
        shop.ok(&["export", "odd", tar.to_str().unwrap(), "--format", "rootfs", "--force"]);
        let listed =
            Command::new("tar").args(["-tvf"]).arg(&tar).args(["--quoting-style=escape"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    // What no instruction names stops nothing.
    assert!(build("COPY a /a\n").lines().any(|listed| listed.ends_with(" a")));
    let all = build("COPY . /all/\nCOPY junk/caf* /by-pattern\n");
    for (line, kind) in [
        ("all/junk/caf\\351", "-rw"),
        ("all/junk/link -> caf\\351", "lrwx"),
        ("all/pipe", "prw"),
        ("all/socket", "-rw-r-----"),
        ("by-pattern", "-rw"),
    ] {
        let found = all.lines().find(|listed| listed.ends_with(&format!(" {line}")));
        assert!(found.is_some_and(|found| found.starts_with(kind)), "{line}: {all}");
    }
}

#[test]
fn what_cannot_be_read_stops_only_who_wants_it() {
    let shop = given!(Shop::new());
    shop.write("one/a", "a");
    shop.write("one/Dockerfile", "FROM otoshi.test/busybox:1\nCOPY a /a\n");
    // Root reads everything that is on a disk: a process may not read its own memory at address 0.
    shop.write("one/memory", "");
    let mounted = Command::new("mount")
        .args(["--bind", "/proc/self/mem"])
        .arg(shop.path("one/memory"))
        .status()
        .unwrap();
    assert!(mounted.success());
    let place = shop.path("one/memory");
    let unmount = Unmount(&place);
    shop.ok(&["image", "build", "one"]);
    shop.write("one/Dockerfile", "FROM otoshi.test/busybox:1\nCOPY . /all\n");
    assert_said("image-build-of-a-file-that-cannot-be-read", &shop.otoshi(&["image", "build", "one"]));
    drop(unmount);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn what_is_likely_a_mistake_is_told_before_anything_runs() {
    let shop = given!(Shop::new());
    shop.write("Procfile", "web: x\n");
    let plain = fs::read_to_string(shop.path("otoshi.toml")).unwrap();
    let mistaken = plain.replace("[\"/bin/echo\", \"cli\"]", "[\"/bin/ehco\", \"cli\"]");
    shop.write("otoshi.toml", &mistaken.replace("[processes]", "[processes]\nmail = \"sendmial x\""));
    assert_said("build-with-processes-that-will-not-start", &shop.otoshi(&["build"]));
    shop.write("otoshi.toml", &plain);
    shop.write("builder.Dockerfile", "ARG BASE\nFROM ${BASE}\nARG SERIE\nCOPY deps.lock /opt/deps/lib\n");
    assert_said("plan-with-a-misspelt-argument", &shop.otoshi(&["plan"]));
    shop.write("runner.Dockerfile", "ARG BSAE\nFROM ${BSAE}\n");
    assert_said("build-from-a-misspelt-base", &shop.otoshi(&["build"]));
    shop.write("runner.Dockerfile", "FROM ${RUN}\n");
    assert_said("build-from-a-name-that-is-like-no-other", &shop.otoshi(&["build"]));
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPY --from=builder /opt /opt\n");
    assert_said("build-from-a-builder-that-is-not-declared", &shop.otoshi(&["build"]));
    assert_said("run-of-a-misspelt-process", &shop.otoshi(&["run", "wbe"]));
    shop.write("otoshi.toml", &plain.replace("cli = [\"/bin/echo\", \"cli\"]", "cli = []\nnews = \"\""));
    assert_said("build-of-processes-without-a-command", &shop.otoshi(&["build"]));
}

#[test]
fn a_command_that_has_no_handler_ends_at_the_second_signal_or_after_a_while() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    for signals in [2, 1] {
        let mut command =
            shop.command(&["run", "cli", "--", "/bin/sh", "-c", "echo started; while :; do :; done"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
            .unwrap();
        assert_eq!(line, "started\n");
        let pid = child.id().to_string();
        for _ in 0..signals {
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        assert_eq!(child.wait().unwrap().code(), Some(137));
    }
}

#[test]
fn where_there_is_no_process_that_is_said() {
    let shop = given!(Shop::new());
    let manifest = fs::read_to_string(shop.path("otoshi.toml")).unwrap();
    let (without, _) = manifest.split_once("[processes]").unwrap();
    shop.write("otoshi.toml", without);
    assert_said("build-without-any-process", &shop.otoshi(&["build"]));
    assert_said("run-without-any-process", &shop.otoshi(&["run"]));
    assert_said("run-of-a-process-where-there-is-none", &shop.otoshi(&["run", "wbe"]));
}

#[test]
fn the_dockerfile_of_the_app_is_no_source_and_runs_the_app_alone() {
    let shop = given!(Shop::new());
    let manifest = fs::read_to_string(shop.path("otoshi.toml")).unwrap();
    let own = "dockerfile = \"app.Dockerfile\"";
    shop.write("otoshi.toml", &manifest.replace("dependencies = [\"/opt/deps\"]", own));
    let app = "ARG RUNNER\nFROM ${RUNNER} AS web\nCOPY . /app\nWORKDIR /app\nCMD [\"/bin/echo\", \"one\"]\nFROM web AS cli\n";
    shop.write("app.Dockerfile", app);
    assert_eq!(shop.ran(&[]), [1, 2, 3, 4]);
    assert_eq!(app_files(&shop), "compiled\ndeps.lock\nsrc\n");
    shop.write("app.Dockerfile", &format!("{app}# nothing\n"));
    assert_eq!(shop.ran(&[]), [0_u8; 0]);
    shop.write("app.Dockerfile", &app.replace("one", "two"));
    assert_eq!(shop.ran(&[]), [4]);
    shop.write("app.Dockerfile.dockerignore", "# nothing\n");
    assert_eq!(shop.ran(&[]), [0_u8; 0]);
}

/// The lines of standard error of a build that succeeds which begin with some words.
fn told(shop: &Shop, beginning: &str) -> Vec<String> {
    let output = shop.otoshi(&["build"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text.lines().filter(|line| line.starts_with(beginning)).map(str::to_owned).collect()
}

#[test]
fn what_compiling_wrote_to_a_path_that_is_ignored_is_told() {
    let shop = given!(Shop::new());
    let manifest = fs::read_to_string(shop.path("otoshi.toml")).unwrap();
    let install = "/bin/busybox mkdir node_modules && /bin/busybox dd if=/dev/zero of=node_modules/x bs=1000 count=2000 && ";
    let manifest = manifest.replace("run = \"cat src/main", &format!("run = \"{install}cat src/main"));
    shop.write("otoshi.toml", &manifest);
    shop.write(".dockerignore", "node_modules\n");
    assert_eq!(
        told(&shop, "warning: compiling wrote"),
        [
            "warning: compiling wrote node_modules (2.0 MB), which the ignore file excludes from the source but which goes into \
          the app images; to leave it out: [compile] exclude = [\"node_modules\"], or outputs = [\"compiled\"]"
        ]
    );
    shop.write("otoshi.toml", &manifest.replace("[compile]", "[compile]\noutputs = [\"compiled\"]"));
    assert_eq!(told(&shop, "warning:"), [""; 0]);
    assert!(!app_files(&shop).contains("node_modules"));
}

#[test]
fn that_a_large_source_is_read_is_told() {
    let shop = given!(Shop::new());
    assert_eq!(told(&shop, "[source"), [""; 0]);
    // A hole, which takes no room.
    fs::File::create(shop.path("large")).unwrap().set_len(120_000_000).unwrap();
    let told = told(&shop, "[source 1/1] reading");
    assert_eq!(told, ["[source 1/1] reading 120 MB of source in 1 file"]);
}
