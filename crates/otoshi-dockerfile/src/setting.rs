//! What `EXPOSE` and `STOPSIGNAL` take, in the form that an image's config has.

use crate::{DockerfileError, suggest};

/// Reads `EXPOSE`: a port or a range, with or without a protocol; an address or a port of the host before it is empty.
///
/// Fails where it is neither, or the protocol is none of tcp, udp and sctp.
pub fn exposed_ports(text: &str) -> Result<Vec<String>, DockerfileError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let wrong = || {
        let error = DockerfileError::new(format!("EXPOSE {text}: not a port"));
        error.with_hint(Some("as in 80, 8000-8010 or 53/udp".to_owned()))
    };
    let ports = ports.rsplit(':').next().unwrap_or(ports);
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    let protocol = protocol.to_lowercase();
    let protocol = if protocol.is_empty() { "tcp" } else { &protocol };
    if first > last || !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// The names of signals, without `SIG`; `RTMIN` and `RTMAX` may be followed by a distance.
const SIGNALS: [&str; 35] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "UNUSED",
];

/// Reads `STOPSIGNAL`: a number that is not 0, or a name with or without `SIG`.
///
/// Fails where there is no such signal.
pub fn stop_signal(text: &str) -> Result<String, DockerfileError> {
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time =
        [("RTMIN", '+', 0..=15), ("RTMAX", '-', 0..=14)].into_iter().any(|(start, sign, distances)| {
            name.strip_prefix(start).is_some_and(|rest| {
                rest.is_empty()
                    || rest
                        .strip_prefix(sign)
                        .and_then(|n| n.parse().ok())
                        .is_some_and(|n: u8| distances.contains(&n))
            })
        });
    let is_number = text.parse::<i32>().is_ok_and(|number| number != 0);
    if is_number || real_time || SIGNALS.contains(&name) {
        return Ok(text.to_owned());
    }
    let near = suggest(name, SIGNALS).map(|near| format!("did you mean SIG{near}?"));
    Err(DockerfileError::new(format!("STOPSIGNAL {text}: there is no such signal")).with_hint(near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_single_or_ranges_and_the_host_says_nothing() {
        let read = |text| exposed_ports(text).map_err(|error| error.to_string());
        assert_eq!(read("80").unwrap(), ["80/tcp"]);
        assert_eq!(read("127.0.0.1:8080:53-54/UDP").unwrap(), ["53/udp", "54/udp"]);
        for wrong in ["", "x", "2-1", "80/icmp", "65536"] {
            assert_eq!(read(wrong).unwrap_err(), format!("EXPOSE {wrong}: not a port"));
        }
    }

    #[test]
    fn signals_are_numbers_or_names() {
        for good in ["9", "SIGTERM", "term", "SIGRTMIN+3", "RTMAX-14"] {
            assert_eq!(stop_signal(good).unwrap(), good);
        }
        for wrong in ["0", "SIGTREM", "RTMIN+16", "RTMAX+1"] {
            stop_signal(wrong).unwrap_err();
        }
    }
}
