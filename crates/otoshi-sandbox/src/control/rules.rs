//! The list of devices that a command may use.

use crate::{Access, Capabilities, DeviceKind, Spec};

/// One line of the list: what may be done with which devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// Whether it is about block devices, or character devices.
    pub(super) is_block: bool,
    /// Any where there is no number.
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: Access,
}

const ALL: Access = Access { read: true, write: true, make: true };
const MAKE: Access = Access { read: false, write: false, make: true };

/// What every container may use: null, zero, full, random, urandom, tty, console, ptmx; and all terminals of `/dev/pts`.
///
/// Source: the lists of runc and of Docker, <https://github.com/opencontainers/runc/blob/main/libcontainer/specconv/spec_linux.go>.
const USUAL: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Whether a command may use every device.
pub(super) fn is_everything(spec: &Spec) -> bool {
    spec.capabilities == Capabilities::All
}

/// The list for a command.
pub(super) fn of(spec: &Spec) -> Vec<Rule> {
    let any = |access| [false, true].map(|is_block| Rule { is_block, major: None, minor: None, access });
    if is_everything(spec) {
        return any(ALL).into();
    }
    let usual = USUAL.map(|(major, minor)| Rule { is_block: false, major: Some(major), minor, access: ALL });
    let given = spec.devices.iter().filter_map(|device| {
        let (is_block, major, minor) = match device.kind {
            DeviceKind::Character(major, minor) => (false, major, minor),
            DeviceKind::Block(major, minor) => (true, major, minor),
            DeviceKind::Fifo => return None,
        };
        Some(Rule { is_block, major: Some(major), minor: Some(minor), access: device.access })
    });
    any(MAKE).into_iter().chain(usual).chain(given).collect()
}

/// The list as a group of the `devices` controller takes it, line by line, after all was forbidden.
///
/// Format: <https://docs.kernel.org/admin-guide/cgroup-v1/devices.html>.
pub(super) fn lines(rules: &[Rule]) -> impl Iterator<Item = String> {
    rules.iter().filter_map(line)
}

fn line(rule: &Rule) -> Option<String> {
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let Access { read, write, make } = rule.access;
    let allowed: String = [(read, 'r'), (write, 'w'), (make, 'm')]
        .into_iter()
        .filter_map(|(is_allowed, letter)| is_allowed.then_some(letter))
        .collect();
    let kind = if rule.is_block { 'b' } else { 'c' };
    let is_some = !allowed.is_empty();
    is_some.then(|| format!("{kind} {}:{} {allowed}", number(rule.major), number(rule.minor)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{Device, Root};

    fn spec() -> Spec {
        Spec::new(Root::Dir(PathBuf::new()))
    }

    #[test]
    fn the_list_is_that_of_every_container_and_what_is_given() {
        let device = Device {
            target: "/dev/disk".into(),
            source: PathBuf::new(),
            kind: DeviceKind::Block(8, 1),
            mode: 0o600,
            uid: 0,
            gid: 0,
            access: Access { read: true, ..Access::default() },
        };
        let shut =
            Device { kind: DeviceKind::Character(10, 229), access: Access::default(), ..device.clone() };
        let spec = Spec { devices: vec![device, shut], ..spec() };
        let lines: Vec<String> = lines(&of(&spec)).collect();
        let wanted = [
            "c *:* m",
            "b *:* m",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:1 rwm",
            "c 5:2 rwm",
            "c 136:* rwm",
            "b 8:1 r",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn a_command_that_may_do_all_may_use_all() {
        let spec = Spec { capabilities: Capabilities::All, ..spec() };
        let lines: Vec<String> = lines(&of(&spec)).collect();
        assert_eq!(lines, ["c *:* rwm", "b *:* rwm"]);
    }
}
