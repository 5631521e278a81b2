//! What differs between two images, and between an image and what the documentation promises.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::image::{Image, Node};

/// The settings that are compared: those below `config`, then those beside it.
const SETTINGS: [&str; 12] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "OnBuild",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];
const TOP: [&str; 4] = ["architecture", "author", "os", "variant"];

/// Places of the kernel's file systems: BuildKit leaves them in the layer of a RUN whose base lacks them, and Otoshi does not.
const KERNELS: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Extended attributes that Docker keeps in layers; it drops all others, and Otoshi does not.
const XATTRS: [&str; 1] = ["security.capability"];

/// A setting; what is empty is not there.
pub(super) fn setting(image: &Image, name: &str) -> Option<Value> {
    let place = if TOP.contains(&name) { &image.config } else { &image.config["config"] };
    Some(place[name].clone()).filter(|value| !is_empty(value))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Those of some places that are copies of the kernel's: what every BuildKit leaves.
pub(super) fn of_kernels(places: &[String]) -> Vec<String> {
    let is_copy = |place: &&String| KERNELS.iter().any(|kernels| place.ends_with(kernels));
    places.iter().filter(is_copy).cloned().collect()
}

/// Every difference between an image and that of the reference, one a line.
///
/// `left_over` are places of mounts, empty in the reference's image, that must not be in ours.
pub(super) fn differences(
    ours: &Image,
    theirs: &Image,
    reference: &str,
    left_over: &[String],
) -> Vec<String> {
    let mut found = Vec::new();
    for name in SETTINGS.into_iter().chain(TOP) {
        let (our, their) = (setting(ours, name), setting(theirs, name));
        if our != their {
            found.push(format!(
                "{name}: {}; with {reference}: {}",
                shown(our.as_ref()),
                shown(their.as_ref())
            ));
        }
    }
    let paths: BTreeSet<&String> = ours.tree.keys().chain(theirs.tree.keys()).collect();
    for path in paths {
        let (our, their) = (ours.tree.get(path).map(comparable), theirs.tree.get(path).map(comparable));
        if (left_over.contains(path) || KERNELS.contains(&path.as_str()))
            && our.is_none()
            && their.as_ref().is_some_and(|node| node.kind.is_empty())
        {
            continue;
        }
        if our != their {
            let show =
                |node: Option<Node>| node.map_or_else(|| "nothing".to_owned(), |node| node.to_string());
            found.push(format!("{path}: {}; with {reference}: {}", show(our), show(their)));
        }
    }
    let stale =
        left_over.iter().filter(|path| ours.tree.contains_key(*path) || !theirs.tree.contains_key(*path));
    found.extend(stale.map(|path| format!("{path}: {reference} alone leaves nothing there; see left_over")));
    found
}

fn comparable(node: &Node) -> Node {
    let mut node = node.clone();
    node.xattrs.retain(|name, _| XATTRS.contains(&name.as_str()));
    node
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}

/// Every promise that an image does not keep, one a line.
///
/// `files` has lines as [`Node`] shows them, each after its path; `- PATH` says that nothing is there.
pub(super) fn broken_promises(
    image: &Image,
    config: Option<&Map<String, Value>>,
    files: &str,
    complete: &[String],
) -> Vec<String> {
    let mut found = Vec::new();
    for (name, promised) in config.into_iter().flatten() {
        let promised = Some(promised.clone()).filter(|value| !is_empty(value));
        let actual = setting(image, name);
        if actual != promised {
            found.push(format!(
                "{name}: {}; documented: {}",
                shown(actual.as_ref()),
                shown(promised.as_ref())
            ));
        }
    }
    let lines = image.tree.iter().map(|(path, node)| (path, format!("{path} {}", comparable(node))));
    let lines: Vec<(&String, String)> = lines.collect();
    let promised: Vec<&str> = files.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for line in &promised {
        if let Some(path) = line.strip_prefix("- ") {
            if let Some((_, actual)) = lines.iter().find(|(other, _)| *other == path) {
                found.push(format!("{actual}; documented: nothing"));
            }
        } else if !lines.iter().any(|(_, actual)| actual == line) {
            let same_path = lines.iter().rfind(|(path, _)| line.starts_with(&format!("{path} ")));
            let actual = same_path.map_or("nothing", |(_, actual)| actual);
            found.push(format!("{actual}; documented: {line}"));
        }
    }
    for directory in complete {
        for (path, actual) in &lines {
            let below = path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'));
            if below && !promised.contains(&actual.as_str()) {
                found.push(format!("{actual}; documented: no more in {directory}"));
            }
        }
    }
    found
}
