//! The capabilities of a command.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::{Capabilities, SandboxError};

/// Docker's default set. Source: <https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities>
const DOCKER_DEFAULT: CapabilitySet = CapabilitySet::AUDIT_WRITE
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

fn wanted(capabilities: Capabilities) -> CapabilitySet {
    match capabilities {
        Capabilities::DockerDefault => DOCKER_DEFAULT,
        Capabilities::All => CapabilitySet::from_bits_retain(u64::MAX),
        Capabilities::None => CapabilitySet::empty(),
    }
}

/// Whether this process may administer its system: mount, and make namespaces.
pub(crate) fn may_administer() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Gives up all that this process may do but to signal others: what it does from now on, with what a command sends, needs no more.
pub(crate) fn keep_signals() -> rustix::io::Result<()> {
    let permitted = capabilities(None)?.permitted & CapabilitySet::KILL;
    set_capabilities(
        None,
        CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() },
    )
}

/// Takes everything but the wanted set out of the bounding set, for good.
pub(crate) fn limit_bounding(set: Capabilities) -> Result<(), SandboxError> {
    let wanted = wanted(set);
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        // The kernel does not know the bits beyond its last capability.
        let Ok(held) = capability_is_in_bounding_set(capability) else { break };
        if held && !wanted.contains(capability) {
            remove_capability_from_bounding_set(capability)
                .map_err(SandboxError::setup("dropping a capability"))?;
        }
    }
    Ok(())
}

/// Leaves root with the wanted set, and another user with nothing.
pub(crate) fn limit_own(set: Capabilities, is_root: bool) -> Result<(), SandboxError> {
    let failed = |action: &'static str| SandboxError::setup::<rustix::io::Errno>(action);
    let permitted = capabilities(None).map_err(failed("reading capabilities"))?.permitted;
    let kept = if is_root { wanted(set) & permitted } else { CapabilitySet::empty() };
    clear_ambient_capability_set().map_err(failed("clearing ambient capabilities"))?;
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )
    .map_err(failed("setting capabilities"))
}
