//! Files by HTTP: streamed to disk while they are hashed, kept by content.
//!
//! A record for the URL holds what the server said about the content (ETag, Last-Modified); with it the server is asked
//! whether that has changed. A file whose checksum is known is not asked for again.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, UNIX_EPOCH},
};

use otoshi_http::{Client, ClientBuilder, Get, Getter, Got, HttpError, Retries, SafeUrl, Secret, Validators};
use otoshi_oci::{Algorithm, Digest, Fields, Hasher};
use otoshi_store::{Draft, Kind, Record, Root, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::{EngineError, embedded::EmbeddedEngine};

/// What the file is called in its snapshot.
pub(super) const NAME: &str = "file";

/// The largest file that is fetched, in bytes.
const LARGEST: u64 = 64 << 30;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;

const RETRIES: Retries = Retries {
    attempts: 4,
    first_wait: Duration::from_millis(400),
    longest_wait: Duration::from_secs(60),
    deadline: Duration::from_secs(300),
};

/// A file that is in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) snapshot: SnapshotId,
    pub(super) digest: Digest,
    /// What the server said about it.
    #[serde(flatten)]
    validators: Validators,
}

impl Record for Kept {
    const KIND: Kind = Kind::Download;

    fn roots(&self) -> Vec<Root> {
        vec![Root::from(&self.snapshot)]
    }
}

/// Brings a file here, or finds it.
pub(super) fn fetch(
    engine: &EmbeddedEngine,
    url: &SafeUrl,
    checksum: Option<&Digest>,
    authorization: Option<&Secret>,
    no_cache: bool,
) -> Result<Kept, EngineError> {
    let (records, snapshots) = (engine.home().records(), engine.home().snapshots());
    let by_url = Fields::new("download 1").text(url.expose()).digest();
    let by_content =
        |digest: &Digest| Fields::new("downloaded 1").text(url.expose()).text(digest.as_str()).digest();
    if let Some(checksum) = checksum {
        let kept: Option<Kept> = records.get(by_content(checksum).hex());
        if let Some(kept) = kept.filter(|kept| snapshots.get(&kept.snapshot).is_some()) {
            records.touch::<Kept>(by_content(checksum).hex());
            return Ok(kept);
        }
    }
    let known: Option<Kept> = records.get(by_url.hex());
    let known = known.filter(|kept| !no_cache && snapshots.get(&kept.snapshot).is_some());
    // What must have a checksum is not asked about: what is known has another.
    let asked_about = known.as_ref().filter(|_| checksum.is_none()).map(|kept| kept.validators.clone());
    let asked_about = asked_about.unwrap_or_default();
    let Http { client, getter } = http()?;
    let mut saved = Saved::begin(engine, checksum)?;
    let get = Get { url, known: &asked_about, authorization, limit: LARGEST };
    let validators = match getter.get(client, get, &mut saved) {
        Ok(Got::Sent(validators)) => validators,
        Ok(Got::NotModified) => {
            let Some(kept) = known else {
                return Err(EngineError::Http(HttpError::Unasked { url: url.clone() }.into()));
            };
            records.touch::<Kept>(by_url.hex());
            return Ok(kept);
        }
        Err(HttpError::Sink { source, .. }) => {
            return Err(EngineError::io("writing", saved.path)(source));
        }
        Err(error) => return Err(EngineError::Http(error.into())),
    };
    let kept = saved.end(url, checksum, validators)?;
    records.put(by_url.hex(), &kept)?;
    records.put(by_content(&kept.digest).hex(), &kept)?;
    Ok(kept)
}

/// What all files are fetched with.
struct Http {
    client: Client,
    getter: Getter,
}

fn http() -> Result<&'static Http, EngineError> {
    static HTTP: OnceLock<Http> = OnceLock::new();
    if let Some(http) = HTTP.get() {
        return Ok(http);
    }
    let make = || {
        let client = ClientBuilder::new().redirects(MAX_REDIRECTS, |_| None).build()?;
        Ok(Http { client, getter: Getter::new("otoshi-add", RETRIES)? })
    };
    let http = make().map_err(|error: HttpError| EngineError::Http(error.into()))?;
    Ok(HTTP.get_or_init(|| http))
}

/// A file on its way into a snapshot.
struct Saved {
    draft: Draft,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Saved {
    fn begin(engine: &EmbeddedEngine, checksum: Option<&Digest>) -> Result<Self, EngineError> {
        let draft = engine.home().snapshots().draft()?;
        let path = draft.tree().join(NAME);
        let file = File::create(&path).map_err(EngineError::io("creating", &path))?;
        let hasher = Hasher::new(checksum.map_or(Algorithm::Sha256, Digest::algorithm));
        Ok(Self { draft, path, file, hasher, size: 0 })
    }

    /// Makes a snapshot of the file, if it is the one that was wanted.
    fn end(
        self,
        url: &SafeUrl,
        checksum: Option<&Digest>,
        validators: Validators,
    ) -> Result<Kept, EngineError> {
        let Self { draft, path, file, hasher, size } = self;
        if size > LARGEST {
            return Err(EngineError::invalid(format!(
                "cannot fetch {url}: it has more than {LARGEST} bytes"
            )));
        }
        let digest = hasher.finish();
        if let Some(expected) = checksum.filter(|expected| **expected != digest) {
            return Err(EngineError::Invalid {
                message: format!("{url} has the digest {digest}, but --checksum says {expected}"),
                hint: Some("find out why the file changed before you change the checksum".into()),
            });
        }
        let time = validators.modified().unwrap_or(0);
        file.set_modified(UNIX_EPOCH + Duration::from_secs(time))
            .map_err(EngineError::io("setting the time of", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(EngineError::io("setting the mode of", &path))?;
        let snapshot =
            SnapshotId::of_key(&Fields::new("downloaded file 1").text(digest.as_str()).number(time).digest());
        draft.commit(&snapshot)?;
        Ok(Kept { snapshot, digest, validators })
    }
}

impl Write for Saved {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
