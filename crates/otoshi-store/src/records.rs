//! Small facts that are worth remembering: step results, phase records, memoized digests.
//!
//! A record is a file of its own, `records/KIND/ab/abcd…`, named by its kind and key; `form.rs` says what is in it.
//!
//! Many processes read and write them without a lock: a record is written under a temporary name and renamed. A
//! record that is torn, corrupt or of an unknown form is the same as one that is not there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use otoshi_oci::Digest;
use otoshi_tree::{Lasting, write_whole};

use crate::{Kind, Record, Root, StoreError, form};

/// The records of one store.
#[derive(Debug, Clone)]
pub struct Records {
    root: PathBuf,
}

impl Records {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Reads the record of this type and key, or `None` when there is no readable one.
    pub fn get<T: Record>(&self, key: &str) -> Option<T> {
        let own = form::read(&self.path(T::KIND, key), T::KIND);
        let found = own.or_else(|| {
            let kind = T::KIND.first_form()?;
            form::read_first(&self.path(kind, key), kind)
        });
        T::decode(&found?)
    }

    /// Writes the record of this type and key, in place of an earlier one.
    ///
    /// Fails where the value cannot be encoded, or the file not be written.
    pub fn put<T: Record>(&self, key: &str, value: &T) -> Result<(), StoreError> {
        let path = self.path(T::KIND, key);
        let body = value.encode().map_err(StoreError::io("encoding a record for", &path))?;
        let bytes = form::encode(T::KIND, &value.roots(), &body);
        write_whole(&path, &bytes, Lasting::Cached).map_err(StoreError::io("writing", &path))
    }

    /// Writes what can be found out again at any time; a store that cannot be written is no reason to fail.
    ///
    /// Fails as [`Records::put`] does otherwise.
    pub fn remember<T: Record>(&self, key: &str, value: &T) -> Result<(), StoreError> {
        match self.put(key, value) {
            Err(error) if error.is_read_only() => Ok(()),
            other => other,
        }
    }

    /// Says whether there is a record of this kind and key that is whole, also where its type has another form now.
    pub fn has<T: Record>(&self, key: &str) -> bool {
        form::read(&self.path(T::KIND, key), T::KIND).is_some()
    }

    /// Marks a record as used now, so that the garbage collector keeps it and what it names.
    ///
    /// Cheap: the time is written only when the last mark is more than an hour old.
    pub fn touch<T: Record>(&self, key: &str) {
        let kinds = [Some(T::KIND), T::KIND.first_form()];
        for path in kinds.into_iter().flatten().map(|kind| self.path(kind, key)) {
            let Ok(time) = fs::metadata(&path).and_then(|meta| meta.modified()) else { continue };
            if age(time) >= Duration::from_secs(3600)
                && let Ok(file) = fs::File::options().append(true).open(&path)
            {
                let _ = file.set_modified(SystemTime::now());
            }
            return;
        }
    }

    /// Lists every record of a kind: its file name and how long ago it was last written or used.
    pub(crate) fn list(&self, kind: Kind) -> Vec<(PathBuf, Duration)> {
        let mut found = Vec::new();
        let shards = fs::read_dir(self.root.join(kind.directory())).into_iter().flatten().flatten();
        for file in shards.flat_map(|shard| fs::read_dir(shard.path()).into_iter().flatten().flatten()) {
            let time = file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((file.path(), age(time)));
        }
        found
    }

    /// What a record keeps alive, by the path that [`Records::list`] gave.
    pub(crate) fn roots(kind: Kind, path: &Path) -> Vec<Root> {
        form::roots(path, kind)
    }

    /// Says whether a record is whole, by the path that [`Records::list`] gave.
    pub(crate) fn is_whole(kind: Kind, path: &Path) -> bool {
        form::read(path, kind).is_some()
    }

    fn path(&self, kind: Kind, key: &str) -> PathBuf {
        let safe =
            key.len() >= 2 && key.len() <= 128 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let name = if safe { key.to_owned() } else { Digest::sha256_of(key.as_bytes()).hex().to_owned() };
        self.root.join(kind.directory()).join(&name[..2]).join(name)
    }
}

/// How long ago `time` was; zero when the clock went backwards.
pub(crate) fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::SnapshotId;

    /// A record of a step.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Made(Vec<Digest>);

    impl Record for Made {
        const KIND: Kind = Kind::Step;

        fn roots(&self) -> Vec<Root> {
            self.0.iter().map(Root::from).collect()
        }
    }

    /// The same bytes, of another kind, which had the directory of steps in the first form.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Fetched(Vec<Digest>);

    impl Record for Fetched {
        const KIND: Kind = Kind::Download;
    }

    fn some() -> Vec<Digest> {
        vec![Digest::sha256_of(b"a"), Digest::sha256_of(b"b")]
    }

    #[test]
    fn a_record_comes_back_and_a_corrupt_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().into());
        records.put("abcd", &Made(some())).unwrap();
        assert_eq!(records.get("abcd"), Some(Made(some())));
        assert_eq!(records.get::<Fetched>("abcd"), None);
        assert!(records.has::<Made>("abcd"));

        let path = records.path(Kind::Step, "abcd");
        let whole = fs::read(&path).unwrap();
        let line = whole.iter().position(|byte| *byte == b'\n').unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert_eq!(records.get::<Made>("abcd"), None, "changed at {at}");
            // The collector reads no further than the line.
            assert_eq!(Records::roots(Kind::Step, &path).is_empty(), at <= line, "changed at {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(records.get::<Made>("abcd"), None, "cut at {at}");
            assert!(!records.has::<Made>("abcd"), "cut at {at}");
        }
    }

    #[test]
    fn a_record_says_itself_what_it_keeps_alive() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().into());
        let roots = |kind, key| Records::roots(kind, &records.path(kind, key));
        records.put("abcd", &Made(some())).unwrap();
        let mut expected: Vec<Root> = some().iter().map(Root::from).collect();
        expected.sort_by_key(Root::to_string);
        assert_eq!(roots(Kind::Step, "abcd"), expected);
        // And is not asked for what merely looks like a name.
        records.put("abcd", &Fetched(some())).unwrap();
        assert_eq!(roots(Kind::Download, "abcd"), []);
        assert_eq!(roots(Kind::Step, "missing"), []);
    }

    #[test]
    fn a_record_of_the_first_form_is_read_and_keeps_what_it_kept() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().into());
        let step = SnapshotId::of_key(&Digest::sha256_of(b"step"));
        let put = |kind, key, body: serde_json::Value| {
            let path = records.path(kind, key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, form::first_form(&serde_json::to_vec(&body).unwrap())).unwrap();
            Records::roots(kind, &path)
        };
        let digests: Vec<Root> = some().iter().map(Root::from).collect();
        assert_eq!(put(Kind::Step, "abcd", serde_json::json!(some())), digests);
        assert_eq!(records.get("abcd"), Some(Made(some())));
        assert_eq!(records.get("abcd"), Some(Fetched(some())), "of a kind of its own since");
        assert_eq!(
            put(Kind::Phase, "abcd", serde_json::json!({ "output": [step, some()[0]], "took": 3 })),
            [Root::from(&step), Root::from(&some()[0])]
        );
        assert_eq!(put(Kind::Content, "abcd", serde_json::json!(some()[0])), []);
        let layer = serde_json::json!({ "descriptor": { "digest": some()[0] }, "diff_id": some()[1] });
        assert_eq!(put(Kind::Layer, "abcd", layer), [Root::from(&some()[0])]);

        // A new one counts before it; of a type that it is not, it is none.
        records.put("abcd", &Fetched(Vec::new())).unwrap();
        assert_eq!(records.get("abcd"), Some(Fetched(Vec::new())));
        put(Kind::Step, "dcba", serde_json::json!({ "snapshot": step }));
        assert_eq!(records.get::<Made>("dcba"), None);
    }

    #[test]
    fn using_a_record_makes_it_young() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().into());
        records.put("abcd", &Made(some())).unwrap();
        let aged = |kind| {
            let file = fs::File::options().append(true).open(records.path(kind, "abcd")).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
        };
        aged(Kind::Step);
        records.touch::<Made>("abcd");
        assert!(records.list(Kind::Step)[0].1 < Duration::from_secs(3600));
        aged(Kind::Step);
        records.touch::<Fetched>("abcd");
        assert!(records.list(Kind::Step)[0].1 < Duration::from_secs(3600), "as in the first form");
    }

    #[test]
    fn any_text_can_be_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().into());
        for (index, key) in
            ["", "/", "../../etc/passwd", "a", "ünïcode", &"x".repeat(4000)].into_iter().enumerate()
        {
            let value = Made(vec![Digest::sha256_of(&[index as u8])]);
            records.put(key, &value).unwrap();
            assert_eq!(records.get(key), Some(value));
        }
    }
}
