//! A project whose bases are in a registry, which keeps what its phases make; and machines that have nothing but its files.

#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;

use otoshi_test::{Missing, Proxy, Registry, Request};

use crate::support::Shop;

const MANIFEST: &str = r#"
[project]
name = "shop"
[bases]
BUILD_BASE = "HOST/base:1"
RUN_BASE = "HOST/slim:1"
[registry]
repository = "HOST/team/shop"
[builder]
dockerfile = "builder.Dockerfile"
[compile]
run = "cat src/main /opt/deps/lib > compiled"
[runner]
dockerfile = "runner.Dockerfile"
[processes]
web = "cat compiled /etc/runner /etc/base"
cli = ["/bin/echo", "cli"]
"#;

/// A project whose bases are in a registry, and a machine to work on it.
pub(crate) struct Stage {
    pub(crate) registry: Registry,
    pub(crate) proxy: Proxy,
    pub(crate) shop: Shop,
}

impl Stage {
    pub(crate) fn new() -> Result<Self, Missing> {
        let (registry, shop) = (Registry::start()?, Shop::new()?);
        let stage = Self { proxy: Proxy::start(registry.port()), registry, shop };
        stage.shop.write("otoshi.toml", &MANIFEST.replace("HOST", &stage.proxy.host()));
        stage.shop.write(
            "builder.Dockerfile",
            "ARG BUILD_BASE\nFROM ${BUILD_BASE}\nCOPY deps.lock /opt/deps/lib\n",
        );
        stage
            .shop
            .write("runner.Dockerfile", "ARG RUN_BASE\nFROM ${RUN_BASE}\nRUN echo runner > /etc/runner\n");
        stage.push_base("base", "base 1\n");
        stage.push_base("slim", "slim 1\n");
        stage.replace_machine();
        Ok(stage)
    }

    /// Pushes a base whose /etc/base says `text`.
    pub(crate) fn push_base(&self, name: &str, text: &str) {
        self.shop.import(text);
        let to = format!("{}/{name}:1", self.proxy.host());
        self.shop.ok(&["image", "push", "otoshi.test/busybox:1", &to]);
    }

    /// Throws the store away, and what was noted.
    pub(crate) fn replace_machine(&self) {
        let _ = fs::remove_dir_all(self.shop.home());
        self.proxy.take_log();
    }

    /// What a build on a machine without a store asked, after checking which phases ran.
    pub(crate) fn build_on_new_machine(&self, arguments: &[&str], ran: &[u8]) -> Asked {
        self.replace_machine();
        assert_eq!(self.shop.ran(arguments), ran);
        Asked(self.proxy.take_log())
    }

    /// The layers of an image in the registry, by the name that `otoshi build` gives it.
    pub(crate) fn layers(&self, image: &str) -> Vec<String> {
        let shown = self.shop.json(&["inspect", image]);
        let layers = shown["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.shop.path(file)).unwrap();
        let edited = text.replace(from, to);
        assert_ne!(edited, text, "{file} has no {from}");
        self.shop.write(file, &edited);
    }

    pub(crate) fn name(&self, tag: &str) -> String {
        format!("{}/team/shop:{tag}", self.proxy.host())
    }
}

/// Requests.
pub(crate) struct Asked(pub(crate) Vec<Request>);

impl Asked {
    /// The digests of the blobs that were fetched.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let gets = self.0.iter().filter(|request| request.is("GET", "/blobs/sha256"));
        let mut found: Vec<_> =
            gets.map(|request| request.path.rsplit('/').next().unwrap().to_owned()).collect();
        found.sort();
        found
    }

    /// Those of the blobs that were fetched which are among these.
    pub(crate) fn blobs_of(&self, layers: &[String]) -> Vec<String> {
        self.blobs().into_iter().filter(|digest| layers.contains(digest)).collect()
    }
}
