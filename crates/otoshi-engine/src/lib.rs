//! The engine that builds Dockerfiles and runs commands in images.
//!
//! ```text
//! api         the trait and its requests: what an engine is asked, whichever it is
//! event       what happens meanwhile, told to whoever shows it
//! context     a source directory: scanned, filtered by .dockerignore (ignore_file), hashed once per change
//! checkout    git in a directory that may be a checkout
//! devices     the host's devices for RUN --device, what describes them and who may use them
//! records     what is remembered in the store, a type for each kind
//! names, data a file's name as text, whatever it is; a file's data copied with its holes
//! embedded    the engine of our own
//!   engine      the store, where images come from, and what runs now
//!   stages      the graph of stages, run in parallel; instructions one by one; setting: those that change the config
//!   build       what the steps of a build ask it
//!   run_step    RUN and its cache key; run_mount, ssh: what it sees besides its root
//!   copy_step   COPY and ADD, by content; source: what they pick; copy: what goes where
//!   remote      what ADD fetches: files by HTTP, git repositories
//!   outside     named contexts, triggers of images, the time
//!   chain       the layers below a step, mounted when somebody must look
//!   export      layers and configs made of what the steps left
//!   session     running a command in an image: the compile phase, `otoshi run`
//! ```
//!
//! Of its records in the store, those of the kinds `Step`, `Source` and `Download` are roots of a collection: while a record is young, it
//! keeps a snapshot. `Layer` and `Copied` are none: they go when the blob of the layer does; nor is `Diff`, which keeps a snapshot as long as
//! an image has its layer. `Scan`, `Content`, `Workdir`, `Commit`, `Time` and `Place` keep nothing.

mod api;
pub mod checkout;
mod content;
mod context;
mod data;
mod devices;
mod embedded;
mod error;
mod event;
mod ignore_file;
mod names;
mod records;

pub use api::{
    AppLayer, AssembleRequest, BuildRequest, BuiltImage, CacheMount, CopiedLayer, Engine, ImageChanges,
    ImageSource, NamedContext, NetworkCache, OnStart, Output, RunOutcome, RunRequest, Secret, Ssh, Started,
    Stdio, View, Volume,
};
pub use content::hash_tree;
pub use context::{Context, ContextEntry, EntryKind, Unread};
pub use devices::{AllowedDevices, DEVICE_DIRECTORIES};
pub use embedded::{EmbeddedEngine, names_context, told_by};
pub use error::EngineError;
pub use event::{Event, Events, Silent, StepId, UnreachedProxy};
pub use ignore_file::read_ignore_file;
pub use otoshi_sandbox::{Handle, Network};
