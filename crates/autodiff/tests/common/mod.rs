//! Builds small programs and checks their derivatives by differences.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use kilngrad_autodiff::differentiate;
use kilngrad_interp::{Array, States, eval_entry};
use kilngrad_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use kilngrad_ir::{
    Constant, DType, Dense, Dim, Entry, Graph, Literal, Mode, Op, Origin, Program, Shape, Site,
    Symbol, Type, Value, ValueName, random, verify,
};

/// A graph under construction. Every node's site has the node's number as its line.
#[derive(Default)]
pub struct Build {
    pub graph: Graph,
}

impl Build {
    pub fn new() -> Build {
        Build::default()
    }

    pub fn input(&mut self, name: &str, ty: Type) -> Value {
        self.graph.add_argument(ValueName::word(name).unwrap(), ty)
    }

    /// A vector of `f64`.
    pub fn vector(&mut self, name: &str, length: usize) -> Value {
        self.input(name, ty(&[length]))
    }

    pub fn scalar(&mut self, name: &str) -> Value {
        self.input(name, ty(&[]))
    }

    fn append(&mut self, op: Op, operands: &[Value], declared: &[Type]) -> Vec<Value> {
        let line = self.graph.node_count() as u32;
        let site = Site { file: "model.rs".into(), line, column: 1 };
        let origin = Origin::call(site, "net".into());
        let node = self.graph.append(op, operands, declared, origin).unwrap();
        self.graph.node(node).results.to_vec()
    }

    /// An operation whose type is inferred.
    pub fn op(&mut self, op: Op, operands: &[Value]) -> Value {
        self.append(op, operands, &[])[0]
    }

    /// An operation whose type is declared.
    pub fn op_as(&mut self, op: Op, operands: &[Value], ty: Type) -> Value {
        self.append(op, operands, &[ty])[0]
    }

    /// The results of an operation whose types are inferred.
    pub fn ops(&mut self, op: Op, operands: &[Value]) -> Vec<Value> {
        self.append(op, operands, &[])
    }

    pub fn unary(&mut self, op: UnaryOp, x: Value) -> Value {
        self.op(Op::Unary(op), &[x])
    }

    pub fn binary(&mut self, op: BinaryOp, x: Value, y: Value) -> Value {
        self.op(Op::Binary(op), &[x, y])
    }

    pub fn add(&mut self, x: Value, y: Value) -> Value {
        self.binary(BinaryOp::Add, x, y)
    }

    pub fn mul(&mut self, x: Value, y: Value) -> Value {
        self.binary(BinaryOp::Mul, x, y)
    }

    pub fn splat(&mut self, ty: Type, value: f64) -> Value {
        let literal = Literal::from_f64(ty.dtype, value);
        self.op_as(Op::Constant(Constant::Splat(literal)), &[], ty)
    }

    pub fn reduce(&mut self, op: ReduceOp, axes: &[usize], x: Value) -> Value {
        self.op(Op::Reduce { op, axes: axes.into() }, &[x])
    }

    /// The sum of all elements.
    pub fn total(&mut self, x: Value) -> Value {
        let axes: Vec<usize> = (0..self.graph.ty(x).rank()).collect();
        self.reduce(ReduceOp::Sum, &axes, x)
    }

    pub fn broadcast(&mut self, x: Value, dims: &[usize], like: Value) -> Value {
        let ty = Type::new(self.graph.ty(x).dtype, self.graph.ty(like).shape.clone());
        self.op_as(Op::Broadcast { dims: dims.into() }, &[x], ty)
    }

    /// The sum of `x` with coefficients that are random and nowhere 1: it tells every element of a
    /// cotangent from every other.
    pub fn weighted(&mut self, x: Value, stream: u64) -> Value {
        let ty = self.graph.ty(x).clone();
        let seed = self.splat(Type::scalar(DType::I64), 5.0);
        let uniform = self.op_as(Op::Random { stream }, &[seed, seed], ty.clone());
        let low = self.splat(ty.clone(), -1.7);
        let width = self.splat(ty, 3.1);
        let scaled = self.mul(uniform, width);
        let coefficients = self.add(scaled, low);
        let product = self.mul(coefficients, x);
        self.total(product)
    }

    pub fn gradient(&mut self, loss: Value, wanted: &[Value]) -> Vec<Value> {
        self.request(loss, wanted, false)
    }

    pub fn request(&mut self, loss: Value, wanted: &[Value], or_zero: bool) -> Vec<Value> {
        let operands: Vec<Value> = [loss].iter().chain(wanted).copied().collect();
        self.append(Op::Gradient { or_zero }, &operands, &[])
    }

    /// A verified program with one entry that gives `results`.
    pub fn program(mut self, results: &[Value]) -> Program {
        self.graph.set_results(results.to_vec());
        let mut entry = Entry::new("main", Mode::Eval, self.graph);
        entry.outputs = (0..results.len()).map(|index| format!("y{index}").into()).collect();
        let mut program = Program::new("test");
        program.entries.push(entry);
        verify(&program).unwrap();
        program
    }
}

pub fn ty(dims: &[usize]) -> Type {
    Type::new(DType::F64, dims.iter().copied().collect())
}

/// A type of `f64` whose lengths are numbers or symbols.
pub fn symbolic(dims: &[&str]) -> Type {
    Type::new(DType::F64, dims.iter().map(|text| dim(text)).collect::<Shape>())
}

pub fn dim(text: &str) -> Dim {
    text.parse::<usize>().map_or_else(|_| Dim::symbol(Symbol::new(text)), Dim::from)
}

pub fn array(shape: &[usize], elements: &[f64]) -> Array {
    Array::from_elements(shape, elements.to_vec()).unwrap()
}

/// Random elements in `[low, high)`.
pub fn drawn(shape: &[usize], low: f64, high: f64, stream: u64) -> Array {
    let key = random::key(9, stream, 0);
    let count: usize = shape.iter().product();
    let unit = |index| random::element(key, index as u64, DType::F64).to_f64();
    let elements: Vec<f64> = (0..count).map(|index| low + (high - low) * unit(index)).collect();
    array(shape, &elements)
}

pub fn dense(elements: &[f64]) -> Op {
    let literals = elements.iter().map(|element| Literal::from_f64(DType::F64, *element));
    Op::Constant(Constant::Dense(Dense::new(DType::F64, literals).unwrap()))
}

/// The program with its requests expanded, verified again.
pub fn expanded(program: &Program) -> Program {
    let program = differentiate(program).unwrap_or_else(|found| {
        panic!("{}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    verify(&program).unwrap();
    program
}

pub fn eval(program: &Program, inputs: &[Array]) -> Vec<Array> {
    let states = States::initial(program, 0).unwrap();
    eval_entry(program, &program.entries[0], inputs, &states).unwrap().outputs
}

/// What a request program gives on inputs.
pub fn run(build: Build, results: &[Value], inputs: &[Array]) -> Vec<Array> {
    eval(&expanded(&build.program(results)), inputs)
}

/// Derivatives of what order [`check`] compares.
const ORDERS: usize = 3;

/// Compares derivatives of the first three orders of what `build` makes of inputs with
/// differences. Each order's derivative is summed with random coefficients to the loss of the
/// next, so mixed derivatives are in it.
pub fn check(name: &str, inputs: &[Array], build: impl Fn(&mut Build, &[Value]) -> Value) {
    let types: Vec<Type> = inputs.iter().map(Array::ty).collect();
    check_typed(name, &types, inputs, build);
}

/// As [`check`], with declared types that may have symbols.
pub fn check_typed(
    name: &str,
    types: &[Type],
    inputs: &[Array],
    build: impl Fn(&mut Build, &[Value]) -> Value,
) {
    let mut b = Build::new();
    let arguments: Vec<Value> = types
        .iter()
        .enumerate()
        .map(|(index, ty)| b.input(&format!("x{index}"), ty.clone()))
        .collect();
    let result = build(&mut b, &arguments);
    let mut loss = b.weighted(result, 1);
    let mut losses = Vec::new();
    let mut gradients = Vec::new();
    for order in 0..ORDERS {
        losses.push(loss);
        let gradient = b.request(loss, &arguments, true);
        gradients.extend(&gradient);
        let parts: Vec<Value> = gradient
            .iter()
            .enumerate()
            .map(|(index, part)| b.weighted(*part, 10 * (order as u64 + 1) + index as u64))
            .collect();
        loss = parts.iter().copied().reduce(|sum, part| b.add(sum, part)).unwrap();
    }
    let results: Vec<Value> = losses.iter().chain(&gradients).copied().collect();
    let program = expanded(&b.program(&results));
    let given = eval(&program, inputs);
    let mut scale = [1.0f64; ORDERS];
    for (order, scale) in scale.iter_mut().enumerate() {
        for gradient in &given[ORDERS + order * inputs.len()..][..inputs.len()] {
            *scale = gradient.to_f64_vec().iter().fold(*scale, |max, x| max.max(x.abs()));
        }
    }
    for (index, input) in inputs.iter().enumerate() {
        for position in 0..input.len() {
            let losses_at = |step: f64| -> Vec<f64> {
                let mut moved = inputs.to_vec();
                let mut elements = input.to_f64_vec();
                elements[position] += step;
                moved[index] = array(input.shape(), &elements);
                eval(&program, &moved)[..ORDERS].iter().map(|l| l.to_f64_vec()[0]).collect()
            };
            // Five points: the error is of the fourth order in the step.
            let step = 1e-3;
            let points: Vec<Vec<f64>> =
                [-2.0, -1.0, 1.0, 2.0].map(|at| losses_at(at * step)).into();
            for order in 0..ORDERS {
                let [a, b, c, d] = [0, 1, 2, 3].map(|at: usize| points[at][order]);
                let expected = (a - d + 8.0 * (c - b)) / (12.0 * step);
                let found = given[ORDERS + order * inputs.len() + index].to_f64_vec()[position];
                let tolerance = 1e-7 * scale[order].max(scale[ORDERS - 1]);
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{name}: derivative {} by x{index}[{position}]: expected {expected}, found \
                     {found}",
                    order + 1
                );
            }
        }
    }
}
