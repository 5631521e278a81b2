//! Credential helpers: `docker-credential-NAME get`, which reads a registry's name and writes a login.
//!
//! One that has none says so in either of two ways: it fails with a message about credentials that were not found, or it
//! succeeds with a login that is empty. Every other failure is one.
//!
//! Protocol: <https://github.com/docker/docker-credential-helpers#development>

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::json::{field, string};
use super::login::Login;

/// The user name by which a helper says that the secret is a refresh token.
const TOKEN_USER: &str = "<token>";
const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// What a helper that has nothing says somewhere in its message.
const NOT_FOUND: [&str; 3] =
    ["credentials not found", "no credentials server url", "no credentials username"];

/// What a helper answered.
#[derive(Debug)]
pub(super) enum Answer {
    Login(Login),
    /// It has nothing for this registry.
    Unknown,
}

/// Asks `docker-credential-NAME` for the login of a registry. Errors name the program and hold no secret.
pub(super) fn ask(name: &str, registry: &str) -> Result<Answer, String> {
    let program = format!("docker-credential-{name}");
    if Path::new(name).components().count() != 1 || name.contains('/') {
        return Err(format!("{name} is not the name of a credential helper"));
    }
    let failed = |what: &str| format!("{program}: {what}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{program} is not installed"),
            _ => failed(&error.to_string()),
        })?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read ends anyway.
        let _ = input.write_all(registry.as_bytes());
    }
    let end = Instant::now() + TIMEOUT;
    let (output, messages) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let is_success = wait(&mut child, end).map_err(|reason| failed(&reason))?;
    // Something that it left running may still hold the pipes.
    let take = |pipe: &Receiver<Vec<u8>>| {
        pipe.recv_timeout(end.saturating_duration_since(Instant::now()).min(Duration::from_secs(5)))
            .unwrap_or_default()
    };
    let (output, messages) = (take(&output), take(&messages));
    if !is_success {
        return refusal(&output, &messages).map_or(Ok(Answer::Unknown), |reason| Err(failed(&reason)));
    }
    login(&output).ok_or_else(|| failed("its answer is not the expected JSON"))
}

/// Reads a pipe to its end, beside what else happens.
fn gather(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(pipe) = pipe {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.take(MAX_ANSWER).read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    receiver
}

/// Waits for a helper's end; says whether it succeeded.
fn wait(child: &mut Child, end: Instant) -> Result<bool, String> {
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => return Ok(status.success()),
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("no answer within a minute".to_owned());
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Reads the answer of a helper that succeeded.
fn login(output: &[u8]) -> Option<Answer> {
    if output.trim_ascii().is_empty() {
        return Some(Answer::Unknown);
    }
    let document: Map<String, Value> = serde_json::from_slice(output).ok()?;
    let text = |name: &str| field(&document, name).map_or(Some(""), |value| string(value, name).ok());
    let (user, secret) = (text("Username")?.to_owned(), text("Secret")?.to_owned());
    Some(match (user.as_str(), secret.is_empty()) {
        ("" | TOKEN_USER, true) => Answer::Unknown,
        (TOKEN_USER, false) => Answer::Login(Login::Refresh(secret)),
        _ => Answer::Login(Login::Basic { user, password: secret }),
    })
}

/// What a helper that failed says in one line; `None` where it only says that it has nothing.
fn refusal(output: &[u8], messages: &[u8]) -> Option<String> {
    let both = [output, messages].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let small = both.concat().to_ascii_lowercase();
    if NOT_FOUND.iter().any(|known| small.contains(known)) {
        return None;
    }
    // An answer in spite of the failure would hold a secret.
    let said = both.iter().map(|text| text.trim()).find(|text| !text.is_empty() && !text.contains('{'));
    let line: String =
        said.unwrap_or("it failed and does not say why").split_whitespace().collect::<Vec<_>>().join(" ");
    Some(line.chars().filter(|c| !c.is_control()).take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_having_nothing_are_understood() {
        assert!(refusal(b"credentials not found in native keychain\n", b"").is_none());
        assert!(refusal(b"", b"Error: Credentials not found").is_none());
        assert!(refusal(b"no credentials server URL", b"").is_none());
        for output in ["", "\n", "{}", r#"{"Username":"","Secret":""}"#, r#"{"Username":null,"Secret":null}"#]
        {
            assert!(matches!(login(output.as_bytes()), Some(Answer::Unknown)), "{output}");
        }
    }

    #[test]
    fn failures_are_told_without_secrets() {
        let said = refusal(b"exit status 2: gpg: decryption\nfailed", b"noise").unwrap();
        assert_eq!(said, "exit status 2: gpg: decryption failed");
        assert_eq!(refusal(br#"{"Secret":"geheim"}"#, b"").unwrap(), "it failed and does not say why");
        assert!(login(b"geheim").is_none());
    }

    #[test]
    fn logins_and_tokens_are_read() {
        let read = |text: &str| match login(text.as_bytes()) {
            Some(Answer::Login(login)) => Some(login),
            _ => None,
        };
        let basic = Login::Basic { user: "AWS".into(), password: "x".into() };
        assert_eq!(read(r#"{"ServerURL":"r.test","Username":"AWS","Secret":"x"}"#), Some(basic));
        // As Go reads keys, in which most helpers are written.
        let basic = Login::Basic { user: "u".into(), password: "x".into() };
        assert_eq!(read(r#"{"username":"u","SECRET":"x"}"#), Some(basic));
        assert_eq!(read(r#"{"Username":1,"Secret":"x"}"#), None);
        assert_eq!(read(r#"{"Username":"<token>","Secret":"x"}"#), Some(Login::Refresh("x".into())));
    }

    #[test]
    fn a_name_is_not_a_path_and_a_missing_program_is_named() {
        assert_eq!(ask("../x", "r.test").unwrap_err(), "../x is not the name of a credential helper");
        assert_eq!(ask("", "r.test").unwrap_err(), " is not the name of a credential helper");
        let missing = ask("no-such-helper", "r.test").unwrap_err();
        assert_eq!(missing, "docker-credential-no-such-helper is not installed");
    }
}
