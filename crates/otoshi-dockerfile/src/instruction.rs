//! The Dockerfile as types.
//!
//! Words are kept as written: what they mean depends on where they stand, and [`crate::Scope`] says it.
//! Spec: <https://docs.docker.com/reference/dockerfile/>

use std::{ops::Range, sync::Arc, time::Duration};

use crate::{DockerfileError, Heredoc};

/// A parsed Dockerfile.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// The name to show, usually a path.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
    /// The escape character, `\` or `` ` ``.
    pub escape: char,
    /// The image of the `# syntax=` directive.
    pub syntax: Option<String>,
    /// The `# check=` directive.
    pub check: Option<String>,
    /// Where the directives end, in bytes of the text.
    pub(crate) directives_end: usize,
    /// The ARGs before the first FROM.
    pub globals: Vec<Located<Arg>>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// An error as it is, at a byte range of the file where it has no place yet.
    pub fn placed(&self, error: DockerfileError, span: Range<usize>) -> DockerfileError {
        error.or_at(&self.name, &self.text, span)
    }

    /// An error at a byte range of the file.
    pub fn error_at(&self, span: Range<usize>, message: String, hint: Option<String>) -> DockerfileError {
        DockerfileError::new(message).with_hint(hint).or_at(&self.name, &self.text, span)
    }
}

/// Something that stands at a place in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The thing.
    pub value: T,
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// Its first line, from 1.
    pub line: usize,
    /// Its last line, from 1.
    pub end_line: usize,
    /// The instruction on one line: comments and line continuations removed, the keyword in upper case, heredocs at the end.
    pub source: String,
}

/// FROM and all that follows until the next FROM.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The stage's number, from 0.
    pub index: usize,
    /// The name after AS, in lower case.
    pub name: Option<String>,
    /// The FROM instruction.
    pub from: Located<From>,
    /// The instructions.
    pub instructions: Vec<Located<Instruction>>,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// An image, a stage or `scratch`; expanded with the ARGs before FROM.
    pub image: Word,
    /// `--platform`.
    pub platform: Option<Word>,
}

/// A word as written, with quotes and `$`, to be expanded where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(pub String);

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// ARG.
    Arg(Vec<Arg>),
    /// ENV.
    Env(Vec<(Word, Word)>),
    /// LABEL.
    Label(Vec<(Word, Word)>),
    /// RUN.
    Run(Run),
    /// COPY.
    Copy(Copy),
    /// ADD.
    Add(Add),
    /// WORKDIR.
    Workdir(Word),
    /// USER.
    User(Word),
    /// SHELL.
    Shell(Vec<String>),
    /// ENTRYPOINT.
    Entrypoint(CommandForm),
    /// CMD.
    Cmd(CommandForm),
    /// EXPOSE.
    Expose(Vec<Word>),
    /// VOLUME.
    Volume(Vec<Word>),
    /// STOPSIGNAL.
    StopSignal(Word),
    /// HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// ONBUILD, with the instruction as text.
    Onbuild(String),
    /// MAINTAINER.
    Maintainer(String),
}

/// One declaration of ARG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// The name.
    pub name: String,
    /// The default.
    pub default: Option<Word>,
}

/// A command, for a shell or as a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandForm {
    /// Text for a shell.
    Shell(String),
    /// The program and its arguments, from a JSON list.
    Exec(Vec<String>),
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command as written.
    pub command: CommandForm,
    /// Its heredocs.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, in order.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Option<String>,
    /// `--security`.
    pub security: Option<String>,
    /// `--device`, in order.
    pub devices: Vec<Device>,
}

/// RUN `--device`: devices of the machine that runs the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// `vendor.com/class=name`, `vendor.com/class=*`, `vendor.com/class`, or the name of a class.
    pub name: String,
    /// Whether the step fails where there is none.
    pub required: bool,
}

/// How several steps share a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// At the same time.
    #[default]
    Shared,
    /// One after the other.
    Locked,
    /// Each its own.
    Private,
}

/// RUN `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as the options are")]
pub enum Mount {
    /// Files of the context, a stage or an image. The target `.` is the working directory.
    Bind { target: Word, source: Option<Word>, from: Option<Word>, rw: bool },
    /// A directory kept between builds.
    Cache {
        target: Word,
        id: Option<Word>,
        sharing: Sharing,
        from: Option<Word>,
        source: Option<Word>,
        uid: Option<u32>,
        gid: Option<u32>,
        mode: Option<u32>,
        ro: bool,
    },
    /// Memory; the size is in bytes.
    Tmpfs { target: Word, size: Option<u64> },
    /// A secret, as a file or an environment variable.
    Secret {
        id: Option<Word>,
        target: Option<Word>,
        env: Option<String>,
        required: bool,
        uid: Option<u32>,
        gid: Option<u32>,
        mode: Option<u32>,
    },
    /// An SSH agent's socket.
    Ssh {
        id: Option<Word>,
        target: Option<Word>,
        required: bool,
        uid: Option<u32>,
        gid: Option<u32>,
        mode: Option<u32>,
    },
    /// A mount with variables in options that are no words, such as `uid=$UID`: known once they are; see [`Mount::settled`].
    Later { text: String, from: Option<Word> },
}

/// COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What is copied.
    pub sources: Vec<Word>,
    /// Heredocs that are copied as files.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub dest: Word,
    /// `--from`.
    pub from: Option<Word>,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, in order.
    pub exclude: Vec<Word>,
}

/// ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// What it has in common with COPY.
    pub copy: Copy,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// `--unpack`.
    pub unpack: Option<bool>,
}

/// HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as the options are")]
pub enum Healthcheck {
    /// No check, not even the base's.
    None,
    /// A command.
    Test {
        command: CommandForm,
        interval: Option<Duration>,
        timeout: Option<Duration>,
        start_period: Option<Duration>,
        start_interval: Option<Duration>,
        retries: Option<u32>,
    },
}
