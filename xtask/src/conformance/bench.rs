//! Everything that cases are run with: Otoshi, the references, and where they find what they build.

use std::path::Path;

use tempfile::TempDir;

use super::{
    bases,
    builder::{Buildah, Builder, Built, Order, Otoshi},
    case::{Case, Reference},
    compare,
    context::Workplace,
    server::Server,
};
use crate::{
    docker::Daemon,
    failure::{Failure, Result},
    peers, project,
};

/// What the versions of Debian 12's Docker begin with: the one that some cases have words of their own for.
const OLD: &str = "20.";

/// Otoshi and its references, each with a store of its own that has the bases.
pub(super) struct Bench {
    pub(super) otoshi: Otoshi,
    /// Today's, which says what is right, and this machine's, which is asked as well; or the one that was chosen.
    dockers: Vec<Daemon>,
    server: Server,
    pub(super) directory: TempDir,
}

impl Bench {
    /// Starts the references and gives all of them the bases.
    pub(super) fn set_up(program: Option<&Path>, reference: Option<&str>) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("otoshi-conformance-")
            .tempdir()
            .map_err(Failure::file("making", "a directory"))?;
        let path = |name: &str| directory.path().join(name);
        let program = match program {
            Some(program) => std::path::absolute(program).map_err(Failure::file("finding", program))?,
            None => project::build_otoshi()?,
        };
        let dockers = daemons(&program, reference)?;
        let otoshi = Otoshi { program, home: path("otoshi") };
        let server = Server::start(path("cases"))?;
        let bench = Self { otoshi, dockers, server, directory };
        for archive in &bases::make(bench.docker(), bench.directory.path())? {
            bench.otoshi.import(archive)?;
            for other in &bench.dockers[1..] {
                bases::load(other, archive)?;
            }
            if !is_old(bench.docker()) {
                bench.buildah().import(archive)?;
            }
        }
        Ok(bench)
    }

    /// The Docker that says what is right.
    pub(super) fn docker(&self) -> &Daemon {
        &self.dockers[0]
    }

    /// The Docker that is asked as well.
    pub(super) fn second(&self) -> Option<&Daemon> {
        self.dockers.get(1)
    }

    /// Whether the references that were started have a word on a case.
    pub(super) fn knows(&self, case: &Case) -> bool {
        !is_old(self.docker()) || case.description.reference == Reference::Docker
    }

    fn buildah(&self) -> Buildah<'_> {
        Buildah { beside: self.docker(), home: self.directory.path().join("buildah") }
    }

    fn workplace(&self, case: &Case) -> Result<Workplace> {
        Workplace::prepare(case, &self.directory.path().join("cases").join(&case.name))
    }

    fn build(&self, case: &Case, builder: &dyn Builder, place: &Workplace, own: bool) -> Result<Built> {
        let it = &case.description;
        let flags = if own { &it.flags } else { it.reference_flags.as_ref().unwrap_or(&it.flags) };
        let server = self.server.url(&format!("{}/context", case.name));
        let flags: Vec<String> = flags.iter().map(|flag| flag.replace("{server}", &server)).collect();
        builder.carry_out(&Order {
            context: &place.context,
            flags: &flags,
            file: place.equivalent.as_deref().filter(|_| !own),
            environment: &it.environment,
            name: &format!("conformance.test/{}", case.name),
            archive: &place.archive(&builder.name()),
        })
    }

    /// What the references make of a case; for the documentation, of its equivalent.
    fn theirs<'a>(&'a self, case: &Case, place: &Workplace) -> Result<Vec<(Built, &'a Daemon)>> {
        let dockers = match case.description.reference {
            Reference::Docker => &self.dockers[..],
            Reference::Documentation if case.has_equivalent() => &self.dockers[..1],
            Reference::Buildah | Reference::Documentation => &[],
        };
        let build = |docker: &'a Daemon| Ok((self.build(case, docker, place, false)?, docker));
        dockers.iter().map(build).collect()
    }

    /// Builds a case with all who have a word on it; every way in which Otoshi's result is not what it must be.
    pub(super) fn compare(&self, case: &Case) -> Result<Vec<String>> {
        let place = self.workplace(case)?;
        let theirs = self.theirs(case, &place)?;
        let ours = self.build(case, &self.otoshi, &place, true)?;
        let mut found = promised(case, &ours);
        if case.description.reference == Reference::Buildah {
            let buildah = self.buildah();
            let theirs = self.build(case, &buildah, &place, false)?;
            found.extend(against(case, &ours, &theirs, &buildah.name(), &[]));
        }
        for (theirs, docker) in &theirs {
            found.extend(against_docker(case, &ours, theirs, docker));
        }
        Ok(found)
    }

    /// Prints what the references made.
    pub(super) fn show(&self, case: &Case) -> Result<Vec<String>> {
        let place = self.workplace(case)?;
        let mut all: Vec<(Built, String)> =
            self.theirs(case, &place)?.into_iter().map(|(built, docker)| (built, docker.name())).collect();
        match case.description.reference {
            Reference::Buildah => {
                let buildah = self.buildah();
                all.push((self.build(case, &buildah, &place, false)?, buildah.name()));
            }
            Reference::Documentation if all.is_empty() => {
                all.push((self.build(case, &self.otoshi, &place, true)?, self.otoshi.name()));
            }
            _ => {}
        }
        for (built, name) in &all {
            println!("== {}, {name}\n{}", case.name, shown(built));
        }
        Ok(Vec::new())
    }
}

/// The name that is always today's Docker, whatever its version.
pub(super) const TODAY: &str = "today";

/// Starts the references: today's Docker and this machine's, or the one whose name begins so.
fn daemons(otoshi: &Path, reference: Option<&str>) -> Result<Vec<Daemon>> {
    let today = || Daemon::start_of(&peers::make(otoshi, false)?);
    let Some(wanted) = reference else { return Ok(vec![today()?, Daemon::start()?]) };
    let mut names = Vec::new();
    for start in [&today as &dyn Fn() -> Result<Daemon>, &Daemon::start] {
        let daemon = start()?;
        let name = format!("docker-{}", daemon.version());
        if name.starts_with(wanted) || wanted == TODAY {
            return Ok(vec![daemon]);
        }
        names.push(name);
    }
    Err(Failure::Wrong(format!("there is no reference {wanted}; there are {}", names.join(" and "))))
}

fn is_old(docker: &Daemon) -> bool {
    docker.version().starts_with(OLD)
}

/// What was built, for people.
fn shown(built: &Built) -> String {
    match built {
        Built::Refused(text) => format!("refused: {text}"),
        Built::Image(image, text) => {
            let base = ["/bin/", "/dev/", "/proc/", "/sys/"];
            let tree = image.tree.iter().filter(|(path, _)| !base.iter().any(|base| path.starts_with(base)));
            let lines: Vec<String> = tree.map(|(path, node)| format!("{path} {node}")).collect();
            format!("{text}\n{}\n{}", image.config["config"], lines.join("\n"))
        }
    }
}

/// Every way in which Otoshi's result is not what the case itself says.
fn promised(case: &Case, ours: &Built) -> Vec<String> {
    let it = &case.description;
    let mut found = Vec::new();
    match ours {
        Built::Image(..) if it.fails => found.push("Otoshi builds what must be refused".to_owned()),
        Built::Refused(text) if !it.fails => found.push(format!("Otoshi refuses: {text}")),
        Built::Refused(text) => found.extend(unsaid("Otoshi", text, it.message.as_ref())),
        Built::Image(image, said) => {
            found.extend(compare::broken_promises(image, it.config.as_ref(), &it.files, &it.complete));
            if let Some(text) = it.warns.as_ref().filter(|text| !said.contains(*text)) {
                found.push(format!("it does not warn of {text:?}: {said}"));
            }
        }
    }
    found
}

/// Every way in which Otoshi's result is not that of a reference.
fn against(case: &Case, ours: &Built, theirs: &Built, name: &str, left_over: &[String]) -> Vec<String> {
    let it = &case.description;
    match (ours, theirs) {
        (_, Built::Refused(text)) if it.fails => unsaid(name, text, it.reference_message.as_ref()),
        (_, Built::Refused(text)) => vec![format!("{name} refuses: {text}")],
        (_, Built::Image(..)) if it.fails => vec![format!("{name} builds what must be refused")],
        (Built::Image(ours, _), Built::Image(theirs, _)) => {
            compare::differences(ours, theirs, name, left_over)
        }
        (Built::Refused(_), _) => Vec::new(),
    }
}

/// The same for a Docker, which may make something else where the case says so, and then must.
fn against_docker(case: &Case, ours: &Built, theirs: &Built, docker: &Daemon) -> Vec<String> {
    let (it, name) = (&case.description, docker.name());
    let found = match theirs {
        // Its words have changed since.
        Built::Refused(_) if it.fails && is_old(docker) => Vec::new(),
        _ if is_old(docker) => against(case, ours, theirs, &name, &it.left_over),
        _ => against(case, ours, theirs, &name, &compare::of_kernels(&it.left_over)),
    };
    match (case.is_otherwise(docker.version()), found.is_empty()) {
        (false, _) => found,
        (true, false) => Vec::new(),
        (true, true) => vec![format!("{name} makes the same: `otherwise` has one line too many")],
    }
}

/// A refusal that does not say what it should.
fn unsaid(name: &str, text: &str, message: Option<&String>) -> Vec<String> {
    let missing = message.filter(|message| !text.contains(*message));
    missing.map(|message| format!("{name} does not say {message:?}: {text}")).into_iter().collect()
}
