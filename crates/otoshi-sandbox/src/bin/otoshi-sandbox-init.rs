//! Runs one sandbox from the command line: for tests, benchmarks, and looking into trouble.
//!
//! ```text
//! otoshi-sandbox-init run SPEC.json [COUNT]   runs a Spec COUNT times; ends as its last command did
//! otoshi-sandbox-init check-executable        says whether this program's own file could be written
//! otoshi-sandbox-init effective-user          says as whom it runs
//! ```

use std::process::ExitCode;

use otoshi_explain::Explain;
use otoshi_sandbox::{Sandbox, SandboxError, Spec, StdioSpec, Stream, enter_namespace, init_if_requested};

fn main() -> ExitCode {
    init_if_requested();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["run", file] => run(file, 1),
        ["run", file, count] => count.parse().map_err(Into::into).and_then(|count| run(file, count)),
        ["check-executable"] => check_executable(),
        ["effective-user"] => {
            println!("{}", rustix::process::geteuid().as_raw());
            Ok(ExitCode::SUCCESS)
        }
        _ => Err("usage: otoshi-sandbox-init run SPEC.json [COUNT]".into()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("otoshi-sandbox-init: {error}");
        if let Some(hint) = error.downcast_ref::<SandboxError>().and_then(Explain::hint) {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(125)
    })
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn run(file: &str, count: usize) -> Result<ExitCode> {
    enter_namespace()?;
    let spec: Spec = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let mut code = 0;
    for _ in 0..count {
        let stdio = StdioSpec { stdin: Stream::Inherit, stdout: Stream::Inherit, stderr: Stream::Inherit };
        let status = Sandbox::spawn(&spec, stdio, None)?.wait()?;
        code = status.code.or(status.signal.map(|signal| 128 + signal)).unwrap_or(125);
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(125)))
}

fn check_executable() -> Result<ExitCode> {
    let flags = rustix::fs::statvfs("/proc/self/exe")?.f_flag;
    let protected = flags.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    println!("{}", if protected { "protected" } else { "writable" });
    Ok(ExitCode::SUCCESS)
}
