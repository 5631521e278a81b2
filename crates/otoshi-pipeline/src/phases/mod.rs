//! The phases: what each observes, and how it runs.

mod annotations;
mod app;
mod commands;
mod compile;
mod dockerfile;
mod image;
mod output;
mod upgrade;

pub(crate) use self::{
    app::{Before, app},
    commands::{CommandSettings, form},
    compile::compile,
    image::{builder, runner},
};
