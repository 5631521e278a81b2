//! A file's data copied to a new file: shared where the file system can, else run by run, so that holes stay holes.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt, path::Path};

use crate::EngineError;
use rustix::{
    fs::{OFlags, SeekFrom, copy_file_range, ioctl_ficlone, seek},
    io::Errno,
};

/// Copies the data of a regular file to a new file, which only its owner may read and write.
///
/// Fails where the source is no regular file, a link included, and where something has the target's name. Neither mode nor owner nor
/// times are copied.
pub(crate) fn copy(source: &Path, target: &Path) -> Result<(), EngineError> {
    let reading = || EngineError::io("reading", source);
    let writing = || EngineError::io("writing", target);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let from = File::options().read(true).custom_flags(flags).open(source).map_err(reading())?;
    let meta = from.metadata().map_err(reading())?;
    if !meta.is_file() {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        return Err(reading()(reason));
    }
    let into = File::options().write(true).create_new(true).mode(0o600).open(target).map_err(writing())?;
    if ioctl_ficlone(&into, &from).is_ok() {
        return Ok(());
    }
    into.set_len(meta.len()).map_err(writing())?;
    let mut at = 0;
    while at < meta.len() {
        let start = match seek(&from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // The rest is a hole.
            Err(Errno::NXIO) => break,
            // A file system that knows of no holes.
            Err(Errno::INVAL) => at,
            Err(error) => return Err(reading()(error.into())),
        };
        let end = match seek(&from, SeekFrom::Hole(start)) {
            Ok(end) => end.min(meta.len()),
            Err(Errno::INVAL | Errno::NXIO) => meta.len(),
            Err(error) => return Err(reading()(error.into())),
        };
        run(&from, &into, start, end).map_err(writing())?;
        at = end.max(start + 1);
    }
    Ok(())
}

/// Copies the bytes from `start` to `end`; a file that became shorter ends there.
fn run(from: &File, into: &File, mut start: u64, end: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    while start < end {
        let (mut read, mut written) = (start, start);
        let length = usize::try_from(end - start).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(from, Some(&mut read), into, Some(&mut written), length) {
            Ok(0) => break,
            Ok(count) => start += count as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                let mut buffer = vec![0; 256 << 10];
                while start < end {
                    let wanted = usize::try_from(end - start).unwrap_or(usize::MAX).min(buffer.len());
                    let count = from.read_at(&mut buffer[..wanted], start)?;
                    if count == 0 {
                        return Ok(());
                    }
                    into.write_all_at(&buffer[..count], start)?;
                    start += count as u64;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt, symlink};

    use super::*;

    #[test]
    fn holes_stay_holes_and_only_files_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("from"), dir.path().join("into"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        for at in [0, 20 << 20, (64 << 20) - 3] {
            file.write_all_at(b"abc", at).unwrap();
        }
        copy(&from, &into).unwrap();
        assert!(std::fs::read(&from).unwrap() == std::fs::read(&into).unwrap());
        let blocks = |path: &Path| std::fs::metadata(path).unwrap().blocks();
        assert!(blocks(&into) <= blocks(&from) + 64, "{} of {}", blocks(&into), blocks(&from));
        let error = copy(&from, &into).unwrap_err();
        assert_eq!(error.system_error(), Some(Errno::EXIST.raw_os_error()), "{error}");
        symlink(&from, dir.path().join("link")).unwrap();
        assert!(copy(&dir.path().join("link"), &dir.path().join("new")).is_err());
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(
            copy(&dir.path().join("pipe"), &dir.path().join("new")).is_err(),
            "nobody waits for a writer"
        );
    }
}
