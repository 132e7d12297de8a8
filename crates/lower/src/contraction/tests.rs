//! Contractions in the loop evaluator against the reference interpreter.
//!
//! Elements are small integers, so every sum is exact whatever the order of its terms, and any
//! difference is a bug.

use std::sync::Arc;

use kilngrad_interp::{Array, States, eval_entry};
use kilngrad_ir::op::{
    BinaryOp, CompareOp, DotAxes, Kernel as GraphKernel, KernelKind, Op, UnaryOp,
};
use kilngrad_ir::{
    Constant, DType, Entry, Graph, Literal, Machine, Mode, Origin, Program, Shape, TileSize, Type,
    Value,
};
use kilngrad_loops::{
    Access, BufferPlace, Call, ChunkOrder, Item, Kernel, KernelBuilder, KernelId, Memory, Place,
    Program as LoopProgram, Slot, run_kernel, run_program_in_order, verify_kernel,
};

use crate::Context;
use crate::lanes::memory_scalar;
use crate::stage::{PackedOperand, Param, Stage, Stages};

/// A processor with AVX-512.
const WIDE: Machine = Machine {
    fma: true,
    leaf_elements: Some(8),
    tile_f32: TileSize { rows: 12, cols: 32 },
    tile_f64: TileSize { rows: 12, cols: 16 },
    l1_bytes: 48 << 10,
    l2_bytes: 2 << 20,
    ..Machine::BASELINE
};

/// Caches so small that everything is cut into several blocks.
const CRAMPED: Machine = Machine { l1_bytes: 1 << 10, l2_bytes: 4 << 10, ..Machine::BASELINE };

const MACHINES: [&Machine; 3] = [&Machine::BASELINE, &WIDE, &CRAMPED];

/// A deterministic stream of numbers: the generator of Knuth's MMIX.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }

    /// Integers from −3 to 3; wrapped to bytes for `u8`, odd or even for `bool`.
    fn array(&mut self, ty: &Type) -> Array {
        let shape = ty.shape.as_constant().unwrap();
        let count = shape.iter().product();
        let mut bytes = Vec::new();
        for _ in 0..count {
            let number = self.below(7) as i64 - 3;
            let number = if ty.dtype == DType::Bool { number & 1 } else { number };
            Literal::from_i64(ty.dtype, number).write_to(&mut bytes);
        }
        Array::from_bytes(ty.dtype, &shape, &bytes).unwrap()
    }
}

/// What follows the contraction.
#[derive(Debug, Clone, Copy, PartialEq)]
enum After {
    /// Nothing.
    Nothing,
    /// `relu(dot + bias)` along the last axis, and the contraction itself.
    BiasRelu,
    /// A sum with an array of the result's shape, and a comparison with it.
    Residual,
    /// The contraction twice, and only then a comparison with an array of the result's shape.
    Late,
    /// What tells the axes apart: an index, and a transposed argument.
    Positions,
    /// A function that of large whole numbers is their sign exactly, and a sum with an array of the
    /// result's shape.
    Sign,
}

/// A contraction kernel with its epilogue.
fn body(axes: &DotAxes, lhs: &Type, rhs: &Type, after: After) -> Graph {
    let mut graph = Graph::new();
    let lhs = graph.add_numbered_argument(lhs.clone());
    let rhs = graph.add_numbered_argument(rhs.clone());
    let dot = append(&mut graph, Op::Dot(axes.clone()), &[lhs, rhs], &[]);
    let ty = graph.ty(dot).clone();
    let shape = ty.shape.as_constant().unwrap();
    let results = match after {
        After::BiasRelu if !shape.is_empty() => {
            let last = shape.len() - 1;
            let bias = Type::new(ty.dtype, Shape::new([shape[last]]));
            let bias = graph.add_numbered_argument(bias);
            let dims = Op::Broadcast { dims: [last].into_iter().collect() };
            let bias = append(&mut graph, dims, &[bias], std::slice::from_ref(&ty));
            let sum = append(&mut graph, Op::Binary(BinaryOp::Add), &[dot, bias], &[]);
            let relu = append(&mut graph, Op::Unary(UnaryOp::Relu), &[sum], &[]);
            vec![relu, dot]
        }
        After::Residual | After::Late => {
            let residual = graph.add_numbered_argument(ty.clone());
            let term = if after == After::Late { dot } else { residual };
            let sum = append(&mut graph, Op::Binary(BinaryOp::Add), &[dot, term], &[]);
            let less = append(&mut graph, Op::Compare(CompareOp::Lt), &[dot, residual], &[]);
            vec![sum, less]
        }
        After::Sign if ty.dtype.is_float() => {
            let residual = graph.add_numbered_argument(ty.clone());
            let hundred = Literal::from_i64(ty.dtype, 100);
            let hundred = Op::Constant(Constant::Splat(hundred));
            let hundred = append(&mut graph, hundred, &[], std::slice::from_ref(&ty));
            let large = append(&mut graph, Op::Binary(BinaryOp::Mul), &[dot, hundred], &[]);
            let sign = append(&mut graph, Op::Unary(UnaryOp::Tanh), &[large], &[]);
            vec![append(&mut graph, Op::Binary(BinaryOp::Add), &[sign, residual], &[])]
        }
        After::Positions if !shape.is_empty() => positions(&mut graph, dot, &ty, &shape),
        After::Nothing | After::BiasRelu | After::Positions | After::Sign => vec![dot],
    };
    graph.set_results(results);
    graph
}

fn positions(graph: &mut Graph, dot: Value, ty: &Type, shape: &[usize]) -> Vec<Value> {
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    let reversed = graph.add_numbered_argument(Type::new(ty.dtype, Shape::new(reversed)));
    let permutation = Op::Transpose { permutation: (0..shape.len()).rev().collect() };
    let transposed = append(graph, permutation, &[reversed], &[]);
    let sum = append(graph, Op::Binary(BinaryOp::Add), &[dot, transposed], &[]);
    let index = append(graph, Op::Iota { axis: shape.len() / 2 }, &[], std::slice::from_ref(ty));
    let two = append(
        graph,
        Op::Constant(Constant::Splat(Literal::from_i64(ty.dtype, 2))),
        &[],
        std::slice::from_ref(ty),
    );
    let index = append(graph, Op::Binary(BinaryOp::Mul), &[index, two], &[]);
    vec![append(graph, Op::Binary(BinaryOp::Sub), &[sum, index], &[])]
}

fn append(graph: &mut Graph, op: Op, operands: &[Value], declared: &[Type]) -> Value {
    let node = graph.append(op, operands, declared, Origin::unknown()).unwrap();
    graph.node(node).result()
}

fn reference(graph: &Graph, inputs: &[Array]) -> Vec<Array> {
    let mut entry = Entry::new("reference", Mode::Eval, graph.clone());
    entry.outputs = (0..graph.results().len()).map(|at| format!("r{at}").into()).collect();
    let mut program = Program::new("reference");
    program.entries.push(entry);
    let states = States::initial(&program, 0).unwrap();
    eval_entry(&program, &program.entries[0], inputs, &states).unwrap().outputs
}

/// A contraction as one stage; both operands are constants, or neither is.
fn lowered(graph: &Graph, machine: &Machine, constant: bool) -> (Stage, Vec<PackedOperand>) {
    let kernel =
        GraphKernel { name: Arc::from("k"), kind: KernelKind::Contraction, body: graph.clone() };
    let constant = &vec![constant; graph.arguments().len()];
    let ctx = Context { kernel: &kernel, name: "k", machine, constant };
    let Stages { stages, packed, .. } = super::lower_contraction(&ctx).unwrap();
    let Some(stage) = stages.into_iter().next() else { return (nothing(graph), packed) };
    for kernel in packed.iter().map(|packed| &packed.kernel).chain([&stage.kernel]) {
        verify_kernel(kernel).unwrap_or_else(|error| panic!("{error}\n{kernel}"));
    }
    (stage, packed)
}

/// A kernel that does nothing, for results without elements.
fn nothing(graph: &Graph) -> Stage {
    let mut b = KernelBuilder::new("nothing", 1);
    for (values, access) in [(graph.arguments(), Access::Read), (graph.results(), Access::Write)] {
        for value in values {
            let ty = graph.ty(*value);
            b.buffer("", memory_scalar(ty.dtype), ty.element_count().unwrap(), access);
        }
    }
    let arguments = (0..graph.arguments().len()).map(Param::Argument);
    let params = arguments.chain((0..graph.results().len()).map(Param::Result)).collect();
    Stage { kernel: b.finish(), params }
}

/// Packs and runs a stage on copies of the inputs; gives its results.
fn run(
    graph: &Graph,
    (stage, packed): &(Stage, Vec<PackedOperand>),
    inputs: &[Array],
    order: ChunkOrder,
) -> Vec<Array> {
    let types: Vec<&Type> = graph.results().iter().map(|value| graph.ty(*value)).collect();
    let bytes = |param: &Param| match *param {
        Param::Argument(at) => inputs[at].to_bytes(),
        Param::Result(at) => vec![0x5A; types[at].byte_count().unwrap()],
        Param::Packed(at) => {
            let PackedOperand { operand, kernel } = &packed[at];
            let panels = &kernel.buffers[1];
            let room = vec![0; panels.len * panels.scalar.size()];
            let mut params = vec![inputs[*operand].to_bytes(), room];
            run_kernel(kernel, &mut params, order).unwrap();
            params.remove(1)
        }
        Param::Temporary(_) => unreachable!("a contraction is one stage"),
    };
    let mut params: Vec<Vec<u8>> = stage.params.iter().map(bytes).collect();
    run_kernel(&stage.kernel, &mut params, order).unwrap();
    let results = types.iter().enumerate().map(|(at, ty)| {
        let at = stage.params.iter().position(|param| *param == Param::Result(at)).unwrap();
        Array::from_bytes(ty.dtype, &ty.shape.as_constant().unwrap(), &params[at]).unwrap()
    });
    results.collect()
}

/// Compares a contraction on every machine with the reference; gives the number of chunks on each.
fn check(
    numbers: &mut Numbers,
    axes: &DotAxes,
    lhs: &Type,
    rhs: &Type,
    after: After,
) -> Vec<usize> {
    let graph = body(axes, lhs, rhs, after);
    let types = graph.arguments().iter().map(|value| graph.ty(*value));
    let inputs: Vec<Array> = types.map(|ty| numbers.array(ty)).collect();
    let expected = reference(&graph, &inputs);
    let mut chunks = Vec::new();
    for (machine, constant) in MACHINES.iter().flat_map(|m| [(*m, true), (*m, false)]) {
        let lowered = lowered(&graph, machine, constant);
        let kernel = &lowered.0.kernel;
        for order in [ChunkOrder::Ascending, ChunkOrder::Descending] {
            let found = run(&graph, &lowered, &inputs, order);
            for (expected, found) in expected.iter().zip(&found) {
                if let Some(difference) = expected.first_difference(found) {
                    panic!(
                        "{difference:?}\n{lhs} · {rhs}, {axes:?}, {after:?}, constants: \
                         {constant}\n{machine}\n{kernel}"
                    );
                }
            }
        }
        if !constant {
            chunks.push(kernel.chunks);
        }
    }
    chunks
}

/// Operands with these axes of each role, the axes of each operand in random order.
fn operands(
    numbers: &mut Numbers,
    dtype: DType,
    [batch, rows, cols, depth]: [&[usize]; 4],
) -> (DotAxes, Type, Type) {
    let mut side = |free: &[usize]| {
        let lengths = [batch, depth, free].concat();
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        numbers.shuffle(&mut order);
        let shape: Vec<usize> = order.iter().map(|from| lengths[*from]).collect();
        let place = |from: usize| order.iter().position(|at| *at == from).unwrap();
        let of = |range: std::ops::Range<usize>| range.map(place).collect();
        let batch_axes = of(0..batch.len());
        let depth_axes = of(batch.len()..batch.len() + depth.len());
        (Type::new(dtype, Shape::new(shape)), batch_axes, depth_axes)
    };
    let (lhs, lhs_batch, lhs_contract) = side(rows);
    let (rhs, rhs_batch, rhs_contract) = side(cols);
    (DotAxes { lhs_batch, rhs_batch, lhs_contract, rhs_contract }, lhs, rhs)
}

fn lengths(numbers: &mut Numbers, most: usize, of: &[usize]) -> Vec<usize> {
    let count = numbers.below(most + 1);
    (0..count).map(|_| numbers.pick(of)).collect()
}

const AFTER: [After; 6] =
    [After::Nothing, After::BiasRelu, After::Residual, After::Late, After::Positions, After::Sign];

#[test]
fn random_contractions_agree_with_the_reference() {
    let numbers = &mut Numbers(1);
    let small = [0, 1, 1, 2, 3, 4, 5];
    let long = [0, 1, 2, 3, 7, 8, 13, 16, 17, 33, 40, 70];
    let mut compared = 0;
    while compared < 300 {
        let batch = lengths(numbers, 2, &small);
        let rows = lengths(numbers, 2, &long);
        let cols = lengths(numbers, 2, &long);
        let depth = lengths(numbers, 2, &long);
        let terms: usize =
            [&batch, &rows, &cols, &depth].iter().flat_map(|axes| axes.iter()).product();
        if terms > 40_000 {
            continue;
        }
        let dtype =
            numbers.pick(&[DType::F32, DType::F32, DType::F64, DType::I32, DType::I64, DType::U8]);
        let (axes, lhs, rhs) = operands(numbers, dtype, [&batch, &rows, &cols, &depth]);
        let after = numbers.pick(&AFTER);
        check(numbers, &axes, &lhs, &rhs, after);
        compared += 1;
    }
}

#[test]
fn products_of_every_orientation_agree_with_the_reference() {
    let numbers = &mut Numbers(2);
    for [m, n, k] in [
        [1, 1, 1],
        [16, 16, 32],
        [13, 33, 150],
        [25, 70, 131],
        [1, 64, 100],
        [64, 1, 100],
        [1, 1, 77],
        [9, 40, 0],
    ] {
        for (lhs_contract, rhs_contract) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for dtype in [DType::F32, DType::F64] {
                let axes = DotAxes {
                    lhs_contract: [lhs_contract].into_iter().collect(),
                    rhs_contract: [rhs_contract].into_iter().collect(),
                    ..DotAxes::default()
                };
                let lhs = if lhs_contract == 0 { [k, m] } else { [m, k] };
                let rhs = if rhs_contract == 0 { [k, n] } else { [n, k] };
                let (lhs, rhs) =
                    (Type::new(dtype, Shape::new(lhs)), Type::new(dtype, Shape::new(rhs)));
                let after = numbers.pick(&AFTER);
                check(numbers, &axes, &lhs, &rhs, after);
            }
        }
    }
}

/// Strips of a part of a row, of a row, and of several.
#[test]
fn epilogues_apply_functions_to_strips() {
    let numbers = &mut Numbers(5);
    for [m, n, k] in [[5, 900, 7], [13, 200, 150], [40, 9, 33], [40, 8, 9], [1, 70, 20]] {
        for dtype in [DType::F32, DType::F64] {
            let axes = DotAxes {
                lhs_contract: [1].into_iter().collect(),
                rhs_contract: [0].into_iter().collect(),
                ..DotAxes::default()
            };
            let (lhs, rhs) = (Shape::new([m, k]), Shape::new([k, n]));
            let (lhs, rhs) = (Type::new(dtype, lhs), Type::new(dtype, rhs));
            check(numbers, &axes, &lhs, &rhs, After::Sign);
            let kernel = lowered(&body(&axes, &lhs, &rhs, After::Sign), &WIDE, false).0.kernel;
            assert!(kernel.to_string().contains(" apply tanh "), "{m}·{k}·{n}: {kernel}");
        }
    }
}

#[test]
fn large_contractions_are_shared_out() {
    let numbers = &mut Numbers(3);
    let cases: [[&[usize]; 4]; 6] = [
        [&[], &[96], &[96], &[80]],
        [&[], &[97], &[64], &[90]],
        [&[], &[64], &[97], &[90]],
        [&[6], &[24], &[40], &[64]],
        [&[], &[2048], &[], &[257]],
        [&[], &[8, 12], &[6, 16], &[4, 20]],
    ];
    for case in cases {
        for after in AFTER {
            let (axes, lhs, rhs) = operands(numbers, DType::F32, case);
            let chunks = check(numbers, &axes, &lhs, &rhs, after);
            assert!(chunks[0] > 1, "{case:?}: expected several chunks");
        }
    }
}

#[test]
fn neither_chunks_nor_packing_change_the_order_of_terms() {
    // The same row, alone and among others, over a constant or not, has the same bits.
    let numbers = &mut Numbers(4);
    let (k, n) = (300, 96);
    let axes = DotAxes {
        lhs_contract: [1].into_iter().collect(),
        rhs_contract: [0].into_iter().collect(),
        ..DotAxes::default()
    };
    let mut floats = |count: usize| -> Vec<f32> {
        (0..count).map(|_| numbers.below(1 << 20) as f32 / 7919.0 - 60.0).collect()
    };
    for machine in MACHINES {
        let row = floats(k);
        let rhs = Array::from_elements(&[k, n], floats(k * n)).unwrap();
        let many: Vec<f32> = row.iter().copied().cycle().take(64 * k).collect();
        let sums = |rows: usize, lhs: Vec<f32>, constant: bool| {
            let ty = |shape: [usize; 2]| Type::new(DType::F32, Shape::new(shape));
            let graph = body(&axes, &ty([rows, k]), &ty([k, n]), After::Nothing);
            let lhs = Array::from_elements(&[rows, k], lhs).unwrap();
            let lowered = lowered(&graph, machine, constant);
            assert_eq!(lowered.1.len(), usize::from(constant), "the right operand is packed");
            let found = run(&graph, &lowered, &[lhs, rhs.clone()], ChunkOrder::Ascending);
            found[0].to_f64_vec()
        };
        let alone = sums(1, row.clone(), false);
        assert_eq!(sums(1, row, true), alone);
        for found in [sums(64, many.clone(), false), sums(64, many, true)].concat().chunks(n) {
            assert_eq!(found, alone);
        }
    }
}

#[test]
fn a_result_may_take_the_memory_of_an_argument_of_the_epilogue() {
    let numbers = &mut Numbers(5);
    for ([m, n, k], dtype, after) in [
        ([20, 37, 9], DType::F32, After::Residual),
        ([96, 96, 80], DType::F32, After::Residual),
        ([96, 96, 80], DType::F32, After::Late),
        ([1, 90, 33], DType::F64, After::Late),
        ([6, 11, 5], DType::I32, After::Late),
    ] {
        let (axes, lhs, rhs) = operands(numbers, dtype, [&[], &[m], &[n], &[k]]);
        let graph = body(&axes, &lhs, &rhs, after);
        let types = graph.arguments().iter().map(|value| graph.ty(*value));
        let inputs: Vec<Array> = types.map(|ty| numbers.array(ty)).collect();
        let expected = reference(&graph, &inputs);
        for machine in MACHINES {
            let program = in_place(lowered(&graph, machine, false).0.kernel);
            for order in [ChunkOrder::Ascending, ChunkOrder::Descending] {
                let mut memory = Memory::zeroed(&program);
                for (bytes, input) in memory.externals.iter_mut().zip(&inputs[..2]) {
                    *bytes = input.to_bytes();
                }
                memory.arena = inputs[2].to_bytes();
                run_program_in_order(&program, &mut memory, order).unwrap();
                assert_eq!(memory.arena, expected[0].to_bytes(), "{machine}");
                assert_eq!(memory.externals[2], expected[1].to_bytes(), "{machine}");
            }
        }
    }
}

/// A program that calls a kernel of [`After::Residual`] or [`After::Late`], the sum in the memory of the residual.
fn in_place(kernel: Kernel) -> LoopProgram {
    let buffers: Vec<BufferPlace> = kernel
        .buffers
        .iter()
        .filter(|buffer| buffer.access != Access::Scratch)
        .zip([Some(0), Some(1), None, None, Some(2)])
        .map(|(buffer, external)| BufferPlace {
            name: buffer.name.clone(),
            scalar: buffer.scalar,
            len: buffer.len,
            place: external.map_or(Place::Arena { offset: 0 }, |index| Place::External { index }),
            writable: buffer.access == Access::Write || external.is_none(),
        })
        .collect();
    LoopProgram {
        name: "in_place".into(),
        arena_bytes: buffers[2].len * buffers[2].scalar.size(),
        externals: 3,
        body: vec![Item::Call(Call { kernel: KernelId(0), args: (0..5).map(Slot).collect() })],
        gate: None,
        buffers,
        kernels: vec![kernel],
    }
}
