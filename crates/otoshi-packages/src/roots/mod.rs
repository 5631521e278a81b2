//! Root file systems made of a distribution's packages.
//!
//! ```text
//! depends      which packages: those wanted and what they depend on, as apt chooses without recommendations
//! deb          a package's file: its archive of files, and what it says of itself
//! distroless   packages → one layer: files, accounts, and `var/lib/dpkg/status.d`; no shell, no script
//! installed    packages → a directory, as dpkg would leave it, with all its records; scripts run in the sandbox
//!   stages       what is unpacked and configured together, and in which order
//!   unpack       files of packages → the directory; diversions, configuration files, what is in two packages
//!   database     what dpkg has on record of packages that are unpacked
//!   scripts      a command in the new root, in the sandbox
//!   leftovers    what differs each time a root is made, and is taken out
//!   inside       reading and removing files in a root that nobody trusts
//! ```
//!
//! Packages are fetched at the same time, checked against the signed index, and kept by their hash: a new version of one package
//! fetches one file. The same versions give the same bytes.

mod database;
mod deb;
mod depends;
mod distroless;
mod error;
mod inside;
mod installed;
mod leftovers;
mod scripts;
mod stages;
mod unpack;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use otoshi_oci::Digest;

use otoshi_once::hold;

use crate::apt::Available;
use crate::fetch::{Answer, Fetch, Request};

pub use deb::{ControlFile, Deb, DebError};
pub use depends::{Chosen, Dependency, Relation, choose, parse as parse_dependencies};
pub use distroless::{FOR_SCRIPTS, layer};
pub use error::RootError;
use error::named;
pub use installed::{Installation, install};
pub use stages::{Selection, select};

/// How many packages are fetched at the same time.
const PARALLEL: usize = 6;

/// Fetches the files of packages that are not kept in a directory yet, and returns where each is.
///
/// Fails where a package is missing, or does not have the size and hash of the signed index.
pub fn fetch(
    available: &Available,
    chosen: &[Chosen],
    directory: &Path,
    fetch: &dyn Fetch,
) -> Result<Vec<PathBuf>, RootError> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<PathBuf, RootError>>>> =
        Mutex::new(chosen.iter().map(|_| None).collect());
    thread::scope(|scope| {
        for _ in 0..PARALLEL.min(chosen.len()) {
            scope.spawn(|| {
                while let Some((at, one)) = take(&next, chosen) {
                    let result = fetch_one(available, one, directory, fetch);
                    hold(&results)[at] = Some(result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().flatten().collect()
}

fn take<'a>(next: &AtomicUsize, chosen: &'a [Chosen]) -> Option<(usize, &'a Chosen)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, chosen.get(at)?))
}

fn fetch_one(
    available: &Available,
    chosen: &Chosen,
    directory: &Path,
    fetch: &dyn Fetch,
) -> Result<PathBuf, RootError> {
    let record = &chosen.record;
    let failed = |reason: String| RootError::Fetch { package: named(record), reason };
    let good = record.sha256.len() == 64 && record.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !good || record.filename.split('/').any(|part| part == "..") {
        return Err(failed("the index has no hash of it, or no path".to_owned()));
    }
    let path = directory.join(format!("{}.deb", record.sha256));
    if fs::metadata(&path).is_ok_and(|meta| meta.len() == record.size) {
        // Its time says when it was last of use.
        if let Ok(file) = fs::File::options().append(true).open(&path) {
            let _ = file.set_modified(std::time::SystemTime::now());
        }
        return Ok(path);
    }
    let suite =
        available.suites().get(chosen.suite).ok_or_else(|| failed("its repository is gone".to_owned()))?;
    let mut bytes = Vec::with_capacity(usize::try_from(record.size.min(64 << 20)).unwrap_or_default());
    let url = format!("{}{}", suite.uri, record.filename.trim_start_matches("./"));
    let request = Request { url: url.into(), limit: record.size, ..Request::default() };
    match fetch.get(&request, &mut bytes).map_err(|error| failed(error.to_string()))? {
        Answer::Sent(_) => {}
        Answer::Missing | Answer::NotModified => {
            return Err(failed("the repository does not have it".to_owned()));
        }
    }
    if bytes.len() as u64 != record.size {
        return Err(failed(format!("it has {} bytes instead of {}", bytes.len(), record.size)));
    }
    if Digest::sha256_of(&bytes).hex() != record.sha256 {
        return Err(failed("it is not what the signed index says".to_owned()));
    }
    crate::apt::write_kept(&path, &bytes).map_err(|error| RootError::Kept {
        path: path.clone(),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(path)
}
