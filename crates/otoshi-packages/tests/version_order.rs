//! The order of versions is that of the native tools, over many thousands of pairs.

use std::cmp::Ordering;
use std::io::Write;
use std::process::{Command, Stdio};

use otoshi_packages::version;
use otoshi_test::{Need, given, require};

/// Makes the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Pairs that are close to each other, so that what tells them apart is not always the first number.
fn pairs(
    count: usize,
    mut version: impl FnMut(&mut Numbers) -> String,
    pieces: &[&str],
) -> Vec<(String, String)> {
    let mut numbers = Numbers(0x0705_4173_6869);
    let mut pairs = Vec::new();
    while pairs.len() < count {
        let left = version(&mut numbers);
        let right = match numbers.below(4) {
            0 => version(&mut numbers),
            // A piece put in, taken out or put at the end.
            1 => {
                let at = numbers.below(left.len() + 1);
                format!("{}{}{}", &left[..at], numbers.one(pieces), &left[at..])
            }
            2 => {
                let at = numbers.below(left.len());
                format!("{}{}", &left[..at], &left[at + 1..])
            }
            _ => format!("{left}{}", numbers.one(pieces)),
        };
        pairs.push((left, right));
    }
    pairs
}

/// The answers of a tool that is fed a program.
fn ask(command: &mut Command, program: &str) -> Vec<Option<Ordering>> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let program = program.to_owned();
    let feed = std::thread::spawn(move || stdin.write_all(program.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| match line {
            "-1" => Some(Ordering::Less),
            "0" => Some(Ordering::Equal),
            "1" => Some(Ordering::Greater),
            "refused" => None,
            other => panic!("{:?}", other.chars().take(80).collect::<String>()),
        })
        .collect()
}

fn compare(pairs: &[(String, String)], answers: &[Option<Ordering>], compare: fn(&str, &str) -> Ordering) {
    assert_eq!(answers.len(), pairs.len());
    let answered = pairs.iter().zip(answers).filter_map(|(pair, answer)| Some((pair, (*answer)?)));
    for ((left, right), answer) in answered {
        assert_eq!(compare(left, right), answer, "{left} {right}");
        assert_eq!(compare(right, left), answer.reverse(), "{right} {left}");
    }
    // Versions that are equal, less and greater were all among them.
    for order in [Ordering::Less, Ordering::Equal, Ordering::Greater] {
        let count = answers.iter().filter(|answer| **answer == Some(order)).count();
        assert!(count * 100 > answers.len(), "{count} of {} are {order:?}", answers.len());
    }
}

#[test]
fn dpkg_agrees() {
    let pieces =
        ["0", "1", "7", "09", "10", "a", "Z", "rc", "~", "~~", "+", ".", "-", "+b1", "deb12u1", "20240101"];
    let version = |numbers: &mut Numbers| {
        let mut text = String::new();
        if numbers.below(5) == 0 {
            text += numbers.one(&["0:", "1:", "2:", "10:"]);
        }
        text += numbers.one(&["0", "1", "2", "10", "012"]);
        for _ in 0..numbers.below(6) {
            text += numbers.one(&pieces);
        }
        if text.ends_with('-') { text + "1" } else { text }
    };
    // dpkg refuses some of what can be made so: an empty revision, a second colon.
    let fits = |text: &String| {
        let rest = text.split_once(':').map_or(&text[..], |(_, rest)| rest);
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        let epoch = text.len() == rest.len()
            || text
                .split_once(':')
                .is_some_and(|(epoch, _)| !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit()));
        epoch
            && upstream.starts_with(|c: char| c.is_ascii_digit())
            && !revision.is_empty()
            && !rest.contains(':')
    };
    let pairs: Vec<_> =
        pairs(4000, version, &pieces).into_iter().filter(|(left, right)| fits(left) && fits(right)).collect();
    assert!(pairs.len() > 2500, "{}", pairs.len());
    // A shell that answers for itself would be quicker, but dpkg's own answer is the one that counts.
    let mut script = String::new();
    for (left, right) in &pairs {
        script += &format!(
            "if dpkg --compare-versions '{left}' lt '{right}'; then echo -1\n\
             elif dpkg --compare-versions '{left}' eq '{right}'; then echo 0\nelse echo 1; fi\n"
        );
    }
    let answers = ask(&mut Command::new("sh"), &script);
    compare(&pairs, &answers, version::dpkg::compare);
}

#[test]
fn rpm_agrees() {
    given!(require(&[Need::Tool("rpm")]));
    let pieces = [
        "0", "1", "7", "09", "10", "a", "Z", "rc", "~", "^", "~~", "^~", "+", ".", "_", "-", "el9",
        "20240101",
    ];
    let version = |numbers: &mut Numbers| {
        let mut text = String::new();
        if numbers.below(5) == 0 {
            text += numbers.one(&["0:", "1:", "2:", "10:"]);
        }
        text += numbers.one(&["0", "1", "2", "10", "012", "a", "^", "~"]);
        for _ in 0..numbers.below(6) {
            text += numbers.one(&pieces);
        }
        text
    };
    let pairs = pairs(20_000, version, &pieces);
    let mut lua = "function answer(a, b) local ok, order = pcall(rpm.vercmp, a, b); \
                   if ok then return order else return 'refused' end end\n"
        .to_owned();
    for (left, right) in &pairs {
        lua += &format!("print(answer('{left}','{right}') .. '\\n')\n");
    }
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("compare.lua");
    std::fs::write(&script, lua).unwrap();
    let expression = format!("%{{lua: dofile('{}')}}", script.display());
    let answers = ask(Command::new("rpm").args(["--eval", &expression]), "");
    compare(&pairs, &answers, version::rpm::compare);
}

#[test]
fn every_order_is_an_order() {
    let pieces = ["0", "1", "01", "10", "a", "~", "^", "+", ".", "-r1", "_rc", "_p", "-", "_alpha2", "é"];
    let version =
        |numbers: &mut Numbers| (0..=numbers.below(6)).map(|_| numbers.one(&pieces)).collect::<String>();
    let mut numbers = Numbers(1);
    let versions: Vec<String> = (0..120).map(|_| version(&mut numbers)).collect();
    for compare in [version::dpkg::compare, version::rpm::compare] {
        let mut sorted = versions.clone();
        sorted.sort_by(|left, right| compare(left, right));
        for (place, left) in sorted.iter().enumerate() {
            for right in &sorted[place..] {
                assert_ne!(compare(left, right), Ordering::Greater, "{left} {right}");
            }
        }
    }
    for left in &versions {
        for right in &versions {
            let order = version::apk::compare(left, right);
            assert_eq!(order, version::apk::compare(right, left).reverse(), "{left} {right}");
        }
    }
}
