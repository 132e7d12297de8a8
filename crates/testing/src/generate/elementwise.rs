//! Element by element, with what keeps operands inside the domains.

use kilngrad_ir::op::{BINARY, BinaryOp, CompareOp, UNARY, UnaryOp};
use kilngrad_ir::{DType, Graph, Literal, Op, Value};

use super::range::{self, Range};
use super::{Generator, MAX_REAL, MAX_SMOOTH, MAX_WHOLE};
use crate::recipe::{Picks, Regime};

impl Generator {
    pub(super) fn unary_step(&mut self, picks: &mut Picks<'_>) {
        let x = self.pick(picks);
        let dtype = self.dtype(x);
        let ops: Vec<UnaryOp> = UNARY
            .iter()
            .filter(|row| row.domain.contains(dtype) && self.admits_unary(row.op, dtype))
            .map(|row| row.op)
            .collect();
        let op = picks.of(&ops);
        self.unary(op, x);
    }

    /// Whether the regime has an operation: of floats that hold whole numbers only the exact ones.
    fn admits_unary(&self, op: UnaryOp, dtype: DType) -> bool {
        is_exact(op) || !dtype.is_float() || self.case.regime != Regime::Integers
    }

    /// `op x`, whose operand is brought into the domain first.
    pub(super) fn unary(&mut self, op: UnaryOp, x: Value) -> Option<Value> {
        // None of no elements is outside; what they were broadcast from may be.
        if self.shape(self.graph.ty(x)).contains(&0) {
            return self.emit(Op::Unary(op), &[x], &[], Range::point(0.0));
        }
        let reals = self.case.regime == Regime::Reals && self.dtype(x).is_float();
        let x = match op {
            UnaryOp::Exp | UnaryOp::Expm1 | UnaryOp::Exp2 | UnaryOp::Sinh | UnaryOp::Cosh
                if reals =>
            {
                self.clamp(x, -6.0, 6.0)?
            }
            UnaryOp::Tan if reals => self.clamp(x, -1.2, 1.2)?,
            UnaryOp::Asin | UnaryOp::Acos | UnaryOp::Atanh if reals => self.clamp(x, -0.9, 0.9)?,
            UnaryOp::Acosh if reals => self.clamp(x, 1.1, 8.0)?,
            UnaryOp::Log | UnaryOp::Log2 | UnaryOp::Sqrt | UnaryOp::Rsqrt if reals => {
                self.positive(x)?
            }
            UnaryOp::Log1p if reals && self.range(x).low < -0.5 => self.size(x)?,
            UnaryOp::Neg
            | UnaryOp::Abs
            | UnaryOp::Sign
            | UnaryOp::Not
            | UnaryOp::Exp
            | UnaryOp::Expm1
            | UnaryOp::Log
            | UnaryOp::Log1p
            | UnaryOp::Sqrt
            | UnaryOp::Rsqrt
            | UnaryOp::Tanh
            | UnaryOp::Sigmoid
            | UnaryOp::Relu
            | UnaryOp::Erf
            | UnaryOp::Erfc
            | UnaryOp::Exp2
            | UnaryOp::Log2
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tan
            | UnaryOp::Asin
            | UnaryOp::Acos
            | UnaryOp::Atan
            | UnaryOp::Sinh
            | UnaryOp::Cosh
            | UnaryOp::Asinh
            | UnaryOp::Acosh
            | UnaryOp::Atanh
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Trunc => x,
        };
        self.raw_unary(op, x)
    }

    pub(super) fn raw_unary(&mut self, op: UnaryOp, x: Value) -> Option<Value> {
        let range = range::unary(op, self.range(x), self.dtype(x));
        self.emit(Op::Unary(op), &[x], &[], range)
    }

    pub(super) fn binary_step(&mut self, picks: &mut Picks<'_>) {
        let Some([x, y]) = self.pair(picks, |_| true) else { return };
        let dtype = self.dtype(x);
        let floats_of_whole = dtype.is_float() && self.case.regime == Regime::Integers;
        let ops: Vec<BinaryOp> = BINARY
            .iter()
            .filter(|row| row.domain.contains(dtype) && (!floats_of_whole || keeps_whole(row.op)))
            .map(|row| row.op)
            .collect();
        let op = picks.of(&ops);
        self.binary(op, x, y);
    }

    /// `op x, y`, whose operands are brought into the domain first.
    pub(super) fn binary(&mut self, op: BinaryOp, x: Value, y: Value) -> Option<Value> {
        if self.wild() || !self.dtype(x).is_float() {
            return self.raw_binary(op, x, y);
        }
        let (x, y) = match op {
            BinaryOp::Div | BinaryOp::Rem => (x, self.away_from_zero(y)?),
            BinaryOp::Atan2 => (x, self.positive(y)?),
            BinaryOp::Pow => {
                let base = self.positive(x)?;
                (self.clamp(base, 0.25, 4.0)?, self.clamp(y, -3.0, 3.0)?)
            }
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Max
            | BinaryOp::Min
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr => (x, y),
        };
        // Where the result may grow too large, the operands are made small.
        let dtype = self.dtype(x);
        let reach = range::binary(op, self.range(x), self.range(y), dtype).magnitude();
        let (x, y) = if reach <= self.limit() {
            (x, y)
        } else {
            // A divisor is away from zero already, and a large one makes nothing large.
            let divides = matches!(op, BinaryOp::Div | BinaryOp::Rem);
            let y = if divides { y } else { self.clamp(y, -8.0, 8.0)? };
            (self.clamp(x, -8.0, 8.0)?, y)
        };
        self.raw_binary(op, x, y)
    }

    pub(super) fn raw_binary(&mut self, op: BinaryOp, x: Value, y: Value) -> Option<Value> {
        let range = range::binary(op, self.range(x), self.range(y), self.dtype(x));
        self.emit(Op::Binary(op), &[x, y], &[], range)
    }

    pub(super) fn compare_step(&mut self, picks: &mut Picks<'_>) {
        if let Some([x, y]) = self.pair(picks, |_| true) {
            let op = picks.of(&CompareOp::ALL).0;
            self.compare(op, x, y);
        }
    }

    fn compare(&mut self, op: CompareOp, x: Value, y: Value) -> Option<Value> {
        self.emit(Op::Compare(op), &[x, y], &[], Range::all(DType::Bool))
    }

    pub(super) fn select_step(&mut self, picks: &mut Picks<'_>) {
        let Some([x, y]) = self.pair(picks, |_| true) else { return };
        let condition = self.ty(x).with_dtype(DType::Bool);
        let same = |value: Value| *self.graph.ty(value) == condition;
        let condition = match self.pick_where(picks, same) {
            Some(condition) => Some(condition),
            None => self.compare(CompareOp::Lt, x, y),
        };
        let Some(condition) = condition else { return };
        let range = self.range(x).union(self.range(y));
        self.emit(Op::Select, &[condition, x, y], &[], range);
    }

    pub(super) fn cast_step(&mut self, picks: &mut Picks<'_>) {
        let x = self.pick(picks);
        let dtype = picks.of(&DType::ALL);
        let range = self.range(x).cast(self.dtype(x), dtype);
        let ty = self.ty(x).with_dtype(dtype);
        self.emit(Op::Cast, &[x], &[ty], range);
    }

    pub(super) fn stop_gradient_step(&mut self, picks: &mut Picks<'_>) {
        let x = self.pick(picks);
        self.emit(Op::StopGradient, &[x], &[], self.range(x));
    }

    /// How large floats may be.
    pub(super) fn limit(&self) -> f64 {
        match self.case.regime {
            _ if self.smooth => MAX_SMOOTH,
            Regime::Integers => MAX_WHOLE,
            Regime::Reals => MAX_REAL,
            Regime::Wild => f64::INFINITY,
        }
    }

    /// `x` with its elements clamped to `[low, high]`, by a sigmoid in smooth programs, or `x`
    /// itself where they are inside.
    pub(super) fn clamp(&mut self, x: Value, low: f64, high: f64) -> Option<Value> {
        let (range, ty) = (self.range(x), self.ty(x));
        if self.wild() || (range.low >= low && range.high <= high) {
            return Some(x);
        }
        if self.smooth {
            let unit = self.raw_unary(UnaryOp::Sigmoid, x)?;
            let reach = self.constant(ty.clone(), Literal::from_f64(ty.dtype, high - low))?;
            let scaled = self.raw_binary(BinaryOp::Mul, unit, reach)?;
            let floor = self.constant(ty.clone(), Literal::from_f64(ty.dtype, low))?;
            return self.raw_binary(BinaryOp::Add, scaled, floor);
        }
        let floor = self.constant(ty.clone(), Literal::from_f64(ty.dtype, low))?;
        let above = self.emit(
            Op::Binary(BinaryOp::Max),
            &[x, floor],
            &[],
            range.clamp(low, f64::INFINITY),
        )?;
        let ceiling = self.constant(ty.clone(), Literal::from_f64(ty.dtype, high))?;
        self.emit(Op::Binary(BinaryOp::Min), &[above, ceiling], &[], range.clamp(low, high))
    }

    /// `|x| + ½`, or `x` where its elements are above a quarter.
    fn positive(&mut self, x: Value) -> Option<Value> {
        if self.range(x).low >= 0.25 {
            return Some(x);
        }
        let size = self.size(x)?;
        let half = self.constant(self.ty(x), Literal::from_f64(self.dtype(x), 0.5))?;
        self.raw_binary(BinaryOp::Add, size, half)
    }

    /// `|x|`, or `x²` in smooth programs.
    fn size(&mut self, x: Value) -> Option<Value> {
        if self.smooth {
            let x = self.clamp(x, -4.0, 4.0)?;
            let square = self.raw_binary(BinaryOp::Mul, x, x)?;
            // Interval arithmetic does not know that it is a square.
            let reach = self.range(square).high;
            self.ranges[square.index()] = Range::new(0.0, reach, false);
            return Some(square);
        }
        self.raw_unary(UnaryOp::Abs, x)
    }

    /// `|x| + 1`, or `x` where its elements are a quarter or more from zero.
    fn away_from_zero(&mut self, x: Value) -> Option<Value> {
        if self.range(x).low >= 0.25 || self.range(x).high <= -0.25 {
            return Some(x);
        }
        let size = self.size(x)?;
        let one = self.constant(self.ty(x), Literal::from_f64(self.dtype(x), 1.0))?;
        self.raw_binary(BinaryOp::Add, size, one)
    }

    /// `⌊8x⌋`: a whole number from one in `[0, 1)`.
    pub(super) fn octave(&mut self, x: Value) -> Option<Value> {
        let eight = self.constant(self.ty(x), Literal::from_f64(self.dtype(x), 8.0))?;
        let scaled = self.raw_binary(BinaryOp::Mul, x, eight)?;
        self.raw_unary(UnaryOp::Floor, scaled)
    }
}

/// Whether an operation gives whole numbers, and exactly, of whole numbers.
fn is_exact(op: UnaryOp) -> bool {
    match op {
        UnaryOp::Neg
        | UnaryOp::Abs
        | UnaryOp::Sign
        | UnaryOp::Not
        | UnaryOp::Relu
        | UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round
        | UnaryOp::Trunc => true,
        UnaryOp::Exp
        | UnaryOp::Expm1
        | UnaryOp::Log
        | UnaryOp::Log1p
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Tanh
        | UnaryOp::Sigmoid
        | UnaryOp::Erf
        | UnaryOp::Erfc
        | UnaryOp::Exp2
        | UnaryOp::Log2
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tan
        | UnaryOp::Asin
        | UnaryOp::Acos
        | UnaryOp::Atan
        | UnaryOp::Sinh
        | UnaryOp::Cosh
        | UnaryOp::Asinh
        | UnaryOp::Acosh
        | UnaryOp::Atanh => false,
    }
}

/// Whether an operation on whole numbers gives whole numbers.
fn keeps_whole(op: BinaryOp) -> bool {
    !matches!(op, BinaryOp::Div | BinaryOp::Pow | BinaryOp::Atan2)
}

/// Whether every float of a graph is a whole number that is computed exactly if those that come in
/// are.
pub(super) fn is_of_whole_numbers(graph: &Graph) -> bool {
    graph.nodes().all(|(_, node)| {
        let keeps = if let Op::Unary(op) = node.op {
            is_exact(op)
        } else if let Op::Binary(op) = node.op {
            keeps_whole(op)
        } else {
            true
        };
        keeps || !graph.ty(node.result()).dtype.is_float()
    })
}
