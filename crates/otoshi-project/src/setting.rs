//! Values of `otoshi.toml` that may be given another one: versions, and bases that are named there.
//!
//! A change is a list of [`Setting`]s. The text is changed where the values stand and nowhere else: comments, order and
//! quotes stay to the byte.

use std::fmt;

use otoshi_explain::Remedy;
use schemars::JsonSchema;
use serde::Serialize;
use toml_edit::{Document, Item};

use crate::{Base, Manifest, Project, ProjectError};

/// The table of `otoshi.toml` that a value stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SettingTable {
    /// `[versions]`.
    Versions,
    /// `[bases]`.
    Bases,
}

impl SettingTable {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Versions => "versions",
            Self::Bases => "bases",
        }
    }
}

/// Another value for something that `otoshi.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Setting {
    /// Where it stands.
    pub table: SettingTable,
    /// Its key there.
    pub name: String,
    /// What it is.
    pub from: String,
    /// What it becomes.
    pub to: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.to)
    }
}

impl Project {
    /// What `otoshi.toml` has to say for every base of one reference to have another; empty where no single value does that.
    ///
    /// A base with one version in it, as in `ruby:{RUBY}`, gets that version; one without gets the reference itself.
    pub fn settings_for(&self, reference: &str, wanted: &str) -> Vec<Setting> {
        let Ok(bases) = self.bases() else { return Vec::new() };
        let mut found = Vec::new();
        for name in bases.iter().filter(|(_, filled)| *filled == reference).map(|(name, _)| name) {
            found.extend(self.setting_for(name, wanted).filter(|setting| !found.contains(setting)));
        }
        found
    }

    fn setting_for(&self, name: &str, wanted: &str) -> Option<Setting> {
        let Some(Base::Image(template)) = self.manifest.bases.get(name) else { return None };
        if !template.contains('{') {
            return self.setting(name, wanted).ok();
        }
        let versions = &self.manifest.versions;
        let filled = |part: &str| {
            versions
                .iter()
                .fold(part.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
        };
        versions.keys().find_map(|version| {
            let (start, end) = template.split_once(&format!("{{{version}}}"))?;
            let rest = wanted.strip_prefix(&filled(start))?;
            // Where a version is used twice, what follows the first is found by trying.
            let ends = (1..=rest.len()).filter(|end| rest.is_char_boundary(*end)).map(|end| &rest[..end]);
            let mut values = rest.strip_suffix(&filled(end)).into_iter().chain(ends);
            values.find_map(|value| {
                let setting = self.setting(version, value).ok().filter(|_| !value.is_empty())?;
                let with = self.with_settings(std::slice::from_ref(&setting)).bases().ok()?;
                (with.get(name).map(String::as_str) == Some(wanted)).then_some(setting)
            })
        })
    }

    /// Another value for a version or base by its key.
    ///
    /// Fails where there is none of that key, and where it is a base made of packages.
    pub fn setting(&self, name: &str, to: &str) -> Result<Setting, ProjectError> {
        let (table, from) = match (self.manifest.versions.get(name), self.manifest.bases.get(name)) {
            (Some(version), _) => (SettingTable::Versions, version),
            (None, Some(Base::Image(reference))) => (SettingTable::Bases, reference),
            (None, Some(Base::Packages(_))) => {
                let message = format!("{name} is made of packages, which have no value to choose");
                return Err(ProjectError::new("otoshi.toml", message)
                    .with_hint(Remedy::UpdatePackages { name: name.to_owned() }));
            }
            (None, None) => {
                let known = self.manifest.versions.keys().chain(self.manifest.bases.keys());
                let message = format!("neither [versions] nor [bases] has {name}");
                return Err(ProjectError::new("otoshi.toml", message).with_suggestion(name, known));
            }
        };
        Ok(Setting { table, name: name.to_owned(), from: from.clone(), to: to.to_owned() })
    }

    /// The project as it is with other values.
    #[must_use]
    pub fn with_settings(&self, settings: &[Setting]) -> Self {
        let mut project = self.clone();
        for setting in settings {
            let (name, to) = (setting.name.clone(), setting.to.clone());
            match setting.table {
                SettingTable::Versions => drop(project.manifest.versions.insert(name, to)),
                SettingTable::Bases => drop(project.manifest.bases.insert(name, Base::Image(to))),
            }
        }
        project
    }
}

/// The text of `otoshi.toml` with other values; every byte besides theirs stays.
///
/// Fails where the text would not say what was asked for.
pub fn edit(text: &str, settings: &[Setting]) -> Result<String, ProjectError> {
    let wrong = |message: String| ProjectError::new("otoshi.toml", message);
    let document = Document::parse(text).map_err(|error| wrong(error.message().to_owned()))?;
    let mut places = Vec::new();
    for setting in settings {
        let item = document
            .get(setting.table.name())
            .and_then(Item::as_table_like)
            .and_then(|table| table.get(&setting.name))
            .filter(|item| item.as_str().is_some());
        let place = item.and_then(Item::span).filter(|place| text.get(place.clone()).is_some());
        let place = place.ok_or_else(|| {
            wrong(format!("[{}] has no string {} that could be changed", setting.table.name(), setting.name))
        })?;
        places.push((place, setting));
    }
    places.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    let mut edited = text.to_owned();
    for (place, setting) in places {
        let value = quoted(&text[place.clone()], &setting.to);
        edited.replace_range(place, &value);
    }
    // What was not meant is not written.
    let manifest = Manifest::parse("otoshi.toml", &edited)?;
    for setting in settings {
        let now = match setting.table {
            SettingTable::Versions => manifest.versions.get(&setting.name).map(String::as_str),
            SettingTable::Bases => match manifest.bases.get(&setting.name) {
                Some(Base::Image(reference)) => Some(reference.as_str()),
                _ => None,
            },
        };
        if now != Some(setting.to.as_str()) {
            return Err(wrong(format!("{} cannot be changed to {:?} there", setting.name, setting.to)));
        }
    }
    Ok(edited)
}

/// A value in the quotes that the old one has, as far as they can hold it as it is.
fn quoted(old: &str, value: &str) -> String {
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| old.starts_with(quotes));
    let plain = !value.contains(|c: char| matches!(c, '"' | '\'' | '\\') || c.is_control());
    match quotes.filter(|_| plain) {
        Some(quotes) => format!("{quotes}{value}{quotes}"),
        None => toml_edit::Value::from(value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use otoshi_explain::Explain;

    use super::*;

    const TEXT: &str = "# what we ship\r\n[project]\nname   =  \"shop\"  # keep\n\n[versions]\n\
        \"RUBY\" = '3.1' # the series\nNODE =\t\"18\"\n[bases]\nBUILD = \"ruby:{RUBY}\"\nRUN = \"ruby:{RUBY}-slim\"\n\
        JS = \"node:{NODE}-{NODE}\"\nDB = \"postgres:15\"\nDB_TOO = \"postgres:15\"\n\n[runner]\ndockerfile = \"r\"";

    fn project(text: &str) -> Project {
        Project {
            root: "/".into(),
            manifest: Manifest::parse("otoshi.toml", text).unwrap(),
            processes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn texts(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_base_gets_another_tag_by_the_version_in_it_or_by_itself() {
        let project = project(TEXT);
        assert_eq!(texts(&project.settings_for("ruby:3.1-slim", "ruby:3.2-slim")), ["RUBY=3.2"]);
        assert_eq!(texts(&project.settings_for("ruby:3.1-slim", "ruby:3.2")), [""; 0], "another flavour");
        assert_eq!(texts(&project.settings_for("node:18-18", "node:20-20")), ["NODE=20"]);
        let both = project.settings_for("postgres:15", "postgres:16");
        assert_eq!(texts(&both), ["DB=postgres:16", "DB_TOO=postgres:16"]);
        assert_eq!(both[0].table, SettingTable::Bases);
        assert_eq!(project.setting("RUBI", "1").unwrap_err().hint().as_deref(), Some("did you mean RUBY?"));
        let with = project.with_settings(&project.settings_for("ruby:3.1", "ruby:3.2"));
        assert_eq!(with.bases().unwrap()["RUN"], "ruby:3.2-slim");
    }

    #[test]
    fn only_the_values_change() {
        let project = project(TEXT);
        let mut settings = project.settings_for("ruby:3.1", "ruby:3.2");
        settings.extend(project.settings_for("postgres:15", "postgres:16"));
        let edited = edit(TEXT, &settings).unwrap();
        assert_eq!(edited, TEXT.replace("'3.1'", "'3.2'").replace("postgres:15", "postgres:16"));
        assert_eq!(edit(TEXT, &[]).unwrap(), TEXT);
    }

    #[test]
    fn values_are_found_in_tables_of_every_form() {
        let rest = "runner.dockerfile = \"r\"\nproject = { name = \"shop\" } # end\n";
        for versions in [
            "versions = { A = \"1\", B = \"1\" } # both\n",
            "versions.A = \"1\" # one\nversions.B = \"1\"\n",
            "versions = { \"A\" = \"\"\"1\"\"\",B='1'}\n",
        ] {
            let text = format!("{versions}{rest}");
            let one = edit(&text, &[project(&text).setting("B", "2").unwrap()]).unwrap();
            let place = text.rfind('1').unwrap();
            assert_eq!(one, format!("{}2{}", &text[..place], &text[place + 1..]));
        }
        let odd = format!("versions.A = \"1\"\n{rest}");
        let quotes = edit(&odd, &[project(&odd).setting("A", "it's \"2\"\\").unwrap()]).unwrap();
        assert_eq!(project(&quotes).manifest.versions["A"], "it's \"2\"\\");
    }

    #[test]
    fn what_is_not_there_is_not_written() {
        let setting =
            |table, name: &str| Setting { table, name: name.into(), from: String::new(), to: "2".into() };
        assert!(edit(TEXT, &[setting(SettingTable::Versions, "DB")]).is_err());
        assert!(edit(TEXT, &[setting(SettingTable::Bases, "NODE")]).is_err());
        assert!(edit("versions = [", &[setting(SettingTable::Bases, "NODE")]).is_err());
    }
}
