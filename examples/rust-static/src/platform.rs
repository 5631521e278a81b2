//! The versions of what lies below the application, read at run time.

use std::{fs, path::Path};

const OS_RELEASE: &str = "/etc/os-release";
const PACKAGES: &str = "/var/lib/dpkg/status.d";

/// Gives a line for the system and for each package of the runner.
pub fn versions() -> String {
    let mut lines = vec![("os".to_owned(), system().unwrap_or_else(|| "unknown".to_owned()))];
    lines.push(("rustc".to_owned(), env!("CLOCK_RUSTC").to_owned()));
    lines.extend(packages(Path::new(PACKAGES)));
    lines.iter().map(|(name, version)| format!("{name:12}{version}\n")).collect()
}

fn system() -> Option<String> {
    let text = fs::read_to_string(OS_RELEASE).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// Reads name and version of each package, sorted by name.
fn packages(directory: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<(String, String)> = entries
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let version = text.lines().find_map(|line| line.strip_prefix("Version: "))?;
            Some((entry.file_name().to_string_lossy().into_owned(), version.to_owned()))
        })
        .collect();
    found.sort();
    found
}
