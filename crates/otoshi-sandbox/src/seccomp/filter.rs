//! Turns ranges of numbers into the kernel's filter instructions, as a binary search.
//!
//! The kernel runs a new filter once for every system call number, to learn which are always allowed; a search tree of a
//! few hundred instructions makes that, and every call after it, many times cheaper than a list of comparisons.
//! Instructions: <https://www.kernel.org/doc/html/latest/networking/filter.html>,
//! what they see: `struct seccomp_data`, <https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html>

use crate::sys::Instruction;

/// Where `struct seccomp_data` has the system call's number.
const NUMBER: u32 = 0;
/// Where it has the architecture.
const ARCHITECTURE: u32 = 4;
/// Where it has the lower half of the first argument, on a little-endian machine.
const FIRST_ARGUMENT: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// What becomes of a system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Errno(i32),
    /// The whole process is ended by SIGSYS.
    Kill,
    /// Depends on the lower half of the first argument.
    FirstArgument(Ranges),
    /// Allowed when the first argument has none of these bits, else EPERM.
    WithoutBits(u32),
}

/// A verdict for every number: each entry holds from its number on, up to the next entry's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u32, Verdict)>);

impl Ranges {
    #[cfg(test)]
    fn all(verdict: Verdict) -> Self {
        Self(vec![(0, verdict)])
    }

    /// Allows these ranges, which are sorted and do not overlap, and gives another verdict to everything else.
    pub(super) fn allow(ranges: &[(u32, u32)], others: &Verdict) -> Self {
        let mut entries = vec![(0, others.clone())];
        for (first, last) in ranges {
            // Continues the range before, or starts at 0.
            if entries.last().is_some_and(|(start, _)| start == first) {
                entries.pop();
            }
            if entries.last().is_none_or(|(_, verdict)| *verdict != Verdict::Allow) {
                entries.push((*first, Verdict::Allow));
            }
            if let Some(next) = last.checked_add(1) {
                entries.push((next, others.clone()));
            }
        }
        Self(entries)
    }

    /// Gives a verdict to the numbers from `first` to `last`.
    #[must_use]
    pub(super) fn with(self, first: u32, last: u32, verdict: Verdict) -> Self {
        let after = last.checked_add(1).map(|next| (next, self.at(next).clone()));
        let before = self.0.iter().filter(|(start, _)| *start < first).cloned();
        let rest = self.0.iter().filter(|(start, _)| after.as_ref().is_some_and(|(next, _)| start > next));
        let mut entries: Vec<_> =
            before.chain([(first, verdict)]).chain(after.clone()).chain(rest.cloned()).collect();
        entries.dedup_by(|next, kept| next.1 == kept.1);
        Self(entries)
    }

    pub(super) fn at(&self, number: u32) -> &Verdict {
        let index = self.0.partition_point(|(start, _)| *start <= number);
        // The first entry starts at 0.
        &self.0[index.saturating_sub(1)].1
    }

    /// Code that looks the loaded number up.
    fn search(&self) -> Vec<Instruction> {
        search(&self.0)
    }
}

fn search(entries: &[(u32, Verdict)]) -> Vec<Instruction> {
    match entries {
        [] => Vec::new(),
        [(_, verdict)] => decide(verdict),
        _ => {
            let (low, high) = entries.split_at(entries.len() / 2);
            let (below, above) = (search(low), search(high));
            let middle = high[0].0;
            let mut code = match u8::try_from(below.len()) {
                Ok(distance) => vec![instruction(JUMP_IF_AT_LEAST, middle, distance, 0)],
                // Conditional jumps reach 255 instructions only.
                Err(_) => vec![
                    instruction(JUMP_IF_AT_LEAST, middle, 0, 1),
                    instruction(JUMP, below.len() as u32, 0, 0),
                ],
            };
            code.extend(below);
            code.extend(above);
            code
        }
    }
}

fn decide(verdict: &Verdict) -> Vec<Instruction> {
    let end = |value| instruction(RETURN, value, 0, 0);
    let errno = |number: i32| libc::SECCOMP_RET_ERRNO | (number as u32 & libc::SECCOMP_RET_DATA);
    match verdict {
        Verdict::Allow => vec![end(libc::SECCOMP_RET_ALLOW)],
        Verdict::Errno(number) => vec![end(errno(*number))],
        Verdict::Kill => vec![end(libc::SECCOMP_RET_KILL_PROCESS)],
        Verdict::FirstArgument(ranges) => {
            let mut code = vec![instruction(LOAD, FIRST_ARGUMENT, 0, 0)];
            code.extend(ranges.search());
            code
        }
        Verdict::WithoutBits(bits) => vec![
            instruction(LOAD, FIRST_ARGUMENT, 0, 0),
            instruction(AND, *bits, 0, 0),
            instruction(JUMP_IF_EQUAL, 0, 0, 1),
            end(libc::SECCOMP_RET_ALLOW),
            end(errno(libc::EPERM)),
        ],
    }
}

/// The filter for these architectures (`AUDIT_ARCH_*`); a process of any other is ended.
pub(super) fn program(architectures: &[(u32, Ranges)]) -> Vec<Instruction> {
    let mut code = vec![instruction(LOAD, ARCHITECTURE, 0, 0)];
    for (architecture, ranges) in architectures {
        let mut body = vec![instruction(LOAD, NUMBER, 0, 0)];
        body.extend(ranges.search());
        code.push(instruction(JUMP_IF_EQUAL, *architecture, 1, 0));
        code.push(instruction(JUMP, body.len() as u32, 0, 0));
        code.extend(body);
    }
    code.extend(decide(&Verdict::Kill));
    code
}

fn instruction(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, value }
}

/// What the kernel would answer: for tests.
#[cfg(test)]
pub(super) fn run(program: &[Instruction], architecture: u32, number: u32, first_argument: u32) -> u32 {
    let (mut place, mut held) = (0, 0);
    loop {
        let Instruction { code, jump_true, jump_false, value } = program[place];
        place += 1;
        match code {
            LOAD if value == NUMBER => held = number,
            LOAD if value == ARCHITECTURE => held = architecture,
            LOAD if value == FIRST_ARGUMENT => held = first_argument,
            AND => held &= value,
            JUMP => place += value as usize,
            JUMP_IF_EQUAL => place += usize::from(if held == value { jump_true } else { jump_false }),
            JUMP_IF_AT_LEAST => place += usize::from(if held >= value { jump_true } else { jump_false }),
            RETURN => return value,
            _ => panic!("not an instruction that this module makes: {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: u32 = 7;

    fn answer(ranges: &Ranges, number: u32, argument: u32) -> u32 {
        run(&program(&[(HERE, ranges.clone())]), HERE, number, argument)
    }

    #[test]
    fn later_ranges_replace_what_they_cover() {
        let ranges = Ranges::all(Verdict::Errno(1))
            .with(10, 20, Verdict::Allow)
            .with(15, 15, Verdict::Errno(38))
            .with(19, 30, Verdict::Kill)
            .with(u32::MAX, u32::MAX, Verdict::Allow);
        let at = |number| ranges.at(number).clone();
        assert_eq!([at(0), at(9), at(31)], [Verdict::Errno(1), Verdict::Errno(1), Verdict::Errno(1)]);
        assert_eq!([at(10), at(14), at(16), at(18)], [const { Verdict::Allow }; 4]);
        assert_eq!([at(15), at(19), at(30)], [Verdict::Errno(38), Verdict::Kill, Verdict::Kill]);
        assert_eq!(at(u32::MAX), Verdict::Allow);
    }

    #[test]
    fn allowing_ranges_at_once_is_the_same_as_one_by_one() {
        let ranges = [(0, 3), (4, 4), (7, 9), (11, 11), (u32::MAX, u32::MAX)];
        let one_by_one = ranges
            .iter()
            .fold(Ranges::all(Verdict::Kill), |all, (first, last)| all.with(*first, *last, Verdict::Allow));
        assert_eq!(Ranges::allow(&ranges, &Verdict::Kill), one_by_one);
    }

    #[test]
    fn the_program_answers_what_the_ranges_say() {
        // More entries than a conditional jump reaches.
        let ranges = (0..400u32).fold(Ranges::all(Verdict::Errno(1)), |ranges, number| {
            ranges.with(number * 3, number * 3, Verdict::Allow)
        });
        for number in 0..1500 {
            let expected = match ranges.at(number) {
                Verdict::Allow => libc::SECCOMP_RET_ALLOW,
                _ => libc::SECCOMP_RET_ERRNO | 1,
            };
            assert_eq!(answer(&ranges, number, 0), expected, "{number}");
        }
    }

    #[test]
    fn arguments_are_looked_at() {
        let even = Ranges::all(Verdict::Errno(1)).with(4, 8, Verdict::Allow);
        let ranges = Ranges::all(Verdict::Errno(1)).with(5, 5, Verdict::FirstArgument(even)).with(
            6,
            6,
            Verdict::WithoutBits(0x30),
        );
        let denied = libc::SECCOMP_RET_ERRNO | 1;
        let allowed = libc::SECCOMP_RET_ALLOW;
        assert_eq!(
            [3, 4, 8, 9].map(|argument| answer(&ranges, 5, argument)),
            [denied, allowed, allowed, denied]
        );
        assert_eq!([0xf, 0x10, 0x2f].map(|argument| answer(&ranges, 6, argument)), [allowed, denied, denied]);
    }

    #[test]
    fn another_architecture_is_ended() {
        let program = program(&[(HERE, Ranges::all(Verdict::Allow))]);
        assert_eq!(run(&program, HERE + 1, 0, 0), libc::SECCOMP_RET_KILL_PROCESS);
    }
}
