//! The form of a record's file: one line that says what it keeps alive, then its body.
//!
//! ```text
//! otoshi-record 2 SUM KIND BODY ROOT…   SUM is the SHA-256 of the rest of the line, BODY that of the body
//! …                                     the body, as the record's type has it; a ROOT is blob=DIGEST or snapshot=NAME
//! ```
//!
//! So a collector reads the first lines alone, whatever types there are. Records of the first form, `otoshi-record 1 BODY`, are read as
//! before; their roots are all texts in their JSON that look like one, as it was before.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use otoshi_oci::Digest;
use serde_json::Value;

use crate::{Kind, Root};

const MAGIC: &str = "otoshi-record 2 ";
const FIRST: &str = "otoshi-record 1 ";
/// The longest first line, in bytes: some 200,000 roots.
const LONGEST: u64 = 16 << 20;
/// How many bytes are read at once: most first lines are shorter.
const STEP: usize = 1 << 10;

/// What the first line says.
enum Head {
    First { sum: String },
    Second { sum: String, roots: Vec<Root> },
}

/// A record's whole file.
pub(crate) fn encode(kind: Kind, roots: &[Root], body: &[u8]) -> Vec<u8> {
    let mut roots: Vec<String> = roots.iter().filter(|root| is_plain(root)).map(Root::to_string).collect();
    roots.sort_unstable();
    roots.dedup();
    let mut said = [kind.directory(), Digest::sha256_of(body).hex()].join(" ");
    for root in roots {
        said.push(' ');
        said.push_str(&root);
    }
    let mut bytes = format!("{MAGIC}{} {said}\n", Digest::sha256_of(said.as_bytes()).hex()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A snapshot with a name that none can have is not there, and cannot be kept.
fn is_plain(root: &Root) -> bool {
    matches!(root, Root::Blob(_)) || Root::parse(&root.to_string()).is_some()
}

/// Reads the body of a record that is whole; one of the second form says of which kind it is.
pub(crate) fn read(path: &Path, kind: Kind) -> Option<Vec<u8>> {
    Some(whole(path, kind)?.1)
}

/// Reads the body of a record that is whole and of the first form.
pub(crate) fn read_first(path: &Path, kind: Kind) -> Option<Vec<u8>> {
    let (head, body) = whole(path, kind)?;
    matches!(head, Head::First { .. }).then_some(body)
}

fn whole(path: &Path, kind: Kind) -> Option<(Head, Vec<u8>)> {
    let mut file = BufReader::with_capacity(STEP, File::open(path).ok()?);
    let head = head(&mut file, kind).or_else(|| noted(path))?;
    let body = body(file, head.sum()).or_else(|| noted(path))?;
    Some((head, body))
}

/// What a record keeps alive; nothing where it is not whole. Of the second form only the first line is read.
pub(crate) fn roots(path: &Path, kind: Kind) -> Vec<Root> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut file = BufReader::with_capacity(STEP, file);
    match head(&mut file, kind) {
        Some(Head::Second { roots, .. }) => roots,
        Some(head) => body(file, head.sum()).map(|body| likely_roots(kind, &body)).unwrap_or_default(),
        None => Vec::new(),
    }
}

impl Head {
    fn sum(&self) -> &str {
        match self {
            Self::First { sum } | Self::Second { sum, .. } => sum,
        }
    }
}

fn noted<T>(path: &Path) -> Option<T> {
    tracing::warn!(path = %path.display(), "ignoring an incomplete record");
    None
}

/// The first line, where its checksum matches and it is of this kind.
fn head(file: &mut impl BufRead, kind: Kind) -> Option<Head> {
    let mut line = String::new();
    file.by_ref().take(LONGEST).read_line(&mut line).ok()?;
    let line = line.strip_suffix('\n')?;
    if let Some(sum) = line.strip_prefix(FIRST) {
        return Some(Head::First { sum: sum.to_owned() });
    }
    let (sum, said) = line.strip_prefix(MAGIC)?.split_once(' ')?;
    if Digest::sha256_of(said.as_bytes()).hex() != sum {
        return None;
    }
    let mut words = said.split(' ');
    if words.next()? != kind.directory() {
        return None;
    }
    let sum = words.next()?.to_owned();
    let roots = words.map(Root::parse).collect::<Option<_>>()?;
    Some(Head::Second { sum, roots })
}

fn body(mut file: impl Read, sum: &str) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    file.read_to_end(&mut body).ok()?;
    (Digest::sha256_of(&body).hex() == sum).then_some(body)
}

/// What a record of the first form keeps alive: every text in it that looks like a name of the store.
fn likely_roots(kind: Kind, body: &[u8]) -> Vec<Root> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let mut found = Vec::new();
    match kind {
        Kind::Layer => {
            let digest = value.pointer("/descriptor/digest").and_then(Value::as_str);
            found.extend(digest.and_then(|digest| digest.parse().ok()).map(Root::Blob));
        }
        Kind::Content | Kind::Origin => {}
        _ => gather(&value, &mut found),
    }
    found
}

fn gather(value: &Value, found: &mut Vec<Root>) {
    match value {
        Value::String(text) if text.starts_with("sha256:") => found.extend(text.parse().map(Root::Blob)),
        Value::String(text) if text.starts_with("step-") || text.starts_with("layer-") => {
            found.extend(crate::SnapshotId::of_name(text).map(Root::Snapshot));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| gather(field, found)),
        _ => {}
    }
}

/// A file of the first form, as tests put it where an earlier version would have.
#[cfg(test)]
pub(crate) fn first_form(body: &[u8]) -> Vec<u8> {
    [format!("{FIRST}{}\n", Digest::sha256_of(body).hex()).as_bytes(), body].concat()
}
