//! A report in SARIF 2.1.0, for services that show findings beside code.
//!
//! A kind of finding is a rule; a package that is newer is a result of its own. What is held or ignored is a suppressed result,
//! what could not be looked at a notification. A result keeps its fingerprint while the same thing of the same image is out of
//! date, whatever the versions. What is not known is a notification, too: there is nothing to mend in the code.
//!
//! Specification: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html>

use otoshi_oci::Fields;
use serde_json::{Value, json};

use super::{Finding, FindingKind, Report, State};
use crate::tag::Level;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json";
/// What fingerprints of this form are called.
const FINGERPRINT: &str = "otoshiFinding/v2";

/// Kinds of findings: id, level, what it means, and how bad it is by the numbers of CVSS.
const RULES: [(FindingKind, &str, &str, &str, Option<&str>); 6] = [
    (
        FindingKind::SecurityUpdates,
        "security-updates",
        "error",
        "A package has a security update in the repositories of its image",
        Some("8.0"),
    ),
    (
        FindingKind::EndOfLife,
        "end-of-life",
        "warning",
        "A distribution or runtime is, or will soon be, at the end of its life",
        Some("5.0"),
    ),
    (FindingKind::BaseMoved, "base-moved", "warning", "The name of a base points to another image now", None),
    (
        FindingKind::PackageUpdates,
        "package-updates",
        "note",
        "A package is newer in the repositories of its image",
        None,
    ),
    (
        FindingKind::NewerVersion,
        "newer-version",
        "note",
        "A base has a newer version of the same flavour",
        None,
    ),
    (
        FindingKind::NewerDistribution,
        "newer-distribution",
        "note",
        "A base has the same version on a newer distribution",
        None,
    ),
];

impl Report {
    /// Writes it in SARIF 2.1.0.
    pub fn sarif(&self, exit_code: u8) -> Value {
        let rules = RULES.iter().map(|(_, id, level, text, severity)| {
            let tags = if severity.is_some() { json!(["security"]) } else { json!(["maintenance"]) };
            let mut properties = json!({ "tags": tags });
            if let Some(severity) = severity {
                properties["security-severity"] = (*severity).into();
            }
            json!({
                "id": id, "shortDescription": { "text": text }, "defaultConfiguration": { "level": level },
                "properties": properties,
            })
        });
        let notifications = self.failed.iter().map(|failed| {
            let hint = failed.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            json!({
                "level": "error",
                "message": { "text": format!("{}: {}{hint}", failed.reference, failed.message) },
            })
        });
        let unknown = self.unknown.iter().map(|unknown| {
            let hint = unknown.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let level = if unknown.state == State::Found { "error" } else { "note" };
            json!({
                "level": level,
                "message": { "text": format!("{} is not known: {}{hint}", unknown.name, unknown.text) },
            })
        });
        let notifications = notifications.chain(unknown);
        json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "otoshi", "version": env!("CARGO_PKG_VERSION"), "rules": rules.collect::<Vec<_>>(),
                } },
                "columnKind": "unicodeCodePoints",
                "invocations": [{
                    "executionSuccessful": self.failed.is_empty() && self.counts.unknown == 0,
                    "exitCode": exit_code,
                    "toolExecutionNotifications": notifications.collect::<Vec<_>>(),
                }],
                "results": self.findings.iter().flat_map(results).collect::<Vec<_>>(),
            }],
        })
    }
}

/// The results of a finding: one, or one for each package.
fn results(finding: &Finding) -> Vec<Value> {
    let place = |kind, what: &str, text: String| result(finding, kind, what, &text);
    if finding.packages.is_empty() {
        let text = with_command(finding, &finding.text);
        return vec![suppress(place(finding.kind, "", text), finding.state, finding.because.as_ref())];
    }
    let one = |update: &super::PackageUpdate| {
        let kind = if update.security { FindingKind::SecurityUpdates } else { FindingKind::PackageUpdates };
        let text = format!(
            "{} {} of {} is {} in {}",
            update.name, update.from, finding.reference, update.to, update.repository
        );
        let text = with_command(finding, &text);
        let what = format!("{} {}", update.name, update.architecture);
        suppress(place(kind, &what, text), update.state, update.because.as_ref())
    };
    finding.packages.iter().map(one).collect()
}

fn with_command(finding: &Finding, text: &str) -> String {
    match &finding.command {
        Some(command) => format!("{text}. Take it in: {command}"),
        None => text.to_owned(),
    }
}

fn result(finding: &Finding, kind: FindingKind, what: &str, text: &str) -> Value {
    let index = RULES.iter().position(|(of, ..)| *of == kind).unwrap_or_default();
    let (_, id, level, ..) = RULES[index];
    // Of a newer version the kind of step counts as well: there may be two.
    let same = Fields::new("sarif 1")
        .text(id)
        .text(&finding.name)
        .text(&finding.reference)
        .list(finding.roles.iter().map(|role| role.as_str()))
        .option(finding.level.map(Level::as_str))
        .text(what);
    json!({
        "ruleId": id, "ruleIndex": index, "level": level, "message": { "text": text },
        "locations": [location(finding)],
        "partialFingerprints": { FINGERPRINT: same.digest().hex() },
    })
}

/// Where something is said about a finding's base in the project; else the image itself.
fn location(finding: &Finding) -> Value {
    let logical = json!([{ "fullyQualifiedName": finding.reference, "kind": "module" }]);
    let physical = match &finding.location {
        Some(place) => json!({
            "artifactLocation": { "uri": encoded(&place.file), "uriBaseId": "%SRCROOT%" },
            "region": { "startLine": place.line },
        }),
        None => json!({
            "artifactLocation": { "uri": format!("oci://{}", encoded(&finding.reference)) },
            "region": { "startLine": 1 },
        }),
    };
    json!({ "physicalLocation": physical, "logicalLocations": logical })
}

fn suppress(mut result: Value, state: State, because: Option<&String>) -> Value {
    if state != State::Found {
        let because = because.map_or("not wanted now", String::as_str);
        result["suppressions"] =
            json!([{ "kind": "external", "status": "accepted", "justification": because }]);
    }
    result
}

/// A path in the form that a URI has it.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' => {
                text.push(byte as char);
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}
