//! Where somebody wants an archive: standard output, or a file that is there whole or not at all.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::Path,
};

use otoshi_tree::{Lasting, NewFile};

use crate::failure::Failure;

/// What is written to.
pub(crate) enum OutputFile {
    /// Something that has no name to be given at the end: standard output, a pipe, a device.
    Open(Box<dyn Write>),
    /// A file that gets its name when it is whole.
    New(BufWriter<NewFile>),
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
        let file = NewFile::beside(&path).map_err(failed())?;
        Ok(Self::New(BufWriter::new(file)))
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Open(mut out) => out.flush().map_err(Failure::io("writing", "the output")),
            Self::New(file) => {
                let shown = file.get_ref().path().display().to_string();
                let failed = || Failure::io("writing", shown.clone());
                let file = file.into_inner().map_err(|error| failed()(error.into_error()))?;
                // It can be written again from the store, and has the digests of what it holds.
                file.place(Lasting::Cached).map_err(failed())
            }
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(out) => out.write(bytes),
            Self::New(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Open(out) => out.flush(),
            Self::New(file) => file.flush(),
        }
    }
}
