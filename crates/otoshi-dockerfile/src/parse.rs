//! Instructions from logical lines.
//!
//! Each instruction takes its line apart in its own way (see `tokens`); what the words mean is left to
//! [`crate::Scope`]. Whatever `docker build` accepts is accepted, so that the engine can say what it cannot do.

use crate::{
    Add, Arg, Copy, Dockerfile, DockerfileError, From, Instruction, Located, Run, Stage, Word, device,
    error::Fault,
    expand,
    flags::{Flags, Known, Takes},
    healthcheck, heredoc,
    lines::{self, Line},
    mount,
    tokens::{Command, command_form},
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

type Result<T, E = Fault> = std::result::Result<T, E>;

impl Dockerfile {
    /// Parses a Dockerfile; `name` is shown in errors.
    ///
    /// Fails at the first line that is wrong, and where there is no FROM.
    pub fn parse(name: &str, text: &str) -> Result<Self, DockerfileError> {
        match Self::parse_partly(name, text)? {
            (dockerfile, None) => Ok(dockerfile),
            (_, Some(error)) => Err(error),
        }
    }

    /// Parses a Dockerfile up to an instruction that is wrong; fails where its directives are.
    pub(crate) fn parse_partly(
        name: &str,
        text: &str,
    ) -> Result<(Self, Option<DockerfileError>), DockerfileError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let directives = lines::directives(name, text)?;
        let escape = directives.escape.unwrap_or('\\');
        let mut dockerfile = Self {
            name: name.to_owned(),
            text: text.into(),
            escape,
            syntax: directives.syntax,
            check: directives.check,
            directives_end: directives.end,
            globals: Vec::new(),
            stages: Vec::new(),
        };
        let (lines, mut error) = lines::split_partly(name, text, escape);
        for line in lines {
            if let Err(fault) = dockerfile.line(&line) {
                error = Some(line.error(name, text, fault));
                break;
            }
        }
        if error.is_none() && dockerfile.stages.is_empty() {
            let empty = DockerfileError::new("there is no FROM");
            let hint = Some("a Dockerfile starts with FROM".into());
            error = Some(empty.with_hint(hint).or_at(name, text, 0..0));
        }
        Ok((dockerfile, error))
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let command = Command::read(&line.text, 0, self.escape);
        if command.keyword.eq_ignore_ascii_case("FROM") {
            let (from, name) = from(&command)?;
            let from = located(line, &command, from);
            self.stages.push(Stage { index: self.stages.len(), name, from, instructions: Vec::new() });
            return Ok(());
        }
        let value = instruction(&command, line, self.escape)?;
        match (self.stages.last_mut(), value) {
            (Some(stage), value) => stage.instructions.push(located(line, &command, value)),
            (None, Instruction::Arg(args)) => {
                self.globals.extend(args.into_iter().map(|arg| located(line, &command, arg)));
            }
            (None, _) => {
                let fault =
                    Fault::new(format!("{} comes before the first FROM", command.keyword.to_uppercase()));
                return Err(fault.hint("only ARG may").at(command.keyword_at));
            }
        }
        Ok(())
    }
}

impl Instruction {
    /// Parses the text of an ONBUILD trigger, as it stands in an image's config: one instruction with its heredocs.
    ///
    /// Fails where the text is not exactly one instruction, or one that ONBUILD cannot trigger.
    pub fn parse_trigger(text: &str) -> Result<Located<Self>, DockerfileError> {
        let name = "ONBUILD trigger";
        let lines = lines::split(name, text, '\\')?;
        let [line] = &lines[..] else {
            let error = DockerfileError::new("an ONBUILD trigger is one instruction");
            return Err(error.or_at(name, text, 0..text.len()));
        };
        let command = Command::read(&line.text, 0, '\\');
        let read = trigger_allowed(&command).and_then(|()| instruction(&command, line, '\\'));
        let value = read.map_err(|fault| line.error(name, text, fault))?;
        Ok(located(line, &command, value))
    }
}

fn located<T>(line: &Line, command: &Command<'_>, value: T) -> Located<T> {
    let mut source = command.keyword.to_uppercase();
    source.push_str(&line.text[command.keyword.len()..]);
    append_heredocs(&mut source, line);
    Located { value, span: line.span.clone(), line: line.first, end_line: line.last, source }
}

fn append_heredocs(text: &mut String, line: &Line) {
    for heredoc in &line.heredocs {
        text.push('\n');
        text.push_str(&heredoc.raw);
        text.push_str(&heredoc.name);
    }
}

fn instruction(command: &Command<'_>, line: &Line, escape: char) -> Result<Instruction> {
    let keyword = command.keyword.to_uppercase();
    // ARG and STOPSIGNAL are lenient about flags, as HEALTHCHECK NONE is; the rest know theirs.
    if !matches!(keyword.as_str(), "ARG" | "STOPSIGNAL" | "HEALTHCHECK" | "RUN" | "COPY" | "ADD")
        && KEYWORDS.contains(&keyword.as_str())
    {
        Flags::read(&keyword, &command.flags, &[])?;
    }
    Ok(match keyword.as_str() {
        "ARG" => Instruction::Arg(arg(command, escape)?),
        "ENV" => Instruction::Env(pairs(&keyword, command, escape)?),
        "LABEL" => Instruction::Label(pairs(&keyword, command, escape)?),
        "RUN" => Instruction::Run(run(command, line)?),
        "COPY" => Instruction::Copy(copy(&keyword, command, line)?.0),
        "ADD" => {
            let (copy, flags) = copy(&keyword, command, line)?;
            Instruction::Add(Add {
                copy,
                checksum: flags.word("checksum"),
                keep_git_dir: flags.switch("keep-git-dir").unwrap_or_default(),
                unpack: flags.switch("unpack"),
            })
        }
        "WORKDIR" => Instruction::Workdir(one(&keyword, command)?),
        "USER" => Instruction::User(one(&keyword, command)?),
        "STOPSIGNAL" => Instruction::StopSignal(one(&keyword, command)?),
        "MAINTAINER" => Instruction::Maintainer(one(&keyword, command)?.0),
        "SHELL" => Instruction::Shell(shell(command)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command_form(command)?),
        "CMD" => Instruction::Cmd(command_form(command)?),
        "EXPOSE" => {
            needs_argument(&keyword, command)?;
            Instruction::Expose(command.fields().into_iter().map(|field| Word(field.text)).collect())
        }
        "VOLUME" => Instruction::Volume(volumes(command)?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck::parse(command)?),
        "ONBUILD" => {
            needs_argument(&keyword, command)?;
            let trigger = Command::read(command.args, command.args_at, escape);
            trigger_allowed(&trigger)?;
            instruction(&trigger, line, escape)?;
            let mut text = command.args.to_owned();
            append_heredocs(&mut text, line);
            Instruction::Onbuild(text)
        }
        "" => return Err(Fault::new("there is no instruction here")),
        other => {
            let fault = Fault::new(format!("unknown instruction {other}")).at(command.keyword_at.clone());
            return Err(fault.did_you_mean(other, KEYWORDS, str::to_owned));
        }
    })
}

fn trigger_allowed(trigger: &Command<'_>) -> Result<()> {
    let keyword = trigger.keyword.to_uppercase();
    if matches!(keyword.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
        return Err(Fault::new(format!("ONBUILD cannot trigger {keyword}")).at(trigger.keyword_at.clone()));
    }
    Ok(())
}

fn needs_argument(keyword: &str, command: &Command<'_>) -> Result<()> {
    if command.args.is_empty() { Err(Fault::new(format!("{keyword} needs an argument"))) } else { Ok(()) }
}

/// All that follows the keyword as one word.
fn one(keyword: &str, command: &Command<'_>) -> Result<Word> {
    needs_argument(keyword, command)?;
    Ok(Word(command.args.to_owned()))
}

fn from(command: &Command<'_>) -> Result<(From, Option<String>)> {
    let flags = Flags::read("FROM", &command.flags, &[("platform", Takes::Value)])?;
    let fields = command.fields();
    let platform = flags.word("platform");
    let name = match &fields[..] {
        [_] => None,
        [_, keyword, name] if keyword.text.eq_ignore_ascii_case("AS") => {
            let lower = name.text.to_lowercase();
            let is_valid = lower.starts_with(|c: char| c.is_ascii_lowercase())
                && lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
            if !is_valid {
                let fault = Fault::new(format!("invalid stage name {:?}", name.text)).at(name.at.clone());
                return Err(fault.hint("a letter, then letters, digits, \"-\", \"_\" and \".\""));
            }
            Some(lower)
        }
        [] => return Err(Fault::new("FROM needs an image")),
        [_, second, ..] => {
            let fault = Fault::new("FROM takes an image, or an image, AS and a name");
            let at = second.at.start..command.args_range().end;
            return Err(if second.text.eq_ignore_ascii_case("AS") {
                fault.hint("the name after AS is one word").at(at)
            } else {
                fault.hint(format!("FROM {} AS {}", fields[0].text, second.text)).at(at)
            });
        }
    };
    Ok((From { image: Word(fields[0].text.clone()), platform }, name))
}

fn run(command: &Command<'_>, line: &Line) -> Result<Run> {
    let known = [
        ("mount", Takes::Values),
        ("network", Takes::Value),
        ("security", Takes::Value),
        ("device", Takes::Values),
    ];
    let flags = Flags::read("RUN", &command.flags, &known)?;
    let mut devices = Vec::new();
    for (value, at) in flags.all("device") {
        devices.push(device::parse(value).map_err(|fault| fault.at(at))?);
    }
    let mut mounts = Vec::new();
    for (value, at) in flags.all("mount") {
        mounts.push(mount::parse(value).map_err(|fault| fault.at(at))?);
    }
    let choice = |name: &str, known: &[&str]| match flags.all(name).next() {
        None => Ok(None),
        Some((value, _)) if known.contains(&value) => Ok(Some(value.to_owned())),
        Some((value, at)) => Err(Fault::new(format!("unknown {name} {value:?}"))
            .did_you_mean(value, known.iter().copied(), |near| format!("{near:?}"))
            .hint(format!("one of {}", known.join(", ")))
            .at(at)),
    };
    Ok(Run {
        command: command_form(command)?,
        heredocs: line.heredocs.clone(),
        mounts,
        network: choice("network", &["default", "none", "host"])?,
        security: choice("security", &["sandbox", "insecure"])?,
        devices,
    })
}

fn copy(keyword: &str, command: &Command<'_>, line: &Line) -> Result<(Copy, Flags)> {
    const COMMON: [Known; 4] = [
        ("chown", Takes::Value),
        ("chmod", Takes::Value),
        ("link", Takes::Switch),
        ("exclude", Takes::Values),
    ];
    let own: &[Known] = if keyword == "ADD" {
        &[("checksum", Takes::Value), ("keep-git-dir", Takes::Switch), ("unpack", Takes::Switch)]
    } else {
        &[("from", Takes::Value), ("parents", Takes::Switch)]
    };
    let flags = Flags::read(keyword, &command.flags, &[&COMMON, own].concat())?;
    let mut paths = match command.json()? {
        Some(list) => list,
        None => command.fields().into_iter().map(|field| field.text).collect(),
    };
    let dest = paths.pop().filter(|_| !paths.is_empty());
    let dest =
        dest.ok_or_else(|| Fault::new(format!("{keyword} needs at least one source and a destination")))?;
    let opens = |path: &str| heredoc::of_word(path).ok().flatten();
    if opens(&dest).is_some() {
        return Err(Fault::new(format!("{keyword} cannot have a heredoc as its destination")));
    }
    let mut sources = Vec::new();
    let mut heredocs = Vec::new();
    for path in paths {
        let Some(opened) = opens(&path) else {
            sources.push(Word(path));
            continue;
        };
        if opened.name.contains('/') || matches!(opened.name.as_str(), "." | "..") {
            let fault = Fault::new(format!("the heredoc {:?} cannot be a file name", opened.name));
            return Err(
                fault.hint(format!("name the file in the destination: {keyword} <<EOF /path/to/file"))
            );
        }
        // Of two with one name the later text counts.
        let body = line.heredocs.iter().rev().find(|heredoc| heredoc.name == opened.name);
        heredocs.push(body.cloned().unwrap_or_else(|| opened.with_content(String::new())));
    }
    let from = flags.value("from");
    if let Some((text, at)) = &from
        && !expand::word(text, '\\', &|_| None).is_ok_and(|expanded| expanded == **text)
    {
        let fault = Fault::new(format!("{keyword} --from cannot contain variables")).at(at.clone());
        return Err(fault.hint("give the image a stage of its own, FROM with an ARG, and copy from that"));
    }
    let copy = Copy {
        sources,
        heredocs,
        dest: Word(dest),
        from: from.map(|(text, _)| Word(text.to_owned())),
        chown: flags.word("chown"),
        chmod: flags.word("chmod"),
        link: flags.switch("link").unwrap_or_default(),
        parents: flags.switch("parents").unwrap_or_default(),
        exclude: flags.all("exclude").map(|(text, _)| Word(text.to_owned())).collect(),
    };
    Ok((copy, flags))
}

fn shell(command: &Command<'_>) -> Result<Vec<String>> {
    match command.json()? {
        Some(list) if !list.is_empty() => Ok(list),
        _ => Err(Fault::new("SHELL needs a JSON list").hint("SHELL [\"/bin/bash\", \"-c\"]")),
    }
}

fn volumes(command: &Command<'_>) -> Result<Vec<Word>> {
    let paths = match command.json()? {
        Some(list) => list,
        None => command.fields().into_iter().map(|field| field.text).collect(),
    };
    let paths: Vec<Word> = paths.into_iter().map(|path| Word(path.trim().to_owned())).collect();
    if paths.is_empty() {
        return Err(Fault::new("VOLUME needs an argument"));
    }
    if paths.iter().any(|path| path.0.is_empty()) {
        return Err(Fault::new("VOLUME cannot contain an empty path"));
    }
    Ok(paths)
}

/// `name=value` pairs, or the old form: one name, and all that follows is its value.
fn pairs(keyword: &str, command: &Command<'_>, escape: char) -> Result<Vec<(Word, Word)>> {
    let words = command.words(escape);
    let Some(first) = words.first() else {
        return Err(Fault::new(format!("{keyword} needs an argument")).hint(format!("{keyword} name=value")));
    };
    if !first.text.contains('=') {
        let is_blank = |c: char| crate::tokens::is_blank(c);
        let Some((name, value)) = command.args.split_once(is_blank) else {
            let fault = Fault::new(format!("{keyword} {} has no value", first.text)).at(first.at.clone());
            return Err(fault.hint(format!("{keyword} {}=value", first.text)));
        };
        return Ok(vec![(Word(name.to_owned()), Word(value.trim_start_matches(is_blank).to_owned()))]);
    }
    let pair = |word: &crate::tokens::Piece| match word.text.split_once('=') {
        None => Err(Fault::new(format!("{keyword}: {:?} is not of the form name=value", word.text))
            .hint("put a value that contains spaces in double quotes")
            .at(word.at.clone())),
        Some(("", _)) => Err(Fault::new(format!("{keyword}: the name is missing")).at(word.at.clone())),
        Some((name, value)) => Ok((Word(name.to_owned()), Word(value.to_owned()))),
    };
    words.iter().map(pair).collect()
}

fn arg(command: &Command<'_>, escape: char) -> Result<Vec<Arg>> {
    needs_argument("ARG", command)?;
    let argument = |word: crate::tokens::Piece| match word.text.split_once('=') {
        Some(("", _)) => Err(Fault::new("ARG: the name is missing").at(word.at)),
        Some((name, value)) => Ok(Arg { name: name.to_owned(), default: Some(Word(value.to_owned())) }),
        None => Ok(Arg { name: word.text, default: None }),
    };
    command.words(escape).into_iter().map(argument).collect()
}
