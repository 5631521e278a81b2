//! The order of versions, exactly as dpkg, apk and rpm have it.
//!
//! Any text can be compared: what a package manager would refuse has a place in the order as well, so nothing here fails.
//! Each order is total over the versions that its package manager accepts, and two texts can be equal without being the same
//! (`1.0` and `1.00`).

pub mod apk;
pub mod dpkg;
pub mod rpm;

use std::cmp::Ordering;

use crate::installed::Manager;

/// Compares two versions in a package manager's order.
pub fn compare(manager: Manager, left: &str, right: &str) -> Ordering {
    match manager {
        Manager::Dpkg => dpkg::compare(left, right),
        Manager::Apk => apk::compare(left, right),
        Manager::Rpm => rpm::compare(left, right),
    }
}
