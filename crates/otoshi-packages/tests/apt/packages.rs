//! Packages of a root: chosen by what they need, fetched once, and refused when they are not what was signed.

use std::fs;
use std::process::Command;

use otoshi_packages::apt::{Available, Configuration, HttpFetcher, Kept, Repositories};
use otoshi_packages::roots::{choose, fetch, layer};
use otoshi_test::{Server, given, output};

use crate::files;
use crate::repository::{Keys, asked_of, deb, suite};

fn published(
    root: &tempfile::TempDir,
    store: &tempfile::TempDir,
    keys: &Keys,
    key: &str,
) -> (Server, Available) {
    let packages = output(Command::new("dpkg-scanpackages").args(["-m", "pool"]).current_dir(root));
    let directory =
        suite(root.path(), "sid", &String::from_utf8(packages).unwrap(), &["gz"], &[("Suite", "sid")]);
    keys.sign(&directory, key);
    let server = Server::of(root.path());
    let source = format!("deb {} sid main\n", server.url());
    let key = keys.public(key, false);
    let image = files(&[("etc/apt/sources.list", source.as_bytes()), ("etc/apt/trusted.gpg.d/a.gpg", &key)]);
    let fetcher = HttpFetcher::new(&Configuration::default()).unwrap();
    let now = jiff::Timestamp::now();
    let available = Repositories::from_files(&image, "amd64").refresh(
        &Kept::new(store.path().join("apt")),
        &fetcher,
        now,
    );
    assert!(available.failures().is_empty(), "{:?}", available.failures());
    (server, available)
}

fn names(available: &Available, wanted: &[&str]) -> Result<Vec<String>, String> {
    let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let chosen = choose(available, &wanted, &[]).map_err(|error| error.to_string())?;
    Ok(chosen.into_iter().map(|one| one.record.name).collect())
}

#[test]
fn packages_are_chosen_by_what_they_need() {
    let (root, store, keys) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), given!(Keys::new()));
    let key = keys.make("archive", "ed25519", "never");
    let pool = root.path().join("pool");
    deb(&pool, "shop", "1", "Depends: lib (>= 2), gone | mailer, a-mailer | b-mailer\n");
    deb(&pool, "lib", "2", "Breaks: old (<< 5)\n");
    deb(&pool, "a-mailer", "1", "Provides: mailer\n");
    deb(&pool, "b-mailer", "1", "Provides: mailer\nConflicts: a-mailer\n");
    deb(&pool, "old", "4", "");
    deb(&pool, "wants-more", "1", "Depends: lib (>> 2)\n");
    let (_server, available) = published(&root, &store, &keys, &key);
    assert_eq!(names(&available, &["shop"]).unwrap(), ["a-mailer", "lib", "shop"]);
    assert_eq!(names(&available, &["b-mailer", "shop"]).unwrap(), ["b-mailer", "lib", "shop"]);
    for (wanted, reason) in [
        (&["wants-more"][..], "wants-more 1 depends on lib (>> 2), which no repository has"),
        (&["nothing"], "no repository has the package nothing"),
        (&["shop", "old"], "lib 2 cannot be installed beside old 4: it conflicts with old (<< 5)"),
        (
            &["a-mailer", "b-mailer"],
            "b-mailer 1 cannot be installed beside a-mailer 1: it conflicts with a-mailer",
        ),
    ] {
        assert_eq!(names(&available, wanted).unwrap_err(), reason);
    }
}

#[test]
fn a_package_that_is_not_what_was_signed_is_refused_and_not_kept() {
    let (root, store, keys) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), given!(Keys::new()));
    let key = keys.make("archive", "ed25519", "never");
    let pool = root.path().join("pool");
    deb(&pool, "shop", "1", "Depends: lib\n");
    deb(&pool, "lib", "2", "");
    let (server, available) = published(&root, &store, &keys, &key);
    let chosen = choose(&available, &["shop".to_owned()], &[]).unwrap();
    let fetcher = HttpFetcher::new(&Configuration::default()).unwrap();
    let debs = store.path().join("deb");
    let file = pool.join("lib_2_all.deb");
    let good = fs::read(&file).unwrap();

    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (bad, reason) in [
        (changed, "fetching lib 2: it is not what the signed index says"),
        (good[..100].to_vec(), "fetching lib 2: it has 100 bytes instead of"),
        ([&good[..], b"more"].concat(), "fetching lib 2: it has"),
    ] {
        fs::write(&file, bad).unwrap();
        let refused = fetch(&available, &chosen, &debs, &fetcher).unwrap_err().to_string();
        assert!(refused.starts_with(reason), "{refused}");
        assert!(!debs.join(format!("{}.deb", chosen[0].record.sha256)).exists());
    }
    fs::remove_file(&file).unwrap();
    let refused = fetch(&available, &chosen, &debs, &fetcher).unwrap_err().to_string();
    assert_eq!(refused, "fetching lib 2: the repository does not have it");

    fs::write(&file, good).unwrap();
    asked_of(&server);
    let paths = fetch(&available, &chosen, &debs, &fetcher).unwrap();
    // The other one was kept the first time.
    assert_eq!(asked_of(&server), ["200 /pool/lib_2_all.deb"]);
    let archive = layer(&chosen, &paths).unwrap();
    assert_eq!(archive, layer(&chosen, &fetch(&available, &chosen, &debs, &fetcher).unwrap()).unwrap());
    assert_eq!(asked_of(&server), [""; 0]);
}
