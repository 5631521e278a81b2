//! Fuzzing of everything that reads what strangers wrote.
//!
//! Every target of `fuzz/` runs on what is in `fuzz/corpus/TARGET` and on what earlier runs found in
//! `target/fuzz/corpus/TARGET`. An input that makes one fail is left in `target/fuzz/failures`.

use std::{fs, path::PathBuf, process::Command};

use clap::Args;

use crate::{
    deps,
    failure::{Failure, Result},
    process, root,
};

/// Instruments for libFuzzer. The stable compiler has no flag for it; this names LLVM's pass.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions";

/// Feed the readers of Dockerfiles, ignore files, layers, manifests, configs, otoshi.toml, references, tables of ends of life, packages and their
/// repositories with damaged input.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// Targets [default: all]
    targets: Vec<String>,
    /// For how long each runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

impl Fuzz {
    pub(crate) fn run(self) -> Result {
        deps::install(&[deps::FUZZ])?;
        let known = targets()?;
        if let Some(unknown) = self.targets.iter().find(|target| !known.contains(target)) {
            return Err(Failure::Wrong(format!("no target {unknown}; there are {}", known.join(", "))));
        }
        let chosen = if self.targets.is_empty() { known } else { self.targets };
        let binaries = build(&chosen)?;
        let made = root().join("target/fuzz");
        let failures = made.join("failures");
        make_directory(&failures)?;
        for target in &chosen {
            let found = made.join("corpus").join(target);
            make_directory(&found)?;
            println!("{target}: {} seconds", self.seconds);
            let mut fuzzer = Command::new(binaries.join(target));
            fuzzer.args([
                "-timeout=10",
                "-rss_limit_mb=2048",
                "-max_len=8192",
                "-verbosity=0",
                "-print_final_stats=1",
            ]);
            fuzzer.arg(format!("-max_total_time={}", self.seconds));
            fuzzer.arg(format!("-artifact_prefix={}/{target}-", failures.display()));
            fuzzer.arg(&found).arg(root().join("fuzz/corpus").join(target));
            let printed = process::read_both(&mut fuzzer)?;
            let inputs =
                printed.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
            println!("{target}: {} inputs", inputs.unwrap_or("no").trim());
        }
        Ok(())
    }
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let directory = root().join("fuzz/targets");
    let entries = fs::read_dir(&directory).map_err(Failure::file("listing", &directory))?;
    let mut names: Vec<_> =
        entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Builds targets and says where they are. Build scripts and macros run uninstrumented, which naming the platform does.
fn build(targets: &[String]) -> Result<PathBuf> {
    let version = process::read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
    let made = root().join("target/fuzz");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--target", &host, "--target-dir"]).arg(&made);
    cargo.args(targets.iter().flat_map(|target| ["--bin", target]));
    process::run(cargo.env("RUSTFLAGS", FLAGS).current_dir(root().join("fuzz")))?;
    Ok(made.join(host).join("debug"))
}

fn make_directory(path: &std::path::Path) -> Result {
    fs::create_dir_all(path).map_err(Failure::file("making", path))
}
