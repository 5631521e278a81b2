//! Where a build comes from: a Dockerfile and its context, on disk or from standard input.

use std::{
    fs,
    io::{BufReader, Cursor, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use otoshi_dockerfile::Dockerfile;
use otoshi_engine::{Context, EmbeddedEngine, EngineError, Ssh};
use otoshi_oci::{
    layer::{self, UnpackOptions},
    tar,
};
use otoshi_store::{Draft, Home};

use super::{elsewhere::Elsewhere, given, ignore};
use crate::failure::Failure;

/// The longest Dockerfile that is read.
const LONGEST: u64 = 16 << 20;

/// A Dockerfile with what its COPY and ADD read.
pub(super) struct Source {
    pub(super) dockerfile: Arc<Dockerfile>,
    pub(super) context: Arc<Context>,
    /// The text of the ignore file.
    pub(super) ignore: Option<String>,
    /// Holds a context that came through standard input.
    _unpacked: Option<Draft>,
}

impl Source {
    /// Reads the Dockerfile and the ignore file, and scans the context.
    pub(super) fn open(
        home: &Home,
        elsewhere: Elsewhere<'_>,
        context: &Path,
        file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let remote = context.to_str().map(|text| elsewhere.directory(text));
        let remote = remote.transpose()?.flatten();
        if let Some(root) = remote {
            return Self::inside(home, &root, &context.display().to_string(), file, None);
        }
        if !is_standard_input(context) {
            if !context.is_dir() {
                let message = format!("the context {} is not a directory", context.display());
                return Err(Failure::usage(message, None));
            }
            let (name, text, ignore) = dockerfile(context, file)?;
            return Self::scan(home, parse(&name, &text)?, context, ignore, None);
        }
        if file.is_some_and(is_standard_input) {
            let message = "standard input cannot be both the context and the Dockerfile";
            return Err(Failure::usage(message, Some("give a directory as the context".into())));
        }
        let mut input = std::io::stdin().lock();
        let mut start = Vec::new();
        // Enough to see a tar's first header, also compressed.
        let read_start = input.by_ref().take(256 << 10).read_to_end(&mut start);
        read_start.map_err(Failure::io("reading", "standard input"))?;
        if !is_archive(&start) {
            // A Dockerfile alone, with nothing to copy.
            let name = "standard input";
            let text = text(&mut Cursor::new(start).chain(input), name)?;
            let dockerfile = parse(name, &text)?;
            let context = Arc::new(Context::empty());
            return Ok(Self { dockerfile: Arc::new(dockerfile), context, ignore: None, _unpacked: None });
        }
        let draft = home.snapshots().draft()?;
        let root = draft.tree();
        let options = UnpackOptions {
            layer_name: "standard input".into(),
            whiteouts: false,
            owner: Some((0, 0)),
            in_userns: !rustix::process::geteuid().is_root(),
            ..UnpackOptions::default()
        };
        // The lock on standard input is bound to this thread, and unpacking uses another.
        drop(input);
        layer::unpack_layer(Cursor::new(start).chain(std::io::stdin()), &root, &options)?;
        Self::inside(home, &root, "standard input", file, Some(draft))
    }

    /// A context from elsewhere, with the Dockerfile inside.
    fn inside(
        home: &Home,
        root: &Path,
        from: &str,
        file: Option<&Path>,
        unpacked: Option<Draft>,
    ) -> Result<Self, Failure> {
        let inside = file.unwrap_or(Path::new("Dockerfile"));
        let place = beneath(root, inside).ok_or_else(|| {
            let message = format!("there is no {} in the context from {from}", inside.display());
            Failure::usage(message, Some("-f says where the Dockerfile is".into()))
        })?;
        let beside = format!("{}.dockerignore", inside.display());
        let ignore = [Path::new(&beside), Path::new(".dockerignore")].map(|path| beneath(root, path));
        let ignore = ignore::first_text(ignore.into_iter().flatten())?;
        let dockerfile = parse(&inside.display().to_string(), &read(&place)?)?;
        Self::scan(home, dockerfile, root, ignore, unpacked)
    }

    fn scan(
        home: &Home,
        dockerfile: Dockerfile,
        context: &Path,
        ignore: Option<String>,
        unpacked: Option<Draft>,
    ) -> Result<Self, Failure> {
        let context = Arc::new(Context::scan(home, context, ignore.as_deref())?);
        Ok(Self { dockerfile: Arc::new(dockerfile), context, ignore, _unpacked: unpacked })
    }
}

/// The time of the commit that a context is at, in seconds since 1970: what `SOURCE_DATE_EPOCH=context` means.
pub(super) fn commit_time(
    engine: &EmbeddedEngine,
    ssh: Option<&Ssh>,
    context: &Path,
) -> Result<String, Failure> {
    let remote = context.to_str().map(|text| engine.remote_time(text, ssh)).transpose()?.flatten();
    if let Some(time) = remote {
        return Ok(time.to_string());
    }
    let mut git = Command::new("git");
    git.arg("-C").arg(context).args(["log", "-1", "--format=%ct"]).stderr(Stdio::null());
    let output = git.stdin(Stdio::null()).output().ok().filter(|output| output.status.success());
    let time = output.and_then(|output| String::from_utf8(output.stdout).ok());
    time.map(|text| text.trim().to_owned()).filter(|text| text.parse::<i64>().is_ok()).ok_or_else(|| {
        let message = format!("SOURCE_DATE_EPOCH=context: {} is not in a git repository", context.display());
        Failure::usage(message, Some("give a number of seconds since 1970".into()))
    })
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The name and the text of a directory's Dockerfile, and the text of its ignore file.
pub(super) fn dockerfile(
    context: &Path,
    file: Option<&Path>,
) -> Result<(String, String, Option<String>), Failure> {
    let own = context.join("Dockerfile");
    let file = file.unwrap_or(&own);
    let (name, text) = if is_standard_input(file) {
        ("standard input".to_owned(), text(&mut std::io::stdin().lock(), "standard input")?)
    } else {
        (file.display().to_string(), read(file)?)
    };
    let ignore = ignore_text(context, (!is_standard_input(file)).then_some(file))?;
    Ok((name, text, ignore))
}

/// The Dockerfile of a directory.
pub(super) fn parsed(context: &Path, file: Option<&Path>) -> Result<Dockerfile, Failure> {
    let (name, text, _) = dockerfile(context, file)?;
    parse(&name, &text)
}

/// Parses a Dockerfile; what is likely not meant in front of a mistake is told as well.
fn parse(name: &str, text: &str) -> Result<Dockerfile, Failure> {
    Dockerfile::parse(name, text).map_err(|error| {
        let given = given::pair("BUILDKIT_DOCKERFILE_CHECK").into_iter().collect();
        if let Some((_, findings)) = Dockerfile::check_before_error(name, text, &given) {
            for found in &findings.found {
                errln!("warning: {name}:{}: {} ({})", found.line, found.message, found.rule.name());
            }
        }
        EngineError::from(error).into()
    })
}

/// The ignore file beside the Dockerfile, or else that of the context.
fn ignore_text(context: &Path, file: Option<&Path>) -> Result<Option<String>, Failure> {
    let own = file.map(|file| {
        let mut name = file.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    ignore::first_text(own.into_iter().chain([context.join(".dockerignore")]))
}

fn read(path: &Path) -> Result<String, Failure> {
    let shown = path.display().to_string();
    if !path.exists() {
        let hint = "-f says where the Dockerfile is".to_owned();
        return Err(Failure::usage(format!("there is no {shown}"), Some(hint)));
    }
    let mut file = fs::File::open(path).map_err(Failure::io("reading", &shown))?;
    text(&mut file, &shown)
}

fn text(reader: &mut dyn Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    reader.take(LONGEST).read_to_end(&mut bytes).map_err(Failure::io("reading", name))?;
    Ok(otoshi_dockerfile::encoding::text(name, &bytes).map_err(EngineError::from)?)
}

fn is_archive(start: &[u8]) -> bool {
    let Ok((_, stream)) = layer::decoder(start) else { return false };
    matches!(tar::Reader::new(BufReader::new(stream)).next_entry(), Ok(Some(_)))
}

/// A file of an unpacked archive; none where a link leads out of it.
fn beneath(root: &Path, path: &Path) -> Option<PathBuf> {
    let root = root.canonicalize().ok()?;
    let place = root.join(path.strip_prefix("/").unwrap_or(path)).canonicalize().ok()?;
    (place.starts_with(&root) && place.is_file()).then_some(place)
}
