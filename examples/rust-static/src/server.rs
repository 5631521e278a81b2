//! A small HTTP/1.1 server: one thread per connection, one request each.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use crate::{platform, zone};

const PAGE: &str = include_str!("../static/index.html");
const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_REQUEST: u64 = 16 * 1024;

/// Answers until the process is ended.
pub fn serve(port: u16) -> Result<(), String> {
    end_on_signals();
    let listener =
        TcpListener::bind(("0.0.0.0", port)).map_err(|error| format!("listening on {port}: {error}"))?;
    println!("listening on port {port}");
    for connection in listener.incoming().flatten() {
        thread::spawn(move || {
            // The other side has gone: nobody to tell.
            let _ = answer(connection);
        });
    }
    Ok(())
}

/// Asks the server on this machine whether it answers.
pub fn check(port: u16) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("port {port}: {error}");
    let mut connection = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    connection.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").map_err(failed)?;
    let mut status = String::new();
    BufReader::new(connection).read_line(&mut status).map_err(failed)?;
    if status.contains(" 200 ") { Ok(()) } else { Err(format!("answered {status:?}")) }
}

fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(connection.try_clone()?.take(LONGEST_REQUEST));
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split_whitespace();
    let (status, kind, body) = match (words.next(), words.next()) {
        (Some("GET"), Some(path)) => page(path),
        _ => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
    };
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn page(path: &str) -> (&'static str, &'static str, String) {
    if path == "/" {
        return ("200 OK", "text/html", PAGE.replace("<!--platform-->", &platform::versions()));
    }
    match path.strip_prefix("/now/").map(zone::now) {
        Some(Ok(line)) => ("200 OK", "text/plain", line + "\n"),
        Some(Err(message)) => ("404 Not Found", "text/plain", message + "\n"),
        None => ("404 Not Found", "text/plain", "no such page\n".to_owned()),
    }
}

extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn end(_: i32) {
    // SAFETY: `_exit` may be called in a signal handler (signal-safety(7)).
    unsafe { _exit(0) }
}

/// The first process of a container ignores the signals that it has no handler for.
fn end_on_signals() {
    const SIGINT: i32 = 2;
    const SIGTERM: i32 = 15;
    for number in [SIGINT, SIGTERM] {
        // SAFETY: `end` has the type that signal(2) asks for and does only what a handler may do.
        unsafe { signal(number, end) };
    }
}
