//! A case's context: a copy of its folder, as a checkout on any machine would have it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::case::{Case, DESCRIPTION, EQUIVALENT};
use crate::{
    failure::{Failure, Result},
    process,
};

/// Where the files of a case are while it runs.
pub(super) struct Workplace {
    /// The directory that builders read.
    pub(super) context: PathBuf,
    /// The Dockerfile for the reference alone.
    pub(super) equivalent: Option<PathBuf>,
    directory: PathBuf,
}

impl Workplace {
    /// Copies the folder and makes in it what could not be kept there.
    pub(super) fn prepare(case: &Case, directory: &Path) -> Result<Self> {
        let context = directory.join("context");
        fs::create_dir_all(directory).map_err(Failure::file("making", directory))?;
        copy(&case.folder, &context)?;
        let description = context.join(DESCRIPTION);
        fs::remove_file(&description).map_err(Failure::file("removing", description))?;
        let equivalent = case.has_equivalent().then(|| directory.join(EQUIVALENT));
        if let Some(to) = &equivalent {
            fs::rename(context.join(EQUIVALENT), to).map_err(Failure::file("moving", to))?;
        }
        if let Some(script) = &case.description.prepare {
            let script = format!("set -eu; umask 022\n{script}");
            process::read(Command::new("sh").args(["-c", &script]).current_dir(&context))?;
        }
        Ok(Self { context, equivalent, directory: directory.to_owned() })
    }

    /// A place for a builder's image.
    pub(super) fn archive(&self, builder: &str) -> PathBuf {
        self.directory.join(format!("{builder}.tar"))
    }
}

/// Copies a tree; of the modes only the right to run is kept, as in a repository.
fn copy(from: &Path, to: &Path) -> Result {
    let meta = fs::symlink_metadata(from).map_err(Failure::file("reading", from))?;
    if meta.is_symlink() {
        let target = fs::read_link(from).map_err(Failure::file("reading", from))?;
        return symlink(target, to).map_err(Failure::file("linking", to));
    }
    let mode = if meta.is_dir() || meta.permissions().mode() & 0o100 != 0 { 0o755 } else { 0o644 };
    if meta.is_dir() {
        fs::create_dir(to).map_err(Failure::file("making", to))?;
        for entry in fs::read_dir(from).map_err(Failure::file("listing", from))? {
            let entry = entry.map_err(Failure::file("listing", from))?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::copy(from, to).map_err(Failure::file("copying", from))?;
    }
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .map_err(Failure::file("setting the mode of", to))
}
