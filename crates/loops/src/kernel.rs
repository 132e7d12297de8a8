//! Kernel-level loop IR: loops with constant extents over affine buffers.
//!
//! Every extent, stride and offset is a constant, because symbols are bound before a program is
//! lowered. So the verifier proves each address by interval arithmetic alone, and generated code
//! needs no bounds checks. Registers are in single-assignment form; what a loop accumulates is
//! written down as its carries.

use std::fmt;

use crate::math::Function;

/// The type of one lane of a register, and of one element of a buffer.
///
/// Truth values are [`Scalar::U8`] 0 or 1 in memory and masks in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// 32-bit two's complement.
    I32,
    /// 64-bit two's complement.
    I64,
    /// Unsigned 8 bits.
    U8,
}

impl Scalar {
    /// Every scalar, in the order of the enum.
    pub const ALL: [Scalar; 5] = [Scalar::F32, Scalar::F64, Scalar::I32, Scalar::I64, Scalar::U8];

    /// Bytes of one element.
    #[inline]
    pub const fn size(self) -> usize {
        match self {
            Scalar::F32 | Scalar::I32 => 4,
            Scalar::F64 | Scalar::I64 => 8,
            Scalar::U8 => 1,
        }
    }

    /// Whether this is a floating-point type.
    pub const fn is_float(self) -> bool {
        match self {
            Scalar::F32 | Scalar::F64 => true,
            Scalar::I32 | Scalar::I64 | Scalar::U8 => false,
        }
    }

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Scalar::F32 => "f32",
            Scalar::F64 => "f64",
            Scalar::I32 => "i32",
            Scalar::I64 => "i64",
            Scalar::U8 => "u8",
        }
    }
}

/// The type of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegType {
    /// `lanes` numbers: 1, or as many as 128 bits hold (four of 32 bits, two of 64). `U8` is
    /// scalar only.
    Number {
        /// The type of a lane.
        scalar: Scalar,
        /// 1, 2 or 4.
        lanes: u8,
    },
    /// `lanes` truth values, the result of a comparison of lanes of `bits` bits. A scalar mask
    /// has `bits` 8 whatever was compared.
    Mask {
        /// 8 for one lane; else 32 (four lanes) or 64 (two).
        bits: u8,
        /// 1, 2 or 4.
        lanes: u8,
    },
}

impl RegType {
    /// One number.
    pub const fn scalar(scalar: Scalar) -> RegType {
        RegType::Number { scalar, lanes: 1 }
    }

    /// As many numbers as a 128-bit vector holds.
    pub const fn vector(scalar: Scalar) -> RegType {
        RegType::Number { scalar, lanes: (16 / scalar.size()) as u8 }
    }

    /// The type of a comparison of two registers of this type.
    pub const fn mask(self) -> RegType {
        match self {
            RegType::Number { lanes: 1, .. } => RegType::Mask { bits: 8, lanes: 1 },
            RegType::Number { scalar, lanes } => {
                RegType::Mask { bits: 8 * scalar.size() as u8, lanes }
            }
            RegType::Mask { .. } => self,
        }
    }

    /// Number of lanes.
    pub const fn lanes(self) -> u8 {
        match self {
            RegType::Number { lanes, .. } | RegType::Mask { lanes, .. } => lanes,
        }
    }
}

/// A register of a kernel: an index into [`Kernel::registers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub u32);

/// A loop variable: unique within a kernel. [`Kernel::CHUNK`] is the chunk's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoopVar(pub u32);

/// A buffer of a kernel: an index into [`Kernel::buffers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Buffer(pub u32);

/// How a kernel uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only read.
    Read,
    /// Only written; holds nothing on entry. What is read back was written by the same chunk.
    Write,
    /// Read and written.
    ReadWrite,
    /// Private to one chunk and gone after it; holds nothing on entry. Not a parameter: the
    /// caller provides the bytes, in [`Kernel::scratch_bytes`].
    Scratch,
}

/// A buffer as a kernel declares it. No two buffers of one kernel overlap, save where the call
/// binds the same memory to a `Read` and a `Write` buffer of equal length, which the lowering
/// allows only where element `i` is read solely to write element `i`, and last.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BufferDecl {
    /// For the text form; need not be unique.
    pub name: String,
    /// Type of an element.
    pub scalar: Scalar,
    /// Number of elements.
    pub len: usize,
    /// How it is used.
    pub access: Access,
}

/// `constant + Σ coefficient · variable`, in elements. Terms are sorted by variable, and no
/// coefficient is zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Affine {
    /// The constant part.
    pub constant: i64,
    /// Variables with their coefficients.
    pub terms: smallvec::SmallVec<[(LoopVar, i64); 4]>,
}

impl Affine {
    /// The constant `value`.
    pub fn constant(value: i64) -> Affine {
        Affine { constant: value, terms: smallvec::SmallVec::new() }
    }

    /// `var` itself.
    pub fn var(var: LoopVar) -> Affine {
        Affine::constant(0).plus(var, 1)
    }

    /// This plus `coefficient · var`.
    #[must_use]
    pub fn plus(mut self, var: LoopVar, coefficient: i64) -> Affine {
        match self.terms.binary_search_by_key(&var, |term| term.0) {
            Ok(at) => {
                self.terms[at].1 += coefficient;
                if self.terms[at].1 == 0 {
                    self.terms.remove(at);
                }
            }
            Err(_) if coefficient == 0 => {}
            Err(at) => self.terms.insert(at, (var, coefficient)),
        }
        self
    }

    /// This plus the constant `value`.
    #[must_use]
    pub fn offset(mut self, value: i64) -> Affine {
        self.constant += value;
        self
    }

    /// The sum of two.
    #[must_use]
    pub fn add(&self, other: &Affine) -> Affine {
        let sum = self.clone().offset(other.constant);
        other.terms.iter().fold(sum, |sum, &(var, coefficient)| sum.plus(var, coefficient))
    }

    /// This times a constant.
    #[must_use]
    pub fn scaled(&self, factor: i64) -> Affine {
        let start = Affine::constant(self.constant * factor);
        self.terms.iter().fold(start, |sum, &(var, c)| sum.plus(var, c * factor))
    }

    /// The coefficient of `var`, zero where it does not occur.
    pub fn coefficient(&self, var: LoopVar) -> i64 {
        self.terms.iter().find(|term| term.0 == var).map_or(0, |term| term.1)
    }
}

/// One lane in, one lane out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryInst {
    /// Negation: floats flip the sign bit, integers wrap.
    Neg,
    /// Absolute value: floats clear the sign bit, integers wrap. Not for `U8`.
    Abs,
    /// Square root, correctly rounded. Floats.
    Sqrt,
    /// Round toward minus infinity. Floats.
    Floor,
    /// Round toward plus infinity. Floats.
    Ceil,
    /// Round toward zero. Floats.
    Trunc,
    /// Round to nearest, ties to even. Floats.
    Nearest,
    /// Complement of every bit. Integers.
    Not,
}

/// Two lanes in, one lane out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryInst {
    /// Sum; integers wrap.
    Add,
    /// Difference; integers wrap.
    Sub,
    /// Product; integers wrap.
    Mul,
    /// Quotient. Floats follow IEEE 754; integers truncate, `x/0 = −1` (all bits set),
    /// `MIN/−1 = MIN`. Integers are scalar only.
    Div,
    /// Remainder of the truncated quotient, with the sign of the first; `x%0 = x`,
    /// `MIN%−1 = 0`. Scalar integers only.
    Rem,
    /// `if a < b { a } else { b }`: the second where either is NaN or both are equal.
    MinSelect,
    /// `if a > b { a } else { b }`: the second where either is NaN or both are equal.
    MaxSelect,
    /// Bitwise and. Integers.
    And,
    /// Bitwise or. Integers.
    Or,
    /// Bitwise exclusive or. Integers.
    Xor,
    /// Shift left by the second, its value taken modulo the width. Integers; in a vector the
    /// second is a constant or a splat.
    Shl,
    /// Shift right filling with zeros, likewise.
    ShrU,
    /// Shift right filling with the sign, likewise (with zeros for `U8`, which has no sign).
    ShrS,
}

/// A comparison of two lanes. For floats every one but `Ne` is false where either is NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareInst {
    /// Equal; −0 equals +0.
    Eq,
    /// Not equal; true where either is NaN.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// A half of a vector's lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Half {
    /// The first lanes.
    Low,
    /// The last lanes.
    High,
}

/// A connective of masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskInst {
    /// Both.
    And,
    /// Either.
    Or,
    /// Exactly one.
    Xor,
}

/// What computes a register.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Inst {
    /// The same bits in every lane: of a number the low bits of `bits`, of a mask 0 or 1.
    Const {
        /// Bit pattern of a lane.
        bits: u64,
    },
    /// The affine expression's value, an `I64` scalar; `I32` (truncated) is allowed too. With
    /// more lanes, lane `l` holds the value plus `l · step`.
    Index {
        /// Value of lane 0.
        at: Affine,
        /// Difference from lane to lane; zero for scalars.
        step: i64,
    },
    /// Consecutive elements from `at` on, as many as the register has lanes. A `U8` buffer loads
    /// into a `U8` scalar.
    Load {
        /// Where from.
        buffer: Buffer,
        /// First element.
        at: Affine,
    },
    /// The scalar in every lane. Also of scalar masks, into the mask of the register's type.
    Splat(Reg),
    /// One lane of a vector, as a scalar.
    Lane {
        /// The vector.
        vector: Reg,
        /// Which lane.
        lane: u8,
    },
    /// Lane by lane.
    Unary(UnaryInst, Reg),
    /// Lane by lane.
    Binary(BinaryInst, Reg, Reg),
    /// `a·b + c` with one rounding. Floats, on machines that have it.
    Fma(Reg, Reg, Reg),
    /// Lane by lane, into a mask.
    Compare(CompareInst, Reg, Reg),
    /// Lane by lane on masks of one type.
    Mask(MaskInst, Reg, Reg),
    /// The opposite mask.
    MaskNot(Reg),
    /// The second where the mask (the first) is set, else the third. Numbers or masks.
    Select(Reg, Reg, Reg),
    /// The same number in the register's scalar type. Float to integer truncates and saturates,
    /// NaN to 0; integer to float rounds to nearest; integer to a narrower integer wraps; `U8`
    /// extends with zeros. Vectors: `F32`×4 ↔ `I32`×4 only. Scalar mask to `U8`: 0 or 1.
    Convert(Reg),
    /// The same bits in a type of equal size.
    Bitcast(Reg),
    /// The lanes of one half of each of two vectors in turn: `a₀ b₀ a₁ b₁ …` of the lower halves or
    /// of the upper ones. Vectors of numbers, all of the register's type.
    Interleave(Half, Reg, Reg),
}

/// A value that a loop carries from one iteration to the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Carry {
    /// What the body reads.
    pub param: Reg,
    /// Its value in the first iteration.
    pub init: Reg,
    /// Defined in the body (or `param`, or outside): the value in the next iteration.
    pub next: Reg,
    /// The value after the last iteration; `init` where the extent is zero.
    pub result: Reg,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stmt {
    /// Define a register.
    Let {
        /// Defined once in the kernel.
        reg: Reg,
        /// How.
        inst: Inst,
    },
    /// Write consecutive elements from `at` on, as many as `value` has lanes.
    Store {
        /// Where to.
        buffer: Buffer,
        /// First element.
        at: Affine,
        /// What.
        value: Reg,
    },
    /// Run the body with each value of a variable, or with one that a register picks.
    For(Box<Loop>),
    /// Call a contraction tile.
    Tile(Box<TileCall>),
    /// Apply a function to elements in place.
    Apply(Box<Apply>),
}

/// A counted loop, or one iteration of it.
///
/// One that is picked is how addresses depend on data: whatever the register holds, the variable
/// is below the extent, so what is proved of a loop's addresses holds of it as well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Loop {
    /// Counts from 0; unique in the kernel.
    pub var: LoopVar,
    /// An `I64` scalar that picks the only iteration that runs: the nearest there is. None runs
    /// where the extent is zero.
    pub pick: Option<Reg>,
    /// Number of iterations, possibly zero.
    pub extent: usize,
    /// Values passed on.
    pub carries: Vec<Carry>,
    /// Statements in order.
    pub body: Vec<Stmt>,
}

/// Which contraction tile: the shape of its register block and how it multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileShape {
    /// `F32` or `F64`.
    pub scalar: Scalar,
    /// Rows of the register block.
    pub rows: u8,
    /// Columns of the register block.
    pub cols: u8,
    /// Whether each term is added by a fused multiply-add.
    pub fma: bool,
}

/// A rectangle of a buffer as a tile sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Panel {
    /// The buffer.
    pub buffer: Buffer,
    /// Its first element.
    pub at: Affine,
    /// Elements from one row to the next (of `a` and `c`), from one k to the next (of `b`).
    pub row_stride: i64,
    /// Elements from one column to the next: from one k to the next (of `a`); 1 for `b` and `c`.
    pub col_stride: i64,
}

/// `c[i,j] = start + Σ_k a[i,k]·b[k,j]` for `i < rows`, `j < cols`, `k < depth`, where `start` is
/// 0 or the element of `c`, and terms are added one by one in the order of `k`: by fused
/// multiply-add, or by a product and a sum that round each, as the shape says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TileCall {
    /// The register block.
    pub shape: TileShape,
    /// Left operand, `rows × depth`.
    pub a: Panel,
    /// Right operand, `depth × cols`, unit column stride.
    pub b: Panel,
    /// Result, `rows × cols`, unit column stride.
    pub c: Panel,
    /// At most the shape's rows, at least 1.
    pub rows: u8,
    /// At most the shape's columns, at least 1.
    pub cols: u8,
    /// Number of terms, possibly zero.
    pub depth: usize,
    /// Whether the sum starts from what `c` holds.
    pub accumulate: bool,
}

/// `x = f(x)` for each of `count` consecutive elements `x` of a buffer of floats, by a leaf function
/// that takes as many at once as the processor can.
///
/// It computes [`Function::of`] a register that holds the elements, with fused multiply-add, to the
/// bit, NaN payloads aside: what straight-line code of the same function computes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Apply {
    /// Which function.
    pub function: Function,
    /// Where the elements are.
    pub buffer: Buffer,
    /// The first of them.
    pub at: Affine,
    /// How many, possibly zero.
    pub count: usize,
}

/// A function over buffers, run once for each of its chunks; chunks may run at once and in any
/// order, and no chunk writes what another reads or writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// For the text form and profiles.
    pub name: String,
    /// Number of chunks, at least 1. Fixed by shapes, never by the number of threads.
    pub chunks: usize,
    /// Parameters, in order, and scratch.
    pub buffers: Vec<BufferDecl>,
    /// Type of each register.
    pub registers: Vec<RegType>,
    /// Statements in order.
    pub body: Vec<Stmt>,
}

impl Kernel {
    /// The variable that holds the chunk's index, from 0 to `chunks − 1`.
    pub const CHUNK: LoopVar = LoopVar(0);

    /// Alignment of every scratch buffer and of the scratch area, in bytes.
    pub const SCRATCH_ALIGN: usize = 64;

    /// Where each scratch buffer begins in the chunk's scratch area, and the area's size, in
    /// bytes; `None` for parameters.
    pub fn scratch_layout(&self) -> (Vec<Option<usize>>, usize) {
        let mut bytes = 0;
        let offsets = self
            .buffers
            .iter()
            .map(|buffer| match buffer.access {
                Access::Read | Access::Write | Access::ReadWrite => None,
                Access::Scratch => {
                    let at = bytes;
                    let size = buffer.len * buffer.scalar.size();
                    bytes = (at + size).next_multiple_of(Kernel::SCRATCH_ALIGN);
                    Some(at)
                }
            })
            .collect();
        (offsets, bytes)
    }

    /// Bytes of scratch that one chunk needs.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch_layout().1
    }

    /// The type of a register.
    pub fn reg_type(&self, reg: Reg) -> RegType {
        self.registers[reg.0 as usize]
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for LoopVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}
