//! What RUN runs when heredocs stand beside its command.
//!
//! Spec: <https://docs.docker.com/reference/dockerfile/#here-documents>

use crate::{CommandForm, Run, heredoc};

/// Where the file of a lone heredoc with a `#!` line stands while the step runs.
const INLINE_DIRECTORY: &str = "/dev/pipes";

/// A file that must be there, and executable, while a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// Its absolute path in the container.
    pub path: String,
    /// Its content.
    pub content: String,
}

impl Run {
    /// The command and the file it needs: what `docker build` runs.
    ///
    /// A command that is only a heredoc is the heredoc's text; when that starts with `#!`, it is a file of mode 0755
    /// instead, mounted read-only, and the command is its path. Other heredocs are passed to the shell as written.
    pub fn invocation(&self) -> (CommandForm, Option<InlineFile>) {
        match self.lone_heredoc() {
            Some((name, content)) if content.starts_with("#!") => {
                let path = format!("{INLINE_DIRECTORY}/{name}");
                (CommandForm::Shell(path.clone()), Some(InlineFile { path, content: content.to_owned() }))
            }
            _ => (self.script(), None),
        }
    }

    /// The command as one text for the shell, with nothing beside it.
    ///
    /// As [`Run::invocation`], except that a lone heredoc with a `#!` line is written and executed by the shell itself,
    /// which needs `cat` and `chmod` in the image and a shell that reads heredocs.
    pub fn script(&self) -> CommandForm {
        let CommandForm::Shell(text) = &self.command else { return self.command.clone() };
        if self.heredocs.is_empty() {
            return self.command.clone();
        }
        CommandForm::Shell(match self.lone_heredoc() {
            Some((_, content)) if content.starts_with("#!") => self_writing(content),
            Some((_, content)) => content.to_owned(),
            None => {
                let bodies = self.heredocs.iter().map(|heredoc| format!("\n{}{}", heredoc.raw, heredoc.name));
                std::iter::once(text.clone()).chain(bodies).collect()
            }
        })
    }

    /// The name and text of the heredoc that is the whole command.
    fn lone_heredoc(&self) -> Option<(&str, &str)> {
        let CommandForm::Shell(text) = &self.command else { return None };
        let first = self.heredocs.first()?;
        heredoc::of_word(text).ok()??;
        Some((&first.name, &first.content))
    }
}

/// A shell text that writes a script to a file and becomes it.
fn self_writing(content: &str) -> String {
    let mut end = String::from("END_OF_SCRIPT");
    while content.lines().any(|line| line == end) {
        end.push('_');
    }
    let file = "/dev/shm/otoshi-script";
    let line_break = if content.ends_with('\n') { "" } else { "\n" };
    format!("cat > {file} <<'{end}' && chmod 700 {file} && exec {file}\n{content}{line_break}{end}\n")
}

#[cfg(test)]
mod tests {
    use crate::{CommandForm, Dockerfile, Instruction, Run};

    fn run(text: &str) -> Run {
        let dockerfile = Dockerfile::parse("Dockerfile", &format!("FROM a\n{text}\n")).unwrap();
        match &dockerfile.stages[0].instructions[0].value {
            Instruction::Run(run) => run.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn shell(text: &str) -> String {
        match run(text).script() {
            CommandForm::Shell(text) => text,
            CommandForm::Exec(list) => panic!("{list:?}"),
        }
    }

    #[test]
    fn a_lone_heredoc_is_the_script() {
        assert_eq!(shell("RUN <<EOF\nls /\n\twhoami\nEOF"), "ls /\n\twhoami\n");
        assert_eq!(shell("RUN <<-'EOF'\n\tls /\n\t\twhoami\n\tEOF"), "ls /\nwhoami\n");
        assert_eq!(shell("RUN 3<< EOF\nls\nEOF"), "ls\n");
        assert_eq!(shell("RUN --mount=type=cache,target=/x <<EOF\nEOF"), "");
    }

    #[test]
    fn heredocs_beside_a_command_reach_the_shell_as_written() {
        assert_eq!(
            shell("RUN <<-'A' cat >x && cat <<B >y\n\ta\n\tA\nb\nB"),
            "<<-'A' cat >x && cat <<B >y\n\ta\nA\nb\nB"
        );
        assert_eq!(shell("RUN cat <<EOF\n$X\nEOF"), "cat <<EOF\n$X\nEOF");
    }

    #[test]
    fn a_shebang_makes_it_a_file() {
        let run = run("RUN <<EOF\n#!/usr/bin/env python3\nprint('a')\nEND_OF_SCRIPT\nEOF");
        let (command, file) = run.invocation();
        let file = file.unwrap();
        assert_eq!(command, CommandForm::Shell("/dev/pipes/EOF".into()));
        assert_eq!(file.path, "/dev/pipes/EOF");
        assert_eq!(file.content, "#!/usr/bin/env python3\nprint('a')\nEND_OF_SCRIPT\n");
        let CommandForm::Shell(text) = run.script() else { panic!() };
        assert!(text.ends_with("END_OF_SCRIPT\nEND_OF_SCRIPT_\n"), "{text}");
    }

    #[test]
    fn a_self_writing_script_runs() {
        let CommandForm::Shell(text) = run("RUN <<EOF\n#!/bin/sh\necho \"$0\" '$HOME'\nEOF").script() else {
            panic!()
        };
        let out = std::process::Command::new("/bin/sh").arg("-c").arg(text).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "/dev/shm/otoshi-script $HOME\n");
    }

    #[test]
    fn a_list_is_run_as_it_is() {
        let list = CommandForm::Exec(vec!["<<EOF".into()]);
        assert_eq!(run("RUN [\"<<EOF\"]").invocation(), (list, None));
    }
}
