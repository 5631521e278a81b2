//! Where somebody wants an archive: standard output, or a file that is there whole or not at all.

use std::{
    fs::{self, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// What is written to.
pub(crate) enum OutputFile {
    /// Something that has no name to be given at the end: standard output, a pipe, a device.
    Open(Box<dyn Write>),
    /// A file that gets its name when it is whole.
    New { file: BufWriter<NamedTempFile>, path: PathBuf },
}

impl OutputFile {
    /// Opens a file, or standard output for `-`.
    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        if name == "-" { Ok(Self::standard_output()) } else { Self::at(Path::new(name)) }
    }

    pub(crate) fn standard_output() -> Self {
        Self::Open(Box::new(BufWriter::new(io::stdout().lock())))
    }

    /// Opens a file, whatever its name.
    pub(crate) fn at(path: &Path) -> Result<Self, Failure> {
        let failed = || Failure::io("creating", path.display().to_string());
        // What a link leads to is written, and not the link replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            let file = fs::File::options().write(true).open(&path).map_err(failed())?;
            return Ok(Self::Open(Box::new(BufWriter::new(file))));
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(".otoshi-").permissions(Permissions::from_mode(0o666));
        let file = builder.tempfile_in(directory.unwrap_or(Path::new("."))).map_err(failed())?;
        Ok(Self::New { file: BufWriter::new(file), path })
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Open(mut out) => out.flush().map_err(Failure::io("writing", "the output")),
            Self::New { file, path } => {
                let failed = || Failure::io("writing", path.display().to_string());
                let file = file.into_inner().map_err(|error| failed()(error.into_error()))?;
                file.persist(&path).map_err(|error| failed()(error.error))?;
                Ok(())
            }
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(out) => out.write(bytes),
            Self::New { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Open(out) => out.flush(),
            Self::New { file, .. } => file.flush(),
        }
    }
}
