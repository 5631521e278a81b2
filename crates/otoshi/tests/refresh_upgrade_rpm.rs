//! `[refresh] upgrade` where packages are rpm's: a real dnf takes the fix that a notice of its repository names, and no more.
//!
//! Needs root and the base that `cargo xtask test` makes.

mod archive;
mod support;
mod whole;

use archive::{Debian, ON_HOST};
use otoshi_test::{Server, debian_sources, given};
use whole::assert_said;

/// Debian's dnf on a root whose packages are rpm's alone, with a repository of three versions of one package.
const BASE: &str = r#"FROM otoshi.test/debian:1 AS tools
COPY sources.list /etc/apt/sources.list
RUN apt-get -qq update && apt-get -qq -y --no-install-recommends install dnf createrepo-c rpm
FROM tools AS made
COPY greeting.spec updateinfo.xml /srv/
COPY test.repo /etc/yum.repos.d/
RUN mkdir -p /etc/rpm && echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros && \
    for v in 1.0 1.1 2.0; do \
      rpmbuild --quiet -bb --define "v $v" --define '_topdir /tmp/build' --define '_rpmdir /srv/repo' /srv/greeting.spec; \
    done && \
    createrepo_c -q /srv/repo && modifyrepo_c --mdtype=updateinfo /srv/updateinfo.xml /srv/repo/repodata && \
    rpm -i --nodeps /srv/repo/noarch/greeting-1.0-1.noarch.rpm && rm -rf /tmp/build /var/lib/dpkg
FROM scratch AS repository
COPY --from=made /srv/repo /
FROM made
"#;

const SPEC: &str = "Name: greeting\nVersion: %{v}\nRelease: 1\nSummary: says its version\nLicense: MIT\nBuildArch: noarch\n\
                    %description\nSays its version.\n%install\nmkdir -p %{buildroot}/usr/share\n\
                    echo greeting %{v} > %{buildroot}/usr/share/greeting\n%files\n/usr/share/greeting\n";

const NOTICE: &str = r#"<updates><update from="test@otoshi.test" status="final" type="security" version="1"><id>T-1</id>
<title>greeting</title><issued date="2026-01-01 00:00:00"/><severity>Important</severity><description>a fix</description>
<pkglist><collection short="T"><name>T</name><package name="greeting" version="1.1" release="1" epoch="0" arch="noarch"
src="greeting-1.1-1.src.rpm"><filename>greeting-1.1-1.noarch.rpm</filename></package></collection></pkglist></update></updates>
"#;

#[test]
fn dnf_takes_the_fix_that_a_notice_names() {
    let shop = given!(Debian::new());
    let server = Server::start();
    std::fs::create_dir(shop.path("base")).unwrap();
    shop.write("base/Dockerfile", BASE);
    shop.write("base/sources.list", &debian_sources("bookworm"));
    shop.write("base/greeting.spec", SPEC);
    shop.write("base/updateinfo.xml", NOTICE);
    let repository = format!("[test]\nname=test\nbaseurl={}/\ngpgcheck=0\n", server.url());
    shop.write("base/test.repo", &repository);
    shop.ok(&["image", "build", "base", "-t", "otoshi.test/rpm:1"]);
    shop.ok(&["image", "build", "base", "--target", "repository", "-o", "repository"]);
    server.put_tree("", &shop.path("repository"));
    shop.write(".dockerignore", "base\nrepository\n");
    shop.project("security", ON_HOST, "");
    shop.write("runner.Dockerfile", "FROM otoshi.test/rpm:1\n");
    shop.ok(&["build"]);

    let security = shop.otoshi(&["refresh"]);
    let greeting = shop.ok(&["run", "greet"]);
    shop.project("all", ON_HOST, "");
    let all = shop.otoshi(&["refresh"]);
    let again = shop.otoshi(&["refresh"]);

    assert_said("refresh-with-security-updates-of-rpm", &security);
    assert_eq!(greeting, "greeting 1.1\n");
    assert_said("refresh-with-all-updates-of-rpm", &all);
    assert_eq!(shop.ok(&["run", "greet"]), "greeting 2.0\n");
    assert_said("refresh-with-no-more-updates-of-rpm", &again);
    assert_eq!(shop.upgrades(), ["\"greeting:noarch\" = \"2.0-1\""]);
    let names = shop.top_layer("shop/runner");
    assert!(names.iter().any(|name| name == "usr/share/greeting"), "{names:?}");
    for left in ["var/log/", "var/cache/", "tmp/"] {
        assert!(!names.iter().any(|name| name.starts_with(left) && name != left), "{left}: {names:?}");
    }
}
