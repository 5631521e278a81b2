//! Starts sandboxes for this crate's tests.

fn main() {
    otoshi_sandbox::init_if_requested();
    eprintln!("this program is started by Otoshi's tests");
    std::process::exit(2);
}
