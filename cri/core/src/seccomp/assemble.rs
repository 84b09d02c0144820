//! The assembler: a policy becomes a balanced tree over ranges of system call numbers.

use std::collections::BTreeMap;

use kedge_pause_wire::Instruction;

/// What happens to a call. Return values of `linux/seccomp.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Allow,
    Log,
    Errno(u16),
    Trace(u16),
    Trap,
    KillThread,
    KillProcess,
}

impl Action {
    fn return_value(self) -> u32 {
        match self {
            Action::Allow => 0x7fff_0000,
            Action::Log => 0x7ffc_0000,
            Action::Trace(data) => 0x7ff0_0000 | u32::from(data),
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trap => 0x0003_0000,
            Action::KillThread => 0,
            Action::KillProcess => 0x8000_0000,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal(u64),
    NotEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    MaskedEqual { mask: u64, value: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// 0 to 5.
    pub index: u32,
    pub comparison: Comparison,
}

/// Holds when all its arguments compare true; without arguments, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub arguments: Vec<Argument>,
    pub action: Action,
}

/// What to do with each call: the first rule of its number that holds, else the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub default: Action,
    pub rules: BTreeMap<u32, Vec<Rule>>,
}

// Opcodes of linux/bpf_common.h.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RETURN: u16 = 0x06;

// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

const ARCH_X86_64: u32 = 0xc000_003e;
/// Numbers from here on are the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;

fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// Calls of another architecture (32-bit, x32) get the default action: this profile has no numbers for them.
pub fn assemble(policy: &Policy) -> Vec<Instruction> {
    let default = op(RETURN, policy.default.return_value());
    let mut program = vec![
        op(LOAD, ARCH_AT),
        branch(JEQ, ARCH_X86_64, 1, 0),
        default.clone(),
        op(LOAD, NUMBER_AT),
        branch(JGE, X32_BIT, 0, 1),
        default,
    ];
    program.extend(tree(&segments(policy)));
    program
}

/// Runs of numbers with the same code: where each starts, and its code.
fn segments(policy: &Policy) -> Vec<(u32, Vec<Instruction>)> {
    let default = vec![op(RETURN, policy.default.return_value())];
    let mut segments = vec![(0, default.clone())];
    let mut push = |start: u32, code: Vec<Instruction>| match segments.last_mut() {
        Some(last) if last.0 == start => last.1 = code,
        Some(last) if last.1 == code => {}
        _ => segments.push((start, code)),
    };
    for (number, rules) in &policy.rules {
        push(*number, leaf(rules, policy.default));
        if !policy.rules.contains_key(&(number + 1)) {
            push(number + 1, default.clone());
        }
    }
    // Overwriting a start may have made it equal to its left neighbour.
    segments.dedup_by(|right, left| right.1 == left.1);
    segments
}

fn leaf(rules: &[Rule], default: Action) -> Vec<Instruction> {
    let mut code = Vec::new();
    for rule in rules {
        code.extend(rule_code(rule));
        if rule.arguments.is_empty() {
            return code;
        }
    }
    code.push(op(RETURN, default.return_value()));
    code
}

/// Where a comparison's jump goes.
#[derive(Clone, Copy)]
enum To {
    Next,
    /// Past the rest of this comparison: it holds.
    Holds,
    /// Past the rest of this rule.
    Fails,
}

fn rule_code(rule: &Rule) -> Vec<Instruction> {
    let mut code: Vec<(Instruction, To, To)> = Vec::new();
    let mut ends = Vec::new();
    for argument in &rule.arguments {
        let steps = compare(argument);
        let end = code.len() + steps.len();
        ends.extend(steps.iter().map(|_| end));
        code.extend(steps);
    }
    let len = code.len();
    let resolve = |at: usize, to: To| match to {
        To::Next => 0,
        To::Holds => (ends[at] - at - 1) as u8,
        // Behind the return.
        To::Fails => (len - at) as u8,
    };
    let mut program: Vec<Instruction> = code
        .iter()
        .enumerate()
        .map(|(at, (instruction, jt, jf))| Instruction {
            jt: resolve(at, *jt),
            jf: resolve(at, *jf),
            ..instruction.clone()
        })
        .collect();
    program.push(op(RETURN, rule.action.return_value()));
    program
}

/// 64-bit comparisons on a 32-bit machine: the high word first.
fn compare(argument: &Argument) -> Vec<(Instruction, To, To)> {
    use To::{Fails, Holds, Next};
    let at = ARGUMENTS_AT + 8 * argument.index;
    let (low, high) = ((op(LOAD, at), Next, Next), (op(LOAD, at + 4), Next, Next));
    let (lo, hi) = (|value: u64| value as u32, |value: u64| (value >> 32) as u32);
    let ordered = |value: u64, above: To, below: To, last: (u16, To, To)| {
        vec![
            high.clone(),
            (op(JGT, hi(value)), above, Next),
            (op(JEQ, hi(value)), Next, below),
            low.clone(),
            (op(last.0, lo(value)), last.1, last.2),
        ]
    };
    match argument.comparison {
        Comparison::Equal(value) => {
            vec![
                high.clone(),
                (op(JEQ, hi(value)), Next, Fails),
                low.clone(),
                (op(JEQ, lo(value)), Next, Fails),
            ]
        }
        Comparison::NotEqual(value) => {
            vec![
                high.clone(),
                (op(JEQ, hi(value)), Next, Holds),
                low.clone(),
                (op(JEQ, lo(value)), Fails, Next),
            ]
        }
        Comparison::MaskedEqual { mask, value } => vec![
            high.clone(),
            (op(AND, hi(mask)), Next, Next),
            (op(JEQ, hi(value)), Next, Fails),
            low.clone(),
            (op(AND, lo(mask)), Next, Next),
            (op(JEQ, lo(value)), Next, Fails),
        ],
        Comparison::Greater(value) => ordered(value, Holds, Fails, (JGT, Next, Fails)),
        Comparison::GreaterOrEqual(value) => ordered(value, Holds, Fails, (JGE, Next, Fails)),
        Comparison::Less(value) => ordered(value, Fails, Holds, (JGE, Fails, Next)),
        Comparison::LessOrEqual(value) => ordered(value, Fails, Holds, (JGT, Fails, Next)),
    }
}

/// Halves the segments until one is left. A jump reaches 255 instructions; a longer way takes an unconditional one.
fn tree(segments: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    let [(_, code)] = segments else {
        let (left, right) = segments.split_at(segments.len() / 2);
        let (left_code, right_code) = (tree(left), tree(right));
        let mut program = match u8::try_from(left_code.len()) {
            Ok(over_left) => vec![branch(JGE, right[0].0, over_left, 0)],
            Err(_) => vec![branch(JGE, right[0].0, 0, 1), op(JUMP, left_code.len() as u32)],
        };
        program.extend(left_code);
        program.extend(right_code);
        return program;
    };
    code.clone()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Classic BPF as the kernel runs it; also counts the steps.
    pub fn run(program: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> (u32, usize) {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(arch.to_le_bytes());
        data.extend([0; 8]);
        arguments.iter().for_each(|argument| data.extend(argument.to_le_bytes()));
        let (mut at, mut accumulator) = (0, 0);
        for steps in 1.. {
            let i = &program[at];
            at += 1;
            let jump = |condition: bool| usize::from(if condition { i.jt } else { i.jf });
            match i.code {
                LOAD => {
                    let from = i.k as usize;
                    accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
                }
                AND => accumulator &= i.k,
                JUMP => at += i.k as usize,
                JEQ => at += jump(accumulator == i.k),
                JGT => at += jump(accumulator > i.k),
                JGE => at += jump(accumulator >= i.k),
                RETURN => return (i.k, steps),
                other => panic!("opcode {other:#x}"),
            }
        }
        unreachable!()
    }

    pub fn action(program: &[Instruction], number: u32, arguments: [u64; 6]) -> u32 {
        run(program, ARCH_X86_64, number, arguments).0
    }

    type Rules<'a> = (u32, &'a [(Option<Comparison>, Action)]);

    fn policy(rules: &[Rules<'_>]) -> Policy {
        let rule = |(comparison, action): &(Option<Comparison>, Action)| Rule {
            arguments: comparison
                .iter()
                .map(|comparison| Argument { index: 1, comparison: *comparison })
                .collect(),
            action: *action,
        };
        let rules = rules.iter().map(|(number, rules)| (*number, rules.iter().map(rule).collect()));
        Policy { default: Action::Errno(1), rules: rules.collect() }
    }

    #[test]
    fn compares_sixty_four_bits() {
        use Comparison::*;
        let big = 0x1_0000_0005_u64;
        let values = [0, 4, 5, 6, 0x1_0000_0004, big, 0x1_0000_0006, 0x2_0000_0000, u64::MAX];
        type Case = (Comparison, fn(u64, u64) -> bool);
        let cases: [Case; 6] = [
            (Equal(big), |a, b| a == b),
            (NotEqual(big), |a, b| a != b),
            (Greater(big), |a, b| a > b),
            (GreaterOrEqual(big), |a, b| a >= b),
            (Less(big), |a, b| a < b),
            (LessOrEqual(big), |a, b| a <= b),
        ];
        for (comparison, expected) in cases {
            let program = assemble(&policy(&[(7, &[(Some(comparison), Action::Allow)])]));
            for value in values {
                let allowed = action(&program, 7, [9, value, 0, 0, 0, 0]) == Action::Allow.return_value();
                assert_eq!(allowed, expected(value, big), "{comparison:?} {value:#x}");
            }
        }
    }

    #[test]
    fn every_number_meets_its_own_rule() {
        let allow: &[(Option<Comparison>, Action)] = &[(None, Action::Allow)];
        let even: Vec<_> = (0..900).step_by(2).map(|number| (number, allow)).collect();
        let program = assemble(&policy(&even));
        for number in 0..1000 {
            let (value, steps) = run(&program, ARCH_X86_64, number, [0; 6]);
            let expected = if number < 900 && number % 2 == 0 { Action::Allow } else { Action::Errno(1) };
            assert_eq!(value, expected.return_value(), "{number}");
            assert!(steps <= 5 + 2 * 11, "a tree, not a chain: {steps}");
        }
        assert_eq!(run(&program, 0x4000_0003, 0, [0; 6]).0, Action::Errno(1).return_value());
        assert_eq!(action(&program, X32_BIT, [0; 6]), Action::Errno(1).return_value());
    }

    #[test]
    fn the_first_rule_that_holds_decides() {
        let rules: &[_] = &[
            (Some(Comparison::Equal(1)), Action::Errno(38)),
            (Some(Comparison::MaskedEqual { mask: 6, value: 2 }), Action::Allow),
        ];
        let program = assemble(&policy(&[(3, rules), (4, &[(None, Action::Allow)])]));
        let seen = [1, 2, 3, 4].map(|value| action(&program, 3, [0, value, 0, 0, 0, 0]));
        let expected =
            [Action::Errno(38), Action::Allow, Action::Allow, Action::Errno(1)].map(Action::return_value);
        assert_eq!(seen, expected);
    }
}
