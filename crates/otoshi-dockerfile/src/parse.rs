//! Instructions from logical lines.

use std::time::Duration;

use crate::{
    Add, Arg, CommandForm, Copy, Dockerfile, DockerfileError, From, Healthcheck, Instruction, Located, Run,
    Stage, Word,
    lines::{self, Line},
    mount, suggest,
};

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

type Result<T> = std::result::Result<T, DockerfileError>;

impl Dockerfile {
    /// Parses a Dockerfile; `name` is shown in errors.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let directives = lines::directives(name, text)?;
        let escape = directives.escape.unwrap_or('\\');
        let mut dockerfile = Self {
            name: name.to_owned(),
            text: text.into(),
            escape,
            syntax: directives.syntax,
            globals: Vec::new(),
            stages: Vec::new(),
        };
        for line in lines::split(name, text, escape)? {
            let span = line.span.clone();
            dockerfile.line(line).map_err(|error| error.or_at(name, text, span))?;
        }
        if dockerfile.stages.is_empty() {
            let error = DockerfileError::new("there is no FROM");
            return Err(error.with_hint(Some("a Dockerfile starts with FROM".into())).or_at(
                name,
                text,
                0..0,
            ));
        }
        Ok(dockerfile)
    }

    fn line(&mut self, line: Line) -> Result<()> {
        let (keyword, rest) = keyword(&line.text);
        let located = |source: String| (line.span.clone(), line.first, line.last, source);
        let mut source = format!("{keyword} {rest}").trim_end().to_owned();
        for heredoc in &line.heredocs {
            source = format!("{source}\n{}{}", heredoc.content, heredoc.name);
        }
        let (span, first, end_line, source) = located(source);
        if keyword == "FROM" {
            let (from, name) = from(rest, self.escape)?;
            if let Some(name) = &name
                && self.stages.iter().any(|stage| stage.name.as_ref() == Some(name))
            {
                return Err(DockerfileError::new(format!("there are two stages named {name:?}")));
            }
            let from = Located { value: from, span, line: first, end_line, source };
            self.stages.push(Stage { index: self.stages.len(), name, from, instructions: Vec::new() });
            return Ok(());
        }
        let instruction = instruction(&keyword, rest, &line, self.escape)?;
        match (self.stages.last_mut(), instruction) {
            (Some(stage), value) => {
                stage.instructions.push(Located { value, span, line: first, end_line, source });
            }
            (None, Instruction::Arg(args)) => {
                for value in args {
                    self.globals.push(Located {
                        value,
                        span: span.clone(),
                        line: first,
                        end_line,
                        source: source.clone(),
                    });
                }
            }
            (None, _) => {
                let error = DockerfileError::new(format!("{keyword} stands before the first FROM"));
                return Err(error.with_hint(Some("only ARG may".into())));
            }
        }
        Ok(())
    }
}

fn keyword(text: &str) -> (String, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (text[..end].to_uppercase(), text[end..].trim_start())
}

fn instruction(keyword: &str, rest: &str, line: &Line, escape: char) -> Result<Instruction> {
    let needs = |what: &str| DockerfileError::new(format!("{keyword} needs {what}"));
    if rest.is_empty() && KEYWORDS.contains(&keyword) {
        return Err(needs("an argument"));
    }
    Ok(match keyword {
        "ARG" => Instruction::Arg(arguments(rest, escape)?),
        "ENV" => Instruction::Env(pairs(keyword, rest, escape)?),
        "LABEL" => Instruction::Label(pairs(keyword, rest, escape)?),
        "RUN" => Instruction::Run(run(rest, line)?),
        "COPY" => Instruction::Copy(copy(keyword, rest, line, escape)?.0),
        "ADD" => {
            let (copy, extra) = copy(keyword, rest, line, escape)?;
            let value =
                |name: &str| extra.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone());
            Instruction::Add(Add {
                copy,
                checksum: value("checksum").flatten().map(Word),
                keep_git_dir: value("keep-git-dir").is_some_and(|v| v.is_none_or(|v| v != "false")),
                unpack: value("unpack").map(|v| v.is_none_or(|v| v != "false")),
            })
        }
        "WORKDIR" => Instruction::Workdir(Word(rest.to_owned())),
        "USER" => Instruction::User(Word(rest.to_owned())),
        "SHELL" => Instruction::Shell(
            json(rest).filter(|list| !list.is_empty()).ok_or_else(|| needs("a JSON list"))?,
        ),
        "ENTRYPOINT" => Instruction::Entrypoint(command(rest)),
        "CMD" => Instruction::Cmd(command(rest)),
        "EXPOSE" => Instruction::Expose(words(rest, escape).into_iter().map(Word).collect()),
        "VOLUME" => {
            let paths = json(rest).unwrap_or_else(|| words(rest, escape));
            Instruction::Volume(paths.into_iter().map(Word).collect())
        }
        "STOPSIGNAL" => Instruction::StopSignal(Word(rest.to_owned())),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(rest)?),
        "MAINTAINER" => Instruction::Maintainer(rest.to_owned()),
        "ONBUILD" => {
            let (inner, inner_rest) = self::keyword(rest);
            if matches!(inner.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
                return Err(DockerfileError::new(format!("ONBUILD cannot hold {inner}")));
            }
            instruction(&inner, inner_rest, line, escape)?;
            Instruction::Onbuild(rest.to_owned())
        }
        other => {
            let hint = suggest(other, KEYWORDS).map(|near| format!("did you mean {near}?"));
            return Err(DockerfileError::new(format!("unknown instruction {other}")).with_hint(hint));
        }
    })
}

fn from(rest: &str, escape: char) -> Result<(From, Option<String>)> {
    let (flags, rest) = flags(rest, &["platform"])?;
    let platform = flags.into_iter().find_map(|(_, value)| value).map(Word);
    let parts = words(rest, escape);
    let form = || DockerfileError::new("FROM needs one image, or an image, AS and a name");
    match &parts[..] {
        [image] => Ok((From { image: Word(image.clone()), platform }, None)),
        [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
            let name = name.to_lowercase();
            let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
            if !valid || matches!(name.as_str(), "scratch" | "context") {
                let hint = "letters, digits, -, _ and ., starting with a letter".to_owned();
                return Err(
                    DockerfileError::new(format!("invalid stage name {name:?}")).with_hint(Some(hint))
                );
            }
            Ok((From { image: Word(image.clone()), platform }, Some(name)))
        }
        _ => Err(form()),
    }
}

type Flags = Vec<(String, Option<String>)>;

/// Takes the leading `--name=value` words; unknown names are an error.
fn flags<'a>(mut rest: &'a str, known: &[&str]) -> Result<(Flags, &'a str)> {
    let mut found = Vec::new();
    while let Some(after) = rest.strip_prefix("--") {
        let end = flag_end(after);
        let (flag, next) = after.split_at(end);
        let (name, value) =
            flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        if name.is_empty() {
            rest = next.trim_start();
            break;
        }
        if !known.contains(&name) {
            let hint = suggest(name, known.iter().copied()).map(|near| format!("did you mean --{near}?"));
            return Err(DockerfileError::new(format!("unknown flag --{name}")).with_hint(hint));
        }
        found.push((name.to_owned(), value));
        rest = next.trim_start();
    }
    Ok((found, rest))
}

/// Where a flag ends: at the first space that is not quoted.
fn flag_end(text: &str) -> usize {
    let mut quote = None;
    for (index, character) in text.char_indices() {
        match quote {
            Some(open) if open == character => quote = None,
            Some(_) => {}
            None if character == '"' || character == '\'' => quote = Some(character),
            None if character.is_whitespace() => return index,
            None => {}
        }
    }
    text.len()
}

fn run(rest: &str, line: &Line) -> Result<Run> {
    let (flags, rest) = flags(rest, &["mount", "network", "security"])?;
    if rest.is_empty() {
        return Err(DockerfileError::new("RUN needs a command"));
    }
    let mut run = Run {
        command: command(rest),
        heredocs: line.heredocs.clone(),
        mounts: Vec::new(),
        network: None,
        security: None,
    };
    for (name, value) in flags {
        let value = value.ok_or_else(|| DockerfileError::new(format!("--{name} needs a value")))?;
        match name.as_str() {
            "mount" => run.mounts.push(mount::parse(&value)?),
            "network" if matches!(value.as_str(), "default" | "none" | "host") => run.network = Some(value),
            "network" => {
                let hint = "one of default, none, host".to_owned();
                return Err(DockerfileError::new(format!("unknown network {value:?}")).with_hint(Some(hint)));
            }
            _ => run.security = Some(value),
        }
    }
    Ok(run)
}

fn copy(keyword: &str, rest: &str, line: &Line, escape: char) -> Result<(Copy, Flags)> {
    let common = ["chown", "chmod", "link", "exclude"];
    let own: &[&str] =
        if keyword == "ADD" { &["checksum", "keep-git-dir", "unpack"] } else { &["from", "parents"] };
    let known: Vec<&str> = common.iter().chain(own).copied().collect();
    let (flags, rest) = flags(rest, &known)?;
    let mut parts = json(rest).unwrap_or_else(|| words(rest, escape));
    let dest = parts.pop().filter(|_| !parts.is_empty());
    let Some(dest) = dest else {
        return Err(DockerfileError::new(format!("{keyword} needs at least one source and a destination")));
    };
    let sources: Vec<Word> = parts
        .into_iter()
        .filter(|part| line.heredocs.is_empty() || !part.starts_with("<<"))
        .map(Word)
        .collect();
    if sources.len() + line.heredocs.len() > 1
        && !dest.ends_with('/')
        && dest != "."
        && !dest.ends_with("/.")
        && !dest.contains('$')
    {
        let error = DockerfileError::new(format!(
            "{keyword} with several sources needs a directory as its destination"
        ));
        return Err(error.with_hint(Some(format!("end it with a slash: {dest}/"))));
    }
    let is_set = |name: &str| {
        flags.iter().any(|(set, value)| set == name && value.as_deref().is_none_or(|v| v != "false"))
    };
    let value =
        |name: &str| flags.iter().find(|(set, _)| set == name).and_then(|(_, value)| value.clone()).map(Word);
    let copy = Copy {
        sources,
        heredocs: line.heredocs.clone(),
        dest: Word(dest),
        from: value("from"),
        chown: value("chown"),
        chmod: value("chmod"),
        link: is_set("link"),
        parents: is_set("parents"),
        exclude: flags
            .iter()
            .filter(|(name, _)| name == "exclude")
            .filter_map(|(_, value)| value.clone())
            .map(Word)
            .collect(),
    };
    Ok((copy, flags))
}

/// A JSON list of strings; anything else is no exec form.
fn json(text: &str) -> Option<Vec<String>> {
    if text.trim_start().starts_with('[') { serde_json::from_str(text.trim()).ok() } else { None }
}

fn command(rest: &str) -> CommandForm {
    json(rest).map_or_else(|| CommandForm::Shell(rest.to_owned()), CommandForm::Exec)
}

/// Splits at space that is neither quoted nor escaped; quotes stay.
fn words(text: &str, escape: char) -> Vec<String> {
    let mut found = Vec::new();
    let mut current = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            c if c == escape && quote != Some('\'') => {
                current.push(c);
                current.extend(characters.next());
                continue;
            }
            c @ ('"' | '\'') if quote.is_none() => quote = Some(c),
            c if quote == Some(c) => quote = None,
            c if c.is_whitespace() && quote.is_none() => {
                if !current.is_empty() {
                    found.push(std::mem::take(&mut current));
                }
                continue;
            }
            _ => {}
        }
        current.push(character);
    }
    if !current.is_empty() {
        found.push(current);
    }
    found
}

fn pairs(keyword: &str, rest: &str, escape: char) -> Result<Vec<(Word, Word)>> {
    let parts = words(rest, escape);
    let first = parts.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        // The old form: one name, and all that follows is the value.
        let (name, value) = rest.split_once(char::is_whitespace).ok_or_else(|| {
            DockerfileError::new(format!("{keyword} needs a value for {first}"))
                .with_hint(Some(format!("{keyword} {first}=value")))
        })?;
        return Ok(vec![(Word(name.to_owned()), Word(value.trim().to_owned()))]);
    }
    let pair = |part: &String| match part.split_once('=') {
        Some(("", _)) | None => {
            Err(DockerfileError::new(format!("{keyword}: {part:?} is not of the form name=value")))
        }
        Some((name, value)) => Ok((Word(name.to_owned()), Word(value.to_owned()))),
    };
    parts.iter().map(pair).collect()
}

fn arguments(rest: &str, escape: char) -> Result<Vec<Arg>> {
    let argument = |part: String| {
        let (name, default) = part
            .split_once('=')
            .map_or((part.as_str(), None), |(name, value)| (name, Some(Word(value.to_owned()))));
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-' || c == '.') {
            return Err(DockerfileError::new(format!("ARG: invalid name {name:?}")));
        }
        Ok(Arg { name: name.to_owned(), default })
    };
    words(rest, escape).into_iter().map(argument).collect()
}

fn healthcheck(rest: &str) -> Result<Healthcheck> {
    let (flags, rest) = flags(rest, &["interval", "timeout", "start-period", "start-interval", "retries"])?;
    let (kind, rest) = keyword(rest);
    match kind.as_str() {
        "NONE" if rest.is_empty() && flags.is_empty() => return Ok(Healthcheck::None),
        "CMD" if !rest.is_empty() => {}
        _ => return Err(DockerfileError::new("HEALTHCHECK needs NONE, or CMD and a command")),
    }
    let value =
        |name: &str| flags.iter().find(|(set, _)| set == name).and_then(|(_, value)| value.as_deref());
    let time = |name: &str| value(name).map(|text| duration(name, text)).transpose();
    let retries = value("retries").map(|text| {
        text.parse().map_err(|_| DockerfileError::new(format!("--retries={text}: not a number")))
    });
    Ok(Healthcheck::Test {
        command: command(rest),
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries: retries.transpose()?,
    })
}

/// Reads a duration such as `1m30s`.
fn duration(name: &str, text: &str) -> Result<Duration> {
    let wrong = || {
        DockerfileError::new(format!("--{name}={text}: not a duration"))
            .with_hint(Some("as in 30s or 1m30s".into()))
    };
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let end =
            rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |length| digits + length);
        total += number
            * match &rest[digits..end] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(wrong()),
            };
        rest = &rest[end..];
    }
    if text.is_empty() { Err(wrong()) } else { Duration::try_from_secs_f64(total).map_err(|_| wrong()) }
}
