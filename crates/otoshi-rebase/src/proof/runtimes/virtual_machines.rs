//! Programs for a machine of their own, which runs earlier ones as well.

use otoshi_oci::contents::Contents;
use serde_json::Value;

use super::super::facts::Facts;
use super::runtime::{File, Need, Runtime, after, is_version};

/// Java: a JVM's `release` file; classes run on it and on later ones.
pub(super) struct Java;
/// Erlang: `erlang/releases/25`; compiled modules run on it and on later ones. A release of an application brings its own.
pub(super) struct Erlang;
/// Elixir's own modules, which those that are compiled by it need.
pub(super) struct Elixir;
/// One of .NET's shared frameworks: `shared/Microsoft.NETCore.App/8.0.11`, and `NAME.runtimeconfig.json`.
pub(super) struct Framework {
    name: &'static str,
    directory: &'static str,
}

/// .NET itself.
pub(super) const DOTNET: Framework = Framework { name: "dotnet", directory: "Microsoft.NETCore.App" };
/// ASP.NET.
pub(super) const ASPNET: Framework = Framework { name: "aspnet", directory: "Microsoft.AspNetCore.App" };

/// The newest of some versions.
fn newest(versions: &[&str]) -> Option<Need> {
    versions.iter().filter_map(|version| version.parse().ok()).max().map(Need::AtLeast)
}

/// The major version in a `release` file: `JAVA_VERSION="17.0.9"`, and 8 of `1.8.0_402`.
fn java(release: &str) -> Option<u32> {
    let value = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?.trim_matches('"');
    let mut numbers = value.split(['.', '_', '+', '-']);
    match numbers.next()?.parse().ok()? {
        1 => numbers.next()?.parse().ok(),
        major => Some(major),
    }
}

impl Runtime for Java {
    fn name(&self) -> &'static str {
        "java"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let version = file.text().filter(|_| file.name() == "release").and_then(java);
        version.map(|version| version.to_string()).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, old: &[&str]) -> Option<Need> {
        matches!(file.extension(), Some("jar" | "war" | "ear" | "class")).then(|| newest(old))?
    }
}

impl Runtime for Erlang {
    fn name(&self) -> &'static str {
        "erlang"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let version = after(file.path, &["releases"]).next().filter(|_| file.name() == "OTP_VERSION");
        version.filter(|version| is_version(version, &[1])).map(str::to_owned).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, old: &[&str]) -> Option<Need> {
        (file.extension() == Some("beam")).then(|| newest(old))?
    }

    fn is_own(&self, app: &Contents<Facts>) -> bool {
        app.files().keys().any(|path| path.ends_with(b"/bin/beam.smp"))
    }
}

impl Runtime for Elixir {
    fn name(&self) -> &'static str {
        "elixir"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        // Which one it is does not matter: what was compiled by one runs with a later one.
        file.path.ends_with("elixir/ebin/elixir.app").then(String::new).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, _: &[&str]) -> Option<Need> {
        (file.extension() == Some("beam") && file.name().starts_with("Elixir.")).then_some(Need::Any)
    }

    fn is_own(&self, app: &Contents<Facts>) -> bool {
        app.files().keys().any(|path| path.ends_with(b"/ebin/elixir.app"))
    }
}

impl Framework {
    /// What a program's settings say of this framework.
    fn need(&self, settings: &Value) -> Option<Need> {
        let options = settings.get("runtimeOptions")?;
        let one = options.get("framework").into_iter();
        let several = options.get("frameworks").and_then(Value::as_array).into_iter().flatten();
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let wanted =
            one.chain(several).find(|wanted| text(wanted, "name").as_deref() == Some(self.directory))?;
        let version = text(wanted, "version")?;
        let major = version.split('.').next()?.to_owned();
        let forward = text(options, "rollForward").unwrap_or_default();
        Some(match major.parse() {
            Ok(number) if forward.ends_with("Major") => Need::AtLeast(number),
            _ => Need::Exactly(major),
        })
    }
}

impl Runtime for Framework {
    fn name(&self) -> &'static str {
        self.name
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let version = after(file.path, &[self.directory]).next().filter(|_| file.path.contains("shared/"));
        let major = version.and_then(|version| version.split('.').next());
        major.filter(|major| is_version(major, &[1])).map(str::to_owned).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, _: &[&str]) -> Option<Need> {
        let text = file.text().filter(|_| file.name().ends_with(".runtimeconfig.json"))?;
        self.need(&serde_json::from_str(text).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{needed, shown};
    use super::*;

    #[test]
    fn a_jvm_says_its_version_in_its_release_file() {
        for (text, version) in
            [("A=1\nJAVA_VERSION=\"17.0.9\"\n", "17"), ("JAVA_VERSION=\"1.8.0_402\"", "8"), ("A=1", "")]
        {
            assert_eq!(shown(&Java, "usr/lib/jvm/x/release", text).join(" "), version, "{text}");
        }
        assert_eq!(needed(&Java, "app/app.jar", "", &["11", "17"]), Some(Need::AtLeast(17)));
        assert_eq!(needed(&Java, "app/app.jar.txt", "", &["17"]), None);
    }

    #[test]
    fn compiled_modules_of_erlang_and_elixir() {
        assert_eq!(shown(&Erlang, "usr/lib/erlang/releases/25/OTP_VERSION", ""), ["25"]);
        assert_eq!(needed(&Erlang, "app/ebin/x.beam", "", &["25"]), Some(Need::AtLeast(25)));
        assert_eq!(needed(&Erlang, "app/priv/nif.so", "", &["25"]), None, "native functions hold");
        assert_eq!(shown(&Elixir, "usr/lib/elixir/lib/elixir/ebin/elixir.app", "").len(), 1);
        assert_eq!(needed(&Elixir, "app/ebin/Elixir.My.beam", "", &[""]), Some(Need::Any));
    }

    #[test]
    fn frameworks_roll_forward_within_a_major_version_only() {
        assert_eq!(
            shown(&DOTNET, "usr/lib/dotnet/shared/Microsoft.NETCore.App/8.0.11/System.dll", ""),
            ["8"]
        );
        let need =
            |framework: &Framework, text: &str| needed(framework, "app/x.runtimeconfig.json", text, &["8"]);
        let one = r#"{"runtimeOptions":{"framework":{"name":"Microsoft.NETCore.App","version":"8.0.0"}}}"#;
        assert_eq!(need(&DOTNET, one), Some(Need::Exactly("8".into())));
        assert_eq!(need(&ASPNET, one), None);
        let two = r#"{"runtimeOptions":{"rollForward":"LatestMajor","frameworks":[{"name":"Microsoft.AspNetCore.App","version":"8.0.0"}]}}"#;
        assert_eq!(need(&ASPNET, two), Some(Need::AtLeast(8)));
        let own = r#"{"runtimeOptions":{"includedFrameworks":[{"name":"Microsoft.NETCore.App","version":"8.0.0"}]}}"#;
        assert_eq!(need(&DOTNET, own), None, "it brings its own");
    }
}
