//! What is installed, as `apk convdb` writes it.
//!
//! ```text
//! idb      1 packages, each a block in a blob
//! block    its root: 1 what an index says of a package
//! ```

use super::block::Block;
use super::file::{Adb, INSTALLED, block};
use super::index::Texts;
use crate::apk::index::Record;

const PACKAGES: usize = 1;
const INFORMATION: usize = 1;

/// Reads packages of a database, at most so many; fails with the reason where it is none or damaged.
pub(crate) fn packages(bytes: &[u8], most: usize) -> Result<Vec<Record>, String> {
    let adb = Adb::open(bytes)?;
    let root = adb.root(INSTALLED)?;
    let Some(packages) = root.object(PACKAGES) else { return Ok(Vec::new()) };
    let mut texts = Texts::default();
    (1..=packages.len().min(most))
        .map(|slot| {
            let Some((0, package, _)) = packages.blob(slot).and_then(block) else {
                return Err("a package in it is no block of objects".to_owned());
            };
            let root = Block::new(package)?.root();
            let information = root.and_then(|root| root.object(INFORMATION));
            texts.record(information.ok_or("nothing is said of a package in it")?)
        })
        .collect()
}
