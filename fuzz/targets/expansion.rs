//! Expansion: the first line is the variables' value, the rest is expanded in every way that a Dockerfile knows.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use otoshi_dockerfile::{Dockerfile, GlobalScope, Scope, Word, glob};

fuzz_target!(|text: &str| {
    let (value, text) = text.split_once('\n').unwrap_or(("", text));
    for escape in ['\\', '`'] {
        let head = format!("# escape={escape}\nFROM scratch\n");
        let dockerfile = Dockerfile::parse("Dockerfile", &head).expect("these two lines are a Dockerfile");
        let args = BTreeMap::new();
        let globals = GlobalScope::evaluate(&dockerfile, &args, "linux/amd64", "linux/amd64")
            .expect("there is no ARG to evaluate");
        let env = ["A", "b", "VALUE"].map(|name| (name.to_owned(), value.to_owned())).to_vec();
        let scope = Scope::for_base(&globals, &args, env);
        let _ = globals.expand(&Word(text.to_owned()));
        let _ = scope.expand(&Word(text.to_owned()));
        let _ = scope.expand_many(&Word(text.to_owned()));
        let _ = scope.expand_text(text);
    }
    let _ = glob::matches(text, value);
});
