//! What `--help` says of every command, as users read it: one file each in `tests/snapshots`.

mod whole;

use std::process::{Command, Stdio};

use whole::assert_text;

/// The help of a command, by the words that name it, at a width of 100 columns.
fn help(words: &[String]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otoshi"));
    command.args(words).arg("--help").env_clear().env("COLUMNS", "100");
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help lists.
fn listed(help: &str) -> Vec<String> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let rows = commands.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names = rows.filter(|row| !row.starts_with(' ')).map(|row| row.split(' ').next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_command_says_what_it_does() {
    let mut commands = vec![Vec::new()];
    let mut count = 0;
    while let Some(words) = commands.pop() {
        let said = help(&words);
        let name = ["help", "otoshi"].into_iter().chain(words.iter().map(String::as_str)).collect::<Vec<_>>();
        assert_text(&name.join("-"), &said);
        commands.extend(listed(&said).into_iter().map(|name| [&words[..], &[name]].concat()));
        count += 1;
    }
    assert!(count > 20, "only {count} commands are listed");
}
