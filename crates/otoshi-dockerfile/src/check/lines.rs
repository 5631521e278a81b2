//! What is seen in the text of single lines: case, old forms, empty lines, comments.

use super::{Checker, Place, Rule};
use crate::{lines::Line, tokens::Command};

impl Checker<'_> {
    /// Checks every instruction as it is written.
    pub(super) fn lines(&mut self, lines: &[Line]) {
        let escape = self.dockerfile.escape;
        let commands: Vec<Command<'_>> =
            lines.iter().map(|line| Command::read(&line.text, 0, escape)).collect();
        // As in BuildKit, ARG before the first FROM does not say in which case the file is written.
        let first = commands.iter().position(|command| command.keyword.eq_ignore_ascii_case("FROM"));
        let in_stages = || commands[first.unwrap_or(commands.len())..].iter().map(|command| command.keyword);
        let is = |keyword: &str, change: fn(&str) -> String| keyword == change(keyword);
        let lower = in_stages().filter(|keyword| is(keyword, str::to_lowercase)).count();
        let upper = in_stages().filter(|keyword| is(keyword, str::to_uppercase)).count();
        for (index, (line, command)) in lines.iter().zip(&commands).enumerate() {
            self.enter(line.span.start);
            if first.is_some_and(|first| index >= first) {
                self.keyword_case(line, command.keyword, lower > upper);
            }
            self.empty_lines(line);
            match command.keyword.to_uppercase().as_str() {
                "FROM" => self.from(line, command),
                "ARG" => {
                    let words = command.words(escape);
                    let names: Vec<&str> =
                        words.iter().map(|word| word.text.split('=').next().unwrap_or_default()).collect();
                    self.description(line, "ARG", &names);
                }
                "MAINTAINER" => {
                    let hint = Some(format!("LABEL org.opencontainers.image.authors=\"{}\"", command.args));
                    let message = "MAINTAINER is deprecated: name the author in a label".to_owned();
                    self.report(
                        Rule::MaintainerDeprecated,
                        Place::of(&line.span, command.keyword),
                        message,
                        hint,
                    );
                }
                keyword @ ("ENV" | "LABEL") => {
                    let words = command.words(escape);
                    if let Some(name) = words.first().filter(|word| !word.text.contains('=')) {
                        let value = command.args[name.text.len().min(command.args.len())..].trim();
                        let quote = if value.contains([' ', '\t']) { "\"" } else { "" };
                        let hint = Some(format!("{keyword} {}={quote}{value}{quote}", name.text));
                        let message = format!("{keyword} {} is written without an equals sign", name.text);
                        self.report(
                            Rule::LegacyKeyValueFormat,
                            Place::of(&line.span, &name.text),
                            message,
                            hint,
                        );
                    }
                }
                _ => {}
            }
        }
    }

    fn keyword_case(&mut self, line: &Line, keyword: &str, is_lower: bool) {
        let (expected, case) =
            if is_lower { (keyword.to_lowercase(), "lower") } else { (keyword.to_uppercase(), "upper") };
        if keyword != expected {
            let message = format!("{keyword} is not in {case} case, as most instructions here are");
            self.report(
                Rule::ConsistentInstructionCasing,
                Place::of(&line.span, keyword),
                message,
                Some(expected),
            );
        }
    }

    fn from(&mut self, line: &Line, command: &Command<'_>) {
        let fields = command.fields();
        let [_, word, name] = &fields[..] else { return };
        if name.text != name.text.to_lowercase() {
            let message = format!("the stage's name {:?} is not in lower case", name.text);
            let hint = Some(name.text.to_lowercase());
            self.report(Rule::StageNameCasing, Place::of(&line.span, &name.text), message, hint);
        }
        let expected = if command.keyword == command.keyword.to_lowercase() {
            word.text.to_lowercase()
        } else if command.keyword == command.keyword.to_uppercase() {
            word.text.to_uppercase()
        } else {
            word.text.clone()
        };
        if word.text != expected {
            let message = format!("{} is not in the case of its {}", word.text, command.keyword);
            let needle = format!(" {} ", word.text);
            self.report(Rule::FromAsCasing, Place::of(&line.span, &needle), message, Some(expected));
        }
        self.description(line, "FROM", &[&name.text.to_lowercase()]);
    }

    /// The comment above a stage or an argument.
    fn description(&mut self, line: &Line, keyword: &str, names: &[&str]) {
        let comments = self.comments_above(line.span.start);
        let Some(comment) = comments.last().filter(|comment| !comment.starts_with("check=")) else { return };
        let comment = (*comment).to_owned();
        if names.is_empty() || names.contains(&comment.split(' ').next().unwrap_or_default()) {
            return;
        }
        let name = if names.len() == 1 { names[0] } else { "NAME" };
        let message = format!("the comment above {keyword} does not start with the name that it describes");
        let hint = Some(format!("# {name} {comment}, or an empty line between"));
        self.report(Rule::InvalidDefinitionDescription, Place::of(&line.span, ""), message, hint);
    }

    /// Empty lines between an instruction's continued lines; comments are none. As in BuildKit the last line is named.
    fn empty_lines(&mut self, line: &Line) {
        let text = std::sync::Arc::clone(&self.dockerfile.text);
        let mut start = line.span.start;
        let (mut goes_on, mut is_empty) = (true, false);
        let mut last = start..start;
        while goes_on && start < line.span.end {
            let rest = &text[start..];
            let raw = &rest[..rest.find('\n').map_or(rest.len(), |end| end + 1)];
            let shown = raw.trim();
            if shown.is_empty() {
                is_empty = true;
            } else if !shown.starts_with('#') || start == line.span.start {
                goes_on = shown.ends_with(self.dockerfile.escape);
                let at = start + (raw.len() - raw.trim_start().len());
                last = at..at + shown.len();
            }
            start += raw.len();
        }
        if is_empty {
            let message = "there is an empty line inside the instruction that ends here".to_owned();
            let hint = Some("remove it, or make it a comment".into());
            self.report(Rule::NoEmptyContinuation, Place::of(&last, ""), message, hint);
        }
    }
}
