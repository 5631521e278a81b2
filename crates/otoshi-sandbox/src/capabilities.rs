//! The capabilities of a command: Docker's default set, as far as this process has them.

use caps::{CapSet, Capability, CapsHashSet};

use crate::SandboxError;

/// Docker's default set. Source: <https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities>
const DEFAULT: [Capability; 14] = [
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

fn failed(action: &'static str) -> impl FnOnce(caps::errors::CapsError) -> SandboxError {
    move |error| SandboxError::Setup { action: action.into(), reason: error.to_string() }
}

/// Takes everything but the default set out of the bounding set, for good.
pub(crate) fn limit_bounding() -> Result<(), SandboxError> {
    for capability in caps::runtime::thread_all_supported() {
        let held =
            caps::has_cap(None, CapSet::Bounding, capability).map_err(failed("reading capabilities"))?;
        if held && !DEFAULT.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).map_err(failed("dropping a capability"))?;
        }
    }
    Ok(())
}

/// Leaves root with the default set; another user has lost all by changing to it.
pub(crate) fn limit_own(is_root: bool) -> Result<(), SandboxError> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(failed("reading capabilities"))?;
    let kept: CapsHashSet = if is_root {
        DEFAULT.into_iter().filter(|c| permitted.contains(c)).collect()
    } else {
        CapsHashSet::new()
    };
    // Effective and inheritable first: they may not exceed what is permitted.
    caps::clear(None, CapSet::Inheritable).map_err(failed("clearing inheritable capabilities"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed("setting effective capabilities"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed("setting permitted capabilities"))
}
