//! What a base can change, and what `otoshi rebase` says of it: real programs and libraries, built by the C compiler.

mod support;
mod whole;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use otoshi_test::{Need, given, require};
use support::Shop;
use whole::assert_said_of;

const FOO: &str = "int foo(void) { return ANSWER; } int bar(void) { return 2; }";
const BOTH: &str = "FOO_1 { global: foo; }; FOO_2 { global: bar; } FOO_1;";
const WEB: &str = "#include <stdio.h>\nint foo(void); int bar(void);\nint main(void) { printf(\"%d\\n\", foo() + bar()); return 0; }";
const APP: &str = "FROM t/base:old\nCOPY web start helped /app/\nCOPY gem /app/vendor/bundle/ruby/3.1.0/gems/x.rb\nCOPY gem /app/venv/lib/python3.11/site-packages/x.py\nENV PATH=/app:$PATH\nUSER app\nCMD [\"web\"]\n";

/// A base to be, as a directory.
struct Root<'a> {
    shop: &'a Shop,
    path: PathBuf,
    search: &'static str,
}

impl<'a> Root<'a> {
    /// busybox, glibc of this machine, a library, an account, a runtime.
    fn new(shop: &'a Shop, name: &str) -> Self {
        let root = Self { shop, path: shop.path(name).join("root"), search: "/opt/tools:/usr/bin:/bin" };
        for directory in ["bin", "etc", "usr/lib/ruby/3.1.0", "usr/bin", "opt/tools", "lib", "lib64"] {
            fs::create_dir_all(root.path.join(directory)).unwrap();
        }
        fs::copy("/bin/busybox", root.path.join("bin/busybox")).unwrap();
        symlink("busybox", root.path.join("bin/sh")).unwrap();
        for link in ["usr/bin/env", "opt/tools/helper"] {
            symlink("/bin/busybox", root.path.join(link)).unwrap();
        }
        root.write("etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
        root.write("usr/lib/ruby/3.1.0/set.rb", "");
        root.write("usr/lib/python3.11/os.py", "");
        for (library, place) in libraries() {
            fs::create_dir_all(root.path.join(&place[1..]).parent().unwrap()).unwrap();
            fs::copy(library, root.path.join(&place[1..])).unwrap();
        }
        root.library("libfoo.so.1", "40", BOTH);
        root
    }

    fn write(&self, file: &str, text: &str) {
        fs::create_dir_all(self.path.join(file).parent().unwrap()).unwrap();
        fs::write(self.path.join(file), text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.path.join(file)).unwrap();
    }

    /// Builds a library into /usr/lib.
    fn library(&self, name: &str, answer: &str, versions: &str) -> PathBuf {
        let (source, map) = (self.path.join("../foo.c"), self.path.join("../foo.map"));
        fs::write(&source, FOO.replace("ANSWER", answer)).unwrap();
        fs::write(&map, versions).unwrap();
        let to = self.path.join("usr/lib").join(name);
        let script = format!("-Wl,--version-script={}", map.display());
        gcc(&["-shared", "-fPIC", &format!("-Wl,-soname,{name}"), &script], &[&source], &to);
        to
    }

    fn build(self, tag: &str) {
        let directory = self.path.parent().unwrap();
        fs::write(
            directory.join("Dockerfile"),
            format!("FROM scratch\nCOPY root /\nENV PATH={}\n", self.search),
        )
        .unwrap();
        self.shop.ok(&["image", "build", directory.to_str().unwrap(), "-t", &format!("t/base:{tag}")]);
    }
}

fn gcc(arguments: &[&str], sources: &[&Path], to: &Path) {
    let output = Command::new("gcc").args(arguments).args(sources).arg("-o").arg(to).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The C library and the loader of this machine: where they are, and where programs look for them.
fn libraries() -> Vec<(PathBuf, String)> {
    let output = Command::new("ldd").arg("/bin/cat").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let places = text.split_whitespace().filter(|word| word.starts_with('/'));
    places.map(|place| (fs::canonicalize(place).unwrap(), place.to_owned())).collect()
}

#[test]
fn each_change_that_matters_is_caught_by_its_name_and_others_pass() {
    given!(require(&[Need::Tool("gcc"), Need::Tool("stdio.h"), Need::Tool("musl-gcc")]));
    let shop = given!(Shop::new());
    let old = Root::new(&shop, "old");
    let library = old.path.join("usr/lib/libfoo.so.1");
    let source = shop.path("app/web.c");
    fs::create_dir_all(source.parent().unwrap()).unwrap();
    fs::write(&source, WEB).unwrap();
    gcc(&[], &[&source, &library], &shop.path("app/web"));
    shop.write("app/start", "#!/bin/sh\nexec web\n");
    shop.write("app/helped", "#!/usr/bin/env helper\n");
    shop.write("app/gem", "");
    for file in ["start", "helped"] {
        fs::set_permissions(shop.path("app").join(file), fs::Permissions::from_mode(0o755)).unwrap();
    }
    old.build("old");
    shop.write("app/Dockerfile", APP);
    shop.ok(&["image", "build", "app", "-t", "t/app:1"]);
    assert_eq!(shop.ok(&["run", "t/app:1"]), "42\n");

    let changes: [(&str, fn(&mut Root<'_>)); 9] = [
        ("lost-version", |root| {
            root.library("libfoo.so.1", "40", "FOO_1 { global: foo; local: *; };");
        }),
        ("renamed", |root| {
            root.remove("usr/lib/libfoo.so.1");
            root.library("libfoo.so.2", "40", BOTH);
        }),
        ("musl", |root| {
            for (_, place) in libraries() {
                root.remove(&place[1..]);
            }
            let musl = "/lib/ld-musl-x86_64.so.1";
            if Path::new(musl).exists() {
                fs::copy(musl, root.path.join(&musl[1..])).unwrap();
            }
        }),
        ("no-user", |root| root.write("etc/passwd", "root:x:0:0::/:/bin/sh\n")),
        ("path", |root| root.search = "/usr/bin:/bin"),
        ("ruby", |root| {
            fs::remove_dir_all(root.path.join("usr/lib/ruby/3.1.0")).unwrap();
            root.write("usr/lib/ruby/3.3.0/set.rb", "");
        }),
        ("python", |root| {
            fs::remove_dir_all(root.path.join("usr/lib/python3.11")).unwrap();
            root.write("usr/lib/python3.13/os.py", "");
        }),
        ("no-shell", |root| root.remove("bin/sh")),
        ("compatible", |root| {
            // A newer library with one version more, in another place; more accounts, a longer PATH, another runtime beside.
            let more = "FOO_1 { global: foo; }; FOO_2 { global: bar; } FOO_1; FOO_3 { global: baz; } FOO_2;";
            root.remove("usr/lib/libfoo.so.1");
            let made = root.library("libfoo.so.1", "98", more);
            fs::create_dir_all(root.path.join("usr/lib/x86_64-linux-gnu")).unwrap();
            fs::rename(made, root.path.join("usr/lib/x86_64-linux-gnu/libfoo.so.1")).unwrap();
            root.write(
                "etc/passwd",
                "root:x:0:0::/:/bin/sh\nmail:x:8:8::/:/bin/sh\napp:x:1000:1000::/home:/bin/sh\n",
            );
            root.search = "/usr/local/bin:/opt/tools:/usr/bin:/bin";
            root.write("usr/lib/ruby/3.3.0/set.rb", "");
            root.write("usr/lib/python3.13/os.py", "");
        }),
    ];
    for (name, change) in changes {
        let mut root = Root::new(&shop, name);
        change(&mut root);
        root.build(name);
        let arguments = ["rebase", "--base", "t/base:old", "--onto", &format!("t/base:{name}"), "t/app:1"];
        let output = shop.otoshi(&[&arguments[..], &["--check"]].concat());
        // The C library stands elsewhere in another distribution.
        let places = libraries();
        let words = places
            .iter()
            .map(|(_, place)| (place.as_str(), if place.contains("/ld-") { "LOADER" } else { "LIBC" }));
        assert_said_of(&format!("rebase-check-of-a-base-{name}"), output, &words.collect::<Vec<_>>());
    }
    shop.ok(&["rebase", "--base", "t/base:old", "--onto", "t/base:compatible", "t/app:1"]);
    assert_eq!(shop.ok(&["run", "t/app:1"]), "100\n", "on the new library");
    assert_eq!(shop.ok(&["run", "t/app:1", "--", "/app/start"]), "100\n");
    let path = shop.ok(&["run", "t/app:1", "--", "/bin/sh", "-c", "echo $PATH"]);
    assert_eq!(path, "/app:/usr/local/bin:/opt/tools:/usr/bin:/bin\n");
}
