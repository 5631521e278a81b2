//! Logins: what is shown to whom, and what is said when there is none.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use otoshi_explain::Explain;
use otoshi_registry::{Client, Credentials, Hosts, RegistryError, Settings};
use otoshi_test::{Fault, Missing, Proxy, Registry, given};
use support::{Store, client, client_with, item, pull, push, settings};

/// `anna:geheim` and `anna:falsch`, as the files have them.
const RIGHT: &str = "YW5uYTpnZWhlaW0=";
const WRONG: &str = "YW5uYTpmYWxzY2g=";

fn logins(registry: &Registry, host: &str, auth: &str) -> Credentials {
    let file = registry.path("config.json");
    fs::write(&file, format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{auth}\"}}}}}}")).unwrap();
    Credentials::in_file(file)
}

#[test]
fn a_registry_with_tls_and_a_login() {
    let registry = given!(Registry::start_private());
    let (host, store) = (registry.host(), Store::new());
    let (name, digest) = (format!("{host}/team/app:1"), store.small(1));
    let trusting = || Hosts::default().with_certificates(registry.trust_as(&host));

    let client = client_with(trusting(), logins(&registry, &host, RIGHT));
    push(&client, &store, &[item(&name, &digest)]).unwrap();
    let there = Store::new();
    assert_eq!(pull(&client, &there, &name).unwrap().0.unwrap().manifest, digest);

    let nobody = client_with(trusting(), Credentials::default());
    let error = pull(&nobody, &Store::new(), &name).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{host}/team/app: asked for the tag 1; it requires a login: none is configured for {host}")
    );
    assert_eq!(error.hint().unwrap(), format!("docker login {host}, or skopeo login {host}"));

    let wrong = client_with(trusting(), logins(&registry, &host, WRONG));
    let error = push(&wrong, &store, &[item(&name, &digest)]).unwrap_err();
    assert!(error.to_string().ends_with("it requires a login: the configured one was refused"), "{error}");
    assert!(!format!("{error:?}").contains("falsch"));
}

#[test]
fn an_unknown_authority_is_told_with_what_to_do() {
    let registry = given!(Registry::start_private());
    let error = pull(&client(), &Store::new(), &format!("{}/app:1", registry.host())).unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    let expected = format!(
        "trust its certificate authority: put its certificate into /etc/containers/certs.d/{}/ca.crt",
        registry.host()
    );
    assert_eq!(error.hint().unwrap(), expected, "{error}");
}

#[test]
fn tokens_are_renewed_when_they_no_longer_let_in() {
    let registry = given!(Registry::start());
    let (proxy, store) = (Proxy::start(registry.port()), Store::new());
    // One after the other: the proxy knows one token at a time.
    let client = Client::new(Settings { parallel: 1, ..settings() }).unwrap();
    let digest = store.image(&[(1, 5_000_000), (2, 10)], otoshi_oci::layer::Compression::None);
    let name = format!("{}/team/app:1", proxy.host());
    proxy.need_tokens(3);
    push(&client, &store, &[item(&name, &digest)]).unwrap();
    assert!(proxy.tokens() > 2);
    let there = Store::new();
    assert_eq!(pull(&client, &there, &name).unwrap().0.unwrap().manifest, digest);
    there.check();
    let log = proxy.take_log();
    let asked: Vec<_> = log.iter().filter(|r| r.path.starts_with("/token")).collect();
    assert!(asked[0].path.contains("service=test"), "{asked:?}");
    assert!(asked[0].path.contains("scope=repository%3Ateam%2Fapp%3Apull"), "{asked:?}");
}

#[test]
fn a_login_is_shown_to_its_registry_only() {
    let registry = given!(Registry::start());
    let (proxy, other) = (Proxy::start(registry.port()), Proxy::start(registry.port()));
    let (store, host) = (Store::new(), proxy.host());
    let digest = store.small(1);
    let name = format!("{host}/team/app:1");
    let ask = "WWW-Authenticate: Basic realm=\"test\"".to_owned();
    proxy.fault("HEAD", "/manifests/1", 1, Fault::Answer("401 Unauthorized", ask));
    let client = client_with(Hosts::default(), logins(&registry, &host, RIGHT));
    push(&client, &store, &[item(&name, &digest)]).unwrap();
    assert!(proxy.take_log().iter().any(|r| r.headers.contains_key("authorization")));

    proxy.fault("GET", "/blobs/", 9, Fault::Redirect(format!("http://{}", other.host())));
    pull(&client, &Store::new(), &name).unwrap().0.unwrap();
    let redirected = other.take_log();
    assert_eq!(redirected.len(), 2, "config and layer");
    assert!(redirected.iter().all(|request| !request.headers.contains_key("authorization")));
    let asked = proxy.take_log();
    assert!(
        asked.iter().filter(|r| r.path.contains("/blobs/")).all(|r| r.headers.contains_key("authorization"))
    );
}

/// A registry that asks for a password, an image in it, and a client that knows the login; somewhere else a server that asks for
/// one too and would like to see it at its token server.
fn stage_with_a_thief() -> Result<(Registry, [Proxy; 2], Store, otoshi_oci::Digest, Client), Missing> {
    let registry = Registry::start()?;
    let (proxy, thief) = (Proxy::start(registry.port()), Proxy::start(registry.port()));
    let store = Store::new();
    let digest = store.small(1);
    let ask = "WWW-Authenticate: Basic realm=\"test\"".to_owned();
    proxy.fault("HEAD", "/manifests/1", 1, Fault::Answer("401 Unauthorized", ask));
    let client = client_with(Hosts::default(), logins(&registry, &proxy.host(), RIGHT));
    push(&client, &store, &[item(&format!("{}/team/app:1", proxy.host()), &digest)]).unwrap();
    thief.need_tokens(99);
    Ok((registry, [proxy, thief], store, digest, client))
}

#[test]
fn only_the_registry_itself_says_where_its_login_goes() {
    let (_registry, [proxy, thief], _store, _, client) = given!(stage_with_a_thief());
    let name = format!("{}/team/app:1", proxy.host());
    for what in ["/manifests/", "/blobs/"] {
        proxy.fault("GET", what, 1, Fault::Redirect(format!("http://{}", thief.host())));
        let error = pull(&client, &Store::new(), &name).unwrap_err().to_string();
        let place = format!("it redirects to http://{}/v2/team/app{what}", thief.host());
        assert!(error.contains(&place), "{error}");
        let end = format!("requires a login of its own; the one for {} is not sent elsewhere", proxy.host());
        assert!(error.ends_with(&end), "{error}");
        proxy.heal();
        let seen = thief.take_log();
        assert_eq!(seen.len(), 1, "no token server of the thief's is asked: {seen:?}");
        assert!(!seen[0].headers.contains_key("authorization"));
    }
    assert_eq!(thief.tokens(), 0);
    pull(&client, &Store::new(), &name).unwrap().0.unwrap();
}

#[test]
fn an_upload_that_goes_on_elsewhere_shows_no_login_there() {
    let (_registry, [proxy, thief], store, _, client) = given!(stage_with_a_thief());
    let other = store.small(2);
    let elsewhere = format!("Location: http://{}/v2/team/app/blobs/uploads/x", thief.host());
    proxy.fault("POST", "/blobs/uploads/", 9, Fault::Answer("202 Accepted", elsewhere));
    let error = push(&client, &store, &[item(&format!("{}/team/app:2", proxy.host()), &other)]).unwrap_err();
    assert!(error.to_string().contains("is not sent elsewhere"), "{error}");
    let seen = thief.take_log();
    assert!(!seen.is_empty() && seen.iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(seen.iter().all(|request| !request.path.starts_with("/token")), "{seen:?}");
}

#[test]
fn a_registry_with_tls_gives_no_login_to_a_token_server_without() {
    let thief = Proxy::start(1);
    let realm = format!("http://{}/token", thief.host());
    let registry = given!(Registry::start_with_token_server(&realm));
    let host = registry.host();
    let hosts = Hosts::default().with_certificates(registry.trust_as(&host));
    let client = client_with(hosts, logins(&registry, &host, RIGHT));
    let error = pull(&client, &Store::new(), &format!("{host}/app:1")).unwrap_err().to_string();
    assert!(error.ends_with(&format!("its token server {realm} does not use https")), "{error}");
    assert!(thief.take_log().is_empty());
}

#[test]
fn a_blob_that_may_not_be_taken_over_is_uploaded() {
    let registry = given!(Registry::start());
    let (proxy, store, client) = (Proxy::start(registry.port()), Store::new(), client());
    let digest = store.small(1);
    let ask = "WWW-Authenticate: Basic realm=\"test\"".to_owned();
    proxy.fault("POST", "mount=", 9, Fault::Answer("401 Unauthorized", ask));
    let both = ["a", "b"].map(|name| item(&format!("{}/{name}:1", proxy.host()), &digest));
    let summary = push(&client, &store, &both).unwrap();
    assert_eq!((summary.blobs_moved, summary.blobs_mounted), (4, 0));
}

#[test]
fn redirects_end() {
    let registry = given!(Registry::start());
    let (proxy, client) = (Proxy::start(registry.port()), client());
    proxy.fault("GET", "/manifests/", 99, Fault::Redirect(String::new()));
    let error = pull(&client, &Store::new(), &format!("{}/app:1", proxy.host())).unwrap_err();
    assert!(error.to_string().ends_with("too many redirects (more than 5)"), "{error}");
    proxy.heal();
    proxy.fault("GET", "/manifests/", 9, Fault::Redirect("file:///etc/passwd?".into()));
    let error = pull(&client, &Store::new(), &format!("{}/app:1", proxy.host())).unwrap_err();
    assert!(error.to_string().contains("which does not use https"), "{error}");
}

#[test]
fn a_credential_helper_is_asked() {
    let registry = given!(Registry::start_private());
    let host = registry.host();
    let helper = registry.path("docker-credential-test");
    let script = format!("#!/bin/sh\nread host\n[ \"$1 $host\" = 'get {host}' ] || exit 1\n")
        + "echo '{\"Username\":\"anna\",\"Secret\":\"geheim\"}'\n";
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let file = registry.path("config.json");
    fs::write(&file, format!("{{\"credHelpers\":{{\"{host}\":\"test\"}}}}")).unwrap();
    with_path(helper.parent().unwrap(), || {
        let hosts = Hosts::default().with_certificates(registry.trust_as(&host));
        let client = client_with(hosts, Credentials::in_file(&file));
        let store = Store::new();
        push(&client, &store, &[item(&format!("{host}/app:1"), &store.small(1))]).unwrap();
    });
}

/// Runs with a directory in front of `PATH`, for what is started meanwhile.
fn with_path(directory: &Path, call: impl FnOnce()) {
    let before = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = vec![directory.to_owned()];
    paths.extend(std::env::split_paths(&before));
    let joined = std::env::join_paths(paths).unwrap();
    // Of the tests in this program only this one looks at PATH for a helper.
    #[allow(unsafe_code, reason = "no other thread of this test program writes the environment")]
    unsafe {
        std::env::set_var("PATH", joined);
    }
    call();
}
