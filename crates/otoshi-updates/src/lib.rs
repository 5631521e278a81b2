//! What is newer outside than what a project uses, and which phases that would make run.
//!
//! ```text
//! check     every base of a project for itself, and its runner      ─▶ report   what was found, as data
//! images    images by their references                            ─▶
//!   outside   what is asked: registries, repositories, the table of ends, and what `[check]` wants
//!     packages  packages in an image beside its own repositories      budget    what registries have left for us
//!     ends      ends of life of what an image holds                   policy    found, held or ignored
//!     ledger    since when a newer thing is known here
//!     tag       tags taken apart; newer versions, distributions       cycle     ends of life, from a dated table
//!     unknown   what was looked at and not understood          stop      why something could not be looked at
//!     found     something newer outside, in its parts
//!     kind      kinds of findings, and what is to be done          subject   what one is about
//!     table     the table that is used, from the program or an address
//! update    what of a report goes into otoshi.toml and otoshi.lock
//! ```
//!
//! Its records in the store (`Seen` and `Cycles`) are no roots of a collection: they keep nothing.

mod budget;
mod check;
mod cycle;
mod ends;
mod found;
mod images;
mod kind;
mod ledger;
mod outside;
mod packages;
mod policy;
mod report;
mod repositories;
mod stop;
mod subject;
mod table;
mod tag;
mod unknown;
mod update;

pub use check::Check;
pub use cycle::{Cycles, CyclesError, End, Product, ProductKind, Release, Support, end_of};
pub use images::CheckImages;
pub use report::{
    Counts, CyclesUsed, Failed, Finding, FindingKind, Location, Looked, PackageUpdate, Report, State,
    Unknown, UnknownKind, Verdict, schema,
};
pub use tag::Level;
pub use update::{Left, LockChange, Update, UpdateOptions, Updated};
