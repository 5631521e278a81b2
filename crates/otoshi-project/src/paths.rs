//! Paths of `otoshi.toml` that cannot be what their keys stand for.

use otoshi_oci::contents::parts;

/// Directories that the system makes in every sandbox, whatever the image has there.
const OF_THE_SYSTEM: [&str; 3] = ["proc", "sys", "dev"];

/// Why nothing can be put into an image at a path or taken from there, if so.
pub(crate) fn in_image(path: &str) -> Option<&'static str> {
    match parts(path).first() {
        _ if path.contains('\0') => Some("is no path"),
        _ if !path.starts_with('/') => Some("is not absolute"),
        Some(first) if OF_THE_SYSTEM.contains(first) => Some("belongs to the system in every sandbox"),
        _ => None,
    }
}

/// Why nothing can be mounted on an image at a path, if so.
pub(crate) fn on_image(path: &str) -> Option<&'static str> {
    in_image(path).or_else(|| parts(path).is_empty().then_some("is the whole image"))
}

/// Whether what is mounted at a path hides a directory.
pub(crate) fn hides(path: &str, directory: &str) -> bool {
    parts(directory).starts_with(&parts(path))
}

/// Whether a path is none below the source directory.
pub(crate) fn is_outside(path: &str) -> bool {
    path.is_empty()
        || path.starts_with('/')
        || path.contains('\0')
        || path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_that_can_be_used_in_an_image() {
        for (path, problem) in [
            ("/app", None),
            ("/app/../srv/", None),
            ("/devices", None),
            ("", Some("is not absolute")),
            ("app", Some("is not absolute")),
            ("/", Some("is the whole image")),
            ("//./", Some("is the whole image")),
            ("/app/..", Some("is the whole image")),
            ("/proc", Some("belongs to the system in every sandbox")),
            ("/sys/fs/cgroup", Some("belongs to the system in every sandbox")),
            ("/app/../dev/shm", Some("belongs to the system in every sandbox")),
            ("/a\0b", Some("is no path")),
        ] {
            assert_eq!(on_image(path), problem, "{path:?}");
        }
        assert_eq!((in_image("/"), in_image("/dev")), (None, Some("belongs to the system in every sandbox")));
        assert!(hides("/app/", "/app") && hides("/usr", "/usr/src/app") && !hides("/app/cache", "/app"));
        assert!(!hides("/ap", "/app"));
    }
}
