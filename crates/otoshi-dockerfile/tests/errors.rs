//! Mistakes, as a user sees them: file, line, the text underlined, what was meant.

use insta::assert_snapshot;
use miette::{GraphicalReportHandler, GraphicalTheme};
use otoshi_dockerfile::{BuildArgs, Dockerfile, DockerfileError, GlobalScope, Graph, Ignore};
use otoshi_explain::Explain;

fn shown(error: &DockerfileError) -> String {
    let mut out = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    handler.render_report(&mut out, error).unwrap();
    // Lines of rules and bars end with space, which nobody sees.
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn of(text: &str) -> String {
    shown(&Dockerfile::parse("app/Dockerfile", text).unwrap_err())
}

/// The message, the underlined text and the hint.
fn brief(text: &str) -> (String, String, String) {
    let Err(error) = Dockerfile::parse("Dockerfile", text) else { panic!("{text} is no mistake") };
    let underlined = error.span().map(|span| text[span].to_owned()).unwrap_or_default();
    (error.to_string(), underlined, error.hint().unwrap_or_default())
}

#[test]
fn an_unknown_instruction() {
    assert_snapshot!(of("FROM debian\n\nRUN echo a \\\n  b\nCOYP . /app\n"), @r"
      × unknown instruction COYP
       ╭─[app/Dockerfile:5:1]
     4 │   b
     5 │ COYP . /app
       · ────
       ╰────
      help: did you mean COPY?
    ");
}

#[test]
fn an_unknown_flag_in_a_continued_line() {
    assert_snapshot!(of("FROM debian\nCOPY --from=x \\\n  --chwon=1:1 \\\n  . /app\n"), @r"
      × COPY has no flag --chwon
       ╭─[app/Dockerfile:3:3]
     2 │ COPY --from=x \
     3 │   --chwon=1:1 \
       ·   ───────────
     4 │   . /app
       ╰────
      help: did you mean --chown?
    ");
}

#[test]
fn an_unknown_mount_option() {
    assert_snapshot!(of("FROM debian\nRUN --mount=type=cache,traget=/x \\\n    make\n"), @r#"
      × unknown mount option "traget"
       ╭─[app/Dockerfile:2:5]
     1 │ FROM debian
     2 │ RUN --mount=type=cache,traget=/x \
       ·     ────────────────────────────
     3 │     make
       ╰────
      help: did you mean "target"?
    "#);
}

#[test]
fn a_heredoc_without_end() {
    assert_snapshot!(of("FROM debian\nRUN cat <<EOF > /x\nhello\n"), @r#"
      × the heredoc "EOF" is not terminated
       ╭─[app/Dockerfile:2:9]
     1 │ FROM debian
     2 │ RUN cat <<EOF > /x
       ·         ─────
     3 │ hello
       ╰────
      help: a line that is only EOF ends it
    "#);
}

#[test]
fn nothing_at_all() {
    for text in ["", "\n# only a comment\n"] {
        let error = Dockerfile::parse("Dockerfile", text).unwrap_err();
        assert_eq!(error.to_string(), "there is no FROM");
        assert_eq!(error.hint().as_deref(), Some("a Dockerfile starts with FROM"));
    }
}

#[test]
fn stages_that_are_not_there() {
    let text = "ARG VERSION=1\nFROM debian:$VERSION AS builder\nFROM debian\nCOPY --from=3 /a /a\n";
    let dockerfile = Dockerfile::parse("Dockerfile", text).unwrap();
    let args = BuildArgs::new();
    let globals = GlobalScope::evaluate(&dockerfile, &args, "linux/amd64", "linux/amd64").unwrap();
    assert_snapshot!(shown(&Graph::reach(&dockerfile, &globals, None).unwrap_err()), @r"
      × COPY --from: there is no stage 3
       ╭─[Dockerfile:4:1]
     3 │ FROM debian
     4 │ COPY --from=3 /a /a
       · ───────────────────
       ╰────
      help: stages are numbered from 0 to 1
    ");
    assert_snapshot!(shown(&Graph::reach(&dockerfile, &globals, Some("buidler")).unwrap_err()), @r#"
      × unknown stage "buidler" in Dockerfile
      help: did you mean "builder"?
    "#);
}

#[test]
fn a_malformed_ignore_pattern() {
    assert_snapshot!(shown(&Ignore::parse("*.log\n!docs/[a-\n").unwrap_err()), @r#"
      × malformed pattern "docs/[a-"
       ╭─[.dockerignore:2:1]
     1 │ *.log
     2 │ !docs/[a-
       · ─────────
       ╰────
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of mistakes")]
fn every_mistake_has_a_place() {
    for (text, message, underlined, hint) in [
        ("FROM", "FROM needs an image", "FROM", ""),
        ("FROM a b", "FROM takes an image, or an image, AS and a name", "b", "FROM a AS b"),
        ("FROM a b c", "FROM takes an image, or an image, AS and a name", "b c", "FROM a AS b"),
        (
            "FROM a AS b c",
            "FROM takes an image, or an image, AS and a name",
            "AS b c",
            "the name after AS is one word",
        ),
        (
            "FROM a AS 1x",
            "invalid stage name \"1x\"",
            "1x",
            "a letter, then letters, digits, \"-\", \"_\" and \".\"",
        ),
        ("FROM --platfrom=x a", "FROM has no flag --platfrom", "--platfrom=x", "did you mean --platform?"),
        ("RUN x", "RUN comes before the first FROM", "RUN", "only ARG may"),
        ("# escape=x\nFROM a", "invalid escape character \"x\"", "# escape=x", "it is \\ or `"),
        ("FROM a\nmaek", "unknown instruction MAEK", "maek", ""),
        ("FROM a\n\\\n", "there is no instruction here", "\\", ""),
        ("FROM a\nRUN --mount x", "--mount needs a value", "--mount", "--mount=value"),
        (
            "FROM a\nRUN --network=bridge x",
            "unknown network \"bridge\"",
            "--network=bridge",
            "one of default, none, host",
        ),
        (
            "FROM a\nRUN --security=insecrue x",
            "unknown security \"insecrue\"",
            "--security=insecrue",
            "did you mean \"insecure\"?",
        ),
        (
            "FROM a\nRUN --device=x,requried y",
            "unknown device option \"requried\"",
            "--device=x,requried",
            "did you mean \"required\"?",
        ),
        (
            "FROM a\nCOPY --link=yes a b",
            "--link must be true or false, not \"yes\"",
            "--link=yes",
            "--link alone means true",
        ),
        ("FROM a\nCOPY --from=a --from=b c d", "--from is given twice", "--from=b", ""),
        (
            "FROM a\nCOPY --from=$X a b",
            "COPY --from cannot contain variables",
            "--from=$X",
            "give the image a stage of its own, FROM with an ARG, and copy from that",
        ),
        ("FROM a\nCOPY a", "COPY needs at least one source and a destination", "COPY a", ""),
        ("FROM a\nCOPY a <<E\nE", "COPY cannot have a heredoc as its destination", "COPY a <<E", ""),
        (
            "FROM a\nCOPY <<../x /y\n../x",
            "the heredoc \"../x\" cannot be a file name",
            "COPY <<../x /y",
            "name the file in the destination: COPY <<EOF /path/to/file",
        ),
        ("FROM a\nENV", "ENV needs an argument", "ENV", "ENV name=value"),
        ("FROM a\nENV A", "ENV A has no value", "A", "ENV A=value"),
        (
            "FROM a\nENV A=1 B",
            "ENV: \"B\" is not of the form name=value",
            "B",
            "put a value that contains spaces in double quotes",
        ),
        ("FROM a\nLABEL =1", "LABEL: the name is missing", "=1", ""),
        ("FROM a\nARG =1", "ARG: the name is missing", "=1", ""),
        ("FROM a\nWORKDIR", "WORKDIR needs an argument", "WORKDIR", ""),
        ("FROM a\nUSER  ", "USER needs an argument", "USER", ""),
        ("FROM a\nSTOPSIGNAL", "STOPSIGNAL needs an argument", "STOPSIGNAL", ""),
        ("FROM a\nMAINTAINER", "MAINTAINER needs an argument", "MAINTAINER", ""),
        ("FROM a\nEXPOSE", "EXPOSE needs an argument", "EXPOSE", ""),
        ("FROM a\nVOLUME", "VOLUME needs an argument", "VOLUME", ""),
        ("FROM a\nVOLUME [\"\"]", "VOLUME cannot contain an empty path", "VOLUME [\"\"]", ""),
        ("FROM a\nSHELL bash", "SHELL needs a JSON list", "SHELL bash", "SHELL [\"/bin/bash\", \"-c\"]"),
        ("FROM a\nSHELL []", "SHELL needs a JSON list", "SHELL []", "SHELL [\"/bin/bash\", \"-c\"]"),
        (
            "FROM a\nCMD [1]",
            "a JSON list in a Dockerfile holds strings only, not 1",
            "[1]",
            "put it in double quotes",
        ),
        ("FROM a\nCMD --x y", "CMD has no flag --x", "--x", ""),
        ("FROM a\nONBUILD", "ONBUILD needs an argument", "ONBUILD", ""),
        ("FROM a\nONBUILD FROM b", "ONBUILD cannot trigger FROM", "FROM", ""),
        ("FROM a\nONBUILD CPOY a b", "unknown instruction CPOY", "CPOY", "did you mean COPY?"),
        (
            "FROM a\nONBUILD COPY --chwon=x a b",
            "COPY has no flag --chwon",
            "--chwon=x",
            "did you mean --chown?",
        ),
        ("FROM a\nHEALTHCHECK", "HEALTHCHECK needs CMD and a command, or NONE", "HEALTHCHECK", ""),
        ("FROM a\nHEALTHCHECK CMD", "HEALTHCHECK CMD needs a command", "HEALTHCHECK CMD", ""),
        ("FROM a\nHEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments", "NONE x", ""),
        (
            "FROM a\nHEALTHCHECK CDM x",
            "HEALTHCHECK CDM is unknown",
            "CDM",
            "HEALTHCHECK CMD and a command, or HEALTHCHECK NONE",
        ),
        (
            "FROM a\nHEALTHCHECK --interval=5 CMD x",
            "--interval=5: not a duration",
            "--interval=5",
            "as in 30s or 1m30s",
        ),
        (
            "FROM a\nHEALTHCHECK --retries=-1 CMD x",
            "--retries=-1: not a number of retries",
            "--retries=-1",
            "",
        ),
    ] {
        let expected = (message.to_owned(), underlined.to_owned(), hint.to_owned());
        assert_eq!(brief(text), expected, "{text}");
    }
}
