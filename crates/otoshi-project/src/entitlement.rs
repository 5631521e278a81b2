//! `[build] allow`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};

/// Something that a step may ask for and gets only where it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entitlement {
    /// `RUN --network=host`.
    HostNetwork,
    /// `RUN --security=insecure`.
    Insecure,
    /// `RUN --device` of any device.
    Devices,
    /// `RUN --device` of the devices that a name stands for.
    Device(String),
}

const HOST_NETWORK: &str = "network.host";
const INSECURE: &str = "security.insecure";
const DEVICES: &str = "device";

impl<'de> Deserialize<'de> for Entitlement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let device = text.strip_prefix(DEVICES).and_then(|rest| rest.strip_prefix('='));
        match (text.as_str(), device) {
            (HOST_NETWORK, _) => Ok(Self::HostNetwork),
            (INSECURE, _) => Ok(Self::Insecure),
            (DEVICES, _) => Ok(Self::Devices),
            (_, Some(name)) if !name.is_empty() => Ok(Self::Device(name.to_owned())),
            _ => Err(D::Error::custom(format!(
                "no permission {text:?}; there are {HOST_NETWORK}, {INSECURE}, {DEVICES} and {DEVICES}=NAME"
            ))),
        }
    }
}

impl JsonSchema for Entitlement {
    fn schema_name() -> Cow<'static, str> {
        "Entitlement".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Something that a step may ask for and gets only where it is allowed.",
            "oneOf": [
                { "description": "`RUN --network=host`.", "type": "string", "const": HOST_NETWORK },
                { "description": "`RUN --security=insecure`.", "type": "string", "const": INSECURE },
                { "description": "`RUN --device` of any device.", "type": "string", "const": DEVICES },
                {
                    "description": "`RUN --device` of the devices that a name stands for.",
                    "type": "string",
                    "pattern": "^device=.+",
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifest;

    fn allowed(items: &str) -> Result<Vec<Entitlement>, String> {
        let text = format!(
            "[project]\nname = \"shop\"\n[build]\nallow = [{items}]\n[runner]\ndockerfile = \"runner.Dockerfile\"\n"
        );
        Manifest::parse("otoshi.toml", &text).map(|manifest| manifest.build.allow).map_err(|error| {
            let hint = otoshi_explain::Explain::hint(&error).unwrap_or_default();
            format!("{error} | {hint}")
        })
    }

    #[test]
    fn devices_are_allowed_one_by_one_or_all() {
        let device = |name: &str| Entitlement::Device(name.to_owned());
        assert_eq!(
            allowed(
                "\"network.host\", \"security.insecure\", \"device\", \"device=a/b=c\", \"device=a/b=*\""
            )
            .unwrap(),
            [
                Entitlement::HostNetwork,
                Entitlement::Insecure,
                Entitlement::Devices,
                device("a/b=c"),
                device("a/b=*"),
            ]
        );
        for (item, wanted) in [
            (
                "network.hots",
                "otoshi.toml:4: an item of `allow` cannot be \"network.hots\" | did you mean \"network.host\"?",
            ),
            ("device=", "otoshi.toml:4: an item of `allow` cannot be \"device=\" | did you mean \"device\"?"),
            (
                "x",
                "otoshi.toml:4: an item of `allow` cannot be \"x\" | one of: network.host, security.insecure, device, device=…",
            ),
        ] {
            assert_eq!(allowed(&format!("\"{item}\"")).unwrap_err(), wanted);
        }
    }
}
