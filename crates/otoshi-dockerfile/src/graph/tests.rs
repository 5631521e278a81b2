use super::*;
use crate::BuildArgs;
use otoshi_explain::Explain;

type Reached = Result<(Dockerfile, Graph), DockerfileError>;

fn reach_with(text: &str, target: Option<&str>, args: &BuildArgs) -> Reached {
    let dockerfile = Dockerfile::parse("Dockerfile", text)?;
    let globals = GlobalScope::evaluate(&dockerfile, args, "linux/amd64", "linux/amd64")?;
    let graph = Graph::reach(&dockerfile, &globals, target)?;
    Ok((dockerfile, graph))
}

fn reach(text: &str, target: Option<&str>) -> Reached {
    reach_with(text, target, &BuildArgs::new())
}

const APP: &str = "\
ARG TAG=1
FROM debian:$TAG AS base
FROM base AS builder
FROM base AS Tools
FROM node AS unused
COPY --from=other /x /x
FROM scratch AS web
COPY --from=builder /a /a
";

#[test]
fn only_what_is_needed_is_reached() {
    let (dockerfile, graph) = reach(APP, None).unwrap();
    assert_eq!(graph.order, [0, 1, 4]);
    assert_eq!(graph.stages[&0].base, Base::Image("debian:1".into()));
    assert_eq!(graph.stages[&1].base, Base::Stage(0));
    assert_eq!(graph.stages[&4].base, Base::Scratch);
    assert_eq!(graph.stages[&4].depends_on, BTreeSet::from([1]));
    assert_eq!(graph.images(&dockerfile), BTreeSet::from(["debian:1".to_owned()]));
    let (dockerfile, graph) = reach(APP, Some("UNUSED")).unwrap();
    assert_eq!((graph.target, graph.order.as_slice()), (3, [3].as_slice()));
    assert_eq!(graph.images(&dockerfile), BTreeSet::from(["node".to_owned(), "other".to_owned()]));
    assert!(reach(APP, Some("1")).is_err(), "stages that are built have names");
    // FROM takes a stage by its name in lower case only, --from and --target in any.
    let (_, graph) = reach("FROM a AS Tools\nFROM TOOLS\n", None).unwrap();
    assert_eq!(graph.stages[&1].base, Base::Image("TOOLS".into()));
}

#[test]
fn sources_are_stages_above_or_images() {
    let text = "FROM a AS one\nFROM b\nFROM c AS two\n\
        COPY --from=ONE /a /\nCOPY --from=1 /a /\nCOPY --from=img:tag /a /\nCOPY --from=scratch /a /\n\
        RUN --mount=from=one,target=/x --mount=type=cache,from=cacheimg,target=/y x\nCOPY . .\n";
    let (dockerfile, graph) = reach(text, None).unwrap();
    assert_eq!(graph.order, [0, 1, 2]);
    for (from, expected) in [
        (None, Source::Context),
        (Some("One"), Source::Stage(0)),
        (Some("1"), Source::Stage(1)),
        (Some("img:tag"), Source::Image("img:tag".into())),
    ] {
        assert_eq!(graph.source(&dockerfile, 2, from), expected);
    }
    let expected = ["a", "b", "c", "cacheimg", "img:tag"].map(str::to_owned);
    assert_eq!(graph.images(&dockerfile), BTreeSet::from(expected));
}

#[test]
fn of_two_stages_with_one_name_the_nearest_above_counts() {
    let (_, graph) = reach("FROM a AS x\nFROM b AS x\nFROM x AS x\n", None).unwrap();
    assert_eq!(graph.stages[&2].base, Base::Stage(1));
    assert_eq!(graph.order, [1, 2]);
    assert_eq!(reach("FROM a AS x\nFROM b AS x\nFROM c\n", Some("x")).unwrap().1.target, 1);
}

#[test]
fn from_names_stages_above_only_and_never_by_number() {
    let (_, graph) = reach("FROM later\nFROM 0 AS zero\nFROM x AS later\n", Some("zero")).unwrap();
    assert_eq!(graph.stages[&1].base, Base::Image("0".into()));
    let (_, graph) = reach("FROM later AS first\nFROM x AS later\n", Some("first")).unwrap();
    assert_eq!(graph.stages[&0].base, Base::Image("later".into()));
    // A stage may have the name of an image, and of `scratch`.
    let (_, graph) = reach("FROM debian AS debian\nFROM debian\n", None).unwrap();
    assert_eq!(graph.stages[&1].base, Base::Stage(0));
    let (_, graph) = reach("FROM debian AS scratch\nFROM scratch\n", None).unwrap();
    assert_eq!(graph.stages[&1].base, Base::Stage(0));
}

#[test]
fn triggers_of_the_stage_below_are_read_here() {
    let text = "FROM a AS data\nFROM b AS base\nONBUILD COPY --from=data /x /y\nONBUILD RUN <<EOF\nhi\nEOF\n\
        FROM base AS child\nFROM child\n";
    let (_, graph) = reach(text, Some("child")).unwrap();
    assert_eq!(graph.order, [0, 1, 2]);
    let triggers = &graph.stages[&2].triggers;
    assert_eq!((triggers[0].source.as_str(), triggers[0].line), ("COPY --from=data /x /y", 3));
    assert!(matches!(&triggers[1].value, Instruction::Run(run) if run.heredocs[0].content == "hi\n"));
    assert!(graph.stages[&1].triggers.is_empty());
    // They run once, not in the stages further up.
    assert!(reach(text, None).unwrap().1.stages[&3].triggers.is_empty());
    assert_eq!(reach(text, Some("base")).unwrap().1.order, [1]);
}

#[test]
fn mistakes_are_shown_where_they_stand() {
    let up = "move the stage up: only stages above can be read";
    let default = "give the ARG a default before the first FROM, or pass it";
    for (text, target, line, message, hint) in [
        (APP, Some("buidler"), None, "unknown stage \"buidler\" in Dockerfile", "did you mean \"builder\"?"),
        (
            APP,
            Some("zz"),
            None,
            "unknown stage \"zz\" in Dockerfile",
            "one of base, builder, tools, unused, web",
        ),
        ("FROM a", Some("zz"), None, "unknown stage \"zz\" in Dockerfile", ""),
        (
            "FROM a AS x\nCOPY --from=y /a /\nFROM x AS y",
            None,
            Some(2),
            "COPY --from: the stage \"y\" comes later",
            up,
        ),
        (
            "FROM a AS x\nRUN --mount=from=y,target=/a x\nFROM b AS y",
            Some("x"),
            Some(2),
            "RUN --mount from: the stage \"y\" comes later",
            up,
        ),
        (
            "FROM a AS x\nCOPY --from=x /a /",
            None,
            Some(2),
            "COPY --from: the stage \"x\" cannot copy from itself",
            "",
        ),
        (
            "FROM a\nCOPY --from=0 /a /",
            None,
            Some(2),
            "COPY --from: the stage \"0\" cannot copy from itself",
            "",
        ),
        (
            "FROM a\nCOPY --from=7 /a /",
            None,
            Some(2),
            "COPY --from: there is no stage 7",
            "stages are numbered from 0 to 0",
        ),
        (
            "ARG BASE_IMAGE=x\nFROM $BASE_IMGE",
            None,
            Some(2),
            "FROM $BASE_IMGE: the image's name is empty",
            &format!("did you mean $BASE_IMAGE? Otherwise {default}"),
        ),
        ("FROM --platform=$NOPE a", None, Some(1), "FROM --platform=$NOPE: the platform is empty", default),
        ("FROM ${A?}", None, Some(1), "A must not be unset in \"${A?}\"", ""),
    ] {
        let error = reach(text, target).unwrap_err();
        assert_eq!(
            (error.line(), error.to_string().as_str(), error.hint().unwrap_or_default().as_str()),
            (line, message, hint),
            "{text}"
        );
    }
    // Of a stage that is not reached FROM and --from must mean something; what else is wrong in it does not matter.
    assert!(reach("FROM a\nCOPY ${A?} /\nFROM b", None).is_ok());
    for text in ["FROM ${A?}\nFROM b", "FROM $NOPE\nFROM b", "FROM --platform=$NOPE a\nFROM b"] {
        assert_eq!(reach(text, None).unwrap_err().line(), Some(1), "{text}");
    }
    assert_eq!(reach("FROM a\nCOPY --from=7 /a /\nFROM b", None).unwrap_err().line(), Some(2));
}

#[test]
fn platforms_are_expanded() {
    let args = BuildArgs::from([("P".into(), "linux/arm64".into())]);
    let text = "ARG P\nFROM --platform=$BUILDPLATFORM a AS x\nFROM --platform=$P b\nCOPY --from=x / /";
    let (_, graph) = reach_with(text, None, &args).unwrap();
    assert_eq!(graph.stages[&0].platform.as_deref(), Some("linux/amd64"));
    assert_eq!(graph.stages[&1].platform.as_deref(), Some("linux/arm64"));
}

#[test]
fn long_chains_of_stages_are_fine() {
    let later = (1..3_000).map(|index| format!("FROM s{} AS s{index}\n", index - 1));
    let text: String = std::iter::once("FROM a AS s0\n".to_owned()).chain(later).collect();
    assert_eq!(reach(&text, None).unwrap().1.order.len(), 3_000);
}
