//! The main job on an example, as a person would do it: build, run, change one thing, see what did not run.

use clap::Args;
use serde_json::Value;

use crate::{
    bases, deps,
    failure::{Failure, Result},
    http::Web,
    process,
    project::{self, Project, platform},
};

/// Install what is missing, build, and show the main job on an example.
#[derive(Debug, Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(self) -> Result {
        deps::install(&[deps::BASES])?;
        let otoshi = project::build_otoshi()?;
        let bases = bases::make(&otoshi, false)?;
        let shop = Project::of_example(&otoshi, "ruby-vite")?;
        let show = |line: &str| {
            println!("\n$ {line}");
            process::run(&mut shop.shell(line))
        };

        say(
            "A shop: Ruby with a front end that Vite builds. Its base is made of Debian's packages, as of the release.",
        );
        show(&format!("otoshi import {} --name {}", bases.old.display(), bases::BASE))?;
        show("otoshi build")?;
        show("otoshi run cli")?;
        let page = answer(&shop)?;
        println!("{}", platform(&page)?);
        let before = digest(&shop, "shop/runner")?;

        say("Nothing changed: nothing runs.");
        show("otoshi plan")?;

        say("The source changes: it is compiled, and put on the runner. The builder and the runner stay.");
        shop.replace("app/catalog.rb", "daruma", "dharma doll")?;
        show("otoshi build")?;

        say("A start command changes: a setting of one image, and no layer.");
        shop.replace("otoshi.toml", "[\"search\", \"daruna\"]", "[\"search\", \"kokesi\"]")?;
        show("otoshi build")?;
        show("otoshi run cli")?;

        say(
            "Security updates arrive in the base. Otoshi is told to take them in: the runner is built, the application stays.",
        );
        show(&format!("otoshi import {} --name {}", bases.patched.display(), bases::BASE))?;
        show("otoshi build --refresh")?;
        answer(&shop)?;
        say("What changed in the runner:");
        let diff = shop.otoshi(&["diff", &before, "shop/runner", "--json"]).output();
        let diff: Value =
            serde_json::from_slice(&diff.map_err(Failure::file("running", "otoshi diff"))?.stdout)
                .map_err(|error| Failure::Wrong(format!("otoshi diff --json: {error}")))?;
        for package in diff["packages"].as_array().into_iter().flatten() {
            let text = |key: &str| package[key].as_str().unwrap_or("–");
            println!("{}: {} → {}", text("name"), text("old"), text("new"));
        }
        Ok(())
    }
}

/// The digest of an image that has a name.
fn digest(shop: &Project, name: &str) -> Result<String> {
    let images = process::read(&mut shop.otoshi(&["images", "--json"]))?;
    let images: Vec<Value> = serde_json::from_str(&images)
        .map_err(|error| Failure::Wrong(format!("otoshi images --json: {error}")))?;
    let of_name =
        images.iter().find(|image| image["reference"].as_str().is_some_and(|found| found.contains(name)));
    let digest = of_name.and_then(|image| image["digest"].as_str());
    digest.map(str::to_owned).ok_or_else(|| Failure::Wrong(format!("there is no image {name}")))
}

fn say(text: &str) {
    println!("\n── {text}");
}

/// Starts the web process, asks for its page, and stops it.
fn answer(shop: &Project) -> Result<String> {
    println!("\n$ otoshi run web -e PORT=8080 -p 0:8080 &");
    let mut web = Web::start(shop, "web")?;
    println!("$ curl http://127.0.0.1:{}/", web.port());
    let page = web.get("/")?;
    web.stop()?;
    Ok(page)
}
