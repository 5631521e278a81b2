//! Where a path leads, with symbolic links followed as the image itself would: an absolute target begins at the image's root,
//! and nothing leads out of it.

/// How many links on one way are followed.
const LINKS: usize = 40;

/// What a path is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The name of an archive's entry: a link at its end is the entry itself, and the name may not climb out of the root.
    ToEntry,
    /// The path that a program opens: a link at its end is followed, and `..` stops at the root.
    ToFile,
}

/// Returns the path at which a program finds what it opens: without `.`, `..`, superfluous slashes, and links.
///
/// `link` gives the target of the link at a path, if one is there. `None` where the links go round in circles, or are more than
/// 40.
pub fn follow<'l>(path: &'l [u8], link: impl Fn(&[u8]) -> Option<&'l [u8]>) -> Option<Vec<u8>> {
    walk(path, Way::ToFile, link)
}

/// Says whether the name of an archive's entry climbs out of the root.
pub(crate) fn climbs_out(name: &[u8]) -> bool {
    walk(name, Way::ToEntry, |_| None).is_none()
}

/// The parts of a path, without `.` and superfluous slashes; `..` takes the part before it away, and stops at the root. Nothing is
/// looked up: a link on the way is a name like any other.
pub fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// A path, an absolute one as well, as one inside a tree, of its [`parts`]; empty for the tree's root.
pub fn inside(path: &str) -> String {
    parts(path).join("/")
}

/// The same as [`follow`] for either kind of path.
pub(super) fn walk<'l>(
    path: &'l [u8],
    way: Way,
    link: impl Fn(&[u8]) -> Option<&'l [u8]>,
) -> Option<Vec<u8>> {
    let mut left: Vec<&[u8]> = path.split(|byte| *byte == b'/').rev().collect();
    let mut place: Vec<u8> = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part {
            b"" | b"." => continue,
            b".." if way == Way::ToEntry && place.is_empty() && links == 0 => return None,
            b".." => {
                place.truncate(place.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let parent = place.len();
        if parent > 0 {
            place.push(b'/');
        }
        place.extend_from_slice(part);
        let Some(target) = link(&place) else { continue };
        if way == Way::ToEntry && left.iter().all(|part| part.is_empty() || *part == b".") {
            continue;
        }
        links += 1;
        if links > LINKS {
            return None;
        }
        place.truncate(if target.starts_with(b"/") { 0 } else { parent });
        left.extend(target.split(|byte| *byte == b'/').rev());
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::{Way, walk};

    #[test]
    fn a_name_of_an_entry_is_the_link_itself_and_does_not_climb() {
        let link = |path: &[u8]| match path {
            b"lib" => Some(&b"usr/lib"[..]),
            b"up" => Some(&b"../../etc"[..]),
            b"a" => Some(&b"a"[..]),
            _ => None,
        };
        let of = |way, path: &'static str| {
            walk(path.as_bytes(), way, link).map(|found| String::from_utf8(found).unwrap())
        };
        for (path, entry, file) in [
            ("./lib//x/../y", Some("usr/lib/y"), Some("usr/lib/y")),
            ("lib", Some("lib"), Some("usr/lib")),
            ("lib/.", Some("lib"), Some("usr/lib")),
            ("up/passwd", Some("etc/passwd"), Some("etc/passwd")),
            ("../etc", None, Some("etc")),
            ("a/b", None, None),
            ("a", Some("a"), None),
        ] {
            assert_eq!(of(Way::ToEntry, path).as_deref(), entry, "{path}");
            assert_eq!(of(Way::ToFile, path).as_deref(), file, "{path}");
        }
    }
}
