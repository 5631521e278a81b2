//! Reading answers: errors in one line, bodies of a bounded size, waits that are asked for.

use bytes::{Bytes, BytesMut};
use otoshi_http::{Response, SafeUrl, TransportError, Url, is_certificate_error, reason};
use serde_json::Value;

use crate::error::{Asked, RegistryError};
use crate::hosts::Endpoint;

/// How much of an error's text is read.
const MAX_ERROR: usize = 64 << 10;

/// Makes an error of an answer that is none of those hoped for.
pub(crate) async fn refused(asked: &Asked, response: Response) -> RegistryError {
    let status = response.status().as_u16();
    let bytes = bounded(response, MAX_ERROR).await.unwrap_or_default();
    RegistryError::Refused { asked: asked.clone(), status, answer: answer_text(&bytes) }
}

/// Whether a registry says that it does not know the method HEAD, which the specification demands of it.
pub(crate) fn knows_no_head(response: &Response) -> bool {
    matches!(response.status().as_u16(), 405 | 501)
}

/// Reads a body of at most `most` bytes.
pub(crate) async fn bounded(mut response: Response, most: usize) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
        if bytes.len() + chunk.len() > most {
            return Err(format!("it is larger than {most} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// What an error's body says, in one line: the messages of the specification's form, else its beginning.
pub(crate) fn answer_text(bytes: &[u8]) -> String {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let list = value.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
    let said: Vec<String> = list
        .iter()
        .filter_map(|error| {
            let message = error.get("message").and_then(Value::as_str).filter(|text| !text.is_empty());
            message.or_else(|| error.get("code").and_then(Value::as_str)).map(str::to_owned)
        })
        .collect();
    let text = if let Some(details) = value.get("details").and_then(Value::as_str) {
        details.to_owned()
    } else if said.is_empty() {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        said.join(", ")
    };
    // Pages for browsers say nothing.
    if text.trim_start().starts_with('<') {
        return String::new();
    }
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An address without its query, which may hold a signature.
pub(crate) fn place_of(url: &Url) -> String {
    SafeUrl::new(url.as_str()).place()
}

pub(crate) fn unreachable_error(asked: &Asked, endpoint: &Endpoint, error: TransportError) -> RegistryError {
    let hint = if is_certificate_error(&error) {
        format!(
            "trust its certificate authority: put its certificate into /etc/containers/certs.d/{}/ca.crt",
            endpoint.host
        )
    } else if error.is_connect() {
        format!("check the name {} and the network", endpoint.host)
    } else {
        "try again later".to_owned()
    };
    RegistryError::Unreachable {
        asked: asked.clone(),
        reason: reason(&error),
        hint: Some(hint.into()),
        source: Some(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_text_is_one_short_line() {
        let text =
            answer_text(br#"{"errors":[{"code":"DENIED","message":"no\n\u001b[1mentry"},{"code":"X"}]}"#);
        assert_eq!(text, "no [1mentry, X");
        assert_eq!(answer_text(b"<html>x"), "");
        assert_eq!(answer_text(&[b'a'; 1000]).len(), 300);
    }
}
