//! HEALTHCHECK and its durations.
//!
//! Spec: <https://docs.docker.com/reference/dockerfile/#healthcheck>

use std::time::Duration;

use crate::{
    Healthcheck,
    error::Fault,
    flags::{Flags, Takes},
    tokens::{Command, command_form},
};

/// Parses the instruction.
pub(crate) fn parse(line: &Command<'_>) -> Result<Healthcheck, Fault> {
    let end = line.args.find(char::is_whitespace).unwrap_or(line.args.len());
    let kind = line.args[..end].to_uppercase();
    let rest = line.args[end..].trim_start();
    let kind_at = line.args_at..line.args_at + end;
    match kind.as_str() {
        "" => return Err(Fault::new("HEALTHCHECK needs CMD and a command, or NONE")),
        "NONE" if rest.is_empty() => return Ok(Healthcheck::None),
        "NONE" => return Err(Fault::new("HEALTHCHECK NONE takes no arguments").at(line.args_range())),
        "CMD" if rest.is_empty() => return Err(Fault::new("HEALTHCHECK CMD needs a command")),
        "CMD" => {}
        _ => {
            let fault = Fault::new(format!("HEALTHCHECK {kind} is unknown"));
            return Err(fault.hint("HEALTHCHECK CMD and a command, or HEALTHCHECK NONE").at(kind_at));
        }
    }
    let known = ["interval", "timeout", "start-period", "start-interval", "retries"];
    let flags = Flags::read("HEALTHCHECK", &line.flags, &known.map(|name| (name, Takes::Value)))?;
    let time = |name: &str| -> Result<Option<Duration>, Fault> {
        let Some((text, at)) = flags.value(name) else { return Ok(None) };
        let found = duration(text).map_err(|fault| {
            let message = format!("--{name}={text}: {}", fault.message);
            Fault { message, ..fault }.at(at)
        })?;
        // Zero means the default.
        Ok(Some(found).filter(|time| !time.is_zero()))
    };
    let retries = match flags.value("retries") {
        None => None,
        Some((text, at)) => {
            let number = text.strip_prefix('+').unwrap_or(text).parse::<i32>().ok();
            let number = number.and_then(|number| u32::try_from(number).ok());
            let wrong = || Fault::new(format!("--retries={text}: not a number of retries")).at(at);
            Some(number.ok_or_else(wrong)?).filter(|number| *number > 0)
        }
    };
    let command =
        Command { args: rest, args_at: line.args_at + line.args.len() - rest.len(), ..line.clone() };
    Ok(Healthcheck::Test {
        command: command_form(&command)?,
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries,
    })
}

/// Reads a duration as Go writes it: `30s`, `1m30s`, `1.5h`, `500ms`, `0`; at least a millisecond unless zero.
fn duration(text: &str) -> Result<Duration, Fault> {
    let wrong = || Fault::new("not a duration").hint("as in 30s or 1m30s");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let scale: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + part.len() == 0 || part.contains('.') {
            return Err(wrong());
        }
        if whole.len() > 19 {
            return Err(Fault::new("too long"));
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().map_err(|_| wrong())? };
        nanoseconds += whole * scale;
        let mut digit_scale = scale;
        for digit in part.bytes() {
            digit_scale /= 10;
            nanoseconds += u128::from(digit - b'0') * digit_scale;
        }
        rest = after;
    }
    let nanoseconds = i64::try_from(nanoseconds).map_err(|_| Fault::new("too long"))?;
    match nanoseconds {
        1..1_000_000 => Err(Fault::new("less than a millisecond")),
        _ => Ok(Duration::from_nanos(nanoseconds.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            (".5s", 500),
            ("1.s", 1_000),
            ("0", 0),
            ("0s", 0),
            ("+1s", 1_000),
            ("1500us", 1),
        ] {
            assert_eq!(duration(text).unwrap().as_millis(), milliseconds, "{text}");
        }
        for text in ["", "+", "1", "s", "-1s", "1x", "1s2", ".s", "1..s", "1ns", "999us", "99999999h", "1µ"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
