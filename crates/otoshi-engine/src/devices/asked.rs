//! The devices of one step.

use otoshi_dockerfile::Device;
use otoshi_oci::Fields;

use super::{
    given::{self, Given},
    host::{Found, HostDevices},
};
use crate::{BuildRequest, EngineError, Event, Events};

/// The devices that a step is granted.
#[derive(Debug, Default)]
pub(crate) struct StepDevices {
    found: Vec<Found>,
    /// What is to be told when the step runs.
    warnings: Vec<String>,
}

impl StepDevices {
    /// Looks for the devices that a step asks for; reads nothing where it asks for none.
    ///
    /// Fails where one must be there and is not, where one is not allowed, and where one may be in a file that cannot be read.
    pub(crate) fn of(asked: &[Device], request: &BuildRequest) -> Result<Self, EngineError> {
        if asked.is_empty() {
            return Ok(Self::default());
        }
        let host = HostDevices::read(&request.device_directories);
        let found = request.allow_devices.granted(&host, asked)?.into_iter().cloned().collect();
        let broken =
            host.broken().iter().map(|broken| format!("a description of devices is broken: {broken}"));
        let missing = asked.iter().filter(|device| !request.allow_devices.is_there(&host, device));
        let missing = missing
            .map(|device| format!("no device {:?} on this machine; the step runs without it", device.name));
        let warnings = broken.chain(missing).collect();
        Ok(Self { found, warnings })
    }

    /// Adds them to the step's key, which stays as it is where there are none.
    pub(crate) fn count(&self, key: Fields) -> Result<Fields, EngineError> {
        if self.found.is_empty() {
            return Ok(key);
        }
        given::counted(key, &self.found)
            .map_err(|error| EngineError::invalid(format!("counting the devices of a step: {error}")))
    }

    /// What the command gets of them.
    pub(crate) fn given(&self, events: &dyn Events) -> Result<Given, EngineError> {
        for warning in &self.warnings {
            events.event(Event::Warning(warning.clone()));
        }
        Given::of(&self.found)
    }
}
