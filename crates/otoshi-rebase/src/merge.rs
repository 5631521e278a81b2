//! The config of an image on its new base, merged key by key from three: old base, application, new base.
//!
//! What the application set stays. What it has from its old base follows the new one. Where both set something else, the
//! application's value stays and the conflict is told.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_oci::RunConfig;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Environment variables whose value is a list of directories.
const LISTS: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// Holds a merged config, and what both sides changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The config.
    pub config: RunConfig,
    /// What both the application and the new base changed, sorted by key.
    pub conflicts: Vec<Conflict>,
}

/// Describes a key that the application and the new base both set to something else than the old base had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Conflict {
    /// The key, as `Env.PATH`.
    pub key: String,
    /// The old base's value; none where it had none.
    pub old: Option<String>,
    /// The application's value.
    pub app: Option<String>,
    /// The new base's value.
    pub new: Option<String>,
    /// The value that the image has now.
    pub merged: Option<String>,
}

/// Merges three configs. Without an old base nothing is known to be inherited: the application's values stay.
pub fn merge(old: Option<&RunConfig>, app: &RunConfig, new: &RunConfig) -> Merged {
    let Some(old) = old.filter(|old| *old != new) else {
        return Merged { config: app.clone(), conflicts: Vec::new() };
    };
    if app == old {
        return Merged { config: new.clone(), conflicts: Vec::new() };
    }
    let mut three = Three { conflicts: Vec::new() };
    let entrypoint = three.of("Entrypoint", &old.entrypoint, &app.entrypoint, &new.entrypoint);
    // An entry point of the application's own takes the base's CMD away, as in a Dockerfile.
    let cmd = if app.entrypoint == old.entrypoint {
        three.of("Cmd", &old.cmd, &app.cmd, &new.cmd)
    } else {
        app.cmd.clone()
    };
    let config = RunConfig {
        user: three.of("User", &old.user, &app.user, &new.user),
        exposed_ports: set(&old.exposed_ports, &app.exposed_ports, &new.exposed_ports),
        env: three.env(&old.env, &app.env, &new.env),
        entrypoint,
        cmd,
        volumes: set(&old.volumes, &app.volumes, &new.volumes),
        working_dir: three.of("WorkingDir", &old.working_dir, &app.working_dir, &new.working_dir),
        labels: three.map("Labels", &old.labels, &app.labels, &new.labels),
        stop_signal: three.of("StopSignal", &old.stop_signal, &app.stop_signal, &new.stop_signal),
        healthcheck: three.of("Healthcheck", &old.healthcheck, &app.healthcheck, &new.healthcheck),
        shell: three.of("Shell", &old.shell, &app.shell, &new.shell),
        on_build: three.of("OnBuild", &old.on_build, &app.on_build, &new.on_build),
        args_escaped: three.of("ArgsEscaped", &old.args_escaped, &app.args_escaped, &new.args_escaped),
        extra: three.map("config", &old.extra, &app.extra, &new.extra),
    };
    three.conflicts.sort_by(|a, b| a.key.cmp(&b.key));
    Merged { config, conflicts: three.conflicts }
}

/// Merges fields that are not known here, as a config has them beside `config`.
pub(crate) fn merge_extra(
    old: Option<&BTreeMap<String, Value>>,
    app: &BTreeMap<String, Value>,
    new: &BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    Three { conflicts: Vec::new() }.map("", old.unwrap_or(new), app, new)
}

struct Three {
    conflicts: Vec<Conflict>,
}

impl Three {
    fn of<T: PartialEq + Clone + Serialize>(&mut self, key: &str, old: &T, app: &T, new: &T) -> T {
        if app == old || app == new {
            return new.clone();
        }
        if new != old {
            let (old, app, new) = (shown(old), shown(app), shown(new));
            self.conflicts.push(Conflict { key: key.to_owned(), old, merged: app.clone(), app, new });
        }
        app.clone()
    }

    fn map<T: PartialEq + Clone + Serialize>(
        &mut self,
        key: &str,
        old: &BTreeMap<String, T>,
        app: &BTreeMap<String, T>,
        new: &BTreeMap<String, T>,
    ) -> BTreeMap<String, T> {
        let names: BTreeSet<&String> = app.keys().chain(new.keys()).chain(old.keys()).collect();
        let merged = names.into_iter().filter_map(|name| {
            let key = format!("{key}.{name}");
            let value = self.of(&key, &old.get(name), &app.get(name), &new.get(name));
            Some((name.clone(), value?.clone()))
        });
        merged.collect()
    }

    /// The base's variables come first, in its order, then the application's.
    fn env(&mut self, old: &[String], app: &[String], new: &[String]) -> Vec<String> {
        let (old, app_map, new_map) = (by_name(old), by_name(app), by_name(new));
        let mut merged = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in new.iter().chain(app) {
            let name = name_of(entry);
            if !seen.insert(name) {
                continue;
            }
            let (was, own, now) = (old.get(name), app_map.get(name), new_map.get(name));
            let value = match (was, own, now) {
                (Some(was), Some(own), Some(now)) if LISTS.contains(&name) => {
                    Some(self.list(name, was, own, now))
                }
                _ => self
                    .of(&format!("Env.{name}"), &was.copied(), &own.copied(), &now.copied())
                    .map(str::to_owned),
            };
            merged.extend(value);
        }
        merged
    }

    /// Merges lists of directories: what the application put before and after the base's list stays there.
    fn list(&mut self, name: &str, old: &str, app: &str, new: &str) -> String {
        if app == old || app == new {
            return new.to_owned();
        }
        if new == old {
            return app.to_owned();
        }
        let value = |entry: &str| entry.split_once('=').map_or("", |(_, value)| value).to_owned();
        let (was, own, now) = (value(old), value(app), value(new));
        let parts = |text: &str| text.split(':').map(str::to_owned).collect::<Vec<_>>();
        let (was, own, now) = (parts(&was), parts(&own), parts(&now));
        let place = (0..=own.len().saturating_sub(was.len())).find(|at| own[*at..].starts_with(&was));
        let mut merged: Vec<String> = Vec::new();
        let mut add = |part: &String| {
            if !merged.contains(part) {
                merged.push(part.clone());
            }
        };
        if let Some(at) = place {
            own[..at].iter().chain(&now).chain(&own[at + was.len()..]).for_each(&mut add);
        } else {
            own.iter().filter(|part| !was.contains(part) || now.contains(part)).for_each(&mut add);
            now.iter().filter(|part| !was.contains(part)).for_each(&mut add);
        }
        let merged = merged.join(":");
        if place.is_none() {
            let key = format!("Env.{name}");
            let join = |parts: &[String]| Some(parts.join(":"));
            let (old, app, new) = (join(&was), join(&own), join(&now));
            self.conflicts.push(Conflict { key, old, app, new, merged: Some(merged.clone()) });
        }
        format!("{name}={merged}")
    }
}

/// A value for people.
fn shown<T: Serialize>(value: &T) -> Option<String> {
    match serde_json::to_value(value) {
        Ok(Value::Null) | Err(_) => None,
        Ok(Value::String(text)) => Some(text),
        Ok(other) => Some(other.to_string()),
    }
}

/// An entry of a set follows the base where the application has it from there.
fn set(old: &BTreeSet<String>, app: &BTreeSet<String>, new: &BTreeSet<String>) -> BTreeSet<String> {
    let follows = |entry: &&String| match (old.contains(*entry), app.contains(*entry)) {
        (false, true) => true,
        (true, false) => false,
        _ => new.contains(*entry),
    };
    app.union(new).filter(follows).cloned().collect()
}

fn name_of(entry: &str) -> &str {
    entry.split('=').next().unwrap_or(entry)
}

/// Of several entries of one name the last counts.
fn by_name(env: &[String]) -> BTreeMap<&str, &str> {
    env.iter().map(|entry| (name_of(entry), entry.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(entries: &[&str]) -> RunConfig {
        RunConfig { env: entries.iter().map(ToString::to_string).collect(), ..RunConfig::default() }
    }

    fn keys(merged: &Merged) -> Vec<&str> {
        merged.conflicts.iter().map(|conflict| conflict.key.as_str()).collect()
    }

    #[test]
    fn what_the_application_put_around_the_path_stays_around_it() {
        let old = env(&["PATH=/usr/bin:/bin", "A=1"]);
        let app = env(&["PATH=/app/bin:/usr/bin:/bin:/opt/bin", "A=1"]);
        let new = env(&["PATH=/usr/local/bin:/usr/bin", "A=2"]);
        let merged = merge(Some(&old), &app, &new);
        assert_eq!(merged.config.env, ["PATH=/app/bin:/usr/local/bin:/usr/bin:/opt/bin", "A=2"]);
        assert_eq!(merged.conflicts, []);
    }

    #[test]
    fn a_path_of_the_applications_own_takes_over_what_the_base_added_and_says_so() {
        let merged = merge(Some(&env(&["PATH=/a:/b"])), &env(&["PATH=/b:/x:/a"]), &env(&["PATH=/a:/c"]));
        assert_eq!(merged.config.env, ["PATH=/x:/a:/c"]);
        assert_eq!(keys(&merged), ["Env.PATH"]);
    }

    #[test]
    fn each_key_follows_the_base_or_stays() {
        let json = |text: &str| serde_json::from_str::<RunConfig>(text).unwrap();
        let old = json(
            r#"{"User":"root","WorkingDir":"/","Labels":{"v":"1","gone":"x"},"Cmd":["sh"],"ExposedPorts":{"80/tcp":{}},
                "Volumes":{"/old":{}},"StopSignal":"SIGTERM","Shell":["/bin/sh","-c"],"Healthcheck":{"Test":["CMD","a"]},"Future":1}"#,
        );
        let app = json(
            r#"{"User":"app","WorkingDir":"/","Labels":{"v":"1","gone":"x","own":"y"},"Cmd":["web"],"ExposedPorts":{"80/tcp":{},"8080/tcp":{}},
                "Volumes":{"/old":{},"/data":{}},"StopSignal":"SIGQUIT","Shell":["/bin/sh","-c"],"Healthcheck":{"Test":["CMD","b"]},"Future":1}"#,
        );
        let new = json(
            r#"{"User":"nobody","WorkingDir":"/srv","Labels":{"v":"2"},"Cmd":["bash"],"ExposedPorts":{"443/tcp":{}},
                "Volumes":{"/new":{}},"StopSignal":"SIGTERM","Shell":["/bin/bash","-c"],"Healthcheck":{"Test":["CMD","c"]},"Future":2}"#,
        );
        let merged = merge(Some(&old), &app, &new);
        let expected = json(
            r#"{"User":"app","WorkingDir":"/srv","Labels":{"v":"2","own":"y"},"Cmd":["web"],"ExposedPorts":{"443/tcp":{},"8080/tcp":{}},
                "Volumes":{"/new":{},"/data":{}},"StopSignal":"SIGQUIT","Shell":["/bin/bash","-c"],"Healthcheck":{"Test":["CMD","b"]},"Future":2}"#,
        );
        assert_eq!(merged.config, expected);
        assert_eq!(keys(&merged), ["Cmd", "Healthcheck", "User"]);
    }

    #[test]
    fn an_entry_point_of_the_applications_own_takes_no_command_from_the_base() {
        let json = |text: &str| serde_json::from_str::<RunConfig>(text).unwrap();
        let (old, new) = (json("{}"), json(r#"{"Cmd":["serve"],"Entrypoint":["/init"]}"#));
        let merged = merge(Some(&old), &json(r#"{"Entrypoint":["/app"]}"#), &new);
        assert_eq!(merged.config.cmd, None);
        assert_eq!(merged.config.entrypoint.unwrap(), ["/app"]);
        let merged = merge(Some(&old), &json(r#"{"Cmd":["x"]}"#), &new);
        assert_eq!(
            (merged.config.entrypoint.unwrap(), merged.config.cmd.unwrap()),
            (vec!["/init".to_owned()], vec!["x".to_owned()])
        );
    }

    #[test]
    fn without_the_old_base_the_applications_values_stay() {
        let (app, new) = (env(&["A=1", "PATH=/a"]), env(&["A=2", "B=3"]));
        assert_eq!(merge(None, &app, &new).config, app);
    }
}
