//! How remedies are called: the only place that knows which command does what.

use otoshi_explain::Remedy;

/// Says a remedy as people type it.
pub(crate) fn words(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Words(words) => words.clone(),
        Remedy::DescribeProject { dockerfile } => {
            let write = "write one, with [project] and [runner], as the README shows; --project names another directory";
            if *dockerfile {
                format!("{write}; otoshi image build builds the Dockerfile alone")
            } else {
                write.to_owned()
            }
        }
        Remedy::Allow { entitlements } => {
            let options: Vec<_> = entitlements.iter().map(|allowed| format!("--allow {allowed}")).collect();
            let values: Vec<_> = entitlements.iter().map(|allowed| format!("{allowed:?}")).collect();
            format!(
                "if you trust the Dockerfile: {}, or [build] allow = [{}] in otoshi.toml",
                options.join(" "),
                values.join(", ")
            )
        }
        Remedy::GiveSecret { id } => format!("--secret id={id},src=FILE"),
        Remedy::GiveSsh { id } => format!("--ssh {id}"),
        Remedy::GiveTunDevice => {
            "a step's own network needs a TUN device: modprobe tun; chmod 0666 /dev/net/tun; inside a container: \
             docker run --device /dev/net/tun. Without one: --network host, or [build] network = \"host\" in \
             otoshi.toml, with which steps share this machine's network"
                .to_owned()
        }
        Remedy::LeaveLoopback => {
            "give an address of this machine other than its loopback, or --network host \
             (in otoshi.toml: [build] network = \"host\")"
                .to_owned()
        }
        Remedy::NameDependencies => "look at [app] dependencies in otoshi.toml".to_owned(),
        Remedy::Wait => "try again when it has finished, or give it time with --wait".to_owned(),
        Remedy::Build => "otoshi build".to_owned(),
        Remedy::BuildWithoutCache => "otoshi build --no-cache".to_owned(),
        Remedy::BuildUnlocked => "run otoshi build without --locked".to_owned(),
        Remedy::BuildMakesImage => "otoshi build makes it".to_owned(),
        Remedy::BuildMakesReserved => {
            "what has such a name is made here: otoshi build makes it again".to_owned()
        }
        Remedy::ResolveLock => "keep one side entirely, then run otoshi build".to_owned(),
        Remedy::CollectGarbage => {
            "remove names that nobody needs, then their images with otoshi gc".to_owned()
        }
        Remedy::Import { name } => import(name),
        Remedy::OrImport { first, name } => {
            let first = first.as_ref().map(|first| format!("{}; ", words(first))).unwrap_or_default();
            format!("{first}{} makes one here", import(name))
        }
        Remedy::InspectIndex => "otoshi inspect shows what it lists".to_owned(),
        Remedy::PushRecipe => {
            "otoshi push puts it beside the image, in the repository that [registry] names".to_owned()
        }
        Remedy::Refresh { builder } => refresh(*builder),
        Remedy::RefreshBase { builder } => {
            format!("{} takes what the name points to now", refresh(*builder))
        }
        Remedy::RefreshMovesBuilder => format!("{} moves it there", refresh(true)),
        Remedy::RefreshInProject => {
            "run otoshi refresh in the project's directory, or name the image as its registry has it"
                .to_owned()
        }
        Remedy::RefreshChecksPackages => "otoshi refresh checks its packages again".to_owned(),
        Remedy::RefreshLooksAtPackages => "otoshi refresh looks at what the repositories have now".to_owned(),
        Remedy::RefreshTakesPackages => "otoshi refresh takes what they have now".to_owned(),
        Remedy::RefreshUpgrading { security } => {
            let which = if *security { "security" } else { "all" };
            format!("set upgrade = \"{which}\" in [refresh], then otoshi refresh")
        }
        Remedy::RefreshImage { image } => format!("otoshi refresh {image}"),
        Remedy::RebaseImage { image } => format!("otoshi rebase {image}"),
        Remedy::NameOldBase => {
            "name the base that it was built on, as it was then, with --base REFERENCE@DIGEST".to_owned()
        }
        Remedy::NameBothBases => "name the old base with --base, and the new one with --onto".to_owned(),
        Remedy::NamePlatforms => {
            "an image is rebased for all its platforms, unless --platform names some".to_owned()
        }
        Remedy::NameInDockerfile { image } => {
            format!("name {image} in the Dockerfile, then otoshi build")
        }
        Remedy::AddToDockerfiles { line, files } => {
            format!("add {line:?} to {}, then otoshi build", files.join(" and "))
        }
        Remedy::Update { settings } => format!("otoshi update {}, then otoshi build", settings.join(" ")),
        Remedy::UpdateMajor { settings } => {
            format!("otoshi update {}, or --major, takes it", settings.join(" "))
        }
        Remedy::UpdatePackages { name } => {
            format!("otoshi update {name} takes what the repositories have now")
        }
    }
}

fn import(name: &str) -> String {
    format!("otoshi import ROOTFS.tar --name {name}")
}

fn refresh(builder: bool) -> String {
    let side = if builder { " --builder" } else { "" };
    format!("otoshi refresh{side}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_stands_first() {
        let name = "own/base:1".to_owned();
        let first = Some(Box::new(Remedy::from("try again later")));
        let both = Remedy::OrImport { first, name: name.clone() };
        assert_eq!(
            words(&both),
            "try again later; otoshi import ROOTFS.tar --name own/base:1 makes one here"
        );
        let alone = Remedy::OrImport { first: None, name };
        assert_eq!(words(&alone), "otoshi import ROOTFS.tar --name own/base:1 makes one here");
        assert_eq!(
            words(&Remedy::RefreshBase { builder: true }),
            "otoshi refresh --builder takes what the name points to now"
        );
    }
}
