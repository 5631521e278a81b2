//! What a command gets of its devices: variables, device files, parts of the host's tree, groups.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use otoshi_oci::{Fields, json};
use otoshi_sandbox::{self as sandbox, Access, DeviceKind, Limits};

use super::{
    description::{Edits, HostMount, Node},
    host::Found,
};
use crate::EngineError;

/// What a command gets of all its devices.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    env: Vec<(String, String)>,
    files: Vec<DeviceFile>,
    pub(crate) mounts: Vec<sandbox::Mount>,
    pub(crate) groups: Vec<u32>,
}

/// A device file; one that has no owner belongs to the command's user.
#[derive(Debug, Clone)]
struct DeviceFile {
    device: sandbox::Device,
    owner: (Option<u32>, Option<u32>),
}

/// Adds devices to a step's key: their names, and all that their descriptions change of a container.
pub(super) fn counted(key: Fields, found: &[Found]) -> serde_json::Result<Fields> {
    let mut key = key.text("devices 1").number(found.len() as u64);
    for found in found {
        key = key.text(&found.name);
        let (all, own) = found.edits();
        for edits in [all, own] {
            key = key.option(Some(json::canonical(edits)?));
        }
    }
    Ok(key)
}

impl Given {
    /// What devices change of a container: first what all of a file do, once, then each.
    ///
    /// Fails where a device asks for what Otoshi does not do, and where the host lacks a device file.
    pub(super) fn of(found: &[Found]) -> Result<Self, EngineError> {
        let mut given = Self::default();
        for (index, device) in found.iter().enumerate() {
            let (all, own) = device.edits();
            let is_first = !found[..index].iter().any(|other| other.is_with(device));
            for edits in is_first.then_some(all).into_iter().chain([own]) {
                given.add(device, edits)?;
            }
        }
        // What lies higher comes first, as nothing may be covered.
        given.mounts.sort_by_key(|mount| mount.target().split('/').filter(|part| !part.is_empty()).count());
        Ok(given)
    }

    fn add(&mut self, found: &Found, edits: &Edits) -> Result<(), EngineError> {
        refuse_unsupported(found, edits)?;
        for variable in &edits.env {
            if let Some((name, value)) = variable.split_once('=') {
                set(&mut self.env, name, value);
            }
        }
        for node in &edits.device_nodes {
            let file =
                device_file(node).map_err(|reason| wrong(found, &format!("{}: {reason}", node.path)))?;
            self.files.retain(|other| other.device.target != file.device.target);
            self.files.push(file);
        }
        for mount in &edits.mounts {
            let mounted = mounted(mount).map_err(|reason| wrong(found, &reason))?;
            self.mounts.retain(|other| other.target() != mounted.target());
            self.mounts.push(mounted);
        }
        self.groups.extend(edits.additional_gids.iter().filter(|group| **group != 0));
        Ok(())
    }

    /// Sets the variables, in the place of those that are there.
    pub(crate) fn set_env(&self, env: &mut Vec<(String, String)>) {
        for (name, value) in &self.env {
            set(env, name, value);
        }
    }

    /// The device files for a command of this user and group.
    pub(crate) fn files(&self, uid: u32, gid: u32) -> Vec<sandbox::Device> {
        let owned = |file: &DeviceFile| sandbox::Device {
            uid: file.owner.0.unwrap_or(uid),
            gid: file.owner.1.unwrap_or(gid),
            ..file.device.clone()
        };
        self.files.iter().map(owned).collect()
    }
}

fn set(env: &mut Vec<(String, String)>, name: &str, value: &str) {
    match env.iter_mut().rfind(|(set, _)| set == name) {
        Some((_, old)) => value.clone_into(old),
        None => env.push((name.to_owned(), value.to_owned())),
    }
}

fn wrong(found: &Found, reason: &str) -> EngineError {
    EngineError::invalid(format!("the device {} in {}: {reason}", found.name, found.path().display()))
}

fn refuse_unsupported(found: &Found, edits: &Edits) -> Result<(), EngineError> {
    let what = if let Some(hook) = edits.hooks.first() {
        format!("it wants the hook {} to run {} on this machine", hook.hook_name, hook.path)
    } else if let Some(net) = edits.net_devices.first() {
        format!("it wants the network device {}", net.host_interface_name)
    } else if edits.intel_rdt.is_some() {
        "it wants `intelRdt`".to_owned()
    } else {
        return Ok(());
    };
    Err(EngineError::Invalid {
        message: format!("the device {} in {}: {what}", found.name, found.path().display()),
        hint: Some("Otoshi gives steps the variables, device files, mounts and groups of a device; what else it needs, the step must do itself".into()),
    })
}

/// What a device node stands for; what it does not say is that of the host's file.
///
/// Source: `fillMissingInfo` of the specification's own implementation, and runc.
fn device_file(node: &Node) -> Result<DeviceFile, String> {
    let source = PathBuf::from(if node.host_path.is_empty() { &node.path } else { &node.host_path });
    let is_whole = node.kind == "p" || !node.kind.is_empty() && node.major != 0;
    let (kind, mode) = match host_file(&source) {
        Ok((kind, mode)) => (Some(kind), Some(mode)),
        Err(_) if is_whole => (None, None),
        Err(reason) => return Err(format!("{}: {reason}", source.display())),
    };
    let numbers = |of_host: (u32, u32)| if node.major == 0 { of_host } else { (node.major, node.minor) };
    let kind = match (node.kind.as_str(), kind) {
        ("p", _) => DeviceKind::Fifo,
        ("c" | "u", _) if is_whole => DeviceKind::Character(node.major, node.minor),
        ("b", _) if is_whole => DeviceKind::Block(node.major, node.minor),
        ("" | "c" | "u", Some(DeviceKind::Character(major, minor))) => {
            let (major, minor) = numbers((major, minor));
            DeviceKind::Character(major, minor)
        }
        ("" | "b", Some(DeviceKind::Block(major, minor))) => {
            let (major, minor) = numbers((major, minor));
            DeviceKind::Block(major, minor)
        }
        ("", Some(DeviceKind::Fifo)) => DeviceKind::Fifo,
        (kind, _) => return Err(format!("{} is not of type {kind:?}", source.display())),
    };
    let may = |letter| {
        node.permissions.is_empty() || node.permissions != "none" && node.permissions.contains(letter)
    };
    let device = sandbox::Device {
        target: node.path.clone(),
        source,
        kind,
        mode: node.file_mode.or(mode).unwrap_or(0o666) & 0o777,
        uid: 0,
        gid: 0,
        access: Access { read: may('r'), write: may('w'), make: may('m') },
    };
    Ok(DeviceFile { device, owner: (node.uid, node.gid) })
}

/// What a file of the host is, and its mode.
fn host_file(path: &Path) -> Result<(DeviceKind, u32), String> {
    let meta = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    let numbers = || (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    let kind = meta.file_type();
    let kind = if kind.is_char_device() {
        let (major, minor) = numbers();
        DeviceKind::Character(major, minor)
    } else if kind.is_block_device() {
        let (major, minor) = numbers();
        DeviceKind::Block(major, minor)
    } else if kind.is_fifo() {
        DeviceKind::Fifo
    } else {
        return Err("it is not a device file".to_owned());
    };
    Ok((kind, meta.mode() & 0o7777))
}

/// A mount as the sandbox has it; options that only matter for what others mount later count for nothing.
fn mounted(mount: &HostMount) -> Result<sandbox::Mount, String> {
    let target = mount.container_path.clone();
    let has = |option: &str| mount.options.iter().any(|other| other == option);
    match mount.kind.as_str() {
        "" | "none" | "bind" => {
            let source = PathBuf::from(&mount.host_path);
            if let Err(error) = fs::metadata(&source) {
                return Err(format!("{}: {error}", source.display()));
            }
            let limits = Limits {
                read_only: has("ro"),
                no_suid: has("nosuid"),
                no_exec: has("noexec"),
                no_dev: has("nodev"),
                shallow: has("bind") && !has("rbind"),
            };
            Ok(sandbox::Mount::Bind { source, target, limits })
        }
        "tmpfs" => {
            let value = |name: &str| {
                let values = mount.options.iter().filter_map(|option| option.split_once('='));
                values.into_iter().rfind(|(key, _)| *key == name).map(|(_, value)| value)
            };
            let wrong = |name: &str| format!("{target}: the option {name} of a tmpfs is not a number");
            let size = value("size").map(|text| bytes(text).ok_or_else(|| wrong("size"))).transpose()?;
            let mode = value("mode").map(|text| u32::from_str_radix(text, 8).map_err(|_| wrong("mode")));
            let mode = mode.transpose()?.unwrap_or(0o1777);
            Ok(sandbox::Mount::Tmpfs { target, size, mode })
        }
        other => Err(format!("{target}: a mount of type {other:?} is not supported")),
    }
}

/// A size as tmpfs has it: `64k`, `1m`, `2g` or a number of bytes.
fn bytes(text: &str) -> Option<u64> {
    let (digits, power) = match text.char_indices().next_back()? {
        (end, 'k' | 'K') => (&text[..end], 10),
        (end, 'm' | 'M') => (&text[..end], 20),
        (end, 'g' | 'G') => (&text[..end], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << power)
}
