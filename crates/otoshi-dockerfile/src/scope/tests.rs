use super::*;

fn word(text: &str) -> Word {
    Word(text.into())
}

fn given(pairs: &[(&str, &str)]) -> BuildArgs {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn globals(text: &str, args: &BuildArgs) -> GlobalScope {
    let dockerfile = Dockerfile::parse("Dockerfile", text).unwrap();
    GlobalScope::evaluate(&dockerfile, args, "linux/arm64", "linux/amd64").unwrap()
}

/// Carries out the ARG and ENV instructions, each stage being on the one above.
fn scope_of(text: &str, args: &BuildArgs, base_env: &[(&str, &str)]) -> Scope {
    let dockerfile = Dockerfile::parse("Dockerfile", text).unwrap();
    let mut scope = Scope::for_base(&globals(text, args), args, pairs(base_env));
    for stage in &dockerfile.stages {
        scope = Scope::for_child_of(&scope);
        for instruction in &stage.instructions {
            match &instruction.value {
                Instruction::Arg(found) => found.iter().for_each(|arg| scope.declare(arg).unwrap()),
                Instruction::Env(pairs) => drop(scope.set_env(pairs).unwrap()),
                other => panic!("{other:?}"),
            }
        }
    }
    scope
}

fn meaning(scope: &Scope, text: &str) -> String {
    scope.expand(&word(text)).unwrap()
}

#[test]
fn global_arguments_refer_to_earlier_ones() {
    let text = "ARG A=1\nARG B=$A-${C:-none}\nARG C=3 D=$C\nARG E\nFROM $B AS x";
    let scope = globals(text, &given(&[]));
    assert_eq!(scope.expand(&word("$A $B $C $D [$E]")).unwrap(), "1 1-none 3 3 []");
    let scope = globals(text, &given(&[("A", "9"), ("E", "e"), ("UNKNOWN", "u")]));
    assert_eq!(scope.expand(&word("$A $B $E [$UNKNOWN]")).unwrap(), "9 9-none e []");
}

#[test]
fn a_default_is_not_expanded_when_it_is_not_needed() {
    let text = "ARG A=${B:?give-it}\nFROM x";
    let dockerfile = Dockerfile::parse("Dockerfile", text).unwrap();
    let evaluate = |args: &BuildArgs| GlobalScope::evaluate(&dockerfile, args, "linux/amd64", "linux/amd64");
    assert!(evaluate(&given(&[("A", "1")])).is_ok());
    let error = evaluate(&given(&[])).unwrap_err();
    assert_eq!((error.line(), error.to_string().as_str()), (Some(1), "B: give-it in \"${B:?give-it}\""));
}

#[test]
fn platforms_are_predefined() {
    let words =
        "$TARGETPLATFORM $TARGETOS $TARGETARCH [$TARGETVARIANT] $BUILDPLATFORM $BUILDARCH $TARGETSTAGE";
    let text = "FROM scratch AS last";
    assert_eq!(
        globals(text, &given(&[])).expand(&word(words)).unwrap(),
        "linux/arm64 linux arm64 [] linux/amd64 amd64 last"
    );
    let scope = globals(text, &given(&[("TARGETARCH", "x")]));
    assert_eq!(scope.expand(&word("$TARGETARCH")).unwrap(), "x");
    let dockerfile = Dockerfile::parse("Dockerfile", "FROM scratch").unwrap();
    let scope = |target| {
        GlobalScope::evaluate_for(&dockerfile, &given(&[]), "linux/arm/v7", "linux/amd64", target).unwrap()
    };
    assert_eq!(scope(None).expand(&word("$TARGETVARIANT $TARGETSTAGE")).unwrap(), "v7 default");
    assert_eq!(scope(Some("0")).expand(&word("$TARGETSTAGE")).unwrap(), "0");
}

#[test]
fn a_stage_sees_global_arguments_only_when_it_declares_them() {
    let text = "ARG A=global\nARG N\nFROM x\n";
    let scope = scope_of(text, &given(&[]), &[]);
    assert_eq!(meaning(&scope, "[$A] [$TARGETARCH]"), "[] []");
    let scope = scope_of(&format!("{text}ARG A\nARG TARGETARCH\nARG N\n"), &given(&[]), &[]);
    assert_eq!(meaning(&scope, "$A $TARGETARCH [${N-unset}]"), "global arm64 [unset]");
    let scope = scope_of(&format!("{text}ARG A=own\n"), &given(&[]), &[]);
    assert_eq!(meaning(&scope, "$A"), "own");
    let scope = scope_of(&format!("{text}ARG A=own\n"), &given(&[("A", "given")]), &[]);
    assert_eq!(meaning(&scope, "$A"), "given");
    // A second declaration gets the global value if there is one, and takes nothing away otherwise.
    let scope = scope_of(&format!("{text}ARG A=own\nARG A\nARG N=n\nARG N\n"), &given(&[]), &[]);
    assert_eq!(meaning(&scope, "$A $N"), "global n");
}

#[test]
fn of_arg_and_env_the_later_wins() {
    let arg_env = "FROM x\nARG V=arg\nENV V=env\n";
    let scope = scope_of(arg_env, &given(&[("V", "given")]), &[]);
    assert_eq!(meaning(&scope, "$V"), "env");
    assert_eq!(scope.run_env(), pairs(&[("V", "env")]));

    let env_arg = "FROM x\nENV V=env\nARG V=arg\n";
    let scope = scope_of(env_arg, &given(&[]), &[]);
    assert_eq!(meaning(&scope, "$V"), "arg");
    assert_eq!(scope.run_env(), pairs(&[("V", "arg")]));
    assert_eq!(scope.env(), pairs(&[("V", "env")]));

    let base = [("V", "base"), ("PATH", "/bin")];
    let scope = scope_of("FROM x\nARG V\n", &given(&[("V", "given")]), &base);
    assert_eq!(meaning(&scope, "$V $PATH"), "given /bin");
    assert_eq!(scope.env(), pairs(&base));

    let scope = scope_of("FROM x\nARG V\n", &given(&[]), &base);
    assert_eq!(meaning(&scope, "$V"), "base");
}

#[test]
fn all_pairs_of_one_env_are_expanded_first() {
    let scope = scope_of("FROM x\nENV A=N\nENV A=2 B=$A $A=x\nENV C=$A$B\n", &given(&[]), &[]);
    assert_eq!(meaning(&scope, "$A $B $C $N"), "2 N 2N x");
}

#[test]
fn stages_on_a_stage_go_on_with_its_scope() {
    let scope = scope_of("FROM x AS a\nARG V=1\nENV E=$V\nFROM a\nARG W=$V$E\n", &given(&[]), &[]);
    assert_eq!(meaning(&scope, "$V $E $W"), "1 1 11");
    assert_eq!(scope.visible_args().keys().collect::<Vec<_>>(), ["V", "W"]);
}

#[test]
fn some_arguments_never_become_variables() {
    let scope = scope_of("FROM x\nARG BUILDKIT_SBOM_SCAN_STAGE=true\n", &given(&[]), &[]);
    assert!(scope.run_env().is_empty() && scope.visible_args().len() == 1);
}

#[test]
fn proxies_reach_run_but_no_word() {
    let args =
        given(&[("HTTP_PROXY", "upper"), ("http_proxy", "lower"), ("No_Proxy", "n"), ("ftp_proxy", "")]);
    let scope = scope_of("FROM x\n", &args, &[]);
    assert_eq!(meaning(&scope, "[$HTTP_PROXY]"), "[]");
    assert!(scope.run_env().is_empty());
    let expected = [("HTTP_PROXY", "lower"), ("http_proxy", "lower"), ("NO_PROXY", "n"), ("no_proxy", "n")];
    assert_eq!(scope.proxy_env(), pairs(&expected));
    // Declared, it is an argument as any other.
    let scope = scope_of("FROM x\nARG HTTP_PROXY\n", &args, &[]);
    assert_eq!(scope.run_env(), pairs(&[("HTTP_PROXY", "upper")]));
    assert!(scope.proxy_env().iter().all(|(name, _)| name != "HTTP_PROXY"));
}

#[test]
fn arguments_that_nothing_declares_are_found() {
    let text = "ARG A\nFROM x\nARG B\nFROM y\nARG C=1 D\nONBUILD ARG F\n";
    let dockerfile = Dockerfile::parse("Dockerfile", text).unwrap();
    let names = ["A", "B", "C", "D", "E", "F", "http_proxy", "TARGETARCH", "BUILDKIT_X", "SOURCE_DATE_EPOCH"];
    let args = given(&names.map(|name| (name, "")));
    assert_eq!(undeclared_args(&dockerfile, &args), ["E", "F"]);
}
