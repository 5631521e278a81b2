//! ADB, the form in which apk 3 has indexes (`Packages.adb`), and into which `apk convdb` brings what is installed.
//!
//! ```text
//! file         what is compressed, and the blocks in it
//! block        objects and their values in a block
//! signature    who signed
//! index        the packages of an index
//! installed    the packages of a database
//! ```
//!
//! Source: apk-v3(5), and what apk 3.0.6 writes (`apk mkndx`, `apk convdb`).

mod block;
mod file;
mod index;
mod installed;
mod signature;

pub(crate) use self::file::{Adb, LARGEST};
pub(crate) use self::installed::packages;
