//! HTTP as all of Otoshi speaks it.
//!
//! ```text
//! url        addresses that can be shown: who logs in there, and how, is in no error and no log
//! ```

mod url;

pub use crate::url::SafeUrl;
