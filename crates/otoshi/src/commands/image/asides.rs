//! The flags of `docker build` and `docker buildx build` beside those that an engine knows: each does its job, or says in one
//! line what takes its place.

use std::path::PathBuf;

use clap::Args;

/// What fingers type after `docker build`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "As with docker build")]
pub(super) struct Asides {
    /// Ask the registry what base tags point to now, even if they are in the store
    #[arg(long, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) pull: Option<bool>,
    /// Push the image to the registries in its names
    #[arg(long, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) push: Option<bool>,
    /// Load the image into Docker if a daemon is running; it is in the store anyway
    #[arg(long, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) load: Option<bool>,
    /// Only point out likely mistakes, as `otoshi image check` does
    #[arg(long, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) check: Option<bool>,
    /// What to do: build, check, or targets to list the stages; check,format=json prints JSON
    #[arg(long, value_name = "METHOD", default_value = "build")]
    pub(super) call: String,
    /// Progress output: auto, tty, plain (all output), rawjson (as plain), quiet or none
    #[arg(long, value_name = "HOW", value_parser = ["auto", "tty", "plain", "rawjson", "quiet", "none"], hide_possible_values = true)]
    pub(super) progress: Option<String>,
    /// Write the image's digest, descriptor and names to a JSON file
    #[arg(long, value_name = "FILE")]
    pub(super) metadata_file: Option<PathBuf>,
    /// Annotation on the image's manifest: NAME=VALUE, or manifest:NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) annotation: Vec<String>,
    /// Run every step again if any stage is named
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(super) no_cache_filter: Vec<String>,
    #[command(flatten)]
    unneeded: Unneeded,
}

/// What needs no doing here, or has something else in its place.
#[derive(Debug, Default, Args)]
struct Unneeded {
    #[arg(long, hide = true)]
    cache_from: Vec<String>,
    #[arg(long, hide = true)]
    cache_to: Vec<String>,
    #[arg(long, hide = true)]
    add_host: Vec<String>,
    #[arg(long, hide = true)]
    shm_size: Option<String>,
    #[arg(long, hide = true)]
    ulimit: Vec<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    #[arg(long, hide = true)]
    attest: Vec<String>,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true)]
    policy: Vec<String>,
    #[arg(short = 'm', long, hide = true)]
    memory: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    memory_swap: Option<String>,
    #[arg(long, hide = true)]
    cpu_period: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    #[arg(short = 'c', long, hide = true)]
    cpu_shares: Option<String>,
    #[arg(long, hide = true)]
    cpuset_cpus: Option<String>,
    #[arg(long, hide = true)]
    cpuset_mems: Option<String>,
    #[arg(long, hide = true)]
    cgroup_parent: Option<String>,
    #[arg(long, hide = true)]
    isolation: Option<String>,
    #[arg(long, hide = true)]
    security_opt: Vec<String>,
    #[arg(long, hide = true)]
    server_config: Option<String>,
    #[arg(long, hide = true)]
    root: Option<String>,
    #[arg(long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    squash: Option<bool>,
    #[arg(short = 'D', long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    debug: Option<bool>,
    #[arg(long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    detach: Option<bool>,
    #[arg(long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    stream: Option<bool>,
    // What these ask for is so anyway: no container is left behind, and no context is sent anywhere.
    #[arg(long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<bool>,
    #[arg(long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_rm: Option<bool>,
    #[arg(long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    compress: Option<bool>,
    #[arg(long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_content_trust: Option<bool>,
}

/// A switch as Go reads it.
pub(in crate::commands) fn switch(text: &str) -> Result<bool, String> {
    otoshi_dockerfile::truth(text).ok_or_else(|| format!("{text} is neither true nor false"))
}

impl Asides {
    /// Whether all output of steps is shown.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.progress.as_deref(), Some("plain" | "rawjson"))
    }

    /// Whether nothing but errors is shown.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.progress.as_deref(), Some("quiet" | "none"))
    }

    /// One line for each flag that does not do its job here: what takes its place.
    pub(super) fn notes(&self) -> Vec<String> {
        let it = &self.unneeded;
        let on = |flag: Option<bool>| flag == Some(true);
        let said = |text: &Option<String>| text.as_deref().is_some_and(|text| !matches!(text, "false" | "0"));
        let limits = [
            (it.memory.is_some(), "--memory"),
            (it.memory_swap.is_some(), "--memory-swap"),
            (it.cpu_period.is_some(), "--cpu-period"),
            (it.cpu_quota.is_some(), "--cpu-quota"),
            (it.cpu_shares.is_some(), "--cpu-shares"),
            (it.cpuset_cpus.is_some(), "--cpuset-cpus"),
            (it.cpuset_mems.is_some(), "--cpuset-mems"),
            (it.cgroup_parent.is_some(), "--cgroup-parent"),
            (!it.ulimit.is_empty(), "--ulimit"),
            (it.shm_size.is_some(), "--shm-size"),
        ];
        let limits: Vec<&str> = limits.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| *flag).collect();
        let mut notes = Vec::new();
        let mut note = |is_set: bool, text: &str| {
            if is_set {
                notes.push(text.to_owned());
            }
        };
        note(
            !it.cache_from.is_empty(),
            "--cache-from: steps are found in this store, and those of a project in its registry, without this flag",
        );
        note(
            !it.cache_to.is_empty(),
            "--cache-to: every step is kept in this store; otoshi push keeps a project's in its registry",
        );
        note(
            !it.add_host.is_empty(),
            "--add-host: steps get no additional hosts; a RUN can write them to /etc/hosts for itself",
        );
        if !limits.is_empty() {
            notes.push(format!("{}: steps run within the limits of otoshi itself", limits.join(", ")));
        }
        let mut note = |is_set: bool, text: &str| {
            if is_set {
                notes.push(text.to_owned());
            }
        };
        note(
            said(&it.provenance)
                || said(&it.sbom)
                || it.attest.iter().any(|text| !text.contains("disabled=true")),
            "--provenance, --sbom, --attest: no attestation is written; otoshi inspect and the image's history say what it is made of",
        );
        note(it.builder.is_some(), "--builder: Otoshi itself is the only builder");
        note(
            !it.policy.is_empty(),
            "--policy: policies are not supported; see # check= and otoshi image check",
        );
        note(
            it.isolation.as_deref().is_some_and(|text| text != "default"),
            "--isolation: steps run in the sandbox, as always",
        );
        note(
            !it.security_opt.is_empty(),
            "--security-opt: RUN --security and --allow say what a step may do",
        );
        note(on(it.squash), "--squash: layers stay apart, so that they can be kept and swapped");
        note(on(it.debug), "--debug: OTOSHI_LOG=debug shows more");
        note(on(it.detach), "--detach: the build runs in the foreground");
        note(
            it.root.is_some() || it.server_config.is_some(),
            "--root, --server-config: there is no server; --home says where the store is",
        );
        note(on(it.stream), "--stream: the context is read where it is");
        note(!self.no_cache_filter.is_empty(), "--no-cache-filter: the steps of all stages run again");
        note(
            self.progress.as_deref() == Some("rawjson"),
            "--progress rawjson: the output is shown as plain lines",
        );
        notes
    }

    /// The annotations of the manifest; and those that are meant for something else, as they were given.
    pub(super) fn annotations(&self) -> (Vec<(String, String)>, Vec<String>) {
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for text in &self.annotation {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            // What stands before a colon says where it goes: `manifest,index:NAME`, also with a platform in brackets.
            let (places, key) = match name.split_once(':') {
                Some((places, key)) if places.split(',').all(is_place) => (places, key),
                _ => ("manifest", name),
            };
            let is_manifest = places.split(',').any(|place| place.split('[').next() == Some("manifest"));
            if is_manifest {
                found.push((key.to_owned(), value.to_owned()));
            } else {
                others.push(text.clone());
            }
        }
        (found, others)
    }
}

/// Whether a word says where an annotation goes.
fn is_place(word: &str) -> bool {
    let kind = word.split('[').next().unwrap_or_default();
    matches!(kind, "manifest" | "index" | "manifest-descriptor" | "index-descriptor")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        asides: Asides,
        context: String,
    }

    fn parse(words: &str) -> Asides {
        let line = format!("build {words} .");
        Line::try_parse_from(line.split_whitespace())
            .unwrap_or_else(|error| panic!("{words}: {error}"))
            .asides
    }

    #[test]
    fn every_flag_of_docker_build_is_known_and_one_without_a_job_says_one_line() {
        for words in [
            "--add-host a:1.2.3.4",
            "--attest type=sbom",
            "--builder default",
            "--cache-from type=gha",
            "--cache-to type=inline",
            "--cgroup-parent x",
            "--cpu-period 1",
            "--cpu-quota -1",
            "-c 2",
            "--cpu-shares 2",
            "--cpuset-cpus 0-1",
            "--cpuset-mems 0",
            "--debug",
            "-D",
            "--detach",
            "--isolation process",
            "--memory 1g",
            "-m 1g",
            "--memory-swap -1",
            "--no-cache-filter a,b",
            "--policy reset=true",
            "--progress rawjson",
            "--provenance=mode=max",
            "--provenance",
            "--root x",
            "--sbom=true",
            "--sbom",
            "--security-opt x",
            "--server-config x",
            "--shm-size 1g",
            "--squash",
            "--stream",
            "--ulimit nofile=1024",
        ] {
            assert_eq!(parse(words).notes().len(), 1, "{words}");
        }
        // These do their job, or ask for what is so anyway.
        for words in [
            "--annotation a=b",
            "--attest type=sbom,disabled=true",
            "--call build",
            "--check",
            "--check=false",
            "--compress",
            "--debug=false",
            "--detach=false",
            "--disable-content-trust=true",
            "--force-rm",
            "--isolation default",
            "--load",
            "--metadata-file m.json",
            "--progress plain",
            "--provenance=false",
            "--pull",
            "--push",
            "--rm",
            "--rm=false",
            "--sbom=false",
            "--squash=false",
            "--stream=false",
        ] {
            assert_eq!(parse(words).notes(), [""; 0], "{words}");
        }
        let notes = parse("-m 1g --ulimit nofile=1 --cache-to type=inline").notes();
        assert_eq!(notes.len(), 2);
        assert_eq!(notes[1], "--memory, --ulimit: steps run within the limits of otoshi itself");
    }

    #[test]
    fn annotations_are_the_manifests_unless_they_say_otherwise() {
        let asides = parse(
            "--annotation a=b --annotation manifest[linux/amd64]:c=d --annotation index:e=f --annotation org.x:y=z \
             --annotation index,manifest:g=h",
        );
        let (found, others) = asides.annotations();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, others), (vec!["a", "c", "org.x:y", "g"], vec!["index:e=f".to_owned()]));
    }
}
