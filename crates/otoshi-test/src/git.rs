//! Git's own server.

use std::{
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{Missing, Need, require};

/// Serves the repositories below a directory by git's protocol, on loopback, until it is dropped.
#[derive(Debug)]
pub struct GitDaemon {
    port: u16,
    is_gone: Arc<AtomicBool>,
}

impl GitDaemon {
    /// Starts one; each connection gets a process of its own.
    ///
    /// Fails where git is not installed.
    pub fn start(base: &Path) -> Result<Self, Missing> {
        require(&[Need::Tool("git")])?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (base, is_gone) = (base.to_owned(), Arc::new(AtomicBool::new(false)));
        let shared = Arc::clone(&is_gone);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.load(Ordering::SeqCst) {
                    return;
                }
                let mut child = start(&base, stream);
                thread::spawn(move || child.wait());
            }
        });
        Ok(Self { port, is_gone })
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("git://127.0.0.1:{}", self.port)
    }
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        self.is_gone.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn start(base: &Path, stream: TcpStream) -> Child {
    let stream = OwnedFd::from(stream);
    let mut git = Command::new("git");
    git.args(["daemon", "--inetd", "--export-all"]).arg(format!("--base-path={}", base.display()));
    git.stdin(stream.try_clone().unwrap()).stdout(stream).stderr(Stdio::null()).spawn().unwrap()
}
