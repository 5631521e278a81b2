//! Phased updates: versions that are given out step by step, and whether a machine's turn has come.
//!
//! A machine rolls a die for each source version; what it rolls depends on the source, the version and its machine id alone, so
//! that all packages of one source come together. apt leaves the roll to the C++ standard library: `seed_seq` over the text,
//! `minstd_rand`, and a `uniform_int_distribution` as libstdc++ has it. The die of apt 3.3 has 100 sides, from 1; that of
//! those before has a zero besides.
//!
//! Source of the rules: apt_preferences(5), "Phased Updates", and `apt-get -s upgrade`, which the tests ask.

use super::configuration::Configuration;
use super::edition::Edition;
use crate::files::Files;

/// What a root does with phased updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phasing {
    turn: Turn,
    /// Whether an update that itself is a security fix is taken at once, and not only one with a fix on the way to it.
    pub(super) counts_own_fix: bool,
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Turn {
    /// It takes them all, as one without a machine id does.
    Always,
    /// It waits until they are given to all.
    Never,
    /// It waits for its turn.
    Machine {
        /// Its id.
        id: String,
        /// Whether its die has a zero.
        from_zero: bool,
    },
}

impl Phasing {
    /// Reads it from a root's settings and `/etc/machine-id`.
    pub(crate) fn from_files(files: &Files, configuration: &Configuration, edition: &Edition) -> Self {
        // The names of before are still heard.
        let flag = |name: &str| {
            let of = |tool: &str| configuration.flag(&format!("{tool}::{name}-Include-Phased-Updates"));
            of("APT::Get").or_else(|| of("Update-Manager")).unwrap_or(false)
        };
        let told = || configuration.get("APT::Machine-ID").filter(|id| !id.is_empty()).map(str::to_owned);
        let file = || files.text("etc/machine-id")?.lines().next().map(|line| line.trim().to_owned());
        let turn = if flag("Always") {
            Turn::Always
        } else if flag("Never") {
            Turn::Never
        } else {
            match told().or_else(file).filter(|id| !id.is_empty()) {
                Some(id) => Turn::Machine { id, from_zero: edition.is_before("3.3.0") },
                None => Turn::Always,
            }
        };
        Self { turn, counts_own_fix: !edition.is_before("2.7.11") }
    }

    /// Whether it takes a version of a source that so many machines in a hundred take.
    pub(crate) fn takes(&self, source: &str, version: &str, share: u8) -> bool {
        match &self.turn {
            Turn::Always => true,
            Turn::Never => false,
            Turn::Machine { id, from_zero } => {
                roll(&format!("{source}-{version}-{id}"), *from_zero) <= u32::from(share)
            }
        }
    }
}

/// A number up to 100 that a text always gives.
fn roll(text: &str, from_zero: bool) -> u32 {
    const MODULUS: u64 = 0x7fff_ffff;
    const MULTIPLIER: u64 = 48_271;
    // The engine takes the last of four words of the seed.
    let mut state = u64::from(seed(text.as_bytes())[3]) % MODULUS;
    if state == 0 {
        state = 1;
    }
    // It gives 1 to MODULUS - 1; what is left over by equal parts is rolled again.
    let (least, sides) = if from_zero { (0, 101) } else { (1, 100) };
    let part = (MODULUS - 2) / sides;
    loop {
        state = state * MULTIPLIER % MODULUS;
        let number = state - 1;
        if number < part * sides {
            return u32::try_from(least + number / part).unwrap_or(100);
        }
    }
}

/// The four words that `seed_seq` generates of bytes; [rand.util.seedseq] of the C++ standard.
fn seed(bytes: &[u8]) -> [u32; 4] {
    const WORDS: usize = 4;
    const SHIFT: usize = 1;
    let mix = |word: u32| word ^ (word >> 27);
    let mut words = [0x8b8b_8b8b_u32; WORDS];
    let rounds = (bytes.len() + 1).max(WORDS);
    let at = |index: usize| index % WORDS;
    for round in 0..rounds {
        let (own, next, other) = (at(round), at(round + SHIFT), at(round + 2 * SHIFT));
        let mixed = mix(words[own] ^ words[next] ^ words[at(round + WORDS - 1)]).wrapping_mul(1_664_525);
        let more = match round {
            0 => bytes.len() as u32,
            // Bytes are signed there.
            _ if round <= bytes.len() => (own as u32).wrapping_add(i32::from(bytes[round - 1] as i8) as u32),
            _ => own as u32,
        };
        let sum = mixed.wrapping_add(more);
        words[next] = words[next].wrapping_add(mixed);
        words[other] = words[other].wrapping_add(sum);
        words[own] = sum;
    }
    for round in rounds..rounds + WORDS {
        let (own, next, other) = (at(round), at(round + SHIFT), at(round + 2 * SHIFT));
        let sum = words[own].wrapping_add(words[next]).wrapping_add(words[at(round + WORDS - 1)]);
        let mixed = mix(sum).wrapping_mul(1_566_083_941);
        let less = mixed.wrapping_sub(own as u32);
        words[next] ^= mixed;
        words[other] ^= less;
        words[own] = less;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phasing(configuration: &str, machine: Option<&str>) -> Turn {
        let mut files = Files::new();
        files.insert("etc/apt/apt.conf", configuration.as_bytes().to_vec());
        if let Some(machine) = machine {
            files.insert("etc/machine-id", machine.as_bytes().to_vec());
        }
        Phasing::from_files(&files, &Configuration::from_files(&files).0, &Edition::default()).turn
    }

    #[test]
    fn settings_come_before_the_machine() {
        let machine = |id: &str| Turn::Machine { id: id.to_owned(), from_zero: false };
        assert_eq!(phasing("", Some("abc\n")), machine("abc"));
        assert_eq!(phasing("APT::Machine-ID \"x\";", Some("abc\n")), machine("x"));
        assert_eq!(phasing("", None), Turn::Always, "nobody can say whose turn it is");
        assert_eq!(phasing("", Some("\n")), Turn::Always);
        assert_eq!(phasing("APT::Get::Always-Include-Phased-Updates \"true\";", Some("abc")), Turn::Always);
        assert_eq!(phasing("Update-Manager::Never-Include-Phased-Updates \"1\";", None), Turn::Never);
        let both =
            "Update-Manager::Always-Include-Phased-Updates 1;\nAPT::Get::Always-Include-Phased-Updates 0;";
        assert_eq!(phasing(both, Some("abc")), machine("abc"));
    }

    #[test]
    fn every_number_is_rolled_about_as_often() {
        for (from_zero, least) in [(true, 0), (false, 1)] {
            let mut counts = [0_u32; 101];
            for number in 0..50_500 {
                counts[roll(&number.to_string(), from_zero) as usize] += 1;
            }
            assert_eq!(counts[..least].iter().sum::<u32>(), 0);
            assert!(counts[least..].iter().all(|count| (350..650).contains(count)), "{counts:?}");
            roll("", from_zero);
        }
    }
}
