//! A whole project built and run by an ordinary user, with ranges of further ids and with the user's own id alone.
//!
//! The user exists only for the test: the lines of `/etc/passwd`, `/etc/subuid` and `/etc/subgid` are mounted over the
//! machine's own in a mount namespace that ends with the test.

mod support;
mod whole;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Command, Output},
};

use otoshi_test::{Need, given, require};
use support::{MANIFEST, Shop};
use whole::{assert_said, assert_written};

const UID: u32 = 54322;

/// Runs a shell line as the user, in the project's directory; `otoshi` is the program.
fn as_user(shop: &Shop, line: &str, sub_ids: bool) -> Output {
    let dir = shop.dir.path();
    let program = dir.join("otoshi");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_otoshi"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let own = Command::new("chown").arg("-hR").arg(format!("{UID}:{UID}")).arg(dir).status().unwrap();
        assert!(own.success());
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        fs::write(dir.join("passwd"), format!("{passwd}otoshi-test:x:{UID}:{UID}::/:/bin/sh\n")).unwrap();
    }
    let range = if sub_ids { "otoshi-test:400000:65536\n" } else { "" };
    fs::write(dir.join("subuid"), range).unwrap();
    let script = format!(
        "set -e; cd {}; touch /etc/subuid /etc/subgid; mount --bind passwd /etc/passwd; \
         mount --bind subuid /etc/subuid; mount --bind subuid /etc/subgid; cd shop; \
         exec setpriv --reuid {UID} --regid {UID} --clear-groups sh -c \"$0\"",
        dir.display()
    );
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, line]);
    command.env("OTOSHI_HOME", dir.join("user-home")).env("PATH", path).output().unwrap()
}

fn ok(shop: &Shop, line: &str, sub_ids: bool) -> String {
    let output = as_user(shop, line, sub_ids);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const IMPORT: &str = "otoshi import ../root.tar --name otoshi.test/busybox:1";

#[test]
fn an_ordinary_user_with_further_ids_builds_and_runs_all() {
    given!(require(&[Need::Tool("newuidmap")]));
    let shop = given!(Shop::new());
    shop.write(
        "runner.Dockerfile",
        "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner && /bin/busybox chown 1000:1001 /etc/runner\nUSER 1000:1001\n",
    );
    ok(&shop, IMPORT, true);
    ok(&shop, "otoshi build", true);
    assert_eq!(ok(&shop, "otoshi run web", true), "source 1\ndeps 1\nrunner\nbase 1\n");
    let owners =
        "otoshi run web -- /bin/busybox stat -c %u:%g /etc/runner; otoshi run web -- /bin/busybox id -u";
    assert_eq!(ok(&shop, owners, true), "1000:1001\n1000\n");
    assert_said("plan-of-an-ordinary-user", &as_user(&shop, "otoshi plan", true));
    // Root builds the same images, to the byte.
    let ours = ok(&shop, "otoshi build", true);
    shop.ok(&[
        "import",
        shop.dir.path().join("root.tar").to_str().unwrap(),
        "--name",
        "otoshi.test/busybox:1",
    ]);
    let of_root = shop.ok(&["build"]);
    assert_written("build-of-an-ordinary-user", &ours);
    let images = |text: &str| text.lines().skip(4).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(images(&ours), images(&of_root));
    // Nothing in the store belongs to anybody but the user and the user's ranges.
    let home = fs::metadata(shop.dir.path().join("user-home")).unwrap();
    assert_eq!(home.uid(), UID);
    ok(&shop, "otoshi gc --unused-for 0", true);
}

#[test]
fn an_ordinary_user_with_one_id_builds_what_is_roots_alone() {
    let shop = given!(Shop::new());
    ok(&shop, IMPORT, false);
    ok(&shop, "otoshi build", false);
    assert_eq!(ok(&shop, "otoshi run web", false), "source 1\ndeps 1\nrunner\nbase 1\n");

    shop.write("otoshi.toml", MANIFEST);
    shop.write(
        "runner.Dockerfile",
        "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\nUSER 1000\nRUN true\n",
    );
    let refused = as_user(&shop, "otoshi build", false);
    assert_said("build-of-a-user-without-further-ids", &refused);
}

#[test]
fn an_ordinary_user_builds_single_images_with_everything_in_them() {
    given!(require(&[Need::Tool("newuidmap")]));
    let shop = given!(Shop::new());
    let dockerfile = "FROM otoshi.test/busybox:1\n\
        ADD a.tar /etc/\n\
        COPY --parents --exclude=*.md --chmod=go-r ./tree/./**/f /t/\n\
        COPY --link tree/sub /linked/\n\
        RUN --mount=type=bind,source=tree,target=/m,rw --mount=type=cache,target=/c --mount=type=tmpfs,target=/x \
        --mount=type=secret,id=s,env=S --mount=type=ssh \
        echo x > /m/new && echo y > /c/new && echo z > /x/new && test -S \"$SSH_AUTH_SOCK\" && echo \"$S\" > /out\n\
        RUN <<EOF\n#!/bin/sh\ncat /etc/base /etc/packed /t/sub/f /linked/f /out > /all\nEOF\n";
    shop.write("img/Dockerfile", dockerfile);
    shop.write("img/tree/sub/f", "f\n");
    shop.write("img/tree/sub/g.md", "g\n");
    shop.write("img/packed", "packed\n");
    let tar =
        Command::new("tar").args(["-cf", "a.tar", "packed"]).current_dir(shop.path("img")).status().unwrap();
    let key = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "key"])
        .current_dir(shop.path(""))
        .status()
        .unwrap();
    assert!(tar.success() && key.success());
    for sub_ids in [true, false] {
        ok(&shop, &format!("export OTOSHI_HOME=../home-{sub_ids}; {IMPORT}"), sub_ids);
        let line = format!(
            "export OTOSHI_HOME=../home-{sub_ids} S=secret; otoshi image build img -o out-{sub_ids} --secret id=s,env=S --ssh default=key"
        );
        ok(&shop, &line, sub_ids);
        let all = shop.path(&format!("out-{sub_ids}/all"));
        assert_eq!(fs::read_to_string(&all).unwrap(), "base 1\npacked\nf\nf\nsecret\n", "{sub_ids}");
        assert_eq!(fs::metadata(&all).unwrap().uid(), UID, "what is written outside is the user's");
    }
}

#[test]
fn a_user_with_one_id_is_told_what_is_possible() {
    let shop = given!(Shop::new());
    let output = as_user(&shop, "otoshi doctor", false);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(" limited "), "{text}");
    assert!(text.contains("bases made of packages can only have the variant distroless"), "{text}");
    assert!(text.ends_with("images can be built here\n"), "{text}");
}

#[test]
fn a_user_with_further_ids_is_told_of_no_such_limit() {
    given!(require(&[Need::Tool("newuidmap")]));
    let shop = given!(Shop::new());
    let text = ok(&shop, "otoshi doctor", true);
    assert!(!text.contains("distroless") && text.ends_with("images can be built here\n"), "{text}");
}
