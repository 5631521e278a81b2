//! Answers that are kept: one file for each, named by what was asked for.
//!
//! ```text
//! the body, then what is known of it (JSON), then the length of that (8 bytes, little-endian), then "otoshi-1"
//! ```
//!
//! A file is written under a temporary name and renamed when it is whole; one whose body does not have its digest is no answer, and
//! goes. When they take more room than they may, those go that were not used for longest.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use http_cache_semantics::CachePolicy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

const MAGIC: &[u8; 8] = b"otoshi-1";
/// How many bytes of a file are read at once.
const STEP: usize = 256 << 10;
/// The most that is known of an answer, in bytes: its headers, mostly.
const LONGEST: u64 = 1 << 20;

/// The directory of kept answers.
#[derive(Debug)]
pub(crate) struct Keep {
    directory: PathBuf,
    most: u64,
    /// How many bytes there are, as far as this process knows; `None` until it has kept an answer.
    total: Mutex<Option<u64>>,
}

/// What is known of a kept answer.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    policy: CachePolicy,
    sha256: [u8; 32],
    size: u64,
}

/// An answer that is there, and whole.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) policy: CachePolicy,
    /// Begins with the body.
    pub(crate) file: File,
    /// Of the body, in bytes.
    pub(crate) size: u64,
    sha256: [u8; 32],
}

/// What is being written.
#[derive(Debug)]
pub(crate) struct Draft {
    file: NamedTempFile,
    hasher: Sha256,
    size: u64,
}

impl Keep {
    pub(crate) fn open(directory: &Path, most: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned(), most, total: Mutex::new(None) })
    }

    /// Where they are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of an answer: of the host and the path, and of whatever else it depends on.
    pub(crate) fn key(parts: &[&[u8]]) -> String {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Looks an answer up; one that is damaged goes.
    pub(crate) fn get(&self, key: &str) -> Option<Kept> {
        let path = self.directory.join(key);
        let file = File::open(&path).ok()?;
        match read(file) {
            Ok(kept) => Some(kept),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a damaged answer is removed");
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Notes that an answer was used.
    pub(crate) fn touch(&self, kept: &Kept) {
        // Only its turn to go depends on it.
        let _ = kept.file.set_modified(SystemTime::now());
    }

    /// Begins an answer; `None` where nothing can be written, which is a matter of speed alone.
    pub(crate) fn draft(&self) -> Option<Draft> {
        let file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.directory);
        let file = file.map_err(|error| tracing::debug!(%error, "an answer cannot be kept")).ok()?;
        Some(Draft { file, hasher: Sha256::new(), size: 0 })
    }

    /// Keeps an answer that is whole.
    pub(crate) fn commit(&self, key: &str, mut draft: Draft, policy: CachePolicy) {
        let known = Known { policy, sha256: draft.hasher.finalize().into(), size: draft.size };
        let written = end(draft.file.as_file_mut(), &known).and_then(|length| {
            draft.file.persist(self.directory.join(key)).map_err(|error| error.error)?;
            Ok(length)
        });
        match written {
            Ok(length) => self.grown(length),
            Err(error) => tracing::debug!(%error, "an answer cannot be kept"),
        }
    }

    /// Takes what a server says anew of an answer that it has not changed.
    pub(crate) fn renew(&self, key: &str, kept: &Kept, policy: CachePolicy) {
        let known = Known { policy, sha256: kept.sha256, size: kept.size };
        let renewed = || -> io::Result<u64> {
            let mut new = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.directory)?;
            let mut old = kept.file.try_clone()?;
            old.seek(SeekFrom::Start(0))?;
            io::copy(&mut old.take(kept.size), new.as_file_mut())?;
            let length = end(new.as_file_mut(), &known)?;
            new.persist(self.directory.join(key)).map_err(|error| error.error)?;
            Ok(length)
        };
        if let Err(error) = renewed() {
            tracing::debug!(%error, "an answer cannot be renewed");
        }
    }

    /// Counts an answer that is there now.
    fn grown(&self, length: u64) {
        let counted = || self.total.lock().unwrap_or_else(PoisonError::into_inner);
        let known = {
            let mut counted = counted();
            *counted = counted.map(|total| total + length);
            *counted
        };
        // Looked at without the lock. What others add meanwhile is counted with the next look.
        let total = known.unwrap_or_else(|| self.files().iter().map(|(_, _, size)| size).sum());
        if total > self.most {
            let left = self.shrink();
            *counted() = Some(left);
        } else if known.is_none() {
            *counted() = Some(total);
        }
    }

    /// Removes what was not used for longest, down to three quarters of what may be there; returns how many bytes are left.
    fn shrink(&self) -> u64 {
        let mut files = self.files();
        files.sort_by_key(|(_, used, _)| *used);
        let mut total: u64 = files.iter().map(|(_, _, size)| size).sum();
        for (path, _, size) in files {
            if total <= self.most / 4 * 3 {
                break;
            }
            if fs::remove_file(&path).is_ok() {
                total -= size;
            }
        }
        total
    }

    /// Every file with when it was used, and its size.
    fn files(&self) -> Vec<(PathBuf, SystemTime, u64)> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let of = |entry: fs::DirEntry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((entry.path(), metadata.modified().ok()?, metadata.len()))
        };
        entries.filter_map(of).collect()
    }
}

impl Draft {
    /// Adds a piece of the body.
    pub(crate) fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.hasher.update(piece);
        self.size += piece.len() as u64;
        self.file.write_all(piece)
    }
}

/// Writes what is known behind the body; returns the length of all.
fn end(file: &mut File, known: &Known) -> io::Result<u64> {
    let text = serde_json::to_vec(known)?;
    file.write_all(&text)?;
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(MAGIC)?;
    Ok(known.size + text.len() as u64 + 16)
}

fn read(mut file: File) -> io::Result<Kept> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.checked_sub(16).ok_or_else(damaged)?))?;
    let mut tail = [0; 16];
    file.read_exact(&mut tail)?;
    let (number, magic) = tail.split_first_chunk::<8>().ok_or_else(damaged)?;
    let known_length = u64::from_le_bytes(*number);
    if magic != MAGIC || known_length > LONGEST {
        return Err(damaged());
    }
    let size = length.checked_sub(16 + known_length).ok_or_else(damaged)?;
    file.seek(SeekFrom::Start(size))?;
    let mut text = Vec::new();
    (&mut file).take(known_length).read_to_end(&mut text)?;
    let known: Known = serde_json::from_slice(&text)?;
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; STEP];
    let mut body = (&mut file).take(size);
    loop {
        match body.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let sha256: [u8; 32] = hasher.finalize().into();
    if known.size != size || known.sha256 != sha256 {
        return Err(damaged());
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(Kept { policy: known.policy, file, size, sha256 })
}

#[cfg(test)]
mod tests {
    use hyper::{Request, Response};

    use super::*;

    fn policy() -> CachePolicy {
        let response = Response::builder().header("cache-control", "max-age=60").body(()).unwrap();
        CachePolicy::new(&Request::builder().uri("/a").body(()).unwrap(), &response)
    }

    fn put(keep: &Keep, key: &str, body: &[u8]) {
        let mut draft = keep.draft().unwrap();
        draft.add(body).unwrap();
        keep.commit(key, draft, policy());
    }

    fn body(kept: Kept) -> Vec<u8> {
        let mut bytes = Vec::new();
        kept.file.take(kept.size).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_was_kept_is_there_and_what_is_damaged_goes() {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep::open(directory.path(), 1 << 20).unwrap();
        let key = Keep::key(&[b"deb.debian.org", b"/a"]);
        assert!(keep.get(&key).is_none());
        put(&keep, &key, b"content");
        assert_eq!(body(keep.get(&key).unwrap()), b"content");
        keep.renew(&key, &keep.get(&key).unwrap(), policy());
        assert_eq!(body(keep.get(&key).unwrap()), b"content");

        let path = directory.path().join(&key);
        let whole = fs::read(&path).unwrap();
        for damaged in
            [&whole[..whole.len() - 1], &whole[..3], &[], &[b"C", &whole[1..]].concat(), &whole[1..]]
        {
            fs::write(&path, damaged).unwrap();
            assert!(keep.get(&key).is_none() && !path.exists());
        }
    }

    #[test]
    fn hosts_and_paths_do_not_run_into_each_other() {
        assert_ne!(Keep::key(&[b"a", b"/b"]), Keep::key(&[b"a/", b"b"]));
        assert_ne!(Keep::key(&[b"a.test", b"/B"]), Keep::key(&[b"a.test", b"/b"]));
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep::open(directory.path(), 40_000).unwrap();
        let long_ago = SystemTime::now() - std::time::Duration::from_secs(9000);
        for number in 0..5 {
            put(&keep, &format!("{number}"), &[number; 7000]);
            let file = File::options().append(true).open(directory.path().join(format!("{number}"))).unwrap();
            file.set_modified(long_ago + std::time::Duration::from_secs(u64::from(number))).unwrap();
        }
        keep.touch(&keep.get("0").unwrap());
        put(&keep, "5", &[5; 7000]);
        let there: Vec<bool> = (0..6).map(|number| keep.get(&number.to_string()).is_some()).collect();
        assert!(there[0] && there[5] && !there[1], "{there:?}");
        let total: u64 = keep.files().iter().map(|(_, _, size)| size).sum();
        assert!(total <= 40_000, "{total}");
        // What another process left is counted.
        let later = Keep::open(directory.path(), 40_000).unwrap();
        put(&later, "6", b"small");
        let with_small: u64 = later.files().iter().map(|(_, _, size)| size).sum();
        assert!(with_small > total && later.total.into_inner().unwrap() == Some(with_small));
    }
}
