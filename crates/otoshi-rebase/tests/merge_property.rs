//! What holds of every merge of three configs.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_oci::RunConfig;
use otoshi_rebase::merge;
use proptest::prelude::*;

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", Just("/bin:/usr/bin".to_owned()), Just("/app:/bin:/usr/bin".to_owned())]
}

fn list() -> impl Strategy<Value = Option<Vec<String>>> {
    proptest::option::of(proptest::collection::vec(word(), 1..3))
}

prop_compose! {
    fn config()(
        user in "[ab]?", working_dir in "(/[ab])?", env in proptest::collection::btree_map("PATH|A|B|C", word(), 0..4),
        labels in proptest::collection::btree_map("[a-d]", "[xyz]", 0..4), ports in proptest::collection::btree_set("80|443|9000", 0..3),
        volumes in proptest::collection::btree_set("/[abc]", 0..3), entrypoint in list(), cmd in list(), shell in list(),
        stop_signal in proptest::option::of("SIG[AB]"),
    ) -> RunConfig {
        let env: BTreeMap<String, String> = env;
        RunConfig {
            user, working_dir, labels, volumes, entrypoint, cmd, shell, stop_signal,
            env: env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
            exposed_ports: ports.into_iter().collect::<BTreeSet<String>>(),
            ..RunConfig::default()
        }
    }
}

proptest! {
    #[test]
    fn an_unchanged_base_leaves_the_application_as_it_is(old in config(), app in config()) {
        let merged = merge(Some(&old), &app, &old);
        prop_assert_eq!(merged.config, app);
        prop_assert!(merged.conflicts.is_empty());
    }

    #[test]
    fn an_application_that_set_nothing_is_the_new_base(old in config(), new in config()) {
        let merged = merge(Some(&old), &old, &new);
        prop_assert_eq!(merged.config, new);
        prop_assert!(merged.conflicts.is_empty());
    }

    #[test]
    fn the_same_swap_again_changes_nothing(old in config(), app in config(), new in config()) {
        let once = merge(Some(&old), &app, &new).config;
        let twice = merge(Some(&new), &once, &new);
        prop_assert_eq!(twice.config, once);
    }

    #[test]
    fn each_key_is_one_of_the_three_values(old in config(), app in config(), new in config()) {
        let merged = merge(Some(&old), &app, &new).config;
        prop_assert_eq!(&merged.user, if app.user == old.user { &new.user } else { &app.user });
        for name in ["A", "B", "C"] {
            let (was, own, is) = (old.env_var(name), app.env_var(name), new.env_var(name));
            prop_assert_eq!(merged.env_var(name), if own == was { is } else { own });
        }
        for (name, value) in &merged.labels {
            prop_assert!(app.labels.get(name) == Some(value) || new.labels.get(name) == Some(value));
        }
        for port in &merged.exposed_ports {
            prop_assert!(app.exposed_ports.contains(port) || new.exposed_ports.contains(port));
        }
    }

    #[test]
    fn no_directory_that_the_application_added_to_the_path_is_lost(old in config(), app in config(), new in config()) {
        let parts = |config: &RunConfig| -> BTreeSet<String> {
            config.env_var("PATH").into_iter().flat_map(|path| path.split(':')).map(str::to_owned).collect()
        };
        let merged = parts(&merge(Some(&old), &app, &new).config);
        for own in parts(&app).difference(&parts(&old)) {
            prop_assert!(merged.contains(own), "{own} of {merged:?}");
        }
    }
}
