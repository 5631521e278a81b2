//! The sandbox's init on its own, for tests of the crates above.

fn main() {
    otoshi_sandbox::init_if_requested();
    eprintln!("this program is started by Otoshi's tests");
    std::process::exit(2);
}
