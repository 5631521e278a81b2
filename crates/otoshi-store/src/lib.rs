//! Otoshi's home directory: everything that is kept between runs, in one place that several processes share.
//!
//! ```text
//! $OTOSHI_HOME/
//! ├── format            the store's format version, one number
//! ├── images/           an OCI image layout, valid at all times (see `otoshi_oci::layout`)
//! ├── snapshots/ID/fs/  one unpacked layer or step result, in overlayfs form; immutable once it is here
//! ├── snapshots/ID/implied  which of its directories are as the layers below have them, where some are
//! ├── snapshots/ID/seal digest of the names, modes, sizes and times below fs/, looked at before use and by `verify`; and a checksum of
//! │                     the contents, looked at by `verify` and at the first use after the machine was started anew
//! ├── records/KIND/..   small checksummed files: step results, phase records, memoized digests; each says what it keeps
//! ├── packages/        indexes of package repositories, and packages, by hash; dates of releases that were seen
//! ├── http/             answers that steps got by plain HTTP, by what was asked for
//! ├── caches/ID/        directories of `RUN --mount=type=cache`
//! ├── work/NAME/        what a running process is making; garbage once that process is gone
//! ├── reserve          space for what takes things away from a full disk; nothing is in it
//! ├── gate              passed by whoever begins to use the store; held by a garbage collector that waits for its turn
//! └── lock              shared by whoever uses the store, exclusive for the garbage collector
//! ```
//!
//! All of it is closed to other users (mode 0700): snapshots hold setuid programs and device nodes. Neither umask nor access control
//! lists nor set-group-id directories above the store reach what is made in it.
//!
//! Roots of collection ([`Home::gc`]) are the tagged images and what young records say that they keep ([`Record::roots`]): those of the
//! kinds `Step`, `Source`, `Download`, `Phase`, `Last`, `Base` and `Previous`. `Layer`, `Copied`, `Diff` and `Origin` are none: these say
//! where something is, and live as long as that. All others keep nothing. `Previous`, `Time` and `Place` stay young for a year at least.
//! The header of the room that writes a record says what it keeps.
//!
//! Nothing is ever changed in place: a file or directory is made under a temporary name and renamed, so that a
//! process killed at any moment leaves garbage in `work/` at most, and readers need no lock.

mod error;
mod form;
mod gc;
mod home;
mod kind;
mod layers;
mod owned;
mod record;
mod records;
mod seal;
mod snapshots;
mod verify;

pub use error::StoreError;
pub use gc::{Collected, GcPolicy};
pub use home::{Home, Usage};
pub use kind::Kind;
pub use record::{LayerSnapshot, Record, Root};
pub use records::Records;
pub use snapshots::{Draft, Implied, SnapshotId, Snapshots};
pub use verify::{Damage, Verified};
