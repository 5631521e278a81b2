//! Dockerfile and .dockerignore as typed instructions, with ARG scopes, expansion and the stage graph.
//!
//! ```text
//! text ── lines ──▶ parse ──▶ Dockerfile (stages, instructions, spans)
//!                                │
//!        GlobalScope, Scope ◀────┤  ARG and ENV, what a word means where it stands
//!                     Graph ◀────┘  which stages a target reaches
//! ignore, glob       which files of a context a build sees
//! check              what is likely not meant
//! ```
//!
//! Nothing here reads a file or runs anything. The language is the one of
//! <https://docs.docker.com/reference/dockerfile/>, as `docker build` understands it.

pub mod check;
mod csv;
mod device;
pub mod encoding;
mod error;
mod expand;
mod flags;
pub mod glob;
mod graph;
mod healthcheck;
mod heredoc;
mod ignore;
mod instruction;
mod lines;
mod mount;
mod parse;
mod pattern;
mod scope;
mod script;
mod setting;
mod tokens;

pub use csv::truth;
pub use error::{DockerfileError, suggest};
pub use graph::{Base, Graph, ReachedStage, Source, Surroundings};
pub use heredoc::Heredoc;
pub use ignore::{Ignore, Level};
pub use instruction::{
    Add, Arg, CommandForm, Copy, Device, Dockerfile, From, Healthcheck, Instruction, Located, Mount, Run,
    Sharing, Stage, Word,
};
pub use scope::{BuildArgs, GlobalScope, Scope, undeclared_args};
pub use script::InlineFile;
pub use setting::{exposed_ports, stop_signal};
