//! The list as a program that the kernel asks each time a device file is opened or made.
//!
//! It gets a `struct bpf_cgroup_dev_ctx`: access and kind in one word, major, minor; 1 allows. As with runc, all that is asked at
//! once must stand in one line of the list. Instructions: <https://docs.kernel.org/bpf/standardization/instruction-set.html>

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
};

use super::rules::Rule;
use crate::sys::{self, BpfInstruction};

/// What `bpf_cgroup_dev_ctx` has for a kind, and for access.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MAKE: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// Registers.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// Loads the program of a list; the one that almost every command has is loaded once.
pub(super) fn load(rules: &[Rule]) -> io::Result<OwnedFd> {
    static LAST: Mutex<Option<(Vec<Rule>, OwnedFd)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, program)) = &*last
        && of == rules
    {
        return program.try_clone();
    }
    let program = sys::load_device_program(&assemble(rules))?;
    let copy = program.try_clone()?;
    *last = Some((rules.to_vec(), copy));
    Ok(program)
}

fn assemble(rules: &[Rule]) -> Vec<BpfInstruction> {
    let mut program = vec![
        word_at(ACCESS, 0),
        copy(KIND, ACCESS),
        shift_right(ACCESS, 16),
        and(KIND, 0xffff),
        word_at(MAJOR, 4),
        word_at(MINOR, 8),
    ];
    for rule in rules {
        program.extend(block(rule));
    }
    program.extend([set(RESULT, 0), END]);
    program
}

/// Ends the program with 1 where a line of the list has what is asked, and goes on behind itself otherwise.
fn block(rule: &Rule) -> Vec<BpfInstruction> {
    let access = [(rule.access.make, MAKE), (rule.access.read, READ), (rule.access.write, WRITE)];
    let allowed: i32 = access.iter().filter(|(is_allowed, _)| *is_allowed).map(|(_, bit)| bit).sum();
    let mut block = vec![unless(KIND, if rule.is_block { BLOCK } else { CHARACTER })];
    block.extend([copy(SCRATCH, ACCESS), and(SCRATCH, !allowed), unless(SCRATCH, 0)]);
    block.extend(rule.major.map(|major| unless(MAJOR, major.cast_signed())));
    block.extend(rule.minor.map(|minor| unless(MINOR, minor.cast_signed())));
    block.extend([set(RESULT, 1), END]);
    let length = block.len();
    for (at, instruction) in
        block.iter_mut().enumerate().filter(|(_, instruction)| instruction.code == UNLESS)
    {
        // Counted from the next one on; a block has eight at most.
        instruction.offset = (length - at - 1) as i16;
    }
    block
}

/// A jump where a register, 32 bits of it, is not a value.
const UNLESS: u8 = 0x56;
const END: BpfInstruction = instruction(0x95, 0, 0);

const fn instruction(code: u8, registers: u8, value: i32) -> BpfInstruction {
    BpfInstruction { code, registers, offset: 0, value }
}

/// Where to is known when the block is whole.
const fn unless(register: u8, value: i32) -> BpfInstruction {
    instruction(UNLESS, register, value)
}

const fn set(register: u8, value: i32) -> BpfInstruction {
    instruction(0xb4, register, value)
}

const fn copy(to: u8, from: u8) -> BpfInstruction {
    instruction(0xbc, to | from << 4, 0)
}

const fn and(register: u8, value: i32) -> BpfInstruction {
    instruction(0x54, register, value)
}

const fn shift_right(register: u8, bits: i32) -> BpfInstruction {
    instruction(0x74, register, bits)
}

const fn word_at(register: u8, offset: i16) -> BpfInstruction {
    BpfInstruction { code: 0x61, registers: register | CONTEXT << 4, offset, value: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, control::rules};

    /// What a program says, as the kernel would carry it out.
    fn ask(program: &[BpfInstruction], kind: i32, access: i32, major: i32, minor: i32) -> i32 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0; 16];
        let mut at = 0;
        loop {
            let BpfInstruction { code, registers: names, offset, value } = program[at];
            let (to, from) = ((names & 15) as usize, (names >> 4) as usize);
            at += 1;
            match code {
                0x61 => registers[to] = context[offset as usize / 4],
                0xbc => registers[to] = registers[from],
                0xb4 => registers[to] = value,
                0x54 => registers[to] &= value,
                0x74 => registers[to] = (registers[to].cast_unsigned() >> value).cast_signed(),
                UNLESS => at += if registers[to] == value { 0 } else { offset as usize },
                0x95 => return registers[0],
                other => panic!("no instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_says_what_the_list_has() {
        let disk = Rule {
            is_block: true,
            major: Some(8),
            minor: Some(1),
            access: Access { read: true, ..Access::default() },
        };
        let spec = crate::Spec::new(crate::Root::Dir(std::path::PathBuf::new()));
        let mut list = rules::of(&spec);
        list.push(disk);
        let program = assemble(&list);
        for (kind, access, major, minor, allowed) in [
            (CHARACTER, READ | WRITE, 1, 3, 1),
            (CHARACTER, READ, 136, 7, 1),
            (CHARACTER, MAKE, 1, 1, 1),
            (BLOCK, MAKE, 8, 0, 1),
            (BLOCK, READ, 8, 1, 1),
            (BLOCK, READ | WRITE, 8, 1, 0),
            (BLOCK, READ, 8, 0, 0),
            (BLOCK, READ, 1, 3, 0),
            (CHARACTER, READ, 1, 1, 0),
            (CHARACTER, WRITE, 1, 11, 0),
            (CHARACTER, READ | MAKE, 1, 1, 0),
            (CHARACTER, READ, 8, 1, 0),
            (CHARACTER, READ | WRITE, 10, 200, 0),
        ] {
            assert_eq!(ask(&program, kind, access, major, minor), allowed, "{kind} {access} {major}:{minor}");
        }
        assert_eq!(ask(&assemble(&[]), CHARACTER, READ, 1, 3), 0);
    }
}
