//! Packages in bases and in the runner, beside the real archive of Debian: what is newer is what `apt-get upgrade` would install.
//!
//! `cargo xtask test` makes the base, of the release suite alone, so that the security updates of today are all waiting.

mod debian;
mod support;
mod whole;

use std::{collections::BTreeSet, fs};

use otoshi_test::{given, require, said};
use serde_json::Value;
use support::Shop;
use whole::assert_written;

/// Makes the base with these sources, and has the project stand on it.
fn stand_on_debian(shop: &Shop, sources: &str) {
    debian::import(shop, sources);
    let manifest = support::MANIFEST.replace("otoshi.test/busybox:{SERIES}", "otoshi.test/debian:{SERIES}");
    shop.write("otoshi.toml", &manifest);
}

fn finding<'r>(report: &'r Value, name: &str) -> &'r Value {
    let found = report["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == name);
    found.unwrap_or_else(|| panic!("nothing of {name}: {report}"))
}

/// Name, version and whether it is a security update, as the oracle writes them.
fn newer(finding: &Value) -> BTreeSet<String> {
    let packages = finding["packages"].as_array().unwrap().iter();
    let line = |package: &Value| {
        let security = if package["security"] == true { " security" } else { "" };
        format!("{} {}{security}", package["name"].as_str().unwrap(), package["to"].as_str().unwrap())
    };
    packages.map(line).collect()
}

#[test]
fn security_updates_are_those_that_apt_would_install_in_base_and_runner() {
    given!(require(debian::NEEDS));
    let shop = given!(Shop::new());
    let sources = debian::sources();
    stand_on_debian(&shop, &sources);
    // A package that no repository has.
    shop.write(
        "own.control",
        "Package: daruma\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n",
    );
    shop.write(
        "runner.Dockerfile",
        "ARG BASE\nFROM ${BASE}\nCOPY own.control /tmp/own\nRUN cat /tmp/own >> /var/lib/dpkg/status\n",
    );
    shop.ok(&["build"]);
    let (code, report) = shop.check(&[]);
    assert_eq!(code, 11, "{report}");

    let theirs = debian::upgrades(&sources);
    assert!(
        theirs.iter().any(|line| line.ends_with(" security")),
        "no security update is waiting: {theirs:?}"
    );
    let (base, runner) = (finding(&report, "BASE"), finding(&report, "runner"));
    assert_eq!((newer(base), newer(runner)), (theirs.clone(), theirs.clone()));
    assert_eq!((&base["kind"], &runner["kind"]), (&"security-updates".into(), &"security-updates".into()));
    let first = &runner["packages"][0];
    assert_eq!((&first["security"], &first["inherited"]), (&true.into(), &true.into()), "{first}");
    assert_eq!(first["repository"], "bookworm-security", "{first}");

    // The builder stands on the same image: all phases look at it. The runner alone is looked at by the app.
    let phases = |finding: &Value| -> Vec<u64> {
        finding["phases"].as_array().unwrap().iter().map(|phase| phase["number"].as_u64().unwrap()).collect()
    };
    assert_eq!((phases(base), phases(runner)), (vec![1, 2, 3, 4], vec![3, 4]));
    let reason = runner["phases"][0]["reasons"][0]["text"].as_str().unwrap();
    assert_eq!(reason, format!("{} packages of runner would be newer", theirs.len()));
    let command = runner["command"].as_str().unwrap();
    assert_eq!(command, "set upgrade = \"security\" in [refresh], then otoshi refresh");

    let looked = report["images"].as_array().unwrap().iter().find(|image| image["name"] == "runner").unwrap();
    assert_eq!(looked["foreign"], serde_json::json!(["daruma"]));
    assert_written("check-of-packages", &without_packages(&said(&shop.otoshi(&["check"])), &theirs));

    sarif_and_markdown(&shop, &theirs);

    // Policies go by the packages' names, and only those for security never wait for an age.
    let manifest = fs::read_to_string(shop.path("otoshi.toml")).unwrap();
    let names: BTreeSet<&str> = theirs.iter().filter_map(|line| line.split(' ').next()).collect();
    let all =
        format!("ignore = {:?}\n", names.iter().map(|name| format!("package:{name}")).collect::<Vec<_>>());
    let but_one = format!("ignore = {:?}\n", names.iter().skip(1).collect::<Vec<_>>());
    let first_is_security = theirs.first().unwrap().ends_with(" security");
    for (policy, expected, state) in [
        (all.as_str(), 0, "ignored"),
        (but_one.as_str(), if first_is_security { 11 } else { 10 }, "found"),
        ("minimum-age = \"3 days\"\n", 11, "found"),
        ("hold = { \"*\" = { until = \"2999-01-01\", because = \"frozen\" } }\n", 0, "held"),
    ] {
        shop.write("otoshi.toml", &format!("{manifest}[check]\n{policy}"));
        let (code, report) = shop.check(&[]);
        assert_eq!(code, expected, "{policy}: {report}");
        assert_eq!(finding(&report, "runner")["state"], state, "{policy}");
        let waiting = finding(&report, "runner")["packages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|p| p["state"] != "found");
        let of_security = theirs.iter().filter(|line| line.ends_with(" security")).count();
        let expected = match policy {
            policy if policy == but_one => theirs.len() - 1,
            policy if policy.starts_with("minimum") => theirs.len() - of_security,
            _ => theirs.len(),
        };
        assert_eq!(waiting.count(), expected, "{policy}");
    }
}

/// A report without the packages of the day, which the archive has another time others of.
fn without_packages(report: &str, theirs: &BTreeSet<String>) -> String {
    let all = theirs.len();
    let of_security = theirs.iter().filter(|line| line.ends_with(" security")).count();
    let is_package = |line: &&str| {
        let is_named =
            |line: &str| ["security ", "update ", "and "].iter().any(|word| line.starts_with(word));
        line.strip_prefix("         ").is_some_and(is_named) || line.split(" | ").count() == 6
    };
    let mut text = String::new();
    for line in report.lines().filter(|line| !is_package(line)) {
        let have = " packages have security updates";
        let line = match line.split_once(have) {
            // In a table, other columns follow.
            Some((before, rest)) => {
                format!("{before}{have}: …{}", rest.find(" |").map_or("", |at| &rest[at..]))
            }
            None => line.to_owned(),
        };
        let line = line.replace(&format!("{all} of {all} come"), "ALL of ALL come");
        let line = line.replace(&format!(" {of_security} of "), " SECURITY of ");
        let line =
            line.replace(&format!("({all})"), "(ALL)").replace(&format!(" {all} packages"), " ALL packages");
        text += &(line + "\n");
    }
    text
}

/// Each package of base and runner is a result that keeps its fingerprint; names of packages are in the Markdown.
fn sarif_and_markdown(shop: &Shop, theirs: &BTreeSet<String>) {
    let sarif = || -> Value { serde_json::from_slice(&shop.otoshi(&["check", "--sarif"]).stdout).unwrap() };
    let log = sarif();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 2 * theirs.len());
    let of_security = theirs.iter().filter(|line| line.ends_with(" security")).count();
    assert_eq!(results.iter().filter(|result| result["level"] == "error").count(), 2 * of_security);
    let prints = |log: &Value| -> Vec<String> {
        let results = log["runs"][0]["results"].as_array().unwrap().iter();
        results
            .map(|result| result["partialFingerprints"]["otoshiFinding/v2"].as_str().unwrap().to_owned())
            .collect()
    };
    let distinct: BTreeSet<String> = prints(&log).into_iter().collect();
    assert_eq!((distinct.len(), prints(&log)), (results.len(), prints(&sarif())));
    for result in results {
        let rule =
            &run["tool"]["driver"]["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
    }
    // The base where otoshi.toml names it, the runner where its Dockerfile begins.
    let place = |result: &Value| {
        let place = &result["locations"][0]["physicalLocation"];
        format!("{}:{}", place["artifactLocation"]["uri"].as_str().unwrap(), place["region"]["startLine"])
    };
    let places: BTreeSet<String> = results.iter().map(place).collect();
    let manifest = fs::read_to_string(shop.path("otoshi.toml")).unwrap();
    let line = manifest.lines().position(|line| line.starts_with("BASE = ")).unwrap() + 1;
    assert_eq!(places, BTreeSet::from([format!("otoshi.toml:{line}"), "runner.Dockerfile:2".to_owned()]));

    let markdown = String::from_utf8(shop.otoshi(&["check", "--markdown"]).stdout).unwrap();
    assert!(markdown.starts_with("## shop: 2 found (2 security)\n"), "{markdown}");
    let rows = markdown.lines().map(|line| line.split(" | ").collect::<Vec<_>>());
    let names: BTreeSet<_> = rows.filter(|cells| cells.len() == 6).map(|cells| cells[0].to_owned()).collect();
    let expected = theirs.iter().map(|line| format!("| {}", line.split(' ').next().unwrap()));
    let titles = ["| package", "| ---"].map(str::to_owned);
    assert_eq!(names, expected.chain(titles).collect(), "{markdown}");
    assert_written("check-of-packages-markdown", &without_packages(&markdown, theirs));

    // What is printed is what the schema says.
    let schema: Value = serde_json::from_str(&shop.ok(&["schema", "check"])).unwrap();
    let (_, report) = shop.check(&[]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&report), keys(&schema["properties"]));
    let finding = keys(&schema["$defs"]["Finding"]["properties"]);
    assert_eq!(keys(&report["findings"][0]), finding);
    assert_eq!(
        keys(&report["findings"][0]["packages"][0]),
        keys(&schema["$defs"]["PackageUpdate"]["properties"])
    );
}

#[test]
fn a_repository_that_fails_hides_no_other() {
    given!(require(debian::NEEDS));
    let shop = given!(Shop::new());
    let sources = format!("{}deb http://localhost:1/debian nowhere main\n", debian::sources());
    stand_on_debian(&shop, &sources);
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\n");
    shop.ok(&["build"]);
    let (code, report) = shop.check(&[]);
    assert_eq!((code, report["failed"].as_array().unwrap().len()), (20, 1), "{report}");
    let message = report["failed"][0]["message"].as_str().unwrap();
    assert_written("check-of-a-repository-that-does-not-answer", message);
    assert_eq!(finding(&report, "BASE")["kind"], "security-updates");
}

#[test]
fn what_an_image_marks_as_held_is_told_as_such() {
    given!(require(debian::NEEDS));
    let shop = given!(Shop::new());
    let sources = debian::sources();
    stand_on_debian(&shop, &sources);
    let name = debian::upgrades(&sources).first().unwrap().split(' ').next().unwrap().to_owned();
    let hold = format!(
        "RUN sed -i '/^Package: {name}$/,/^$/s/^Status: install /Status: hold /' /var/lib/dpkg/status"
    );
    shop.write("runner.Dockerfile", &format!("ARG BASE\nFROM ${{BASE}}\n{hold}\n"));
    shop.ok(&["build"]);
    let (_, report) = shop.check(&[]);
    let packages = finding(&report, "runner")["packages"].as_array().unwrap();
    let held: Vec<_> = packages.iter().filter(|package| package["withheld"] == "held").collect();
    assert_eq!((held.len(), &held[0]["name"], &held[0]["state"]), (1, &name.as_str().into(), &"held".into()));

    let log: Value = serde_json::from_slice(&shop.otoshi(&["check", "--sarif"]).stdout).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let suppressed: Vec<_> = results.iter().filter(|result| !result["suppressions"].is_null()).collect();
    assert_eq!(suppressed.len(), 1);
    assert_eq!(suppressed[0]["suppressions"][0]["justification"], "the image marks it as held");
    let said = String::from_utf8(shop.otoshi(&["check"]).stdout).unwrap();
    let held = said.lines().filter_map(|line| line.strip_suffix(", held: the image marks it as held"));
    let held: Vec<_> = held.map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(held, [name], "{said}");
}
