//! What the command line says of a command, as `docker run` has it.

use std::{env, fs, path::Path};

use otoshi_dockerfile::CommandForm;
use otoshi_engine::Volume;

use crate::failure::Failure;

/// The variables of files and of `--env`, in order; a later one wins. A name alone is that variable of this process, where it is set.
pub(super) fn environment(files: &[String], given: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(Failure::io("reading", file.clone()))?;
        // A mark of the byte order at the start is none of the first name.
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            // As Docker has it: what follows `=` counts to the end of the line, quotes and all.
            let line = line.trim_start();
            if !line.is_empty() && !line.starts_with('#') {
                found.extend(variable(line, &format!("{file}:{}", number + 1))?);
            }
        }
    }
    for text in given {
        found.extend(variable(text, &format!("--env {text}"))?);
    }
    Ok(found)
}

fn variable(text: &str, place: &str) -> Result<Option<(String, String)>, Failure> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, env::var(text).ok()),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(Failure::usage(
            format!("{place}: {name:?} is not the name of a variable"),
            Some("NAME=VALUE, or NAME".into()),
        ));
    }
    Ok(value.map(|value| (name.to_owned(), value)))
}

/// What is run: whether the image's ENTRYPOINT comes first, and the command in place of the image's.
pub(super) fn command(
    entrypoint: Option<&str>,
    command: Vec<String>,
) -> Result<(bool, Option<CommandForm>), Failure> {
    match entrypoint {
        None => Ok((true, (!command.is_empty()).then_some(CommandForm::Exec(command)))),
        // As with Docker, the image's CMD is for the image's ENTRYPOINT.
        Some("") if command.is_empty() => {
            let hint = "as in otoshi run --entrypoint \"\" IMAGE -- PROGRAM".to_owned();
            Err(Failure::usage("--entrypoint \"\": there is no command", Some(hint)))
        }
        Some("") => Ok((false, Some(CommandForm::Exec(command)))),
        Some(program) => {
            let argv = std::iter::once(program.to_owned()).chain(command).collect();
            Ok((false, Some(CommandForm::Exec(argv))))
        }
    }
}

/// `SOURCE:TARGET`, with `:ro` or `:rw`; a source that is not there becomes a directory.
pub(super) fn volume(text: &str) -> Result<Volume, Failure> {
    let wrong = |what: &str| {
        Failure::usage(
            format!("--volume {text}: {what}"),
            Some("./data:/data, or ./data:/data:ro".to_owned()),
        )
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(wrong("it is not of the form SOURCE:TARGET[:ro]")),
    };
    if !target.starts_with('/') {
        return Err(wrong("the target is not an absolute path"));
    }
    if !source.contains('/') && source != "." && source != ".." {
        return Err(wrong("named volumes are not supported; write a directory here as ./NAME"));
    }
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            other => return Err(wrong(&format!("there is no option {other:?}"))),
        }
    }
    if !Path::new(source).exists() {
        fs::create_dir_all(source).map_err(Failure::io("creating", source.to_owned()))?;
    }
    let source = fs::canonicalize(source).map_err(Failure::io("opening", source.to_owned()))?;
    Ok(Volume { source, target: target.to_owned(), read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_docker_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        fs::write(
            &file,
            "\u{feff}# a comment\n\nA=1\n  B=\"x y\" # all\nC=\nPATH\nNOT_SET_ANYWHERE\nD=a=b\n",
        )
        .unwrap();
        let file = file.display().to_string();
        let found = environment(std::slice::from_ref(&file), &["A=2".into()]).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let path = env::var("PATH").unwrap();
        let expected = [
            pair("A", "1"),
            pair("B", "\"x y\" # all"),
            pair("C", ""),
            pair("PATH", &path),
            pair("D", "a=b"),
            pair("A", "2"),
        ];
        assert_eq!(found, expected);
        assert!(environment(&[], &["=x".into()]).is_err() && environment(&[], &["A B=x".into()]).is_err());
        assert!(environment(&["/no/such/file".into()], &[]).is_err());
    }

    #[test]
    fn an_entrypoint_takes_the_place_of_the_images() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let run = |entrypoint, text| command(entrypoint, words(text)).ok();
        let exec = |text| Some(CommandForm::Exec(words(text)));
        assert_eq!(run(None, ""), Some((true, None)));
        assert_eq!(run(None, "a b"), Some((true, exec("a b"))));
        assert_eq!(run(Some("x"), ""), Some((false, exec("x"))));
        assert_eq!(run(Some("x"), "a b"), Some((false, exec("x a b"))));
        assert_eq!(run(Some(""), "a b"), Some((false, exec("a b"))));
        assert_eq!(run(Some(""), ""), None);
    }

    #[test]
    fn volumes_are_read_as_docker_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("new").display().to_string();
        let read = volume(&format!("{source}:/data:ro")).unwrap();
        assert_eq!(
            (read.target.as_str(), read.read_only, Path::new(&source).is_dir()),
            ("/data", true, true)
        );
        assert!(!volume(&format!("{source}:/data")).unwrap().read_only);
        for wrong in ["data:/data", "./a", "./a:b", "./a:/b:ro:x", "./a:/b:shared", "/:/b:ro:"] {
            assert!(volume(wrong).is_err(), "{wrong}");
        }
    }
}
