//! Builds small programs for tests.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use kilngrad_interp::{Array, InterpError, Outcome, States, eval_entry};
use kilngrad_ir::{
    Constant, DType, Dim, Entry, Graph, Literal, Mode, Op, Origin, Program, Shape, Symbol, Type,
    Value, ValueName, verify,
};

/// A graph under construction.
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

    /// An operation whose type is inferred.
    pub fn op(&mut self, op: Op, operands: &[Value]) -> Value {
        let node = self.graph.append(op, operands, &[], Origin::unknown()).unwrap();
        self.graph.node(node).result()
    }

    /// An operation whose type is declared.
    pub fn op_as(&mut self, op: Op, operands: &[Value], ty: Type) -> Value {
        let node = self.graph.append(op, operands, &[ty], Origin::unknown()).unwrap();
        self.graph.node(node).result()
    }

    pub fn splat(&mut self, ty: Type, value: f64) -> Value {
        let literal = Literal::from_f64(ty.dtype, value);
        self.op_as(Op::Constant(Constant::Splat(literal)), &[], ty)
    }

    /// A verified program with one entry that gives `results` as `y0`, `y1`, ….
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

pub fn ty(dtype: DType, dims: &[usize]) -> Type {
    Type::new(dtype, dims.iter().copied().collect())
}

/// A type whose lengths are numbers or symbols.
pub fn symbolic(dtype: DType, dims: &[&str]) -> Type {
    Type::new(dtype, dims.iter().map(|text| dim(text)).collect::<Shape>())
}

pub fn dim(text: &str) -> Dim {
    text.parse::<usize>().map_or_else(|_| Dim::symbol(Symbol::new(text)), Dim::from)
}

pub fn call(program: &Program, inputs: &[Array]) -> Result<Outcome, InterpError> {
    let states = States::initial(program, 0).unwrap();
    eval_entry(program, &program.entries[0], inputs, &states)
}

/// The result of one operation on arrays, whose type is inferred or declared.
pub fn apply(op: Op, operands: &[Array], declared: Option<Type>) -> Array {
    let mut build = Build::new();
    let values: Vec<Value> = operands
        .iter()
        .enumerate()
        .map(|(index, array)| build.input(&format!("x{index}"), array.ty()))
        .collect();
    let result = match declared {
        Some(ty) => build.op_as(op, &values, ty),
        None => build.op(op, &values),
    };
    let program = build.program(&[result]);
    call(&program, operands).unwrap().outputs.remove(0)
}

pub fn array<T: kilngrad_interp::Element>(shape: &[usize], elements: &[T]) -> Array {
    Array::from_elements(shape, elements.to_vec()).unwrap()
}
