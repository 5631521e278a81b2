//! Phased updates: versions that are given out step by step, and whether a machine's turn has come.
//!
//! A machine rolls a die of 101 sides for each source version; what it rolls depends on the source, the version and its
//! machine id alone, so that all packages of one source come together. apt leaves the roll to the C++ standard library:
//! `seed_seq` over the text, `minstd_rand`, `uniform_int_distribution(0, 100)` as libstdc++ has it.
//!
//! Source of the rules: apt_preferences(5), "Phased Updates", and `apt-get -s upgrade`, which the tests ask.

use super::configuration::Configuration;
use crate::files::Files;

/// What a root does with phased updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phasing {
    /// It takes them all, as one without a machine id does.
    Always,
    /// It waits until they are given to all.
    Never,
    /// It waits for its turn, by its id.
    Machine(String),
}

impl Phasing {
    /// Reads it from a root's settings and `/etc/machine-id`.
    pub(crate) fn from_files(files: &Files, configuration: &Configuration) -> Self {
        // The names of before are still heard.
        let flag = |name: &str| {
            let of = |tool: &str| configuration.flag(&format!("{tool}::{name}-Include-Phased-Updates"));
            of("APT::Get").or_else(|| of("Update-Manager")).unwrap_or(false)
        };
        if flag("Always") {
            return Self::Always;
        }
        if flag("Never") {
            return Self::Never;
        }
        let told = configuration.get("APT::Machine-ID").filter(|id| !id.is_empty()).map(str::to_owned);
        let file = || files.text("etc/machine-id")?.lines().next().map(|line| line.trim().to_owned());
        match told.or_else(file).filter(|id| !id.is_empty()) {
            Some(id) => Self::Machine(id),
            None => Self::Always,
        }
    }

    /// Whether it takes a version of a source that so many machines in a hundred take.
    pub(crate) fn takes(&self, source: &str, version: &str, share: u8) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Machine(id) => roll(&format!("{source}-{version}-{id}")) <= u32::from(share),
        }
    }
}

/// A number from 0 to 100 that a text always gives.
fn roll(text: &str) -> u32 {
    const MODULUS: u64 = 0x7fff_ffff;
    const MULTIPLIER: u64 = 48_271;
    // The engine takes the last of four words of the seed.
    let mut state = u64::from(seed(text.as_bytes())[3]) % MODULUS;
    if state == 0 {
        state = 1;
    }
    // It gives 1 to MODULUS - 1; what is left over by equal parts is rolled again.
    let part = (MODULUS - 2) / 101;
    loop {
        state = state * MULTIPLIER % MODULUS;
        let number = state - 1;
        if number < part * 101 {
            return u32::try_from(number / part).unwrap_or(100);
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

    fn phasing(configuration: &str, machine: Option<&str>) -> Phasing {
        let mut files = Files::new();
        files.insert("etc/apt/apt.conf", configuration.as_bytes().to_vec());
        if let Some(machine) = machine {
            files.insert("etc/machine-id", machine.as_bytes().to_vec());
        }
        Phasing::from_files(&files, &Configuration::from_files(&files).0)
    }

    #[test]
    fn settings_come_before_the_machine() {
        assert_eq!(phasing("", Some("abc\n")), Phasing::Machine("abc".into()));
        assert_eq!(phasing("APT::Machine-ID \"x\";", Some("abc\n")), Phasing::Machine("x".into()));
        assert_eq!(phasing("", None), Phasing::Always, "nobody can say whose turn it is");
        assert_eq!(phasing("", Some("\n")), Phasing::Always);
        assert_eq!(
            phasing("APT::Get::Always-Include-Phased-Updates \"true\";", Some("abc")),
            Phasing::Always
        );
        assert_eq!(phasing("Update-Manager::Never-Include-Phased-Updates \"1\";", None), Phasing::Never);
        let both =
            "Update-Manager::Always-Include-Phased-Updates 1;\nAPT::Get::Always-Include-Phased-Updates 0;";
        assert_eq!(phasing(both, Some("abc")), Phasing::Machine("abc".into()));
    }

    #[test]
    fn every_number_is_rolled_about_as_often() {
        let mut counts = [0_u32; 101];
        for number in 0..50_500 {
            counts[roll(&number.to_string()) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (350..650).contains(count)), "{counts:?}");
        roll("");
    }
}
