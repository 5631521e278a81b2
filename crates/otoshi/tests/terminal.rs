//! What a build shows: plain lines where nobody watches, live ones on a terminal (a pseudo-terminal that `script` makes).

mod support;
mod whole;

use std::process::Command;

use otoshi_test::{given, said};
use support::Shop;
use whole::assert_written;

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

/// What stands on a terminal that was shown this: lines as they are at the end, without colours.
fn screen(shown: &str) -> String {
    let (mut lines, mut row, mut column) = (vec![Vec::new()], 0, 0);
    let mut rest = shown.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(rest.next(), Some('['), "{shown:?}");
                let mut number = String::new();
                while let Some(digit) = rest.next_if(|next| !next.is_ascii_alphabetic()) {
                    number.push(digit);
                }
                let count = number.parse().unwrap_or(1);
                match rest.next() {
                    Some('m' | 'h' | 'l') => {}
                    Some('K') => lines[row].clear(),
                    Some('A') => row -= count,
                    Some('B') => row += count,
                    other => panic!("{other:?} in {shown:?}"),
                }
            }
            character => {
                let line: &mut Vec<char> = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = character;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    let lines = lines.into_iter().map(|line| line.into_iter().collect::<String>());
    lines.map(|line| line.trim_end().to_owned() + "\n").collect::<String>().trim_end().to_owned() + "\n"
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
    assert_written("terminal-after-a-build", &screen(&shown));
    assert_written("terminal-after-a-build-of-nothing-new", &screen(&on_terminal(&shop, STEPS, "", &[])));
}

#[test]
fn a_failing_step_shows_its_whole_log_and_its_line() {
    let shop = given!(Shop::new());
    let failing = "FROM otoshi.test/busybox:1\nRUN echo first; echo second; exit 3\n";
    for (name, options) in [("a-failing-build", ""), ("a-verbose-build-that-fails", "--verbose")] {
        let shown = on_terminal(&shop, failing, options, &[]);
        assert_written(&format!("terminal-after-{name}"), &screen(&shown));
    }
}

#[test]
fn lines_are_plain_in_ci_and_where_nobody_watches() {
    let shop = given!(Shop::new());
    for settings in [("CI", "true"), ("TERM", "dumb")] {
        let shown = on_terminal(&shop, STEPS, "--no-cache", &[settings]);
        assert_written("terminal-with-plain-lines", &shown);
    }
    let output = shop.otoshi(&["image", "build", "live"]);
    assert_written("image-build-into-pipes", &said(&output));
}
