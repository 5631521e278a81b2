//! `otoshi image build` with the flags of `docker build`, through the binary.

mod support;
mod whole;

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use otoshi_test::{GitDaemon, Need, given, require, run, said};
use serde_json::{Value, json};
use support::Shop;
use whole::assert_said;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The names in a tar.
fn names(tar: &[u8]) -> Vec<String> {
    let mut child =
        Command::new("tar").arg("-tf-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(tar).unwrap();
    let output = child.wait_with_output().unwrap();
    text(&output.stdout)
        .lines()
        .map(|line| line.trim_start_matches("./").to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

impl Shop {
    fn with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // What is refused at once reads nothing.
        if let Err(error) = child.stdin.take().unwrap().write_all(input) {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        }
        child.wait_with_output().unwrap()
    }
}

#[test]
fn an_image_goes_where_it_is_sent() {
    let shop = given!(Shop::new());
    shop.write("img/Dockerfile", "FROM scratch AS one\nCOPY file /dir/\nFROM one\nLABEL a=b\n");
    shop.write("img/file", "text");
    let build = |flags: &[&str]| shop.otoshi(&[&["image", "build", "img"], flags].concat());

    let output = build(&[
        "-t",
        "x:1",
        "-t",
        "x:2",
        "--iidfile",
        "id",
        "--label",
        "c=d",
        "--label",
        "empty",
        "-o",
        "out",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let digest = text(&output.stdout).trim().to_owned();
    assert_eq!(fs::read_to_string(shop.path("id")).unwrap(), digest);
    assert_eq!(fs::read_to_string(shop.path("out/dir/file")).unwrap(), "text");
    assert_said("images-of-a-build-with-two-names", &shop.otoshi(&["images"]));
    for name in ["x:1", "x:2"] {
        let inspected = shop.json(&["inspect", name]);
        assert_eq!(inspected["digest"], digest);
        assert_eq!(inspected["config"]["config"]["Labels"], json!({ "a": "b", "c": "d", "empty": "" }));
    }

    assert_eq!(names(&build(&["-o", "-"]).stdout), ["dir/", "dir/file"]);
    let archive = build(&["-o", "type=oci,dest=-", "-t", "x:1"]).stdout;
    let beside_blobs: Vec<_> =
        names(&archive).into_iter().filter(|name| !name.starts_with("blobs/")).collect();
    assert_eq!(beside_blobs, ["index.json", "oci-layout"]);
    let archive = names(&build(&["-o", "type=docker,dest=-"]).stdout).into_iter();
    let without_digests =
        archive.map(|name| name.trim_start_matches(|c: char| c.is_ascii_hexdigit()).to_owned());
    assert_eq!(without_digests.collect::<Vec<_>>(), [".tar", ".json", "manifest.json"]);
    build(&["-o", "type=tar,dest=files.tar", "-o", "type=oci,dest=layout,tar=false"]);
    assert_eq!(names(&fs::read(shop.path("files.tar")).unwrap()), ["dir/", "dir/file"]);
    assert!(shop.path("layout/oci-layout").exists() && !shop.path("files.tar.part").exists());

    // What was written can be built on.
    shop.write("next/Dockerfile", "FROM base-image\nCOPY --from=assets file /more\n");
    let output = shop.otoshi(&[
        "image",
        "build",
        "next",
        "-o",
        "-",
        "--build-context",
        "base-image=oci-layout://layout",
        "--build-context",
        "assets=img",
    ]);
    assert_eq!(names(&output.stdout), ["dir/", "dir/file", "more"], "{}", text(&output.stderr));
}

#[test]
fn dockerfiles_and_contexts_come_from_standard_input() {
    let shop = given!(Shop::new());
    shop.write("img/file", "text");
    let alone = shop.with_input(&["image", "build", "-o", "-", "-"], b"FROM scratch\nCOPY <<f /\nx\nf\n");
    assert_eq!(names(&alone.stdout), ["f"], "{}", text(&alone.stderr));
    let beside =
        shop.with_input(&["image", "build", "-o", "-", "-f", "-", "img"], b"FROM scratch\nCOPY file /\n");
    assert_eq!(names(&beside.stdout), ["file"], "{}", text(&beside.stderr));
    shop.write("img/docker/File", "FROM scratch\nCOPY . /\n");
    shop.write("img/docker/File.dockerignore", "docker\n");
    shop.write("img/.dockerignore", "file\n");
    for compress in ["-cf-", "-czf-", "-cJf-"] {
        let tar = Command::new("tar")
            .args(["-C", "img", compress, "."])
            .current_dir(shop.path(""))
            .output()
            .unwrap();
        let built = shop.with_input(&["image", "build", "-o", "-", "-f", "docker/File", "-"], &tar.stdout);
        assert_eq!(names(&built.stdout), [".dockerignore", "file"], "{}", text(&built.stderr));
    }
    let both = shop.with_input(&["image", "build", "-f", "-", "-"], b"FROM scratch\n");
    assert_eq!(both.status.code(), Some(2));
    let hostile = shop.path("hostile");
    fs::create_dir(&hostile).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", hostile.join("Dockerfile")).unwrap();
    let tar =
        Command::new("tar").args(["-C", "hostile", "-cf-", "."]).current_dir(shop.path("")).output().unwrap();
    let refused = shop.with_input(&["image", "build", "-"], &tar.stdout);
    assert_said("image-build-of-a-dockerfile-that-is-a-link", &refused);
}

#[test]
fn arguments_secrets_and_agents_are_given_by_flags() {
    let shop = given!(Shop::new());
    shop.write(
        "img/Dockerfile",
        "FROM otoshi.test/busybox:1\nARG A\nARG SOURCE_DATE_EPOCH\n\
         RUN --mount=type=secret,id=file,required cat /run/secrets/file > /out && echo >> /out\n\
         RUN --mount=type=secret,id=TOKEN,env=T echo \"$A ${T:-none} $SOURCE_DATE_EPOCH\" >> /out\n",
    );
    shop.write("secret", "from-file");
    let run = |flags: &[&str]| {
        shop.command(&[&["image", "build", "img", "-t", "out"], flags].concat())
            .env("TOKEN", "from-env")
            .env("A", "inherited")
            .env("SOURCE_DATE_EPOCH", "1000000000")
            .output()
            .unwrap()
    };
    let output = run(&[
        "--build-arg",
        "A",
        "--build-arg",
        "UNUSED=1",
        "--secret",
        "id=file,src=secret",
        "--secret",
        "id=TOKEN",
    ]);
    assert_said("image-build-with-an-argument-that-nothing-declares", &output);
    let export = shop.otoshi(&["export", "out", "-", "--format", "rootfs"]).stdout;
    let found =
        Command::new("tar").args(["-xOf-", "out"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut found = found.unwrap();
    found.stdin.take().unwrap().write_all(&export).unwrap();
    let lines = text(&found.wait_with_output().unwrap().stdout);
    assert_eq!(lines, "from-file\ninherited from-env 1000000000\n");
    let inspected = shop.ok(&["inspect", "out"]);
    let shown: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(shown["config"]["created"], "2001-09-09T01:46:40Z");
    assert!(!inspected.contains("from-file") && !inspected.contains("from-env"));

    for (name, flags) in [
        ("secret-with-a-misspelt-option", &["--secret", "id=file,sorce=x"][..]),
        ("secret-without-an-id", &["--secret", "src=secret"]),
        ("secret-of-no-file", &["--secret", "id=file,src=none"]),
        ("ssh-of-no-socket", &["--ssh", "default=none"]),
        ("context-from-ftp", &["--build-context", "x=ftp://example.org"]),
        ("context-without-a-value", &["--build-context", "x"]),
        ("platform-that-is-none", &["--platform", "what/ever/is/this"]),
        ("output-of-an-unknown-type", &["-o", "type=rar"]),
        ("target-that-is-not-there", &["--target", "nothing"]),
    ] {
        assert_said(&format!("image-build-{name}"), &run(flags));
    }
}

#[test]
fn a_root_file_system_is_the_same_file_wherever_the_image_was_made() {
    let shop = given!(Shop::new());
    shop.write(
        "img/Dockerfile",
        "FROM otoshi.test/busybox:1\nRUN echo made > /made && ln -s made /link\nCOPY Dockerfile /\n",
    );
    shop.ok(&["image", "build", "img", "-t", "out"]);
    let archive = shop.path("out.tar").display().to_string();
    shop.ok(&["export", "out", &archive]);
    let rootfs = || shop.otoshi(&["export", "out", "-", "--format", "rootfs"]).stdout;
    let here = rootfs();
    fs::remove_dir_all(shop.home()).unwrap();
    shop.ok(&["import", &archive, "--name", "out"]);
    assert!(!here.is_empty() && here == rootfs(), "files have other times in another store");

    // Where a build sends the files, they are the same.
    let base = shop.dir.path().join("root.tar");
    let extracted = shop.path("extracted");
    fs::create_dir(&extracted).unwrap();
    fs::write(shop.path("rootfs.tar"), &here).unwrap();
    run(Command::new("tar").arg("-xf").arg(shop.path("rootfs.tar")).arg("-C").arg(&extracted));
    let times = |directory: &Path| {
        ["made", "Dockerfile", "etc/base"].map(|file| fs::metadata(directory.join(file)).unwrap().mtime())
    };
    for store in ["another", "yet-another"] {
        fs::remove_dir_all(shop.home()).unwrap();
        shop.ok(&["import", base.to_str().unwrap(), "--name", "otoshi.test/busybox:1"]);
        let files = shop.path(store);
        let directory = format!("type=local,dest={}", files.display());
        let built = shop.otoshi(&["image", "build", "img", "-o", &directory, "-o", "type=tar,dest=-"]);
        assert!(built.status.success(), "{}", text(&built.stderr));
        assert!(built.stdout == here, "{store}: files have other times");
        assert_eq!(times(&files), times(&extracted), "{store}");
    }
}

#[test]
fn what_is_likely_not_meant_is_shown_where_it_stands() {
    let shop = given!(Shop::new());
    shop.write(
        "img/Dockerfile",
        "FROM otoshi.test/busybox:1\nARG API_TOKEN\nENV PATHS=/x:$PAHT\nCOPY secret /\nCMD run it\n",
    );
    shop.write("img/.dockerignore", "secret\n");
    assert_said("image-check", &shop.otoshi(&["image", "check", "img"]));
    let json: Value =
        serde_json::from_slice(&shop.otoshi(&["image", "check", "img", "--json"]).stdout).unwrap();
    let second = &json["findings"][1];
    assert_eq!(
        (&second["rule"], &second["line"], &second["column"]),
        (&"UndefinedVar".into(), &3.into(), &14.into())
    );
    assert_eq!(second["text"], "$PAHT");

    // A build warns of the same, and fails where the file says so.
    shop.write("img/Dockerfile", "# check=error=true\nFROM scratch\nMAINTAINER me\n");
    assert_said("image-build-of-a-file-that-wants-no-findings", &shop.otoshi(&["image", "build", "img"]));
    shop.write("img/Dockerfile", "FROM scratch\nLABEL a=b\n");
    let clean = shop.otoshi(&["image", "check", "img"]);
    assert_eq!((clean.status.code(), text(&clean.stdout)), (Some(0), String::new()));
    shop.write("img/Dockerfile", "FORM scratch\n");
    assert_said("image-check-of-a-misspelt-instruction", &shop.otoshi(&["image", "check", "img"]));

    // What stands before a mistake is told before it.
    shop.write("img/Dockerfile", "FROM x as y\nLABELL a=b\n");
    for command in ["check", "build"] {
        let name = format!("image-{command}-of-a-finding-before-a-misspelt-instruction");
        assert_said(&name, &shop.otoshi(&["image", command, "img"]));
    }

    // Of a base it is looked up for which platform it is.
    shop.write("img/Dockerfile", "FROM --platform=linux/s390x otoshi.test/busybox:1\nLABEL a=b\n");
    for command in ["check", "build"] {
        let name = format!("image-{command}-of-a-base-for-another-platform");
        assert_said(&name, &shop.otoshi(&["image", command, "img"]));
    }
}

#[test]
fn a_context_may_be_a_repository() {
    let shop = given!(Shop::new());
    shop.write("repo/sub/docker/File", "FROM scratch\nCOPY . /\nCOPY --from=more file /more\n");
    shop.write("repo/sub/.dockerignore", "docker\n.dockerignore\n");
    shop.write("repo/sub/file", "text");
    let commands =
        "git init -q -b main . && git add . && git -c user.email=a@b -c user.name=a commit -qm one";
    let made = Command::new("sh").args(["-ec", commands]).current_dir(shop.path("repo")).status().unwrap();
    assert!(made.success());
    let daemon = given!(GitDaemon::start(&shop.path("")));
    let url = format!("{}/repo#main:sub", daemon.url());
    let more = format!("more={url}");
    let built =
        shop.otoshi(&["image", "build", &url, "-f", "docker/File", "--build-context", &more, "-o", "-"]);
    assert_eq!(names(&built.stdout), ["file", "more"], "{}", text(&built.stderr));
    assert_said("image-build-of-a-repository-without-a-dockerfile", &shop.otoshi(&["image", "build", &url]));
}

/// Writes `386` and a line break to /made, with the system calls of a 32-bit program.
const PROGRAM_386: &str = "
    .globl _start
_start:
    movl $5, %eax           # open
    movl $path, %ebx
    movl $0x41, %ecx        # O_WRONLY | O_CREAT
    movl $0644, %edx
    int $0x80
    movl %eax, %ebx
    movl $4, %eax           # write
    movl $text, %ecx
    movl $4, %edx
    int $0x80
    movl $1, %eax           # exit
    xorl %ebx, %ebx
    int $0x80
path: .asciz \"/made\"
text: .ascii \"386\\n\"
";

#[test]
#[cfg(target_arch = "x86_64")]
fn a_platform_that_the_machine_runs_is_built_for_and_others_are_told() {
    given!(require(&[Need::Tool("as"), Need::Tool("ld")]));
    let shop = given!(Shop::new());
    shop.write("old/program.s", PROGRAM_386);
    let tool = |arguments: &[&str]| {
        let made = Command::new(arguments[0]).args(&arguments[1..]).current_dir(shop.path("old")).status();
        assert!(made.unwrap().success(), "{arguments:?}");
    };
    tool(&["as", "--32", "program.s", "-o", "program.o"]);
    tool(&["ld", "-m", "elf_i386", "program.o", "-o", "program"]);
    shop.write(
        "old/Dockerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY program /program-${TARGETARCH}\nRUN [\"/program-386\"]\n",
    );
    shop.ok(&["image", "build", "old", "--platform", "linux/386", "-t", "old:1", "-o", "out"]);
    assert_eq!(fs::read_to_string(shop.path("out/made")).unwrap(), "386\n");
    let image = shop.json(&["inspect", "old:1"]);
    assert_eq!(image["config"]["architecture"], "386");

    // What needs an emulator is told; what runs nothing needs none.
    shop.write("other/Dockerfile", "FROM scratch\nCOPY Dockerfile /d\nRUN [\"/d\"]\n");
    let refused = shop.otoshi(&["image", "build", "other", "--platform", "linux/riscv64"]);
    assert_said("image-build-for-a-platform-that-needs-an-emulator", &refused);
    shop.write("other/Dockerfile", "FROM scratch\nCOPY Dockerfile /d\nENTRYPOINT [\"/d\"]\n");
    shop.ok(&["image", "build", "other", "--platform", "linux/riscv64", "-t", "riscv:1"]);
}

#[test]
fn every_word_that_cannot_be_expanded_is_shown_in_its_line() {
    let shop = given!(Shop::new());
    shop.write("img/file", "text");
    for line in [
        "ENV A=${B!c}",
        "ENV ${B!c}=a",
        "ENV A=\"x",
        "ENV A=${B:?}",
        "ARG A=${B!c}",
        "LABEL a=${B!c}",
        "WORKDIR ${B!c}",
        "USER ${B!c}",
        "VOLUME ${B!c}",
        "STOPSIGNAL ${B!c}",
        "EXPOSE ${B!c}",
        "COPY \"a b\" /",
        "COPY file ${B!c}",
        "COPY --chmod=${B!c} file /",
        "COPY --chown=${B!c} file /",
        "COPY --exclude=${B!c} file /",
        "COPY <<X /a\n${B!c}\nX",
        "ADD --checksum=${B!c} http://127.0.0.1:1/a /",
        "RUN --mount=type=cache,target=${B!c} true",
        "RUN --mount=type=cache,target=/x,uid=${B!c} true",
        "RUN --mount=type=secret,id=${B!c} true",
    ] {
        shop.write("img/Dockerfile", &format!("FROM scratch\n{line}\n"));
        let output = shop.otoshi(&["image", "build", "-q", "img"]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{line}: {text}");
        assert!(text.contains("Dockerfile:2:1]") && text.contains("───"), "{line}: {text}");
        assert_eq!(text.contains("COPY [\"a b\", \"/\"]"), line.contains("a b"), "{line}: {text}");
    }
    for first in ["ARG A=${B!c}\nFROM scratch\n", "FROM ${B!c}\n", "FROM --platform=${B!c} scratch\n"] {
        shop.write("img/Dockerfile", first);
        let text = said(&shop.otoshi(&["image", "build", "-q", "img"]));
        assert!(text.contains("Dockerfile:1:1]"), "{first}: {text}");
    }
}

#[test]
fn a_time_that_is_none_is_told_wherever_it_is_said() {
    let shop = given!(Shop::new());
    let told = |dockerfile: &str, flags: &[&str]| {
        shop.write("img/Dockerfile", dockerfile);
        let output = shop.otoshi(&[&["image", "build", "-q", "img"], flags].concat());
        (output.status.code(), said(&output))
    };
    let plain = "FROM scratch\nLABEL a=b\n";
    for wrong in ["-1", "now", "1.5", "253402207201", "99999999999999999999"] {
        let expected = format!(
            "SOURCE_DATE_EPOCH is {wrong:?}, which is not a number of seconds from 0 to 253402207200"
        );
        let (code, text) = told(plain, &["--build-arg", &format!("SOURCE_DATE_EPOCH={wrong}")]);
        assert!(code == Some(2) && text.contains(&expected) && text.contains("git log -1"), "{text}");
        let (code, text) = told(&format!("ARG SOURCE_DATE_EPOCH={wrong}\n{plain}"), &[]);
        assert!(code == Some(2) && text.contains(&expected) && text.contains("Dockerfile:1:1]"), "{text}");
    }
    assert_eq!(
        told(plain, &["--build-arg", "SOURCE_DATE_EPOCH="]).0,
        Some(0),
        "as with BuildKit, that says none"
    );
}

#[test]
fn what_is_wrong_with_a_path_that_was_named_is_the_callers_matter() {
    let shop = given!(Shop::new());
    shop.write("img/Dockerfile", "FROM scratch\nLABEL a=b\n");
    shop.write("file", "text");
    shop.ok(&["image", "build", "-q", "img", "-t", "x:1"]);
    for words in [
        &["import", "no/such"][..],
        &["import", "img"],
        &["export", "x:1", "no/such/x.tar"],
        &["run", "--env-file", "no/such", "x:1"],
        &["run", "--volume", "./file/below:/x", "x:1"],
        &["image", "build", "-q", "img", "--iidfile", "no/such/file"],
        &["image", "build", "-q", "img", "--metadata-file", "no/such/file"],
        &["image", "build", "-q", "img", "--ssh", "default=no/such"],
        &["image", "build", "-q", "img", "-o", "file"],
        &["--home", "file", "images"],
        &["--home", "/", "images"],
        &["pull", "me:geheim@localhost:1/x"],
    ] {
        let output = shop.otoshi(words);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        assert!(!text.contains("geheim"), "{text}");
    }
}

#[test]
fn a_file_that_is_there_is_written_over_only_where_that_is_asked_for() {
    let shop = given!(Shop::new());
    shop.write("img/Dockerfile", "FROM scratch\nLABEL a=b\n");
    shop.ok(&["image", "build", "-q", "img", "-t", "x:1"]);
    shop.write("notes.txt", "do not lose this");
    shop.write("empty.tar", "");
    assert_said("export-over-a-file", &shop.otoshi(&["export", "x:1", "notes.txt"]));
    assert_eq!(fs::read_to_string(shop.path("notes.txt")).unwrap(), "do not lose this");
    // As `mktemp` makes it.
    shop.ok(&["export", "x:1", "empty.tar"]);
    assert_said("export-over-a-file-with-force", &shop.otoshi(&["export", "--force", "x:1", "notes.txt"]));
    assert_eq!(fs::read(shop.path("notes.txt")).unwrap(), fs::read(shop.path("empty.tar")).unwrap());
}

#[test]
fn what_is_not_in_a_context_is_told_with_why() {
    let shop = given!(Shop::new());
    shop.write("beside", "");
    shop.write("img/left-out", "");
    shop.write("img/setings", "");
    shop.write("img/.dockerignore", "left-out\n");
    for (name, source) in
        [("above", "../beside"), ("left-out", "left-out"), ("misspelt", "settings"), ("absent", "zzz")]
    {
        shop.write("img/Dockerfile", &format!("FROM scratch\nCOPY {source} /\n"));
        assert_said(&format!("copy-of-what-is-{name}"), &shop.otoshi(&["image", "build", "img"]));
    }
}

#[test]
fn files_in_utf16_are_told() {
    let shop = given!(Shop::new());
    let wide = |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    shop.write("img/Dockerfile", "FROM scratch\nCOPY . /\n");
    shop.write("img/secret", "");
    fs::write(shop.path("img/.dockerignore"), wide("secret\n")).unwrap();
    assert_said("utf16-dockerignore", &shop.otoshi(&["image", "build", "img"]));
    fs::remove_file(shop.path("img/.dockerignore")).unwrap();
    fs::write(shop.path("img/Dockerfile"), wide("FROM scratch\nCOPY . /\n")).unwrap();
    assert_said("utf16-dockerfile", &shop.otoshi(&["image", "build", "img"]));
    shop.write("otoshi.toml", "[project]\nname = \"shop\"\n[runner]\ndockerfile = \"img/Dockerfile\"\n[processes]\nweb = \"true\"\n");
    assert_said("utf16-dockerfile-of-a-role", &shop.otoshi(&["build"]));
    fs::write(shop.path("otoshi.toml"), wide("[project]\n")).unwrap();
    assert_said("utf16-otoshi-toml", &shop.otoshi(&["build"]));
}

#[test]
fn whatever_new_files_are_kept_from_others_the_image_is_the_same() {
    let shop = given!(Shop::new());
    shop.write("img/file", "text");
    shop.write(
        "img/Dockerfile",
        "FROM scratch\nCOPY --from=otoshi.test/busybox:1 /bin /bin\nCOPY file /a/b/\nRUN /bin/busybox stat -c %a / > /mode\n\
        WORKDIR /made\nRUN echo x > x\nUSER 1000\nRUN cat /mode /a/b/file /made/x\n",
    );
    let archive = shop.dir.path().join("root.tar");
    let archive = archive.to_str().unwrap();
    let made = ["022", "077", "002", "000"].map(|mask| {
        let otoshi = |arguments: &[&str]| {
            let mut command = Command::new("sh");
            command
                .args(["-c", "umask $0 && exec \"$@\"", mask, env!("CARGO_BIN_EXE_otoshi")])
                .args(arguments);
            let home = shop.dir.path().join(format!("home-{mask}"));
            let output = command.current_dir(shop.path("")).env("OTOSHI_HOME", home).output().unwrap();
            assert!(output.status.success(), "{mask} {arguments:?}: {}", said(&output));
            text(&output.stdout)
        };
        otoshi(&["import", archive, "--name", "otoshi.test/busybox:1"]);
        let digest = otoshi(&["image", "build", "-q", "img", "-t", "x:1"]);
        assert_eq!(otoshi(&["run", "x:1", "--", "/bin/cat", "/mode"]), "755\n", "{mask}");
        let out = shop.path(&format!("out-{mask}.tar"));
        otoshi(&["export", "x:1", out.to_str().unwrap(), "--format", "rootfs"]);
        (digest, fs::read(out).unwrap())
    });
    assert!(made.iter().all(|one| *one == made[0]), "{:?}", made.map(|(digest, _)| digest));
}
