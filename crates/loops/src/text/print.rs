//! Prints kernels and programs. Any value prints, even one that the verifier refuses, since its
//! errors quote statements.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::kernel::{
    Access, Affine, Apply, Buffer, Inst, Kernel, Loop, Panel, Reg, RegType, Scalar, Stmt, TileCall,
};
use crate::program::{Branch, BufferPlace, Call, Item, Place, Program, Repeat, Slot, While};

impl fmt::Display for RegType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegType::Number { scalar, .. } => write!(f, "{scalar}")?,
            RegType::Mask { bits, .. } => write!(f, "mask{bits}")?,
        }
        match self.lanes() {
            1 => Ok(()),
            lanes => write!(f, "x{lanes}"),
        }
    }
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, &(var, coefficient)) in self.terms.iter().enumerate() {
            match (at, coefficient < 0) {
                (0, false) => {}
                (0, true) => f.write_str("-")?,
                (_, false) => f.write_str(" + ")?,
                (_, true) => f.write_str(" - ")?,
            }
            match coefficient.unsigned_abs() {
                1 => write!(f, "{var}")?,
                size => write!(f, "{size}*{var}")?,
            }
        }
        match (self.terms.is_empty(), self.constant) {
            (true, constant) => write!(f, "{constant}"),
            (false, 0) => Ok(()),
            (false, constant) if constant < 0 => write!(f, " - {}", constant.unsigned_abs()),
            (false, constant) => write!(f, " + {constant}"),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Printer::new(self).kernel())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Name(&self.name);
        let (arena, externals) = (self.arena_bytes, self.externals);
        writeln!(f, "program @{name} arena={arena} externals={externals} {{")?;
        for buffer in &self.buffers {
            writeln!(f, "  {}", PlaceLine(buffer))?;
        }
        for kernel in &self.kernels {
            for line in kernel.to_string().lines() {
                writeln!(f, "  {line}")?;
            }
        }
        let kernels = References::new(self.kernels.iter().map(|kernel| kernel.name.as_str()));
        let buffers = References::new(self.buffers.iter().map(|buffer| buffer.name.as_str()));
        let slots = |slots: &[Slot]| {
            let names: Vec<String> = slots.iter().map(|slot| buffers.get(slot.0)).collect();
            names.join(", ")
        };
        for at in 0..=self.body.len() {
            if let Some(gate) = self.gate.as_ref().filter(|gate| gate.after == at) {
                writeln!(f, "  gate ({})", slots(&gate.conditions))?;
            }
            let item = self.body.get(at).map_or(&[][..], std::slice::from_ref);
            items(item, 1, &kernels, &slots, f)?;
        }
        writeln!(f, "}}")
    }
}

/// Recurses once a block.
fn items(
    items_of: &[Item],
    indent: usize,
    kernels: &References,
    slots: &dyn Fn(&[Slot]) -> String,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for item in items_of {
        let margin = format!("{:width$}", "", width = 2 * indent);
        f.write_str(&margin)?;
        match item {
            Item::Call(Call { kernel, args }) => {
                writeln!(f, "call {}({})", kernels.get(kernel.0), slots(args))?;
            }
            Item::Repeat(Repeat { count, body }) => {
                writeln!(f, "repeat {count} {{")?;
                items(body, indent + 1, kernels, slots, f)?;
                writeln!(f, "{margin}}}")?;
            }
            Item::Branch(Branch { condition, then, otherwise }) => {
                writeln!(f, "branch {} {{", slots(&[*condition]))?;
                items(then, indent + 1, kernels, slots, f)?;
                if !otherwise.is_empty() {
                    writeln!(f, "{margin}}} else {{")?;
                    items(otherwise, indent + 1, kernels, slots, f)?;
                }
                writeln!(f, "{margin}}}")?;
            }
            Item::While(While { test, condition, body }) => {
                writeln!(f, "while {{")?;
                items(test, indent + 1, kernels, slots, f)?;
                writeln!(f, "{margin}}} test {} {{", slots(&[*condition]))?;
                items(body, indent + 1, kernels, slots, f)?;
                writeln!(f, "{margin}}}")?;
            }
        }
    }
    Ok(())
}

/// The first line of a statement.
pub(crate) fn headline(kernel: &Kernel, stmt: &Stmt) -> String {
    let mut printer = Printer::new(kernel);
    match stmt {
        Stmt::For(inner) => printer.loop_header(inner),
        Stmt::Let { .. } | Stmt::Store { .. } | Stmt::Tile(_) | Stmt::Apply(_) => {
            printer.stmt(stmt);
        }
    }
    printer.out.trim().to_owned()
}

/// Whether a name needs no quotes.
pub(super) fn is_word(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(starts)
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}

/// A name as it is written: a word, or a string with escapes.
struct Name<'n>(&'n str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_word(self.0) {
            return f.write_str(self.0);
        }
        write!(f, "\"{}\"", self.0.escape_default())
    }
}

/// How to refer to the entries of a table: by name where it is a word that no other entry has,
/// else by position.
struct References(Vec<String>);

impl References {
    fn new<'n>(names: impl Iterator<Item = &'n str> + Clone) -> References {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        names.clone().for_each(|name| *counts.entry(name).or_default() += 1);
        let refer = |(at, name): (usize, &str)| {
            if counts[name] == 1 && is_word(name) { name.to_owned() } else { format!("#{at}") }
        };
        References(names.enumerate().map(refer).collect())
    }

    fn get(&self, at: u32) -> String {
        self.0.get(at as usize).cloned().unwrap_or_else(|| format!("#{at}"))
    }
}

struct PlaceLine<'p>(&'p BufferPlace);

impl fmt::Display for PlaceLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BufferPlace { name, scalar, len, place, writable } = self.0;
        write!(f, "buffer {}: {scalar}[{len}] ", Name(name))?;
        match place {
            Place::Arena { offset } => write!(f, "arena {offset}")?,
            Place::External { index } => write!(f, "external {index}")?,
            Place::Part { of, first, step, level } => {
                let sign = if *step < 0 { "-" } else { "" };
                let step = step.unsigned_abs();
                write!(f, "part #{} first {first} step {sign}{step} level {level}", of.0)?;
            }
            Place::Turn { even, odd, level } => {
                write!(f, "turn #{} #{} level {level}", even.0, odd.0)?;
            }
        }
        if *writable { Ok(()) } else { f.write_str(" readonly") }
    }
}

struct Printer<'k> {
    kernel: &'k Kernel,
    buffers: References,
    out: String,
    indent: usize,
}

impl<'k> Printer<'k> {
    fn new(kernel: &'k Kernel) -> Printer<'k> {
        let buffers = References::new(kernel.buffers.iter().map(|buffer| buffer.name.as_str()));
        Printer { kernel, buffers, out: String::new(), indent: 1 }
    }

    fn kernel(mut self) -> String {
        let Kernel { name, chunks, buffers, registers, body } = self.kernel;
        let header = format!("kernel @{} chunks={chunks} {{\n", Name(name));
        self.out.push_str(&header);
        for buffer in buffers {
            let access = match buffer.access {
                Access::Read => "read",
                Access::Write => "write",
                Access::ReadWrite => "readwrite",
                Access::Scratch => "scratch",
            };
            let (scalar, len) = (buffer.scalar, buffer.len);
            self.line(format_args!("buffer {}: {scalar}[{len}] {access}", Name(&buffer.name)));
        }
        let mut defined = vec![false; registers.len()];
        mark_defined(body, &mut defined);
        for (at, _) in defined.iter().enumerate().filter(|(_, defined)| !**defined) {
            let reg = self.typed(Reg(at as u32));
            self.line(format_args!("unused {reg}"));
        }
        body.iter().for_each(|stmt| self.stmt(stmt));
        self.out.push_str("}\n");
        self.out
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
        writeln!(self.out, "{line}").expect("writing to a string cannot fail");
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let { reg, inst } => {
                let (left, right) = (self.typed(*reg), self.inst(*reg, inst));
                self.line(format_args!("{left} = {right}"));
            }
            Stmt::Store { buffer, at, value } => {
                let buffer = self.buffer(*buffer);
                self.line(format_args!("store {buffer}[{at}] = {value}"));
            }
            Stmt::For(inner) => {
                self.loop_header(inner);
                self.indent += 1;
                inner.body.iter().for_each(|stmt| self.stmt(stmt));
                if !inner.carries.is_empty() {
                    let next: Vec<String> =
                        inner.carries.iter().map(|carry| carry.next.to_string()).collect();
                    self.line(format_args!("next {}", next.join(", ")));
                }
                self.indent -= 1;
                self.line(format_args!("}}"));
            }
            Stmt::Tile(call) => {
                let line = self.tile(call);
                self.line(format_args!("{line}"));
            }
            Stmt::Apply(apply) => {
                let line = self.apply(apply);
                self.line(format_args!("{line}"));
            }
        }
    }

    fn loop_header(&mut self, inner: &Loop) {
        let Loop { var, pick, extent, carries, body: _ } = inner;
        let pick = pick.map_or_else(String::new, |index| format!("at {index} "));
        let (mut results, mut passed) = (String::new(), String::new());
        if !carries.is_empty() {
            let list: Vec<String> = carries.iter().map(|carry| self.typed(carry.result)).collect();
            results = format!("{} = ", list.join(", "));
            let list: Vec<String> =
                carries.iter().map(|carry| format!("{} = {}", carry.param, carry.init)).collect();
            passed = format!("carry ({}) ", list.join(", "));
        }
        self.line(format_args!("{results}for {var} {pick}in 0..{extent} {passed}{{"));
    }

    fn apply(&self, apply: &Apply) -> String {
        let Apply { function, buffer, at, count } = apply;
        format!("apply {function} count={count} {}[{at}]", self.buffer(*buffer))
    }

    fn tile(&self, call: &TileCall) -> String {
        let shape = call.shape;
        let multiply = if shape.fma { "fma" } else { "unfused" };
        let assign = if call.accumulate { "+=" } else { "=" };
        let (a, b, c) = (self.panel(&call.a), self.panel(&call.b), self.panel(&call.c));
        format!(
            "tile {} {}x{} {multiply} rows={} cols={} depth={} {c} {assign} {a} * {b}",
            shape.scalar, shape.rows, shape.cols, call.rows, call.cols, call.depth
        )
    }

    fn panel(&self, panel: &Panel) -> String {
        let buffer = self.buffer(panel.buffer);
        format!("{buffer}[{}; {}, {}]", panel.at, panel.row_stride, panel.col_stride)
    }

    fn inst(&self, reg: Reg, inst: &Inst) -> String {
        match inst {
            Inst::Const { bits } => match self.type_of(reg).and_then(|ty| decimal(ty, *bits)) {
                Some(value) => format!("const {bits:#x} // {value}"),
                None => format!("const {bits:#x}"),
            },
            Inst::Index { at, step: 0 } => format!("index {at}"),
            Inst::Index { at, step } => format!("index {at} step {step}"),
            Inst::Load { buffer, at } => format!("load {}[{at}]", self.buffer(*buffer)),
            Inst::Splat(value) => format!("splat {value}"),
            Inst::Lane { vector, lane } => format!("lane {vector} {lane}"),
            Inst::Unary(op, value) => format!("{op} {value}"),
            Inst::Binary(op, lhs, rhs) => format!("{op} {lhs}, {rhs}"),
            Inst::Fma(a, b, c) => format!("fma {a}, {b}, {c}"),
            Inst::Compare(op, lhs, rhs) => format!("{op} {lhs}, {rhs}"),
            Inst::Mask(op, lhs, rhs) => format!("{op} {lhs}, {rhs}"),
            Inst::MaskNot(value) => format!("mask_not {value}"),
            Inst::Select(mask, then, otherwise) => format!("select {mask}, {then}, {otherwise}"),
            Inst::Convert(value) => format!("convert {value}"),
            Inst::Bitcast(value) => format!("bitcast {value}"),
            Inst::Interleave(half, lhs, rhs) => format!("{half} {lhs}, {rhs}"),
        }
    }

    fn buffer(&self, buffer: Buffer) -> String {
        self.buffers.get(buffer.0)
    }

    fn type_of(&self, reg: Reg) -> Option<RegType> {
        self.kernel.registers.get(reg.0 as usize).copied()
    }

    fn typed(&self, reg: Reg) -> String {
        match self.type_of(reg) {
            Some(ty) => format!("{reg}: {ty}"),
            None => format!("{reg}: ?"),
        }
    }
}

/// The number that a constant's bits stand for; `None` for masks, whose bits say it.
fn decimal(ty: RegType, bits: u64) -> Option<String> {
    match ty {
        RegType::Number { scalar, .. } => Some(match scalar {
            Scalar::F32 => format!("{:?}", f32::from_bits(bits as u32)),
            Scalar::F64 => format!("{:?}", f64::from_bits(bits)),
            Scalar::I32 => (bits as i32).to_string(),
            Scalar::I64 => (bits as i64).to_string(),
            Scalar::U8 => (bits as u8).to_string(),
        }),
        RegType::Mask { .. } => None,
    }
}

fn mark_defined(body: &[Stmt], defined: &mut [bool]) {
    let mut mark = |reg: Reg| {
        if let Some(defined) = defined.get_mut(reg.0 as usize) {
            *defined = true;
        }
    };
    for stmt in body {
        match stmt {
            Stmt::Let { reg, .. } => mark(*reg),
            Stmt::For(inner) => {
                inner.carries.iter().for_each(|carry| {
                    mark(carry.param);
                    mark(carry.result);
                });
            }
            Stmt::Store { .. } | Stmt::Tile(_) | Stmt::Apply(_) => {}
        }
    }
    for stmt in body {
        if let Stmt::For(inner) = stmt {
            mark_defined(&inner.body, defined);
        }
    }
}
