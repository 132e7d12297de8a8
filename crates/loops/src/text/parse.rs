//! Parses kernels and programs by recursive descent; the grammar is in the parent module.

use std::collections::BTreeMap;

use crate::kernel::{
    Access, Affine, Apply, BinaryInst, Buffer, BufferDecl, Carry, CompareInst, Half, Inst, Kernel,
    Loop, LoopVar, MaskInst, Panel, Reg, RegType, Scalar, Stmt, TileCall, TileShape, UnaryInst,
};
use crate::math::Function;
use crate::program::{
    Branch, BufferPlace, Call, Gate, Item, KernelId, Place, Program, Repeat, Slot, While,
};
use crate::verify::{MAX_NESTING, MAX_REPEATS};

use super::cursor::{Parsed, Parser, Table, digits, scalar_named};
use super::lex::{Position, Token};

/// A text that is not a kernel or program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {problem}")]
pub struct ParseError {
    line: u32,
    column: u32,
    problem: String,
}

impl ParseError {
    pub(super) fn new(at: Position, problem: String) -> ParseError {
        ParseError { line: at.line, column: at.column, problem }
    }

    /// The line, counted from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column in characters, counted from 1.
    pub fn column(&self) -> u32 {
        self.column
    }

    /// What was expected and what was found.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// Reads one kernel. It may break the verifier's rules.
///
/// # Errors
///
/// The first place where the text departs from the grammar.
///
/// # Examples
///
/// ```
/// let text = "kernel @fill chunks=1 {
///   buffer x: f32[8] write
///   %0: f32x4 = const 0x3f800000 // 1.0
///   for i1 in 0..2 {
///     store x[4*i1] = %0
///   }
/// }
/// ";
/// let kernel = kilngrad_loops::parse_kernel(text)?;
/// assert_eq!(kernel.to_string(), text);
/// # Ok::<(), kilngrad_loops::ParseError>(())
/// ```
pub fn parse_kernel(text: &str) -> Result<Kernel, ParseError> {
    let mut parser = Parser::new(text)?;
    let kernel = parser.kernel()?;
    parser.end()?;
    Ok(kernel)
}

/// Reads one program. It may break the verifier's rules.
///
/// # Errors
///
/// The first place where the text departs from the grammar.
pub fn parse_program(text: &str) -> Result<Program, ParseError> {
    let mut parser = Parser::new(text)?;
    let program = parser.program()?;
    parser.end()?;
    Ok(program)
}

/// What the statements of a kernel refer to.
struct Names {
    buffers: Table,
    registers: BTreeMap<u32, RegType>,
}

/// Programs and the frame of kernels.
impl Parser<'_> {
    fn program(&mut self) -> Parsed<Program> {
        self.word("program")?;
        let name = self.symbol()?;
        let arena_bytes = self.setting("arena")?;
        let externals = self.setting("externals")?;
        self.mark("{")?;
        let mut buffers = Vec::new();
        while self.is_word("buffer") {
            buffers.push(self.place()?);
        }
        let mut kernels = Vec::new();
        while self.is_word("kernel") {
            kernels.push(self.kernel()?);
        }
        let slots = Table::new(buffers.iter().map(|buffer| buffer.name.as_str()));
        let ids = Table::new(kernels.iter().map(|kernel: &Kernel| kernel.name.as_str()));
        let (mut body, mut gate) = (Vec::new(), None);
        loop {
            if gate.is_none() && self.accept_word("gate")? {
                gate = Some(Gate { after: body.len(), conditions: self.slots(&slots)? });
            } else if let Some(item) = self.item(&slots, &ids, 0)? {
                body.push(item);
            } else {
                break;
            }
        }
        self.mark("}")?;
        Ok(Program { name, arena_bytes, externals, buffers, kernels, body, gate })
    }

    /// `call k(x, y)` or a block, if there is one: `repeat 8 { … }`, `branch c { … } else { … }` or
    /// `while { … } test c { … }`. Recurses once a block.
    fn item(&mut self, slots: &Table, ids: &Table, depth: usize) -> Parsed<Option<Item>> {
        if self.accept_word("call")? {
            let kernel = KernelId(self.reference(ids, "a kernel")?);
            return Ok(Some(Item::Call(Call { kernel, args: self.slots(slots)? })));
        }
        if depth >= MAX_REPEATS && ["repeat", "branch", "while"].iter().any(|w| self.is_word(w)) {
            let problem = format!("expected at most {MAX_REPEATS} nested blocks");
            return Err(ParseError::new(self.at, problem));
        }
        let depth = depth + 1;
        Ok(Some(if self.accept_word("repeat")? {
            let count = self.int("a number of iterations")?;
            Item::Repeat(Repeat { count, body: self.block(slots, ids, depth)? })
        } else if self.accept_word("branch")? {
            let condition = Slot(self.reference(slots, "a buffer")?);
            let then = self.block(slots, ids, depth)?;
            let otherwise = match self.accept_word("else")? {
                true => self.block(slots, ids, depth)?,
                false => Vec::new(),
            };
            Item::Branch(Branch { condition, then, otherwise })
        } else if self.accept_word("while")? {
            let test = self.block(slots, ids, depth)?;
            self.word("test")?;
            let condition = Slot(self.reference(slots, "a buffer")?);
            Item::While(While { test, condition, body: self.block(slots, ids, depth)? })
        } else {
            return Ok(None);
        }))
    }

    /// `{ … }`, which is inside so many blocks with itself.
    fn block(&mut self, slots: &Table, ids: &Table, depth: usize) -> Parsed<Vec<Item>> {
        self.mark("{")?;
        let mut items = Vec::new();
        while let Some(item) = self.item(slots, ids, depth)? {
            items.push(item);
        }
        self.mark("}")?;
        Ok(items)
    }

    /// `(x, y)`.
    fn slots(&mut self, names: &Table) -> Parsed<Vec<Slot>> {
        self.mark("(")?;
        let slots = match self.is_mark(")") {
            true => Vec::new(),
            false => self.list(|parser| Ok(Slot(parser.reference(names, "a buffer")?)))?,
        };
        self.mark(")")?;
        Ok(slots)
    }

    fn place(&mut self) -> Parsed<BufferPlace> {
        let (name, scalar, len) = self.declared()?;
        let place = if self.accept_word("arena")? {
            Place::Arena { offset: self.int("an offset")? }
        } else if self.accept_word("part")? {
            let of = self.numbered()?;
            self.word("first")?;
            let first = self.int("an element")?;
            self.word("step")?;
            let step = self.int("a number of elements")?;
            self.word("level")?;
            Place::Part { of, first, step, level: self.int("a level")? }
        } else if self.accept_word("turn")? {
            let (even, odd) = (self.numbered()?, self.numbered()?);
            self.word("level")?;
            Place::Turn { even, odd, level: self.int("a level")? }
        } else {
            self.word("external")?;
            Place::External { index: self.int("an index")? }
        };
        let writable = !self.accept_word("readonly")?;
        Ok(BufferPlace { name, scalar, len, place, writable })
    }

    /// `#3`: a buffer by its position, as it may come later.
    fn numbered(&mut self) -> Parsed<Slot> {
        self.mark("#")?;
        Ok(Slot(self.int("a position")?))
    }

    /// `buffer name: scalar[len]`.
    fn declared(&mut self) -> Parsed<(String, Scalar, usize)> {
        self.word("buffer")?;
        let name = self.name()?;
        self.mark(":")?;
        let scalar = self.scalar()?;
        self.mark("[")?;
        let len = self.int("a length")?;
        self.mark("]")?;
        Ok((name, scalar, len))
    }

    fn kernel(&mut self) -> Parsed<Kernel> {
        self.word("kernel")?;
        let start = self.at;
        let name = self.symbol()?;
        let chunks = self.setting("chunks")?;
        self.mark("{")?;
        let mut buffers = Vec::new();
        while self.is_word("buffer") {
            let (name, scalar, len) = self.declared()?;
            let access = self.known("an access", access_named)?;
            buffers.push(BufferDecl { name, scalar, len, access });
        }
        let table = Table::new(buffers.iter().map(|buffer| buffer.name.as_str()));
        let mut names = Names { buffers: table, registers: BTreeMap::new() };
        while self.accept_word("unused")? {
            self.definition(&mut names)?;
        }
        let body = self.body(&mut names, 0)?;
        self.mark("}")?;
        let registers: Vec<RegType> = names.registers.values().copied().collect();
        let missing = names.registers.keys().zip(0..).find(|(found, at)| *found != at);
        if let Some((_, at)) = missing {
            let problem = format!("expected a definition of every register, found none of %{at}");
            return Err(ParseError::new(start, problem));
        }
        Ok(Kernel { name, chunks, buffers, registers, body })
    }

    /// `%n: type`, which enters the table of registers.
    fn definition(&mut self, names: &mut Names) -> Parsed<Reg> {
        let at = self.at;
        let reg = self.reg()?;
        self.mark(":")?;
        let ty = self.known("a type", type_named)?;
        self.enter(at, reg, ty, names)
    }

    fn enter(&self, at: Position, reg: Reg, ty: RegType, names: &mut Names) -> Parsed<Reg> {
        if names.registers.insert(reg.0, ty).is_some() {
            let problem = format!("expected one definition of {reg}, found another");
            return Err(ParseError::new(at, problem));
        }
        Ok(reg)
    }
}

/// Statements.
impl Parser<'_> {
    /// Statements up to `next` or a closing brace.
    fn body(&mut self, names: &mut Names, depth: usize) -> Parsed<Vec<Stmt>> {
        let mut body = Vec::new();
        while !self.is_mark("}") && !self.is_word("next") {
            body.push(self.stmt(names, depth)?);
        }
        Ok(body)
    }

    fn stmt(&mut self, names: &mut Names, depth: usize) -> Parsed<Stmt> {
        if self.accept_word("store")? {
            let buffer = self.buffer(names)?;
            let at = self.index()?;
            self.mark("=")?;
            return Ok(Stmt::Store { buffer, at, value: self.reg()? });
        }
        if self.is_word("tile") {
            return Ok(Stmt::Tile(Box::new(self.tile(names)?)));
        }
        if self.accept_word("apply")? {
            return Ok(Stmt::Apply(Box::new(self.apply(names)?)));
        }
        if self.is_word("for") {
            return self.for_loop(names, Vec::new(), depth);
        }
        if !self.is_mark("%") {
            return self.unexpected("a statement");
        }
        let defined = self.list(|parser| parser.definition(names))?;
        self.mark("=")?;
        match defined[..] {
            [reg] if !self.is_word("for") => Ok(Stmt::Let { reg, inst: self.inst(names)? }),
            _ => self.for_loop(names, defined, depth),
        }
    }

    fn for_loop(&mut self, names: &mut Names, results: Vec<Reg>, depth: usize) -> Parsed<Stmt> {
        if depth >= MAX_NESTING {
            let problem = format!("expected at most {MAX_NESTING} nested loops");
            return Err(ParseError::new(self.at, problem));
        }
        self.word("for")?;
        let var = self.var()?;
        let pick = if self.accept_word("at")? { Some(self.reg()?) } else { None };
        self.word("in")?;
        let zero = self.at;
        if self.int::<u64>("`0`")? != 0 {
            return Err(ParseError::new(zero, "expected a loop that begins at 0".to_owned()));
        }
        self.mark("..")?;
        let extent = self.int("an extent")?;
        let mut carries = Vec::new();
        if !results.is_empty() {
            self.word("carry")?;
            self.mark("(")?;
            for (at, &result) in results.iter().enumerate() {
                if at > 0 {
                    self.mark(",")?;
                }
                let (param, init) = self.parameter(names, result)?;
                carries.push(Carry { param, init, next: param, result });
            }
            self.mark(")")?;
        }
        self.mark("{")?;
        let body = self.body(names, depth + 1)?;
        if !carries.is_empty() {
            self.word("next")?;
            for (at, carry) in carries.iter_mut().enumerate() {
                if at > 0 {
                    self.mark(",")?;
                }
                carry.next = self.reg()?;
            }
        }
        self.mark("}")?;
        Ok(Stmt::For(Box::new(Loop { var, pick, extent, carries, body })))
    }

    /// `param = init`; the parameter has the type of the result.
    fn parameter(&mut self, names: &mut Names, result: Reg) -> Parsed<(Reg, Reg)> {
        let at = self.at;
        let param = self.reg()?;
        let ty = names.registers[&result.0];
        self.enter(at, param, ty, names)?;
        self.mark("=")?;
        Ok((param, self.reg()?))
    }

    fn tile(&mut self, names: &Names) -> Parsed<TileCall> {
        self.word("tile")?;
        let scalar = self.scalar()?;
        let rows = self.int("a number of rows")?;
        let cols = self
            .known("`x` and a number of columns", |word| word.strip_prefix('x').and_then(digits))?;
        let fma = self.known("`fma` or `unfused`", |word| match word {
            "fma" => Some(true),
            "unfused" => Some(false),
            _ => None,
        })?;
        let shape = TileShape { scalar, rows, cols, fma };
        let rows = self.setting("rows")?;
        let cols = self.setting("cols")?;
        let depth = self.setting("depth")?;
        let c = self.panel(names)?;
        let accumulate = self.accept("+=")?;
        if !accumulate {
            self.mark("=")?;
        }
        let a = self.panel(names)?;
        self.mark("*")?;
        let b = self.panel(names)?;
        Ok(TileCall { shape, a, b, c, rows, cols, depth, accumulate })
    }

    fn apply(&mut self, names: &Names) -> Parsed<Apply> {
        let function = self.known("an elementary function", |word| {
            Function::ALL.iter().copied().find(|function| function.name() == word)
        })?;
        let count = self.setting("count")?;
        let buffer = self.buffer(names)?;
        Ok(Apply { function, buffer, at: self.index()?, count })
    }

    fn panel(&mut self, names: &Names) -> Parsed<Panel> {
        let buffer = self.buffer(names)?;
        self.mark("[")?;
        let at = self.affine()?;
        self.mark(";")?;
        let row_stride = self.int("a row stride")?;
        self.mark(",")?;
        let col_stride = self.int("a column stride")?;
        self.mark("]")?;
        Ok(Panel { buffer, at, row_stride, col_stride })
    }

    fn buffer(&mut self, names: &Names) -> Parsed<Buffer> {
        Ok(Buffer(self.reference(&names.buffers, "a buffer")?))
    }

    fn index(&mut self) -> Parsed<Affine> {
        self.mark("[")?;
        let at = self.affine()?;
        self.mark("]")?;
        Ok(at)
    }

    /// Sums coefficients exactly, so that terms of one variable may be spread.
    fn affine(&mut self) -> Parsed<Affine> {
        let start = self.at;
        let mut constant = 0i128;
        let mut terms: BTreeMap<LoopVar, i128> = BTreeMap::new();
        let mut sign = if self.accept("-")? { -1 } else { 1 };
        loop {
            let (factor, var) = self.term()?;
            *var.map_or(&mut constant, |var| terms.entry(var).or_default()) += sign * factor;
            sign = if self.accept("+")? {
                1
            } else if self.accept("-")? {
                -1
            } else {
                break;
            };
        }
        let narrow = |value: i128| {
            i64::try_from(value).map_err(|_| {
                ParseError::new(start, format!("expected factors that fit i64, found {value}"))
            })
        };
        let mut affine = Affine::constant(narrow(constant)?);
        for (var, factor) in terms {
            affine = affine.plus(var, narrow(factor)?);
        }
        Ok(affine)
    }

    fn term(&mut self) -> Parsed<(i128, Option<LoopVar>)> {
        if let Token::Word(_) = self.token {
            return Ok((1, Some(self.var()?)));
        }
        let factor = i128::from(self.int::<u64>("a number or a loop variable")?);
        if self.accept("*")? { Ok((factor, Some(self.var()?))) } else { Ok((factor, None)) }
    }
}

/// Instructions.
impl Parser<'_> {
    fn inst(&mut self, names: &Names) -> Parsed<Inst> {
        let at = self.at;
        let Token::Word(word) = self.token else { return self.unexpected("an instruction") };
        self.advance()?;
        match word {
            "const" => Ok(Inst::Const { bits: self.int("a bit pattern")? }),
            "index" => {
                let at = self.affine()?;
                let step = if self.accept_word("step")? { self.int("a step")? } else { 0 };
                Ok(Inst::Index { at, step })
            }
            "load" => Ok(Inst::Load { buffer: self.buffer(names)?, at: self.index()? }),
            "splat" => Ok(Inst::Splat(self.reg()?)),
            "lane" => Ok(Inst::Lane { vector: self.reg()?, lane: self.int("a lane")? }),
            "fma" => self.three().map(|(a, b, c)| Inst::Fma(a, b, c)),
            "select" => self.three().map(|(mask, a, b)| Inst::Select(mask, a, b)),
            "convert" => Ok(Inst::Convert(self.reg()?)),
            "bitcast" => Ok(Inst::Bitcast(self.reg()?)),
            "mask_not" => Ok(Inst::MaskNot(self.reg()?)),
            _ => self.lanewise(word, at),
        }
    }

    fn lanewise(&mut self, word: &str, at: Position) -> Parsed<Inst> {
        if let Some(op) = UnaryInst::from_name(word) {
            return Ok(Inst::Unary(op, self.reg()?));
        }
        if let Some(op) = BinaryInst::from_name(word) {
            return self.two().map(|(a, b)| Inst::Binary(op, a, b));
        }
        if let Some(op) = CompareInst::from_name(word) {
            return self.two().map(|(a, b)| Inst::Compare(op, a, b));
        }
        if let Some(op) = MaskInst::from_name(word) {
            return self.two().map(|(a, b)| Inst::Mask(op, a, b));
        }
        if let Some(half) = Half::from_name(word) {
            return self.two().map(|(a, b)| Inst::Interleave(half, a, b));
        }
        Err(ParseError::new(at, format!("expected an instruction, found `{word}`")))
    }

    fn two(&mut self) -> Parsed<(Reg, Reg)> {
        let first = self.reg()?;
        self.mark(",")?;
        Ok((first, self.reg()?))
    }

    fn three(&mut self) -> Parsed<(Reg, Reg, Reg)> {
        let (first, second) = self.two()?;
        self.mark(",")?;
        Ok((first, second, self.reg()?))
    }
}

fn access_named(word: &str) -> Option<Access> {
    match word {
        "read" => Some(Access::Read),
        "write" => Some(Access::Write),
        "readwrite" => Some(Access::ReadWrite),
        "scratch" => Some(Access::Scratch),
        _ => None,
    }
}

fn type_named(word: &str) -> Option<RegType> {
    let (element, lanes) = match word.split_once('x') {
        Some((element, lanes)) => (element, digits(lanes)?),
        None => (word, 1),
    };
    match element.strip_prefix("mask") {
        Some(bits) => Some(RegType::Mask { bits: digits(bits)?, lanes }),
        None => Some(RegType::Number { scalar: scalar_named(element)?, lanes }),
    }
}
