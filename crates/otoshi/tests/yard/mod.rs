//! A registry behind a proxy, in which an application's image stands on a base.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{fs, process::Command};

use otoshi_test::{Missing, Proxy, Registry};
use serde_json::Value;

use crate::support::Shop;

/// A registry behind a proxy, and a machine with an application's image on the base `base:1`.
pub(crate) struct Yard {
    pub(crate) registry: Registry,
    pub(crate) proxy: Proxy,
    pub(crate) shop: Shop,
}

pub(crate) const APP: &str = "FROM BASE\nCOPY web /app/web\nENV PATH=/app:$PATH\nCMD [\"web\"]\n";

impl Yard {
    pub(crate) fn new() -> Result<Self, Missing> {
        let (registry, shop) = (Registry::start()?, Shop::new()?);
        let yard = Self { proxy: Proxy::start(registry.port()), registry, shop };
        yard.base("1", "base 1\n");
        yard.shop.write("app/web", "#!/bin/sh\ncat /etc/base\n");
        Command::new("chmod").arg("755").arg(yard.shop.path("app/web")).status().unwrap();
        yard.app("app");
        Ok(yard)
    }

    /// A name behind the proxy.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.proxy.host())
    }

    /// The same name straight at the registry, for programs that keep connections open: the proxy takes one request on each.
    pub(crate) fn direct(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    /// The manifest as the registry has it.
    pub(crate) fn raw(&self, name: &str) -> String {
        let (repository, reference) = name.split_once('@').or_else(|| name.rsplit_once(':')).unwrap();
        String::from_utf8(self.registry.get(repository, &format!("manifests/{reference}"))).unwrap()
    }

    /// Puts a manifest or an index under a tag.
    pub(crate) fn put(&self, repository: &str, tag: &str, kind: &str, body: &str) {
        self.registry.put_manifest(repository, tag, kind, body.as_bytes());
    }

    /// Pushes a base whose /etc/base says `text` as `base:1`, and under a tag that stays.
    pub(crate) fn base(&self, stays: &str, text: &str) {
        self.shop.import(text);
        for tag in ["1", &format!("as-{stays}")] {
            self.shop.ok(&["image", "push", "otoshi.test/busybox:1", &self.name(&format!("base:{tag}"))]);
        }
    }

    /// Builds and pushes an application on the base.
    pub(crate) fn app(&self, name: &str) {
        self.shop.write("app/Dockerfile", &APP.replace("BASE", &self.name("base:1")));
        let name = self.name(&format!("{name}:1"));
        self.shop.ok(&["image", "build", "app", "-t", &name]);
        self.shop.ok(&["image", "push", &name]);
    }

    pub(crate) fn replace_machine(&self) {
        let _ = fs::remove_dir_all(self.shop.home());
        self.proxy.take_log();
    }

    /// Runs the image's start command, by building on it.
    pub(crate) fn runs(&self, image: &str, expected: &str) {
        let _ = fs::remove_dir_all(self.shop.home());
        let text =
            format!("FROM {image}\nRUN test \"$(web)\" = \"{expected}\" && test \"$(web)\" != other\n");
        self.shop.write("check/Dockerfile", &text.replace("test ", "/bin/busybox test "));
        self.shop.ok(&["image", "build", "check"]);
    }

    pub(crate) fn rebase(&self, arguments: &[&str]) -> Value {
        let all = [&["rebase", "--json"], arguments].concat();
        let output = self.shop.otoshi(&all);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str::<Value>(&text).unwrap()[0].clone()
    }

    pub(crate) fn writes(&self) -> usize {
        self.proxy
            .take_log()
            .iter()
            .filter(|request| request.method != "GET" && request.method != "HEAD")
            .count()
    }
}
