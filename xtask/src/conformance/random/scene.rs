//! What two builders are given: a context, an ignore file, a Dockerfile, flags. Made of small things that can be left out.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use crate::failure::{Failure, Result};

/// One object of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) path: String,
    pub(super) kind: Kind,
}

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File {
        mode: u32,
        text: String,
    },
    Directory {
        mode: u32,
    },
    Symlink {
        target: String,
    },
    /// Another name of an earlier file.
    HardLink {
        of: String,
    },
}

/// A thing to build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scene {
    pub(super) objects: Vec<Object>,
    /// The lines of `.dockerignore`; no file where there are none.
    pub(super) ignore: Vec<String>,
    /// The instructions of the Dockerfile.
    pub(super) lines: Vec<String>,
    pub(super) flags: Vec<String>,
}

impl Scene {
    /// Writes all of it into a new directory.
    pub(super) fn write(&self, directory: &Path) -> Result {
        fs::create_dir_all(directory).map_err(Failure::file("making", directory))?;
        for object in &self.objects {
            let path = directory.join(&object.path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(Failure::file("making", parent))?;
            }
            let made = match &object.kind {
                Kind::File { text, .. } => fs::write(&path, text),
                Kind::Directory { .. } => fs::create_dir_all(&path),
                Kind::Symlink { target } => symlink(target, &path),
                // What it names may have been left out.
                Kind::HardLink { of } if directory.join(of).is_file() => {
                    fs::hard_link(directory.join(of), &path)
                }
                Kind::HardLink { .. } => Ok(()),
            };
            made.map_err(Failure::file("making", &path))?;
        }
        for object in &self.objects {
            if let Kind::File { mode, .. } | Kind::Directory { mode } = object.kind {
                let path = directory.join(&object.path);
                let modes = fs::Permissions::from_mode(mode);
                fs::set_permissions(&path, modes).map_err(Failure::file("setting the mode of", &path))?;
            }
        }
        if !self.ignore.is_empty() {
            let path = directory.join(".dockerignore");
            fs::write(&path, self.ignore.join("\n") + "\n").map_err(Failure::file("writing", path))?;
        }
        let path = directory.join("Dockerfile");
        fs::write(&path, self.lines.join("\n") + "\n").map_err(Failure::file("writing", path))
    }

    /// Every scene that is a little smaller, those that lack most first.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        // Half of the lines, a line, an object, a pattern, a flag, a word of a line.
        for size in [self.lines.len() / 2, self.lines.len() / 4, 1] {
            if size > 0 {
                for start in (0..self.lines.len()).step_by(size) {
                    let mut scene = self.clone();
                    scene.lines.drain(start..(start + size).min(self.lines.len()));
                    found.push(scene);
                }
            }
        }
        let without = |count: usize, remove: &dyn Fn(&mut Self, usize)| -> Vec<Self> {
            (0..count)
                .map(|index| {
                    let mut scene = self.clone();
                    remove(&mut scene, index);
                    scene
                })
                .collect()
        };
        found.extend(without(self.objects.len(), &|scene, index| _ = scene.objects.remove(index)));
        found.extend(without(self.ignore.len(), &|scene, index| _ = scene.ignore.remove(index)));
        found.extend(without(self.flags.len(), &|scene, index| _ = scene.flags.remove(index)));
        for (line, text) in self.lines.iter().enumerate() {
            let words: Vec<&str> = text.split(' ').collect();
            // Of a command only the flags before it: another command is another scene.
            let is_run = words[0] == "RUN";
            for word in (1..words.len()).filter(|word| !is_run || words[*word].starts_with("--mount")) {
                let mut scene = self.clone();
                let mut kept = words.clone();
                kept.remove(word);
                scene.lines[line] = kept.join(" ");
                found.push(scene);
            }
        }
        found.retain(|scene| !scene.lines.is_empty());
        found
    }

    /// All of it, for people.
    pub(super) fn shown(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text += &format!("    {line}\n");
        }
        for object in &self.objects {
            let kind = match &object.kind {
                Kind::File { mode, text } => format!("file {mode:04o} {text:?}"),
                Kind::Directory { mode } => format!("directory {mode:04o}"),
                Kind::Symlink { target } => format!("link to {target}"),
                Kind::HardLink { of } => format!("the same file as {of}"),
            };
            text += &format!("    context: {:?} {kind}\n", object.path);
        }
        for pattern in &self.ignore {
            text += &format!("    .dockerignore: {pattern:?}\n");
        }
        if !self.flags.is_empty() {
            text += &format!("    flags: {}\n", self.flags.join(" "));
        }
        text
    }
}
