//! What an image names is asked only where that may lead.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use jiff::Timestamp;
use otoshi_packages::Files;
use otoshi_packages::apt::{Configuration, HttpFetcher, Kept, Reach, Repositories};
use otoshi_packages::{Fetch, Request};
use otoshi_test::Server;

use crate::repository::suite;

/// Why the one source of an image cannot be used, or that it can.
fn asked(uri: &str, reach: Reach, hosts: &[String]) -> Result<(), String> {
    let mut files = Files::new();
    files.insert("etc/apt/sources.list", format!("deb [trusted=yes] {uri} one main\n").into_bytes());
    let (store, fetcher) =
        (tempfile::tempdir().unwrap(), HttpFetcher::new(&Configuration::default()).unwrap());
    let guarded = fetcher.guarded(reach, hosts);
    let repositories = Repositories::from_files(&files, "amd64");
    let available = repositories.refresh(&Kept::new(store.path()), &guarded, Timestamp::now());
    match available.failures() {
        [] => Ok(()),
        [failure, ..] => Err(failure.error.to_string()),
    }
}

#[test]
fn an_image_of_strangers_never_makes_this_machine_ask_itself() {
    let root = tempfile::tempdir().unwrap();
    suite(root.path(), "one", "Package: shop\nVersion: 1\nArchitecture: all\n", &["gz"], &[("Suite", "one")]);
    let server = Server::of(root.path());
    let url = server.url();
    let port = url.rsplit(':').next().unwrap();
    let same = [
        url.clone(),
        format!("http://localhost:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://127.1:{port}"),
    ];
    for uri in &same {
        let refused = asked(uri, Reach::Others, &[]).unwrap_err();
        assert!(
            refused.contains("is this machine itself") && refused.contains("local-repositories"),
            "{uri}: {refused}"
        );
    }
    assert_eq!(server.requests(), [""; 0], "it was asked");
    for uri in &same {
        asked(uri, Reach::Own, &[]).unwrap();
    }
    asked(&url, Reach::Others, &[format!("127.0.0.1:{port}")]).unwrap();
    let refused = asked("http://169.254.169.254/latest", Reach::Own, &[]).unwrap_err();
    assert!(refused.contains("169.254.169.254 is a link-local or cloud address"), "{refused}");
}

#[test]
fn nobody_leads_on_to_the_cloud_that_a_machine_is_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let answer = "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n";
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    let fetcher = HttpFetcher::new(&Configuration::default()).unwrap();
    let request = Request { url: url.into(), limit: 100, ..Request::default() };
    let refused = fetcher.guarded(Reach::Own, &[]).get(&request, &mut Vec::new()).unwrap_err().to_string();
    assert!(refused.contains("169.254.169.254 is a link-local or cloud address"), "{refused}");
}
