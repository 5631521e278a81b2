use super::*;

/// Every finding as `line RULE "text": message (hint)`.
fn check_with(text: &str, args: &[(&str, &str)], ignore: Option<&str>) -> Vec<String> {
    let dockerfile = Dockerfile::parse("Dockerfile", text).unwrap();
    let args: BuildArgs = args.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let ignore = ignore.map(|text| Ignore::parse(text).unwrap());
    let around = Surrounding {
        args: &args,
        target_platform: "linux/amd64",
        build_platform: "linux/amd64",
        ignore: ignore.as_ref(),
        base: &|name, platform| {
            (name == "base").then(|| BaseFacts {
                env: vec![("FROM_BASE".into(), "x".into())],
                has_shell: false,
                other_platform: (platform == "linux/s390x").then(|| "linux/amd64".into()),
            })
        },
        is_reference: &|name| !name.is_empty() && !name.ends_with(':'),
    };
    let findings = dockerfile.check(&around).unwrap();
    findings
        .found
        .iter()
        .map(|found| {
            let hint = found.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!(
                "{} {} {:?}: {}{hint}",
                found.line,
                found.rule.name(),
                &text[found.span.clone()],
                found.message
            )
        })
        .collect()
}

fn check(text: &str) -> Vec<String> {
    check_with(text, &[], None)
}

/// Names and lines only.
fn rules(text: &str) -> Vec<String> {
    check(text).iter().map(|found| found.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_clean_file_has_no_findings() {
    let text = "# syntax=x\nARG TAG=1\nFROM base:$TAG AS build\nARG V\nENV A=1 B=$FROM_BASE\nWORKDIR /a\nWORKDIR b\n\
        RUN echo $UNSET \\\n  # a comment\n  && true\nCOPY --chown=$V a /\nFROM base\nCOPY --from=build /a /\nCMD [\"a\"]\nEXPOSE 80/tcp\n";
    assert_eq!(check(text), [""; 0]);
}

#[test]
fn cases() {
    assert_eq!(
        check("FROM base as Build\nrun true\nCopy a /\nUSER a\n"),
        [
            "1 FromAsCasing \" as \": as is not in the case of its FROM (AS)",
            "1 StageNameCasing \"Build\": the stage's name \"Build\" is not in lower case (build)",
            "2 ConsistentInstructionCasing \"run\": run is not in upper case, as most instructions here are (RUN)",
            "3 ConsistentInstructionCasing \"Copy\": Copy is not in upper case, as most instructions here are (COPY)",
        ]
    );
    assert_eq!(rules("ARG A\nfrom base as b\nrun true\n"), [""; 0]);
    assert_eq!(rules("from base AS b\n"), ["1 FromAsCasing"]);
    assert_eq!(rules("From base aS b\n"), ["1 ConsistentInstructionCasing"]);
}

#[test]
fn names_of_stages() {
    assert_eq!(
        check("FROM base AS a\nFROM base AS A\nFROM base AS scratch\n"),
        [
            "2 StageNameCasing \"A\": the stage's name \"A\" is not in lower case (a)",
            "2 DuplicateStageName \"A\": another stage is also called \"a\"",
            "3 ReservedStageName \"scratch\": a stage should not be called \"scratch\", which is a reserved name",
        ]
    );
}

#[test]
fn old_forms_and_empty_lines() {
    assert_eq!(
        check("FROM base\nMAINTAINER me\nENV A some thing\nLABEL b c\nRUN a \\\n\n  b\n"),
        [
            "2 MaintainerDeprecated \"MAINTAINER\": MAINTAINER is deprecated: name the author in a label (LABEL org.opencontainers.image.authors=\"me\")",
            "3 LegacyKeyValueFormat \"A\": ENV A is written without an equals sign (ENV A=\"some thing\")",
            "4 LegacyKeyValueFormat \"b\": LABEL b is written without an equals sign (LABEL b=c)",
            "7 NoEmptyContinuation \"b\": there is an empty line inside the instruction that ends here (remove it, or make it a comment)",
        ]
    );
    assert_eq!(rules("FROM base\nRUN a <<E\n\nx\n\nE\nRUN b \\\n# c\n  && d\n"), [""; 0]);
}

#[test]
fn arguments_of_from() {
    assert_eq!(
        check("ARG VERSION\nARG EMPTY\nFROM base:${VRESION:-1} AS x\nFROM base:$VERSION\n"),
        [
            "3 UndefinedArgInFrom \"${VRESION\": no ARG before FROM declares VRESION (did you mean $VERSION?)",
            "4 InvalidDefaultArgInFrom \"base:$VERSION\": without build arguments, base:$VERSION names no image (give its ARG a default before FROM)",
        ]
    );
    assert_eq!(
        rules(
            "FROM --platform=$TARGETPLATFORM base\nFROM --platform=linux/arm64 base\nFROM --platform=linux/arm64 base AS of-arm64\nFROM --platform=$BUILDPLATFORM base\n"
        ),
        ["1 RedundantTargetPlatform", "2 FromPlatformFlagConstDisallowed"]
    );
}

#[test]
fn variables() {
    assert_eq!(
        check(
            "FROM base AS a\nARG DECLARED\nENV PATHS=$PAHT:${DECLARED}:$NOPE_X\nCOPY $NO$NOPE /\nFROM a\nUSER $DECLARED$FROM_BASE\nFROM unknown\nUSER $X\n"
        ),
        [
            "3 UndefinedVar \"$PAHT\": the variable PAHT is not set (did you mean $PATH?)",
            "3 UndefinedVar \"$NOPE_X\": the variable NOPE_X is not set",
            "4 UndefinedVar \"$NO\": the variable NO is not set",
            "4 UndefinedVar \"$NOPE\": the variable NOPE is not set",
        ]
    );
    assert_eq!(rules("FROM base\nRUN --mount=type=cache,target=/x,id=$X echo $Y\n"), ["2 UndefinedVar"]);
    assert_eq!(check_with("FROM base\nARG A=$X\n", &[("A", "1")], None), [""; 0]);
}

#[test]
fn commands() {
    assert_eq!(
        check(
            "FROM base\nCMD run it\nENTRYPOINT run \"$it\"\nHEALTHCHECK NONE\nCMD [\"a\"]\nHEALTHCHECK CMD a\n"
        ),
        [
            "2 MultipleInstructionsDisallowed \"CMD run it\": this CMD has no effect: another follows in the same stage (remove it)",
            "2 JSONArgsRecommended \"run it\": CMD runs through a shell, which does not pass signals on to the program (CMD [\"run\", \"it\"])",
            "3 JSONArgsRecommended \"run \\\"$it\\\"\": ENTRYPOINT runs through a shell, which does not pass signals on to the program (a list of strings, or SHELL)",
            "4 MultipleInstructionsDisallowed \"HEALTHCHECK NONE\": this HEALTHCHECK has no effect: another follows in the same stage (remove it)",
        ]
    );
    assert_eq!(rules("FROM base AS a\nSHELL [\"bash\", \"-c\"]\nCMD a\nFROM a\nCMD b\n"), [""; 0]);
}

#[test]
fn directories_ports_secrets_and_files() {
    assert_eq!(
        rules("FROM base AS a\nWORKDIR x\nWORKDIR y\nFROM a\nWORKDIR z\nFROM base\nWORKDIR $FROM_BASE\n"),
        ["2 WorkdirRelativePath", "7 WorkdirRelativePath"]
    );
    assert_eq!(
        check("FROM base\nEXPOSE 80/TCP 127.0.0.1:80:81/udp 90\n"),
        [
            "2 ExposeProtoCasing \"80/TCP\": the protocol of EXPOSE 80/TCP is not in lower case (80/tcp)",
            "2 ExposeInvalidFormat \"127.0.0.1:80:81/udp\": EXPOSE 127.0.0.1:80:81/udp names an address or a port of the host (81/udp)",
        ]
    );
    assert_eq!(
        rules(
            "ARG API_KEY\nFROM base\nARG TOKEN=x MONKEY\nENV DB_PASSWORD=1 PUBLIC_KEY=2 TOKEN_FILE=3 Auth_x=4\n"
        ),
        [
            "1 SecretsUsedInArgOrEnv",
            "3 SecretsUsedInArgOrEnv",
            "4 SecretsUsedInArgOrEnv",
            "4 SecretsUsedInArgOrEnv"
        ]
    );
    let text = "FROM base\nCOPY a/b c /\nADD . /\nCOPY --from=x a /\n";
    assert_eq!(
        check_with(text, &[], Some("a\n")),
        ["2 CopyIgnoredFile \"a/b\": COPY a/b: .dockerignore excludes it"]
    );
    assert_eq!(check_with(text, &[], Some("a\n!a/x\n")), [""; 0]);
    assert_eq!(check_with(text, &[], Some("*\n")).len(), 3);
}

#[test]
fn what_runs_is_said_in_the_file() {
    let text = "FROM base\nMAINTAINER a\nUSER $X\n";
    assert_eq!(rules(&format!("# check=skip=UndefinedVar\n{text}")), ["3 MaintainerDeprecated"]);
    assert_eq!(rules(&format!("# check=skip=all\n{text}")), [""; 0]);
    assert_eq!(
        rules("FROM base\n# check=skip=MaintainerDeprecated\nMAINTAINER a\nUSER $X\n"),
        ["4 UndefinedVar"]
    );
    assert_eq!(check_with(text, &[("BUILDKIT_DOCKERFILE_CHECK", "skip=all")], None), [""; 0]);
    let described = "# build compiles\nFROM base AS build\n# A is the first\nARG A\n# something\nARG B\n\n# far away\n\nARG C\n";
    assert_eq!(rules(described), [""; 0]);
    assert_eq!(
        rules(&format!("# check=experimental=all\n\n{described}")),
        ["8 InvalidDefinitionDescription"]
    );
    let dockerfile = Dockerfile::parse("D", "# check=error=true\nFROM base\nMAINTAINER a\n").unwrap();
    let args = BuildArgs::new();
    let around = Surrounding {
        args: &args,
        target_platform: "linux/amd64",
        build_platform: "linux/amd64",
        ignore: None,
        base: &|_, _| None,
        is_reference: &|_| true,
    };
    assert!(dockerfile.check(&around).unwrap().is_error);
}

#[test]
fn every_rule_has_a_name_and_a_page() {
    let names: std::collections::BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
    assert!(Rule::JSONArgsRecommended.url().ends_with("/json-args-recommended/"));
    assert!(Rule::ALL.iter().all(|rule| rule.about().ends_with('.')));
}

#[test]
fn the_directive_is_no_comment_of_the_first_instruction() {
    let text = "# check=skip=all\nFROM scratch as base\nCMD a\n";
    assert_eq!(rules(text), [""; 0]);
    // What is given outside takes its place, and nothing of it is left.
    let given = |value: &str| {
        let found = check_with(text, &[("BUILDKIT_DOCKERFILE_CHECK", value)], None);
        found.iter().map(|found| found.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(given("skip=JSONArgsRecommended"), ["2 FromAsCasing"]);
    assert_eq!(given("skip=FromAsCasing"), ["3 JSONArgsRecommended"]);
    // A comment of that form below the directives is one.
    let text = "# syntax=x\n\n# check=skip=FromAsCasing\nFROM scratch as base\nCMD a\n";
    assert_eq!(rules(text), ["5 JSONArgsRecommended"]);
}

#[test]
fn findings_are_an_error_where_what_is_given_outside_says_so() {
    let dockerfile = Dockerfile::parse("D", "# check=skip=all\nFROM scratch as base\n").unwrap();
    let args = BuildArgs::from([("BUILDKIT_DOCKERFILE_CHECK".into(), "error=true".into())]);
    let around = Surrounding {
        args: &args,
        target_platform: "linux/amd64",
        build_platform: "linux/amd64",
        ignore: None,
        base: &|_, _| None,
        is_reference: &|_| true,
    };
    let findings = dockerfile.check(&around).unwrap();
    assert!(findings.is_error && findings.found.len() == 1, "{findings:?}");
}

#[test]
fn a_base_for_another_platform() {
    assert_eq!(
        check("FROM --platform=linux/s390x base AS s390x\nFROM s390x\n"),
        [
            "1 InvalidBaseImagePlatform \"base\": the base base is for linux/amd64, and the stage for linux/s390x"
        ]
    );
    assert_eq!(rules("ARG P=linux/s390x\nFROM --platform=$P base\n"), ["2 InvalidBaseImagePlatform"]);
}

#[test]
fn what_stands_before_a_wrong_instruction_is_checked() {
    let before = |text: &str| {
        let found = Dockerfile::check_before_error("D", text, &BuildArgs::new());
        found.map(|(_, findings)| {
            findings
                .found
                .iter()
                .map(|found| format!("{} {}", found.line, found.rule.name()))
                .collect::<Vec<_>>()
        })
    };
    let text = "FROM base as b\nENV A b\nRUN a \\\n\n b\nCOPYY a b\nMAINTAINER me\n";
    assert_eq!(before(text).unwrap(), ["1 FromAsCasing", "2 LegacyKeyValueFormat", "5 NoEmptyContinuation"]);
    let text = "from base AS b\nRUN <<E\nx\n";
    assert_eq!(before(text).unwrap(), ["1 FromAsCasing"], "a heredoc without an end");
    assert_eq!(before("FROM base as b\n"), None, "nothing is wrong");
}
