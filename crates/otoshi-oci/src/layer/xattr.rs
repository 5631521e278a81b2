//! Extended attributes: which of them belong into a layer, and how they are read and set.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

/// Attributes, sorted by name.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Says whether an attribute is overlayfs's own, in either namespace.
pub(super) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Says whether an attribute is part of the content. What security modules and file systems add by themselves is not: it
/// would make layers depend on the machine.
pub(super) fn belongs_to_layer(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => !is_overlay(name) && (name.starts_with(b"user.") || name.starts_with(b"trusted.")),
    }
}

/// Reads all attributes of an open file or directory.
pub(super) fn of_file(file: impl AsFd) -> io::Result<Xattrs> {
    let file = file.as_fd();
    read(|buffer| flistxattr(file, buffer), |name, buffer| fgetxattr(file, name, buffer))
}

/// Reads all attributes of what a path names, a symbolic link itself included.
pub(super) fn of_path(path: &[u8]) -> io::Result<Xattrs> {
    read(|buffer| llistxattr(path, buffer), |name, buffer| lgetxattr(path, name, buffer))
}

fn read(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Xattrs> {
    let mut small = [0; 1024];
    let names = match list(&mut small) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(length) => small[..length].to_vec(),
        Err(Errno::RANGE) => grow(&list)?,
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let value = match get(name, &mut small) {
            Ok(length) => small[..length].to_vec(),
            Err(Errno::RANGE) => grow(|buffer| get(name, buffer))?,
            // It went away, or it is one that the list shows and nobody may read.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            Err(error) => return Err(error.into()),
        };
        attributes.push((name.to_vec(), value));
    }
    attributes.sort_unstable();
    Ok(attributes)
}

/// Asks again with the largest buffer that the kernel fills.
fn grow(ask: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 64 << 10];
    let length = ask(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// Sets an attribute of an open file or directory.
pub(super) fn set_on_file(file: impl AsFd, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    fsetxattr(file, name, value, XattrFlags::empty())
}

/// Sets an attribute of what a path names, a symbolic link itself included.
pub(super) fn set_on_path(path: &[u8], name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    lsetxattr(path, name, value, XattrFlags::empty())
}

/// Says where overlayfs keeps its own attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverlayXattrs {
    /// `trusted.overlay.*`, for root.
    #[default]
    Trusted,
    /// `user.overlay.*`, for mounts with the option `userxattr`.
    User,
}

impl OverlayXattrs {
    /// Returns the name of the attribute that makes a directory opaque.
    pub fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}
