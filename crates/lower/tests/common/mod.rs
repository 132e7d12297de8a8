//! Kernels under test: built by hand or drawn, lowered, evaluated, and compared with the reference
//! interpreter.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part")]

pub(crate) mod draw;

use std::sync::Arc;

use kilngrad_interp::{Array, States, eval_entry};
use kilngrad_ir::op::{Axes, BinaryOp, CompareOp, Kernel, KernelKind, Op, ReduceOp, UnaryOp};
use kilngrad_ir::{
    Constant, DType, Entry, Graph, Literal, Machine, Mode, Origin, Place, Plan, Program, Shape,
    Type, Value,
};
use kilngrad_loops::{ChunkOrder, Memory, run_program_in_order};
use kilngrad_lower::{External, Lowered, lower_entry};

/// A deterministic stream of numbers: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 * 2f64.powi(-53))
    }
}

/// A machine with fused multiply-add.
pub(crate) const FUSING: Machine =
    Machine { fma: true, l1_bytes: 48 << 10, l2_bytes: 2 << 20, ..Machine::BASELINE };

/// Caches so small that little is kept and blocks are narrow.
pub(crate) const CRAMPED: Machine =
    Machine { l1_bytes: 1 << 10, l2_bytes: 2 << 10, ..Machine::BASELINE };

/// Leaf functions for the shortest strips.
pub(crate) const LEAFY: Machine =
    Machine { fma: true, leaf_elements: Some(2), l1_bytes: 1 << 10, ..Machine::BASELINE };

pub(crate) const MACHINES: [&Machine; 4] = [&Machine::BASELINE, &FUSING, &CRAMPED, &LEAFY];

/// A body with short names for what tests append.
#[derive(Debug, Default)]
pub(crate) struct Body(pub(crate) Graph);

impl Body {
    pub(crate) fn argument(&mut self, dtype: DType, shape: &[usize]) -> Value {
        self.0.add_numbered_argument(Type::new(dtype, Shape::new(shape.iter().copied())))
    }

    pub(crate) fn op(&mut self, op: Op, operands: &[Value]) -> Value {
        let node = self.0.append(op, operands, &[], Origin::unknown()).unwrap();
        self.0.node(node).result()
    }

    pub(crate) fn declared(
        &mut self,
        op: Op,
        operands: &[Value],
        dtype: DType,
        shape: &[usize],
    ) -> Value {
        let ty = Type::new(dtype, Shape::new(shape.iter().copied()));
        let node = self.0.append(op, operands, &[ty], Origin::unknown()).unwrap();
        self.0.node(node).result()
    }

    pub(crate) fn shape(&self, value: Value) -> Vec<usize> {
        self.0.ty(value).shape.as_constant().unwrap()
    }

    pub(crate) fn dtype(&self, value: Value) -> DType {
        self.0.ty(value).dtype
    }

    pub(crate) fn unary(&mut self, op: UnaryOp, x: Value) -> Value {
        self.op(Op::Unary(op), &[x])
    }

    pub(crate) fn binary(&mut self, op: BinaryOp, x: Value, y: Value) -> Value {
        self.op(Op::Binary(op), &[x, y])
    }

    pub(crate) fn compare(&mut self, op: CompareOp, x: Value, y: Value) -> Value {
        self.op(Op::Compare(op), &[x, y])
    }

    pub(crate) fn select(&mut self, c: Value, x: Value, y: Value) -> Value {
        self.op(Op::Select, &[c, x, y])
    }

    pub(crate) fn cast(&mut self, x: Value, dtype: DType) -> Value {
        let shape = self.shape(x);
        self.declared(Op::Cast, &[x], dtype, &shape)
    }

    pub(crate) fn broadcast(&mut self, x: Value, dims: &[usize], shape: &[usize]) -> Value {
        let dtype = self.dtype(x);
        self.declared(Op::Broadcast { dims: Axes::from_slice(dims) }, &[x], dtype, shape)
    }

    pub(crate) fn transpose(&mut self, x: Value, permutation: &[usize]) -> Value {
        self.op(Op::Transpose { permutation: Axes::from_slice(permutation) }, &[x])
    }

    pub(crate) fn splat(&mut self, dtype: DType, value: f64, shape: &[usize]) -> Value {
        let literal = Literal::from_f64(dtype, value);
        self.declared(Op::Constant(Constant::Splat(literal)), &[], dtype, shape)
    }

    pub(crate) fn reduce(&mut self, op: ReduceOp, axes: &[usize], x: Value) -> Value {
        self.op(Op::Reduce { op, axes: Axes::from_slice(axes) }, &[x])
    }

    /// `x` of the kept shape along all axes of `shape`.
    pub(crate) fn spread(&mut self, x: Value, reduced: &[usize], shape: &[usize]) -> Value {
        let kept: Vec<usize> = (0..shape.len()).filter(|axis| !reduced.contains(axis)).collect();
        self.broadcast(x, &kept, shape)
    }

    pub(crate) fn results(mut self, results: &[Value]) -> Graph {
        self.0.set_results(results.to_vec());
        self.0
    }
}

/// An entry that calls one kernel, arguments and outputs in the caller's memory.
pub(crate) fn program(kind: KernelKind, body: Graph) -> Program {
    let mut graph = Graph::new();
    let mut operands = Vec::new();
    for (at, &argument) in body.arguments().iter().enumerate() {
        let name = kilngrad_ir::ValueName::word(&format!("x{at}")).unwrap();
        let operand = graph.add_argument(name, body.ty(argument).clone());
        graph.set_place(operand, Some(Place::Argument(at)));
        operands.push(operand);
    }
    let types: Vec<Type> = body.results().iter().map(|value| body.ty(*value).clone()).collect();
    let kernel = Kernel { name: "k".into(), kind, body };
    let node =
        graph.append(Op::Kernel(Box::new(kernel)), &operands, &types, Origin::unknown()).unwrap();
    let results = graph.node(node).results.to_vec();
    for (at, result) in results.iter().enumerate() {
        graph.set_place(*result, Some(Place::Output(at)));
    }
    let outputs: Vec<Arc<str>> = (0..results.len()).map(|at| format!("y{at}").into()).collect();
    graph.set_results(results);
    let mut entry = Entry::new("e", Mode::Eval, graph);
    entry.outputs = outputs;
    entry.plan = Some(Plan { arena_bytes: 0, lower_bound_bytes: 0 });
    let mut program = Program::new("p");
    program.entries.push(entry);
    program
}

pub(crate) fn lower(program: &Program, machine: &Machine) -> Lowered {
    lower_entry(program, &program.entries[0], machine).unwrap_or_else(|error| {
        panic!("{error}\n{program}");
    })
}

pub(crate) fn evaluate(
    program: &Program,
    lowered: &Lowered,
    inputs: &[Array],
    order: ChunkOrder,
) -> Vec<Array> {
    let mut memory = Memory::zeroed(&lowered.program);
    // What is not written must show.
    memory.arena.fill(0xC3);
    for (bytes, external) in memory.externals.iter_mut().zip(&lowered.externals) {
        bytes.fill(0xC3);
        if let External::Argument(at) = external {
            *bytes = inputs[*at].to_bytes();
        }
    }
    run_program_in_order(&lowered.program, &mut memory, order).unwrap();
    let graph = &program.entries[0].graph;
    let output = |(at, value): (usize, &Value)| {
        let ty = graph.ty(*value);
        let shape = ty.shape.as_constant().unwrap();
        let external = lowered.externals.iter().position(|e| *e == External::Output(at));
        let bytes = external.map_or(&[][..], |external| &memory.externals[external][..]);
        Array::from_bytes(ty.dtype, &shape, bytes)
            .unwrap_or_else(|| panic!("result {at} is not an array of type {ty}\n{program}"))
    };
    graph.results().iter().enumerate().map(output).collect()
}

pub(crate) fn reference(program: &Program, inputs: &[Array]) -> Vec<Array> {
    let states = States::initial(program, 0).unwrap();
    eval_entry(program, &program.entries[0], inputs, &states).unwrap().outputs
}

/// How close floats must be: equal, or relative to the larger of 1 and the reference.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Close {
    Exact,
    Within(f64),
}

pub(crate) fn compare(expected: &Array, found: &Array, close: Close) -> Result<(), String> {
    if expected.shape() != found.shape() || expected.dtype() != found.dtype() {
        return Err(format!("expected {}, found {}", expected.ty(), found.ty()));
    }
    for (at, (e, f)) in expected.iter().zip(found.iter()).enumerate() {
        let (x, y) = (e.to_f64(), f.to_f64());
        let same = if x.is_nan() || y.is_nan() {
            x.is_nan() && y.is_nan()
        } else if x == y {
            true
        } else {
            match close {
                Close::Within(bound) if expected.dtype().is_float() => {
                    (x - y).abs() <= bound * x.abs().max(1.0)
                }
                Close::Exact | Close::Within(_) => false,
            }
        };
        if !same {
            return Err(format!("element {at}: expected {e}, found {f}"));
        }
    }
    Ok(())
}

/// Lowers a kernel for every machine and compares with the interpreter, chunks in both orders.
/// Gives the lowered programs.
pub(crate) fn check(kind: KernelKind, body: Graph, inputs: &[Array], close: Close) -> Vec<Lowered> {
    let program = program(kind, body);
    kilngrad_ir::verify(&program).unwrap_or_else(|error| panic!("{error}\n{program}"));
    let expected = reference(&program, inputs);
    let mut all = Vec::new();
    for machine in MACHINES {
        let lowered = lower(&program, machine);
        for order in [ChunkOrder::Ascending, ChunkOrder::Descending] {
            let found = evaluate(&program, &lowered, inputs, order);
            for (at, (expected, found)) in expected.iter().zip(&found).enumerate() {
                if let Err(difference) = compare(expected, found, close) {
                    panic!("result {at}: {difference}\n{machine}\n{program}\n{}", lowered.program);
                }
            }
        }
        all.push(lowered);
    }
    all
}

/// Small whole numbers, whose sums and products are exact.
pub(crate) fn small_integers(numbers: &mut Numbers, ty: &Type) -> Array {
    let elements = (0..ty.element_count().unwrap()).map(|_| {
        let number = numbers.below(7) as i64 - 3;
        let number = if ty.dtype == DType::Bool { number & 1 } else { number };
        Literal::from_i64(ty.dtype, number)
    });
    array(ty, elements)
}

/// Floats uniform in a range.
pub(crate) fn floats(numbers: &mut Numbers, ty: &Type, low: f64, high: f64) -> Array {
    let count = ty.element_count().unwrap();
    array(ty, (0..count).map(|_| Literal::from_f64(ty.dtype, numbers.between(low, high))))
}

pub(crate) fn array(ty: &Type, elements: impl Iterator<Item = Literal>) -> Array {
    let mut bytes = Vec::new();
    elements.for_each(|element| element.write_to(&mut bytes));
    Array::from_bytes(ty.dtype, &ty.shape.as_constant().unwrap(), &bytes).unwrap()
}

pub(crate) fn inputs_of(body: &Graph, mut draw: impl FnMut(&Type) -> Array) -> Vec<Array> {
    body.arguments().iter().map(|value| draw(body.ty(*value))).collect()
}

/// Floats from −3 to 3, and small integers.
pub(crate) fn float_inputs(body: &Graph) -> Vec<Array> {
    let mut numbers = Numbers(1);
    inputs_of(body, |ty| match ty.dtype {
        DType::F32 | DType::F64 => floats(&mut numbers, ty, -3.0, 3.0),
        DType::I32 | DType::I64 | DType::U8 | DType::Bool => small_integers(&mut numbers, ty),
    })
}

/// Small integers of every type.
pub(crate) fn integer_inputs(body: &Graph) -> Vec<Array> {
    let mut numbers = Numbers(2);
    inputs_of(body, |ty| small_integers(&mut numbers, ty))
}

/// Numbers of chunks of the kernels for the first machine.
pub(crate) fn chunks(lowered: &[Lowered]) -> Vec<usize> {
    lowered[0].program.kernels.iter().map(|kernel| kernel.chunks).collect()
}
