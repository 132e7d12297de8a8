//! Rules of a kernel that are checked statement by statement.

use crate::kernel::{
    Access, Affine, Apply, Buffer, Inst, Kernel, Loop, LoopVar, Reg, RegType, Scalar, Stmt,
    TileCall,
};
use crate::text::headline;

use super::range::{Extents, touches};
use super::{MAX_LOOP_VARS, MAX_NESTING, Problem, Rule, VerifyError, chunks, inst};

/// Checks a kernel by rules kernel_k1 to kernel_k13.
///
/// # Errors
///
/// The first rule that is broken, in the order of statements.
pub fn verify_kernel(kernel: &Kernel) -> Result<(), VerifyError> {
    let place = || format!("@{}", kernel.name);
    sizes(kernel)
        .and_then(|()| register_types(kernel))
        .map_err(|(rule, problem)| VerifyError::new(rule, place(), problem))?;
    Checker::new(kernel).body(&kernel.body, 0, true)?;
    chunks::check(kernel).map_err(|(rule, problem)| VerifyError::new(rule, place(), problem))
}

/// The bytes of `len` elements of `size` bytes, where they fit `isize`.
pub(super) fn checked_bytes(len: usize, size: usize) -> Option<usize> {
    len.checked_mul(size).filter(|&bytes| isize::try_from(bytes).is_ok())
}

fn sizes(kernel: &Kernel) -> Result<(), Problem> {
    // Who runs chunks counts them in 32 bits.
    if kernel.chunks == 0 || u32::try_from(kernel.chunks).is_err() {
        return Err((Rule::Sizes, format!("expected 1 to 2^32−1 chunks, found {}", kernel.chunks)));
    }
    let mut scratch = 0usize;
    for buffer in &kernel.buffers {
        let too_large = || {
            let message =
                format!("expected a size in bytes that fits isize, found {} elements", buffer.len);
            (Rule::Sizes, format!("buffer {}: {message}", buffer.name))
        };
        let bytes = checked_bytes(buffer.len, buffer.scalar.size()).ok_or_else(too_large)?;
        if buffer.access == Access::Scratch {
            scratch = scratch
                .checked_add(bytes)
                .and_then(|sum| sum.checked_next_multiple_of(Kernel::SCRATCH_ALIGN))
                .filter(|&sum| isize::try_from(sum).is_ok())
                .ok_or_else(too_large)?;
        }
    }
    Ok(())
}

fn register_types(kernel: &Kernel) -> Result<(), Problem> {
    let bad = kernel.registers.iter().position(|&ty| !is_valid(ty));
    match bad {
        None => Ok(()),
        Some(at) => {
            let ty = kernel.registers[at];
            Err((Rule::RegisterTypes, format!("{}: no register holds a {ty}", Reg(at as u32))))
        }
    }
}

fn is_valid(ty: RegType) -> bool {
    match ty {
        RegType::Number { lanes: 1, .. } => true,
        RegType::Number { scalar, lanes } => {
            scalar.size() > 1 && usize::from(lanes) * scalar.size() == 16
        }
        RegType::Mask { bits, lanes } => matches!((bits, lanes), (8, 1) | (32, 4) | (64, 2)),
    }
}

/// Where a register stands in the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Undefined,
    Live { uniform: bool },
    OutOfScope,
}

struct Checker<'k> {
    kernel: &'k Kernel,
    states: Vec<State>,
    /// Registers of the open scopes, innermost last.
    live: Vec<Reg>,
    extents: Extents,
    seen_vars: Vec<bool>,
}

impl<'k> Checker<'k> {
    fn new(kernel: &'k Kernel) -> Checker<'k> {
        Checker {
            kernel,
            states: vec![State::Undefined; kernel.registers.len()],
            live: Vec::new(),
            extents: Extents::new(kernel.chunks),
            seen_vars: vec![true],
        }
    }

    /// Checks the statements of a body that `depth` loops enclose; `runs` is false where one of
    /// them has extent zero.
    fn body(&mut self, body: &'k [Stmt], depth: usize, runs: bool) -> Result<(), VerifyError> {
        let kernel = self.kernel;
        for stmt in body {
            let locate = |(rule, problem): Problem| {
                let place = format!("@{}: `{}`", kernel.name, headline(kernel, stmt));
                VerifyError::new(rule, place, problem)
            };
            match stmt {
                Stmt::Let { reg, inst } => self.definition(*reg, inst, runs).map_err(locate)?,
                Stmt::Store { value, .. } => {
                    self.type_of(*value).map(|_| ()).map_err(locate)?;
                }
                Stmt::For(inner) => {
                    self.enter(inner, depth).map_err(locate)?;
                    let outside = self.live.len();
                    self.open(inner).map_err(locate)?;
                    self.body(&inner.body, depth + 1, runs && inner.extent > 0)?;
                    self.close(inner, outside).map_err(locate)?;
                }
                Stmt::Tile(call) => self.tile(call).map_err(locate)?,
                Stmt::Apply(apply) => self.apply(apply).map_err(locate)?,
            }
            self.memory(stmt, runs).map_err(locate)?;
        }
        Ok(())
    }

    fn definition(&mut self, reg: Reg, inst: &Inst, runs: bool) -> Result<(), Problem> {
        let result = *self.kernel.registers.get(reg.0 as usize).ok_or_else(|| unknown(reg))?;
        inst::check(result, inst, &|reg| self.type_of(reg), &|reg| self.is_uniform(reg))?;
        if let Inst::Load { buffer, .. } = inst {
            let found = self.buffer(*buffer)?.scalar;
            if !matches!(result, RegType::Number { scalar, .. } if scalar == found) {
                let message = format!("expected {found}, as the buffer holds, found {result}");
                return Err((Rule::Types, message));
            }
        }
        if let Inst::Index { at, step } = inst {
            self.index(result, at, *step, runs)?;
        }
        let uniform = match inst {
            Inst::Const { .. } | Inst::Splat(_) => true,
            Inst::Index { .. }
            | Inst::Load { .. }
            | Inst::Lane { .. }
            | Inst::Unary(..)
            | Inst::Binary(..)
            | Inst::Fma(..)
            | Inst::Compare(..)
            | Inst::Mask(..)
            | Inst::MaskNot(_)
            | Inst::Select(..)
            | Inst::Convert(_)
            | Inst::Bitcast(_)
            | Inst::Interleave(..) => false,
        };
        self.define(reg, uniform)
    }

    fn index(&self, result: RegType, at: &Affine, step: i64, runs: bool) -> Result<(), Problem> {
        self.affine(at)?;
        if result.lanes() == 1 && step != 0 {
            return Err((Rule::Indices, format!("expected step 0 for one lane, found {step}")));
        }
        if !runs {
            return Ok(());
        }
        let lanes = super::range::Dim { stride: step, count: usize::from(result.lanes()) };
        match self.extents.interval(at, &[lanes]) {
            Some(values) if values.within(i128::from(i64::MIN), 1 << 63) => Ok(()),
            Some(_) | None => {
                Err((Rule::Indices, format!("expected values that fit i64, found {at}")))
            }
        }
    }

    /// What holds of a loop before its body is entered.
    fn enter(&mut self, inner: &Loop, depth: usize) -> Result<(), Problem> {
        if depth >= MAX_NESTING {
            return Err((Rule::Nesting, format!("expected at most {MAX_NESTING} nested loops")));
        }
        if i64::try_from(inner.extent).is_err() {
            return Err((
                Rule::Sizes,
                format!("expected an extent that fits i64, found {}", inner.extent),
            ));
        }
        let var = inner.var;
        if var == Kernel::CHUNK || var.0 >= MAX_LOOP_VARS {
            let expected = format!("expected a variable from i1 to i{}", MAX_LOOP_VARS - 1);
            return Err((Rule::Variables, format!("{expected}, found {var}")));
        }
        let at = var.0 as usize;
        if self.seen_vars.len() <= at {
            self.seen_vars.resize(at + 1, false);
        }
        if std::mem::replace(&mut self.seen_vars[at], true) {
            return Err((Rule::Variables, format!("{var} belongs to another loop already")));
        }
        for carry in &inner.carries {
            self.type_of(carry.init)?;
        }
        match inner.pick.map(|index| self.type_of(index)).transpose()? {
            Some(found) if found != RegType::scalar(Scalar::I64) => Err((
                Rule::Types,
                format!("expected an i64 that picks an iteration, found {found}"),
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn open(&mut self, inner: &Loop) -> Result<(), Problem> {
        self.extents.open(inner.var, inner.extent);
        for carry in &inner.carries {
            self.define(carry.param, false)?;
            self.expect_type(carry.init, carry.param)?;
        }
        Ok(())
    }

    fn close(&mut self, inner: &Loop, outside: usize) -> Result<(), Problem> {
        for carry in &inner.carries {
            self.expect_type(carry.next, carry.param)?;
        }
        for reg in self.live.drain(outside..) {
            self.states[reg.0 as usize] = State::OutOfScope;
        }
        self.extents.close(inner.var);
        for carry in &inner.carries {
            self.define(carry.result, false)?;
            self.expect_type(carry.init, carry.result)?;
        }
        Ok(())
    }

    fn apply(&self, apply: &Apply) -> Result<(), Problem> {
        let scalar = self.buffer(apply.buffer)?.scalar;
        if !scalar.is_float() {
            return Err((Rule::Functions, format!("expected f32 or f64, found {scalar}")));
        }
        if i64::try_from(apply.count).is_err() {
            let problem = format!("expected a count that fits i64, found {}", apply.count);
            return Err((Rule::Functions, problem));
        }
        Ok(())
    }

    fn tile(&self, call: &TileCall) -> Result<(), Problem> {
        let refuse = |problem: String| Err((Rule::Tiles, problem));
        let shape = call.shape;
        if !shape.scalar.is_float() {
            return refuse(format!("expected f32 or f64, found {}", shape.scalar));
        }
        for (name, panel) in [("a", &call.a), ("b", &call.b), ("c", &call.c)] {
            let found = self.buffer(panel.buffer)?.scalar;
            if found != shape.scalar {
                return refuse(format!("expected {name} of {}, found {found}", shape.scalar));
            }
        }
        let fits = |count: u8, limit: u8| (1..=limit).contains(&count);
        if !fits(call.rows, shape.rows) || !fits(call.cols, shape.cols) {
            let expected = format!("expected a block within {}x{}", shape.rows, shape.cols);
            return refuse(format!("{expected}, found {}x{}", call.rows, call.cols));
        }
        if i64::try_from(call.depth).is_err() {
            return refuse(format!("expected a depth that fits i64, found {}", call.depth));
        }
        for (name, panel) in [("b", &call.b), ("c", &call.c)] {
            if panel.col_stride != 1 {
                let found = panel.col_stride;
                return refuse(format!("expected column stride 1 of {name}, found {found}"));
            }
        }
        if call.rows > 1 && call.c.row_stride.unsigned_abs() < u64::from(call.cols) {
            let found = call.c.row_stride;
            return refuse(format!("expected rows of c apart by {}, found {found}", call.cols));
        }
        if [call.a.buffer, call.b.buffer].contains(&call.c.buffer) {
            return refuse("expected c in a buffer of its own, found it in an operand's".into());
        }
        Ok(())
    }

    /// Rules kernel_k9 and kernel_k10, and that stores match the buffer's scalar.
    fn memory(&self, stmt: &'k Stmt, runs: bool) -> Result<(), Problem> {
        if let Stmt::Store { buffer, value, .. } = stmt {
            let (found, held) = (self.kernel.reg_type(*value), self.buffer(*buffer)?.scalar);
            if !matches!(found, RegType::Number { scalar, .. } if scalar == held) {
                let message = format!("expected {held}, as the buffer holds, found {found}");
                return Err((Rule::Types, message));
            }
        }
        if let Stmt::Tile(call) = stmt {
            for panel in [&call.a, &call.b, &call.c] {
                self.affine(&panel.at)?;
            }
        }
        if let Stmt::Apply(apply) = stmt {
            self.affine(&apply.at)?;
        }
        let mut result = Ok(());
        touches(self.kernel, stmt, |touch| {
            if result.is_ok() {
                result = self.touch(&touch, runs);
            }
        });
        result
    }

    fn touch(&self, touch: &super::range::Touch<'_>, runs: bool) -> Result<(), Problem> {
        let buffer = self.buffer(touch.buffer)?;
        self.affine(touch.at)?;
        if touch.stores && buffer.access == Access::Read {
            let message = format!("expected a writable buffer, found {}, only read", buffer.name);
            return Err((Rule::Access, message));
        }
        if !runs {
            return Ok(());
        }
        let len = i128::try_from(buffer.len).expect("a usize fits i128");
        match self.extents.interval(touch.at, &touch.dims) {
            Some(range) if range.within(0, len) => Ok(()),
            Some(range) => {
                let expected = format!("expected elements of {} below {len}", buffer.name);
                Err((Rule::Addresses, format!("{expected}, found {} to {}", range.low, range.high)))
            }
            None => Err((Rule::Addresses, "the address overflows 128 bits".into())),
        }
    }

    /// Rule kernel_k7 for an expression.
    fn affine(&self, at: &Affine) -> Result<(), Problem> {
        let mut previous: Option<LoopVar> = None;
        for &(var, coefficient) in &at.terms {
            if previous.is_some_and(|previous| previous >= var) || coefficient == 0 {
                let message = format!("expected sorted terms with nonzero factors, found {at}");
                return Err((Rule::Variables, message));
            }
            if self.extents.get(var).is_none() {
                return Err((Rule::Variables, format!("{var} is not a variable in scope")));
            }
            previous = Some(var);
        }
        Ok(())
    }

    fn buffer(&self, buffer: Buffer) -> Result<&'k crate::kernel::BufferDecl, Problem> {
        self.kernel.buffers.get(buffer.0 as usize).ok_or_else(|| {
            let count = self.kernel.buffers.len();
            (Rule::Access, format!("expected one of {count} buffers, found number {}", buffer.0))
        })
    }

    fn define(&mut self, reg: Reg, uniform: bool) -> Result<(), Problem> {
        match self.states.get_mut(reg.0 as usize) {
            None => Err(unknown(reg)),
            Some(state @ State::Undefined) => {
                *state = State::Live { uniform };
                self.live.push(reg);
                Ok(())
            }
            Some(State::Live { .. } | State::OutOfScope) => {
                Err((Rule::Definitions, format!("{reg} is defined more than once")))
            }
        }
    }

    /// The type of a register that may be used here.
    fn type_of(&self, reg: Reg) -> Result<RegType, Problem> {
        match self.states.get(reg.0 as usize) {
            None => Err(unknown(reg)),
            Some(State::Live { .. }) => Ok(self.kernel.reg_type(reg)),
            Some(State::Undefined) => {
                Err((Rule::Scope, format!("{reg} is used before its definition")))
            }
            Some(State::OutOfScope) => {
                Err((Rule::Scope, format!("{reg} is used outside the loop that defines it")))
            }
        }
    }

    fn is_uniform(&self, reg: Reg) -> bool {
        self.states.get(reg.0 as usize) == Some(&State::Live { uniform: true })
    }

    fn expect_type(&self, reg: Reg, like: Reg) -> Result<(), Problem> {
        let (found, expected) = (self.type_of(reg)?, self.kernel.reg_type(like));
        if found == expected {
            return Ok(());
        }
        Err((Rule::Types, format!("{reg}: expected {expected}, as {like}, found {found}")))
    }
}

fn unknown(reg: Reg) -> Problem {
    (Rule::Definitions, format!("{reg} is not in the table of registers"))
}
