//! RUN `--mount`: comma-separated options to a typed mount.
//!
//! Spec: <https://docs.docker.com/reference/dockerfile/#run---mount>

use std::borrow::Cow;

use crate::{
    DockerfileError, Mount, Sharing, Word,
    csv::{self, fields},
    error::Fault,
};

const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

const KEYS: [&str; 19] = [
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
    "uid",
    "gid",
];

#[derive(Default)]
struct Options {
    kind: Option<&'static str>,
    target: Option<Word>,
    source: Option<Word>,
    from: Option<Word>,
    id: Option<Word>,
    sharing: Option<Sharing>,
    size: Option<u64>,
    env: Option<String>,
    required: bool,
    read_only: Option<bool>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// Parses the value of one `--mount`.
pub(crate) fn parse(text: &str) -> Result<Mount, Fault> {
    let fields = fields(text)?;
    // Options that are words are expanded later anyway.
    let is_word =
        |key: &str| matches!(key, "target" | "dst" | "destination" | "source" | "src" | "from" | "id");
    let has_variable = |field: &String| {
        field.split_once('=').is_some_and(|(key, value)| !is_word(&key.to_lowercase()) && value.contains('$'))
    };
    if !fields.iter().any(has_variable) {
        return read(&fields, &|text| Ok(text.to_owned()));
    }
    let mut from = None;
    for field in &fields {
        let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(k, v)| (k, Some(v)));
        let option = Setting { key: &key.to_lowercase(), value, expand: &|text| Ok(text.to_owned()) };
        if !KEYS.contains(&option.key) {
            return Err(unknown(option.key));
        }
        if option.key == "from" {
            from = option.word_without_variables()?;
        }
    }
    Ok(Mount::Later { text: text.to_owned(), from })
}

/// Puts the value of a word in its place.
type Expand<'a> = dyn Fn(&str) -> Result<String, DockerfileError> + 'a;

fn read(fields: &[String], expand: &Expand<'_>) -> Result<Mount, Fault> {
    let mut options = Options::default();
    for field in fields {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        options.set(&key.to_lowercase(), value, expand)?;
    }
    options.mount()
}

fn unknown(key: &str) -> Fault {
    Fault::new(format!("unknown mount option {key:?}")).did_you_mean(key, KEYS, |near| format!("{near:?}"))
}

impl Mount {
    /// The mount itself, with the values of variables in options that are no words; words are left to be expanded.
    ///
    /// Fails where an option's value, once expanded, is not one that the option can have.
    pub fn settled(
        &self,
        expand: &dyn Fn(&Word) -> Result<String, DockerfileError>,
    ) -> Result<Cow<'_, Self>, DockerfileError> {
        let Self::Later { text, .. } = self else { return Ok(Cow::Borrowed(self)) };
        let expand = |text: &str| expand(&Word(text.to_owned()));
        let read = fields(text).and_then(|fields| read(&fields, &expand));
        read.map(Cow::Owned).map_err(|fault| DockerfileError::new(fault.message).with_hint(fault.hint))
    }
}

impl Options {
    fn kind(&self) -> &'static str {
        self.kind.unwrap_or("bind")
    }

    fn set(&mut self, key: &str, value: Option<&str>, expand: &Expand<'_>) -> Result<(), Fault> {
        let option = Setting { key, value, expand };
        match key {
            "type" => self.kind = Some(one_of(&option, &TYPES)?),
            "target" | "dst" | "destination" => self.target = option.word()?,
            "source" | "src" => self.source = option.word()?,
            "from" => self.from = option.word_without_variables()?,
            "id" => self.id = option.word()?,
            "rw" | "readwrite" => self.read_only = Some(!option.is_true()?),
            "ro" | "readonly" => self.read_only = Some(option.is_true()?),
            "required" => {
                self.only_for(&option, &["secret", "ssh"])?;
                self.required = option.is_true()?;
            }
            "size" => {
                self.only_for(&option, &["tmpfs"])?;
                self.size = Some(size(&option.plain()?)?);
            }
            "sharing" => {
                self.sharing = Some(match one_of(&option, &["shared", "private", "locked"])? {
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => Sharing::Shared,
                });
            }
            "env" => self.env = Some(option.plain()?),
            "mode" => self.mode = Some(option.number(8)?),
            "uid" => self.uid = Some(option.number(10)?),
            "gid" => self.gid = Some(option.number(10)?),
            other => return Err(unknown(other)),
        }
        Ok(())
    }

    fn only_for(&self, option: &Setting<'_>, kinds: &[&str]) -> Result<(), Fault> {
        if kinds.contains(&self.kind()) {
            return Ok(());
        }
        let fault = Fault::new(format!("a {} mount has no option {:?}", self.kind(), option.key));
        Err(fault.hint(format!("it is for type={}, which must come before it", kinds.join(" and type="))))
    }

    fn mount(self) -> Result<Mount, Fault> {
        let kind = self.kind();
        if !matches!(kind, "cache" | "secret" | "ssh") {
            for (key, value) in [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)] {
                if value.is_some() {
                    return Err(Fault::new(format!("a {kind} mount has no option {key:?}")));
                }
            }
        }
        if self.sharing.is_some() && kind != "cache" {
            return Err(Fault::new(format!("a {kind} mount has no option \"sharing\"")));
        }
        // Without a target it is the working directory.
        let target = self.target.clone().unwrap_or_else(|| Word(".".into()));
        Ok(match kind {
            "bind" => Mount::Bind {
                target,
                source: self.source,
                from: self.from,
                rw: self.read_only == Some(false),
            },
            "cache" => Mount::Cache {
                target,
                id: self.id,
                sharing: self.sharing.unwrap_or_default(),
                from: self.from,
                source: self.source,
                uid: self.uid,
                gid: self.gid,
                mode: self.mode,
                ro: self.read_only == Some(true),
            },
            "tmpfs" => Mount::Tmpfs { target, size: self.size },
            "secret" => return self.secret(),
            _ if self.source.is_some() => return Err(Fault::new("an ssh mount has no option \"source\"")),
            _ => Mount::Ssh {
                id: self.id,
                target: self.target,
                required: self.required,
                uid: self.uid,
                gid: self.gid,
                mode: self.mode,
            },
        })
    }

    fn secret(self) -> Result<Mount, Fault> {
        if self.from.is_some() {
            return Err(Fault::new("a secret mount has no option \"from\""));
        }
        if self.source.is_some() && self.id.is_some() {
            return Err(Fault::new("a secret mount has either a source or an id: they are the same"));
        }
        let last_name =
            |path: &Word| path.0.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        let id = self.source.or(self.id).or_else(|| self.target.as_ref().map(|path| Word(last_name(path))));
        let Some(id) = id else {
            return Err(Fault::new("a secret mount needs an id or a target"));
        };
        let target = match self.target {
            None if self.env.is_none() && id.0.contains('/') => {
                Some(Word(format!("/run/secrets/{}", last_name(&id))))
            }
            target => target,
        };
        Ok(Mount::Secret {
            id: Some(id),
            target,
            env: self.env,
            required: self.required,
            uid: self.uid,
            gid: self.gid,
            mode: self.mode,
        })
    }
}

/// One option as written.
struct Setting<'a> {
    key: &'a str,
    value: Option<&'a str>,
    /// For values that are no words.
    expand: &'a Expand<'a>,
}

impl<'a> Setting<'a> {
    fn value(&self) -> Result<&'a str, Fault> {
        self.value.ok_or_else(|| {
            Fault::new(format!("the mount option {:?} needs a value", self.key))
                .hint(format!("{}=value", self.key))
        })
    }

    /// A word that is expanded later; empty is as good as none.
    fn word(&self) -> Result<Option<Word>, Fault> {
        let value = self.value()?;
        Ok((!value.is_empty()).then(|| Word(value.to_owned())))
    }

    fn word_without_variables(&self) -> Result<Option<Word>, Fault> {
        let value = self.value()?;
        // A `$` at the very end is a character.
        if value.find('$').is_some_and(|at| at + 1 < value.len()) {
            let fault = Fault::new(format!("the mount option {:?} cannot contain variables", self.key));
            return Err(fault.hint("give the image a stage of its own, FROM with an ARG, and name that"));
        }
        self.word()
    }

    /// A value that is no word, with its variables replaced.
    fn plain(&self) -> Result<String, Fault> {
        let value = self.value()?;
        if !value.contains('$') {
            return Ok(value.to_owned());
        }
        (self.expand)(value).map_err(|error| Fault::new(error.to_string()))
    }

    fn is_true(&self) -> Result<bool, Fault> {
        if self.value.is_none() {
            return Ok(true);
        }
        let value = self.plain()?;
        csv::truth(&value).ok_or_else(|| {
            Fault::new(format!("the mount option {:?} must be true or false, not {value:?}", self.key))
        })
    }

    fn number(&self, radix: u32) -> Result<u32, Fault> {
        let value = self.plain()?;
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        u32::from_str_radix(&value, radix).ok().filter(|_| digits).ok_or_else(|| {
            let what = if radix == 8 { "an octal number" } else { "a number" };
            Fault::new(format!("the mount option {:?} must be {what}, not {value:?}", self.key))
        })
    }
}

fn one_of<'a>(option: &Setting<'_>, known: &[&'a str]) -> Result<&'a str, Fault> {
    let value = option.plain()?.to_lowercase();
    known.iter().copied().find(|name| *name == value).ok_or_else(|| {
        Fault::new(format!("unknown mount {} {value:?}", option.key))
            .did_you_mean(&value, known.iter().copied(), |near| format!("{near:?}"))
            .hint(format!("one of {}", known.join(", ")))
    })
}

/// Reads a size such as `64m`, `1.5 GiB` or `4096` as bytes; units are powers of 1024.
fn size(text: &str) -> Result<u64, Fault> {
    let wrong = || Fault::new(format!("{text:?} is not a size")).hint("as in 64m or 1g");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| wrong())?;
    let unit = text[end..].trim_start().to_lowercase();
    let unit =
        unit.strip_suffix("ib").filter(|unit| !unit.is_empty()).or(unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(wrong()),
    };
    let bytes = number * (1_u64 << power) as f64;
    if bytes < u64::MAX as f64 / 2.0 { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        Word(text.into())
    }

    #[test]
    fn every_type() {
        assert_eq!(
            parse("target=/a,source=b,from=c,rw").unwrap(),
            Mount::Bind { target: word("/a"), source: Some(word("b")), from: Some(word("c")), rw: true }
        );
        assert_eq!(
            parse("type=cache,dst=/a,id=$X,sharing=LOCKED,uid=1,gid=2,mode=0750,ro=1").unwrap(),
            Mount::Cache {
                target: word("/a"),
                id: Some(word("$X")),
                sharing: Sharing::Locked,
                from: None,
                source: None,
                uid: Some(1),
                gid: Some(2),
                mode: Some(0o750),
                ro: true
            }
        );
        assert_eq!(
            parse("type=tmpfs,target=/a,size=1.5k").unwrap(),
            Mount::Tmpfs { target: word("/a"), size: Some(1536) }
        );
        let secret = |text: &str| match parse(text).unwrap() {
            Mount::Secret { id: Some(id), target, env, required, .. } => {
                (id.0, target.map(|word| word.0), env, required)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(secret("type=secret,id=a"), ("a".into(), None, None, false));
        assert_eq!(secret("type=secret,source=a,required"), ("a".into(), None, None, true));
        assert_eq!(secret("type=secret,target=/x/a"), ("a".into(), Some("/x/a".into()), None, false));
        assert_eq!(secret("type=secret,id=a,env=A"), ("a".into(), None, Some("A".into()), false));
        assert_eq!(secret("type=secret,id=x/a"), ("x/a".into(), Some("/run/secrets/a".into()), None, false));
        assert!(matches!(
            parse("type=ssh,id=default,required=true,mode=0600").unwrap(),
            Mount::Ssh { required: true, mode: Some(0o600), .. }
        ));
    }

    #[test]
    fn options_with_variables_are_known_later() {
        let later = parse("type=$T,target=/a$T,uid=${U:-7},from=b,ro=$F").unwrap();
        assert!(matches!(&later, Mount::Later { from: Some(from), .. } if *from == word("b")));
        let with = |kind: &'static str| {
            later.settled(&move |word| {
                crate::expand::word(&word.0, '\\', &|name| (name == "T").then(|| kind.to_owned()))
            })
        };
        // `F` is not set, and an empty text is neither true nor false.
        assert!(with("cache").is_err());
        let later = parse("type=$T,target=/a$T,uid=${U:-7}").unwrap();
        let settled = later.settled(&|word| {
            crate::expand::word(&word.0, '\\', &|name| (name == "T").then(|| "cache".to_owned()))
        });
        let settled = settled.unwrap();
        assert!(
            matches!(&*settled, Mount::Cache { target, uid: Some(7), .. } if *target == word("/a$T")),
            "{settled:?}"
        );
    }

    #[test]
    fn quoted_fields_and_defaults() {
        assert_eq!(
            parse("type=bind,\"target=/a,\"\"b\"").unwrap(),
            Mount::Bind { target: word("/a,\"b"), source: None, from: None, rw: false }
        );
        assert!(matches!(parse("type=cache").unwrap(), Mount::Cache { target, .. } if target == word(".")));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message, hint) in [
            ("type=chache,target=/a", "unknown mount type \"chache\"", Some("did you mean \"cache\"?")),
            ("type=cache,targt=/a", "unknown mount option \"targt\"", Some("did you mean \"target\"?")),
            ("type=cache,target", "the mount option \"target\" needs a value", Some("target=value")),
            ("type=bind,mode=0755", "a bind mount has no option \"mode\"", None),
            ("type=bind,sharing=locked", "a bind mount has no option \"sharing\"", None),
            ("type=cache,mode=0999", "the mount option \"mode\" must be an octal number, not \"0999\"", None),
            ("type=cache,uid=-1", "the mount option \"uid\" must be a number, not \"-1\"", None),
            ("type=cache,uid=+1", "the mount option \"uid\" must be a number, not \"+1\"", None),
            ("type=cache,ro=yes", "the mount option \"ro\" must be true or false, not \"yes\"", None),
            ("type=secret", "a secret mount needs an id or a target", None),
            ("type=secret,id=a,from=b", "a secret mount has no option \"from\"", None),
            ("type=ssh,source=a", "an ssh mount has no option \"source\"", None),
            ("type=tmpfs,size=2x", "\"2x\" is not a size", Some("as in 64m or 1g")),
            ("type=tmpfs,size=99999999999p", "\"99999999999p\" is not a size", Some("as in 64m or 1g")),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!((fault.message.as_str(), fault.hint.as_deref()), (message, hint), "{text}");
        }
        for text in
            ["from=$X", "uid=$UID,from=$X", "uid=$U,targt=a", "target=a\"b", "\"target=a", "\"a\"b", ""]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
