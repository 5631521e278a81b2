//! A world clock in one static binary.
//!
//! `clock serve` answers on `$PORT`; `clock now ZONE` and `clock versions` print; `clock check` asks the server for its health.

mod platform;
mod server;
mod zone;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let port = env::var("PORT").ok().and_then(|text| text.parse().ok()).unwrap_or(8080);
    let done = match words.as_slice() {
        ["serve"] => server::serve(port),
        ["check"] => server::check(port),
        ["now", zone] => zone::now(zone).map(|line| println!("{line}")),
        ["versions"] => Ok(print!("{}", platform::versions())),
        _ => Err("usage: clock serve | now ZONE | versions | check".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("clock: {message}");
            ExitCode::FAILURE
        }
    }
}
