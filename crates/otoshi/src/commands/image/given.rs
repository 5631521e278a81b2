//! The values of flags: build arguments, labels, secrets, SSH agents, named contexts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use otoshi_engine::{Context, ImageSource, NamedContext, Secret, Ssh};
use otoshi_oci::{
    Digest, Platform, Reference,
    transfer::{ImportOptions, Imported, import_oci},
};
use otoshi_store::Home;

use super::elsewhere::Elsewhere;
use crate::failure::Failure;

/// `NAME=VALUE`; a name alone has the value of the environment variable, if there is one.
pub(super) fn pair(text: &str) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => std::env::var(text).ok().map(|value| (text.to_owned(), value)),
    }
}

/// `NAME=VALUE`; a name alone has an empty value.
pub(super) fn label(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

/// The comma-separated fields of a flag, by name.
pub(super) fn fields<'a>(
    flag: &str,
    text: &'a str,
    known: &[&str],
) -> Result<BTreeMap<&'a str, &'a str>, Failure> {
    let mut found = BTreeMap::new();
    for field in text.split(',') {
        let (name, value) = field.split_once('=').unwrap_or((field, "true"));
        if !known.contains(&name) {
            let near = otoshi_dockerfile::suggest(name, known.iter().copied());
            let hint = near.map_or_else(
                || format!("one of {}", known.join(", ")),
                |near| format!("did you mean {near}?"),
            );
            return Err(Failure::usage(format!("{flag} {text}: there is no field {name:?}"), Some(hint)));
        }
        found.insert(name, value);
    }
    Ok(found)
}

/// `id=ID,src=FILE` or `id=ID,env=NAME`; an id alone is that environment variable, or else that file.
pub(super) fn secret(text: &str) -> Result<(String, Secret), Failure> {
    let fields = fields("--secret", text, &["id", "src", "source", "env", "type"])?;
    let wrong = |what: &str| {
        Failure::usage(format!("--secret {text}: {what}"), Some("id=token,src=token.txt".into()))
    };
    let id = *fields.get("id").ok_or_else(|| wrong("it needs an id"))?;
    let source = fields.get("src").or_else(|| fields.get("source")).copied();
    let secret = match (fields.get("type").copied(), source, fields.get("env").copied()) {
        (Some("env"), source, env) => Secret::Env(env.or(source).unwrap_or(id).to_owned()),
        (None | Some("file"), Some(path), None) => Secret::File(path.into()),
        (None, None, Some(name)) => Secret::Env(name.to_owned()),
        (None, None, None) if std::env::var_os(id).is_some() => Secret::Env(id.to_owned()),
        (None | Some("file"), None, None) => Secret::File(id.into()),
        (Some("file") | None, _, Some(_)) => {
            return Err(wrong("it cannot be both a file and an environment variable"));
        }
        (Some(other), ..) => return Err(wrong(&format!("there is no type {other:?}"))),
    };
    if let Secret::File(path) = &secret
        && !path.is_file()
    {
        return Err(wrong(&format!("there is no file {}", path.display())));
    }
    Ok((id.to_owned(), secret))
}

/// `ID`, which is the agent of `SSH_AUTH_SOCK`; `ID=SOCKET`; or `ID=KEY,KEY`.
pub(super) fn ssh(text: &str) -> Result<(String, Ssh), Failure> {
    use std::os::unix::fs::FileTypeExt;
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    if paths.is_empty() {
        let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
        let socket = socket.ok_or_else(|| {
            Failure::usage(
                format!("--ssh {text}: no SSH agent is running (SSH_AUTH_SOCK is not set)"),
                Some(format!("eval $(ssh-agent) && ssh-add, or --ssh {id}=KEY")),
            )
        })?;
        return Ok((id.to_owned(), Ssh::Agent(socket.into())));
    }
    let paths: Vec<PathBuf> = paths.split(',').map(PathBuf::from).collect();
    for path in &paths {
        fs::metadata(path).map_err(Failure::io("reading", path.display().to_string()))?;
    }
    let is_socket = fs::metadata(&paths[0]).is_ok_and(|meta| meta.file_type().is_socket());
    Ok((
        id.to_owned(),
        match &paths[..] {
            [socket] if is_socket => Ssh::Agent(socket.clone()),
            _ => Ssh::Keys(paths),
        },
    ))
}

/// `NAME=DIR`, `NAME=REPOSITORY.git`, `NAME=docker-image://REF` or `NAME=oci-layout://DIR[:TAG|@DIGEST]`.
pub(super) fn context(
    home: &Home,
    elsewhere: Elsewhere<'_>,
    registries: &dyn ImageSource,
    platform: &Platform,
    text: &str,
) -> Result<(String, NamedContext), Failure> {
    let wrong = |what: String, hint: &str| {
        Failure::usage(format!("--build-context {text}: {what}"), Some(hint.to_owned()))
    };
    let Some((name, value)) =
        text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty())
    else {
        return Err(wrong("it needs a name and a value".into(), "assets=../assets"));
    };
    let context = if value == "docker-image://scratch" {
        NamedContext::Scratch
    } else if let Some(reference) = value.strip_prefix("docker-image://") {
        let reference = Reference::parse(reference)?;
        let found = match home.layout().names().resolve(&reference)? {
            Some(here) => Digest::of(&here).ok(),
            None => registries.find(&reference, platform)?,
        };
        let missing = || {
            wrong(format!("there is no image {}", reference.familiar()), "otoshi images lists what is there")
        };
        NamedContext::Image(found.ok_or_else(missing)?)
    } else if let Some(layout) = value.strip_prefix("oci-layout://") {
        NamedContext::Image(from_layout(home, layout)?)
    } else if let Some(root) = elsewhere.directory(value)? {
        NamedContext::Directory(Arc::new(Context::scan(home, &root, None)?))
    } else if let Some((scheme, _)) = value.split_once("://") {
        let hint = "a directory, a git repository, docker-image:// or oci-layout://";
        return Err(wrong(format!("contexts from {scheme}:// are not supported"), hint));
    } else {
        let root = Path::new(value);
        if !root.is_dir() {
            return Err(wrong(
                format!("{value} is not a directory"),
                "docker-image:// goes before the name of an image",
            ));
        }
        let ignore = super::ignore::first_text([root.join(".dockerignore")])?;
        NamedContext::Directory(Arc::new(Context::scan(home, root, ignore.as_deref())?))
    };
    Ok((name.to_owned(), context))
}

/// The name of a named context.
pub(super) fn context_name(text: &str) -> &str {
    text.split_once('=').map_or(text, |(name, _)| name)
}

/// Takes an image of a layout into the store: the one with this tag or digest, or the only one.
fn from_layout(home: &Home, text: &str) -> Result<Digest, Failure> {
    let (path, wanted) = match text.split_once('@') {
        Some((path, digest)) => (path, Some(digest)),
        None => match text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((path, tag)) => (path, Some(tag)),
            None => (text, None),
        },
    };
    let options = ImportOptions::default();
    let images = import_oci(home.layout(), Path::new(path), &options)?;
    let is_wanted = |image: &Imported| {
        let name = |name: &Reference| {
            [name.tag().unwrap_or_default(), &name.familiar_name(), &name.familiar()]
                .contains(&wanted.unwrap_or_default())
        };
        wanted.is_none_or(|wanted| wanted == image.digest.as_str())
            || image.reference.as_ref().is_some_and(name)
    };
    let found: Vec<&Digest> =
        images.iter().filter(|image| is_wanted(image)).map(|image| &image.digest).collect();
    match &found[..] {
        [digest] => Ok(Digest::clone(digest)),
        [] => Err(Failure::usage(format!("oci-layout://{text}: there is no such image in it"), None)),
        _ => Err(Failure::usage(
            format!("oci-layout://{text}: it holds {} images", found.len()),
            Some(format!("oci-layout://{path}:TAG says which")),
        )),
    }
}
