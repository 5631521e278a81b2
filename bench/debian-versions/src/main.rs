//! Compares orders of Debian's versions with dpkg's own, over pairs that are close to each other.
//!
//! `cargo run --release` in this directory prints how many pairs each order gets wrong, and some of them.

use std::cmp::Ordering;
use std::io::Write;
use std::process::{Command, Stdio};

const PAIRS: usize = 2500;
const PIECES: [&str; 16] =
    ["0", "1", "7", "09", "10", "a", "Z", "rc", "~", "~~", "+", ".", "-", "+b1", "deb12u1", "20240101"];

/// Makes the same numbers in every run: xorshift64*.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn version(&mut self) -> String {
        let mut text = ["", "", "", "0:", "1:", "2:"][self.below(6)].to_owned();
        text += ["0", "1", "2", "10", "012"][self.below(5)];
        for _ in 0..self.below(6) {
            text += PIECES[self.below(PIECES.len())];
        }
        if text.ends_with('-') { text + "1" } else { text }
    }
}

fn main() {
    let mut numbers = Numbers(7);
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS {
        let left = numbers.version();
        let right = match numbers.below(2) {
            0 => numbers.version(),
            _ => format!("{left}{}", PIECES[numbers.below(PIECES.len())]),
        };
        if !right.ends_with('-') {
            pairs.push((left, right));
        }
    }
    let answers = dpkg(&pairs);
    let theirs = |left: &str, right: &str| {
        let parse = |text: &str| text.parse::<debversion::Version>().ok();
        Some(parse(left)?.cmp(&parse(right)?))
    };
    report("debversion", &pairs, &answers, theirs);
    report("otoshi-packages", &pairs, &answers, |left, right| {
        Some(otoshi_packages::version::dpkg::compare(left, right))
    });
}

fn report(
    name: &str,
    pairs: &[(String, String)],
    answers: &[Ordering],
    compare: impl Fn(&str, &str) -> Option<Ordering>,
) {
    let wrong: Vec<_> = pairs
        .iter()
        .zip(answers)
        .filter(|((left, right), answer)| compare(left, right) != Some(**answer))
        .collect();
    println!("{name}: {} of {} pairs are not in dpkg's order", wrong.len(), pairs.len());
    for ((left, right), answer) in wrong.iter().take(5) {
        println!("  {left} {right}: dpkg says {answer:?}");
    }
}

/// Asks dpkg, by way of one shell.
fn dpkg(pairs: &[(String, String)]) -> Vec<Ordering> {
    let mut script = String::new();
    for (left, right) in pairs {
        script += &format!(
            "if dpkg --compare-versions '{left}' lt '{right}'; then echo lt\n\
             elif dpkg --compare-versions '{left}' eq '{right}'; then echo eq\nelse echo gt; fi\n"
        );
    }
    let mut shell = Command::new("sh");
    let mut shell =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a shell");
    let mut input = shell.stdin.take().expect("its input");
    let feed = std::thread::spawn(move || input.write_all(script.as_bytes()).expect("feeding the shell"));
    let output = shell.wait_with_output().expect("its answers");
    feed.join().expect("feeding the shell");
    let text = String::from_utf8(output.stdout).expect("text");
    let order = |line: &str| match line {
        "lt" => Ordering::Less,
        "eq" => Ordering::Equal,
        _ => Ordering::Greater,
    };
    text.lines().map(order).collect()
}
