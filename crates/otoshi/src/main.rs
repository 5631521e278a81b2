//! The otoshi command line.
fn main() {}
