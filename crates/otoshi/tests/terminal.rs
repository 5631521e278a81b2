//! What a build shows: plain lines where nobody watches, live ones on a terminal (a pseudo-terminal that `script` makes).

mod support;

use std::process::Command;

use otoshi_test::given;
use support::Shop;

/// The output of `otoshi image build` of a Dockerfile, on a terminal.
fn on_terminal(shop: &Shop, dockerfile: &str, options: &str, settings: &[(&str, &str)]) -> String {
    shop.write("live/Dockerfile", dockerfile);
    let line = format!("{} image build {options} live", env!("CARGO_BIN_EXE_otoshi"));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(shop.path(""));
    script.env("OTOSHI_HOME", shop.home()).env("TERM", "xterm").env_remove("CI").env_remove("NO_COLOR");
    script.envs(settings.iter().copied());
    let output = script.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

const STEPS: &str = "FROM otoshi.test/busybox:1\nRUN echo working; /bin/busybox sleep 0.5\nRUN echo more\n";

#[test]
fn a_pipe_that_nobody_reads_ends_the_program_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_otoshi"));
    let output = command.args(["schema", "check"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_running_step_has_a_line_that_moves() {
    let shop = given!(Shop::new());
    let shown = on_terminal(&shop, STEPS, "", &[]);
    assert!(shown.contains("RUN echo working; /bin/busybox sleep 0.5: working"), "{shown:?}");
    assert!(shown.contains("\u{1b}[2K"), "a line is drawn again: {shown:?}");
    assert!(
        shown.contains("[live/Dockerfile 1/2] RUN echo working; /bin/busybox sleep 0.5 (0."),
        "{shown:?}"
    );
    let again = on_terminal(&shop, STEPS, "", &[]);
    assert!(again.contains("[live/Dockerfile 2/2] RUN echo more (cached)\r\n"), "{again:?}");
}

#[test]
fn a_failing_step_shows_its_whole_log_and_its_line() {
    let shop = given!(Shop::new());
    let failing = "FROM otoshi.test/busybox:1\nRUN echo first; echo second; exit 3\n";
    for options in ["", "--verbose"] {
        let shown = on_terminal(&shop, failing, options, &[]);
        for expected in ["first\r\n", "second\r\n", "(failed)", "Dockerfile:2", "exit code 3"] {
            assert!(shown.contains(expected), "{options} {expected}: {shown:?}");
        }
    }
}

#[test]
fn lines_are_plain_in_ci_and_where_nobody_watches() {
    let shop = given!(Shop::new());
    for settings in [("CI", "true"), ("TERM", "dumb")] {
        let shown = on_terminal(&shop, STEPS, "--no-cache", &[settings]);
        assert!(!shown.contains('\u{1b}'), "{settings:?}: {shown:?}");
        assert!(shown.contains("[live/Dockerfile 1/2] RUN echo working"), "{shown:?}");
        assert!(shown.contains("[live/Dockerfile 1/2] done in 0."), "{shown:?}");
    }
    let output = shop.otoshi(&["image", "build", "live"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("[live/Dockerfile 2/2] cached\n") && !errors.contains('\u{1b}'), "{errors:?}");
    let digest = String::from_utf8(output.stdout).unwrap();
    assert!(digest.starts_with("sha256:") && digest.lines().count() == 1, "{digest:?}");
}
