//! A grammar of Dockerfiles and contexts. What it makes most often builds; what both refuse is equal as well.
//!
//! It keeps to what Docker 20.10 knows as well, and passes by where that is known to differ from BuildKit of today: places of mounts
//! that it leaves behind, an octal `--chmod` of directories and with special bits, further groups, pipes, RUN without a network,
//! exceptions below directories in `.dockerignore`. Nor does it give files to a name where the image has no accounts: the
//! reference says that such a build fails, as it does with Otoshi, and BuildKit gives them to root.

use super::{
    dice::Dice,
    scene::{Kind, Object, Scene},
};

const NAMES: [&str; 16] = [
    "a",
    "b.txt",
    "c.log",
    "dir/a",
    "dir/d.txt",
    "dir/sub/e",
    "dir/sub/b.txt",
    "dir2/f",
    ".hidden",
    "dir/.keep",
    "with space",
    "ü",
    "[z]",
    "#hash",
    "dir/x y/g",
    "UPPER",
];
const DIRECTORIES: [&str; 7] = ["dir", "dir/sub", "dir2", "empty", "dir/hollow", "dir/x y", "odd"];
const PATTERNS: [&str; 23] = [
    "*",
    "**",
    "dir",
    "dir/",
    "/dir",
    "./a",
    "dir/*",
    "*.txt",
    "**/*.txt",
    "**/a",
    "!b.txt",
    "!a",
    "d?r",
    "[a-c]*",
    "[^a]*",
    "\\#hash",
    "# comment",
    "",
    "a/../b.txt",
    "dir/sub/..",
    "  dir2  ",
    "dir/**/e",
    ".*",
];
const WORDS: [&str; 12] = [
    "1",
    "two",
    "$A",
    "${B}",
    "${A:-none}",
    "${B:+set}",
    "\"a b\"",
    "'$A'",
    "\\$A",
    "a$A",
    "${C:-$A}",
    "x=y",
];
/// Numbers first, then names.
const OWNERS: [&str; 6] = ["0", "1000", "1000:50", "7777", "app", "app:staff"];
const PLACES: [&str; 12] =
    ["/", "/d/", "/d", "/srv/", "/tmp/x", "/new/deep/", "w/", ".", "/d/../e/", "/link/in", "./", "/$A/"];

/// Makes a scene.
pub(super) fn scene(dice: &mut Dice) -> Scene {
    let mut scene = Scene { objects: objects(dice), ..Scene::default() };
    if dice.once_in(2) {
        scene.ignore = (0..=dice.below(5)).map(|_| dice.word(&PATTERNS).to_owned()).collect();
    }
    let mut globals = Vec::new();
    for name in ["A", "B", "BASE"] {
        if dice.once_in(3) {
            let value = if name == "BASE" { "otoshi.test/busybox" } else { dice.word(&["g", "", "1 2"]) };
            scene.lines.push(format!("ARG {name}=\"{value}\""));
            globals.push(name);
        }
    }
    let stages = 1 + dice.below(3);
    let mut grounds = Vec::new();
    for _ in 0..stages {
        let ground = stage(dice, &mut scene.lines, &grounds, &globals, &scene.objects);
        grounds.push(ground);
    }
    for name in ["A", "B", "C", "NOBODY"] {
        if dice.once_in(6) {
            scene
                .flags
                .extend(["--build-arg".to_owned(), format!("{name}={}", dice.word(&["given", "", "a b"]))]);
        }
    }
    if stages > 1 && dice.once_in(6) {
        scene.flags.extend(["--target".to_owned(), format!("s{}", dice.below(stages))]);
    }
    if dice.once_in(8) {
        scene.flags.extend(["--label".to_owned(), "given=yes".to_owned()]);
    }
    scene
}

fn objects(dice: &mut Dice) -> Vec<Object> {
    let mut found: Vec<Object> = Vec::new();
    for path in NAMES {
        if !dice.once_in(2) {
            continue;
        }
        let text = dice.word(&["", "text\n", "other"]).to_owned();
        let mode = *dice.one(&[0o644, 0o600, 0o755, 0o4755, 0o2711, 0o444]);
        let earlier = found.iter().rfind(|object| matches!(object.kind, Kind::File { .. }));
        let kind = match (dice.below(8), earlier) {
            (0, _) => {
                let target = dice.word(&["a", "../a", "dir", "/etc/passwd", "nowhere", "dir/sub", "."]);
                Kind::Symlink { target: target.to_owned() }
            }
            (1, Some(earlier)) => Kind::HardLink { of: earlier.path.clone() },
            _ => Kind::File { mode, text },
        };
        found.push(Object { path: path.to_owned(), kind });
    }
    for path in DIRECTORIES {
        if dice.once_in(3) && !found.iter().any(|object| object.path == path) {
            let mode = *dice.one(&[0o755, 0o700, 0o1777, 0o2755]);
            found.push(Object { path: path.to_owned(), kind: Kind::Directory { mode } });
        }
    }
    found
}

/// What a stage begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// Nothing at all.
    Scratch,
    /// A stage that began with nothing: there may be files, but no accounts and no commands.
    Bare,
    /// An image with commands and accounts, `/srv` among its directories.
    Image,
    /// A stage on such an image.
    Stage,
}

impl Ground {
    fn above(self) -> Self {
        match self {
            Self::Scratch | Self::Bare => Self::Bare,
            Self::Image | Self::Stage => Self::Stage,
        }
    }

    fn has_accounts(self) -> bool {
        matches!(self, Self::Image | Self::Stage)
    }
}

/// One stage: FROM, and what follows. `grounds` is what the stages before it begin with.
fn stage(
    dice: &mut Dice,
    lines: &mut Vec<String>,
    grounds: &[Ground],
    globals: &[&str],
    objects: &[Object],
) -> Ground {
    let index = grounds.len();
    let (base, ground) = match dice.below(8) {
        0 => ("scratch".to_owned(), Ground::Scratch),
        1 => ("otoshi.test/no-path".to_owned(), Ground::Image),
        2 if globals.contains(&"BASE") => ("$BASE".to_owned(), Ground::Image),
        3 | 4 if index > 0 => {
            let below = dice.below(index);
            (format!("s{below}"), grounds[below].above())
        }
        _ => ("otoshi.test/busybox".to_owned(), Ground::Image),
    };
    lines.push(format!("FROM {base} AS s{index}"));
    for _ in 0..=dice.below(7) {
        let line = match dice.below(if ground == Ground::Scratch { 11 } else { 16 }) {
            0 => format!("ARG {}{}", dice.word(&["A", "B", "C"]), dice.word(&["", "=d", "=\"d $A\"", "="])),
            1 => format!("ENV {}={}", dice.word(&["A", "B", "E"]), dice.word(&WORDS)),
            2 => setting(dice),
            3 => format!("WORKDIR {}", dice.word(&["/w", "rel", "/w/../v", "$A", "/link", "/d/e/"])),
            4 => format!("USER {}", dice.word(&OWNERS)),
            5..=9 => copy(dice, index, objects, ground),
            10 => format!("LABEL {}={} l=2", dice.word(&["k", "\"k 2\""]), dice.word(&WORDS)),
            _ => run(dice),
        };
        lines.push(line);
    }
    ground
}

fn setting(dice: &mut Dice) -> String {
    dice.word(&[
        "EXPOSE 80",
        "EXPOSE 80/udp 90-92",
        "VOLUME /vol",
        "VOLUME [\"/v 1\", \"/v2\"]",
        "STOPSIGNAL SIGQUIT",
        "CMD echo $A",
        "CMD [\"a\", \"$B\"]",
        "ENTRYPOINT [\"/bin/sh\"]",
        "ENTRYPOINT x y",
        "SHELL [\"/bin/sh\", \"-ec\"]",
        "HEALTHCHECK --interval=5s CMD true",
        "HEALTHCHECK NONE",
        "ONBUILD ENV ON=1",
        "ONBUILD COPY a /on",
        "MAINTAINER me $A",
    ])
    .to_owned()
}

fn copy(dice: &mut Dice, index: usize, objects: &[Object], ground: Ground) -> String {
    let keyword = dice.word(&["COPY", "COPY", "COPY", "ADD"]);
    let mut flags = String::new();
    let from_stage = keyword == "COPY" && index > 0 && dice.once_in(3);
    if from_stage {
        let stage = dice.below(index);
        let name = if dice.once_in(2) { format!("s{stage}") } else { stage.to_string() };
        flags += &format!("--from={name} ");
    }
    if dice.once_in(5) {
        let owners = if ground.has_accounts() { &OWNERS[..] } else { &OWNERS[..4] };
        flags += &format!("--chown={} ", dice.word(owners));
    }
    let files: Vec<&Object> =
        objects.iter().filter(|object| matches!(object.kind, Kind::File { mode: ..0o1000, .. })).collect();
    let (sources, place) = if ground == Ground::Image && !from_stage && !files.is_empty() && dice.once_in(8) {
        // Into a directory that is there, and files only.
        flags += &format!("--chmod={} ", dice.word(&["600", "0755", "444"]));
        (vec![escaped(&dice.one(&files).path)], "/srv/")
    } else {
        let count = 1 + dice.below(2);
        ((0..count).map(|_| source(dice, from_stage, objects)).collect(), dice.word(&PLACES))
    };
    let place =
        if sources.len() > 1 && !place.ends_with('/') { format!("{place}/") } else { place.to_owned() };
    let is_odd = sources.iter().any(|source| source.contains(' '));
    if is_odd || dice.once_in(6) {
        let list: Vec<String> = sources.iter().chain([&place]).map(|word| format!("\"{word}\"")).collect();
        return format!("{keyword} {flags}[{}]", list.join(", "));
    }
    format!("{keyword} {flags}{} {place}", sources.join(" "))
}

/// A name in which nothing means something else.
fn escaped(path: &str) -> String {
    path.replace('[', "[[]")
}

fn source(dice: &mut Dice, from_stage: bool, objects: &[Object]) -> String {
    if from_stage {
        let there = ["/etc/passwd", "/srv", "/tmp", "/e*", "/home/.", "/bin/s[h]"];
        let perhaps = ["/d", "/d/.", "/new", "/d/*", "/w", "/link"];
        let is_sure = !dice.once_in(4);
        return dice.word(if is_sure { &there } else { &perhaps }).to_owned();
    }
    match dice.below(8) {
        0 => dice
            .word(&["dir/.", "*.txt", "dir*", "dir/*", "[a-c]*", "?", "dir/../a", "/a", "dir/"])
            .to_owned(),
        1 => dice.word(&["$A", "${B:-a}", "nothing"]).to_owned(),
        2 | 3 => dice.word(&[".", "./", "*", "/"]).to_owned(),
        _ if objects.is_empty() => ".".to_owned(),
        _ => escaped(&dice.one(objects).path),
    }
}

fn run(dice: &mut Dice) -> String {
    let mount = match dice.below(10) {
        0 => "--mount=type=bind,target=/srv ",
        1 => "--mount=type=bind,source=dir,target=/srv ",
        2 => "--mount=type=tmpfs,target=/var ",
        3 => "--mount=type=cache,target=/home ",
        _ => "",
    };
    let command = dice.word(&[
        "echo \"$A-$B-$E\" > /tmp/args",
        "mkdir -p /d/e/f && chmod 2750 /d/e",
        "rm -rf /d /tmp/x",
        "ln -sfn /srv /link",
        "ln -s ../d /new-link",
        "touch /d/t || echo none > /tmp/none",
        "echo x >> /etc/passwd",
        "ls -a /srv > /tmp/list",
        "pwd > /tmp/pwd; id -u > /tmp/id; echo $HOME > /tmp/home",
        "chmod 700 /srv; chown 1000:50 /tmp/x",
        "rm -rf /srv && mkdir /srv && echo n > /srv/new",
        "mv /d /moved",
        "cp -a /etc/passwd /tmp/copy && ln /tmp/copy /tmp/same",
        "env | grep -v HOSTNAME | sort > /tmp/env",
        "umask > /tmp/umask; echo a > /tmp/made",
    ]);
    format!("RUN {mount}{{ {command}; }} || true")
}
