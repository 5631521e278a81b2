//! COPY and ADD: what goes where, with which mode and owner, as BuildKit does it.

mod support;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

use otoshi_test::given;
use support::{World, world};

impl World {
    fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.source.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn directories_that_are_copied_to_keep_their_mode_and_new_ones_have_the_usual_one() {
    let world = given!(world());
    world.write("src/sub/file", "x");
    world.write("other/file", "y");
    world.chmod("src", 0o700);
    world.chmod("src/sub", 0o710);
    world.chmod("src/sub/file", 0o604);
    let image = world.build(
        "FROM scratch\nCOPY src /new\nCOPY --chown=7:8 src /owned\nCOPY --chown=5 src/sub/file /deep/er/\nCOPY other /new\nCOPY other /owned/sub\n",
    );
    assert_eq!(
        world.tree(&image, "/"),
        "755 5:5 /deep/\n755 5:5 /deep/er/\n604 5:5 /deep/er/file \"x\"\n\
         755 0:0 /new/\n644 0:0 /new/file \"y\"\n710 0:0 /new/sub/\n604 0:0 /new/sub/file \"x\"\n\
         755 7:8 /owned/\n710 7:8 /owned/sub/\n644 0:0 /owned/sub/file \"y\""
    );
}

/// What somebody's working directory has beside content and modes, such as a capability, is nobody else's.
#[test]
fn extended_attributes_of_the_context_stay_there() {
    let (plain, marked) = (given!(world()), given!(world()));
    let text = "FROM scratch\nCOPY tool /tool\nADD tool /added\nCOPY --chmod=755 . /all/\n";
    for world in [&plain, &marked] {
        world.write("tool", "x");
        world.write("dir/file", "y");
    }
    // A capability: cap_sys_admin, effective and permitted (capabilities(7), version 2).
    let capability = [1, 0, 0, 2, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(marked.source.join(path), name, value, rustix::fs::XattrFlags::empty())
            .unwrap();
    };
    set("tool", "security.capability", &capability);
    set("dir", "user.mark", b"x");
    assert_eq!(plain.build(text).digest, marked.build(text).digest);
    set("tool", "user.mark", b"y");
    assert_eq!(plain.build(text).digest, marked.build(text).digest);
}

#[test]
fn sources_are_copied_one_after_the_other() {
    let world = given!(world());
    world.write("a", "a");
    world.write("b", "b");
    world.write("dir/c", "c");
    symlink("a", world.source.join("link")).unwrap();
    symlink("dir", world.source.join("dirlink")).unwrap();
    let image = world.build(
        "FROM scratch\nCOPY a b /last\nCOPY a b dir /all/\nCOPY link /links/\nCOPY dirlink /links\nCOPY l* /pattern/\nCOPY none* /nothing/\nCOPY [ab] /class/\n",
    );
    assert_eq!(
        world.tree(&image, "/"),
        "755 0:0 /all/\n644 0:0 /all/a \"a\"\n644 0:0 /all/b \"b\"\n644 0:0 /all/c \"c\"\n\
         755 0:0 /class/\n644 0:0 /class/a \"a\"\n644 0:0 /class/b \"b\"\n\
         644 0:0 /last \"b\"\n\
         755 0:0 /links/\n644 0:0 /links/c \"c\"\n644 0:0 /links/link \"a\"\n\
         755 0:0 /pattern/\n644 0:0 /pattern/link \"a\""
    );
    symlink("nowhere", world.source.join("dangling")).unwrap();
    assert!(world.try_build("FROM scratch\nCOPY d* /x/\n", |_| {}).is_err());
}

#[test]
fn links_in_the_destination_are_followed_inside_the_image() {
    let world = given!(world());
    world.write("file", "new");
    let image = world.build(
        "FROM busybox\nRUN mkdir -p /real/dir && ln=/bin/busybox && $ln ln -s /real/dir /way && $ln ln -s target /real/link && $ln ln -s ../../../../real /real/up\nCOPY file /way/\nCOPY file /real/link\nCOPY file /real/up/here\n",
    );
    assert_eq!(
        world.tree(&image, "/real"),
        "755 0:0 /real/dir/\n644 0:0 /real/dir/file \"new\"\n644 0:0 /real/here \"new\"\n0:0 /real/link -> target\n644 0:0 /real/target \"new\"\n0:0 /real/up -> ../../../../real"
    );
}

#[test]
fn parents_keep_the_path_from_the_root_or_the_pivot() {
    let world = given!(world());
    for path in ["a/b/c/d/foo", "a/b/c/d/e/bay", "a/b2/c/d/e/bar", "a/b/c2/x"] {
        world.write(path, path.rsplit('/').next().unwrap());
    }
    world.chmod("a/b", 0o750);
    let paths = |source: &str| {
        let image = world.build(&format!("FROM scratch\nCOPY --parents {source} /out/\n"));
        let tree = world.tree(&image, "/out");
        tree.lines()
            .map(|line| line.split(' ').nth(2).unwrap().trim_start_matches("/out/").to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(paths("a/b/c/d/foo"), "a/ a/b/ a/b/c/ a/b/c/d/ a/b/c/d/foo");
    assert_eq!(paths("./a/b/./c/d"), "c/ c/d/ c/d/e/ c/d/e/bay c/d/foo");
    assert_eq!(
        paths("a/./*/c"),
        "b/ b/c/ b/c/d/ b/c/d/e/ b/c/d/e/bay b/c/d/foo b2/ b2/c/ b2/c/d/ b2/c/d/e/ b2/c/d/e/bar"
    );
    assert_eq!(paths("a/b*/./c/**/e"), "c/ c/d/ c/d/e/ c/d/e/bar c/d/e/bay");
    assert_eq!(
        paths("**/ba?"),
        "a/ a/b/ a/b/c/ a/b/c/d/ a/b/c/d/e/ a/b/c/d/e/bay a/b2/ a/b2/c/ a/b2/c/d/ a/b2/c/d/e/ a/b2/c/d/e/bar"
    );
    let image = world.build("FROM busybox AS from\nCOPY a /src/a\nFROM scratch\nCOPY --from=from --parents /src/./a/b/c/*/foo a* /\n");
    assert_eq!(
        world.tree(&image, "/"),
        "755 0:0 /a/\n750 0:0 /a/b/\n755 0:0 /a/b/c/\n755 0:0 /a/b/c/d/\n644 0:0 /a/b/c/d/foo \"foo\""
    );
    let error = world.try_build("FROM scratch\nCOPY --parents a/nothing /\n", |_| {}).unwrap_err();
    assert!(error.to_string().contains("no a/nothing there"), "{error}");
}

#[test]
fn excluded_files_are_left_out_and_do_not_count() {
    let world = given!(world());
    for path in ["dir/a.txt", "dir/b.md", "dir/sub/c.txt", "dir/sub/d.md", "a.txt", "b.md"] {
        world.write(path, "x");
    }
    let dockerfile = "FROM scratch\nCOPY --exclude=**/*.txt --exclude=sub/d* dir /dir/\nCOPY --exclude=*.txt *.* /files/\nADD --exclude=* --exclude=!sub dir /back/\n";
    let image = world.build(dockerfile);
    assert_eq!(
        world.tree(&image, "/"),
        "755 0:0 /back/\n755 0:0 /back/sub/\n644 0:0 /back/sub/c.txt \"x\"\n644 0:0 /back/sub/d.md \"x\"\n\
         755 0:0 /dir/\n644 0:0 /dir/b.md \"x\"\n755 0:0 /dir/sub/\n755 0:0 /files/\n644 0:0 /files/b.md \"x\""
    );
    world.write("dir/a.txt", "other");
    assert_eq!(world.build(dockerfile).steps_run, 0);
    world.write("dir/b.md", "other");
    assert_eq!(world.build(dockerfile).steps_run, 1);
}

#[test]
fn a_pattern_in_another_stage_sees_that_its_files_changed() {
    let world = given!(world());
    let with = |text: &str| {
        let image = world.build(&format!("FROM busybox AS from\nRUN mkdir /o && echo {text} > /o/a.txt\nFROM scratch\nCOPY --from=from /o/*.txt /\n"));
        world.tree(&image, "/")
    };
    assert_eq!(with("one"), "644 0:0 /a.txt \"one\"");
    assert_eq!(with("two"), "644 0:0 /a.txt \"two\"");
}

#[test]
fn modes_may_be_symbolic() {
    let world = given!(world());
    world.write("dir/tool", "x");
    world.write("dir/text", "x");
    world.chmod("dir/tool", 0o700);
    let image = world.build("FROM scratch\nCOPY --chmod=go=rX,u+w dir /dir\nCOPY --chmod=4711 dir/text /set\nARG M=a=r\nCOPY --chmod=$M dir/text /arg\n");
    assert_eq!(
        world.tree(&image, "/"),
        "444 0:0 /arg \"x\"\n755 0:0 /dir/\n644 0:0 /dir/text \"x\"\n755 0:0 /dir/tool \"x\"\n4711 0:0 /set \"x\""
    );
    let error = world.try_build("FROM scratch\nCOPY --chmod=u+q dir /\n", |_| {}).unwrap_err();
    assert!(error.to_string().contains("--chmod=u+q: not a mode"), "{error}");
}

#[test]
fn a_linked_copy_does_not_look_at_what_lies_below() {
    let world = given!(world());
    world.write("file", "x");
    let build = |base: &str| {
        world.build(&format!(
            "FROM busybox\nRUN {base}\nCOPY --link file /d/\nCOPY --link --chown=app file /d/own\n"
        ))
    };
    let image = build("mkdir -m 700 /d && echo kept > /d/old");
    assert_eq!(
        world.tree(&image, "/d"),
        "644 0:0 /d/file \"x\"\n644 0:0 /d/old \"kept\"\n644 1000:1000 /d/own \"x\""
    );
    // Whatever lies below: a link is replaced, not followed, and nothing is copied again.
    let moved = build("/bin/busybox ln -s /elsewhere /d");
    assert_eq!(world.tree(&moved, "/d"), "644 0:0 /d/file \"x\"\n644 1000:1000 /d/own \"x\"");
    assert_eq!(moved.steps_run, 1);
}

#[test]
fn a_heredoc_counts_by_what_it_is_after_expansion() {
    let world = given!(world());
    let with = |value: &str| {
        let dockerfile = "FROM scratch\nARG V\nCOPY <<one <<\"two\" /h/\nis $V ${V:+set}\none\nis $V\ntwo\n";
        let image = world.try_build(dockerfile, |request| {
            request.args.insert("V".into(), value.into());
        });
        world.tree(&image.unwrap(), "/h")
    };
    assert_eq!(with("1"), "644 0:0 /h/one \"is 1 set\"\n644 0:0 /h/two \"is $V\"");
    assert_eq!(with("2"), "644 0:0 /h/one \"is 2 set\"\n644 0:0 /h/two \"is $V\"");
}

#[test]
fn archives_are_unpacked_into_what_is_there() {
    let world = given!(world());
    world.write("pack/lib/new", "new");
    world.write("pack/dir/file", "packed");
    world.write("not.gz", "plain");
    let shell = |command: &str| {
        assert!(
            Command::new("sh").arg("-c").arg(command).current_dir(&world.source).status().unwrap().success()
        );
    };
    shell(
        "tar -cf a.tar --owner=3 --group=4 -C pack . && gzip -k a.tar && bzip2 -k a.tar && xz -k a.tar && zstd -q a.tar",
    );
    shell("gzip -k not.gz -c > text.gz && rm -r pack");
    for archive in ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.tar.zst"] {
        let image = world.build(&format!(
            "FROM busybox\nRUN mkdir -p /in/real /in/dir && echo old > /in/dir/old && /bin/busybox ln -s real /in/lib\nADD {archive} /in/\nADD text.gz /in/\n"
        ));
        let tree = world.tree(&image, "/in");
        assert!(
            tree.contains("755 3:4 /in/dir/\n644 3:4 /in/dir/file \"packed\"\n644 0:0 /in/dir/old \"old\""),
            "{archive}\n{tree}"
        );
        // The archive says `lib/` is a directory: it takes the place of the link.
        assert!(tree.contains("755 3:4 /in/lib/\n644 3:4 /in/lib/new \"new\""), "{archive}\n{tree}");
        assert!(tree.contains("/in/text.gz"), "{tree}");
    }
    let image = world.build("FROM scratch\nADD --chown=8:9 a.tar /owned\nADD --unpack=false a.tar /kept/\n");
    let tree = world.tree(&image, "/owned");
    assert_eq!(
        tree,
        "755 8:9 /owned/dir/\n644 8:9 /owned/dir/file \"packed\"\n755 8:9 /owned/lib/\n644 8:9 /owned/lib/new \"new\""
    );
}

#[test]
fn triggers_run_in_the_stage_on_top_and_are_gone_then() {
    let world = given!(world());
    world.write("file", "one");
    let base = world.build("FROM busybox\nONBUILD ARG NAME=none\nONBUILD COPY file /from-context\nONBUILD COPY --from=tools /tool /tool\nONBUILD RUN echo $NAME > /name\n");
    world.tag(&base, "with-triggers");
    let dockerfile = "FROM scratch AS tools\nCOPY file /tool\nFROM with-triggers\nRUN cat /name /from-context /tool > /all\n";
    let built = world.try_build(dockerfile, |request| {
        request.args.insert("NAME".into(), "given".into());
    });
    assert_eq!(world.output(&built.unwrap(), "cat /all"), "given\noneone");
    world.write("file", "two");
    let image = world.build(dockerfile);
    assert_eq!(world.output(&image, "cat /all"), "none\ntwotwo");
    // Of a stage as of an image, and once only.
    let image = world.build("FROM busybox AS a\nONBUILD RUN echo x >> /count\nFROM a AS b\nRUN true\nFROM b\nRUN echo end >> /count\n");
    assert_eq!(world.output(&image, "cat /count"), "x\nend\n");
}

#[test]
fn a_directory_takes_the_place_of_nothing_else_and_nothing_else_that_of_a_directory() {
    let world = given!(world());
    world.write("dir/sub/file", "x");
    let onto = |base: &str, destination: &str| {
        world.try_build(&format!("FROM busybox\nRUN {base}\nCOPY dir {destination}\n"), |_| {})
    };
    // What was copied before to the same place, onto other layers, is no excuse.
    onto("true", "/d").unwrap();
    onto("mkdir /d", "/d").unwrap();
    for base in [
        "echo x > /d",
        "mkdir /d && echo x > /d/sub",
        "mkdir -p /d/sub/file",
        "mkdir /d && /bin/busybox ln -s /tmp /d/sub",
    ] {
        let error = onto(base, "/d").unwrap_err();
        assert!(error.to_string().contains("cannot copy to /d"), "{base}: {error}");
    }
    onto("mkdir /real && /bin/busybox ln -s /real /d", "/d").unwrap();
    // A pattern that is none is refused, as by today's BuildKit.
    let error = world.try_build("FROM scratch\nCOPY [d /x/\n", |_| {}).unwrap_err();
    assert!(error.to_string().contains("syntax error in pattern"), "{error}");
}
