//! An SSH agent lent to one step: a socket of its own that hands on two kinds of requests.
//!
//! A command may ask for the list of keys and for signatures. Everything else (adding and removing keys, locking the agent)
//! is answered with a failure, so that no step changes the agent that it was lent.
//! Spec: <https://datatracker.ietf.org/doc/html/draft-ietf-sshm-ssh-agent>

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tempfile::TempDir;

use crate::{EngineError, Ssh};

/// The longest message that OpenSSH's agent takes.
const LONGEST: u32 = 256 << 10;
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;

/// A socket that is there as long as this lives.
#[derive(Debug)]
pub(crate) struct Forwarded {
    socket: PathBuf,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
    agent: Option<Child>,
    /// Holds the sockets; removed last.
    _directory: TempDir,
}

impl Forwarded {
    /// Opens a socket in front of an agent, with this owner and mode; starts the agent where keys are given.
    pub(crate) fn start(ssh: &Ssh, owner: (u32, u32), mode: u32) -> Result<Self, EngineError> {
        // Not in the store, whose path may be too long for a socket.
        let directory = tempfile::Builder::new()
            .prefix("otoshi-ssh-")
            .tempdir()
            .map_err(EngineError::io("making a directory in", std::env::temp_dir()))?;
        let (target, agent) = match ssh {
            Ssh::Agent(socket) => (socket.clone(), None),
            Ssh::Keys(keys) => {
                let socket = directory.path().join("agent");
                let agent = start_agent(&socket, keys)?;
                (socket, Some(agent))
            }
        };
        let socket = directory.path().join("forwarded");
        let mut forwarded = Self {
            socket: socket.clone(),
            ended: Arc::new(AtomicBool::new(false)),
            accepting: None,
            agent,
            _directory: directory,
        };
        // Fails now, with a clear word, and not in the middle of the step.
        UnixStream::connect(&target).map_err(EngineError::io("connecting to the SSH agent at", &target))?;
        let listener = UnixListener::bind(&socket).map_err(EngineError::io("listening at", &socket))?;
        chown(&socket, Some(owner.0), Some(owner.1)).map_err(EngineError::io("owning", &socket))?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(mode))
            .map_err(EngineError::io("setting the mode of", &socket))?;
        let ended = Arc::clone(&forwarded.ended);
        forwarded.accepting = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(stream), target) = (stream, target.clone()) else { break };
                thread::spawn(move || {
                    if let Err(error) = hand_on(stream, &target) {
                        tracing::debug!(%error, "an SSH agent's connection ended");
                    }
                });
            }
        }));
        Ok(forwarded)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = UnixStream::connect(&self.socket);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// Answers one connection's requests until it ends.
fn hand_on(mut from: UnixStream, target: &Path) -> io::Result<()> {
    let mut to = UnixStream::connect(target)?;
    while let Some(request) = message(&mut from)? {
        if matches!(request.first(), Some(&(REQUEST_IDENTITIES | SIGN_REQUEST))) {
            send(&mut to, &request)?;
            match message(&mut to)? {
                Some(answer) => send(&mut from, &answer)?,
                None => return Ok(()),
            }
        } else {
            send(&mut from, &[FAILURE])?;
        }
    }
    Ok(())
}

/// Reads a message: its length in four bytes, and its bytes. `None` at the end.
fn message(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok(Some(body))
}

fn send(stream: &mut UnixStream, body: &[u8]) -> io::Result<()> {
    stream.write_all(&[&(body.len() as u32).to_be_bytes(), body].concat())
}

/// Starts OpenSSH's agent and gives it the keys.
fn start_agent(socket: &Path, keys: &[PathBuf]) -> Result<Child, EngineError> {
    let missing = |program: &'static str| {
        move |source: io::Error| EngineError::Invalid {
            message: format!("the program {program}, which holds SSH keys, cannot be started: {source}"),
            hint: Some("install OpenSSH's client, or give the socket of a running agent".into()),
        }
    };
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(missing("ssh-agent"))?;
    let failed = |agent: &mut Child, error: EngineError| {
        let _ = agent.kill();
        let _ = agent.wait();
        Err(error)
    };
    let mut waited = 0;
    while !socket.exists() && waited < 500 {
        thread::sleep(Duration::from_millis(10));
        waited += 1;
    }
    for key in keys {
        let added = Command::new("ssh-add")
            .arg("--")
            .arg(key)
            .env("SSH_AUTH_SOCK", socket)
            .stdin(Stdio::null())
            .output()
            .map_err(missing("ssh-add"));
        match added {
            Err(error) => return failed(&mut agent, error),
            Ok(output) if !output.status.success() => {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                let message = format!("the SSH key {} cannot be used: {why}", key.display());
                let hint = Some("a key with a passphrase needs a running agent".into());
                return failed(&mut agent, EngineError::Invalid { message, hint });
            }
            Ok(_) => {}
        }
    }
    Ok(agent)
}

#[cfg(test)]
mod tests {
    use otoshi_test::{Need, given, require};

    use super::*;

    fn output(program: &str, args: &[&str], socket: &Path) -> (bool, String) {
        let output = Command::new(program).args(args).env("SSH_AUTH_SOCK", socket).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    #[test]
    fn a_lent_agent_signs_and_cannot_be_changed() {
        // Another user cannot own a socket as root.
        given!(require(&[Need::Root, Need::Tool("ssh-agent")]));
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let key_text = key.to_str().unwrap();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "a-test-key", "-f", key_text])
            .status();
        assert!(made.unwrap().success());
        let forwarded = Forwarded::start(&Ssh::Keys(vec![key.clone()]), (0, 0), 0o600).unwrap();
        let (listed, keys) = output("ssh-add", &["-l"], forwarded.socket());
        assert!(listed && keys.contains("a-test-key"), "{keys}");
        // -T asks for a signature and verifies it.
        let public = format!("{key_text}.pub");
        let (signed, text) = output("ssh-add", &["-T", &public], forwarded.socket());
        assert!(signed, "{text}");
        for change in [&["-D"][..], &["-d", key_text], &[key_text]] {
            assert!(!output("ssh-add", change, forwarded.socket()).0, "{change:?}");
        }
        assert!(output("ssh-add", &["-l"], forwarded.socket()).1.contains("a-test-key"));
        // Handed on once more, as from an agent that runs; and nothing is left of it.
        let again = Forwarded::start(&Ssh::Agent(forwarded.socket().to_path_buf()), (0, 0), 0o660).unwrap();
        assert!(output("ssh-add", &["-l"], again.socket()).1.contains("a-test-key"));
        let sockets = [again.socket().to_path_buf(), forwarded.socket().to_path_buf()];
        drop((again, forwarded));
        assert!(sockets.iter().all(|socket| !socket.exists()));
        let error = Forwarded::start(&Ssh::Keys(vec![dir.path().join("none")]), (0, 0), 0o600).unwrap_err();
        assert!(error.to_string().contains("cannot be used"), "{error}");
        let error = Forwarded::start(&Ssh::Agent(dir.path().join("none")), (0, 0), 0o600).unwrap_err();
        assert!(error.to_string().contains("connecting to the SSH agent"), "{error}");
    }
}
