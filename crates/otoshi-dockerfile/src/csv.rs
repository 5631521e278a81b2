//! Values that are lists: options of RUN `--mount` and `--device`, between commas.

use crate::error::Fault;

/// Splits at commas; a field in double quotes may hold commas, and `""` in it is a quote.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, Fault> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted).ok_or_else(|| Fault::new(format!("a quote is not closed in {rest:?}")))?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                let fault = Fault::new(format!("a quote inside {:?}", &rest[..end]));
                return Err(fault.hint("quote the whole option: \"key=value\""));
            }
            (rest[..end].to_owned(), &rest[end..])
        };
        found.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(found),
            None => return Err(Fault::new(format!("text after a quote: {after:?}"))),
        }
    }
}

fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, rest)),
        }
    }
}

/// Reads what Go takes for true or false; `None` for anything else. Source: `strconv.ParseBool`.
pub fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
