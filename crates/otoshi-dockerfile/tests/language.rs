//! Whole Dockerfiles: what each instruction becomes, and where it stands.

use std::time::Duration;

use otoshi_dockerfile::{
    Add, Arg, CommandForm, Copy, Dockerfile, Healthcheck, Heredoc, Instruction, Located, Word,
};
use proptest::prelude::*;

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse("Dockerfile", text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The one instruction after FROM.
fn located(text: &str) -> Located<Instruction> {
    parse(&format!("FROM base\n{text}")).stages.remove(0).instructions.remove(0)
}

fn instruction(text: &str) -> Instruction {
    located(text).value
}

fn word(text: &str) -> Word {
    Word(text.into())
}

fn words(texts: &[&str]) -> Vec<Word> {
    texts.iter().map(|text| word(text)).collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn shell(text: &str) -> CommandForm {
    CommandForm::Shell(text.into())
}

fn copy(text: &str) -> Copy {
    match instruction(text) {
        Instruction::Copy(copy) | Instruction::Add(Add { copy, .. }) => copy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn stages_and_globals() {
    let text = "\u{feff}# syntax=docker/dockerfile:1\n# escape=`\n\nARG A=1 B\narg C=${A}\n\
        from --platform=$BUILDPLATFORM debian:$A as Builder-1.x_y\nrun x\nFROM scratch\n";
    let dockerfile = parse(text);
    assert_eq!((dockerfile.escape, dockerfile.syntax.as_deref()), ('`', Some("docker/dockerfile:1")));
    let globals: Vec<(&str, usize)> =
        dockerfile.globals.iter().map(|arg| (arg.value.name.as_str(), arg.line)).collect();
    assert_eq!(globals, [("A", 4), ("B", 4), ("C", 5)]);
    let [first, second] = &dockerfile.stages[..] else { panic!() };
    assert_eq!((first.index, first.name.as_deref()), (0, Some("builder-1.x_y")));
    assert_eq!(first.from.value.image, word("debian:$A"));
    assert_eq!(first.from.value.platform, Some(word("$BUILDPLATFORM")));
    assert_eq!(first.from.source, "FROM --platform=$BUILDPLATFORM debian:$A as Builder-1.x_y");
    assert_eq!(first.instructions[0].source, "RUN x");
    assert_eq!((second.name.as_deref(), second.instructions.len()), (None, 0));
    assert_eq!(dockerfile.stage_named("BUILDER-1.X_Y"), Some(0));
    assert_eq!((dockerfile.stage_named("1"), dockerfile.stage_named("2")), (None, None));
}

#[test]
fn names_that_two_stages_have_are_allowed() {
    assert_eq!(parse("FROM a AS x\nFROM b AS x\nFROM c AS scratch").stages.len(), 3);
}

#[test]
fn an_instruction_knows_its_place() {
    let text = "FROM a\n  Run one \\\n# comment\n\n    two # three \\\n <<EOF\nline\nEOF\nUSER x\n";
    let dockerfile = parse(text);
    let run = &dockerfile.stages[0].instructions[0];
    assert_eq!((run.line, run.end_line), (2, 8));
    assert_eq!(&text[run.span.clone()], &text[9..text.len() - 8]);
    assert_eq!(run.source, "RUN one     two # three  <<EOF\nline\nEOF");
    assert_eq!(dockerfile.stages[0].instructions[1].line, 9);
}

#[test]
fn commands_are_lists_or_text() {
    for (text, expected) in [
        ("echo  hi", shell("echo  hi")),
        ("[\"echo\", \"a\\tb\"]", CommandForm::Exec(strings(&["echo", "a\tb"]))),
        ("[ ]", CommandForm::Exec(vec![])),
        ("['echo']", shell("['echo']")),
        ("[\"echo\"", shell("[\"echo\"")),
        ("[\"echo\"] x", shell("[\"echo\"] x")),
        ("[ -f x ] && y", shell("[ -f x ] && y")),
        ("", shell("")),
    ] {
        assert_eq!(instruction(&format!("CMD {text}")), Instruction::Cmd(expected.clone()), "{text}");
        assert_eq!(instruction(&format!("ENTRYPOINT {text}")), Instruction::Entrypoint(expected.clone()));
        let Instruction::Run(run) = instruction(&format!("RUN {text}")) else { panic!() };
        assert_eq!(run.command, expected, "{text}");
    }
    assert_eq!(
        instruction("SHELL [\"/bin/bash\", \"-c\"]"),
        Instruction::Shell(strings(&["/bin/bash", "-c"]))
    );
}

#[test]
fn pairs_in_both_forms() {
    for (text, expected) in [
        ("a=1 b=\"2 3\" c=4\\ 5 d=", vec![("a", "1"), ("b", "\"2 3\""), ("c", "4\\ 5"), ("d", "")]),
        ("a 1  2=3", vec![("a", "1  2=3")]),
        ("a \t 'x'", vec![("a", "'x'")]),
        ("a=b=c", vec![("a", "b=c")]),
        ("\"a b\"=c", vec![("\"a b\"", "c")]),
        ("a=1 \\\n  b=2", vec![("a", "1"), ("b", "2")]),
    ] {
        let expected: Vec<(Word, Word)> = expected.into_iter().map(|(n, v)| (word(n), word(v))).collect();
        assert_eq!(instruction(&format!("ENV {text}")), Instruction::Env(expected.clone()), "{text}");
        assert_eq!(instruction(&format!("LABEL {text}")), Instruction::Label(expected), "{text}");
    }
    let arg = |name: &str, default: Option<&str>| Arg { name: name.into(), default: default.map(word) };
    assert_eq!(
        instruction("ARG a b= c=\"1 2\""),
        Instruction::Arg(vec![arg("a", None), arg("b", Some("")), arg("c", Some("\"1 2\""))])
    );
}

#[test]
fn copy_and_add_have_flags_and_fields() {
    let found = copy(
        "COPY --from=builder --chown=$U:1 --chmod=u+x --link --parents --exclude=*.a --exclude=b a \"b c\" d/",
    );
    assert_eq!(found.sources, words(&["a", "\"b", "c\""]));
    assert_eq!((found.dest, found.from), (word("d/"), Some(word("builder"))));
    assert_eq!((found.chown, found.chmod), (Some(word("$U:1")), Some(word("u+x"))));
    assert!(found.link && found.parents);
    assert_eq!(found.exclude, words(&["*.a", "b"]));
    let found = copy("COPY --link=false --from= [\"a b\", \"c d\", \"/e f/\"]");
    assert_eq!((found.sources, found.dest), (words(&["a b", "c d"]), word("/e f/")));
    assert!(!found.link && found.from.is_none());
    // A directory without a slash may be there already: only the build can tell.
    assert_eq!(copy("COPY a b dest").sources.len(), 2);
    let Instruction::Add(add) =
        instruction("ADD --checksum=sha256:$S --keep-git-dir --unpack=FALSE https://x/y.tar /z")
    else {
        panic!()
    };
    assert_eq!((add.checksum, add.keep_git_dir, add.unpack), (Some(word("sha256:$S")), true, Some(false)));
}

#[test]
fn heredocs_are_attached_to_what_opens_them() {
    let heredoc = |name: &str, expand: bool, chomp: bool, content: &str, raw: &str| Heredoc {
        name: name.into(),
        expand,
        chomp,
        content: content.into(),
        raw: raw.into(),
    };
    let found = copy("COPY <<EOF1 file <<-'EOF 2' /dest/\n$one\nEOF1 \nEOF1\n\ttwo\n\t\tthree\n\tEOF 2\n");
    // Fields are split at blanks: the second delimiter, with a blank in its quotes, is two fields and no heredoc.
    assert_eq!(found.sources, words(&["file", "<<-'EOF", "2'"]));
    assert_eq!(found.heredocs, [heredoc("EOF1", true, false, "$one\nEOF1 \n", "$one\nEOF1 \n")]);
    let found = copy("COPY <<-\"E\" 3<<F /dest/\r\n\t\ta\r\n\tE\r\nb\r\nF\r\n");
    assert_eq!(
        found.heredocs,
        [heredoc("E", false, true, "a\r\n", "\t\ta\r\n"), heredoc("F", true, false, "b\r\n", "b\r\n")]
    );
    let Instruction::Run(run) = instruction("RUN cat <<A; cat <<A;\none\nA;\ntwo\nA;\n") else { panic!() };
    assert_eq!(run.heredocs.iter().map(|h| h.content.as_str()).collect::<Vec<_>>(), ["one\n", "two\n"]);
    // Comments and continuations are text in a heredoc; instructions go on behind it.
    let dockerfile = parse("FROM a\nRUN <<EOF\n# x \\\n\nEOF\nUSER y\n");
    let [run, user] = &dockerfile.stages[0].instructions[..] else { panic!() };
    assert!(matches!(&run.value, Instruction::Run(run) if run.heredocs[0].content == "# x \\\n\n"));
    assert!(matches!(user.value, Instruction::User(_)));
    // Other instructions have none, nor have lists.
    assert_eq!(instruction("USER <<X"), Instruction::User(word("<<X")));
    assert_eq!(instruction("CMD cat <<X"), Instruction::Cmd(shell("cat <<X")));
    assert!(matches!(instruction("RUN [\"<<X\"]"), Instruction::Run(run) if run.heredocs.is_empty()));
}

#[test]
fn the_rest() {
    assert_eq!(instruction("WORKDIR /a b/$C "), Instruction::Workdir(word("/a b/$C")));
    assert_eq!(instruction("USER $U:g"), Instruction::User(word("$U:g")));
    assert_eq!(instruction("STOPSIGNAL SIGINT"), Instruction::StopSignal(word("SIGINT")));
    assert_eq!(instruction("MAINTAINER a <b@c>"), Instruction::Maintainer("a <b@c>".into()));
    assert_eq!(instruction("EXPOSE 80/tcp\t$P"), Instruction::Expose(words(&["80/tcp", "$P"])));
    assert_eq!(instruction("VOLUME /a $B"), Instruction::Volume(words(&["/a", "$B"])));
    assert_eq!(instruction("VOLUME [\" /a b \"]"), Instruction::Volume(words(&["/a b"])));
    assert_eq!(instruction("ONBUILD RUN a \\\n b"), Instruction::Onbuild("RUN a  b".into()));
    assert_eq!(instruction("onbuild copy <<A /x\na\nA\n"), Instruction::Onbuild("copy <<A /x\na\nA".into()));
    let Instruction::Run(run) = instruction("RUN --network=none --security=insecure x") else { panic!() };
    assert_eq!((run.network.as_deref(), run.security.as_deref()), (Some("none"), Some("insecure")));
    let Instruction::Run(run) = instruction("RUN --mount=type=tmpfs,target=/a --mount=target=/b -- --x")
    else {
        panic!()
    };
    assert_eq!((run.mounts.len(), run.command), (2, shell("--x")));
}

#[test]
fn health_checks() {
    assert_eq!(instruction("HEALTHCHECK none"), Instruction::Healthcheck(Healthcheck::None));
    assert_eq!(
        instruction(
            "HEALTHCHECK --interval=1m30s --timeout=0s --start-period=500ms --retries=3 CMD curl \\\n  x"
        ),
        Instruction::Healthcheck(Healthcheck::Test {
            command: shell("curl   x"),
            interval: Some(Duration::from_secs(90)),
            timeout: None,
            start_period: Some(Duration::from_millis(500)),
            start_interval: None,
            retries: Some(3),
        })
    );
    assert!(matches!(
        instruction("HEALTHCHECK CMD [\"a\", \"b\"]"),
        Instruction::Healthcheck(Healthcheck::Test { command: CommandForm::Exec(list), .. }) if list.len() == 2
    ));
}

#[test]
fn triggers_are_parsed_again_where_they_run() {
    let Instruction::Onbuild(text) = instruction("ONBUILD RUN cat <<-A\n\thi\n\tA") else { panic!() };
    let trigger = Instruction::parse_trigger(&text).unwrap();
    assert!(matches!(&trigger.value, Instruction::Run(run) if run.heredocs[0].content == "hi\n"));
    for wrong in ["", "FROM x", "ONBUILD RUN x", "RUN x\nRUN y", "NOPE"] {
        assert!(Instruction::parse_trigger(wrong).is_err(), "{wrong}");
    }
}

fn source() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "FROM",
        "FROM a\n",
        "RUN",
        "COPY",
        "ADD",
        "ENV",
        "ARG",
        "LABEL",
        "CMD",
        "HEALTHCHECK",
        "ONBUILD",
        "SHELL",
        "VOLUME",
        "EXPOSE",
        " ",
        "\n",
        "\\\n",
        "\\",
        "#",
        "<<EOF",
        "<<-'E'",
        "EOF\n",
        "\t",
        "\"",
        "'",
        "$",
        "${",
        "}",
        "=",
        ",",
        "--mount=",
        "--from=x",
        "--chmod",
        "type=cache",
        "[\"",
        "\"]",
        "[",
        "a",
        "é",
        "\r\n",
        "--",
        "1",
        "# escape=`\n",
        "`",
        "\u{feff}",
        "CMD ",
        "AS",
        ":",
        "\u{a0}",
    ]);
    prop::collection::vec(pieces, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_panics(text in source()) {
        match Dockerfile::parse("Dockerfile", &text) {
            Ok(dockerfile) => {
                for located in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
                    prop_assert!(dockerfile.text.get(located.span.clone()).is_some());
                    prop_assert!(located.line <= located.end_line);
                    if let Instruction::Run(run) = &located.value {
                        let _ = (run.script(), run.invocation());
                    }
                }
            }
            Err(error) => prop_assert!(error.line().is_some(), "{} has no place", error),
        }
    }

    #[test]
    fn no_text_at_all_panics(text in any::<String>()) {
        let _ = Dockerfile::parse("Dockerfile", &text);
        let _ = Dockerfile::parse("Dockerfile", &format!("FROM a\nRUN {text}"));
        let _ = Instruction::parse_trigger(&text);
    }

    /// Comments, empty lines and continuations never change what an instruction is.
    #[test]
    fn layout_does_not_matter(breaks in prop::collection::vec(0_usize..5, 6)) {
        let separators = [" ", " \\\n", " \\  \n# comment\n", " \\\r\n\r\n  # comment\r\n", " \\\n\n"];
        let words = ["--mount=type=cache,target=/x", "--network=none", "a=1", "\"b c\"", "d", "e"];
        let mut text = "FROM x\n# c\nRUN".to_owned();
        for (separator, word) in breaks.iter().zip(words) {
            text.push_str(separators[*separator]);
            text.push_str(word);
        }
        let Instruction::Run(run) = parse(&text).stages.remove(0).instructions.remove(0).value else { panic!() };
        prop_assert_eq!(run.command, shell("a=1 \"b c\" d e"));
        prop_assert_eq!(run.mounts.len(), 1);
    }
}
