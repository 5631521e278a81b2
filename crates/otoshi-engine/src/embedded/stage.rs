//! A stage while it is being built: its scope, its config, its layers and its history.

use otoshi_dockerfile::{CommandForm, Scope};
use otoshi_oci::{
    Image, ImageConfig, Platform,
    config::{DEFAULT_PATH, History},
};
use otoshi_store::SnapshotId;

use super::chain::Chain;
use crate::EngineError;

/// What a stage is after some of its instructions.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) scope: Scope,
    pub(crate) config: ImageConfig,
    pub(crate) chain: Chain,
    /// For each layer of the chain, the entry of the history that made it.
    pub(crate) layer_history: Vec<usize>,
    /// Whether this stage itself said CMD, so that ENTRYPOINT leaves it alone.
    pub(crate) cmd_is_own: bool,
    epoch: i64,
}

impl Stage {
    /// A stage on an image's config and layers; an image that sets no `PATH` gets the default one, in the scope as well.
    pub(crate) fn on_image(
        config: ImageConfig,
        chain: Chain,
        scope: impl FnOnce(Vec<(String, String)>) -> Scope,
        epoch: i64,
    ) -> Self {
        let mut config = config;
        if config.config.env_var("PATH").is_none() {
            config.config.set_env("PATH", DEFAULT_PATH);
        }
        let scope = scope(Self::env_pairs(&config));
        let with_layers =
            config.history.iter().enumerate().filter(|(_, entry)| !entry.empty_layer).map(|(index, _)| index);
        let mut layer_history: Vec<usize> = with_layers.collect();
        // A history that does not match the layers says nothing about them.
        if layer_history.len() != chain.layers.len() {
            config.history = chain.layers.iter().map(|_| History::default()).collect();
            layer_history = (0..chain.layers.len()).collect();
        }
        Self { scope, config, chain, layer_history, cmd_is_own: false, epoch }
    }

    /// A stage on an image.
    pub(crate) fn of(image: &Image, scope: impl FnOnce(Vec<(String, String)>) -> Scope, epoch: i64) -> Self {
        Self::on_image(image.config.clone(), Chain::of_image(image), scope, epoch)
    }

    /// A stage on `scratch`.
    pub(crate) fn on_scratch(
        platform: &Platform,
        scope: impl FnOnce(Vec<(String, String)>) -> Scope,
        epoch: i64,
    ) -> Self {
        let mut config = ImageConfig::new(platform);
        config.config.working_dir = "/".into();
        Self::on_image(config, Chain::scratch(), scope, epoch)
    }

    /// A stage on another stage.
    pub(crate) fn on_stage(parent: &Self) -> Self {
        Self { scope: Scope::for_child_of(&parent.scope), cmd_is_own: false, ..parent.clone() }
    }

    /// The environment of the config as pairs.
    pub(crate) fn env_pairs(config: &ImageConfig) -> Vec<(String, String)> {
        let pairs = config.config.env.iter();
        pairs
            .map(|pair| {
                pair.split_once('=').map_or((pair.clone(), String::new()), |(k, v)| (k.into(), v.into()))
            })
            .collect()
    }

    /// The working directory; `/` when none was set.
    pub(crate) fn cwd(&self) -> &str {
        if self.config.config.working_dir.is_empty() { "/" } else { &self.config.config.working_dir }
    }

    /// The arguments that a command in this stage is run with.
    pub(crate) fn argv(&self, command: &CommandForm) -> Vec<String> {
        argv(self.config.config.shell.as_deref(), command)
    }

    /// Fails when commands of this stage need another machine than this one.
    pub(crate) fn must_run_here(&self) -> Result<(), EngineError> {
        let (host, own) = (Platform::host(), self.config.platform());
        // Kernels for 64-bit x86 run 32-bit programs.
        let is_32_bit = host.architecture == "amd64" && own.architecture == "386" && host.os == own.os;
        let best = Platform::new(&host.os, &host.architecture, highest_variant());
        if own.architecture.is_empty() || host.matches(&own) || best.matches(&own) || is_32_bit {
            return Ok(());
        }
        Err(EngineError::Invalid {
            message: format!("this stage is for {own}, whose commands do not run on {host}"),
            hint: Some(
                "FROM --platform=$BUILDPLATFORM runs commands on this machine's platform; a stage for another one can copy"
                    .into(),
            ),
        })
    }

    /// Notes an instruction that left no layer.
    pub(crate) fn note(&mut self, instruction: &str) {
        self.config.history.push(self.history(instruction, true));
    }

    /// Puts what an instruction left on top.
    pub(crate) fn push(&mut self, snapshot: SnapshotId, instruction: &str) {
        self.chain = self.chain.with(snapshot);
        self.layer_history.push(self.config.history.len());
        self.config.history.push(self.history(instruction, false));
    }

    fn history(&self, instruction: &str, empty_layer: bool) -> History {
        History {
            created: Some(timestamp(self.epoch)),
            created_by: Some(instruction.to_owned()),
            comment: Some("otoshi".into()),
            empty_layer,
            ..History::default()
        }
    }
}

/// The highest variant of the architecture that this machine has, where there are several.
fn highest_variant() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let v2 = has!("sse3")
            && has!("ssse3")
            && has!("sse4.1")
            && has!("sse4.2")
            && has!("popcnt")
            && has!("cmpxchg16b");
        let v3 = v2
            && has!("avx2")
            && has!("bmi1")
            && has!("bmi2")
            && has!("f16c")
            && has!("fma")
            && has!("lzcnt")
            && has!("movbe");
        let v4 = v3
            && has!("avx512f")
            && has!("avx512bw")
            && has!("avx512cd")
            && has!("avx512dq")
            && has!("avx512vl");
        [(v4, "v4"), (v3, "v3"), (v2, "v2")].into_iter().find(|(has, _)| *has).map(|(_, variant)| variant)
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// The arguments of a command: those of the exec form, or the shell's with the text.
pub(crate) fn argv(shell: Option<&[String]>, command: &CommandForm) -> Vec<String> {
    match command {
        CommandForm::Exec(argv) => argv.clone(),
        CommandForm::Shell(text) => {
            let shell = shell.map_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()], <[String]>::to_vec);
            shell.into_iter().chain([text.clone()]).collect()
        }
    }
}

/// Seconds since 1970 as RFC 3339, in UTC.
pub(crate) fn timestamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
