//! A store with a busybox image, for tests of the engine.
//!
//! The engine mounts, so these tests need root.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its own part")]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use otoshi_dockerfile::{CommandForm, Dockerfile};
use otoshi_engine::{
    BuildRequest, BuiltImage, Context, EmbeddedEngine, Engine, EngineError, RunRequest, Silent,
};
use otoshi_oci::{Digest, Image, ImageConfig, Platform, Reference, layer, write_image};
use otoshi_store::Home;
use otoshi_test::{Missing, Need, busybox, require};

const APPLETS: [&str; 16] = [
    "sh", "cat", "ls", "echo", "id", "mkdir", "touch", "rm", "env", "pwd", "sleep", "true", "false", "grep",
    "stat", "hostname",
];

pub struct World {
    _dir: tempfile::TempDir,
    pub home: Arc<Home>,
    pub engine: EmbeddedEngine,
    pub source: std::path::PathBuf,
}

/// A store with the image `busybox`, and an empty source directory.
pub fn world() -> Result<World, Missing> {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    world_in(dir, &home)
}

/// The same with the store at a place.
pub fn world_at(home: &Path) -> Result<World, Missing> {
    world_in(tempfile::tempdir().unwrap(), home)
}

fn world_in(dir: tempfile::TempDir, home: &Path) -> Result<World, Missing> {
    require(&[Need::Root, Need::Tool("busybox")])?;
    let root = dir.path().join("rootfs");
    for directory in ["etc", "tmp", "proc"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    busybox(&root, &APPLETS);
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
        .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\napp:x:1000:\n").unwrap();
    let home = Arc::new(Home::open(home).unwrap());
    let base = layer::write_layer(home.layout(), &root, &layer::WriteOptions::default()).unwrap();
    let mut config = ImageConfig::new(&Platform::host());
    config.rootfs.diff_ids.push(base.diff_id);
    config.config.env.push("PATH=/bin".into());
    let image = write_image(home.layout(), &config, &[base.descriptor], &BTreeMap::new()).unwrap();
    home.layout().names().tag(&Reference::parse("busybox").unwrap(), image).unwrap();
    let init = std::path::PathBuf::from(env!("CARGO_BIN_EXE_otoshi-engine-test-init"));
    let engine = EmbeddedEngine::with_init(Arc::clone(&home), init);
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    Ok(World { _dir: dir, home, engine, source })
}

impl World {
    pub fn write(&self, path: &str, text: &str) {
        let path = self.source.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn try_build(
        &self,
        dockerfile: &str,
        change: impl FnOnce(&mut BuildRequest),
    ) -> Result<BuiltImage, EngineError> {
        let mut request = self.request_of(dockerfile)?;
        change(&mut request);
        self.engine.build(&request, &Silent)
    }

    /// What is asked of the engine with a Dockerfile beside the source.
    pub fn request_of(&self, dockerfile: &str) -> Result<BuildRequest, EngineError> {
        let ignore = fs::read_to_string(self.source.join(".dockerignore")).ok();
        let dockerfile = Arc::new(Dockerfile::parse("Dockerfile", dockerfile)?);
        let context = Arc::new(Context::scan(&self.home, &self.source, ignore.as_deref())?);
        Ok(BuildRequest::new(dockerfile, context))
    }

    pub fn build(&self, dockerfile: &str) -> BuiltImage {
        self.try_build(dockerfile, |_| {}).unwrap()
    }

    pub fn request(&self, image: &Digest, command: &str) -> RunRequest {
        RunRequest::new(image.clone(), "test", Some(CommandForm::Shell(command.into())))
    }

    pub fn output(&self, image: &BuiltImage, command: &str) -> String {
        let outcome = self.engine.run(&self.request(&image.digest, command), &Silent).unwrap();
        assert_eq!(outcome.code, 0, "{command}: {}", String::from_utf8_lossy(&outcome.stdout));
        String::from_utf8(outcome.stdout).unwrap()
    }

    pub fn build_request(&self, request: &BuildRequest) -> Result<BuiltImage, EngineError> {
        self.engine.build(request, &Silent)
    }

    pub fn load(&self, image: &BuiltImage) -> Image {
        Image::load(self.home.layout(), &image.digest, &Platform::host()).unwrap()
    }

    pub fn tag(&self, image: &BuiltImage, name: &str) {
        self.home.layout().names().tag(&Reference::parse(name).unwrap(), image.descriptor.clone()).unwrap();
    }

    /// What an image holds beneath a directory: a line of mode, owner and path each, with a link's target or a file's text.
    pub fn tree(&self, image: &BuiltImage, directory: &str) -> String {
        let image = Image::load(self.home.layout(), &image.digest, &Platform::host()).unwrap();
        let list = |root: &Path| {
            let mut lines = Vec::new();
            list_into(&root.join(directory.trim_start_matches('/')), directory, &mut lines);
            lines.join("\n")
        };
        self.engine.with_root_of(&image, list).unwrap()
    }
}

fn list_into(directory: &Path, shown: &str, lines: &mut Vec<String>) {
    use std::os::unix::fs::MetadataExt;
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let meta = entry.path().symlink_metadata().unwrap();
        let path = format!("{}/{}", shown.trim_end_matches('/'), entry.file_name().to_string_lossy());
        let owner = format!("{}:{}", meta.uid(), meta.gid());
        let mode = meta.mode() & 0o7777;
        if meta.is_dir() {
            lines.push(format!("{mode:o} {owner} {path}/"));
            list_into(&entry.path(), &path, lines);
        } else if meta.is_symlink() {
            lines.push(format!("{owner} {path} -> {}", fs::read_link(entry.path()).unwrap().display()));
        } else {
            let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            lines.push(format!("{mode:o} {owner} {path} {:?}", text.trim_end()));
        }
    }
}
