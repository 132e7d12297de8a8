//! Random programs: small, and with every operation that passes look at.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use kilngrad_ir::op::{
    ArgReduceOp, Axes, BinaryOp, CompareOp, DotAxes, PadAxis, ReduceOp, SliceAxis, UnaryOp,
};
use kilngrad_ir::{
    Constant, DType, Dense, Dim, Entry, Graph, Init, Literal, Mode, Op, Origin, Program, Role,
    Shape, State, StateId, Type, Value, ValueName, verify,
};

use crate::common::Draw;

/// What a program is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Everything: bits are compared.
    Any,
    /// Smooth functions of floats, which move little where operands move little.
    Smooth,
}

struct Generator<'d> {
    draw: &'d mut Draw,
    style: Style,
    graph: Graph,
}

/// A program with one entry of about `nodes` nodes.
pub fn program(draw: &mut Draw, style: Style, nodes: usize) -> Program {
    let mut program = Program::new("random");
    let mut generator = Generator { draw, style, graph: Graph::new() };
    for index in 0..3 {
        let name = ValueName::word(&format!("x{index}")).unwrap();
        let ty = generator.ty();
        generator.graph.add_argument(name, ty);
    }
    for index in 0..3 {
        let ty = generator.ty();
        let init = Init::Splat(Literal::from_i64(ty.dtype, 0));
        let path = format!("s{index}").into();
        let op = Op::State(StateId::from_index(index));
        generator.append(op, &[], std::slice::from_ref(&ty));
        program.states.push(State { path, ty, init, role: Role::Buffer });
    }
    let zero = Type::scalar(DType::I64);
    let constant = Op::Constant(Constant::Splat(Literal::from_i64(DType::I64, 3)));
    generator.append(constant, &[], &[zero]);
    while generator.graph.node_count() < nodes {
        generator.step();
    }
    let entry = generator.finish(&program);
    program.entries.push(entry);
    verify(&program).unwrap_or_else(|error| panic!("{error}\n{program}"));
    program
}

impl Generator<'_> {
    fn append(&mut self, op: Op, operands: &[Value], declared: &[Type]) {
        let name = op.name();
        let result = self.graph.append(op, operands, declared, Origin::unknown());
        result.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    fn length(&mut self) -> usize {
        [1, 2, 3, 3, 4, 1][self.draw.below(6)]
    }

    fn shape(&mut self) -> Shape {
        let rank = [0, 1, 2, 2, 3][self.draw.below(5)];
        (0..rank).map(|_| self.length()).collect()
    }

    fn ty(&mut self) -> Type {
        let dtypes = [DType::F64, DType::F64, DType::F64, DType::F32, DType::I32, DType::Bool];
        let dtype = match self.style {
            Style::Any => dtypes[self.draw.below(6)],
            Style::Smooth => DType::F64,
        };
        Type::new(dtype, self.shape())
    }

    /// A value, of the last ones more often.
    fn value(&mut self) -> Value {
        let count = self.graph.value_count();
        let back = self.draw.below(count).min(self.draw.below(count));
        Value::from_index(count - 1 - back)
    }

    /// A value of this type: one that there is, or a new constant.
    fn value_of(&mut self, ty: &Type) -> Value {
        let found: Vec<Value> = self
            .graph
            .values()
            .filter(|(_, data)| data.ty == *ty)
            .map(|(value, _)| value)
            .collect();
        if !found.is_empty() && self.draw.below(4) != 0 {
            return found[self.draw.below(found.len())];
        }
        self.constant(ty);
        Value::from_index(self.graph.value_count() - 1)
    }

    /// A constant at which identities hold or fail.
    fn constant(&mut self, ty: &Type) {
        const TELLING: [f64; 9] = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, -1.5, 0.1];
        let mut draw = || {
            let index = self.draw.below(TELLING.len());
            Literal::from_f64(ty.dtype, TELLING[index])
        };
        let count = ty.element_count().unwrap();
        let constant = if draw().bits() % 3 == 0 && count > 1 {
            let elements: Vec<Literal> = (0..count).map(|_| draw()).collect();
            Constant::Dense(Dense::new(ty.dtype, elements).unwrap())
        } else {
            Constant::Splat(draw())
        };
        self.append(Op::Constant(constant), &[], std::slice::from_ref(ty));
    }

    fn step(&mut self) {
        let x = self.value();
        let ty = self.graph.ty(x).clone();
        match self.draw.below(17) {
            0..=2 => self.unary(x, &ty),
            3..=6 => self.binary(x, &ty),
            7 => self.compare_or_cast(x, &ty),
            8 => {
                let condition = self.value_of(&ty.with_dtype(DType::Bool));
                let other = self.value_of(&ty);
                self.append(Op::Select, &[condition, x, other], &[]);
            }
            9 => self.reduce(x, &ty),
            10 => self.dot(x, &ty),
            11 => self.broadcast(x, &ty),
            12 => self.reshape(x, &ty),
            13 => {
                let mut permutation: Axes = (0..ty.rank()).collect();
                for axis in (1..ty.rank()).rev() {
                    permutation.swap(axis, self.draw.below(axis + 1));
                }
                self.append(Op::Transpose { permutation }, &[x], &[]);
            }
            14 => self.slice(x, &ty),
            15 => self.pad_or_concat(x, &ty),
            _ => self.leaf(),
        }
    }

    fn leaf(&mut self) {
        let ty = self.ty();
        let key = Type::scalar(DType::I64);
        match self.draw.below(3) {
            0 if ty.rank() > 0 && ty.dtype != DType::Bool => {
                let axis = self.draw.below(ty.rank());
                self.append(Op::Iota { axis }, &[], &[ty]);
            }
            1 if ty.dtype != DType::Bool => {
                let (seed, counter) = (self.value_of(&key), self.value_of(&key));
                let stream = self.draw.below(2) as u64;
                self.append(Op::Random { stream }, &[seed, counter], &[ty]);
            }
            _ => self.constant(&ty),
        }
    }

    fn unary(&mut self, x: Value, ty: &Type) {
        use UnaryOp as U;
        let smooth = [U::Neg, U::Tanh, U::Sigmoid, U::Abs, U::Erf, U::Relu];
        let any =
            [U::Neg, U::Abs, U::Sign, U::Relu, U::Exp, U::Log, U::Sqrt, U::Floor, U::Round, U::Not];
        let op = match self.style {
            Style::Smooth => smooth[self.draw.below(smooth.len())],
            Style::Any => any[self.draw.below(any.len())],
        };
        if op.row().domain.contains(ty.dtype) {
            self.append(Op::Unary(op), &[x], &[]);
        }
    }

    fn binary(&mut self, x: Value, ty: &Type) {
        use BinaryOp as B;
        let any = [
            B::Add,
            B::Add,
            B::Sub,
            B::Sub,
            B::Mul,
            B::Mul,
            B::Div,
            B::Max,
            B::Min,
            B::And,
            B::Or,
            B::Xor,
            B::Shl,
            B::Shr,
            B::Pow,
            B::Rem,
        ];
        let y = self.value_of(ty);
        if self.style == Style::Smooth {
            if ty.dtype != DType::F64 {
                return;
            }
            match self.draw.below(5) {
                0 => self.append(Op::Binary(B::Add), &[x, y], &[]),
                1 => self.append(Op::Binary(B::Sub), &[x, y], &[]),
                2 => self.append(Op::Binary(B::Mul), &[x, y], &[]),
                choice => {
                    let (op, number) = [(B::Div, 3.0), (B::Pow, 2.0)][choice - 3];
                    let literal = Literal::from_f64(ty.dtype, number);
                    let types = std::slice::from_ref(ty);
                    self.append(Op::Constant(Constant::Splat(literal)), &[], types);
                    let constant = Value::from_index(self.graph.value_count() - 1);
                    self.append(Op::Binary(op), &[x, constant], &[]);
                }
            }
            return;
        }
        let op = any[self.draw.below(any.len())];
        if op.row().domain.contains(ty.dtype) {
            let operands = if self.draw.below(2) == 0 { [x, y] } else { [y, x] };
            self.append(Op::Binary(op), &operands, &[]);
        }
    }

    fn compare_or_cast(&mut self, x: Value, ty: &Type) {
        if self.style == Style::Smooth {
            return;
        }
        if self.draw.below(2) == 0 {
            let y = self.value_of(ty);
            let op = CompareOp::ALL[self.draw.below(6)].0;
            self.append(Op::Compare(op), &[x, y], &[]);
        } else {
            let dtype = DType::ALL[self.draw.below(6)];
            self.append(Op::Cast, &[x], &[ty.with_dtype(dtype)]);
        }
    }

    fn reduce(&mut self, x: Value, ty: &Type) {
        if ty.dtype == DType::Bool {
            return;
        }
        let axes: Axes = (0..ty.rank()).filter(|_| self.draw.below(2) == 0).collect();
        if self.draw.below(4) == 0 && ty.rank() > 0 && self.style == Style::Any {
            let axis = self.draw.below(ty.rank());
            let op = [ArgReduceOp::Max, ArgReduceOp::Min][self.draw.below(2)];
            self.append(Op::ArgReduce { op, axis }, &[x], &[]);
            return;
        }
        let ops = [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min, ReduceOp::Prod];
        let op = ops[self.draw.below(4)];
        self.append(Op::Reduce { op, axes }, &[x], &[]);
    }

    /// A contraction with an operand made to fit.
    fn dot(&mut self, x: Value, ty: &Type) {
        if ty.dtype == DType::Bool || ty.rank() > 3 {
            return;
        }
        let (mut batch, mut contract) = (Axes::new(), Axes::new());
        for axis in 0..ty.rank() {
            match self.draw.below(3) {
                0 => batch.push(axis),
                1 => contract.push(axis),
                _ => {}
            }
        }
        let dim = |axis: &usize| ty.shape.dims()[*axis].clone();
        let mut dims: Vec<(Dim, usize)> = Vec::new();
        dims.extend(batch.iter().map(|axis| (dim(axis), *axis)));
        dims.extend(contract.iter().map(|axis| (dim(axis), *axis)));
        if self.draw.below(3) != 0 {
            dims.push((Dim::from(self.length()), usize::MAX));
        }
        for index in (1..dims.len()).rev() {
            dims.swap(index, self.draw.below(index + 1));
        }
        let place = |axis: &usize| dims.iter().position(|(_, from)| from == axis).unwrap();
        let axes = DotAxes {
            rhs_batch: batch.iter().map(place).collect(),
            rhs_contract: contract.iter().map(place).collect(),
            lhs_batch: batch.clone(),
            lhs_contract: contract.clone(),
        };
        let shape = dims.iter().map(|(dim, _)| dim.clone()).collect();
        let y = self.value_of(&Type::new(ty.dtype, shape));
        self.append(Op::Dot(axes), &[x, y], &[]);
    }

    fn broadcast(&mut self, x: Value, ty: &Type) {
        if ty.rank() > 3 {
            return;
        }
        let mut shape: Vec<Dim> = Vec::new();
        let mut dims = Axes::new();
        for axis in 0..=ty.rank() {
            if self.draw.below(2) == 0 && shape.len() < 4 {
                shape.push(Dim::from(self.length()));
            }
            if axis < ty.rank() {
                dims.push(shape.len());
                shape.push(ty.shape.dims()[axis].clone());
            }
        }
        self.append(Op::Broadcast { dims }, &[x], &[Type::new(ty.dtype, Shape::new(shape))]);
    }

    fn reshape(&mut self, x: Value, ty: &Type) {
        let lengths = ty.shape.as_constant().unwrap();
        let shape: Vec<usize> = match self.draw.below(4) {
            0 => vec![lengths.iter().product()],
            1 => lengths.iter().copied().filter(|length| *length != 1).collect(),
            2 => lengths.iter().rev().copied().collect(),
            _ => lengths.iter().copied().chain([1]).take(4).collect(),
        };
        let product: usize = shape.iter().product();
        if product == lengths.iter().product() {
            self.append(Op::Reshape, &[x], &[Type::new(ty.dtype, Shape::new(shape))]);
        }
    }

    fn slice(&mut self, x: Value, ty: &Type) {
        let lengths = ty.shape.as_constant().unwrap();
        let mut range = |length: usize| {
            let start = self.draw.below(length.max(1));
            let limit = start + 1 + self.draw.below(length - start);
            let stride = 1 + self.draw.below(2);
            SliceAxis { start: Dim::from(start), limit: Dim::from(limit), stride }
        };
        let axes = lengths.iter().map(|length| range(*length)).collect();
        self.append(Op::Slice(axes), &[x], &[]);
    }

    fn pad_or_concat(&mut self, x: Value, ty: &Type) {
        if ty.rank() == 0 || ty.element_count().unwrap() > 64 {
            return;
        }
        if self.draw.below(2) == 0 {
            let axis = self.draw.below(ty.rank());
            let y = self.value_of(ty);
            let pieces = [x, y, x];
            let count = 1 + self.draw.below(3);
            self.append(Op::Concat { axis }, &pieces[..count], &[]);
            return;
        }
        let fill = match self.style {
            Style::Any => self.value_of(&Type::scalar(ty.dtype)),
            Style::Smooth => {
                let zero = Literal::from_f64(ty.dtype, 0.0);
                let op = Op::Constant(Constant::Splat(zero));
                self.append(op, &[], &[Type::scalar(ty.dtype)]);
                Value::from_index(self.graph.value_count() - 1)
            }
        };
        let mut amount = || Dim::from([0, 0, 1, 2][self.draw.below(4)]);
        let axes = (0..ty.rank()).map(|_| PadAxis { low: amount(), high: amount(), interior: 0 });
        let mut axes: smallvec::SmallVec<[PadAxis; 2]> = axes.collect();
        axes[0].interior = self.draw.below(2);
        self.append(Op::Pad(axes), &[x, fill], &[]);
    }

    /// Roots: some of the last values, and what fits the states.
    fn finish(mut self, program: &Program) -> Entry {
        let count = 2 + self.draw.below(5);
        let outputs: Vec<Value> = (0..count).map(|_| self.value()).collect();
        let mut updates = Vec::new();
        for (index, state) in program.states.iter().enumerate() {
            if self.draw.below(4) != 0 {
                updates.push((StateId::from_index(index), self.value_of(&state.ty)));
            }
        }
        self.graph.set_results(outputs);
        let mut entry = Entry::new("run", Mode::Train, self.graph);
        entry.outputs = (0..count).map(|index| format!("o{index}").into()).collect();
        entry.updates = updates;
        entry
    }
}
