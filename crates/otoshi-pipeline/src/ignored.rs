//! What git leaves out of a directory: what is ignored, and not in its index all the same.

use std::path::Path;

use otoshi_engine::checkout;

/// The paths below a directory that git ignores, a directory for all that lies in it; `None` where there is no git, or the directory
/// is in no checkout. Paths that are not UTF-8 are passed over.
///
/// Files that only this user's own settings ignore are not among them.
pub(crate) fn paths(root: &Path) -> Option<Vec<String>> {
    let mut git = checkout::git(root)?;
    git.args(["-c", "core.excludesFile=", "ls-files", "-z"]);
    git.args(["--others", "--ignored", "--exclude-standard", "--directory"]);
    let output = git.output().ok()?;
    if !output.status.success() {
        return None;
    }
    let paths = output.stdout.split(|byte| *byte == 0).filter_map(|path| std::str::from_utf8(path).ok());
    let paths = paths.map(|path| path.trim_end_matches('/')).filter(|path| !matches!(*path, "" | "."));
    Some(paths.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use otoshi_test::{Need, given, require, run};

    use super::*;

    fn ignored(gitignore: &str, files: &[(&str, &str)], forced: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| run(Command::new("git").arg("-C").arg(dir.path()).args(arguments));
        for (name, text) in files.iter().chain([&(".gitignore", gitignore)]) {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(paths(dir.path()), None);
        git(&["init", "-q"]);
        for path in forced {
            git(&["add", "-f", path]);
        }
        let mut found = paths(dir.path()).unwrap();
        found.sort();
        found
    }

    #[test]
    fn what_git_ignores_is_asked_of_git() {
        given!(require(&[Need::Tool("git")]));
        let plain = |names: &[&'static str]| names.iter().map(|name| (*name, "")).collect::<Vec<_>>();
        let nothing: [&str; 0] = [];
        // All but some files.
        let files = plain(&["a.py", "b.txt", "src/c.py", "src/d.txt", "out/e.txt"]);
        let found = ignored("*\n!*/\n!*.py\n!.gitignore\n", &files, &[]);
        assert_eq!(found, ["b.txt", "out", "out/e.txt", "src/d.txt"]);
        // What is in the index is not ignored, whatever fits it.
        let files = plain(&["a.log", "src/forced.log", "root.txt"]);
        assert_eq!(ignored("*.log\nroot.txt/\n", &files, &["src/forced.log"]), ["a.log"]);
        // Files further down count, and nothing comes back below what is left out.
        let files =
            [("a.log", ""), ("sub/neg.log", ""), ("sub/.gitignore", "!neg.log\n*.tmp\n"), ("sub/x.tmp", "")];
        assert_eq!(ignored("*.log\n", &files, &[]), ["a.log", "sub/x.tmp"]);
        assert_eq!(ignored("/build\n!build/keep\n", &plain(&["build/keep"]), &[]), ["build"]);
        // What means nothing leaves nothing out.
        let files = plain(&["a", "sub/b"]);
        assert_eq!(ignored("/\n.\n./sub\n//a\nfoo[\n", &files, &[]), nothing);
        assert_eq!(ignored("\u{feff}a\n", &files, &[]), ["a"]);
    }
}
