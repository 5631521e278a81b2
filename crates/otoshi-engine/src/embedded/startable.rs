//! Whether an image's command can start: what is likely a mistake is told when the image is made, not when it first runs.

use std::path::{Path, PathBuf};

use otoshi_dockerfile::suggest;
use otoshi_oci::{Digest, Platform};

use super::{EmbeddedEngine, accounts::Accounts, chain::Chain, rootfs, stage};
use crate::EngineError;

/// Words with which a shell's command may begin and that are no programs. Source: POSIX.1-2024, Shell Command Language.
const OF_THE_SHELL: [&str; 30] = [
    ".", ":", "[", "alias", "break", "case", "cd", "command", "echo", "eval", "exec", "exit", "export",
    "for", "if", "printf", "pwd", "read", "set", "shift", "source", "test", "time", "trap", "true", "false",
    "ulimit", "umask", "until", "while",
];

/// How much of layers is unpacked only to look, in compressed bytes.
const MOST_UNPACKED: u64 = 32 << 20;

impl EmbeddedEngine {
    /// Says why an image's command cannot start, as far as its files tell; nothing where much would have to be fetched or
    /// unpacked for it.
    pub(crate) fn why_it_cannot_start(
        &self,
        image: &Digest,
        platform: &Platform,
    ) -> Result<Vec<String>, EngineError> {
        let image = self.image(image, platform)?;
        let packed: Vec<_> = image.layers().iter().filter(|layer| self.unpacked(layer).is_none()).collect();
        let size: u64 = packed.iter().map(|layer| layer.descriptor.size()).sum();
        let here = packed.iter().all(|layer| self.home().layout().holds(&layer.descriptor));
        if !here || size > MOST_UNPACKED {
            return Ok(Vec::new());
        }
        let config = &image.config.config;
        let mount = Chain::of_image(&image).mount(self)?;
        let root = mount.path();
        let mut found = Vec::new();
        let accounts = Accounts::in_tree(root);
        if let Err(error) = accounts.process(&config.user) {
            let wanted = config.user.split(':').next().unwrap_or_default();
            found.push(match accounts.near_user(wanted) {
                Some(near) => format!("{error}; did you mean {near}?"),
                None => error.to_string(),
            });
        }
        let mut argv = config.entrypoint.clone().unwrap_or_default();
        argv.extend(config.cmd.clone().unwrap_or_default());
        let path = stage::Stage::env_pairs(&image.config).into_iter().find(|(name, _)| name == "PATH");
        let path = path.map_or_else(|| otoshi_oci::config::DEFAULT_PATH.to_owned(), |(_, path)| path);
        let cwd = if config.working_dir.is_empty() { "/" } else { &config.working_dir };
        let missing = |program: &str| missing(root, cwd, &path, program);
        match argv.first() {
            None => found.push("it has no command".to_owned()),
            Some(program) => match missing(program) {
                Some(why) => found.push(why),
                None => found.extend(shell_text(&argv).and_then(first_program).and_then(missing)),
            },
        }
        Ok(found)
    }
}

/// The text that a shell is given, where the command is that.
fn shell_text(argv: &[String]) -> Option<&str> {
    let is_shell = ["sh", "bash", "dash", "ash"].contains(&argv.first()?.rsplit('/').next()?);
    (is_shell && argv.get(1)? == "-c").then(|| argv.get(2).map(String::as_str)).flatten()
}

/// The program that a shell's text begins with, where that is plain.
fn first_program(text: &str) -> Option<&str> {
    let mut words = text.split_whitespace();
    let mut word = words.next()?;
    if word == "exec" {
        word = words.next()?;
    }
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "_./+-".contains(sign);
    (word.chars().all(plain) && !OF_THE_SHELL.contains(&word)).then_some(word)
}

/// Why a program is not there to be started.
fn missing(root: &Path, cwd: &str, path: &str, program: &str) -> Option<String> {
    let is_file = |path: &str| {
        let found = rootfs::resolve(root, Path::new(path)).ok()?;
        std::fs::symlink_metadata(root.join(found)).ok().filter(std::fs::Metadata::is_file)
    };
    if program.contains('/') {
        let place = rootfs::absolute(cwd, program);
        if is_file(&place).is_some() {
            return None;
        }
        let near = near(root, &PathBuf::from(&place));
        return Some(format!("its program {place} is not in the image{near}"));
    }
    let directories = || path.split(':').filter(|directory| directory.starts_with('/'));
    if directories().any(|directory| is_file(&format!("{directory}/{program}")).is_some()) {
        return None;
    }
    Some(format!("its program {program} is in none of the directories of PATH ({path})"))
}

/// A name beside a path that is like its own.
fn near(root: &Path, place: &Path) -> String {
    let (Some(directory), Some(name)) = (place.parent(), place.file_name()) else { return String::new() };
    let Ok(found) = rootfs::resolve(root, directory) else { return String::new() };
    let names: Vec<String> = std::fs::read_dir(root.join(found))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| crate::names::to_text(entry.file_name().as_encoded_bytes()))
        .collect();
    match suggest(&name.to_string_lossy(), names.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {}?", directory.join(near).display()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_plain_command_is_found() {
        let of = |text: &str| {
            let argv = ["/bin/sh", "-c", text].map(str::to_owned);
            shell_text(&argv).and_then(first_program).map(str::to_owned)
        };
        assert_eq!(of("bin/web --port 80").as_deref(), Some("bin/web"));
        assert_eq!(of("exec puma -C x").as_deref(), Some("puma"));
        for text in ["cd /app && ./web", "PORT=1 web", "$WEB", "(web)", "", "if true; then web; fi"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
