//! A command in the new root, in the sandbox: without a network, a secret, or anything of the host's.
//!
//! The root is the upper directory of an overlay with nothing below, on which nothing is ever synced to disk: dpkg does that
//! thousands of times, for a root that is nothing before it is whole. `policy-rc.d` keeps services from being started.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use otoshi_sandbox::{Mount, Network, Privilege, Root, Sandbox, Spec, StdioSpec, Stream, privilege};

use super::error::RootError;

/// How much of a command's output is kept, in bytes.
const KEPT: usize = 8 << 10;
/// Denies every action on a service. Source: the interface of invoke-rc.d(8).
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Runs commands in a root.
#[derive(Debug)]
pub(super) struct Scripts<'a> {
    root: &'a Path,
    work: &'a Path,
    runs: usize,
}

impl<'a> Scripts<'a> {
    /// Runs commands in `root`; `work` is an empty directory on the same file system.
    pub(super) fn new(root: &'a Path, work: &'a Path) -> Self {
        Self { root, work, runs: 0 }
    }

    /// Runs a command and waits for it; one that fails is an error with the last that it said.
    pub(super) fn run(
        &mut self,
        what: &str,
        argv: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<(), RootError> {
        let failed =
            |source: io::Error| RootError::Script { what: what.to_owned(), reason: source.to_string() };
        let spec = self.spec(argv, variables).map_err(failed)?;
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        let second = writer.try_clone().map_err(failed)?;
        let stdio = StdioSpec { stdin: Stream::Null, stdout: Stream::Fd(writer), stderr: Stream::Fd(second) };
        let running = Sandbox::spawn(&spec, stdio, None)?;
        let said = tail(File::from(reader));
        let status = running.wait()?;
        tracing::debug!(what, ?status, said = %said.trim(), "ran in the new root");
        match (status.code, status.signal) {
            (Some(0), _) => Ok(()),
            (code, signal) => {
                let how = match (code, signal) {
                    (Some(code), _) => format!("exit code {code}"),
                    (_, signal) => format!("ended by signal {}", signal.unwrap_or_default()),
                };
                Err(RootError::Script { what: what.to_owned(), reason: format!("{how}\n{}", said.trim()) })
            }
        }
    }

    fn spec(&mut self, argv: &[&str], variables: &[(&str, &str)]) -> io::Result<Spec> {
        let below = self.work.join("empty");
        let own = self.work.join(format!("overlay-{}", self.runs));
        self.runs += 1;
        for directory in [&below, &own] {
            fs::create_dir_all(directory)?;
        }
        let userxattr = matches!(privilege(), Privilege::UserNamespace { .. });
        let root: PathBuf = self.root.to_owned();
        let common = [
            ("PATH", otoshi_oci::config::DEFAULT_PATH),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("LANG", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
            // What is made of a hash has one order. No SOURCE_DATE_EPOCH: Python would compare sources with hashes of them.
            ("PERL_HASH_SEED", "0"),
            ("PYTHONHASHSEED", "0"),
        ];
        Ok(Spec {
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            env: common
                .iter()
                .chain(variables)
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            network: Network::None,
            mounts: vec![Mount::File {
                content: POLICY.into(),
                target: "/usr/sbin/policy-rc.d".into(),
                mode: 0o755,
                uid: 0,
                gid: 0,
            }],
            ..Spec::new(Root::Overlay { lowers: vec![below], upper: root, work: own, userxattr })
        })
    }
}

/// Reads to the end and returns the last of it.
fn tail(mut reader: File) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; KEPT];
    while let Ok(count) = reader.read(&mut buffer) {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..count]);
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
    }
    let text = String::from_utf8_lossy(&kept);
    text.chars().filter(|sign| !sign.is_control() || *sign == '\n').collect()
}
