//! What happens when nobody reads on, as in `otoshi images | head`: the program ends, quietly.
//!
//! The signal stays ignored, since a registry that hangs up must not end the program; so printing to a pipe that nobody reads
//! fails, and `println!` panics.

use std::panic;

/// As a shell has it of a program that ended by SIGPIPE.
const CODE: i32 = 141;

/// Lets a panic over such a pipe end the program without a word.
pub(crate) fn end_quietly() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<String>().map_or("", String::as_str);
        if text.starts_with("failed printing to std") && text.contains("Broken pipe") {
            std::process::exit(CODE);
        }
        usual(info);
    }));
}
