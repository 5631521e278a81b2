//! Ends of life, by the table in the program and by a newer one from an address; through the program.

mod stage;
mod support;
mod whole;

use otoshi_test::{Fault, given};
use serde_json::Value;
use stage::Stage;
use whole::{assert_said, assert_said_of};

/// What the address gives from now on.
fn serve(stage: &Stage, fault: Fault) {
    stage.proxy.heal();
    stage.proxy.fault("GET", "/cycles.toml", 100, fault);
}

#[test]
fn a_newer_table_is_used_and_a_broken_one_is_not() {
    let stage = given!(Stage::new());
    let host = stage.proxy.host();
    stage.shop.import("ruby\n");
    stage.shop.ok(&["image", "push", "otoshi.test/busybox:1", &format!("{host}/ruby:2.7")]);
    stage.edit("otoshi.toml", "slim:1", "ruby:2.7");
    stage.shop.ok(&["build"]);

    // The table in the program knows that this one is over.
    let (code, report) = stage.shop.check(&[]);
    let finding = &report["findings"][0];
    assert_eq!((code, &finding["kind"], &finding["from"]), (10, &"end-of-life".into(), &"ruby 2.7".into()));
    let text = finding["text"].as_str().unwrap();
    assert!(text.starts_with("ruby 2.7 reached its end of life on 2023-03-31, "), "{finding}");
    assert_said("check-of-a-base-that-reached-its-end-of-life", &stage.shop.otoshi(&["check"]));
    let date = report["cycles"]["date"].as_str().unwrap().to_owned();
    assert_eq!((&report["cycles"]["source"], &report["cycles"]["failed"]), (&Value::Null, &Value::Null));

    // Somebody supports it for longer, and says so at an address.
    let address = format!("http://{host}/cycles.toml");
    let manifest = std::fs::read_to_string(stage.shop.path("otoshi.toml")).unwrap();
    stage.shop.write("otoshi.toml", &format!("{manifest}[check]\ncycles = \"{address}\"\n"));
    let table = format!(
        "date = \"{date}\"\n[products.ruby]\nkind = \"runtime\"\nimages = [\"ruby\"]\n\
         releases = [{{ version = \"2.7\", released = \"2019-12-25\", end = \"2999-01-01\" }}]\n"
    );
    serve(&stage, Fault::Document("ETag: \"one\"".into(), table.into_bytes()));
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, &report["cycles"]["source"]), (0, &address.clone().into()), "{report}");

    // It is kept: a server that has nothing new sends nothing.
    stage.proxy.take_log();
    serve(&stage, Fault::Answer("304 Not Modified", String::new()));
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, &report["cycles"]["failed"]), (0, &Value::Null), "{report}");
    let asked = stage.proxy.take_log();
    let asked: Vec<_> = asked.iter().filter(|request| request.is("GET", "/cycles.toml")).collect();
    assert_eq!(asked[0].headers.get("if-none-match").map(String::as_str), Some("\"one\""));
    assert_eq!(asked.len(), 1);

    // A broken one is refused with the reason, and so is one that is too large; the last good one stays.
    let large = vec![b'#'; (1 << 20) + 1];
    for (name, body) in [("broken", b"<html>".to_vec()), ("large", large)] {
        serve(&stage, Fault::Document("ETag: \"two\"".into(), body));
        let (code, report) = stage.shop.check(&[]);
        assert_eq!((code, &report["cycles"]["source"]), (0, &address.clone().into()), "{report}");
        assert_said(&format!("check-with-a-{name}-table-of-ends-of-life"), &stage.shop.otoshi(&["check"]));
    }
    // Without a network as well; and it is told, with the age of the one that is used.
    serve(&stage, Fault::Drop);
    let words = [(date.as_str(), "ITS-DATE"), (address.as_str(), "ITS-ADDRESS")];
    let output = stage.shop.otoshi(&["check"]);
    assert_said_of("check-with-a-table-of-ends-of-life-that-cannot-be-had", output, &words);

    // On a machine that never had it, the one in the program goes on.
    stage.shop.write("otoshi.toml", &manifest);
    let output = stage
        .shop
        .command(&["check", "--json"])
        .env("OTOSHI_CYCLES", "http://localhost:1/")
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"][0]["kind"], "end-of-life");
    assert_eq!((&report["cycles"]["date"], &report["cycles"]["source"]), (&date.into(), &Value::Null));
    assert!(report["cycles"]["failed"].is_string(), "{report}");
}
