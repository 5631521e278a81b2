//! Dockerfile and .dockerignore as typed instructions, with ARG scopes, expansion and the stage graph.
//!
//! ```text
//! text ── lines ──▶ parse ──▶ Dockerfile (stages, instructions, spans)
//!                                │
//!        GlobalScope, Scope ◀────┤  ARG and ENV, what a word means where it stands
//!                     Graph ◀────┘  which stages a target reaches
//! ignore, glob       which files of a context a build sees
//! ```
//!
//! Nothing here reads a file or runs anything. The language is the one of
//! <https://docs.docker.com/reference/dockerfile/>.

mod error;
mod expand;
pub mod glob;
mod graph;
mod ignore;
mod instruction;
mod lines;
mod mount;
mod parse;
mod scope;

pub use error::{DockerfileError, suggest};
pub use graph::{Base, Graph, ReachedStage, Source};
pub use ignore::Ignore;
pub use instruction::{
    Add, Arg, CommandForm, Copy, Dockerfile, From, Healthcheck, Heredoc, Instruction, Located, Mount, Run,
    Sharing, Stage, Word,
};
pub use scope::{BuildArgs, GlobalScope, Scope, undeclared_args};
