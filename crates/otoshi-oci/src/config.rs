//! The image config: what an image runs, and what it is made of.
//!
//! The OCI specification and Docker describe the same JSON document; Docker's has a few fields more (`Healthcheck`,
//! `Shell`, `OnBuild`). [`ImageConfig`] knows both, tolerates Docker's `null`s, and keeps every field that it does not
//! know, at each level, so that loading and saving loses nothing. Written documents have sorted keys.
//!
//! Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md> and
//! <https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md>

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::digest::DiffId;
use crate::json;
use crate::platform::Platform;

/// The `PATH` of a command whose image says none, as container engines have it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Fields that this crate gives no meaning to, kept as they were.
pub type Extra = BTreeMap<String, Value>;

/// Describes an image: its platform, how to run it, its layers and its history.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, in RFC 3339 form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The architecture, such as `amd64`.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// The operating system, such as `linux`.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// The variant of the architecture, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How a container of this image runs.
    #[serde(default, deserialize_with = "or_default")]
    pub config: RunConfig,
    /// The layers.
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
    /// One entry per step that made the image, the first step first.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields not known here.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ImageConfig {
    /// Builds the config of an empty image for a platform.
    pub fn new(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }

    /// Parses a config document.
    ///
    /// Fails where the bytes are not JSON, or a known field has the wrong type.
    pub fn from_slice(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// Writes the document: sorted keys, no spaces, the same bytes for the same content.
    ///
    /// Fails as [`json::canonical`] does.
    pub fn to_vec(&self) -> serde_json::Result<Vec<u8>> {
        json::canonical(self)
    }

    /// Returns the platform, in normal form.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

/// Says how a container of an image runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// The user, as `name`, `uid`, `name:group` or `uid:gid`; empty means root.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that the program listens on, as `80/tcp`.
    #[serde(default, with = "set_as_object", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// Environment variables, as `NAME=value`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The default arguments, or the program where there is no entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Directories that hold data of their own.
    #[serde(default, with = "set_as_object", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// The directory that the program starts in; empty means `/`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How to find out whether the program works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell for the shell form of instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Instructions for images that start from this one.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Says that `cmd` is one already escaped string (Windows only).
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    /// Fields not known here.
    #[serde(flatten)]
    pub extra: Extra,
}

impl RunConfig {
    /// Returns the value of an environment variable; of several, the last.
    pub fn env_var(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }

    /// Sets an environment variable, in its old place if it has one.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let same = |old: &String| {
            old.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        match self.env.iter().position(same) {
            Some(place) => {
                self.env[place] = entry;
                let mut index = 0;
                self.env.retain(|old| {
                    index += 1;
                    index - 1 <= place || !same(old)
                });
            }
            None => self.env.push(entry),
        }
    }
}

/// Says how to find out whether a container works. Durations are in nanoseconds; zero means inherited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", program, …]`, `["CMD-SHELL", line]`, or empty for inherited.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time after which a check counts as failed.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time that the program has to start.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between two checks while the program starts.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row make the container unhealthy.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
    /// Fields not known here.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Lists the layers of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers")]
    pub kind: String,
    /// The digests of the uncompressed layers, the lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<DiffId>,
    /// Fields not known here.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: layers(), diff_ids: Vec::new(), extra: Extra::new() }
    }
}

/// Describes one step that made an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When the step was done, in RFC 3339 form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction or command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Says that the step made no layer.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
    /// Fields not known here.
    #[serde(flatten)]
    pub extra: Extra,
}

fn layers() -> String {
    "layers".to_owned()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Reads `null` as the default: Go writes it for an empty slice or map.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Go has no sets: they are objects whose values are empty objects.
mod set_as_object {
    use super::{BTreeMap, BTreeSet, Deserialize, Deserializer, Serializer, Value};

    pub(super) fn serialize<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(set.iter().map(|key| (key, BTreeMap::<String, Value>::new())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        let map = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(map.into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = r#"{
        "architecture": "amd64", "os": "linux", "created": "2024-05-01T00:00:00Z", "os.version": "1",
        "container_config": {"Hostname": "abc"},
        "config": {
            "Hostname": "", "Tty": false, "Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "Entrypoint": null,
            "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}}, "OnBuild": ["RUN x"], "Labels": null,
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5000000000, "Future": 1},
            "Shell": ["/bin/bash", "-c"], "StopSignal": "SIGQUIT", "ArgsEscaped": true
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
        "history": [{"created_by": "COPY x", "empty_layer": true, "moby.buildkit": "v0"}]
    }"#;

    #[test]
    fn everything_survives_load_and_save() {
        let config = ImageConfig::from_slice(DOCKER.as_bytes()).unwrap();
        assert_eq!(config.config.healthcheck.as_ref().unwrap().interval, 5_000_000_000);
        assert_eq!(config.config.on_build, ["RUN x"]);
        assert!(config.config.exposed_ports.contains("80/tcp"));

        let mut expected: Value = serde_json::from_str(DOCKER).unwrap();
        let run = expected["config"].as_object_mut().unwrap();
        run.remove("Entrypoint");
        run.remove("Labels");
        let saved = config.to_vec().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&saved).unwrap(), expected);
        assert_eq!(ImageConfig::from_slice(&saved).unwrap(), config);
        assert_eq!(ImageConfig::from_slice(&saved).unwrap().to_vec().unwrap(), saved);
    }

    #[test]
    fn a_config_without_anything_is_tolerated() {
        let config = ImageConfig::from_slice(br#"{"rootfs": {"type": "layers", "diff_ids": null}}"#).unwrap();
        assert_eq!(config.rootfs, RootFs::default());
        assert!(ImageConfig::from_slice(b"[]").is_err());
    }

    #[test]
    fn variables_keep_their_place() {
        let mut run =
            RunConfig { env: vec!["A=1".into(), "B=2".into(), "A=3".into()], ..RunConfig::default() };
        assert_eq!(run.env_var("A"), Some("3"));
        run.set_env("A", "4");
        run.set_env("AB", "x");
        assert_eq!(run.env, ["A=4", "B=2", "AB=x"]);
    }
}
