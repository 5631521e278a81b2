//! Which devices a build may use.

use std::collections::BTreeMap;

use otoshi_dockerfile::Device;
use otoshi_explain::Remedy;

use super::host::{Found, HostDevices};
use crate::EngineError;

/// The devices that steps may use, besides those whose descriptions allow it to everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedDevices {
    all: bool,
    named: Vec<String>,
    /// What a Dockerfile calls a device → its name.
    aliases: BTreeMap<String, String>,
}

impl AllowedDevices {
    /// Allows every device.
    pub fn allow_all(&mut self) {
        self.all = true;
    }

    /// Allows a device, by any name that `RUN --device` takes.
    pub fn allow(&mut self, name: impl Into<String>) {
        self.named.push(name.into());
    }

    /// Allows a device, which the Dockerfile calls otherwise.
    pub fn allow_as(&mut self, alias: impl Into<String>, name: impl Into<String>) {
        self.aliases.insert(alias.into(), name.into());
    }

    fn name<'a>(&'a self, device: &'a Device) -> &'a str {
        self.aliases.get(&device.name).unwrap_or(&device.name)
    }

    /// Whether this machine has what a step asks for.
    pub(super) fn is_there(&self, host: &HostDevices, device: &Device) -> bool {
        !host.find(self.name(device)).is_empty()
    }

    /// The devices that a step gets of those it asks for.
    ///
    /// Fails where one must be there and is not, where one is not allowed, and where one may be in a file that cannot be read.
    pub(super) fn granted<'h>(
        &self,
        host: &'h HostDevices,
        asked: &[Device],
    ) -> Result<Vec<&'h Found>, EngineError> {
        let names = asked.iter().map(|device| (self.name(device), device.required));
        let found = host.asked(names)?;
        let names = self.named.iter().chain(self.aliases.values());
        let allowed: Vec<&Found> = names.flat_map(|name| host.find(name)).collect();
        let is_named = |found: &Found| allowed.iter().any(|other| other.name == found.name);
        let refused = |found: &&&Found| !self.all && !found.is_auto_allowed() && !is_named(found);
        let refused: Vec<&str> = found.iter().filter(refused).map(|found| found.name.as_str()).collect();
        if refused.is_empty() {
            return Ok(found);
        }
        let entitlements = refused.iter().map(|name| format!("device={name}")).collect();
        Err(EngineError::Invalid {
            message: format!("RUN --device={} is not allowed", refused.join(", --device=")),
            hint: Some(Remedy::Allow { entitlements }),
        })
    }
}
