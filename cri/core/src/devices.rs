//! Which device files a container may use: rules, as lines of a v1 `devices.allow` and as the eBPF program of a v2 group.

/// A bit set of `ACCESS_*`; the numbers are BPF_DEVCG_ACC_* of linux/bpf.h.
pub type Access = u8;
pub const ACCESS_MAKE: Access = 1;
pub const ACCESS_READ: Access = 2;
pub const ACCESS_WRITE: Access = 4;
const ACCESS_ALL: Access = ACCESS_MAKE | ACCESS_READ | ACCESS_WRITE;

/// One kind of device files and what may be done with them. Whatever no rule allows is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub is_block: bool,
    /// `None` is every number.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: Access,
}

const fn char_device(major: u32, minor: Option<u32>) -> Rule {
    Rule { is_block: false, major: Some(major), minor, access: ACCESS_ALL }
}

const fn make_only(is_block: bool) -> Rule {
    Rule { is_block, major: None, minor: None, access: ACCESS_MAKE }
}

/// What every container may use: any node may be made, the harmless ones opened.
pub const DEFAULT: [Rule; 11] = [
    make_only(false),
    make_only(true),
    // null, zero, full, random, urandom.
    char_device(1, Some(3)),
    char_device(1, Some(5)),
    char_device(1, Some(7)),
    char_device(1, Some(8)),
    char_device(1, Some(9)),
    // tty, console, ptmx and the pseudo terminals.
    char_device(5, Some(0)),
    char_device(5, Some(1)),
    char_device(5, Some(2)),
    char_device(136, None),
];

/// A subset of `rwm`, as the API writes it; other letters say nothing.
pub fn access_of(permissions: &str) -> Access {
    permissions.chars().fold(0, |access, letter| {
        access
            | match letter {
                'r' => ACCESS_READ,
                'w' => ACCESS_WRITE,
                'm' => ACCESS_MAKE,
                _ => 0,
            }
    })
}

/// One line of `devices.allow`.
pub fn v1(rule: &Rule) -> String {
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    let letters = [(ACCESS_READ, 'r'), (ACCESS_WRITE, 'w'), (ACCESS_MAKE, 'm')];
    let access: String =
        letters.iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, letter)| letter).collect();
    let kind = if rule.is_block { 'b' } else { 'c' };
    format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor))
}

/// One eBPF instruction, `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u8,
    pub destination: u8,
    pub source: u8,
    pub offset: i16,
    pub immediate: i32,
}

impl Instruction {
    pub fn to_bytes(self) -> [u8; 8] {
        let ([o0, o1], [i0, i1, i2, i3]) = (self.offset.to_le_bytes(), self.immediate.to_le_bytes());
        [self.code, self.source << 4 | self.destination, o0, o1, i0, i1, i2, i3]
    }
}

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, destination, source, offset, immediate }
}

// Codes of linux/bpf_common.h and linux/bpf.h.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const AND_IMMEDIATE: u8 = 0x57;
const SHIFT_RIGHT_IMMEDIATE: u8 = 0x77;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

// What the registers hold after the head: `struct bpf_cgroup_dev_ctx`, taken apart.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// BPF_DEVCG_DEV_*.
const KIND_BLOCK: i32 = 1;
const KIND_CHAR: i32 = 2;

/// The program of BPF_PROG_TYPE_CGROUP_DEVICE that allows what the rules allow: it returns 1, or 0 for EPERM. A rule allows
/// what it names all of; the kernel asks about making and about opening apart.
pub fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(SHIFT_RIGHT_IMMEDIATE, ACCESS, 0, 0, 16),
        instruction(AND_IMMEDIATE, KIND, 0, 0, 0xffff),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules {
        program.extend(block(rule));
    }
    program.extend([instruction(MOVE_IMMEDIATE, RESULT, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

/// One rule: every test that fails jumps behind the block.
fn block(rule: &Rule) -> Vec<Instruction> {
    let kind = if rule.is_block { KIND_BLOCK } else { KIND_CHAR };
    let unless = |register: u8, value: i32| instruction(JUMP_UNLESS_EQUAL, register, 0, 0, value);
    let mut block = vec![
        unless(KIND, kind),
        instruction(MOVE, RESULT, ACCESS, 0, 0),
        instruction(AND_IMMEDIATE, RESULT, 0, 0, i32::from(ACCESS_ALL & !rule.access)),
        unless(RESULT, 0),
    ];
    // Device numbers have 12 and 20 bits: a number beyond i32 is none and matches nothing.
    let numbers = [(MAJOR, rule.major), (MINOR, rule.minor)];
    for (register, number) in numbers.into_iter().filter_map(|(register, number)| Some((register, number?))) {
        block.push(unless(register, i32::try_from(number).unwrap_or(i32::MAX)));
    }
    block.extend([instruction(MOVE_IMMEDIATE, RESULT, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    let len = block.len();
    for (at, jump) in block.iter_mut().enumerate().filter(|(_, it)| it.code == JUMP_UNLESS_EQUAL) {
        jump.offset = (len - at - 1) as i16;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with the program, for the few instructions that it has.
    fn run(program: &[Instruction], access: Access, is_block: bool, major: u32, minor: u32) -> bool {
        let kind = if is_block { KIND_BLOCK } else { KIND_CHAR } as u64;
        let context = [u64::from(access) << 16 | kind, u64::from(major), u64::from(minor)];
        let (mut registers, mut at) = ([0_u64; 10], 0);
        loop {
            let it = program[at];
            let (to, from) = (usize::from(it.destination), usize::from(it.source));
            at += 1;
            match it.code {
                LOAD_WORD => registers[to] = context[it.offset as usize / 4],
                MOVE => registers[to] = registers[from],
                MOVE_IMMEDIATE => registers[to] = it.immediate as u64,
                AND_IMMEDIATE => registers[to] &= it.immediate as u64,
                SHIFT_RIGHT_IMMEDIATE => registers[to] >>= it.immediate,
                JUMP_UNLESS_EQUAL if registers[to] != it.immediate as u64 => at += it.offset as usize,
                JUMP_UNLESS_EQUAL => {}
                EXIT => return registers[usize::from(RESULT)] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn a_disk_is_denied_and_null_is_not() {
        let program = program(&DEFAULT);
        let cases = [
            (ACCESS_READ | ACCESS_WRITE, false, 1, 3, true),
            (ACCESS_MAKE, false, 1, 3, true),
            (ACCESS_WRITE, false, 136, 77, true),
            (ACCESS_MAKE, true, 8, 0, true),
            (ACCESS_READ, true, 8, 0, false),
            (ACCESS_READ, false, 1, 1, false),
            (ACCESS_WRITE, false, 1, 11, false),
            // The numbers of null, as a block device.
            (ACCESS_READ, true, 1, 3, false),
        ];
        for (access, is_block, major, minor, is_allowed) in cases {
            assert_eq!(
                run(&program, access, is_block, major, minor),
                is_allowed,
                "{is_block} {major}:{minor}"
            );
        }
    }

    #[test]
    fn a_device_of_the_pod_is_allowed_as_it_says() {
        let rule = Rule { is_block: true, major: Some(7), minor: Some(1), access: access_of("r") };
        let program = program(&[rule]);
        assert!(run(&program, ACCESS_READ, true, 7, 1));
        assert!(!run(&program, ACCESS_READ | ACCESS_WRITE, true, 7, 1));
        assert!(!run(&program, ACCESS_READ, true, 7, 2));
    }

    #[test]
    fn rules_become_lines_and_bytes() {
        assert_eq!(v1(&DEFAULT[0]), "c *:* m");
        assert_eq!(v1(&DEFAULT[2]), "c 1:3 rwm");
        assert_eq!(v1(&DEFAULT[10]), "c 136:* rwm");
        let jump = instruction(JUMP_UNLESS_EQUAL, 4, 1, 5, 258);
        assert_eq!(jump.to_bytes(), [0x55, 0x14, 5, 0, 2, 1, 0, 0]);
    }
}
