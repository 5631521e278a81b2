//! RUN `--mount`: comma-separated options to a typed mount.
//!
//! Spec: <https://docs.docker.com/reference/dockerfile/#run---mount>

use crate::{DockerfileError, Mount, Sharing, Word, suggest};

const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

const KEYS: [&str; 17] = [
    "type",
    "target",
    "dst",
    "destination",
    "source",
    "src",
    "from",
    "rw",
    "readwrite",
    "ro",
    "readonly",
    "id",
    "sharing",
    "size",
    "env",
    "required",
    "mode",
];

#[derive(Default)]
struct Options {
    target: Option<Word>,
    source: Option<Word>,
    from: Option<Word>,
    id: Option<Word>,
    sharing: Sharing,
    size: Option<u64>,
    env: Option<String>,
    required: bool,
    read_only: Option<bool>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// Parses the value of one `--mount`.
pub(crate) fn parse(text: &str) -> Result<Mount, DockerfileError> {
    let mut kind = "bind".to_owned();
    let mut options = Options::default();
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').map_or((field, None), |(key, value)| (key, Some(unquote(value))));
        let key = key.trim().to_lowercase();
        if key == "type" {
            kind = value.unwrap_or_default().to_lowercase();
        } else {
            options.set(&key, value)?;
        }
    }
    let target = |options: &mut Options| {
        options
            .target
            .take()
            .ok_or_else(|| DockerfileError::new(format!("--mount=type={kind} needs a target")))
    };
    Ok(match kind.as_str() {
        "bind" => Mount::Bind {
            target: target(&mut options)?,
            source: options.source,
            from: options.from,
            rw: options.read_only == Some(false),
        },
        "cache" => Mount::Cache {
            target: target(&mut options)?,
            id: options.id,
            sharing: options.sharing,
            from: options.from,
            source: options.source,
            uid: options.uid,
            gid: options.gid,
            mode: options.mode,
            ro: options.read_only == Some(true),
        },
        "tmpfs" => Mount::Tmpfs { target: target(&mut options)?, size: options.size },
        "secret" => {
            let from_target = || {
                let path = options.target.as_ref().or(options.source.as_ref())?;
                Some(Word(path.0.rsplit('/').next().unwrap_or_default().to_owned()))
            };
            let id = options.id.clone().or_else(from_target);
            if id.is_none() {
                return Err(DockerfileError::new("--mount=type=secret needs an id or a target"));
            }
            Mount::Secret {
                id,
                target: options.target,
                env: options.env,
                required: options.required,
                uid: options.uid,
                gid: options.gid,
                mode: options.mode,
            }
        }
        "ssh" => Mount::Ssh { id: options.id, target: options.target, required: options.required },
        other => {
            let hint = suggest(other, TYPES).map(|near| format!("did you mean {near:?}?"));
            return Err(DockerfileError::new(format!("unknown mount type {other:?}")).with_hint(hint));
        }
    })
}

impl Options {
    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), DockerfileError> {
        let needed =
            || value.ok_or_else(|| DockerfileError::new(format!("the mount option {key} needs a value")));
        let word = || needed().map(|value| Some(Word(value.to_owned())));
        let number = |radix: u32| {
            let value = needed()?;
            let wrong = |_| DockerfileError::new(format!("the mount option {key}={value} is not a number"));
            u32::from_str_radix(value, radix).map(Some).map_err(wrong)
        };
        let flag = || match value.map(str::to_lowercase).as_deref() {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => {
                Err(DockerfileError::new(format!("the mount option {key}={other} is neither true nor false")))
            }
        };
        match key {
            "target" | "dst" | "destination" => self.target = word()?,
            "source" | "src" => self.source = word()?,
            "from" => self.from = word()?,
            "id" => self.id = word()?,
            "rw" | "readwrite" => self.read_only = Some(!flag()?),
            "ro" | "readonly" => self.read_only = Some(flag()?),
            "required" => self.required = flag()?,
            "env" => self.env = Some(needed()?.to_owned()),
            "mode" => self.mode = number(8)?,
            "uid" => self.uid = number(10)?,
            "gid" => self.gid = number(10)?,
            "size" => self.size = Some(size(needed()?)?),
            "sharing" => {
                self.sharing = match needed()?.to_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "locked" => Sharing::Locked,
                    "private" => Sharing::Private,
                    other => {
                        let hint = "one of shared, locked, private".to_owned();
                        return Err(
                            DockerfileError::new(format!("unknown sharing {other:?}")).with_hint(Some(hint))
                        );
                    }
                }
            }
            other => {
                let hint = suggest(other, KEYS).map(|near| format!("did you mean {near:?}?"));
                return Err(DockerfileError::new(format!("unknown mount option {other:?}")).with_hint(hint));
            }
        }
        Ok(())
    }
}

fn unquote(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

/// Reads a size such as `64m` as bytes.
fn size(text: &str) -> Result<u64, DockerfileError> {
    let lower = text.to_lowercase();
    let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match lower[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => 64,
    };
    let number = digits.parse::<u64>().ok().filter(|number| shift < 64 && number.leading_zeros() >= shift);
    number
        .map(|number| number << shift)
        .ok_or_else(|| DockerfileError::new(format!("the size {text:?} is not one")))
}
