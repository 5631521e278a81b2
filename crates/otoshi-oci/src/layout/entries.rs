//! What `index.json` lists, and which file that was read from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use oci_spec::image::Descriptor;

use super::files::REF_NAME;
use crate::reference::Reference;

/// The entries of an index, and where each is.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) list: Vec<Descriptor>,
    pub(super) by_name: HashMap<Reference, usize>,
    pub(super) by_digest: HashMap<String, usize>,
}

/// The entries that were read last, and the file that they were read from.
pub(super) type Read = Arc<Mutex<Option<(Stamp, Arc<Entries>)>>>;

/// Tells one `index.json` from another: a new one is another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) file: (u64, u64),
    pub(super) size: u64,
    pub(super) changed: (i64, i64),
}

impl Stamp {
    /// Whether a file with another content would have another stamp: clocks of file systems tick a few hundred times a second, and
    /// the number of a file that went may be given to the next.
    pub(super) fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::new(self.changed.0.max(0).unsigned_abs(), self.changed.1 as u32);
        now.saturating_sub(changed) > Duration::from_millis(100)
    }
}

impl Entries {
    pub(super) fn new(list: Vec<Descriptor>) -> Self {
        let mut entries = Self { list, ..Self::default() };
        for (at, entry) in entries.list.iter().enumerate() {
            entries.by_digest.entry(entry.digest().to_string()).or_insert(at);
            if let Some(reference) = reference_of(entry) {
                entries.by_name.entry(reference).or_insert(at);
            }
        }
        entries
    }
}

/// Returns the name that an entry carries.
pub(super) fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotations().as_ref()?.get(REF_NAME).map(String::as_str)
}

pub(super) fn reference_of(entry: &Descriptor) -> Option<Reference> {
    Reference::parse(name_of(entry)?).ok()
}
