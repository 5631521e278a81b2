//! What differs between two images: their configs key by key, and their files.
//!
//! Layers are read as streams and never unpacked, and nothing in them is run. Of a file its digest is kept, not its content.
//! Layers that both images begin with are read at most once, and only where the layers above do not say all; of their entries
//! those count that a layer above covers in one of the images. Times are not compared.

mod cause;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use self::tree::File;
use crate::contents::{Contents, Node};
use crate::image::Image;
use crate::layer::LayerError;
use crate::layout::Layout;
use crate::tar;

/// Says what differs between an old and a new image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Keys of the config, as `config.Env.PATH` or `history[0].created_by`, sorted.
    pub config: Vec<Changed>,
    /// Files, sorted by path.
    pub files: Vec<ChangedFile>,
}

impl Diff {
    /// Says whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.config.is_empty() && self.files.is_empty()
    }
}

/// Describes a named value that differs; one that an image lacks is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// What it is called.
    pub name: String,
    /// Its value in the old image.
    pub old: Option<String>,
    /// Its value in the new image.
    pub new: Option<String>,
}

/// Describes a file that differs; one that an image lacks is there on the other side alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedFile {
    /// Its path, which begins with `/`; bytes that are no text are escaped.
    pub path: String,
    /// What differs; empty where it was added or removed.
    pub what: Vec<Changed>,
    /// Says which images have it.
    pub change: Change,
    /// What such a file is known to hold that differs each time it is made, such as a time; by its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
}

/// Says how a file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the new image has it.
    Added,
    /// Only the old image has it.
    Removed,
    /// Both have it.
    Changed,
}

/// Compares two images whose layers are in the layout.
///
/// Fails where a layer is not in the layout, is not what the config says, or has more entries than are compared; the error names it.
pub fn compare(layout: &Layout, old: &Image, new: &Image) -> Result<Diff, LayerError> {
    let config = changes(&keys(old), &keys(new));
    let (of_old, of_new) = (old.layers(), new.layers());
    let common = of_old.iter().zip(of_new).take_while(|(a, b)| a.diff_id == b.diff_id).count();
    let (mut left, mut right) = (Contents::default(), Contents::default());
    for (side, layers) in [(&mut left, of_old), (&mut right, of_new)] {
        for layer in layers[common..].iter().rev() {
            side.below(tree::read(layout, layer)?);
        }
    }
    // What lies below counts for neither image, or in the same way for both, where these are equal.
    if left.cover() != right.cover() || !left.files().keys().eq(right.files().keys()) {
        let (a, b) = (left.cover().clone(), right.cover().clone());
        let counts = |path: &[u8]| a.touches(path) || b.touches(path);
        for layer in of_old[..common].iter().rev() {
            let layer = tree::read(layout, layer)?;
            left.below_where(layer.clone(), counts);
            right.below_where(layer, counts);
        }
    }
    Ok(Diff { config, files: files(left.files(), right.files()) })
}

fn changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Changed> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let both = names.into_iter().map(|name| (name, old.get(name).cloned(), new.get(name).cloned()));
    both.filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| Changed { name: name.clone(), old, new })
        .collect()
}

fn files(old: &BTreeMap<Vec<u8>, Node<File>>, new: &BTreeMap<Vec<u8>, Node<File>>) -> Vec<ChangedFile> {
    let paths: BTreeSet<&Vec<u8>> = old.keys().chain(new.keys()).collect();
    let mut changed = Vec::new();
    for path in paths {
        let (change, what) = match (old.get(path), new.get(path)) {
            (Some(old), Some(new)) if old == new => continue,
            (Some(old), Some(new)) => (Change::Changed, changes(&tree::facts(old), &tree::facts(new))),
            (None, _) => (Change::Added, Vec::new()),
            (_, None) => (Change::Removed, Vec::new()),
        };
        let path = format!("/{}", tar::display(path));
        changed.push(ChangedFile { cause: cause::cause(&path), path, what, change });
    }
    changed
}

/// The config as a flat list: an object's key after a point, a list's place in brackets, a variable by its name.
fn keys(image: &Image) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    // It was parsed when the image was loaded.
    let config: Value = serde_json::from_slice(&image.config_bytes).unwrap_or_default();
    flatten("", &config, &mut keys);
    keys
}

fn flatten(key: &str, value: &Value, keys: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            let point = if key.is_empty() { "" } else { "." };
            for (name, value) in object {
                flatten(&format!("{key}{point}{name}"), value, keys);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (place, value) in list.iter().enumerate() {
                match value.as_str().and_then(|text| text.split_once('=')) {
                    Some((name, value)) if key == "config.Env" => {
                        keys.insert(format!("{key}.{name}"), value.to_owned());
                    }
                    _ => flatten(&format!("{key}[{place}]"), value, keys),
                }
            }
        }
        Value::String(text) => {
            keys.insert(key.to_owned(), text.clone());
        }
        other => {
            keys.insert(key.to_owned(), other.to_string());
        }
    }
}
