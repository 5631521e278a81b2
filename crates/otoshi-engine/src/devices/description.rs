//! What one file says of devices, checked as the specification asks.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned},
};
use serde_json::{Map, Value};

use super::document::{self, Texts};

/// The versions of the specification, the oldest first; what is older than the third is no longer in use.
const VERSIONS: [&str; 10] =
    ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];

/// A description of devices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Description {
    cdi_version: String,
    pub(super) kind: String,
    pub(super) annotations: Texts,
    #[serde(deserialize_with = "tables")]
    pub(super) devices: Vec<Device>,
    /// What is done once where at least one of the devices is used.
    #[serde(deserialize_with = "table")]
    pub(super) container_edits: Edits,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) annotations: Texts,
    #[serde(deserialize_with = "table")]
    pub(super) container_edits: Edits,
}

/// What a device changes of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Edits {
    pub(super) env: Vec<String>,
    #[serde(deserialize_with = "tables")]
    pub(super) device_nodes: Vec<Node>,
    #[serde(deserialize_with = "tables")]
    pub(super) net_devices: Vec<NetDevice>,
    #[serde(deserialize_with = "tables")]
    pub(super) hooks: Vec<Hook>,
    #[serde(deserialize_with = "tables")]
    pub(super) mounts: Vec<HostMount>,
    #[serde(deserialize_with = "some_table")]
    pub(super) intel_rdt: Option<IntelRdt>,
    #[serde(deserialize_with = "numbers")]
    pub(super) additional_gids: Vec<u32>,
}

/// A device file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) host_path: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(deserialize_with = "number")]
    pub(super) major: u32,
    #[serde(deserialize_with = "number")]
    pub(super) minor: u32,
    #[serde(deserialize_with = "some_number")]
    pub(super) file_mode: Option<u32>,
    pub(super) permissions: String,
    #[serde(deserialize_with = "some_number")]
    pub(super) uid: Option<u32>,
    #[serde(deserialize_with = "some_number")]
    pub(super) gid: Option<u32>,
}

/// A part of the host's tree, or memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct HostMount {
    pub(super) host_path: String,
    pub(super) container_path: String,
    pub(super) options: Vec<String>,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// A program of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Hook {
    pub(super) hook_name: String,
    pub(super) path: String,
    args: Vec<String>,
    env: Vec<String>,
    #[serde(deserialize_with = "some_number")]
    timeout: Option<u32>,
}

/// A network device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct NetDevice {
    pub(super) host_interface_name: String,
    name: String,
}

/// A class of Intel's resource director.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IntelRdt {
    #[serde(rename = "closID")]
    clos_id: String,
    #[serde(rename = "l3CacheSchema")]
    l3_cache_schema: String,
    #[serde(rename = "memBwSchema")]
    mem_bw_schema: String,
    schemata: Option<Vec<String>>,
    #[serde(rename = "enableMonitoring")]
    enable_monitoring: String,
}

/// A table and not, as serde takes it too, a list of its values.
fn table<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    let members = Map::<String, Value>::deserialize(deserializer)?;
    serde_json::from_value(Value::Object(members)).map_err(de::Error::custom)
}

fn some_table<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    table(deserializer).map(Some)
}

fn tables<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let items = Vec::<Map<String, Value>>::deserialize(deserializer)?;
    let items = items.into_iter().map(|members| serde_json::from_value(Value::Object(members)));
    items.collect::<Result<_, _>>().map_err(de::Error::custom)
}

fn parsed<E: de::Error>(text: &str) -> Result<u32, E> {
    document::number(text)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| E::custom(format!("{text:?} is not a number from 0 to 4294967295")))
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    parsed(&String::deserialize(deserializer)?)
}

fn some_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    parsed(&String::deserialize(deserializer)?).map(Some)
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| parsed(text)).collect()
}

impl Description {
    /// Reads a file that is read as YAML or as JSON; fails with what is wrong with it.
    pub(super) fn read(text: &str, is_json: bool) -> Result<Self, String> {
        let value = if is_json { document::json(text) } else { document::yaml(text) }?;
        if value == Value::Null {
            return Err("it is empty".to_owned());
        }
        let description: Self = table(value).map_err(|error| error.to_string())?;
        description.check()?;
        Ok(description)
    }

    fn check(&self) -> Result<(), String> {
        let version = self.cdi_version.strip_prefix('v').unwrap_or(&self.cdi_version);
        let Some(version) = VERSIONS.iter().position(|known| *known == version) else {
            return Err(format!(
                "{:?} is not a version of the specification that is known",
                self.cdi_version
            ));
        };
        let (needed, what) = self.needed();
        if version < needed {
            return Err(format!(
                "{what} needs cdiVersion {}, and it says {}",
                VERSIONS[needed], self.cdi_version
            ));
        }
        let (vendor, class) = self.kind.split_once('/').unwrap_or(("", &self.kind));
        let is_name = |name: &str| is_name(name, char::is_ascii_alphabetic, "_-.");
        if !is_name(vendor) || !is_name(class) {
            return Err(format!("the kind {:?} is not a vendor, a slash and a class", self.kind));
        }
        self.container_edits.check()?;
        if self.devices.is_empty() {
            return Err("it has no devices".to_owned());
        }
        for (index, device) in self.devices.iter().enumerate() {
            if self.devices[..index].iter().any(|other| other.name == device.name) {
                return Err(format!("it has the device {:?} twice", device.name));
            }
            device.check().map_err(|reason| format!("the device {:?}: {reason}", device.name))?;
        }
        Ok(())
    }

    /// The place in [`VERSIONS`] of what must be declared, and what of the description it is that needs it.
    fn needed(&self) -> (usize, &'static str) {
        let edits = || {
            std::iter::once(&self.container_edits)
                .chain(self.devices.iter().map(|device| &device.container_edits))
        };
        let has_new_rdt = |rdt: &IntelRdt| rdt.schemata.is_some() || rdt.enable_monitoring == "true";
        let starts_with_digit =
            |device: &Device| device.name.starts_with(|first: char| first.is_ascii_digit());
        if edits().any(|edits| !edits.net_devices.is_empty()) {
            (9, "a network device")
        } else if edits().any(|edits| edits.intel_rdt.as_ref().is_some_and(has_new_rdt)) {
            (9, "`schemata` or `enableMonitoring`")
        } else if edits().any(|edits| edits.intel_rdt.is_some()) {
            (6, "`intelRdt`")
        } else if edits().any(|edits| !edits.additional_gids.is_empty()) {
            (6, "`additionalGids`")
        } else if !self.annotations.is_empty()
            || self.devices.iter().any(|device| !device.annotations.is_empty())
        {
            (5, "an annotation")
        } else if self.kind.split_once('/').is_some_and(|(_, class)| class.contains('.')) {
            (5, "a class with a dot")
        } else if self.devices.iter().any(starts_with_digit) {
            (4, "a device whose name begins with a digit")
        } else if edits().flat_map(|edits| &edits.device_nodes).any(|node| !node.host_path.is_empty()) {
            (4, "`hostPath` of a device node")
        } else if edits().flat_map(|edits| &edits.mounts).any(|mount| !mount.kind.is_empty()) {
            (3, "`type` of a mount")
        } else {
            (0, "")
        }
    }
}

/// Whether a name begins as it must, has nothing but letters, digits and some other characters, and ends with a letter or digit.
fn is_name(name: &str, first: impl Fn(&char) -> bool, others: &str) -> bool {
    name.chars().next().is_some_and(|c| first(&c))
        && name.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}

impl Device {
    fn check(&self) -> Result<(), String> {
        if !is_name(&self.name, char::is_ascii_alphanumeric, "_-.:") {
            return Err(
                "a name is letters and digits, with \"_\", \"-\", \".\" or \":\" between them".to_owned()
            );
        }
        if self.container_edits == Edits::default() {
            return Err("it does not change anything in a container".to_owned());
        }
        self.container_edits.check()
    }
}

impl Edits {
    fn check(&self) -> Result<(), String> {
        let is_variable = |text: &String| text.find('=').is_some_and(|at| at > 0) && !text.contains('\0');
        let env = self.env.iter().chain(self.hooks.iter().flat_map(|hook| &hook.env));
        if let Some(wrong) = env.into_iter().find(|text| !is_variable(text)) {
            return Err(format!("{wrong:?} is not a name, \"=\" and a value"));
        }
        self.device_nodes.iter().try_for_each(Node::check)?;
        if self.hooks.iter().any(|hook| hook.path.is_empty()) {
            return Err("a hook has no path".to_owned());
        }
        let known =
            ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
        if let Some(hook) = self.hooks.iter().find(|hook| !known.contains(&hook.hook_name.as_str())) {
            return Err(format!("there is no hook {:?}", hook.hook_name));
        }
        for mount in &self.mounts {
            is_path("the hostPath of a mount", &mount.host_path)?;
            is_path("the containerPath of a mount", &mount.container_path)?;
        }
        if self.net_devices.iter().any(|net| net.host_interface_name.is_empty() || net.name.is_empty()) {
            return Err("a network device has no name".to_owned());
        }
        Ok(())
    }
}

impl Node {
    fn check(&self) -> Result<(), String> {
        is_path("the path of a device node", &self.path)?;
        if !self.host_path.is_empty() {
            is_path("the hostPath of a device node", &self.host_path)?;
        }
        if !matches!(self.kind.as_str(), "" | "b" | "c" | "u" | "p") {
            return Err(format!("{}: there is no type {:?} of device nodes", self.path, self.kind));
        }
        let is_known = self.permissions == "none" || self.permissions.chars().all(|c| "rwm".contains(c));
        if !is_known {
            return Err(format!("{}: {:?} are no permissions", self.path, self.permissions));
        }
        Ok(())
    }
}

fn is_path(what: &str, path: &str) -> Result<(), String> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(());
    }
    Err(format!("{what} is {path:?}, which is not absolute"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(version: &str, rest: &str) -> Result<Description, String> {
        Description::read(&format!("cdiVersion: {version}\nkind: vendor.test/device\n{rest}"), false)
    }

    const ENV: &str = "containerEdits: {env: [A=b]}";

    #[test]
    fn a_whole_description() {
        let text = r#"
annotations: {org.mobyproject.buildkit.device.autoallow: true}
devices:
- name: 0-a.b:c
  annotations: {x: 1}
  containerEdits:
    env: ["A=b=c"]
    deviceNodes:
    - {path: /dev/a, hostPath: /dev/null, type: c, major: 1, minor: 3, fileMode: 0640, permissions: rw, uid: 0, gid: 7}
    mounts:
    - {hostPath: /usr/lib, containerPath: /lib/a, options: [ro, rbind], type: none}
    hooks:
    - {hookName: createContainer, path: /bin/hook, args: [hook, x], env: [B=c], timeout: 5}
    additionalGids: [44]
    intelRdt: {closID: a, enableMonitoring: false}
"#;
        let description = yaml("\"0.7.0\"", text).unwrap();
        let edits = &description.devices[0].container_edits;
        assert_eq!(edits.device_nodes[0].file_mode, Some(0o640));
        assert_eq!((edits.device_nodes[0].major, edits.device_nodes[0].uid), (1, Some(0)));
        assert_eq!(edits.additional_gids, [44]);
        assert_eq!(description.annotations["org.mobyproject.buildkit.device.autoallow"], "true");
        // Sorted keys and quoted texts make it JSON.
        let json = r#"{"cdiVersion": "v1.0.0", "kind": "vendor.test/device", "devices": [
            {"name": "a", "containerEdits": {"deviceNodes": [{"path": "/dev/a", "fileMode": 438}]}}]}"#;
        let description = Description::read(json, true).unwrap();
        assert_eq!(description.devices[0].container_edits.device_nodes[0].file_mode, Some(0o666));
    }

    #[test]
    fn every_version_has_what_it_needs() {
        for (version, rest, wanted) in [
            ("0.2.0", format!("devices: [{{name: a, {ENV}}}]"), None),
            ("0.3.0", format!("devices: [{{name: a, {ENV}}}]"), None),
            ("0.9.0", format!("devices: [{{name: a, {ENV}}}]"), Some("\"0.9.0\" is not a version")),
            ("0.4.0", format!("devices: [{{name: 0, {ENV}}}]"), Some("begins with a digit needs cdiVersion 0.5.0")),
            ("0.5.0", format!("devices: [{{name: 0, {ENV}}}]"), None),
            (
                "0.4.0",
                "devices: [{name: a, containerEdits: {deviceNodes: [{path: /a, hostPath: /b}]}}]".into(),
                Some("`hostPath` of a device node needs cdiVersion 0.5.0"),
            ),
            (
                "0.3.0",
                "devices: [{name: a, containerEdits: {mounts: [{hostPath: /a, containerPath: /b, type: x}]}}]".into(),
                Some("`type` of a mount needs cdiVersion 0.4.0"),
            ),
            (
                "0.5.0",
                format!("annotations: {{a: b}}\ndevices: [{{name: a, {ENV}}}]"),
                Some("an annotation needs cdiVersion 0.6.0"),
            ),
            (
                "0.6.0",
                "devices: [{name: a, containerEdits: {additionalGids: [1]}}]".into(),
                Some("`additionalGids` needs cdiVersion 0.7.0"),
            ),
            (
                "1.0.0",
                "devices: [{name: a, containerEdits: {netDevices: [{hostInterfaceName: a, name: b}]}}]".into(),
                Some("a network device needs cdiVersion 1.1.0"),
            ),
        ] {
            match (yaml(version, &rest), wanted) {
                (Ok(_), None) => {}
                (Err(reason), Some(wanted)) => assert!(reason.contains(wanted), "{reason}"),
                (found, wanted) => panic!("{version} {rest}: {found:?}, {wanted:?}"),
            }
        }
    }

    #[test]
    fn mistakes_are_told() {
        let edits = |edits: &str| format!("devices: [{{name: a, containerEdits: {{{edits}}}}}]");
        for (rest, wanted) in [
            (String::new(), "it has no devices"),
            ("devices: [{name: a}]".into(), "the device \"a\": it does not change anything in a container"),
            (format!("devices: [{{name: a-, {ENV}}}]"), "the device \"a-\": a name is letters"),
            (format!("devices: [{{name: a, {ENV}}}, {{name: a, {ENV}}}]"), "it has the device \"a\" twice"),
            (format!("device: [{{name: a, {ENV}}}]"), "unknown field `device`"),
            ("devices: {a: b}".into(), "invalid type: map"),
            ("devices: [[a, {}, {env: [A=b]}]]".into(), "invalid type: sequence"),
            ("devices: [{name: a, containerEdits: [[A=b]]}]".into(), "invalid type: sequence"),
            (edits("env: [A]"), "\"A\" is not a name"),
            (edits("env: [\"=b\"]"), "\"=b\" is not a name"),
            (edits("env: [\"A=\\0\"]"), "is not a name"),
            (edits("deviceNodes: [{path: dev}]"), "\"dev\", which is not absolute"),
            (edits("deviceNodes: [{hostPath: /dev/a}]"), "\"\", which is not absolute"),
            (edits("deviceNodes: [{path: /a, type: x}]"), "/a: there is no type \"x\""),
            (edits("deviceNodes: [{path: /a, permissions: rx}]"), "/a: \"rx\" are no permissions"),
            (edits("deviceNodes: [{path: /a, major: -1}]"), "\"-1\" is not a number"),
            (edits("deviceNodes: [{path: /a, minor: x}]"), "\"x\" is not a number"),
            (edits("hooks: [{hookName: start, path: /a}]"), "there is no hook \"start\""),
            (edits("hooks: [{hookName: prestart}]"), "a hook has no path"),
            (edits("mounts: [{hostPath: a, containerPath: /b}]"), "\"a\", which is not absolute"),
            (edits("mounts: [{hostPath: /a}]"), "the containerPath of a mount"),
        ] {
            let reason = yaml("1.0.0", &rest).unwrap_err();
            assert!(reason.contains(wanted), "{rest}: {reason}");
        }
        for (text, wanted) in [
            ("", "it is empty"),
            ("- a", "invalid type"),
            ("cdiVersion: 1.0.0\nkind: device\n", "the kind \"device\" is not a vendor"),
            ("cdiVersion: 1.0.0\nkind: 1a/b\n", "the kind \"1a/b\" is not a vendor"),
            ("kind: a/b\n", "\"\" is not a version"),
        ] {
            let reason = Description::read(text, false).unwrap_err();
            assert!(reason.contains(wanted), "{text}: {reason}");
        }
    }

    #[test]
    fn no_damage_is_more_than_an_error() {
        let yaml = "cdiVersion: &v \"0.7.0\"\nkind: a.b/c\nannotations: {x: *v}\ncontainerEdits: {additionalGids: [1, 0x2]}\n\
            devices:\n- name: d\n  containerEdits:\n    deviceNodes: [{path: /dev/a, type: c, major: 1, fileMode: 0666}]\n\
            \x20   mounts:\n    - hostPath: /a\n      containerPath: '/b'\n      options: [ro, rbind]\n    env: [\"A=\\u00e9\"]\n";
        Description::read(yaml, false).unwrap();
        let json = r#"{"cdiVersion": "0.7.0", "kind": "a.b/c", "devices": [{"name": "d", "containerEdits": {
            "deviceNodes": [{"path": "/dev/a", "major": 1, "uid": 0}], "hooks": [{"hookName": "prestart", "path": "/a"}]}}]}"#;
        Description::read(json, true).unwrap();
        for (text, is_json) in [(yaml, false), (json, true)] {
            for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
                let _ = Description::read(&text[..at], is_json);
                for with in ["", "\n", "\t", "\"", "{", "]", ":", "&", "*", "-", "|", "%", "\0", "9", "ä"] {
                    let damaged = format!("{}{with}{}", &text[..at], &text[(at + 1).min(text.len())..]);
                    let _ = Description::read(&damaged, is_json);
                }
            }
        }
    }
}
