//! A small project on a base made of busybox, and the program to work on it.

#![allow(dead_code, unreachable_pub)]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use otoshi_test::{Missing, Need, busybox, require, run};

/// A project, with a store and a base of its own.
pub(crate) struct Shop {
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) const MANIFEST: &str = r#"
[project]
name = "shop"
[versions]
SERIES = "1"
[bases]
BASE = "otoshi.test/busybox:{SERIES}"
[builder]
dockerfile = "builder.Dockerfile"
[compile]
run = "cat src/main > compiled && cat /opt/deps/lib >> compiled"
[runner]
dockerfile = "runner.Dockerfile"
[app]
dependencies = ["/opt/deps"]
[processes]
web = "cat compiled /etc/runner /etc/base"
cli = ["/bin/echo", "cli"]
"#;

impl Shop {
    /// A directory for a project, and a place for a store.
    pub(crate) fn empty() -> Result<Self, Missing> {
        require(&[Need::Root, Need::Tool("busybox")])?;
        let shop = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(shop.path("")).unwrap();
        Ok(shop)
    }

    pub(crate) fn new() -> Result<Self, Missing> {
        let shop = Self::empty()?;
        shop.write("otoshi.toml", MANIFEST);
        shop.write("builder.Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPY deps.lock /opt/deps/lib\n");
        shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\n");
        shop.write("deps.lock", "deps 1\n");
        shop.write("src/main", "source 1\n");
        shop.import("base 1\n");
        Ok(shop)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("shop").join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Imports a base whose /etc/base says `text`.
    pub(crate) fn import(&self, text: &str) {
        let root = self.dir.path().join("root");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("etc")).unwrap();
        busybox(&root, &["sh", "cat", "echo", "ls"]);
        fs::write(root.join("etc/base"), text).unwrap();
        let tar = self.dir.path().join("root.tar");
        run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."));
        self.ok(&["import", tar.to_str().unwrap(), "--name", "otoshi.test/busybox:1"]);
    }

    pub(crate) fn otoshi(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The program, in the project's directory and on its store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otoshi"));
        command.args(arguments).current_dir(self.path("")).env("OTOSHI_HOME", self.home());
        command
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.otoshi(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that succeeds prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    /// The exit code and the report of a check.
    pub(crate) fn check(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let output = self.otoshi(&[&["check", "--json"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        (output.status.code().unwrap(), report)
    }

    /// The numbers of the phases that a build runs, after checking that the plan said the same of what it could know.
    pub(crate) fn ran(&self, arguments: &[&str]) -> Vec<u8> {
        let plan = self.json(&["plan", "--json"]);
        let report = self.json(&[&["build", "--json"], arguments].concat());
        let mut ran = Vec::new();
        for (planned, done) in
            plan["phases"].as_array().unwrap().iter().zip(report["phases"].as_array().unwrap())
        {
            if planned["status"] != "pending" && arguments.is_empty() {
                assert_eq!(planned["status"], done["status"], "{planned} {done}");
            }
            if done["status"] == "stale" {
                ran.push(u8::try_from(done["number"].as_u64().unwrap()).unwrap());
            }
        }
        ran
    }
}
