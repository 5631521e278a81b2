//! An application in C whose library has another name in the new base: it is recompiled, and runs.
//!
//! Needs root and the base that `cargo xtask test` makes.

mod archive;
mod support;
mod whole;

use archive::Debian;
use otoshi_test::{debian_sources, given};
use whole::assert_written;

/// The compiler's base and the runner's, with one version of a library; its name has the version in it.
const BASES: &str = "ARG VERSION
FROM otoshi.test/debian:1 AS tools
COPY sources.list /etc/apt/sources.list
RUN apt-get -qq update && apt-get -qq -y --no-install-recommends install tcc libc6-dev
FROM tools AS build
ARG VERSION
COPY greet.c /src/
RUN tcc -shared -DVERSION=$VERSION -Wl,-soname=libgreet.so.$VERSION -o /usr/lib/libgreet.so.$VERSION /src/greet.c && \\
    ln -s libgreet.so.$VERSION /usr/lib/libgreet.so
FROM otoshi.test/debian:1 AS run
ARG VERSION
COPY --from=build /usr/lib/libgreet.so.$VERSION /usr/lib/
";

const MANIFEST: &str = r#"
[project]
name = "shop"
[bases]
BUILD = "otoshi.test/build:1"
RUN = "otoshi.test/run:1"
[builder]
dockerfile = "builder.Dockerfile"
[compile]
run = "tcc -o main main.c -lgreet"
[runner]
dockerfile = "runner.Dockerfile"
[processes]
web = ["/app/main"]
"#;

#[test]
fn an_application_whose_library_went_away_is_compiled_on_the_new_bases_and_runs() {
    let shop = given!(Debian::new());
    std::fs::create_dir(shop.path("bases")).unwrap();
    shop.write("bases/Dockerfile", BASES);
    shop.write("bases/sources.list", &debian_sources("bookworm"));
    shop.write("bases/greet.c", "int greet(void) { return VERSION; }\n");
    let bases = |version: &str| {
        let argument = format!("VERSION={version}");
        for target in ["build", "run"] {
            let name = format!("otoshi.test/{target}:1");
            shop.ok(&["image", "build", "bases", "--build-arg", &argument, "--target", target, "-t", &name]);
        }
    };
    shop.write(".dockerignore", "bases\n");
    shop.write("otoshi.toml", MANIFEST);
    shop.write("main.c", "#include <stdio.h>\nint greet(void);\nint main(void) { printf(\"greeting %d\\n\", greet()); return 0; }\n");
    shop.write("builder.Dockerfile", "ARG BUILD\nFROM ${BUILD}\n");
    shop.write("runner.Dockerfile", "ARG RUN\nFROM ${RUN}\n");
    bases("1");
    shop.ok(&["build"]);
    assert_eq!(shop.ok(&["run", "web"]), "greeting 1\n");

    bases("2");
    let refreshed = shop.refresh(&[]);
    assert_eq!(
        (&refreshed["outcome"], &refreshed["cost"]),
        (&"refreshed".into(), &"all".into()),
        "{refreshed}"
    );
    assert_eq!(shop.ran(&refreshed), [1, 2, 3, 4], "{refreshed}");
    let why = refreshed["because"][0].as_str().unwrap();
    assert_written("refresh-because-a-library-is-missing", why);
    let choice = refreshed["choice"].as_array().unwrap();
    let taken: Vec<_> = choice.iter().filter(|candidate| candidate["taken"] == true).collect();
    assert_eq!((taken.len(), &taken[0]["plan"]), (1, &"all".into()), "{choice:?}");
    let swap = choice.iter().find(|candidate| candidate["plan"] == "layer-swap").unwrap();
    assert_eq!((&swap["taken"], swap["because"].as_str()), (&false.into(), Some(why)), "{choice:?}");
    assert_eq!(shop.ok(&["run", "web"]), "greeting 2\n");
    assert_eq!(shop.refresh(&[])["outcome"], "same");
}
