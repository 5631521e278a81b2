//! `--chmod`: an octal number, or symbolic as in `u=rwX,go=rX`.
//!
//! Symbolic modes are those of POSIX `chmod`, without a umask: without a class they are for all.
//! Spec: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/chmod.html>

use crate::EngineError;

/// What happens to the mode of what is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chmod {
    /// It becomes this.
    Octal(u32),
    /// It is changed step by step.
    Symbolic(Vec<Action>),
}

/// One step of a symbolic mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    /// The classes: bits of `rwxrwxrwx`.
    who: u32,
    operator: char,
    what: What,
    /// Whether set-id bits belong to the classes named, and the sticky bit.
    special: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// Permissions for every class, `X` apart, and the special bits.
    Bits { bits: u32, conditional_execute: bool, special: u32 },
    /// Those of a class, by how far it is shifted.
    CopyOf(u32),
}

impl Chmod {
    /// Reads the flag's value.
    pub(crate) fn parse(text: &str) -> Result<Self, EngineError> {
        let wrong = || EngineError::Invalid {
            message: format!("--chmod={text}: not a mode"),
            hint: Some("an octal number from 0 to 7777, or symbolic as in u=rwX,go=rX".into()),
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .map(Self::Octal)
                .ok_or_else(wrong);
        }
        let mut actions = Vec::new();
        for clause in text.split(',') {
            let start = clause.find(['+', '-', '=']).ok_or_else(wrong)?;
            let (who, special) = classes(&clause[..start]).ok_or_else(wrong)?;
            let mut rest = &clause[start..];
            while let Some(operator) = rest.chars().next() {
                let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
                let what = what(&rest[1..end]).ok_or_else(wrong)?;
                actions.push(Action { who, operator, what, special });
                rest = &rest[end..];
            }
        }
        Ok(Self::Symbolic(actions))
    }

    /// The mode of directories that are made on the way: nobody but their owner may write there. A symbolic mode says none.
    pub(crate) fn of_new_directories(&self) -> Option<u32> {
        match self {
            Self::Octal(mode) => Some(*mode & 0o755),
            Self::Symbolic(_) => None,
        }
    }

    /// The new mode of an object that has this one.
    pub(crate) fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(actions) => {
                actions.iter().fold(mode, |mode, action| action.apply(mode, is_directory))
            }
        }
    }
}

impl Action {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let (bits, special) = match self.what {
            What::CopyOf(shift) => (spread((mode >> shift) & 0o7), 0),
            What::Bits { bits, conditional_execute, special } => {
                let executes = conditional_execute && (is_directory || mode & 0o111 != 0);
                (bits | if executes { 0o111 } else { 0 }, special)
            }
        };
        let change = (bits & self.who) | (special & self.special);
        match self.operator {
            '+' => mode | change,
            '-' => mode & !change,
            // A directory keeps its set-id bits unless they are named.
            _ => {
                let kept = if is_directory { self.special & !0o1000 & !special } else { 0 };
                (mode & !(self.who | (self.special & !kept))) | change
            }
        }
    }
}

/// The bits of the classes, and the special bits that go with them.
fn classes(text: &str) -> Option<(u32, u32)> {
    if text.is_empty() {
        return Some((0o777, 0o7000));
    }
    text.chars().try_fold((0, 0), |(who, special), class| {
        let (bits, own) = match class {
            'u' => (0o700, 0o4000),
            'g' => (0o070, 0o2000),
            'o' => (0o007, 0o1000),
            'a' => (0o777, 0o7000),
            _ => return None,
        };
        Some((who | bits, special | own))
    })
}

fn what(text: &str) -> Option<What> {
    match text {
        "u" => return Some(What::CopyOf(6)),
        "g" => return Some(What::CopyOf(3)),
        "o" => return Some(What::CopyOf(0)),
        _ => {}
    }
    let (mut bits, mut conditional_execute, mut special) = (0, false, 0);
    for permission in text.chars() {
        match permission {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            'X' => conditional_execute = true,
            's' => special |= 0o6000,
            't' => special |= 0o1000,
            _ => return None,
        }
    }
    Some(What::Bits { bits, conditional_execute, special })
}

/// One class's permissions for every class.
fn spread(bits: u32) -> u32 {
    bits << 6 | bits << 3 | bits
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn modes_are_those_of_the_chmod_program() {
        let dir = tempfile::tempdir().unwrap();
        let (file, directory) = (dir.path().join("f"), dir.path().join("d"));
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&directory).unwrap();
        for text in [
            "755",
            "0644",
            "4755",
            "u+x",
            "go-w",
            "a=r",
            "u=rwX,go=rX",
            "g=u",
            "o=g-w",
            "u+s",
            "g+s",
            "+t",
            "ug=rw,o=",
            "a-x+X",
            "u=rwx,g=u-w,o=g",
            "a=rwxs",
            "u-s,g-s",
            "-t",
            "a+X",
        ] {
            for before in [0o600, 0o755, 0o4711, 0o2640, 0o1777, 0o000] {
                for (path, is_directory) in [(&file, false), (&directory, true)] {
                    let set = |mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
                    set(before).unwrap();
                    // Its octal numbers leave the set-id bits of directories; those of --chmod do not.
                    if is_directory && text.starts_with(|c: char| c.is_ascii_digit()) {
                        continue;
                    }
                    // A umask would count where no class is given.
                    let command = format!("umask 0; chmod {text} '{}'", path.display());
                    assert!(
                        std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success()
                    );
                    let expected = std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
                    let mode = Chmod::parse(text).unwrap().apply(before, is_directory);
                    assert_eq!(
                        format!("{mode:o}"),
                        format!("{expected:o}"),
                        "{text} on {before:o} {is_directory}"
                    );
                }
            }
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for text in ["", "8", "99999", "0o755", "u", "u+q", "x+u", "u+ug", "17777", "-755x", ","] {
            assert!(Chmod::parse(text).is_err(), "{text}");
        }
    }
}
