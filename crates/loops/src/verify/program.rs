//! Rules of a program.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::Overlap;
use crate::kernel::{Access, BufferDecl, Kernel, Scalar, Stmt};
use crate::program::{Branch, BufferPlace, Call, Gate, Item, Place, Program, Repeat, Slot, While};

use super::kernel::checked_bytes;
use super::range::touches;
use super::{MAX_REPEATS, Problem, Rule, VerifyError, chunks, verify_kernel};

/// Checks a program by rules program_p1 to program_p7, and its kernels by theirs.
///
/// # Errors
///
/// The first rule that is broken: of the kernels, then of memory, then of the items in order.
pub fn verify_program(program: &Program) -> Result<(), VerifyError> {
    program.kernels.iter().try_for_each(verify_kernel)?;
    let at = |place: &str| format!("@{}: {place}", program.name);
    arena(program).map_err(|(rule, problem)| VerifyError::new(rule, at("arena"), problem))?;
    let mut writable = BTreeMap::new();
    let mut depths = Vec::with_capacity(program.buffers.len());
    for buffer in &program.buffers {
        let checked = memory(program, buffer, &mut writable);
        checked.and_then(|()| part(program, buffer, &mut depths)).map_err(|(rule, problem)| {
            VerifyError::new(rule, at(&format!("buffer {}", buffer.name)), problem)
        })?;
    }
    let mut items =
        Items { program, shared: SharedPairs::default(), counts: Vec::new(), number: 0, what: "" };
    items.check(&program.body, 0).map_err(|(rule, problem)| {
        VerifyError::new(rule, at(&format!("{} {}", items.what, items.number)), problem)
    })?;
    let Some(gate) = &program.gate else { return Ok(()) };
    check_gate(program, gate).map_err(|(rule, problem)| VerifyError::new(rule, at("gate"), problem))
}

/// Pairs of parameters that were found to share memory safely, by kernel.
type SharedPairs = BTreeSet<(u32, usize, usize)>;

/// A walk over what a program runs.
struct Items<'p> {
    program: &'p Program,
    shared: SharedPairs,
    /// Iterations of the repeats around, from the outside in.
    counts: Vec<usize>,
    /// Calls that were checked.
    number: usize,
    /// What is checked, for the place of an error, before the number.
    what: &'static str,
}

impl Items<'_> {
    /// Recurses once a block, [`MAX_REPEATS`] deep at most; `depth` blocks are around.
    fn check(&mut self, items: &[Item], depth: usize) -> Result<(), Problem> {
        for item in items {
            self.what = match item {
                Item::Call(_) => "call",
                Item::Repeat(_) => "repeat before call",
                Item::Branch(_) => "branch before call",
                Item::While(_) => "while before call",
            };
            if depth >= MAX_REPEATS && !matches!(item, Item::Call(_)) {
                let message = format!("expected at most {MAX_REPEATS} nested blocks");
                return Err((Rule::Repeats, message));
            }
            match item {
                Item::Call(call) => {
                    check_call(self.program, call, &self.counts, &mut self.shared)?;
                    self.number += 1;
                }
                Item::Repeat(Repeat { count, body }) => {
                    self.counts.push(*count);
                    self.check(body, depth + 1)?;
                    self.counts.pop();
                }
                Item::Branch(Branch { condition: slot, then, otherwise }) => {
                    condition(self.program, *slot, &self.counts, Rule::Conditions)?;
                    self.check(then, depth + 1)?;
                    self.check(otherwise, depth + 1)?;
                }
                Item::While(While { test, condition: slot, body }) => {
                    condition(self.program, *slot, &self.counts, Rule::Conditions)?;
                    self.check(test, depth + 1)?;
                    self.check(body, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Checks a buffer that is part of others. `depths` holds, for each buffer so far, how many lie
/// between it and its memory.
fn part(program: &Program, buffer: &BufferPlace, depths: &mut Vec<usize>) -> Result<(), Problem> {
    let refuse = |message: String| Err((Rule::Repeats, message));
    let (wholes, turn): (&[Slot], bool) = match &buffer.place {
        Place::Arena { .. } | Place::External { .. } => (&[], false),
        Place::Part { of, .. } => (&[*of], false),
        Place::Turn { even, odd, .. } => (&[*even, *odd], true),
    };
    let mut depth = 0;
    for slot in wholes {
        let Some(below) = depths.get(slot.0 as usize) else {
            let count = depths.len();
            return refuse(format!("expected one of {count} buffers before it, found {}", slot.0));
        };
        let whole = &program.buffers[slot.0 as usize];
        if whole.scalar != buffer.scalar || whole.writable != buffer.writable {
            return refuse(format!("expected the scalar and access of {}", whole.name));
        }
        if turn && whole.len != buffer.len {
            return refuse(format!("expected length {} as {} has", whole.len, whole.name));
        }
        depth = depth.max(below + 1);
    }
    if depth > MAX_REPEATS {
        return refuse(format!("expected at most {MAX_REPEATS} buffers between it and its memory"));
    }
    depths.push(depth);
    Ok(())
}

/// Checks that a buffer is inside its memory in every iteration of the repeats around its use. What
/// never runs needs no memory, but must be in the repeats that its buffers name.
fn inside(program: &Program, slot: Slot, counts: &[usize]) -> Result<(), Problem> {
    let fixed = |place| matches!(place, Place::Arena { .. } | Place::External { .. });
    if fixed(program.buffers[slot.0 as usize].place) {
        return Ok(());
    }
    let runs = !counts.contains(&0);
    let mut pending = vec![slot];
    let mut seen = BTreeSet::new();
    while let Some(slot) = pending.pop() {
        let buffer = &program.buffers[slot.0 as usize];
        if !seen.insert(slot) {
            continue;
        }
        let level = match buffer.place {
            Place::Arena { .. } | Place::External { .. } => continue,
            Place::Part { of, first, step, level } => {
                let whole = &program.buffers[of.0 as usize];
                let last = counts.get(level).map_or(0, |count| *count as i128 - 1);
                let (start, end) = (first as i128, first as i128 + i128::from(step) * last);
                let (low, high) = (start.min(end), start.max(end) + buffer.len as i128);
                if runs && (low < 0 || high > whole.len as i128) {
                    let expected = format!("{}: expected parts of {}", buffer.name, whole.name);
                    let message = format!("{expected}[{}], found {start} to {end}", whole.len);
                    return Err((Rule::Repeats, message));
                }
                pending.push(of);
                level
            }
            Place::Turn { even, odd, level } => {
                pending.extend([even, odd]);
                level
            }
        };
        if level >= counts.len() {
            let message =
                format!("{}: expected {} repeats around it", buffer.name, level.saturating_add(1));
            return Err((Rule::Repeats, message));
        }
    }
    Ok(())
}

fn arena(program: &Program) -> Result<(), Problem> {
    if isize::try_from(program.arena_bytes).is_err() {
        let message = format!("expected bytes that fit isize, found {}", program.arena_bytes);
        return Err((Rule::Memory, message));
    }
    // A number in a text is not to make anyone allocate: each external is there for a buffer.
    if program.externals > program.buffers.len() {
        let (externals, buffers) = (program.externals, program.buffers.len());
        let message = format!("expected at most {buffers} externals, found {externals}");
        return Err((Rule::Memory, message));
    }
    Ok(())
}

/// `writable` holds, for each external seen so far, what the first buffer there says.
fn memory(
    program: &Program,
    buffer: &BufferPlace,
    writable: &mut BTreeMap<usize, bool>,
) -> Result<(), Problem> {
    let refuse = |message: String| Err((Rule::Memory, message));
    let Some(bytes) = checked_bytes(buffer.len, buffer.scalar.size()) else {
        return refuse(format!("expected bytes that fit isize, found {} elements", buffer.len));
    };
    match buffer.place {
        Place::Arena { offset } => {
            if !buffer.writable {
                return refuse("expected an external, as it is read-only, found the arena".into());
            }
            if !offset.is_multiple_of(Kernel::SCRATCH_ALIGN) {
                let align = Kernel::SCRATCH_ALIGN;
                return refuse(format!("expected an offset that {align} divides, found {offset}"));
            }
            if offset.checked_add(bytes).is_none_or(|end| end > program.arena_bytes) {
                let limit = program.arena_bytes;
                return refuse(format!("expected an end by {limit}, found {offset} + {bytes}"));
            }
        }
        Place::External { index } => {
            let count = program.externals;
            if index >= count {
                return refuse(format!("expected one of {count} externals, found {index}"));
            }
            if *writable.entry(index).or_insert(buffer.writable) != buffer.writable {
                return refuse(format!("external {index} is read-only in one buffer, not in all"));
            }
        }
        Place::Part { .. } | Place::Turn { .. } => {}
    }
    Ok(())
}

fn check_gate(program: &Program, gate: &Gate) -> Result<(), Problem> {
    let calls = program.body.len();
    if gate.after > calls {
        let message = format!("expected a place among {calls} calls, found {}", gate.after);
        return Err((Rule::Gate, message));
    }
    if gate.conditions.is_empty() {
        return Err((Rule::Gate, "expected at least one condition, found none".into()));
    }
    gate.conditions.iter().try_for_each(|slot| condition(program, *slot, &[], Rule::Gate))
}

/// Checks a buffer that is looked at inside repeats of these counts; `rule` is what it breaks if it
/// cannot be a condition.
fn condition(program: &Program, slot: Slot, counts: &[usize], rule: Rule) -> Result<(), Problem> {
    match program.buffers.get(slot.0 as usize) {
        Some(buffer) if (buffer.scalar, buffer.len) == (Scalar::U8, 1) => {
            inside(program, slot, counts)
        }
        Some(BufferPlace { name, scalar, len, .. }) => {
            Err((rule, format!("{name}: expected u8[1], found {scalar}[{len}]")))
        }
        None => {
            let count = program.buffers.len();
            Err((rule, format!("expected one of {count} buffers, found number {}", slot.0)))
        }
    }
}

fn check_call(
    program: &Program,
    call: &Call,
    counts: &[usize],
    shared: &mut SharedPairs,
) -> Result<(), Problem> {
    let Some(kernel) = program.kernels.get(call.kernel.0 as usize) else {
        let count = program.kernels.len();
        let message = format!("expected one of {count} kernels, found number {}", call.kernel.0);
        return Err((Rule::Arguments, message));
    };
    let parameters: Vec<(usize, &BufferDecl)> = kernel
        .buffers
        .iter()
        .enumerate()
        .filter(|(_, buffer)| buffer.access != Access::Scratch)
        .collect();
    if parameters.len() != call.args.len() {
        let expected = format!("expected {} arguments of @{}", parameters.len(), kernel.name);
        return Err((Rule::Arguments, format!("{expected}, found {}", call.args.len())));
    }
    let mut bound: Vec<Bound<'_>> = Vec::with_capacity(parameters.len());
    for (&(number, parameter), slot) in parameters.iter().zip(&call.args) {
        let Some(memory) = program.buffers.get(slot.0 as usize) else {
            let count = program.buffers.len();
            let message = format!("expected one of {count} buffers, found number {}", slot.0);
            return Err((Rule::Arguments, message));
        };
        let this = Bound { number, parameter, memory };
        argument(&this)?;
        inside(program, *slot, counts)?;
        bound.push(this);
    }
    for (at, second) in bound.iter().enumerate() {
        for (before, first) in bound[..at].iter().enumerate() {
            let found = program.overlap(call.args[before], call.args[at], counts);
            let found =
                found.ok_or_else(|| overlap(first, second, "it takes too many repeats to tell"))?;
            if found != Overlap::Never {
                check_overlap(call.kernel.0, kernel, first, second, found, shared)?;
            }
        }
    }
    Ok(())
}

/// A parameter, its index among the kernel's buffers, and what a call binds to it.
struct Bound<'p> {
    number: usize,
    parameter: &'p BufferDecl,
    memory: &'p BufferPlace,
}

fn argument(bound: &Bound<'_>) -> Result<(), Problem> {
    let (parameter, memory) = (bound.parameter, bound.memory);
    if (parameter.scalar, parameter.len) != (memory.scalar, memory.len) {
        let expected =
            format!("{}: expected {}[{}]", parameter.name, parameter.scalar, parameter.len);
        let message = format!("{expected}, found {}[{}]", memory.scalar, memory.len);
        return Err((Rule::Arguments, message));
    }
    if parameter.access != Access::Read && !memory.writable {
        let expected = format!("{}: expected writable memory", parameter.name);
        return Err((Rule::Permission, format!("{expected}, found {}, read-only", memory.name)));
    }
    Ok(())
}

fn check_overlap(
    kernel_number: u32,
    kernel: &Kernel,
    first: &Bound<'_>,
    second: &Bound<'_>,
    found: Overlap,
    shared: &mut SharedPairs,
) -> Result<(), Problem> {
    let read = match (first.parameter.access, second.parameter.access) {
        (Access::Read, Access::Read) => return Ok(()),
        (Access::Read, Access::Write) => first,
        (Access::Write, Access::Read) => second,
        (Access::Read | Access::Write | Access::ReadWrite | Access::Scratch, _) => {
            return Err(overlap(first, second, "one is written"));
        }
    };
    let (a, b) = (first.memory, second.memory);
    if found != Overlap::Same || a.len != b.len || a.scalar.size() != b.scalar.size() {
        return Err(overlap(first, second, "they are not the same elements"));
    }
    if !shared.insert((kernel_number, first.number, second.number)) {
        return Ok(());
    }
    if tile_reads(kernel, &kernel.body, read.number) {
        return Err(overlap(first, second, "a tile reads one of them"));
    }
    chunks::check_shared(kernel, first.number, second.number)
        .map_err(|(_, problem)| overlap(first, second, &problem))
}

fn overlap(first: &Bound<'_>, second: &Bound<'_>, reason: &str) -> Problem {
    let (a, b) = (&first.parameter.name, &second.parameter.name);
    (Rule::Overlap, format!("{a} and {b} overlap, but {reason}"))
}

/// Whether a tile reads a buffer. It reads elements for many sums, so none is read solely to
/// write the element in its place.
fn tile_reads(kernel: &Kernel, body: &[Stmt], buffer: usize) -> bool {
    body.iter().any(|stmt| {
        let mut found = false;
        touches(kernel, stmt, |touch| {
            found |= touch.by_tile && !touch.stores && touch.buffer.0 as usize == buffer;
        });
        match stmt {
            Stmt::For(inner) => found || tile_reads(kernel, &inner.body, buffer),
            Stmt::Let { .. } | Stmt::Store { .. } | Stmt::Tile(_) | Stmt::Apply(_) => found,
        }
    })
}
