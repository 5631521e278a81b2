//! The keys of steps, to the byte.
//!
//! Another machine finds what this one made by these keys, with whatever compiler either was built. A change here makes every
//! store and every registry begin anew: it needs another number in the form of the key, and a line in the changelog.

#![cfg(target_arch = "x86_64")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use otoshi_engine::{NetworkCache, Secret};
use otoshi_test::given;
use support::{World, world};

/// A program that ends with 0 at once, so that no key has a program of this machine in it.
fn program() -> Vec<u8> {
    // mov eax, 60 (exit); xor edi, edi; syscall
    const CODE: [u8; 9] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
    const AT: u64 = 0x40_0000;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
    let word = |elf: &mut Vec<u8>, value: u32| elf.extend(value.to_le_bytes());
    let long = |elf: &mut Vec<u8>, value: u64| elf.extend(value.to_le_bytes());
    // ET_EXEC for x86-64, with one program header after this one.
    half(&mut elf, 2);
    half(&mut elf, 62);
    word(&mut elf, 1);
    for value in [AT + 120, 64, 0] {
        long(&mut elf, value);
    }
    word(&mut elf, 0);
    for value in [64, 56, 1, 0, 0, 0] {
        half(&mut elf, value);
    }
    // PT_LOAD of the whole file, to be read and executed.
    word(&mut elf, 1);
    word(&mut elf, 5);
    let length = 120 + CODE.len() as u64;
    for value in [0, AT, AT, length, length, 4096] {
        long(&mut elf, value);
    }
    elf.extend(CODE);
    elf
}

/// The keys that a kind of record has in the store, a line each.
fn keys(world: &World, kind: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for shard in fs::read_dir(world.home.root().join("records").join(kind)).unwrap() {
        let files = fs::read_dir(shard.unwrap().path()).unwrap();
        keys.extend(files.map(|file| format!("{kind} {}", file.unwrap().file_name().into_string().unwrap())));
    }
    keys.sort_unstable();
    keys
}

fn executable(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn keys_are_those_of_every_other_machine() {
    let world = given!(world());
    executable(&world.source.join("end"), &program());
    world.write("tree/a", "content of a\n");
    world.write("tree/b/c", "content of c\n");
    for file in ["tree/a", "tree/b/c"] {
        fs::set_permissions(world.source.join(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
    for directory in ["tree", "tree/b"] {
        fs::set_permissions(world.source.join(directory), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let secret = world.source.join("../secret");
    fs::write(&secret, "hush").unwrap();
    let dockerfile = r#"FROM scratch AS tool
COPY end /bin/end
FROM tool
ARG COLOUR=blue
ENV SHAPE=round
WORKDIR /srv
COPY --chown=1:2 --chmod=750 tree copied/
COPY --link tree /linked/
COPY --from=tool /bin/end /usr/bin/
COPY <<TEXT /text
$SHAPE
TEXT
USER 7:8
RUN ["/bin/end"]
RUN --network=none --mount=type=bind,source=tree,target=/bound --mount=type=cache,id=kept,target=/kept,uid=7 --mount=type=tmpfs,target=/memory,size=1m --mount=type=secret,id=s,target=/secret ["/bin/end", "now"]
RUN --mount=type=bind,from=tool,source=/bin,target=/tools,rw ["/tools/end"]
"#;
    let build = |world: &World| {
        world.try_build(dockerfile, |request| {
            request.network_cache = NetworkCache::Off;
            request.secrets.insert("s".into(), Secret::File(secret.clone()));
        })
    };
    build(&world).unwrap();
    let keys = ["step", "content", "layer"].map(|kind| keys(&world, kind)).concat();
    assert_eq!(keys, include_str!("keys.txt").lines().collect::<Vec<_>>(), "{}", keys.join("\n"));
}
