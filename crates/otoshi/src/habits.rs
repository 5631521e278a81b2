//! What fingers know from Docker: commands and flags of its command line that this one does not have, each with what takes its place.
//!
//! Those of `docker build` are flags of `otoshi image build` itself, most of which do their job there.

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};

use crate::{arguments::Arguments, failure::Failure};

/// Commands of Docker's, and what takes their place.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["login", "logout"], "docker login, podman login and skopeo login keep logins, and otoshi uses those"),
    (
        &[
            "ps",
            "logs",
            "exec",
            "attach",
            "stop",
            "start",
            "restart",
            "kill",
            "wait",
            "pause",
            "unpause",
            "top",
            "stats",
            "port",
            "create",
            "rm",
            "rename",
            "container",
        ],
        "otoshi run runs a command in the foreground and ends with it; no container is left behind",
    ),
    (&["cp"], "otoshi export IMAGE FILE --format rootfs writes the files of an image as a tar"),
    (&["commit"], "otoshi image build builds an image from a Dockerfile"),
    (&["save"], "otoshi export IMAGE FILE --format docker-archive writes what docker load reads"),
    (&["load"], "otoshi import FILE reads what docker save wrote"),
    (
        &["system", "builder", "prune", "volume"],
        "otoshi gc removes what no named image and no recent build needs, and with --caches cache mounts as well",
    ),
    (
        &["buildx", "buildctl", "bake"],
        "otoshi image build builds a Dockerfile, with the flags of docker buildx build",
    ),
    (
        &["compose", "stack", "service", "swarm"],
        "otoshi build makes an image of each process in otoshi.toml, and otoshi run PROCESS runs one",
    ),
    (&["network"], "every command has a network of its own; see --network and --publish of otoshi run"),
    (&["scout", "sbom"], "otoshi check says what has updates"),
    (&["info"], "otoshi doctor says what this machine can do"),
    (&["version"], "otoshi --version"),
];

/// A command of this program, flags of Docker's command of that name, and what takes their place. Where there is no flag, an
/// argument is meant.
type Flags = (&'static [&'static str], &'static [&'static str], &'static str);

const FLAGS: &[Flags] = &[
    (
        &["run"],
        &["-d", "--detach"],
        "otoshi run stays in the foreground and ends with its command; a shell (&) or a service manager keeps it in the background",
    ),
    (&["run"], &["--restart"], "a service manager such as systemd restarts what ended"),
    (
        &["run"],
        &["--mount", "--tmpfs", "--volumes-from", "--volume-driver"],
        "--volume SOURCE:TARGET[:ro] mounts a file or directory",
    ),
    (&["run"], &["-P", "--publish-all", "--expose"], "--publish names each port"),
    (&["run"], &["--net"], "--network"),
    (
        &["run"],
        &[
            "--hostname",
            "--domainname",
            "--add-host",
            "--dns",
            "--dns-search",
            "--dns-option",
            "--link",
            "--network-alias",
            "--ip",
            "--ip6",
            "--mac-address",
        ],
        "the command has a network of its own, in which names are this machine's; --network host shares this machine's",
    ),
    (
        &["run"],
        &[
            "-m",
            "--memory",
            "--memory-swap",
            "--memory-reservation",
            "--cpus",
            "-c",
            "--cpu-shares",
            "--cpu-period",
            "--cpu-quota",
            "--cpuset-cpus",
            "--cpuset-mems",
            "--pids-limit",
            "--ulimit",
            "--shm-size",
            "--oom-score-adj",
            "--cgroup-parent",
            "--blkio-weight",
        ],
        "the command runs within the limits of otoshi itself, as systemd-run sets them",
    ),
    (
        &["run"],
        &[
            "--privileged",
            "--cap-add",
            "--cap-drop",
            "--security-opt",
            "--device",
            "--gpus",
            "--read-only",
            "--userns",
            "--pid",
            "--ipc",
            "--uts",
            "--cgroupns",
            "--runtime",
            "--isolation",
            "--sysctl",
            "--group-add",
        ],
        "every command runs in the same sandbox; docs/decisions/0001-sandbox.md says what that is",
    ),
    (
        &["run"],
        &[
            "--cidfile",
            "-l",
            "--label",
            "--label-file",
            "--annotation",
            "--log-driver",
            "--log-opt",
            "--stop-signal",
            "--stop-timeout",
            "--health-cmd",
            "--health-interval",
            "--health-retries",
            "--health-timeout",
            "--no-healthcheck",
        ],
        "no container is left that could have it",
    ),
    (
        &["run"],
        &["--pull", "--platform"],
        "otoshi pull [--platform PLATFORM] pulls an image from its registry",
    ),
    (
        &["run"],
        &["-a", "--attach", "--sig-proxy", "--detach-keys"],
        "standard streams and signals are passed on, always",
    ),
    (
        &["build"],
        &[
            "--build-arg",
            "--target",
            "--secret",
            "--ssh",
            "--platform",
            "--label",
            "-o",
            "--output",
            "--push",
            "--load",
            "--progress",
            "-q",
            "--quiet",
            "--network",
            "--cache-from",
            "--cache-to",
            "--iidfile",
            "--build-context",
            "--rm",
            "--squash",
        ],
        "otoshi image build builds one image, with the flags of docker build; a project's are in otoshi.toml",
    ),
    (
        &["push"],
        &["", "-q", "--quiet", "-a", "--all-tags", "--disable-content-trust", "--platform"],
        "otoshi push pushes what the project's build made; otoshi image push NAME pushes one image of the store",
    ),
    (
        &["image push"],
        &["-q", "--quiet", "-a", "--all-tags", "--disable-content-trust", "--platform"],
        "otoshi image push NAME [REF] pushes one image, with all its platforms",
    ),
    (
        &["pull", "image pull"],
        &["-q", "--quiet", "-a", "--all-tags", "--disable-content-trust"],
        "otoshi pull REF pulls one image; its progress goes to standard error",
    ),
    (
        &["images", "image ls"],
        &["", "--digests", "--no-trunc", "-f", "--filter", "--format", "--tree"],
        "otoshi images lists all named images with their digests; --json prints what a filter such as jq can take",
    ),
    (
        &["history", "image history"],
        &["-q", "--quiet", "-H", "--human", "--format", "--platform"],
        "--json prints what a filter such as jq can take",
    ),
    (
        &["inspect", "image inspect"],
        &["", "-f", "--format", "--type", "-s", "--size", "--platform"],
        "otoshi inspect prints one image as JSON, which a filter such as jq can take",
    ),
    (
        &["import"],
        &["-c", "--change", "-m", "--message"],
        "otoshi image build adds settings to an image, from a Dockerfile",
    ),
    (&["export"], &["-o", "--output"], "the file follows the image's name: otoshi export IMAGE FILE"),
];

/// What is told where the command line has a command or flag of Docker's; `None` where it is wrong in another way.
pub(crate) fn known(error: &Error, words: &[String]) -> Option<Failure> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand)?;
            let (_, place) = COMMANDS.iter().find(|(words, _)| words.contains(&word))?;
            Some(Failure::usage(format!("there is no command {word}"), Some((*place).to_owned())))
        }
        ErrorKind::UnknownArgument => {
            let (word, command) = (context(ContextKind::InvalidArg)?, command_of(words));
            let flag = if word.starts_with('-') { word.split('=').next().unwrap_or(word) } else { "" };
            let is_meant =
                |(commands, flags, _): &&Flags| commands.contains(&command.as_str()) && flags.contains(&flag);
            let (_, _, place) = FLAGS.iter().find(is_meant)?;
            Some(Failure::usage(format!("otoshi {command} takes no {word}"), Some((*place).to_owned())))
        }
        _ => None,
    }
}

/// The command that a command line is of, as in `image push`.
fn command_of(words: &[String]) -> String {
    let (mut here, mut found) = (Arguments::command(), Vec::new());
    for word in words {
        let Some(next) = here.find_subcommand(word).cloned() else { continue };
        found.push(next.get_name().to_owned());
        if !next.has_subcommands() {
            break;
        }
        here = next;
    }
    found.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use otoshi_explain::{Explain, Kind};

    use super::*;

    fn told(line: &str) -> Option<(String, String)> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let error = Arguments::try_parse_from(std::iter::once("otoshi".to_owned()).chain(words.clone())).ok();
        assert!(error.is_none(), "{line} is a command line of this program's");
        let error = Arguments::try_parse_from(std::iter::once("otoshi".to_owned()).chain(words.clone()));
        let failure = known(&error.unwrap_err(), &words)?;
        assert_eq!(failure.kind(), Kind::User);
        Some((failure.to_string(), failure.hint().unwrap_or_default()))
    }

    #[test]
    fn what_docker_has_says_what_takes_its_place() {
        for (words, place) in COMMANDS {
            for word in *words {
                let line = format!("{word} --some-flag x");
                assert_eq!(told(&line), Some((format!("there is no command {word}"), (*place).to_owned())));
            }
        }
        for (commands, flags, place) in FLAGS {
            for (command, flag) in
                commands.iter().flat_map(|command| flags.iter().map(move |flag| (command, flag)))
            {
                let argument = if flag.is_empty() { "one two" } else { flag };
                let (message, hint) =
                    told(&format!("{command} {argument}")).unwrap_or_else(|| panic!("{command} {flag}"));
                assert!(message.starts_with(&format!("otoshi {command} takes no ")), "{message}");
                assert_eq!(hint, *place);
            }
        }
        assert_eq!(told("image prune").unwrap().0, "there is no command prune");
        assert_eq!(told("--home /x run -it --detach=true x:1").unwrap().0, "otoshi run takes no --detach");
    }

    #[test]
    fn what_is_wrong_otherwise_is_none_of_it() {
        for line in ["biuld", "run --no-such-flag", "pull", "tag one"] {
            assert_eq!(told(line), None, "{line}");
        }
    }
}
