//! `--allow`: what a Dockerfile's steps may do beyond the usual. As `docker buildx build` has it.

use std::str::FromStr;

use otoshi_engine::AllowedDevices;

/// A permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allow {
    Insecure,
    HostNetwork,
    Devices,
    /// A device, and what the Dockerfile calls it where that is not its name.
    Device {
        name: String,
        alias: Option<String>,
    },
}

impl FromStr for Allow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, device) = text.split_once('=').map_or((text, None), |(what, device)| (what, Some(device)));
        match (what, device) {
            ("security.insecure", None) => Ok(Self::Insecure),
            ("network.host", None) => Ok(Self::HostNetwork),
            ("device", None | Some("")) => Ok(Self::Devices),
            ("device", Some(device)) => {
                let (name, options) = device.split_once(',').map_or((device, None), |(n, o)| (n, Some(o)));
                let alias = match options.map(|options| options.strip_prefix("alias=")) {
                    None => None,
                    Some(Some(alias)) if !alias.is_empty() && !alias.contains(',') => Some(alias.to_owned()),
                    Some(_) => return Err("after a device's name, only alias=NAME may follow".to_owned()),
                };
                if name.is_empty() {
                    return Err("the device has no name".to_owned());
                }
                Ok(Self::Device { name: name.to_owned(), alias })
            }
            _ => Err("there are security.insecure, network.host, device and device=NAME".to_owned()),
        }
    }
}

/// The devices that are allowed.
pub(crate) fn devices(allowed: &[Allow]) -> AllowedDevices {
    let mut devices = AllowedDevices::default();
    for allow in allowed {
        match allow {
            Allow::Devices => devices.allow_all(),
            Allow::Device { name, alias: None } => devices.allow(name),
            Allow::Device { name, alias: Some(alias) } => devices.allow_as(alias, name),
            Allow::Insecure | Allow::HostNetwork => {}
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_allowed_one_by_one_or_all() {
        let device = |name: &str, alias: Option<&str>| Allow::Device {
            name: name.to_owned(),
            alias: alias.map(str::to_owned),
        };
        for (text, allow) in [
            ("network.host", Allow::HostNetwork),
            ("security.insecure", Allow::Insecure),
            ("device", Allow::Devices),
            ("device=", Allow::Devices),
            ("device=vendor.com/class", device("vendor.com/class", None)),
            ("device=vendor.com/class=*", device("vendor.com/class=*", None)),
            ("device=vendor.com/class=a,alias=b/c=d", device("vendor.com/class=a", Some("b/c=d"))),
        ] {
            assert_eq!(text.parse(), Ok(allow), "{text}");
        }
        for text in ["", "network.none", "network.host=x", "device=,alias=a", "device=a,b", "device=a,alias="]
        {
            assert!(text.parse::<Allow>().is_err(), "{text}");
        }
    }
}
