use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::{
    parts::Stage,
    suggest::{Candidate, Suggestions},
    *,
};
use crate::Cycles;

const TODAY: Date = date(2026, 2, 1);

fn parse(text: &str) -> Tag {
    Tag::parse(text, &Cycles::built_in()).unwrap_or_else(|| panic!("{text} is no tag of a series"))
}

/// What is suggested: versions, then distributions, the newest first.
fn suggested(repository: &str, current: &str, tags: &str) -> (Vec<String>, Vec<String>) {
    let found = suggest(repository, current, tags.split_whitespace(), &Cycles::built_in(), TODAY);
    let texts = |list: Vec<Candidate>| list.into_iter().map(|found| found.tag.text).collect::<Vec<_>>();
    (texts(found.versions), texts(found.distributions))
}

#[test]
fn a_tag_is_taken_apart() {
    let tag = parse("v3.1.2-rc.1-slim-bookworm");
    assert_eq!(tag.prefix, "v");
    let version = tag.version.unwrap();
    assert_eq!((version.numbers, version.stage), (vec![3, 1, 2], Stage::Candidate(1)));
    assert_eq!(tag.flavour, ["slim"]);
    let distribution = tag.distribution.unwrap();
    assert_eq!((distribution.family.as_str(), distribution.release), ("debian", Some(vec![12])));

    let numbers = |text: &str| parse(text).version.map(|version| version.numbers);
    assert_eq!(numbers("17.0.9_9-jre-alpine"), Some(vec![17, 0, 9, 9]));
    assert_eq!(numbers("8u392-jdk"), Some(vec![8, 392]));
    assert_eq!(numbers("bookworm-20240110-slim"), Some(vec![20_240_110]));
    assert_eq!(numbers("latest"), None);
    assert_eq!(parse("jdk-21.0.2_13").prefix, "jdk-");
    assert_eq!(parse("3.13.0rc2-slim").version.unwrap().stage, Stage::Candidate(2));
    assert_eq!(parse("3.13.0b4").version.unwrap().stage, Stage::Beta(4));
    assert_eq!(parse("16beta1").version.unwrap().stage, Stage::Beta(1));
    let bitnami = parse("16.1.0-debian-12-r18");
    assert_eq!(bitnami.distribution.unwrap().release, Some(vec![12]));
    assert_eq!(bitnami.version.unwrap().revision, [18]);
    let family = |text: &str| parse(text).distribution.map(|found| (found.family, found.release));
    assert_eq!(family("1.21-alpine3.19"), Some(("alpine".into(), Some(vec![3, 19]))));
    assert_eq!(family("20-alpine"), Some(("alpine".into(), None)));
    assert_eq!(family("11.8-ubuntu22.04"), Some(("ubuntu".into(), Some(vec![22, 4]))));
    assert_eq!(parse("8.2-fpm-alpine").flavour, ["fpm"]);
}

#[test]
fn commits_signatures_and_build_numbers_are_no_tags_of_a_series() {
    for text in [
        "sha256-5f6e3d3c.sig",
        "sha256-aa11.att",
        "1.2.3.sbom",
        "main-3f9c2d1",
        "3f9c2d1",
        "sha-1234567",
        "1.2.3-4-g3f9c2d1",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "1234567",
        "build-98765432",
        "1.2.3-98765432",
    ] {
        assert_eq!(Tag::parse(text, &Cycles::built_in()), None, "{text}");
    }
    // These only look like it.
    assert!(parse("1.2.3-decade").version.is_some());
    assert!(parse("20240131").version.is_some());
}

/// Tags as repositories have them.
const RUBY: &str = "latest slim bookworm slim-bookworm 3 3-slim 3.1 3.1-slim 3.1.2 3.1.2-slim 3.1.2-slim-bullseye 3.1.2-slim-bookworm \
    3.1.3-slim 3.1.4 3.1.4-slim 3.1.4-slim-bookworm 3.1.4-alpine3.18 3.1.4-alpine3.19 3.2.0-preview1-slim 3.2.0-slim 3.2.0-rc1 \
    3.4.1-slim 3.4.1-slim-bookworm 4.0.0-slim 4.1.0-preview1-slim 2.7.8-slim sha256-0f1e.sig";
const NODE: &str = "18 20 20-slim 20-alpine 20-alpine3.18 20-alpine3.19 20-alpine3.20 20.11.0 20.11.0-alpine3.19 20.11.1-alpine3.19 22 22-slim \
    22-alpine 23-alpine lts lts-slim current 20240131 9999";
const DEBIAN: &str = "12 12-slim 12.4 12.4-slim 12.5 12.5-slim 13 13-slim 13.1-slim 14-slim bookworm bookworm-slim trixie trixie-slim forky-slim \
    bookworm-20240110 bookworm-20240110-slim bookworm-20240211-slim bookworm-20990101-slim sid-slim testing-slim rc-buggy 11-slim";
const UBUNTU: &str = "20.04 22.04 22.10 23.10 24.04 24.10 25.10 26.04 26.10 jammy noble oracular resolute jammy-20240111 jammy-20240125 devel rolling";
const TEMURIN: &str = "17-jre-jammy 17-jdk-jammy 17.0.9_9-jre-jammy 17.0.10_7-jre-jammy 17.0.10_7-jdk-jammy 21-jre-jammy 21.0.2_13-jre-jammy \
    17.0.9_9-jre-noble 8u392-b08-jre-jammy";
const BITNAMI: &str =
    "16.1.0-debian-11-r18 16.1.0-debian-11-r19 16.1.0-debian-12-r0 16.2.0-debian-11-r1 16 16.1.0";
const APP: &str = "1.2.0 1.2.1 1.3.0 2019.1.2 20190101 v1.4.0 1.2.1-dev release-1.9.0 1500.0.0 main edge 1.2.1-3f9c2d1 pr-99";

#[test]
fn newer_versions_and_newer_distributions_are_two_suggestions() {
    for (repository, current, tags, versions, distributions) in [
        ("library/ruby", "3.1.2-slim", RUBY, "4.0.0-slim 3.4.1-slim 3.2.0-slim 3.1.4-slim 3.1.3-slim", ""),
        ("library/ruby", "3.1.2-slim-bullseye", RUBY, "", "3.1.2-slim-bookworm"),
        ("library/ruby", "3.1.2-slim-bookworm", RUBY, "3.4.1-slim-bookworm 3.1.4-slim-bookworm", ""),
        ("library/ruby", "3.1.4-alpine3.18", RUBY, "", "3.1.4-alpine3.19"),
        ("library/ruby", "3.2.0-preview1-slim", RUBY, "4.0.0-slim 3.4.1-slim 3.2.0-slim", ""),
        ("library/ruby", "latest", RUBY, "", ""),
        ("library/ruby", "slim-bookworm", RUBY, "", ""),
        ("library/node", "20-alpine", NODE, "23-alpine 22-alpine", ""),
        ("library/node", "20-alpine3.18", NODE, "", "20-alpine3.20 20-alpine3.19"),
        ("library/node", "20", NODE, "22", ""),
        ("library/node", "20.11.0-alpine3.19", NODE, "20.11.1-alpine3.19", ""),
        ("library/debian", "12-slim", DEBIAN, "", "13-slim"),
        ("library/debian", "12.4-slim", DEBIAN, "12.5-slim", "13.1-slim"),
        ("library/debian", "bookworm-slim", DEBIAN, "", "trixie-slim"),
        ("library/debian", "bookworm-20240110-slim", DEBIAN, "bookworm-20240211-slim", ""),
        ("library/ubuntu", "22.04", UBUNTU, "", "24.04"),
        ("library/ubuntu", "22.10", UBUNTU, "", "25.10 24.10 24.04 23.10"),
        ("library/ubuntu", "jammy", UBUNTU, "", "noble"),
        ("library/ubuntu", "jammy-20240111", UBUNTU, "jammy-20240125", ""),
        (
            "eclipse-temurin",
            "17.0.9_9-jre-jammy",
            TEMURIN,
            "21.0.2_13-jre-jammy 17.0.10_7-jre-jammy",
            "17.0.9_9-jre-noble",
        ),
        ("eclipse-temurin", "17-jre-jammy", TEMURIN, "21-jre-jammy", ""),
        (
            "bitnami/postgresql",
            "16.1.0-debian-11-r18",
            BITNAMI,
            "16.2.0-debian-11-r1 16.1.0-debian-11-r19",
            "",
        ),
        ("acme/app", "1.2.0", APP, "1.3.0 1.2.1", ""),
        ("acme/app", "v1.2.0", APP, "v1.4.0", ""),
        ("acme/app", "main-3f9c2d1", APP, "", ""),
    ] {
        let found = suggested(repository, current, tags);
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(found, (list(versions), list(distributions)), "{repository}:{current}");
    }
}

/// Tags as repositories of today have them, and what of them is the newest; nothing where a tag is there that must not be taken.
#[test]
fn series_of_many_kinds_are_understood() {
    for (current, others, newest) in [
        // MinIO: a time.
        (
            "RELEASE.2024-01-31T20-20-33Z",
            "RELEASE.2024-05-01T01-11-10Z RELEASE.2025-04-22T22-12-26Z RELEASE.2023-12-01T00-00-00Z latest",
            "RELEASE.2025-04-22T22-12-26Z",
        ),
        (
            "RELEASE.2024-01-31T20-20-33Z-cpuv1",
            "RELEASE.2025-04-22T22-12-26Z RELEASE.2025-01-02T22-12-26Z-cpuv1",
            "RELEASE.2025-01-02T22-12-26Z-cpuv1",
        ),
        (
            "RELEASE.2024-01-31T20-20-33Z",
            "RELEASE.2024-01-31T20-20-34Z RELEASE.2999-01-31T20-20-33Z",
            "RELEASE.2024-01-31T20-20-34Z",
        ),
        // UBI: a count of builds, then the second of the build behind it, then the second alone.
        ("9.5-1738643550", "9.5-1745854298 9.6-1747219013 9.6 latest", "9.6-1747219013"),
        ("9.4-1194", "9.4-1227.1725849298 9.4-1227.1726694542 9.4-1134", "9.4-1227.1726694542"),
        ("9.4-1227.1726694542", "9.5-1738643550 9.4-1194 9.4", "9.5-1738643550"),
        ("9.5-1738643550", "9.5-4070000000", ""),
        ("1738643550", "1745854298 1738643549 9999999999", "1745854298"),
        ("20240131T202033Z", "20240201T010203Z 20240131T202034Z", "20240201T010203Z"),
        // A count with letters.
        ("4.0.1-ls220", "4.0.2-ls221 4.0.1-ls219 4.0.2", "4.0.2-ls221"),
        ("16.8.1-ce.0", "16.8.2-ce.0 16.9.0-ee.0", "16.8.2-ce.0"),
        ("v1.28.5-k3s1", "v1.28.6-k3s2 v1.28.6-rke2r1", "v1.28.6-k3s2"),
        ("v1.28.5-rke2r1", "v1.28.6-k3s2 v1.28.6-rke2r1", "v1.28.6-rke2r1"),
        ("7.2.0-v8", "7.2.0-v9 7.4.0-v1", "7.4.0-v1"),
        ("2022-CU11-ubuntu-22.04", "2022-CU12-ubuntu-22.04", "2022-CU12-ubuntu-22.04"),
        (
            "31.0.0.Final-jdk17",
            "31.0.1.Final-jdk17 31.0.1.Final-jdk21 32.0.0.Beta1-jdk17",
            "31.0.1.Final-jdk17",
        ),
        ("1.2.3.SP1", "1.2.3.SP2", "1.2.3.SP2"),
        // A number behind a word is the word's.
        (
            "3.9.6-eclipse-temurin-21",
            "3.9.7-eclipse-temurin-17 3.9.7-eclipse-temurin-21 3.9.6-eclipse-temurin-22",
            "3.9.7-eclipse-temurin-21",
        ),
        ("0.39.0-kafka-3.6.1", "0.40.0-kafka-3.6.1 0.40.0-kafka-3.7.0", "0.40.0-kafka-3.6.1"),
        ("bookworm-slim-20240110", "bookworm-slim-20240211", "bookworm-slim-20240211"),
        // A machine is no version.
        ("3.1.2-amd64", "3.1.3-amd64 3.1.4-arm64", "3.1.3-amd64"),
        ("17-3.4", "17-3.5 17-3.4.1", "17-3.5"),
    ] {
        let (versions, _) = suggested("acme/app", current, others);
        assert_eq!(versions.first().map_or("", String::as_str), newest, "{current}: {versions:?}");
        assert_eq!(Form::of(current, &Cycles::built_in()), Form::Series, "{current}");
    }
}

#[test]
fn a_variant_that_ended_has_a_successor_and_that_is_a_large_step() {
    for (repository, current, tags, newest) in [
        (
            "library/python",
            "3.12.4-slim-bookworm",
            "3.12.9-slim-trixie 3.12.11-slim-trixie",
            "3.12.11-slim-trixie",
        ),
        (
            "library/python",
            "3.12.4-slim-bookworm",
            "3.12.3-slim-trixie 3.12.4-slim-trixie 3.12.11-slim-trixie",
            "",
        ),
        ("library/python", "3.12.4-slim-bookworm", "3.12.5-slim-bookworm 3.12.11-slim-trixie", ""),
        (
            "library/python",
            "3.12.4-slim-bookworm",
            "3.13.1-slim-trixie 4.0.0-slim-trixie 3.12.11-trixie",
            "3.13.1-slim-trixie",
        ),
        ("library/python", "3.12.4-slim-bookworm", "4.0.0-slim-trixie", "4.0.0-slim-trixie"),
        ("library/python", "3.12.4-slim-bookworm", "3.13.0rc1-slim-trixie", ""),
        ("library/python", "3.12.4-slim-trixie", "3.12.9-slim-bookworm", ""),
        ("library/ruby", "3.1.4-alpine3.18", "3.1.5-alpine3.19 3.1.6-alpine3.20", "3.1.5-alpine3.19"),
        (
            "eclipse-temurin",
            "17.0.9_9-jre-jammy",
            "17.0.10_7-jre-noble 17.0.11_1-jre-mantic",
            "17.0.10_7-jre-noble",
        ),
    ] {
        let found = suggest(repository, current, tags.split_whitespace(), &Cycles::built_in(), TODAY);
        let first = found.successors.first().map_or("", |found| &found.tag.text[..]);
        assert_eq!(first, newest, "{current}: {found:?}");
        assert!(found.successors.iter().all(|found| found.level == Level::Distribution));
    }
}

/// What is suggested where the words are the same and numbers in them are not.
#[test]
fn numbers_in_the_words_of_a_variant_grow_with_it_and_never_shrink() {
    use Level::{Major, Minor, Patch};
    for (current, others, newest, level) in [
        (
            "1.17.2-erlang-27.0.1-debian-bookworm-20240812-slim",
            "1.17.3-erlang-26.2.5-debian-bookworm-20241016-slim 1.17.3-erlang-27.1.2-debian-bookworm-20241016-slim \
             1.17.3-erlang-27.1.2-debian-bookworm-20241016 1.17.3-erlang-27.1.2-alpine-3.20.3",
            "1.17.3-erlang-27.1.2-debian-bookworm-20241016-slim",
            Minor,
        ),
        (
            "1.17.2-otp-26-slim",
            "1.17.3-otp-27-slim 1.17.3-otp-25-slim 1.17.3-otp-27",
            "1.17.3-otp-27-slim",
            Major,
        ),
        ("2.462.2-lts-jdk17", "2.479.1-lts-jdk21 2.479.1-jdk21 2.480-jdk21", "2.479.1-lts-jdk21", Major),
        (
            "3.9.8-eclipse-temurin-21",
            "3.9.9-eclipse-temurin-23 3.9.9-ibm-23",
            "3.9.9-eclipse-temurin-23",
            Major,
        ),
        ("8.10.0-jdk17", "8.10.0-jdk21 8.10.0-jdk11 8.9.0-jdk21", "8.10.0-jdk21", Major),
        (
            "slim-2.10.0-python3.11",
            "slim-2.10.3-python3.12 2.10.3-python3.12",
            "slim-2.10.3-python3.12",
            Minor,
        ),
        (
            "temurin-21-tools-deps-1.11.4",
            "temurin-21-tools-deps-1.12.0",
            "temurin-21-tools-deps-1.12.0",
            Minor,
        ),
        ("128.0-chromedriver-128.0", "131.0-chromedriver-131.0", "131.0-chromedriver-131.0", Major),
        (
            "ubuntu-2022.3.44f1-base-3.1.0",
            "ubuntu-2022.3.45f1-base-3.1.0 ubuntu-2022.3.46f1-ios-3.1.0",
            "ubuntu-2022.3.45f1-base-3.1.0",
            Patch,
        ),
        ("1.23rc2", "1.23.1 1.23.0 1.22.9", "1.23.1", Patch),
        ("1.23rc2-alpine", "1.24.0-alpine 1.25.0 1.24rc1-alpine3.20", "1.24.0-alpine", Minor),
        ("3.2.0-jdk17-jammy", "3.2.1-jdk21-jammy 3.2.1-jdk21-noble", "3.2.1-jdk21-jammy", Major),
        // A pre-release leads to its own release, and not to the next pre-release.
        ("3.13-rc-slim", "3.13-slim 3.14-rc-slim", "3.13-slim", Patch),
        ("17rc1-bookworm", "17.0-bookworm 18beta1-bookworm", "17.0-bookworm", Patch),
        ("17beta1", "17rc1 17.0 17.2 18beta1", "17.2", Patch),
        ("3.13.0a1-slim", "3.13.0-slim 3.13.1-slim 3.14.0a1-slim", "3.13.1-slim", Patch),
        ("1.22rc1", "1.22 1.22.0 1.23rc1", "1.22.0", Patch),
        ("1.0.0-rc.1", "1.0.0-rc.2 1.0.0 1.1.0-rc.1", "1.0.0", Patch),
        ("1.0.0-rc.1", "1.0.0-rc.2 1.1.0-rc.1", "1.0.0-rc.2", Patch),
        ("2.0.0-SNAPSHOT", "2.0.0 2.1.0-SNAPSHOT", "2.0.0", Patch),
    ] {
        let found = suggest("acme/app", current, others.split_whitespace(), &Cycles::built_in(), TODAY);
        let first = found.versions.first().map(|found| (&found.tag.text[..], found.level));
        assert_eq!(first, Some((newest, level)), "{current}: {found:?}");
        assert!(found.unclear.is_none() && found.successors.is_empty(), "{current}: {found:?}");
    }
    // The same numbers come first, and a larger distribution with larger numbers last.
    for (current, others, versions, successor) in [
        ("8.10.0-jdk17", "8.10.1-jdk17 8.11.0-jdk21", "8.10.1-jdk17", ""),
        ("3.2.0-jdk17-jammy", "3.2.1-jdk21-noble", "", "3.2.1-jdk21-noble"),
        ("8.10.0-jdk21", "8.11.0-jdk17 8.10.0-jdk17 8.10.0-jdk21.0.1 8.11.0-rc1-jdk24", "", ""),
        ("3.1.2-arm32v6", "3.1.2-arm32v7 3.1.3-arm64v8", "", ""),
    ] {
        let found = suggest("acme/app", current, others.split_whitespace(), &Cycles::built_in(), TODAY);
        let texts =
            |list: &[Candidate]| list.iter().map(|one| one.tag.text.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(
            (&*texts(&found.versions), &*texts(&found.successors)),
            (versions, successor),
            "{current}"
        );
        let ended = (versions, successor, current) == ("", "", "8.10.0-jdk21");
        let expected = ended.then(|| Unclear::Variant("8.11.0-jdk17".to_owned()));
        assert_eq!(found.unclear, expected, "{current}");
    }
}

#[test]
fn a_variant_that_nothing_newer_has_is_not_known_where_the_repository_goes_on() {
    for (current, others, newest) in [
        ("11.4.2-noble", "11.8.1-ubi9 11.8.1-ubi 11.4.2-ubi9", Some("11.8.1-ubi")),
        ("7.0.5-alpine", "7.4.1-bookworm 7.0.5-bookworm", Some("7.4.1-bookworm")),
        ("3.12.4-slim", "3.12.9 3.13.0 3.12.4", Some("3.13.0")),
        ("v2.10.7-ce", "v3.5.0 v3.5.0-ee v2.10.7", Some("v3.5.0")),
        ("1.2.3-amd64", "1.3.0 1.3.0-arm64", Some("1.3.0")),
        ("16.2-bullseye", "16.9-alpine 17.1-alpine 16.2-alpine", Some("17.1-alpine")),
        (
            "3.9.8-eclipse-temurin-21",
            "3.9.8-eclipse-temurin 3.9.9-eclipse-temurin",
            Some("3.9.9-eclipse-temurin"),
        ),
        // What is older, not released, for another machine, or less exact says nothing.
        ("3.12.4-slim", "3.12.3 3.13.0rc1 3.13 4 20250101 1500.0.0", None),
        ("1.2.3-amd64", "1.3.0-arm64", None),
        ("1.2.3-slim", "v1.3.0", None),
        // A plain tag stands beside many others.
        ("1.2.0", "1.3.0-pr12 1.3.0-nightly", None),
        ("3.12.4-slim", "3.12.5-slim 3.12.9", None),
    ] {
        let found = suggest("acme/app", current, others.split_whitespace(), &Cycles::built_in(), TODAY);
        assert_eq!(found.unclear, newest.map(|tag| Unclear::Variant(tag.to_owned())), "{current}: {found:?}");
    }
}

#[test]
fn a_form_that_began_with_newer_versions_is_not_understood_and_one_that_stands_beside_says_nothing() {
    for (current, others, unclear) in [
        (
            "10.6.0-community",
            "9.9.0-community 24.12.0.100206-community 25.1.0.102122-community 24.12.0.100206-developer",
            Some("25.1.0.102122-community"),
        ),
        (
            "11.8.0-cudnn8-devel-ubuntu22.04",
            "12.6.2-cudnn-devel-ubuntu22.04 12.6.2-devel-ubuntu22.04 12.6.2-cudnn-runtime-ubuntu22.04",
            Some("12.6.2-cudnn-devel-ubuntu22.04"),
        ),
        ("v1.9.0", "v1.8.0 1.10.0", Some("1.10.0")),
        ("1.2.3.4", "2.0.0", Some("2.0.0")),
        ("1.2.3-bookworm", "1.2.4-debian12", Some("1.2.4-debian12")),
        // Jenkins has versions of two numbers each week, beside those of long-term support.
        ("2.479.1", "2.462.3 2.470 2.486", None),
        ("3.12-slim", "3.12.1-slim 3.11.9-slim 3.13.0rc1-slim", None),
        ("3.12.1-slim", "3.12-slim 3-slim 3.11-slim", None),
        ("1.2.0", "1.2.0-jdk17 7 12 20190101 2019.1.2 1500.0.0.0 1.3.0-20240101", None),
    ] {
        let found = suggest("acme/app", current, others.split_whitespace(), &Cycles::built_in(), TODAY);
        let unclear = unclear.map(|tag| Unclear::Form(tag.to_owned()));
        assert_eq!(found.unclear, unclear, "{current}: {found:?}");
        assert_eq!(found, Suggestions { unclear: found.unclear.clone(), ..Suggestions::default() });
    }
}

#[test]
fn plain_versions_go_on_step_by_step_and_not_to_years() {
    for (current, tags, newest) in [
        ("3", "4 5 2024 2025", "5"),
        ("3", "2024 2025", ""),
        ("3", "4 24 25", "4"),
        ("3", "24 25 26", ""),
        ("3.1", "3.2 5.0 24.04 25.10", "5.0"),
        ("v3-slim", "v4-slim v24-slim", "v4-slim"),
        // One after the other they may come there, and what counts years goes on to the next.
        ("8", "10 12 14 16 18 20 22 24", "24"),
        ("8", "11 17 21 25", "25"),
        ("22.04", "24.04 25.10", "25.10"),
        ("2023", "2024 3", "2024"),
        ("2", "13", "13"),
    ] {
        let (found, _) = suggested("acme/app", current, tags);
        assert_eq!(found.first().map(String::as_str).unwrap_or_default(), newest, "{current}: {found:?}");
    }
    // What may be a year may be newer all the same.
    let found = suggest("acme/app", "3", ["24", "25"], &Cycles::built_in(), TODAY);
    assert_eq!(found.unclear, Some(Unclear::Form("25".to_owned())));
}

#[test]
fn tags_that_move_are_told_apart_from_those_that_nobody_understands() {
    for (tag, form) in [
        ("3.1.2-slim", Form::Series),
        ("bookworm-slim", Form::Series),
        ("latest", Form::Floating),
        ("slim", Form::Floating),
        ("stable-perl", Form::Floating),
        ("latest-amd64", Form::Floating),
        ("main-3f9c2d1", Form::Commit),
        ("1.2.3-4-g3f9c2d1", Form::Commit),
        ("12345678", Form::Commit),
        ("v2024w7x9", Form::Unclear),
    ] {
        assert_eq!(Form::of(tag, &Cycles::built_in()), form, "{tag}");
    }
}

#[test]
fn a_distribution_that_is_not_out_yet_is_not_suggested() {
    let cycles = Cycles::built_in();
    let on = |day: Date| {
        suggest("debian", "bookworm-slim", DEBIAN.split_whitespace(), &cycles, day).distributions.len()
    };
    assert_eq!((on(date(2025, 8, 8)), on(date(2025, 8, 9))), (0, 1));
}

#[test]
fn steps_have_sizes() {
    let found = suggest("library/ruby", "3.1.2-slim", RUBY.split_whitespace(), &Cycles::built_in(), TODAY);
    let levels: Vec<_> = found.versions.iter().map(|found| found.level).collect();
    assert_eq!(levels, [Level::Major, Level::Minor, Level::Minor, Level::Patch, Level::Patch]);
}

fn some_tag() -> impl Strategy<Value = String> {
    let version = prop::collection::vec(0u64..40, 1..4)
        .prop_map(|numbers| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("."));
    let prefix = prop::sample::select(vec!["", "v", "jdk-"]);
    let rest = prop::sample::select(vec![
        "",
        "-slim",
        "-alpine",
        "-alpine3.19",
        "-alpine3.20",
        "-bookworm",
        "-trixie",
        "-slim-bookworm",
        "-rc1",
        "-rc2",
        "-beta.1-slim",
        "-r3",
    ]);
    (prefix, version, rest).prop_map(|(prefix, version, rest)| format!("{prefix}{version}{rest}"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let cycles = Cycles::built_in();
        let _ = Tag::parse(&text, &cycles);
        let _ = suggest(&text, &text, [text.as_str(), "1.0"], &cycles, TODAY);
    }

    #[test]
    fn nothing_suggested_is_older_or_of_another_kind(current in some_tag(), tags in prop::collection::vec(some_tag(), 0..40)) {
        let cycles = Cycles::built_in();
        let now = parse(&current);
        let found = suggest("acme/app", &current, &tags, &cycles, TODAY);
        for candidate in &found.versions {
            prop_assert!(candidate.tag.version > now.version);
            prop_assert_eq!(&candidate.tag.flavour, &now.flavour);
            prop_assert_eq!(&candidate.tag.prefix, &now.prefix);
            prop_assert_eq!(&candidate.tag.distribution, &now.distribution);
            // What is suggested never suggests the way back.
            let back = suggest("acme/app", &candidate.tag.text, [current.as_str()], &cycles, TODAY);
            prop_assert_eq!(back, Suggestions::default());
        }
        for candidate in &found.distributions {
            prop_assert_eq!(&candidate.tag.version, &now.version);
            let newer = candidate.tag.distribution.as_ref().unwrap().compare(now.distribution.as_ref().unwrap());
            prop_assert_eq!(newer, Some(std::cmp::Ordering::Greater));
        }
        // The newest comes first, whatever the registry's order.
        let mut reversed = tags.clone();
        reversed.reverse();
        let again = suggest("acme/app", &current, &reversed, &cycles, TODAY);
        prop_assert_eq!(again.versions.first(), found.versions.first());
        let sorted = found.versions.windows(2).all(|pair| pair[0].tag.version >= pair[1].tag.version);
        prop_assert!(sorted);
    }
}
