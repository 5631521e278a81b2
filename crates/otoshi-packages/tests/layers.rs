//! What is installed in an image, read from its layers and remembered by their diff ids.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use otoshi_oci::config::{History, ImageConfig};
use otoshi_oci::layer::{Compression, UnpackOptions, store_tar, unpack_layer};
use otoshi_oci::tar::{END, Entry, Kind, write_header, write_padding};
use otoshi_oci::{Digest, Image, ImageLayer, Platform, write_image};
use otoshi_packages::{Installed, Manager};
use otoshi_store::{Home, SnapshotId};
use otoshi_test::{Need, given, require};

/// A layer, entry by entry.
#[derive(Default)]
struct Layer(Vec<u8>);

impl Layer {
    fn put(mut self, name: &str, kind: Kind, link: &str, content: &[u8]) -> Self {
        let mut entry = Entry::new(name, kind, 0o755);
        entry.link = link.as_bytes().to_vec();
        entry.size = content.len() as u64;
        write_header(&mut self.0, &entry);
        self.0.extend_from_slice(content);
        write_padding(&mut self.0, entry.size);
        self
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.put(name, Kind::File, "", content.as_ref())
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.put(name, Kind::Symlink, target, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.put(name, Kind::HardLink, target, b"")
    }
}

fn home(directory: &Path) -> Home {
    Home::open(&directory.join("home")).unwrap()
}

fn image(home: &Home, layers: Vec<Layer>) -> Image {
    image_of(home, ImageConfig::new(&Platform::host()), layers)
}

fn image_of(home: &Home, mut config: ImageConfig, layers: Vec<Layer>) -> Image {
    let (store, platform) = (home.layout(), Platform::host());
    let mut descriptors = Vec::new();
    for mut layer in layers {
        layer.0.extend_from_slice(&END);
        let written = store_tar(store, &layer.0[..], Compression::Zstd, 1, "a layer").unwrap();
        config.rootfs.diff_ids.push(written.diff_id);
        config.history.push(History::default());
        descriptors.push(written.descriptor);
    }
    let descriptor = write_image(store, &config, &descriptors, &BTreeMap::new()).unwrap();
    Image::load(store, &Digest::of(&descriptor).unwrap(), &platform).unwrap()
}

/// Nothing may be fetched.
fn here(layer: &ImageLayer) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err(format!("{} was asked for", layer.digest).into())
}

fn status(packages: &[(&str, &str)]) -> String {
    let paragraph = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    };
    packages.iter().map(paragraph).collect()
}

fn base() -> Layer {
    Layer::default()
        .link("lib", "usr/lib")
        .file("usr/lib/os-release", "ID=debian\nVERSION_ID=12\n")
        .link("etc/os-release", "../usr/lib/os-release")
        .file("etc/apt/sources.list", "deb [signed-by=/opt/keys/own.asc] https://x.test/ stable main\n")
        .file("etc/apt/auth.conf", "machine x.test login l password secret")
        .file("opt/keys/own.asc", "a key")
        .file("opt/keys/other.asc", "another key")
        .link("etc/apt/trusted.gpg.d/linked.asc", "/opt/keys/other.asc")
        .file("var/lib/dpkg/status", status(&[("a", "1"), ("b", "1")]))
        .file("var/lib/dpkg/status-old", "nothing")
        .file("usr/bin/large", vec![7; 3 << 20])
}

fn short(installed: &Installed) -> Vec<String> {
    installed.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect()
}

#[test]
fn the_topmost_layer_counts_and_links_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let newer = Layer::default()
        .file("var/lib/dpkg/status", status(&[("a", "2"), ("b", "1"), ("c", "1")]))
        .file("etc/apt/sources.list.d/.wh..wh..opq", "");
    let one = image(&home, vec![base()]);
    let two = image(&home, vec![base(), newer]);
    let installed = Installed::of_image(&home, &one, &here).unwrap();
    assert_eq!(
        (installed.manager, short(&installed)),
        (Some(Manager::Dpkg), vec!["a 1".into(), "b 1".into()])
    );
    assert_eq!(installed.os.as_ref().unwrap().version_id.as_deref(), Some("12"));
    // Keys outside of the usual places come along; logins, and what nobody asked for, do not.
    for (path, content) in [
        ("opt/keys/own.asc", Some(&b"a key"[..])),
        ("etc/apt/trusted.gpg.d/linked.asc", Some(b"another key")),
        ("etc/apt/auth.conf", None),
        ("usr/bin/large", None),
    ] {
        assert_eq!(installed.files.get(path), content, "{path}");
    }
    assert_eq!(short(&Installed::of_image(&home, &two, &here).unwrap()), ["a 2", "b 1", "c 1"]);
}

#[test]
fn a_layer_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let image =
        image(&home, vec![base(), Layer::default().file(".wh.opt", "").file("var/lib/dpkg/.wh.status", "")]);
    let first = Installed::of_image(&home, &image, &here).unwrap();
    assert_eq!((first.manager, first.files.get("opt/keys/own.asc")), (None, None));
    // The blobs are gone, as on a machine that pulled the image's config alone; what was learnt is still known.
    for layer in image.layers() {
        fs::remove_file(home.layout().blob_path(&layer.digest)).unwrap();
    }
    assert_eq!(Installed::of_image(&home, &image, &here).unwrap(), first);
    fs::remove_dir_all(home.root().join("records/installed")).unwrap();
    let error = Installed::of_image(&home, &image, &here).unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.ends_with("was asked for"), "{error}: {why}");
}

#[test]
fn an_unpacked_layer_says_the_same() {
    given!(require(&[Need::Root]));
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let upper = || {
        Layer::default()
            .file("var/lib/dpkg/.wh.status", "")
            .file("var/lib/dpkg/status.d/one", "Package: one\nVersion: 3\n")
            .file("etc/apt/.wh..wh..opq", "")
            .file("etc/apt/preferences.d/pin", "Package: *")
    };
    let image = image(&home, vec![base(), upper()]);
    let from_blobs = Installed::of_image(&home, &image, &here).unwrap();
    assert_eq!(short(&from_blobs), ["one 3"]);
    assert_eq!(from_blobs.files.get("etc/apt/sources.list"), None);
    fs::remove_dir_all(home.root().join("records/installed")).unwrap();
    for layer in image.layers() {
        let draft = home.snapshots().draft().unwrap();
        let blob = home.layout().open_blob(&layer.digest).unwrap();
        unpack_layer(blob, &draft.tree(), &UnpackOptions::default()).unwrap();
        draft.commit(&SnapshotId::of_layer(&layer.diff_id)).unwrap();
        fs::remove_file(home.layout().blob_path(&layer.digest)).unwrap();
    }
    assert_eq!(Installed::of_image(&home, &image, &here).unwrap(), from_blobs);
}

#[test]
fn hard_links_lead_to_files_that_nobody_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let layer =
        Layer::default().file("srv/x", status(&[("a", "1")])).hard_link("var/lib/dpkg/status", "srv/x");
    let image = image(&home, vec![layer]);
    assert_eq!(short(&Installed::of_image(&home, &image, &here).unwrap()), ["a 1"]);
}

#[test]
fn hostile_layers_end() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let circle =
        Layer::default().link("var", "lib").link("lib", "var").link("etc", "etc/etc").link("usr", "/");
    let circle = image(&home, vec![circle]);
    let installed = Installed::of_image(&home, &circle, &here).unwrap();
    assert_eq!((installed.manager, installed.os), (None, None));
    // Each round of reading finds a link to another place.
    let mut chain = Layer::default();
    for number in 0..30 {
        chain = chain.link(&format!("k/{number}"), &format!("/k/{}", number + 1));
    }
    let chain = image(&home, vec![chain.link("etc/apt/sources.list", "/k/0")]);
    let error = Installed::of_image(&home, &chain, &here).unwrap_err().to_string();
    assert!(error.contains("too many levels of symbolic links"), "{error}");
    let large = image(&home, vec![Layer::default().file("etc/apt/sources.list", vec![b'#'; 9 << 20])]);
    let error = Installed::of_image(&home, &large, &here).unwrap_err();
    let text = format!("{:?}", std::error::Error::source(&error));
    assert!(text.contains("larger than 8 MiB"), "{text}");
}

#[test]
fn a_root_on_disk_is_read_without_leaving_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("var/lib/dpkg")).unwrap();
    fs::create_dir_all(root.join("etc/apt")).unwrap();
    fs::write(dir.path().join("outside"), "deb https://outside.test/ x main").unwrap();
    fs::write(root.join("var/lib/dpkg/status"), status(&[("a", "1")])).unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), root.join("etc/apt/sources.list")).unwrap();
    std::os::unix::fs::symlink("/var/lib/dpkg/status", root.join("etc/apt/preferences")).unwrap();
    let installed = Installed::of_root(&root).unwrap();
    assert_eq!(short(&installed), ["a 1"]);
    assert_eq!(installed.files.get("etc/apt/sources.list"), None);
    assert!(installed.files.get("etc/apt/preferences").is_some());
}

#[test]
fn many_names_of_one_large_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let mut many = Layer::default().file("etc/apt/sources.list", vec![b'#'; 7 << 20]);
    for number in 0..80 {
        many = many.hard_link(&format!("etc/apt/sources.list.d/{number}.list"), "etc/apt/sources.list");
    }
    let many = image(&home, vec![many]);
    let error = Installed::of_image(&home, &many, &here).unwrap_err().to_string();
    assert!(error.contains("too many or too large"), "{error}");
}

#[test]
fn packages_that_lie_in_a_store_by_name_are_told_as_unread() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let hash = "0c5c8ynhkhmgksvnz5cvsm80dvy2pcz8";
    let kinds = |installed: &Installed| -> Vec<_> {
        let records = installed.unread.iter();
        records.map(|unread| (unread.manager, unread.path.clone().unwrap())).collect()
    };
    // A directory, a file and a link; what lies in them, and the store's own records, are not read.
    let nix = || {
        Layer::default()
            .put(&format!("nix/store/{hash}-openssl-3.0"), Kind::Directory, "", b"")
            .file(&format!("nix/store/{hash}-openssl-3.0/lib/libssl.so"), vec![7; 9 << 20])
            .link(&format!("nix/store/{hash}-current"), &format!("/nix/store/{hash}-openssl-3.0"))
    };
    let guix = Layer::default().file(&format!("gnu/store/{hash}-profile"), vec![7; 9 << 20]);
    let brew = Layer::default().put("home/linuxbrew/.linuxbrew/Cellar/jq", Kind::Directory, "", b"");
    let conda = Layer::default().file("opt/conda/conda-meta/zlib-1.3.1-h4ab18f5_1.json", "{}");
    let store = |path: &str| {
        let directory = path.rsplit_once('/').unwrap().0;
        Layer::default().put(directory, Kind::Directory, "", b"").file(path, "openssl\n")
    };
    let empty = Layer::default()
        .put("nix/store", Kind::Directory, "", b"")
        .put("nix/store/.links", Kind::Directory, "", b"")
        .file("opt/conda/conda-meta/history", "");
    let file = |path: &str| Layer::default().file(path, "openssl\n");
    let gone = || {
        Layer::default()
            .file(&format!("nix/store/.wh.{hash}-openssl-3.0"), "")
            .file(&format!("nix/store/.wh.{hash}-current"), "")
    };
    for (layers, expected) in [
        (vec![nix()], vec![("Nix", "nix/store")]),
        (vec![guix], vec![("Guix", "gnu/store")]),
        (vec![brew], vec![("Homebrew", "home/linuxbrew/.linuxbrew/Cellar")]),
        (vec![conda], vec![("conda", "opt/conda/conda-meta")]),
        (vec![store("var/db/pkg/dev-libs/openssl")], vec![("Portage", "var/db/pkg")]),
        (vec![store("var/log/packages/openssl-3.0.1-x86_64-1")], vec![("Slackware", "var/log/packages")]),
        (vec![store("var/lib/pacman/local/openssl-3.0.1-1/desc")], vec![("pacman", "var/lib/pacman/local")]),
        (vec![store("var/db/kiss/installed/openssl/version")], vec![("KISS", "var/db/kiss/installed")]),
        (vec![store("var/lib/pkg/db")], vec![("CRUX", "var/lib/pkg/db")]),
        (vec![empty], vec![]),
        (vec![nix(), gone()], vec![]),
        // A layer need not list the directories above its files.
        (vec![file(&format!("nix/store/{hash}-openssl-3.0/lib/libssl.so"))], vec![("Nix", "nix/store")]),
        (vec![file(&format!("nix/store/{hash}-openssl-3.0/lib/libssl.so")), gone()], vec![]),
        (vec![file("var/db/pkg/dev-libs/openssl-3.0/CONTENTS")], vec![("Portage", "var/db/pkg")]),
        (vec![file("var/lib/pacman/local/openssl-3.0.1-1/desc")], vec![("pacman", "var/lib/pacman/local")]),
        (vec![file("var/db/kiss/installed/openssl/version")], vec![("KISS", "var/db/kiss/installed")]),
        (
            vec![file("home/linuxbrew/.linuxbrew/Cellar/jq/1.7/bin/jq")],
            vec![("Homebrew", "home/linuxbrew/.linuxbrew/Cellar")],
        ),
        (vec![file("nix/store/.links/x")], vec![]),
    ] {
        let image = image(&home, layers);
        let first = Installed::of_image(&home, &image, &here).unwrap();
        let expected: Vec<_> = expected.into_iter().map(|(whose, path)| (whose, path.to_owned())).collect();
        assert_eq!(kinds(&first), expected);
        assert_eq!(Installed::of_image(&home, &image, &here).unwrap(), first, "from what is remembered");
    }
    let root = dir.path().join("root");
    fs::create_dir_all(root.join(format!("nix/store/{hash}-openssl-3.0/lib"))).unwrap();
    assert_eq!(kinds(&Installed::of_root(&root).unwrap()), [("Nix", "nix/store".to_owned())]);
}

#[test]
fn conda_is_found_where_path_leads() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let record =
        || Layer::default().file("srv/env/conda-meta/openssl-3.3.2-hb9d3cd8_0.json", vec![7; 9 << 20]);
    for (path, expected) in [
        ("/usr/bin:/srv/env/bin", Some("srv/env/conda-meta")),
        ("/usr/bin:/srv/env", None),
        ("/bin::bin:/", None),
    ] {
        let mut config = ImageConfig::new(&Platform::host());
        config.config.set_env("PATH", path);
        let installed = Installed::of_image(&home, &image_of(&home, config, vec![record()]), &here).unwrap();
        let found: Vec<_> =
            installed.unread.iter().map(|unread| (unread.manager, unread.path.as_deref())).collect();
        assert_eq!(found, Vec::from_iter(expected.map(|place| ("conda", Some(place)))), "{path}");
    }
}

#[test]
fn a_loader_is_found_behind_links() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let name = "ld-linux-x86-64.so.2";
    let library = || Layer::default().file(&format!("usr/lib/x86_64-linux-gnu/{name}"), vec![7; 9 << 20]);
    for (layer, expected) in [
        (Layer::default().file(&format!("lib64/{name}"), "ELF"), Some(format!("lib64/{name}"))),
        (
            library()
                .link("lib64", "usr/lib64")
                .link(&format!("usr/lib64/{name}"), &format!("../lib/x86_64-linux-gnu/{name}")),
            Some(format!("lib64/{name}")),
        ),
        (library(), None),
    ] {
        let image = image(&home, vec![layer]);
        assert_eq!(Installed::of_image(&home, &image, &here).unwrap().loader(), expected);
    }
}
