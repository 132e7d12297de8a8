//! Random kernels. Inputs are small integers and every operation keeps numbers exact, so any
//! difference from the reference is a bug, whatever the order of sums.

use kilngrad_ir::op::{
    ArgReduceOp, BinaryOp, CompareOp, Op, PadAxis, ReduceOp, SliceAxis, UnaryOp,
};
use kilngrad_ir::{DType, Dim, Graph, Value};

use super::{Body, Numbers};

/// How large index spaces are, and what is computed over them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) lengths: &'static [usize],
    pub(crate) most_elements: usize,
    pub(crate) least_elements: usize,
    /// Whether floats become elementary functions of themselves, which no longer are whole numbers.
    pub(crate) functions: bool,
}

/// Every remainder of vectors and unrolled loops.
pub(crate) const SMALL: Scope = Scope {
    lengths: &[1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 21, 40],
    most_elements: 1000,
    least_elements: 0,
    functions: false,
};

/// Bodies whose numbers are not exact, in strips of every length.
pub(crate) const FUNCTIONS: Scope = Scope { functions: true, ..SMALL };

/// Enough for several chunks.
pub(crate) const LARGE: Scope = Scope {
    lengths: &[1, 2, 3, 6, 8, 20, 30, 49, 64, 100, 128, 300, 1000, 4096, 60_000, 1 << 18],
    most_elements: 3 << 20,
    least_elements: 1 << 16,
    functions: true,
};

fn shape(numbers: &mut Numbers, most_axes: usize, scope: Scope) -> Vec<usize> {
    loop {
        let rank = numbers.below(most_axes + 1);
        let empty = scope.least_elements == 0;
        let shape: Vec<usize> = (0..rank)
            .map(|_| if empty && numbers.chance(2) { 0 } else { numbers.pick(scope.lengths) })
            .collect();
        let elements = shape.iter().product::<usize>();
        if (scope.least_elements..=scope.most_elements).contains(&elements) {
            return shape;
        }
    }
}

/// Values of one shape, by which bodies grow.
pub(crate) struct Drawer<'n> {
    pub(crate) numbers: &'n mut Numbers,
    pub(crate) body: Body,
    functions: bool,
}

impl Drawer<'_> {
    /// A leaf of this type: an argument read in some layout, an index, or a constant.
    pub(crate) fn leaf(&mut self, dtype: DType, shape: &[usize]) -> Value {
        match self.numbers.below(if dtype == DType::Bool { 5 } else { 7 }) {
            0 => self.body.argument(dtype, shape),
            1 => self.transposed(dtype, shape),
            2 => self.sliced(dtype, shape),
            3 => self.broadcast(dtype, shape),
            4 => {
                let value = self.numbers.below(5) as f64 - 2.0;
                self.body.splat(dtype, value, shape)
            }
            5 if !shape.is_empty() => {
                let axis = self.numbers.below(shape.len());
                self.body.declared(Op::Iota { axis }, &[], dtype, shape)
            }
            _ => self.body.argument(dtype, shape),
        }
    }

    fn transposed(&mut self, dtype: DType, shape: &[usize]) -> Value {
        let mut permutation: Vec<usize> = (0..shape.len()).collect();
        for last in (1..shape.len()).rev() {
            permutation.swap(last, self.numbers.below(last + 1));
        }
        let mut from = vec![0; shape.len()];
        for (axis, of) in permutation.iter().enumerate() {
            from[*of] = shape[axis];
        }
        let x = self.body.argument(dtype, &from);
        self.body.transpose(x, &permutation)
    }

    fn sliced(&mut self, dtype: DType, shape: &[usize]) -> Value {
        let mut from = Vec::new();
        let mut ranges = Vec::new();
        for &length in shape {
            let (start, stride) = (self.numbers.below(3), 1 + self.numbers.below(2));
            let limit = start + if length == 0 { 0 } else { (length - 1) * stride + 1 };
            from.push(limit + self.numbers.below(3));
            ranges.push(SliceAxis { start: Dim::from(start), limit: Dim::from(limit), stride });
        }
        let x = self.body.argument(dtype, &from);
        let x = if self.numbers.chance(30) { self.body.unary(unary_for(dtype), x) } else { x };
        self.body.op(Op::Slice(ranges.into_iter().collect()), &[x])
    }

    fn broadcast(&mut self, dtype: DType, shape: &[usize]) -> Value {
        let dims: Vec<usize> = (0..shape.len()).filter(|_| self.numbers.chance(50)).collect();
        let from: Vec<usize> = dims.iter().map(|axis| shape[*axis]).collect();
        let x = self.body.argument(dtype, &from);
        let x = if self.numbers.chance(30) { self.body.unary(unary_for(dtype), x) } else { x };
        self.body.broadcast(x, &dims, shape)
    }

    /// A value computed from values of the same shape.
    pub(crate) fn grow(&mut self, pool: &[Value]) -> Value {
        let x = self.numbers.pick(pool);
        let dtype = self.body.dtype(x);
        let shape = self.body.shape(x);
        let y = self.partner(pool, x);
        match self.numbers.below(9) {
            0 | 3 | 7 | 8 if dtype.is_float() && self.functions => {
                let op = self.numbers.pick(&ELEMENTARY);
                self.body.unary(op, x)
            }
            0 => self.body.unary(unary_for(dtype), x),
            1 | 2 => {
                let op = self.numbers.pick(binary_for(dtype));
                self.body.binary(op, x, y)
            }
            3 => {
                let op = self.numbers.pick(&CompareOp::ALL).0;
                self.body.compare(op, x, y)
            }
            4 => {
                let condition = self.of_dtype(pool, DType::Bool, &shape);
                self.body.select(condition, x, y)
            }
            5 => {
                let to = self.numbers.pick(&DType::ALL);
                self.body.cast(x, to)
            }
            6 if dtype != DType::Bool => {
                let product = self.body.binary(BinaryOp::Mul, x, y);
                let z = self.partner(pool, x);
                self.body.binary(BinaryOp::Add, product, z)
            }
            7 if dtype.is_float() => {
                let op = self.numbers.pick(&[UnaryOp::Tanh, UnaryOp::Erf]);
                self.sign_by(op, x)
            }
            _ => {
                let y = self.leaf(dtype, &shape);
                let op = self.numbers.pick(binary_for(dtype));
                self.body.binary(op, x, y)
            }
        }
    }

    /// The sign of whole numbers, by a function that is ±1 exactly where they are made large.
    fn sign_by(&mut self, op: UnaryOp, x: Value) -> Value {
        let (dtype, shape) = (self.body.dtype(x), self.body.shape(x));
        let hundred = self.body.splat(dtype, 100.0, &shape);
        let large = self.body.binary(BinaryOp::Mul, x, hundred);
        self.body.unary(op, large)
    }

    /// The value between −8 and 8, so that numbers stay exact however long the body.
    pub(crate) fn clamped(&mut self, x: Value) -> Value {
        let dtype = self.body.dtype(x);
        if dtype == DType::Bool {
            return x;
        }
        let shape = self.body.shape(x);
        let low = self.body.splat(dtype, if dtype == DType::U8 { 0.0 } else { -8.0 }, &shape);
        let high = self.body.splat(dtype, 8.0, &shape);
        let x = self.body.binary(BinaryOp::Max, x, low);
        self.body.binary(BinaryOp::Min, x, high)
    }

    /// A value of the dtype and shape of `x`.
    fn partner(&mut self, pool: &[Value], x: Value) -> Value {
        let (dtype, shape) = (self.body.dtype(x), self.body.shape(x));
        self.of_dtype(pool, dtype, &shape)
    }

    pub(crate) fn of_dtype(&mut self, pool: &[Value], dtype: DType, shape: &[usize]) -> Value {
        let alike: Vec<Value> =
            pool.iter().copied().filter(|value| self.body.dtype(*value) == dtype).collect();
        if alike.is_empty() || self.numbers.chance(25) {
            self.leaf(dtype, shape)
        } else {
            self.numbers.pick(&alike)
        }
    }

    /// Values of one shape, each kept small.
    pub(crate) fn pool(&mut self, mut pool: Vec<Value>, steps: usize) -> Vec<Value> {
        for _ in 0..steps {
            let value = self.grow(&pool);
            let value = self.clamped(value);
            pool.push(value);
        }
        pool
    }
}

const ELEMENTARY: [UnaryOp; 12] = [
    UnaryOp::Exp,
    UnaryOp::Expm1,
    UnaryOp::Log,
    UnaryOp::Log1p,
    UnaryOp::Tanh,
    UnaryOp::Sigmoid,
    UnaryOp::Erf,
    UnaryOp::Erfc,
    UnaryOp::Sin,
    UnaryOp::Atan,
    UnaryOp::Cosh,
    UnaryOp::Asinh,
];

fn unary_for(dtype: DType) -> UnaryOp {
    match dtype {
        DType::Bool => UnaryOp::Not,
        DType::U8 => UnaryOp::Sign,
        DType::F32 | DType::I32 => UnaryOp::Relu,
        DType::F64 | DType::I64 => UnaryOp::Neg,
    }
}

fn binary_for(dtype: DType) -> &'static [BinaryOp] {
    use BinaryOp::{Add, And, Div, Max, Min, Mul, Or, Rem, Shl, Shr, Sub, Xor};
    match dtype {
        DType::F32 | DType::F64 => &[Add, Sub, Mul, Max, Min, Rem],
        DType::I32 | DType::I64 | DType::U8 => {
            &[Add, Sub, Mul, Div, Rem, Max, Min, And, Or, Xor, Shl, Shr]
        }
        DType::Bool => &[And, Or, Xor],
    }
}

/// A dtype, the common ones more often.
fn dtype(numbers: &mut Numbers) -> DType {
    use DType::{Bool, F32, F64, I32, I64, U8};
    numbers.pick(&[F32, F32, F32, F64, F64, I32, I64, U8, Bool])
}

pub(crate) fn map(numbers: &mut Numbers, scope: Scope) -> Graph {
    let shape = shape(numbers, 4, scope);
    let mut drawer = Drawer { numbers, body: Body::default(), functions: scope.functions };
    let first = dtype(drawer.numbers);
    let leaf = drawer.leaf(first, &shape);
    let steps = 1 + drawer.numbers.below(7);
    let pool = drawer.pool(vec![leaf], steps);
    let results: Vec<Value> = (0..1 + drawer.numbers.below(3))
        .map(|at| if at == 0 { pool[pool.len() - 1] } else { drawer.numbers.pick(&pool) })
        .collect();
    drawer.body.results(&results)
}

pub(crate) fn concat(numbers: &mut Numbers, scope: Scope) -> Graph {
    let mut shape = loop {
        let shape = shape(numbers, 3, scope);
        if !shape.is_empty() {
            break shape;
        }
    };
    let axis = numbers.below(shape.len());
    let dtype = dtype(numbers);
    let mut drawer = Drawer { numbers, body: Body::default(), functions: scope.functions };
    let mut operands = Vec::new();
    for _ in 0..1 + drawer.numbers.below(3) {
        shape[axis] = if scope.least_elements == 0 {
            drawer.numbers.below(6)
        } else {
            drawer.numbers.pick(scope.lengths).min(128)
        };
        let leaf = drawer.leaf(dtype, &shape);
        let pool = drawer.pool(vec![leaf], 2);
        let operand = drawer.of_dtype(&pool, dtype, &shape);
        operands.push(operand);
    }
    let result = drawer.body.op(Op::Concat { axis }, &operands);
    drawer.body.results(&[result])
}

pub(crate) fn pad(numbers: &mut Numbers, scope: Scope) -> Graph {
    let shape = shape(numbers, 3, scope);
    let dtype = dtype(numbers);
    let mut drawer = Drawer { numbers, body: Body::default(), functions: scope.functions };
    let x = drawer.leaf(dtype, &shape);
    let padding = drawer.leaf(dtype, &[]);
    let gaps = drawer.numbers.chance(40);
    let axes = shape.iter().map(|_| PadAxis {
        low: Dim::from(drawer.numbers.below(4)),
        high: Dim::from(drawer.numbers.below(4)),
        interior: if gaps { drawer.numbers.below(3) } else { 0 },
    });
    let axes = axes.collect();
    let result = drawer.body.op(Op::Pad(axes), &[x, padding]);
    drawer.body.results(&[result])
}

/// Up to three phases; results of the whole space and kept ones. `square` reductions may also be
/// read across: at another row's index.
pub(crate) fn reduce(numbers: &mut Numbers, scope: Scope) -> Graph {
    let mut shape = loop {
        let shape = shape(numbers, 4, scope);
        if !shape.is_empty() {
            break shape;
        }
    };
    let mut reduced: Vec<usize> = (0..shape.len()).filter(|_| numbers.chance(50)).collect();
    let extreme = numbers.chance(20);
    if extreme {
        reduced = vec![numbers.below(shape.len())];
        shape[reduced[0]] = shape[reduced[0]].max(1);
    }
    let kept_shape: Vec<usize> =
        (0..shape.len()).filter(|axis| !reduced.contains(axis)).map(|axis| shape[axis]).collect();
    let mut drawer = Drawer { numbers, body: Body::default(), functions: scope.functions };
    let first = number(dtype(drawer.numbers));
    let leaf = drawer.leaf(first, &shape);
    let mut full = drawer.pool(vec![leaf], 2);
    let mut kept: Vec<Value> = Vec::new();
    let mut results = Vec::new();
    for _ in 0..1 + drawer.numbers.below(3) {
        for _ in 0..1 + drawer.numbers.below(2) {
            let x = drawer.numbers.pick(&full);
            let x = if drawer.body.dtype(x) == DType::Bool {
                drawer.body.cast(x, DType::I32)
            } else {
                x
            };
            let sum = reduction(&mut drawer, x, &reduced, extreme);
            results.push(sum);
            let sum = drawer.clamped(sum);
            kept.push(sum);
        }
        kept = drawer.pool(kept, 1);
        let across = kept_shape.len() == 2 && kept_shape[0] == kept_shape[1];
        if across && drawer.numbers.chance(50) {
            let x = drawer.numbers.pick(&kept);
            kept.push(drawer.body.transpose(x, &[1, 0]));
        }
        let back = drawer.numbers.pick(&kept);
        let back = drawer.body.spread(back, &reduced, &shape);
        full.push(back);
        full = drawer.pool(full, 2);
    }
    if drawer.numbers.chance(60) {
        results.push(full[full.len() - 1]);
    }
    if drawer.numbers.chance(40) {
        let value = drawer.numbers.pick(&kept);
        results.push(value);
    }
    if drawer.numbers.chance(20) {
        let value = drawer.numbers.pick(&full);
        results.push(value);
    }
    drawer.body.results(&results)
}

fn number(dtype: DType) -> DType {
    if dtype == DType::Bool { DType::F32 } else { dtype }
}

fn reduction(drawer: &mut Drawer<'_>, x: Value, reduced: &[usize], extreme: bool) -> Value {
    if extreme && drawer.numbers.chance(60) {
        let op = drawer.numbers.pick(&[ArgReduceOp::Max, ArgReduceOp::Min]);
        return drawer.body.op(Op::ArgReduce { op, axis: reduced[0] }, &[x]);
    }
    // Products of floats would leave the exact range.
    let kinds: &[ReduceOp] = if drawer.body.dtype(x).is_float() {
        &[ReduceOp::Sum, ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min]
    } else {
        &[ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min]
    };
    let op = drawer.numbers.pick(kinds);
    drawer.body.reduce(op, reduced, x)
}
