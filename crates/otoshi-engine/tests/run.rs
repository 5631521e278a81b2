//! RUN: its mounts, its heredocs, its network, and stages for other platforms.

mod support;

use std::{fs, sync::Arc};

use otoshi_dockerfile::Dockerfile;
use otoshi_engine::{BuildRequest, Context, NamedContext, Network, Secret};
use otoshi_oci::Platform;
use otoshi_test::given;
use support::world;

#[test]
fn a_bind_mount_is_read_only_or_forgets_what_is_written() {
    let world = given!(world());
    world.write("dir/a", "1");
    world.write("file", "f");
    let dockerfile = "FROM busybox AS other\nRUN mkdir /o && echo other > /o/x\nFROM busybox\nWORKDIR /w\n\
        RUN --mount=target=m,source=dir cat m/a > /out && ! touch m/b\n\
        RUN --mount=target=/m,source=dir,rw touch /m/b && echo 2 > /m/a && cat /m/a >> /out\n\
        RUN --mount=target=/f,source=file,rw echo changed > /f && cat /f >> /out\n\
        RUN --mount=from=other,source=/o,target=/o cat /o/x >> /out\n\
        RUN --mount=target=/m,source=dir cat /m/a >> /out && ls /w /m >> /out\n";
    let image = world.build(dockerfile);
    assert_eq!(world.output(&image, "cat /out"), "12\nchanged\nother\n1/m:\na\n\n/w:\n");
    assert_eq!(fs::read_to_string(world.source.join("file")).unwrap(), "f");
    world.write("dir/a", "3");
    assert_eq!(world.output(&world.build(dockerfile), "cat /out"), "32\nchanged\nother\n3/m:\na\n\n/w:\n");
    let error =
        world.try_build("FROM busybox\nRUN --mount=target=/m,source=none true\n", |_| {}).unwrap_err();
    assert!(error.to_string().contains("no none there"), "{error}");
}

#[test]
fn a_cache_starts_with_what_it_is_told_and_has_an_owner() {
    let world = given!(world());
    let image = world.build(
        "FROM busybox AS seed\nRUN mkdir /s && echo seed > /s/x\nFROM busybox\n\
         RUN --mount=type=cache,target=/c,from=seed,source=/s cat /c/x > /out && echo more >> /c/x\n\
         RUN --mount=type=cache,target=/c,from=seed,source=/s cat /c/x >> /out && rm /c/x\n\
         RUN --mount=type=cache,target=/c,from=seed,source=/s ls /c >> /out\n\
         RUN --mount=type=cache,target=/c ls /c >> /out\n\
         RUN --mount=type=cache,id=own,target=/c,uid=5,gid=6,mode=0700 stat -c '%u %g %a' /c >> /out && echo kept > /c/k\n\
         RUN --mount=type=cache,id=own,target=/elsewhere,uid=5,gid=6,mode=0700,ro,sharing=locked cat /elsewhere/k >> /out && ! touch /elsewhere/n\n\
         RUN --mount=type=cache,id=own,target=/c,sharing=private ls /c >> /out\n",
    );
    // What a step emptied stays empty, as everything that a cache's steps did to it.
    assert_eq!(world.output(&image, "cat /out"), "seed\nseed\nmore\n5 6 700\nkept\n");
    assert_eq!(world.output(&image, "ls -d /c /elsewhere 2>/dev/null; true"), "");
}

#[test]
fn owner_and_mode_are_part_of_what_a_cache_is() {
    let world = given!(world());
    let options = ["", ",uid=10", ",gid=10", ",mode=0711", ",uid=10,gid=10", ",sharing=locked"];
    let mut dockerfile = "FROM busybox\n".to_owned();
    for (number, option) in options.iter().enumerate() {
        dockerfile += &format!(
            "RUN --mount=type=cache,id=c,target=/c{option} stat -c '%u %g %a' /c >> /out && ls /c >> /out && touch /c/{number}\n"
        );
    }
    let image = world.build(&dockerfile);
    // How it is shared makes no other cache: the last sees what the first left.
    assert_eq!(
        world.output(&image, "cat /out"),
        "0 0 755\n10 0 755\n0 10 755\n0 0 711\n10 10 755\n0 0 755\n0\n"
    );
}

/// One stage empties a cache again and again and puts a link to a directory of the host in the way of what another fills it with.
#[test]
fn filling_a_cache_never_leads_out_of_it() {
    let world = given!(world());
    let outside = world.source.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    world.write("seed/d/one", "1");
    world.write("seed/d/two", "2");
    let shown = outside.display();
    let mount = "--mount=type=cache,id=raced,target=/c,from=seed";
    let mut dockerfile = format!(
        "FROM scratch AS seed\nCOPY seed /\nFROM busybox AS attack\nRUN {mount} i=0; while [ $i -lt 4000 ]; do \
         rm -rf /c/d; ln -s {shown} /c/d; rm -f /c/d; i=$((i+1)); done; touch /done\nFROM busybox AS fill\n"
    );
    for number in 0..60 {
        dockerfile += &format!("RUN {mount} true {number}\n");
    }
    dockerfile += "FROM busybox\nCOPY --from=attack /done /\nCOPY --from=fill /bin/sh /filled\n";
    world.build(&dockerfile);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "files of the cache are outside of it");
}

/// A tree whose directories are in one another, deeper than a stack of recursive calls or a path goes.
#[test]
fn no_tree_is_too_deep() {
    let world = given!(world());
    let image = world.build(
        "FROM busybox AS deep\nRUN mkdir /t && cd /t && i=0 && while [ $i -lt 1200 ]; do mkdir d && cd d && i=$((i+1)); done && touch end\n\
         FROM busybox\nCOPY --from=deep /t /t\nRUN rm -rf /t/none && mkdir /t/more\n",
    );
    let command = "cd /t && i=0 && while cd d 2>/dev/null; do i=$((i+1)); done; ls; echo $i";
    assert_eq!(world.output(&image, command), "end\n1200\n");
}

#[test]
fn no_context_is_too_deep() {
    let world = given!(world());
    let deep = "d/".repeat(1800);
    fs::create_dir_all(world.source.join(&deep)).unwrap();
    let image = world.build("FROM busybox\nCOPY . /t\n");
    let command = "cd /t && i=0 && while cd d 2>/dev/null; do i=$((i+1)); done; echo $i";
    assert_eq!(world.output(&image, command), "1800\n");
}

#[test]
fn memory_and_secrets_leave_nothing() {
    let world = given!(world());
    let secret = world.source.join("token");
    fs::write(&secret, "s3cret").unwrap();
    let build = |value: &str| {
        fs::write(&secret, value).unwrap();
        world.try_build(
            "FROM busybox\nENV WORD=before\n\
             RUN --mount=type=tmpfs,target=/t,size=1m echo x > /t/x && stat -f -c %b /t > /size\n\
             RUN --mount=type=secret,id=token,env=WORD --mount=type=secret,id=token,target=/own,mode=0440,uid=7 \
             test \"$WORD\" = \"$(cat /own)\" && stat -c '%a %u' /own > /mode && ! test -e /run/secrets/token\n\
             RUN --mount=type=secret,id=none true && echo $WORD > /word\n",
            |request| {
                request.secrets.insert("token".into(), Secret::File(secret.clone()));
            },
        )
    };
    let image = build("s3cret").unwrap();
    assert_eq!(
        world.output(&image, "cat /size /mode /word; ls -d /t /own 2>/dev/null; true"),
        "256\n440 7\nbefore\n"
    );
    assert_eq!(build("another").unwrap().steps_run, 0, "a secret's value is in no key");
    let error =
        world.try_build("FROM busybox\nRUN --mount=type=secret,id=none,required true\n", |_| {}).unwrap_err();
    assert!(error.to_string().contains("the secret \"none\" is required"), "{error}");
    let error = world.try_build("FROM busybox\nRUN --mount=type=ssh,required true\n", |_| {}).unwrap_err();
    assert!(error.to_string().contains("the ssh \"default\" is required"), "{error}");
}

#[test]
fn heredocs_run_as_scripts_of_any_kind() {
    let world = given!(world());
    let image = world.build(
        "FROM busybox\nRUN <<EOF\necho one > /out\nEOF\nRUN <<'EOF'\n#!/bin/busybox sh\necho \"$0\" >> /out\nEOF\n\
         RUN cat >> /out <<A && cat >> /out <<-\"B\"\n$PATH\nA\n\t$PATH\n\tB\nRUN echo ${0##*/} >> /out\n",
    );
    assert_eq!(world.output(&image, "cat /out"), "one\n/dev/pipes/EOF\n/bin\n$PATH\nsh\n");
}

#[test]
fn the_network_and_security_are_what_the_step_says() {
    let world = given!(world());
    let image = world.build(
        "FROM busybox\nRUN --network=none ls /sys/class/net > /none\nRUN grep CapEff /proc/self/status > /default\n",
    );
    assert_eq!(world.output(&image, "cat /none"), "lo\n");
    let dockerfile = "FROM busybox\nRUN --network=host ls /sys/class/net > /host\n";
    for network in [Network::Own, Network::Host, Network::None] {
        let error = world.try_build(dockerfile, |request| request.network = network).unwrap_err();
        assert!(error.to_string().contains("--network=host is not allowed"), "{error}");
    }
    world.try_build(dockerfile, |request| request.allow_host_network = true).unwrap();
    let dockerfile = "FROM busybox\nRUN --security=insecure grep CapEff /proc/self/status > /caps\n";
    let error = world.try_build(dockerfile, |_| {}).unwrap_err();
    assert!(error.to_string().contains("--security=insecure is not allowed"), "{error}");
    let all = world.try_build(dockerfile, |request| request.allow_insecure = true).unwrap();
    assert_ne!(world.output(&all, "cat /caps"), world.output(&image, "cat /default"));
}

#[test]
fn commands_of_another_platform_are_refused_and_copies_are_not() {
    let world = given!(world());
    world.write("file", "x");
    let foreign = if Platform::host().architecture == "arm64" { "linux/s390x" } else { "linux/arm64" };
    let image = world.build(&format!(
        "FROM --platform=$BUILDPLATFORM busybox AS build\nARG TARGETPLATFORM\nARG TARGETSTAGE\nRUN echo $TARGETPLATFORM $TARGETSTAGE > /target\nFROM --platform={foreign} scratch AS end\nCOPY --from=build /target /\nCOPY file /\n"
    ));
    assert_eq!(world.tree(&image, "/").lines().count(), 2);
    assert!(world.tree(&image, "/").contains(&format!("/target \"{} end\"", Platform::host())));
    let error = world
        .try_build(&format!("FROM --platform={foreign} scratch\nCOPY file /\nRUN [\"/file\"]\n"), |_| {});
    let error = error.unwrap_err();
    assert!(error.to_string().contains(&format!("this stage is for {foreign}")), "{error}");
    let error = world.try_build("FROM --platform=a/b/c/d scratch\nCOPY file /\n", |_| {}).unwrap_err();
    assert!(error.to_string().contains("invalid platform"), "{error}");
}

#[test]
fn named_contexts_stand_for_images_and_stages() {
    let world = given!(world());
    world.write("file", "context");
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("file"), "named").unwrap();
    let directory =
        NamedContext::Directory(Arc::new(Context::scan(&world.home, other.path(), None).unwrap()));
    let base = world.build("FROM busybox\nRUN echo replaced > /which\n");
    let dockerfile = "FROM docker.io/library/alpine:latest AS base\nRUN cat /which > /all\nFROM nothing-like-that AS files\nRUN false\nFROM base\nCOPY --from=files /file /a\nCOPY --from=more file /b\nRUN --mount=from=more,target=/m cat /a /b /m/file >> /all\n";
    let request = |contexts: Vec<(&str, NamedContext)>| {
        let dockerfile = Arc::new(Dockerfile::parse("Dockerfile", dockerfile).unwrap());
        let mut request = BuildRequest::new(dockerfile, Arc::new(Context::empty()));
        request.contexts = contexts.into_iter().map(|(name, context)| (name.to_owned(), context)).collect();
        request
    };
    let request = request(vec![
        ("alpine", NamedContext::Image(base.digest.clone())),
        ("files", directory.clone()),
        ("more", directory),
    ]);
    let image = world.build_request(&request).unwrap();
    assert_eq!(world.output(&image, "cat /all"), "replaced\nnamednamednamed");
    // A stage that a context stands for runs none of the triggers of what is there.
    let triggered = world.build("FROM scratch\nCOPY <<t /t\nx\nt\nONBUILD RUN false\n");
    let image = world.try_build("FROM scratch AS own\nRUN false\nFROM own\n", |request| {
        request.contexts.insert("own".into(), NamedContext::Image(triggered.digest.clone()));
    });
    assert_eq!(world.tree(&image.unwrap(), "/"), "644 0:0 /t \"x\"");
    let image = world.try_build("FROM dir\nCOPY file /b\n", |request| {
        let other = Context::scan(&world.home, other.path(), None).unwrap();
        request.contexts.insert("dir".into(), NamedContext::Directory(Arc::new(other)));
    });
    assert_eq!(world.tree(&image.unwrap(), "/"), "644 0:0 /b \"context\"\n644 0:0 /file \"named\"");
}

#[test]
fn source_date_epoch_is_the_time_of_everything_made() {
    let world = given!(world());
    world.write("file", "x");
    let created = |dockerfile: &str, value: Option<&str>| {
        let image = world.try_build(dockerfile, |request| {
            request.args.extend(value.map(|value| ("SOURCE_DATE_EPOCH".to_owned(), value.to_owned())));
        })?;
        let image = world.load(&image);
        let history = image.config.history.last().and_then(|entry| entry.created.clone());
        assert_eq!(image.config.created, history);
        Ok::<_, otoshi_engine::EngineError>(image.config.created.unwrap())
    };
    let plain = "FROM scratch\nCOPY file /\n";
    assert_eq!(created(plain, None).unwrap(), "1980-01-01T00:00:01Z");
    assert_eq!(created(plain, Some("1700000000")).unwrap(), "2023-11-14T22:13:20Z");
    assert_eq!(created(&format!("ARG SOURCE_DATE_EPOCH=1\n{plain}"), None).unwrap(), "1970-01-01T00:00:01Z");
    assert!(created(plain, Some("yesterday")).unwrap_err().to_string().contains("SOURCE_DATE_EPOCH"));
}

#[test]
fn without_the_cache_the_newest_result_is_kept() {
    let world = given!(world());
    let dockerfile = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /uuid\n";
    let first = world.build(dockerfile);
    let again = world.try_build(dockerfile, |request| request.no_cache = true).unwrap();
    assert_ne!(world.output(&first, "cat /uuid"), world.output(&again, "cat /uuid"));
    assert_eq!(world.build(dockerfile).digest, again.digest);
}

#[test]
fn options_of_mounts_may_hold_variables() {
    let world = given!(world());
    world.write("dir/a", "1");
    let dockerfile = "FROM busybox\nARG OWNER=5\nARG TYPE=cache\nARG WHERE=/c\n\
        RUN --mount=type=$TYPE,target=$WHERE,uid=$OWNER,mode=0${M:-711} stat -c '%u %a' /c > /out\n\
        RUN --mount=source=dir,target=$WHERE,rw=${RW:-true} touch /c/b\n";
    assert_eq!(world.output(&world.build(dockerfile), "cat /out"), "5 711\n");
    let other = world.try_build(dockerfile, |request| {
        request.args.insert("OWNER".into(), "6".into());
    });
    assert_eq!(world.output(&other.unwrap(), "cat /out"), "6 711\n");
    for (line, message) in [
        ("ARG U=me\nRUN --mount=type=cache,target=/c,uid=$U true", "must be a number, not \"me\""),
        ("RUN --mount=type=cache true", "nothing can be mounted at the target /"),
        ("RUN --mount=target=/proc/x true", "nothing can be mounted at the target /proc/x"),
        ("RUN []", "there is nothing to run"),
    ] {
        let error = world.try_build(&format!("FROM busybox\n{line}\n"), |_| {}).unwrap_err();
        assert!(error.to_string().contains(message), "{line}: {error}");
    }
}

#[test]
fn times_of_files_are_one_or_no_later_than_one() {
    let world = given!(world());
    world.write("file", "x");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().append(true).open(world.source.join("file")).unwrap().set_modified(old).unwrap();
    let times = |clamp: bool| {
        let image = world.try_build("FROM busybox\nCOPY file /old\nRUN echo new > /new\n", |request| {
            request.output.clamp = clamp;
            request.args.insert("SOURCE_DATE_EPOCH".into(), "1500000000".into());
        });
        let image = world.load(&image.unwrap());
        let mut found = Vec::new();
        for layer in &image.layers()[1..] {
            let into = tempfile::tempdir().unwrap();
            let blob = world.home.layout().open_blob(&layer.digest).unwrap();
            otoshi_oci::layer::unpack_layer(blob, into.path(), &otoshi_oci::layer::UnpackOptions::default())
                .unwrap();
            for entry in fs::read_dir(into.path()).unwrap().flatten() {
                let time =
                    entry.metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH);
                found.push((entry.file_name().into_string().unwrap(), time.unwrap().as_secs()));
            }
        }
        found.sort();
        found
    };
    let named = |new, old| vec![("new".to_owned(), new), ("old".to_owned(), old)];
    assert_eq!(times(false), named(1_500_000_000, 1_500_000_000));
    assert_eq!(times(true), named(1_500_000_000, 1_000_000_000));
    assert_eq!(times(false), named(1_500_000_000, 1_500_000_000));
}

/// The times of the files that these layers of an image have, in seconds since 1970, and what bytecode records of its source.
fn times(world: &support::World, image: &otoshi_engine::BuiltImage) -> Vec<(String, u64, Option<u32>)> {
    use std::io::Read;
    let mut found = Vec::new();
    for layer in world.load(image).layers() {
        let blob = world.home.layout().open_blob(&layer.digest).unwrap();
        let (_, stream) = otoshi_oci::layer::decoder(blob).unwrap();
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let time = entry.header().mtime().unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let recorded = content.get(8..12).filter(|_| name.strip_suffix(".pyc").is_some());
            let recorded = recorded.map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
            if !name.ends_with('/') {
                found.push((name, time, recorded));
            }
        }
    }
    found
}

fn time_of(world: &support::World, image: &otoshi_engine::BuiltImage, name: &str) -> u64 {
    times(world, image).into_iter().find(|(found, ..)| found == name).unwrap().1
}

#[test]
fn another_content_has_a_later_time_and_the_same_the_same() {
    let world = given!(world());
    let build = |text: &str| {
        world.write("page", text);
        world
            .try_build("FROM busybox\nCOPY page /srv/page\nRUN echo x > /made\n", |request| {
                request.versions_of = "site".into();
            })
            .unwrap()
    };
    let mut last = 0;
    for number in 0..8 {
        let image = build(&format!("release {number}"));
        let time = time_of(&world, &image, "srv/page");
        assert!(time > last, "{time} after {last}");
        last = time;
        assert_eq!(time_of(&world, &image, "made"), 315_532_801);
        assert_eq!(build(&format!("release {number}")).digest, image.digest);
    }
    // Where nothing is remembered, the content alone says it, the same everywhere.
    let (one, other) = (support::world().unwrap(), support::world().unwrap());
    let digests = [&one, &other].map(|world| {
        world.write("page", "the same");
        world.build("FROM busybox\nCOPY page /srv/page\n").digest
    });
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn what_is_committed_has_the_time_of_its_commit() {
    let world = given!(world());
    let git = |arguments: &[&str], date: &str| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]).args(arguments);
        command.env("GIT_COMMITTER_DATE", date).env("GIT_AUTHOR_DATE", date).current_dir(&world.source);
        assert!(command.output().unwrap().status.success(), "{arguments:?}");
    };
    let build = || {
        world.build("FROM busybox AS built\nCOPY a /a\nRUN cat /a > /b\nFROM busybox\nCOPY a /a\nCOPY c /c\nCOPY --from=built /b /b\n")
    };
    git(&["init", "-q"], "");
    for (file, date) in [("a", "1700000000 +0000"), ("c", "1700000777 +0000")] {
        world.write(file, file);
        git(&["add", "."], date);
        git(&["commit", "-qm", file], date);
    }
    let image = build();
    assert_eq!(time_of(&world, &image, "a"), 1_700_000_000);
    assert_eq!(time_of(&world, &image, "c"), 1_700_000_777);
    let made = time_of(&world, &image, "b");
    assert!((1_700_000_000..1_700_000_060).contains(&made), "{made}");
    // A commit that changes nothing of it makes no layer anew.
    git(&["commit", "-qm", "nothing", "--allow-empty"], "1700009999 +0000");
    assert_eq!(build().digest, image.digest);
    // What is not committed has no commit's time.
    world.write("a", "changed");
    let changed = time_of(&world, &build(), "a");
    assert!(changed > 1_700_000_000, "later than what was there: {changed}");
    assert!(times(&world, &image).iter().all(|(_, _, recorded)| recorded.is_none()));
}

#[test]
fn bytecode_records_the_time_that_its_source_has_in_whichever_layer() {
    let world = given!(world());
    world.write("mod.py", "x = 1\n");
    let source = world.source.join("mod.py");
    let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_750_000_000);
    fs::File::options().write(true).open(&source).unwrap().set_modified(modified).unwrap();
    // PEP 552: magic, flags, time and size of the source.
    let mut bytecode = 3495_u16.to_le_bytes().to_vec();
    bytecode.extend(b"\r\n\0\0\0\0");
    bytecode.extend(1_750_000_000_u32.to_le_bytes());
    bytecode.extend(6_u32.to_le_bytes());
    bytecode.extend(b"code");
    fs::write(world.source.join("mod.pyc"), &bytecode).unwrap();
    for steps in [
        "COPY mod.pyc /app/__pycache__/mod.cpython-311.pyc\n",
        "COPY mod.pyc /tmp/x\nRUN mkdir /app/__pycache__ && cat /tmp/x > /app/__pycache__/mod.cpython-311.pyc\n",
    ] {
        for text in ["x = 1\n", "x = 2\n"] {
            world.write("mod.py", text);
            fs::File::options().write(true).open(&source).unwrap().set_modified(modified).unwrap();
            let image = world.build(&format!("FROM busybox\nCOPY mod.py /app/mod.py\n{steps}"));
            let all = times(&world, &image);
            let recorded = all.iter().find_map(|(_, _, recorded)| *recorded).unwrap();
            assert_eq!(u64::from(recorded), time_of(&world, &image, "app/mod.py"), "{steps}{text}");
        }
    }
}

/// What a store saw first may not decide whether bytecode fits its source.
#[test]
fn bytecode_is_as_valid_as_in_its_context_whatever_a_store_saw_before() {
    let mut bytecode = 3495_u16.to_le_bytes().to_vec();
    bytecode.extend(b"\r\n\0\0\0\0");
    bytecode.extend(1_750_000_000_u32.to_le_bytes());
    bytecode.extend(6_u32.to_le_bytes());
    for order in [[1_750_000_000, 1_760_000_000], [1_760_000_000, 1_750_000_000]] {
        let world = given!(world());
        world.write("mod.py", "x = 1\n");
        fs::create_dir(world.source.join("__pycache__")).unwrap();
        fs::write(world.source.join("__pycache__/mod.cpython-311.pyc"), &bytecode).unwrap();
        for seconds in order {
            let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let source = fs::File::options().write(true).open(world.source.join("mod.py")).unwrap();
            source.set_modified(modified).unwrap();
            let image = world.build("FROM busybox\nCOPY mod.py /a/mod.py\nCOPY __pycache__ /a/__pycache__\n");
            let recorded = times(&world, &image).iter().find_map(|(_, _, recorded)| *recorded).unwrap();
            let is_valid = u64::from(recorded) == time_of(&world, &image, "a/mod.py");
            assert_eq!(is_valid, seconds == 1_750_000_000, "{order:?}");
        }
    }
}
