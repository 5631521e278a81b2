//! The main job on an example, as a person would do it: build, run, change one thing, see what did not run.

use clap::Args;

use crate::{
    bases, deps,
    failure::Result,
    http,
    process::{self, Running},
    project::{self, Project, platform, version},
};

/// Installs what is missing, builds, and shows the main job on an example.
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
        let patched = answer(&shop)?;
        for name in ["base-files", "libc6", "libssl3t64"] {
            println!(
                "{name}: {} → {}",
                version(platform(&page)?, name)?,
                version(platform(&patched)?, name)?
            );
        }
        Ok(())
    }
}

fn say(text: &str) {
    println!("\n── {text}");
}

/// Starts the web process, asks for its page, and stops it.
fn answer(shop: &Project) -> Result<String> {
    let port = http::free_port()?;
    println!("\n$ otoshi run web -e PORT={port} -p {port} &\n$ curl http://127.0.0.1:{port}/");
    let (setting, port_text) = (format!("PORT={port}"), port.to_string());
    let mut run = shop.otoshi(&["run", "web", "-e", &setting, "-p", &port_text]);
    let mut web = Running::start(run.stdout(std::process::Stdio::null()))?;
    let page = http::get_from(&mut web, port, "/")?;
    web.stop()?;
    Ok(page)
}
